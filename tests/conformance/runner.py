"""Run the matrix: one real server process per row (server x framework), every cause over real sockets."""

import asyncio
import contextlib
import os
import platform
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from stack import Process, StackError, free_ports, listens
from tests.conformance.clients import Client, Client2
from tests.conformance.compare import differences, notes, over, received, told_apart
from tests.conformance.expected import LOST, changes, expected, fits, route
from tests.conformance.sink import Sink

BIN = Path(sys.executable).parent
SERVICE = Path(__file__).parent / "service"

_UVICORN = "--port {port} --timeout-graceful-shutdown 1"
SERVERS = {
    "uvicorn-h11": f"uvicorn service:app --http h11 --loop asyncio {_UVICORN}",
    "uvicorn-httptools": f"uvicorn service:app --http httptools --loop uvloop {_UVICORN}",
    "hypercorn": "hypercorn service:app --bind 127.0.0.1:{port} --graceful-timeout 1",
    "hypercorn-trio": "hypercorn service:app --worker-class trio --bind 127.0.0.1:{port} --graceful-timeout 1",
    "hypercorn-h2": "hypercorn service:app --bind 127.0.0.1:{port} --graceful-timeout 1",
    "granian": "granian --interface asgi service:app --port {port} --workers-kill-timeout 2",
    "granian-h2": "granian --interface asgi service:app --http 2 --port {port} --workers-kill-timeout 2",
    "daphne": "daphne service:app --port {port} --application-close-timeout 2",
    "gunicorn-uvicorn": "gunicorn service:app -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{port} --graceful-timeout 2",
    "gunicorn-asgi": "gunicorn service:app -k asgi -b 127.0.0.1:{port} --graceful-timeout 2",
}
"""The last option is the graceful time-out; daphne has none."""
FRAMEWORKS = [
    *("raw", "starlette", "starlette-sync", "starlette-base", "starlette-file", "fastapi", "fastapi-sse"),
    *("fastapi-jsonl", "sse-starlette", "litestar", "quart", "django", "django-sync"),
]


@dataclass(frozen=True)
class Cause:
    """How one client behaves: reads until ``marker`` (to the end without one), waits, leaves."""

    means: str
    marker: bytes | None = None
    wait: float = 0.0
    reset: bool = False
    method: str = "GET"
    version: str = "1.1"


CAUSES = {
    "healthy": Cause("all is well"),
    "fin": Cause("the client closes in mid-stream", b"word 5", 0.01),
    "rst": Cause("the client resets in mid-stream", b"word 5", 0.01, reset=True),
    "unread": Cause("the client stops reading, then resets", b"word 0", 1.0, reset=True),
    "before_headers": Cause("the client leaves before the headers", b"", 0.2),
    "stall": Cause("the client leaves during a silence", b"word 2", 0.3),
    "after_terminal": Cause("the client leaves after the terminal marker", b'"stop"'),
    "raise_first": Cause("an exception before the first chunk"),
    "raise_later": Cause("an exception after three chunks"),
    "timeout": Cause("the application's own time-out"),
    "cancelled": Cause("the task that answers the request is cancelled"),
    "missing_terminal": Cause("a clean end without the terminal marker"),
    "in_band_error": Cause("an error as an event, then a clean end"),
    "blank": Cause("headers and a clean end, no chunk"),
    "no_final": Cause("the application returns without a final message"),
    "short": Cause("a body of fixed length that comes short"),
    "http10": Cause("healthy, over HTTP/1.0", version="1.0"),
    "head": Cause("HEAD", wait=0.3, method="HEAD"),
    "status_500": Cause("status 500 with a streamed body"),
    "drained": Cause("SIGTERM, and the stream ends within the graceful time-out"),
    "sigterm": Cause("SIGTERM, and the graceful time-out runs out"),
    "unlimited": Cause("SIGTERM, and there is no graceful time-out but the server's own: the stream ends later"),
}
AT_LAST = {"drained", "sigterm", "unlimited"}
"""Causes that stop the server."""


@dataclass
class Row:
    """What was told of one server and framework; of a single run of them also what was received and seen."""

    server: str
    framework: str
    cells: dict = field(default_factory=dict)
    routes: set = field(default_factory=set)
    started: int = 0
    ended: int = 0
    exit: int | None = None
    log: str = ""
    answers: dict = field(default_factory=dict)
    seen: dict = field(default_factory=dict)
    inherited: bool = False
    compared: int = 0
    differences: list = field(default_factory=list)


POSSIBLE = {
    "starlette-file": {"healthy", "fin", "rst", "unread", "short", "http10", "head", "status_500"},
}
"""What alone can be brought about with a framework."""
IMPOSSIBLE = {
    "fastapi-sse": {"head", "status_500", "short"},
    "fastapi-jsonl": {"head", "status_500", "short"},
    "sse-starlette": {"short"},
    "litestar": {"head"},
    "django-sync": {"fin", "rst"},  # sent at once, there is no middle
}


ON_ASYNCIO = {"quart", "django", "django-sync"}
"""Frameworks that run on nothing else."""


def impossible(server, framework, cause):
    """Tell what cannot be brought about."""
    if server == "hypercorn-trio" and (framework in ON_ASYNCIO or cause == "cancelled"):  # trio cancels scopes, no task
        return True
    if cause == "http10" and server.endswith("-h2"):
        return True
    if cause == "no_final" and framework != "raw":
        return True
    return cause in IMPOSSIBLE.get(framework, ()) or cause not in POSSIBLE.get(framework, CAUSES)


def wrong(row, expected=expected, route=route):
    """Return what a row says that it is not to say."""
    cells, due = row.cells.items(), {cause: expected(row.server, row.framework, cause)[0] for cause in row.cells}
    found = [f"{cause} says {said}, not {due[cause]}" for cause, said in cells if not fits(due[cause], said)]
    if row.routes - {route(row.framework)}:
        found.append(f"routes are {row.routes}")
    injected = sum(said != "-" or "-" not in due[cause].split(" or ") for cause, said in cells)
    lost = sum(said == "-" and LOST in due[cause] for cause, said in cells)
    if row.started != injected or not injected - lost <= row.ended <= injected:
        found.append(f"ledger says {row.started} started, {row.ended} ended, {injected} were injected")
    if row.inherited and not any("process_death" in cell for cell in due.values()):
        found.append("it was not killed, and has not handed over all")
    changed = [d for d in row.differences if changes(row.server, row.framework, *d[:2]) is None]
    return found + [f"changed by us: {cause}: {how}" for cause, _, how in changed]


def due_of(row, traces, expected=expected):
    """Return those of the traces in which a span is due, by the cause of each."""
    return {trace for c, trace in traces.items() if not fits(expected(row.server, row.framework, c)[0], "-")}


NAMES = (
    "uvicorn h11 httptools uvloop hypercorn h2 trio granian daphne gunicorn uvicorn-worker"
    " starlette fastapi sse-starlette litestar quart django"
)


def versions(names=NAMES):
    """Return the versions of what was run."""
    found = ", ".join(f"{name} {version(name)}" for name in names.split())
    return f"CPython {platform.python_version()}, {found}"


def cell(spans):
    """Say what was reported of one exchange: result, reason, phase."""
    words = [tuple(span[f"stream.{word}"] for word in ("result", "reason", "phase")) for span in spans]
    return " + ".join("/".join(word) for word in words) or "-"


@contextlib.contextmanager
def serving(row, command, folder, suffix="", *, due=None, bare=False):
    """Run the row's server; yields its process, its port and what it reports, whose sums the row has at the end.

    If it has stopped and not told of all the streams that are ``due``, it is started once more: the crash recorder is
    to report what is missing.
    """
    sink, (port,) = Sink(), free_ports(1)
    program, *arguments = command.format(port=port).split()
    name = f"{row.server}-{row.framework}{suffix}"
    log, seen = folder / f"{name}.log", folder / f"{name}.seen"
    env = {
        "FRAMEWORK": row.framework,
        "SEEN": os.fspath(seen),
        **sink.service_env(),
        "OTEL_PYTHON_STREAMING_STATE_DIR": os.fspath(folder / f"{name}.state"),
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "asgi,django,fastapi,flask,starlette,wsgi",  # what differs is ours
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SERVICE), os.environ.get("PYTHONPATH")])),
    }
    command = [*([] if bare else [BIN / "opentelemetry-instrument"]), BIN / program, *arguments]
    try:
        with Process(name, command, log, env, SERVICE) as process:
            yield process, port, sink
            row.exit = process.returncode
        row.inherited = not (due is None or sink.told_all(due))
        if row.inherited:
            with process:
                asyncio.run(_inherited(process, port, sink, due))
    finally:
        sink.close()
    row.routes = {span.get("http.route") for spans in sink.spans.values() for span in spans}
    row.started, row.ended = sink.total("stream.ledger.started"), sink.total("stream.ledger.ended")
    row.log, row.seen = log.read_text(), notes(seen)


def run_row(server, framework, folder, causes=tuple(CAUSES)):
    """Bring about each cause, with us and without at the same time; returns the cells, and what differs."""
    possible = [cause for cause in causes if not impossible(server, framework, cause)]
    parts = [part for part in (set(possible) - {"unlimited"}, set(possible) & {"unlimited"}) if part]
    jobs = [(sorted(part, key=possible.index), bare) for part in parts for bare in (False, True)]
    with ThreadPoolExecutor(len(jobs) or 1) as pool:
        runs = list(pool.map(lambda job: _run(Row(server, framework), folder, *job), jobs))
    row = Row(server, framework)
    for run, bare in zip(runs[::2], runs[1::2], strict=True):
        row.differences += _beyond_chance(run, bare, folder)
        row.cells |= run.cells
        row.routes |= run.routes
        row.started += run.started
        row.ended += run.ended
        row.inherited |= run.inherited
        row.compared += len(run.answers)
    return row


def _beyond_chance(run, bare, folder):
    """Return what differs; what either side shows as the other has shown it, when both are asked again, was chance."""
    found, sides = differences(run, bare) + told_apart(run, bare), ([run], [bare])
    for n in range(3):
        again = {cause for cause, what, _ in found if cause and changes(run.server, run.framework, cause, what) is None}
        if not again:
            break
        for runs, bare_ in zip(sides, (False, True), strict=True):
            runs.append(_run(Row(run.server, run.framework), folder, sorted(again), bare_, suffix=f"-again-{n}"))
        same = {c for c in again if not all(differences(one, other, {c}) for one in sides[0] for other in sides[1])}
        found = [difference for difference in found if difference[0] not in same]
    return found


def _run(row, folder, causes, bare, suffix=""):
    """Run one server; without a graceful time-out if that is the cause."""
    command, suffix = SERVERS[row.server], f"-bare{suffix}" if bare else suffix
    if "unlimited" in causes:
        command, suffix = command.rsplit(" ", 2)[0], "-unlimited" + suffix
    traces = {cause: random.randbytes(16).hex() for cause in causes}
    due = None if bare else due_of(row, traces)
    with serving(row, command, folder, suffix, due=due, bare=bare) as (process, port, sink):
        asyncio.run(_causes(row, traces, process, port, None if bare else sink))
    row.cells = {cause: cell(sink.spans.get(trace, ())) for cause, trace in traces.items()}
    return row


def clients_of(process, port, names):
    """Send one client for each of the named causes."""

    async def all_of_them():
        await ready(process, port)
        await asyncio.gather(*(_act(Client, port, name, random.randbytes(16).hex()) for name in names))

    asyncio.run(all_of_them())


async def _causes(row, traces, process, port, sink):
    await ready(process, port)
    client = Client2 if row.server.endswith("-h2") else Client
    first = traces.keys() - AT_LAST
    answered = await asyncio.gather(*(_act(client, port, cause, traces[cause]) for cause in first))
    seen = process.log.with_suffix(".seen")
    await until(lambda: all(map(over, notes(seen).values())), 12)
    if sink:
        ended = {cause for cause, noted in notes(seen).items() if over(noted)}
        await told_of(sink, due_of(row, {cause: traces[cause] for cause in ended}))
    last = sorted(AT_LAST & traces.keys())
    stopping = [await _ask(client, port, cause, traces[cause]) for cause in last]
    for cause, one in zip(last, stopping, strict=True):
        await until(lambda cause=cause: "producer begins" in notes(seen).get(cause, ()))
        if row.framework != "django-sync":  # has nothing to send yet, and daphne keeps the headers back for it
            await one.until(lambda it: it.status)
    if last:
        process.signal(signal.SIGTERM)
        await asyncio.gather(*(_leave(one, CAUSES[cause]) for cause, one in zip(last, stopping, strict=True)))
        await gone(process)
    row.answers = {
        cause: received(one, CAUSES[cause].marker)
        for cause, one in zip([*first, *last], [*answered, *stopping], strict=True)
    }


async def _inherited(process, port, sink, due):
    """Wait until the successor has told what its predecessor could not."""
    await ready(process, port)
    await until(lambda: sink.told_all(due))


async def gone(process):
    try:
        await asyncio.to_thread(process.wait, 12)
    except StackError:  # daphne waits for ever for anyio's worker threads, without us as well
        process.signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait, 12)


async def told_of(sink, due):
    """Wait for a span of each trace, but not for ever."""
    await until(lambda: due <= sink.spans.keys())


async def until(condition, patience=20):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and not condition():  # noqa: ASYNC110 - nothing tells of what a sink receives
        await asyncio.sleep(0.05)


async def ready(process, port):
    await asyncio.to_thread(process.wait_until, lambda: listens(port), "its port")


async def _act(kind, port, name, trace):
    client = await _ask(kind, port, name, trace)
    await _leave(client, CAUSES.get(name) or Cause("read to the end"))
    return client


async def _ask(kind, port, name, trace):
    cause = CAUSES.get(name) or Cause("read to the end")
    headers = {"host": "localhost", "accept": "text/event-stream", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    return await kind.ask(port, f"/s/{name}", headers, cause.method, cause.version)


async def _leave(client, cause):
    await client.until(None if cause.marker is None else lambda it: cause.marker in it.received)
    await asyncio.sleep(cause.wait or 0.05)  # at once it would race with what the server does at the end
    await client.leave(reset=cause.reset)
