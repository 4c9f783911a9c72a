"""Run the matrix: one real server process per row (server x framework), every cause over real sockets."""

import asyncio
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.conformance import rows
from tests.conformance.clients import Client, Client2
from tests.conformance.compare import differences, notes, over, received, told_apart
from tests.conformance.expected import changes, expected, route
from tests.conformance.rows import Row, cell, due_of, gone, ready, serving, told_of, until

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


NAMES = (
    "uvicorn h11 httptools uvloop hypercorn h2 trio granian daphne gunicorn uvicorn-worker"
    " starlette fastapi sse-starlette litestar quart django"
)


def wrong(row):
    """Return what a row says that it is not to say."""
    return rows.wrong(row, expected, route)


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
    due = None if bare else due_of(row, traces, expected)
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
        await told_of(sink, due_of(row, {cause: traces[cause] for cause in ended}, expected))
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
