"""What the hooks make of every way a WebSocket can end, without a server in between."""

import asyncio
import contextlib

import pytest
from driver import script
from hooking import patched

from otel_streaming._config import read_settings
from otel_streaming.frameworks import HOOKS
from otel_streaming.testing import capture

CONNECT, ACCEPT = {"type": "websocket.connect"}, {"type": "websocket.accept", "subprotocol": "chat"}
TICK = {"type": "websocket.send", "text": "tick"}
RECEIVE = object()
"""A step at which the application takes a message."""


def scope_of(path="/ws", **more):
    scope = {"type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1"}
    addresses = {"scheme": "ws", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "root_path": ""}
    rest = {"path": path, "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", b"localhost")]}
    return {
        **scope,
        **addresses,
        **rest,
        "subprotocols": ["chat"],
        "extensions": {"websocket.http.response": {}},
        **more,
    }


def close(code=None):
    return {"type": "websocket.close"} if code is None else {"type": "websocket.close", "code": code, "reason": "r"}


def gone(code):
    return {"type": "websocket.disconnect", "code": code}


class Server:
    """One connection: what its client sends, and the exception that a ``send`` of data raises when it has gone."""

    def __init__(self, *incoming, raises=None):
        self.incoming, self.raises = [CONNECT, *incoming], raises
        self.sent, self.received, self.raised = [], [], None
        self.disconnected = False

    async def receive(self):
        if not self.incoming:
            await asyncio.Event().wait()
        self.received.append(self.incoming.pop(0))
        return self.received[-1]

    async def send(self, message):
        if self.raises is not None and message["type"] == "websocket.send":
            raise self.raises
        self.sent.append(message)

    async def run(self, app, scope=None):
        try:
            await app(scope or scope_of(), self.receive, self.send)
        except BaseException as exception:
            self.raised = exception
        return self


def talk(*steps):
    """An application that takes the handshake, accepts, and goes through the steps."""
    return play(RECEIVE, ACCEPT, *steps)


def play(*steps):
    async def app(scope, receive, send):
        for step in steps:
            await (receive() if step is RECEIVE else script(step)(scope, receive, send))

    return app


def run(app, server=None, scope=None):
    return asyncio.run((server or Server()).run(app, scope))


def told(summary):
    words = (summary.result, summary.reason, summary.phase, summary.origin)
    return (*map(str, words), summary.close_code)


MID = "mid_stream"
BY_APPLICATION = {
    None: ("ok", "completed", MID, "server", 1000),
    1000: ("ok", "completed", MID, "server", 1000),
    1001: ("ok", "completed", MID, "server", 1001),
    1002: ("silent", "protocol_error", MID, "server", 1002),
    1003: ("silent", "protocol_error", MID, "server", 1003),
    1007: ("silent", "protocol_error", MID, "server", 1007),
    1008: ("silent", "protocol_error", MID, "server", 1008),
    1009: ("silent", "protocol_error", MID, "server", 1009),
    1010: ("silent", "protocol_error", MID, "server", 1010),
    1011: ("silent", "in_band_error", MID, "server", 1011),
    1012: ("recycled", "server_shutdown", MID, "server", 1012),
    1013: ("silent", "in_band_error", MID, "server", 1013),
    1014: ("silent", "in_band_error", MID, "server", 1014),
    1004: ("unknown", "unknown", MID, "server", 1004),
    3000: ("ok", "completed", MID, "server", 3000),
    4404: ("ok", "completed", MID, "server", 4404),
}


@pytest.mark.parametrize("code", BY_APPLICATION)
def test_the_application_closes(code, hooks, captured):
    """The code of the application's close frame says how the stream ended."""
    run(hooks(talk(TICK, close(code))))
    assert [told(s) for s in captured] == [BY_APPLICATION[code]]
    assert sum(captured.engine.registry.ended().values()) == 1


BY_CLIENT = {
    **{code: ("ok", "completed", MID, "client", code) for code in (1000, 1001, 1005, 3000, 4999)},
    **{code: ("silent", "protocol_error", MID, "unknown", code) for code in (1002, 1003, *range(1007, 1011))},
    **{code: ("silent", "in_band_error", MID, "client", code) for code in (1011, 1013, 1014)},
    1006: ("cancelled", "client_disconnect", MID, "unknown", None),
    1012: ("recycled", "server_shutdown", MID, "server", 1012),
    1015: ("unknown", "unknown", MID, "client", 1015),
}


@pytest.mark.parametrize("code", BY_CLIENT)
def test_the_client_closes(code, hooks, captured):
    """The code that the server tells says how; a lost connection has none of its own."""
    run(hooks(talk(TICK, RECEIVE)), Server(gone(code)))
    assert [told(s) for s in captured] == [BY_CLIENT[code]]


def test_a_disconnect_without_a_code(hooks, captured):
    """A server that tells no code means that the frame had none (ASGI WebSocket spec, Disconnect)."""
    run(hooks(talk(TICK, RECEIVE)), Server({"type": "websocket.disconnect"}))
    assert [told(s) for s in captured] == [BY_CLIENT[1005]]


ENDS = {
    "returns": ([TICK], ("silent", "incomplete_response", MID, "server", None)),
    "returns before it sent": ([], ("silent", "incomplete_response", "before_first_chunk", "server", None)),
    "raises": ([TICK, ValueError("x")], ("silent", "producer_error", MID, "server", None)),
    "times out": ([TICK, TimeoutError()], ("silent", "deadline_exceeded", MID, "server", None)),
    "is cancelled": ([TICK, asyncio.CancelledError()], ("silent", "server_cancelled", MID, "server", None)),
    "closes, then raises": ([TICK, close(1000), ValueError("x")], BY_APPLICATION[1000]),
    "closes, then is cancelled": ([TICK, close(1000), asyncio.CancelledError()], BY_APPLICATION[1000]),
    "closes with an error, then again": ([TICK, close(1011), close(1000)], BY_APPLICATION[1011]),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_application_ends(end, hooks, captured):
    """An application that ends without a close frame has cut its stream; what follows a close frame changes nothing."""
    steps, expected = ENDS[end]
    run(hooks(talk(*steps)))
    assert [told(s) for s in captured] == [expected]


@pytest.mark.parametrize("door", ["send", "flag", "watched flag"])
def test_the_client_vanishes(door, hooks, captured):
    """An application that never listens learns of it by an OSError, or not at all; the server's object tells us."""
    server = Server(raises=OSError("gone") if door == "send" else None)

    async def app(scope, receive, send):
        await send(ACCEPT)
        server.raises, raises = None, server.raises
        await send(TICK)
        server.raises, server.disconnected = raises, door != "send"
        if door != "watched flag":
            await send(TICK)
        if door == "flag":
            await send(close(1000))  # to nobody

    run(hooks(app), server)
    assert [told(s) for s in captured] == [BY_CLIENT[1006]]
    assert captured[0].chunks == (2 if door == "send" else 1)


@pytest.mark.parametrize("code", [1000, 1011])
def test_a_close_frame_explains_a_departure(code, hooks, captured):
    """Where the server knows first that the client has gone, its close frame, read later, says how."""
    server = Server(gone(code))

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        await send(TICK)
        server.disconnected = True
        await send(TICK)
        await receive()

    run(hooks(app), server)
    assert [told(s) for s in captured] == [BY_CLIENT[code]]


def test_the_echo_of_the_application_s_close(hooks, captured):
    """What a server tells after the application has closed, a lost connection included, changes nothing."""
    for code in (1000, 1006, 1012):
        run(hooks(talk(TICK, close(1011), RECEIVE)), Server(gone(code)))
    assert [told(s) for s in captured] == [BY_APPLICATION[1011]] * 3


def test_an_exception_after_the_client_has_closed(hooks, captured):
    """Frameworks raise a disconnect into the application: that is the echo of the client's close frame."""
    run(hooks(talk(TICK, RECEIVE, ValueError("WebSocketDisconnect"))), Server(gone(1001)))
    assert [told(s) for s in captured] == [BY_CLIENT[1001]]


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (ValueError("invalid close code"), ("silent", "producer_error", MID, "server", None)),
        (BrokenPipeError("gone"), ("cancelled", "client_disconnect", MID, "unknown", None)),
        (asyncio.CancelledError(), ("silent", "in_band_error", MID, "server", 1011)),
    ],
    ids=["refused", "nobody there", "cancelled while the client's close frame is due"],
)
def test_a_close_that_does_not_return(refusal, expected, hooks, captured):
    """A close frame that the server refuses was never sent; one that it sent counts, though nobody answered."""

    class Refusing(Server):
        async def send(self, message):
            await super().send(message)
            if message["type"] == "websocket.close":
                raise refusal

    run(hooks(talk(TICK, close(1011))), Refusing())
    assert [told(s) for s in captured] == [expected]


def test_a_client_that_closes_after_a_refused_close(hooks, captured):
    """A close frame that was never sent has no echo: what the client sends is its own."""

    class Refusing(Server):
        async def send(self, message):
            if message["type"] == "websocket.close":
                raise ValueError("invalid close code")
            await super().send(message)

    async def app(scope, receive, send):
        await play(RECEIVE, ACCEPT, TICK)(scope, receive, send)
        with pytest.raises(ValueError, match="invalid"):
            await send(close(1011))
        await receive()

    assert run(hooks(app), Refusing(gone(1000))).raised is None
    assert [told(s) for s in captured] == [BY_CLIENT[1000]]


def test_daphne_s_word_for_gone(hooks, captured):
    """daphne's ``send`` raises autobahn's own exception, which is no OSError."""
    run(hooks(talk(TICK)), Server(raises=type("Disconnected", (RuntimeError,), {})()))
    assert [told(s) for s in captured] == [BY_CLIENT[1006]]


def test_the_echo_that_comes_first(hooks, captured):
    """A server that waits for the client's close frame may tell of it before the application's has returned."""

    async def app(scope, receive, send):
        await play(RECEIVE, ACCEPT, TICK)(scope, receive, send)
        listener = asyncio.ensure_future(receive())
        await send(close(1011))
        await listener

    class Waiting(Server):
        async def receive(self):
            message = await super().receive()
            if not self.incoming:
                answered.set()
            return message

        async def send(self, message):
            if message["type"] == "websocket.close":
                await answered.wait()
            self.sent.append(message)

    answered = asyncio.Event()
    run(hooks(app), Waiting(gone(1000)))
    assert [told(s) for s in captured] == [BY_APPLICATION[1011]]


@pytest.mark.parametrize("error", [RuntimeError("after websocket.close"), OSError("gone"), None])
def test_what_is_sent_while_a_close_frame_is_under_way(error, hooks, captured):
    """Another task's message does not undo it, neither its failure nor what the server's object says meanwhile."""

    class Slow(Server):
        async def send(self, message):
            if message["type"] == "websocket.close":
                self.raises, self.disconnected = error, True
                await tried.wait()
            await super().send(message)

    async def app(scope, receive, send):
        await play(RECEIVE, ACCEPT, TICK)(scope, receive, send)
        closing = asyncio.ensure_future(send(close(1011)))
        await asyncio.sleep(0)
        with contextlib.suppress(RuntimeError, OSError):
            await send(TICK)
        tried.set()
        await closing

    tried = asyncio.Event()
    assert run(hooks(app), Slow()).raised is None
    assert [told(s) for s in captured] == [BY_APPLICATION[1011]]


def test_the_stream_ends_with_its_close_frame(both, captured):
    """What an application does after the close frame holds no stream open, and no shutdown back."""

    async def app(scope, receive, send):
        await play(RECEIVE, ACCEPT, TICK, RECEIVE)(scope, receive, send)
        assert captured.engine.registry.open_count == 0
        assert [told(s) for s in captured] == [BY_CLIENT[1001]]

    assert run(both(app), Server(gone(1001))).raised is None


def server_like(module, **attributes):
    """A connection whose ``receive`` and ``send`` belong to a server's module."""

    async def receive(self):
        return await Server.receive(self)

    async def send(self, message):
        await Server.send(self, message)

    receive.__module__ = send.__module__ = module
    return type("Like", (Server,), {"receive": receive, "send": send, **attributes})


SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl"


@pytest.mark.parametrize(
    ("module", "message", "expected"),
    [
        (SANSIO, gone(1005), BY_CLIENT[1006]),
        (SANSIO, {**gone(1005), "reason": ""}, BY_CLIENT[1005]),
        ("granian.asgi", gone(1005), BY_CLIENT[1006]),
        ("gunicorn.asgi.websocket", gone(1005), BY_CLIENT[1005]),
        ("daphne.server", gone(None), BY_CLIENT[1005]),
    ],
)
def test_no_code(module, message, expected, hooks, captured):
    """Some servers tell 1005 of a lost connection too: there it proves no close frame."""
    run(hooks(talk(TICK, RECEIVE)), server_like(module)(message))
    assert [told(s) for s in captured] == [expected]


@pytest.mark.parametrize("message", [{**gone(1001), "reason": ""}, gone(1005), gone(1012)])
def test_what_the_application_has_not_received(message, hooks, captured):
    """Where an application only sends, the disconnect that waits in the server's queue says how it ended."""
    server = server_like(SANSIO)(raises=OSError("gone"))
    server.queue = asyncio.Queue()
    server.queue.put_nowait({"type": "websocket.receive", "text": "x"})
    server.queue.put_nowait(message)
    run(hooks(talk(TICK)), server)
    code = message["code"]
    assert [told(s) for s in captured] == [BY_CLIENT[1006 if code == 1005 else code]]
    assert server.queue.qsize() == 2


@pytest.mark.parametrize(("code", "expected"), [(1001, 1001), (1012, 1012), (None, 1006)])
def test_what_gunicorn_has_received(code, expected, hooks, captured):
    """Its object has the code of the client's close frame; before 27 an application is not told of that frame."""
    run(hooks(talk(TICK)), server_like("gunicorn.asgi.websocket", close_code=code)(raises=OSError("gone")))
    assert [told(s) for s in captured] == [BY_CLIENT[expected]]


def test_a_queue_that_is_none(hooks, captured):
    """A server's object of another version tells nothing, and harms nothing."""
    run(hooks(talk(TICK)), server_like(SANSIO)(raises=OSError("gone")))
    assert [told(s) for s in captured] == [BY_CLIENT[1006]]


def test_a_server_that_closes_properly_for_the_application(hooks, captured):
    """granian closes without a code for an application that returns: the client sees no error."""
    run(hooks(talk(TICK)), server_like("granian.asgi")())
    run(hooks(play(RECEIVE)), server_like("granian.asgi")())  # before the acceptance it answers 500
    assert [told(s) for s in captured] == [
        ("ok", "completed", MID, "server", 1005),
        ("loud", "http_5xx", "before_headers", "server", None),
    ]


REFUSALS = {
    "close": ([RECEIVE, close(1000)], None),
    "close with an error": ([RECEIVE, close(1011)], None),
    "denied": ([RECEIVE, {"type": "websocket.http.response.start", "status": 404, "headers": []}], None),
    "failed": ([RECEIVE, {"type": "websocket.http.response.start", "status": 503, "headers": []}], 503),
    "raised": ([RECEIVE, ValueError("x")], 500),
    "returned": ([RECEIVE], 500),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals(refusal, hooks, captured):
    """A refusal is no stream; a 5xx in its place is a failed attempt at one, counted once."""
    steps, status = REFUSALS[refusal]
    run(hooks(play(*steps)))
    assert [told(s) for s in captured] == [("loud", "http_5xx", "before_headers", "server", None)] * (
        status is not None
    )
    assert [(s.status, str(s.attempt_basis), str(s.shape.protocol)) for s in captured] == [
        (status, "accept", "websocket")
    ] * (status is not None)


def test_the_client_leaves_before_the_acceptance(hooks, captured):
    """It left, and nothing was promised to it."""
    run(hooks(play(RECEIVE, RECEIVE)), Server(gone(1006)))
    assert [told(s)[:3] for s in captured] == [("cancelled", "client_disconnect", "before_headers")]


@pytest.mark.parametrize(
    ("steps", "raises"),
    [
        ([TICK, asyncio.CancelledError()], None),
        ([TICK], None),
        ([TICK], OSError("closed by the server")),
        ([TICK, RECEIVE], None),
    ],
    ids=["cancelled", "returned", "send raised", "told 1006"],
)
def test_draining(steps, raises, both, captured):
    """A server that drains recycles its WebSockets, however each of them learns of it: nothing is lost."""

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        captured.engine.registry.draining = True
        await play(*steps)(scope, receive, send)

    run(both(app), Server(gone(1006), raises=raises))
    assert [told(s) for s in captured] == [("recycled", "server_shutdown", MID, "server", None)]
    assert str(captured[0].terminal) == "not_required"


def test_left_behind(both, captured):
    """What a server leaves open at its end it has cut, also one that closes for applications that return."""

    async def app(scope, receive, send):
        await play(RECEIVE, ACCEPT, TICK)(scope, receive, send)
        captured.engine.registry.draining = True
        captured.engine.close()

    run(both(app), server_like("granian.asgi")())
    assert [told(s) for s in captured] == [("recycled", "server_shutdown", MID, "server", None)]


def test_a_client_that_closes_while_the_server_drains(both, captured):
    """Its close frame counts more than the shutdown."""

    async def app(scope, receive, send):
        await play(RECEIVE, ACCEPT, TICK)(scope, receive, send)
        captured.engine.registry.draining = True
        await receive()

    run(both(app), Server(gone(1000)))
    assert [told(s) for s in captured] == [BY_CLIENT[1000]]


def test_one_stream_a_connection(hooks, captured):
    """Of many messages both ways, those to the client are chunks, by their bytes; an empty one keeps alive."""
    chunks = [{"bytes": b"\x00\xff"}, {"text": "né\U0001f600"}, {"text": "\udc00"}, {"bytes": bytearray(b"abc")}]
    chunks += [{"bytes": None, "text": "x"}, {"bytes": b"", "text": None}, {"text": ""}]
    messages = [{"type": "websocket.send", **chunk} for chunk in chunks]
    said = {"type": "websocket.receive", "text": "hello"}
    run(hooks(talk(*messages, RECEIVE, RECEIVE, close(), TICK)), Server(said, said))
    (summary,) = captured
    assert (summary.chunks, summary.keepalives, summary.size) == (5, 2, 2 + 7 + 3 + 3 + 1)
    assert summary.status == 101
    assert (str(summary.shape.kind), str(summary.dialect), str(summary.terminal)) == (
        *("subscription", "none", "not_required"),
    )
    assert sum(captured.engine.registry.started().values()) == 1


def test_over_http2(hooks, captured):
    """Over HTTP/2 a WebSocket is accepted with 200 (RFC 8441)."""
    run(hooks(talk(TICK, close())), scope=scope_of(http_version="2"))
    assert captured[0].status == 200


def test_silence_is_no_stall_unless_asked_for(both):
    """A subscription may be silent; a threshold configured for its route holds for it."""
    for stalls, environ in ((0, {}), (1, {"OTEL_PYTHON_STREAMING_STALL_THRESHOLD": "/v1/chat=0.02"})):
        with capture(read_settings({"OTEL_PYTHON_STREAMING_SPANS": "off", **environ})[0]) as captured:
            run(both(talk(TICK, 0.05, TICK, 0.05, close())))
        assert captured[0].stall_count == stalls, environ


def test_waiting_for_a_slow_reader_is_no_stall(both):
    """The time that ``send`` takes is backpressure; the silence begins when it returns."""

    class Slow(Server):
        async def send(self, message):
            await asyncio.sleep(0.4 if message == TICK else 0)
            await super().send(message)

    settings = {"OTEL_PYTHON_STREAMING_SPANS": "off", "OTEL_PYTHON_STREAMING_STALL_THRESHOLD": "/v1/chat=0.3"}
    with capture(read_settings(settings)[0]) as captured:
        run(both(talk(TICK, TICK, close())), Slow())
    assert captured[0].stall_count == 0
    assert captured[0].backpressure > 0.7


def test_the_attribute(captured):
    """The close code reaches the span."""
    from otel_streaming._described import attributes_of
    from otel_streaming.asgi import StreamingMiddleware

    run(StreamingMiddleware(talk(TICK, close(4000))))
    attributes = attributes_of(captured[0], captured.engine.settings, model=None)
    assert attributes["stream.websocket.close_code"] == 4000
    assert attributes["http.response.status_code"] == 101


def outcome(app, *incoming, **how):
    """All that server and application can see of each other: messages by identity, what was raised."""
    server = run(app, Server(*incoming, **how))
    return [id(m) for m in server.sent], [id(m) for m in server.received], type(server.raised), str(server.raised)


DENIAL = [
    {"type": "websocket.http.response.start", "status": 503, "headers": [(b"x", b"y")]},
    {"type": "websocket.http.response.body", "body": b"no", "more_body": False},
]
ODD = [
    {},
    None,
    3,
    {"type": "websocket.send"},
    {"type": "websocket.send", "text": 5},
    {"type": "websocket.close", "code": "x"},
]
ODD += [{"type": "websocket.http.response.start"}, {"type": "websocket.send", "bytes": "text"}, ACCEPT]


@pytest.mark.parametrize("steps", [*([RECEIVE, ACCEPT, TICK, odd, close()] for odd in ODD), [RECEIVE, *DENIAL]])
def test_transparency(steps, hooks):
    """Whatever is sent and received, in whatever order, arrives as the same objects; so does what is raised."""

    async def app(scope, receive, send):
        for step in steps:
            await (receive() if step is RECEIVE else send(step))
        raise KeyError("the application's")

    incoming = [gone(1000)]
    for how in ({}, {"raises": BrokenPipeError("gone")}):
        with capture() as captured:
            assert outcome(hooks(app), *incoming, **how) == outcome(app, *incoming, **how)
            assert len(captured) <= 1
            assert captured.engine.registry.open_count == 0


def starlette(end):
    from starlette.applications import Starlette
    from starlette.routing import Mount, WebSocketRoute

    async def endpoint(socket):
        await socket.accept()
        await socket.send_text("tick")
        await end(socket)

    return Starlette(routes=[Mount("/v1", routes=[WebSocketRoute("/{name}", endpoint)])])


def fastapi(end):
    from fastapi import APIRouter, FastAPI, WebSocket

    app, router = FastAPI(), APIRouter(prefix="/v1")

    @router.websocket("/{name}")
    async def endpoint(socket: WebSocket, name: str):
        await socket.accept()
        await socket.send_text("tick")
        await end(socket)

    app.include_router(router)
    return app


def litestar(end):
    from litestar import Litestar, Router, WebSocket, websocket

    @websocket("/{name:str}")
    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("tick")
        await end(socket)

    return Litestar([Router("/v1", route_handlers=[endpoint])], openapi_config=None, logging_config=None)


def quart(end):
    from quart import Quart, websocket

    app = Quart(__name__)

    @app.websocket("/v1/<name>")
    async def endpoint(name):
        await websocket.accept()
        await websocket.send("tick")
        await end(websocket)

    return app


async def fail(_):
    raise ValueError("by the path's wish")


async def close_1011(socket):
    await socket.close(1011)


TEMPLATES = {starlette: "/v1/{name}", fastapi: "/v1/{name}", litestar: "/v1/{name}", quart: "/v1/<name>"}


@pytest.mark.parametrize("framework", TEMPLATES, ids=lambda framework: framework.__name__)
@pytest.mark.parametrize(("end", "reason"), [(fail, "producer_error"), (close_1011, "in_band_error")])
def test_frameworks(framework, end, reason, captured):
    """Each framework's WebSocket has its route; its exception is seen though Litestar and Quart close the socket."""
    with patched(HOOKS):
        run(framework(end), scope=scope_of("/v1/x", state={}))
    assert [(str(s.reason), s.shape.route, s.chunks) for s in captured] == [(reason, TEMPLATES[framework], 1)]


def test_a_message_of_nothing(hooks, captured):
    """A message with neither text nor bytes, which uvicorn ignores, costs no watch."""
    run(hooks(talk(TICK, {"type": "websocket.send"}, ValueError("x"))))
    assert [told(s)[1] for s in captured] == ["producer_error"]
