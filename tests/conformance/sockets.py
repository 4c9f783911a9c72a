"""The matrix of WebSockets: real servers, the ``websockets`` client, its bare transport for what it would not do."""

import asyncio
import contextlib
import random
import signal
import socket
import struct
from dataclasses import dataclass

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conformance import rows
from tests.conformance.expected import differs
from tests.conformance.rows import Row, due_of, gone, ready, serving, told_of, until

_UVICORN = "--timeout-graceful-shutdown 1 --ws-ping-interval 1 --ws-ping-timeout 1"
SERVERS = {
    "uvicorn-websockets": "uvicorn talks:app --ws websockets --port {port} " + _UVICORN,
    "uvicorn-sansio": "uvicorn talks:app --ws websockets-sansio --port {port} " + _UVICORN,
    "uvicorn-wsproto": "uvicorn talks:app --ws wsproto --loop asyncio --port {port} " + _UVICORN,
    "hypercorn": "hypercorn talks:app --bind 127.0.0.1:{port} --graceful-timeout 1",
    "granian": "granian --interface asgi talks:app --port {port} --workers-kill-timeout 1",
    "daphne": "daphne talks:app --port {port} --application-close-timeout 2 --ping-interval 1 --ping-timeout 1",
    "gunicorn-uvicorn": "gunicorn talks:app -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{port} --graceful-timeout 2",
    "gunicorn-asgi": "gunicorn talks:app -k asgi -b 127.0.0.1:{port} --graceful-timeout 2",
}
SETTLES = {"daphne": 2.5}
"""Seconds before a SIGTERM: within one of any handshake daphne trips over it, and cancels nothing."""
FRAMEWORKS = ["raw", "raw-pushes", "starlette", "fastapi", "litestar", "quart"]


@dataclass(frozen=True)
class Cause:
    """What happens, and what the client does after three messages: read on if nothing."""

    means: str
    cell: str  # result/reason/origin/close code
    code: int | None = None
    writes: bytes = b""
    leaves: bool = False
    reset: bool = False
    deaf: bool = False


NOBODY = "cancelled/client_disconnect/unknown/-"
DIED = "silent/process_death/server/-"
CAUSES = {
    "server_1000": Cause("the application closes with 1000", "ok/completed/server/1000"),
    "server_1011": Cause("the application closes with 1011", "silent/in_band_error/server/1011"),
    "server_4000": Cause("the application closes with 4000", "ok/completed/server/4000"),
    "client_1000": Cause("the client closes with 1000", "ok/completed/client/1000", 1000),
    "client_1001": Cause("the client closes with 1001", "ok/completed/client/1001", 1001),
    "client_none": Cause("the client closes without a code", "ok/completed/client/1005", writes=b"\x88\x80mask"),
    "fin": Cause("the client closes its connection without a close frame", NOBODY, leaves=True),
    "rst": Cause("the client resets", NOBODY, leaves=True, reset=True),
    "deaf": Cause("the client answers no ping", NOBODY, deaf=True),
    "unmasked": Cause("the client sends a frame unmasked", "silent/protocol_error/unknown/1002", writes=b"\x81\x02hi"),
    "not_utf8": Cause(
        *("the client sends text that is no UTF-8", "silent/protocol_error/unknown/1007"),
        writes=b"\x81\x82\x00\x00\x00\x00\xff\xfe",
    ),
    "raises": Cause("an exception in the application", "silent/producer_error/server/-"),
    "cancelled": Cause("the application's task is cancelled", "silent/server_cancelled/server/-"),
    "returns": Cause("the application returns without closing", "silent/incomplete_response/server/-"),
    "denied": Cause("the application answers 503 instead of accepting", "loud/http_5xx/server/-"),
    "sigterm": Cause("SIGTERM", "recycled/server_shutdown/server/-"),
}

_BY_CLIENT = ["client_1000", "client_1001", "client_none"]
_VIOLATIONS = ["unmasked", "not_utf8"]
DIFFERENT = [
    (
        *("uvicorn-* gunicorn-uvicorn", "*", ["sigterm"], "recycled/server_shutdown/server/1012"),
        "uvicorn closes with 1012",
    ),
    (
        *("granian", "raw-pushes", [*_BY_CLIENT, *_VIOLATIONS, "fin", "rst"], "ok/completed/server/1005"),
        "not detectable: granian tells an application that never receives nothing, and closes when it returns",
    ),
    (
        *("granian", "*", ["client_none", *_VIOLATIONS], NOBODY),
        "not detectable: granian tells 1005 of all but a close frame with a code; a test records the bare server",
    ),
    (
        *("granian", "quart", ["cancelled"], "silent/server_cancelled/server/1005"),
        "Quart returns from a cancelled handler, and granian closes without a code",
    ),
    (
        *("granian", "quart", ["returns"], "ok/completed/server/1000"),
        "Quart closes with 1000 when a handler returns",
    ),
    (
        *("granian", "raw-pushes", ["sigterm"]),
        f"ok/completed/server/1005 or recycled/server_shutdown/server/- or {DIED}",
        "granian waits for no WebSocket: it may return first, end with its server, or die with it",
    ),
    (
        *("granian", "*", ["sigterm"], f"recycled/server_shutdown/server/- or {DIED}"),
        "granian waits for no WebSocket, but for its lifespan: it ends with that, or dies with its process",
    ),
    ("granian", "*", ["returns"], "ok/completed/server/1005", "granian closes without a code, which is no error"),
    (
        *("daphne", "litestar", ["server_1011"], "silent/producer_error/server/4500"),
        "daphne refuses the code by an exception, for which Litestar closes with 4500",
    ),
    (
        *("daphne", "*", ["server_1011"], "silent/producer_error/server/-"),
        "daphne refuses every code but 1000 and those from 3000 on by an exception, for which it closes with 1011",
    ),
    (
        *("hypercorn daphne gunicorn-asgi", "*", _VIOLATIONS, NOBODY),
        "not detectable: the server tells the same of a lost connection; a test records the bare server",
    ),
    (
        *("gunicorn-asgi", "*", ["sigterm"], DIED),
        "gunicorn kills its worker (SIGKILL) when the limit runs out; the next one reports it",
    ),
    ("*", "litestar", ["raises"], "silent/producer_error/server/4500", "Litestar closes with 4500 for an exception"),
    (
        *("*", "quart", ["raises"], "silent/producer_error/server/1000"),
        "Quart closes with 1000 for an exception; we see it before",
    ),
    ("*", "quart", ["returns"], "ok/completed/server/1000", "Quart closes with 1000 when a handler returns"),
]
"""Servers, frameworks, causes, cell, why; the first match counts."""


def expected(server, framework, cause):
    """Return what a cell is to say, and why if that is not what the others say."""
    return differs(DIFFERENT, server, framework, cause) or (CAUSES[cause].cell, None)


def wrong(row):
    """Return what a row says that it is not to say."""
    return rows.wrong(row, expected, lambda framework: ROUTES.get(framework, "/s/{cause}"))


ROUTES = {"raw": None, "raw-pushes": None, "quart": "/s/<cause>"}


def impossible(server, framework, cause):
    """Tell what cannot be brought about."""
    if server == "daphne" and framework == "quart":  # a scope without a scheme, which Quart needs: always 500
        return True
    if cause == "deaf":  # the others do not ask, or do not mind
        return server != "daphne" and not server.startswith("uvicorn-")
    no_denial = framework in {"fastapi", "litestar", "quart"} or server in {"daphne", "granian", "gunicorn-asgi"}
    return cause == "denied" and no_denial


def cell(spans):
    """Say what was reported of one connection: result, reason, origin, close code."""
    words = ("stream.result", "stream.reason", "stream.origin", "stream.websocket.close_code")
    return " + ".join("/".join(str(span.get(word, "-")) for word in words) for span in spans) or "-"


def run_row(server, framework, folder, causes=tuple(CAUSES)):
    """Start the server, bring about each cause, stop it; returns the cells."""
    row = Row(server, framework)
    traces = {cause: random.randbytes(16).hex() for cause in causes if not impossible(server, framework, cause)}
    with serving(row, SERVERS[server], folder, due=due_of(row, traces, expected)) as (process, port, sink):
        asyncio.run(_causes(process, port, traces, sink, SETTLES.get(server, 0)))
    row.cells = {cause: cell(sink.spans.get(trace, ())) for cause, trace in traces.items()}
    return row


async def _causes(process, port, traces, sink, settles):
    await ready(process, port)
    await asyncio.gather(*(_act(port, cause, trace) for cause, trace in traces.items() if cause != "sigterm"))
    await told_of(sink, {trace for cause, trace in traces.items() if cause != "sigterm"})
    if "sigterm" in traces:
        async with _connected(port, "sigterm", traces["sigterm"]) as client:
            await until(lambda: sink.total("stream.ledger.started") == len(traces))
            await asyncio.sleep(settles)
            process.signal(signal.SIGTERM)
            await _read_on(client)
        await gone(process)


def clients_of(process, port, names):
    """Send one client for each of the named causes."""

    async def all_of_them():
        await ready(process, port)
        await asyncio.gather(*(_act(port, name, random.randbytes(16).hex()) for name in names))

    asyncio.run(all_of_them())


@contextlib.asynccontextmanager
async def _connected(port, cause, trace):
    """Connect, and take the first three messages."""
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    how = {"additional_headers": headers, "close_timeout": 2, "compression": None}
    # However much is unread, it reads on: a client that does not answers no ping.
    async with connect(f"ws://127.0.0.1:{port}/s/{cause}", max_queue=None, **how) as client:
        for _ in range(3):
            await client.recv()
        yield client


async def _act(port, name, trace):
    cause = CAUSES[name]
    with contextlib.suppress(InvalidStatus, ConnectionClosed):  # a refusal, an end before three messages are read
        async with _connected(port, name, trace) as client:
            if cause.code is not None:
                await client.close(cause.code)
            elif cause.leaves:
                _leave(client, reset=cause.reset)
            elif cause.deaf:
                client.transport.pause_reading()
                await asyncio.sleep(3)
                client.transport.resume_reading()
            elif cause.writes:
                client.transport.write(cause.writes)
            await _read_on(client)


def _leave(client, *, reset):
    """Close the connection below the protocol."""
    if reset:
        linger = struct.pack("ii", 1, 0)
        client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.transport.abort()


async def _read_on(client):
    with contextlib.suppress(ConnectionClosed, TimeoutError):
        async with asyncio.timeout(4):
            while True:
                await client.recv()
