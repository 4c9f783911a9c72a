"""Run the matrix: one real server process per row (server x framework), every cause over real sockets."""

import asyncio
import contextlib
import os
import platform
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from stack import Process, StackError, free_ports
from tests.conformance.clients import Client, Client2
from tests.conformance.expected import expected, route
from tests.conformance.sink import Sink

BIN = Path(sys.executable).parent
SERVICE = Path(__file__).parent / "service"

SERVERS = {
    "uvicorn-h11": "uvicorn service:app --http h11 --port {port} --timeout-graceful-shutdown 1",
    "uvicorn-httptools": "uvicorn service:app --http httptools --port {port} --timeout-graceful-shutdown 1",
    "hypercorn": "hypercorn service:app --bind 127.0.0.1:{port} --graceful-timeout 1",
    "hypercorn-h2": "hypercorn service:app --bind 127.0.0.1:{port} --graceful-timeout 1",
    "granian": "granian --interface asgi service:app --port {port} --workers-kill-timeout 1",
    "daphne": "daphne service:app --port {port} --application-close-timeout 2",
    "gunicorn-uvicorn": "gunicorn service:app -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{port} --graceful-timeout 2",
    "gunicorn-asgi": "gunicorn service:app -k asgi -b 127.0.0.1:{port} --graceful-timeout 2",
}
FRAMEWORKS = [
    *("raw", "starlette", "starlette-sync", "starlette-base", "fastapi", "fastapi-sse", "sse-starlette"),
    *("litestar", "quart", "django", "django-sync"),
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
    "fin": Cause("the client closes in mid-stream", b"word 5"),
    "rst": Cause("the client resets in mid-stream", b"word 5", reset=True),
    "unread": Cause("the client stops reading, then resets", b"word 0", 1.0, reset=True),
    "before_headers": Cause("the client leaves before the headers", b"", 0.2),
    "stall": Cause("the client leaves during a silence", b"word 2", 0.3),
    "after_terminal": Cause("the client leaves after the terminal marker", b"[DONE]"),
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
    "head": Cause("HEAD", method="HEAD"),
    "status_500": Cause("status 500 with a streamed body"),
    "drained": Cause("SIGTERM, and the stream ends within the graceful time-out"),
    "sigterm": Cause("SIGTERM, and the graceful time-out runs out"),
}


@dataclass
class Row:
    server: str
    framework: str
    cells: dict = field(default_factory=dict)
    routes: set = field(default_factory=set)
    started: int = 0
    ended: int = 0
    exit: int | None = None


def impossible(server, framework, cause):
    """Tell what cannot be brought about."""
    if cause == "http10":
        return server == "hypercorn-h2"
    if cause == "no_final":
        return framework != "raw"
    if cause == "head":
        return framework in {"fastapi-sse", "litestar"}
    if framework == "django-sync" and cause in {"fin", "rst"}:  # sent at once, there is no middle
        return True
    if cause == "status_500":
        return framework == "fastapi-sse"
    return cause == "short" and framework in {"fastapi-sse", "sse-starlette"}


def wrong(row, expected=expected, route=route):
    """Return what a row says that it is not to say."""
    found = []
    for cause, said in row.cells.items():
        due, _ = expected(row.server, row.framework, cause)
        if said != due:
            found.append(f"{cause} says {said}, not {due}")
    if row.routes - {route(row.framework)}:
        found.append(f"routes are {row.routes}")
    reported = sum(said != "-" for said in row.cells.values())
    missing = sum(said == "-" and cause != "head" for cause, said in row.cells.items())
    if (row.started, row.ended) != (reported + missing, reported):
        found.append(f"ledger says {row.started} started, {row.ended} ended, not {reported + missing}, {reported}")
    return found


NAMES = (
    "uvicorn h11 httptools hypercorn h2 granian daphne gunicorn uvicorn-worker"
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
def serving(row, command, folder):
    """Run the row's server; yields its process, its port and what it reports, whose sums the row has at the end."""
    sink, (port,) = Sink(), free_ports(1)
    env = {
        "FRAMEWORK": row.framework,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.port}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_PYTHON_STREAMING_STATE_DIR": "off",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SERVICE), os.environ.get("PYTHONPATH")])),
    }
    program, *arguments = command.format(port=port).split()
    name = f"{row.server}-{row.framework}"
    command = [BIN / "opentelemetry-instrument", BIN / program, *arguments]
    try:
        with Process(name, command, folder / f"{name}.log", env, SERVICE) as process:
            yield process, port, sink
            row.exit = process.returncode
    finally:
        sink.close()
    row.routes = {span.get("http.route") for spans in sink.spans.values() for span in spans}
    row.started, row.ended = sink.total("stream.ledger.started"), sink.total("stream.ledger.ended")


def run_row(server, framework, folder, causes=tuple(CAUSES)):
    """Start the server, bring about each cause, stop it; returns the cells."""
    row = Row(server, framework)
    client = Client2 if server == "hypercorn-h2" else Client
    traces = {cause: random.randbytes(16).hex() for cause in causes if not impossible(server, framework, cause)}
    with serving(row, SERVERS[server], folder) as (process, port, sink):
        asyncio.run(_causes(process, port, client, traces, sink))
    row.cells = {cause: cell(sink.spans.get(trace, ())) for cause, trace in traces.items()}
    return row


def clients_of(process, port, names):
    """Send one client for each of the named causes."""

    async def all_of_them():
        await ready(process, port)
        await asyncio.gather(*(_act(Client, port, name, random.randbytes(16).hex()) for name in names))

    asyncio.run(all_of_them())


async def _causes(process, port, client, traces, sink):
    await ready(process, port)
    at_last = {"drained", "sigterm"}
    await asyncio.gather(*(_act(client, port, c, t) for c, t in traces.items() if c not in at_last))
    await told_of(sink, {trace for cause, trace in traces.items() if cause not in {*at_last, "head"}})
    if at_last & traces.keys():
        names = sorted(at_last & traces.keys())
        stopping = await asyncio.gather(*(_ask(client, port, name, traces[name]) for name in names))
        await asyncio.gather(*(one.until(b"data:") for one in stopping))
        process.signal(signal.SIGTERM)
        leaving = [asyncio.ensure_future(_leave(one, CAUSES[name])) for one, name in zip(stopping, names, strict=True)]
        await asyncio.wait(leaving, timeout=5)
        await gone(process)


async def gone(process):
    try:
        await asyncio.to_thread(process.wait, 8)
    except StackError:  # daphne waits for ever for anyio's worker threads, without us as well
        process.signal(signal.SIGKILL)


async def told_of(sink, due):
    """Wait for a span of each trace, but not for ever."""
    await until(lambda: due <= sink.spans.keys())


async def until(condition):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not condition():  # noqa: ASYNC110 - nothing tells of what a sink receives
        await asyncio.sleep(0.05)


async def ready(process, port):
    deadline = time.monotonic() + 60
    while True:
        process.check()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


async def _act(kind, port, name, trace):
    await _leave(await _ask(kind, port, name, trace), CAUSES.get(name) or Cause("read to the end"))


async def _ask(kind, port, name, trace):
    cause = CAUSES.get(name) or Cause("read to the end")
    headers = {"host": "localhost", "accept": "text/event-stream", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    return await kind.ask(port, f"/s/{name}", headers, cause.method, cause.version)


async def _leave(client, cause):
    await client.until(cause.marker)
    await asyncio.sleep(cause.wait)
    await client.leave(reset=cause.reset)
