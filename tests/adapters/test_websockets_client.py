"""What a client of websockets received, over real sockets: it and the server's side agree on every end."""

import asyncio
import contextlib
import functools
import gc
import itertools
import socket
import struct
import threading

import pytest
import trio
import websockets.asyncio.client
import websockets.sync.client
import websockets.sync.server
import websockets.trio.client
from hooking import instrumented
from opentelemetry import trace
from serving import serving, until
from upstream import Upstream
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.utils import accept_key

from otel_streaming._config import read_settings
from otel_streaming.instrumentor import WebsocketsStreamingInstrumentor
from otel_streaming.testing import capture
from otel_streaming.websockets import _Talk

TEXTS = ["one", "\N{SNOWMAN}", ""]
"""What every connection begins with: two chunks of six bytes, and a keep-alive."""


def names():
    """What every class has that is patched."""
    flavours = websockets.asyncio, websockets.sync, websockets.trio
    connections = [flavour.connection.Connection for flavour in flavours]
    clients = websockets.asyncio.client.connect, websockets.sync.client.reconnect, websockets.trio.client.connect
    return [dict(vars(owner)) for owner in (websockets.client.ClientProtocol, *connections, *clients)]


BARE = names()


@pytest.fixture(scope="module", autouse=True)
def _hooked():
    with instrumented(WebsocketsStreamingInstrumentor):
        yield


async def app(scope, receive, send):
    """Accepts, sends, and then does as the path says: a close code, or another end."""
    how = scope["path"][1:]
    await receive()
    if how == "refuses":
        await send({"type": "websocket.close"})
        return
    if how == "breaks":
        raise ValueError("of the application")
    await send({"type": "websocket.accept"})
    for text in TEXTS:
        await send({"type": "websocket.send", "text": text})
    if how == "raises":
        raise ValueError("of the application")
    if how == "waits":
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif how != "returns":
        await send({"type": "websocket.close", "code": int(how)})


class Relay:
    """Passes the bytes of one connection on, until it is cut (RST at both ends) or frozen."""

    def __init__(self, port):
        self._port = port
        self._frozen = False
        self._ends = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        return self

    def __exit__(self, *_):
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    @property
    def port(self):
        return self._server.sockets[0].getsockname()[1]

    def cut(self):
        self._run(self._stop())

    def freeze(self):
        self._frozen = True

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _serve(self, reader, writer):
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends += [writer, to_writer]
        await asyncio.gather(self._pump(reader, to_writer), self._pump(to_reader, writer))

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not self._frozen:
                    writer.write(data)
            writer.write_eof()

    async def _stop(self):
        self._server.close()
        for end in self._ends:
            if not end.is_closing():
                linger = struct.pack("ii", 1, 0)
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                end.transport.abort()
        await asyncio.sleep(0.01)


CLOSES = {1000: 1000, 4000: 4000, "freeze and close": 1000}


def leave(how, relay):
    """What a reader does after three messages that both clients do alike."""
    if how == "raise":
        raise LookupError
    if how == "cancel":
        raise asyncio.CancelledError
    if how == "cut":
        relay.cut()
    if how in {"freeze", "freeze and close"}:
        relay.freeze()


async def read_later(url, how=None, relay=None, **options):
    async with websockets.asyncio.client.connect(url, **options) as connection:
        got = [await connection.recv() for _ in TEXTS]
        leave(how, relay)
        if how in CLOSES:
            return await connection.close(CLOSES[how])
        if how == "drop":
            connection.transport.abort()
        return got + [message async for message in connection]


def read(url, how=None, relay=None, **options):
    with websockets.sync.client.connect(url, **options) as connection:
        got = [connection.recv() for _ in TEXTS]
        leave(how, relay)
        if how in CLOSES:
            return connection.close(CLOSES[how])
        if how == "drop":
            connection.socket.shutdown(socket.SHUT_RDWR)
        return got + list(connection)


async def read_by_trio(url, how=None, relay=None, **options):
    with trio.CancelScope() as scope:
        async with websockets.trio.client.connect(url, **options) as connection:
            got = [await connection.recv() for _ in TEXTS]
            if how == "cancel":
                scope.cancel()
                await trio.lowlevel.checkpoint()
            leave(how, relay)
            if how in CLOSES:
                return await connection.aclose(CLOSES[how])
            if how == "drop":
                await trio.aclose_forcefully(connection.stream)
            return got + [message async for message in connection]


CLIENTS = {
    "sync": read,
    "asyncio": lambda *args, **options: asyncio.run(read_later(*args, **options)),
    "trio": lambda *args, **options: trio.run(functools.partial(read_by_trio, *args, **options)),
}


@pytest.fixture(params=CLIENTS)
def client(request):
    return CLIENTS[request.param]


def told(summary):
    words = (summary.result, summary.outcome, summary.reason, summary.origin)
    return (*map(str, words), summary.close_code)


def only(captured):
    [summary] = captured
    assert (summary.shape.role, summary.shape.protocol, summary.shape.kind) == ("client", "websocket", "subscription")
    assert summary.server_address == "127.0.0.1"
    return summary


# The path, what the reader does, what the server's side says, what the client's does.
ENDS = {
    **{
        f"server {code}": (
            f"/{code}",
            None,
            ("ok", "completed", "completed", "server", code),
            ("ok", "completed", "completed", "upstream", code),
        )
        for code in (1000, 1001, 4001)
    },
    "server 1011": (
        "/1011",
        None,
        ("silent", "failed", "in_band_error", "server", 1011),
        ("silent", "failed", "in_band_error", "upstream", 1011),
    ),
    "server 1012": (
        "/1012",
        None,
        ("recycled", "failed", "server_shutdown", "server", 1012),
        ("recycled", "failed", "server_shutdown", "upstream", 1012),
    ),
    "server 1008": (
        "/1008",
        None,
        ("silent", "failed", "protocol_error", "server", 1008),
        ("silent", "failed", "protocol_error", "upstream", 1008),
    ),
    "server raises": (
        "/raises",
        None,
        ("silent", "failed", "producer_error", "server", None),
        ("silent", "truncated", "connection_lost", "upstream", None),  # uvicorn sends no close frame then
    ),
    **{
        f"client {code}": ("/waits", code, *[("ok", "completed", "completed", "client", code)] * 2)
        for code in (1000, 4000)
    },
    "client raises": ("/waits", "raise", *[("silent", "failed", "in_band_error", "client", 1011)] * 2),
    "client is cancelled": (
        "/waits",
        "cancel",
        ("silent", "failed", "in_band_error", "client", 1011),
        ("cancelled", "cancelled", "consumer_stopped", "client", None),
    ),
    "client drops": (
        "/waits",
        "drop",
        ("cancelled", "cancelled", "client_disconnect", "unknown", None),
        ("silent", "truncated", "connection_lost", "upstream", None),
    ),
    "connection is cut": (
        "/waits",
        "cut",
        ("cancelled", "cancelled", "client_disconnect", "unknown", None),
        ("silent", "truncated", "connection_lost", "upstream", None),
    ),
}


@pytest.mark.parametrize("implementation", ["websockets-sansio", "wsproto"])
@pytest.mark.parametrize("end", ENDS)
def test_both_ends_agree(end, implementation, client):
    """On chunks, bytes and close code always; on the rest as far as each can know."""
    path, how, *expected = ENDS[end]
    if how == "cancel" and client is CLIENTS["trio"]:
        expected[0] = ENDS["connection is cut"][2]  # a cancelled block cannot wait: trio's client sends no close frame
    with serving(app, implementation) as (port, captured), Relay(port) as relay:
        with contextlib.suppress(ConnectionClosed, LookupError, asyncio.CancelledError):
            client(f"ws://127.0.0.1:{relay.port}{path}", how, relay)
        until(lambda: len(captured) == 2, captured)
        assert captured.engine.registry.open_count == 0
    by_role = {str(summary.shape.role): summary for summary in captured}
    assert [told(by_role["server"]), told(by_role["client"])] == expected
    assert {(s.chunks, s.size, s.keepalives, str(s.phase)) for s in captured} == {(2, 6, 1, "mid_stream")}
    assert by_role["client"].backpressure == 0  # what comes is taken from the network, whoever reads it when


@contextlib.contextmanager
def talking(handler):
    """A server of websockets' own, which can do what no ASGI application can."""
    with websockets.sync.server.serve(handler, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/feed"
        finally:
            server.shutdown()
            thread.join(30)


def port_of(url):
    return int(url.rsplit(":", 1)[1].split("/")[0])


def greet(connection):
    for text in TEXTS:
        connection.send(text)


def linger(connection):
    greet(connection)
    with contextlib.suppress(ConnectionClosed):
        connection.recv(30)


def test_a_message_in_fragments(client, captured):
    """Is one chunk, of all their bytes; a last fragment without content changes nothing."""

    def handler(connection):
        greet(connection)
        connection.send(iter(["four", "five", "six"]))

    with talking(handler) as url:
        assert client(url) == [*TEXTS, "fourfivesix"]
    summary = only(captured)
    assert (summary.chunks, summary.size, summary.keepalives) == (3, 6 + 11, 1)
    assert told(summary) == ("ok", "completed", "completed", "upstream", 1000)


def test_what_nobody_reads(captured):
    """A message counts when it has come, read or not."""

    def handler(connection):
        greet(connection)
        connection.send("four")
        connection.recv()

    def come():
        return sum(stream.chunks for stream, *_ in captured.engine.registry.scan())

    async def reading_one(url):
        async with websockets.asyncio.client.connect(url) as connection:
            await asyncio.to_thread(until, lambda: come() == 3, "messages")
            assert await connection.recv() == "one"
            await connection.send("enough")

    def reading_none(url):
        with websockets.sync.client.connect(url) as connection:
            until(lambda: come() == 3, "messages")
            connection.send("enough")

    with talking(handler) as url:
        asyncio.run(reading_one(url))
        reading_none(url)
    assert [summary.chunks for summary in captured] == [3, 3]


def test_pings_are_no_chunks():
    """Neither the server's nor our own."""

    async def idle(url):
        async with websockets.asyncio.client.connect(url, ping_interval=0.05) as connection:
            await connection.recv()
            await (await connection.ping())
            await asyncio.sleep(0.3)

    with serving(app, uvicorns={"ws_ping_interval": 0.05}) as (port, captured):
        asyncio.run(idle(f"ws://127.0.0.1:{port}/waits"))
        until(lambda: len(captured) == 2, captured)
    assert [(s.chunks, s.size, s.keepalives) for s in captured] == [(2, 6, 1)] * 2


def test_a_server_that_answers_no_ping(client, captured):
    """A connection that has fallen silent is an idle time-out, found by the client's pings."""
    patience = {"ping_interval": 0.3, "ping_timeout": 0.3, "close_timeout": 0.3}
    with talking(linger) as url, Relay(port_of(url)) as relay, pytest.raises(ConnectionClosed):
        client(f"ws://127.0.0.1:{relay.port}/feed", "freeze", relay, **patience)
    assert told(only(captured)) == ("silent", "failed", "idle_timeout", "upstream", 1011)


def test_a_message_that_is_too_long(client, captured):
    """What the client refuses counts nothing, and its close frame says so."""

    def handler(connection):
        greet(connection)
        with contextlib.suppress(ConnectionClosed):
            connection.send("x" * 99)
            connection.recv(30)

    with talking(handler) as url, pytest.raises(ConnectionClosed):
        client(url, max_size=50)
    summary = only(captured)
    assert told(summary) == ("silent", "failed", "protocol_error", "unknown", 1009)
    assert summary.chunks == 2


def test_a_message_and_what_is_none_at_once(client, captured):
    """What comes in the same bytes as an error, before it, counts."""

    def handler(connection):
        greet(connection)
        connection.socket.sendall(b"\x81\x04four" + b"\xff\x00")  # reserved bits, RFC 6455 section 5.2

    with talking(handler) as url, pytest.raises(ConnectionClosed):
        client(url)
    summary = only(captured)
    assert told(summary) == ("silent", "failed", "protocol_error", "unknown", 1002)
    assert summary.chunks == 3


def test_all_at_once(client, captured):
    """The answer to the handshake, a message and an error in the same bytes are one stream of one chunk."""

    def answer(listener):
        connection = listener.accept()[0]
        with connection, connection.makefile("rb") as request:
            lines = [line.partition(b": ") for line in iter(request.readline, b"\r\n")]
            key = next(value for name, _, value in lines if name.lower() == b"sec-websocket-key")
            head = "HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: "
            head += accept_key(key.decode().strip()) + "\r\n\r\n"
            connection.sendall(head.encode() + b"\x81\x03one" + b"\xff\x00")
            connection.shutdown(socket.SHUT_WR)
            request.read()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=[listener])
        thread.start()
        with pytest.raises(ConnectionClosed):
            client(f"ws://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join(30)
    assert told(only(captured)) == ("silent", "failed", "protocol_error", "unknown", 1002)
    assert captured[0].chunks == 1


def test_a_server_that_does_not_answer_a_close_frame(client, captured):
    """The reader has stopped; nobody knows whether all had come."""
    with talking(linger) as url, Relay(port_of(url)) as relay:
        client(f"ws://127.0.0.1:{relay.port}/feed", "freeze and close", relay, close_timeout=0.3)
    assert told(only(captured)) == ("cancelled", "cancelled", "consumer_stopped", "client", None)


@contextlib.contextmanager
def deaf():
    """A port where nobody answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"


def test_no_connection(client, captured):
    """A WebSocket is a stream asked for: a connection refused, not answered or answered by a page has failed."""
    with deaf() as url, Upstream() as upstream:
        page = upstream.answer(path="/page", media_type="text/html", length=0).replace("http", "ws")
        for address, error in (("ws://127.0.0.1:9/", OSError), (url, TimeoutError), (page, InvalidStatus)):
            with pytest.raises(error):
                client(address, open_timeout=0.5)
    assert [told(s)[:4] for s in captured] == [("loud", "failed", "connect_failed", "upstream")] * 3
    assert {(s.shape.protocol, s.phase, s.attempt_basis) for s in captured} == {
        ("websocket", "before_headers", "accept")
    }


def test_a_handshake_that_is_refused(client):
    """A 5xx is an attempt that was told the caller, a 403 an answer: both ends say so."""
    with serving(app) as (port, captured):
        for path in ("refuses", "breaks"):
            with pytest.raises(InvalidStatus):
                client(f"ws://127.0.0.1:{port}/{path}")
        until(lambda: len(captured) == 2, captured)
    assert {(str(s.shape.role), *told(s)[:4]) for s in captured} == {
        ("server", "loud", "failed", "http_5xx", "server"),
        ("client", "loud", "failed", "http_5xx", "upstream"),
    }


def test_a_redirect_is_followed(client, captured):
    """To one stream, of the server that accepted."""
    with talking(greet) as url, Upstream() as upstream:
        away = f"location: {url.replace('127.0.0.1', 'localhost')}\r\n"
        elsewhere = upstream.answer(path="/away", status=302, length=0, headers=away)
        assert client(elsewhere.replace("http", "ws")) == TEXTS
    [summary] = captured
    assert (summary.server_address, *told(summary)) == ("localhost", "ok", "completed", "completed", "upstream", 1000)
    assert summary.chunks == 2


def test_a_task_cancelled_while_it_connects(captured):
    """Has given up."""

    async def connecting(url):
        async with asyncio.timeout(0.3):
            await websockets.asyncio.client.connect(url)

    with deaf() as url, pytest.raises(TimeoutError):
        asyncio.run(connecting(url))
    assert told(only(captured))[:4] == ("cancelled", "cancelled", "consumer_stopped", "client")


def test_each_reconnection_is_a_stream(captured):
    """Of an iterator that connects again for ever; the one that is broken off has been stopped."""

    async def for_ever(url):
        connections = 0
        async for connection in websockets.asyncio.client.connect(url):
            connections += 1
            got = [message async for message in connection]
            assert got == TEXTS
            if connections == 3:
                break

    def blocking(url):
        for connection in itertools.islice(websockets.sync.client.reconnect(url), 3):
            assert list(connection) == TEXTS

    with talking(greet) as url:
        asyncio.run(for_ever(url))
        blocking(url)
    assert [told(s) for s in captured] == [("ok", "completed", "completed", "upstream", 1000)] * 6


def test_a_break_from_reconnecting(captured):
    """The iterator closes with 1011 what its reader only stops to read: that is no failure."""

    async def one(url):
        async with contextlib.aclosing(aiter(websockets.asyncio.client.connect(url))) as connecting:
            async for connection in connecting:
                assert await connection.recv() == "one"
                break

    with talking(linger) as url:
        asyncio.run(one(url))
    assert told(only(captured)) == ("cancelled", "cancelled", "consumer_stopped", "client", None)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_connection_that_is_forgotten(captured):
    """A connection that goes with its event loop was stopped by its reader."""

    async def forgetful(url):
        connection = await websockets.asyncio.client.connect(url, ping_interval=None)
        return await connection.recv()

    with talking(linger) as url:
        asyncio.run(forgetful(url))
        gc.collect()
        assert told(only(captured)) == ("cancelled", "cancelled", "consumer_stopped", "client", None)


def test_the_parent_is_the_current_span_or_what_was_sent(spans, client):
    """The span current when the connection was asked for; the one that a header names, if the request carries one."""
    sent = {"traceparent": f"00-{7:032x}-{9:016x}-01"}
    current = trace.get_tracer("t").start_as_current_span
    with talking(greet) as url, current("job") as job:
        client(url)
        client(url, additional_headers=sent)
    by_current, by_header = [s for s in spans() if s.name == "stream GET 127.0.0.1"]
    assert by_current.parent.span_id == job.get_span_context().span_id
    assert (by_header.parent.span_id, by_header.context.trace_id) == (9, 7)
    assert by_current.attributes["stream.websocket.close_code"] == 1000


def test_excluded_addresses_are_left_alone(client):
    """An excluded address, by host or path, is not watched."""
    settings, _ = read_settings({"OTEL_PYTHON_STREAMING_EXCLUDED_URLS": "^127.0.0.1/feed"})
    with capture(settings) as captured, talking(greet) as url:
        client(url)
    assert captured == []


def test_a_fault_of_ours(client, captured, monkeypatch):
    """Costs the watch, not a message."""

    def broken(watch, frame):
        raise RuntimeError

    monkeypatch.setattr(_Talk, "_take", broken)
    with talking(greet) as url:
        assert client(url) == TEXTS
    assert captured == []


def test_everything_is_put_back():
    """Nothing of ours stays in the library, and what is hooked again is watched again."""
    instrumentor = WebsocketsStreamingInstrumentor()
    assert all(mine != bare for mine, bare in zip(names(), BARE, strict=True))
    instrumentor.uninstrument()
    try:
        assert names() == BARE
    finally:
        instrumentor.instrument()
    assert all(mine != bare for mine, bare in zip(names(), BARE, strict=True))
