"""The host is never changed: the same messages, exceptions and cancellations with and without the hooks."""

import asyncio
import random
import tracemalloc
from functools import partial

import pytest
from driver import ANSWER, Connection, body, http_scope, script, start
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_streaming import StreamingMiddleware
from otel_streaming._watch import Server
from otel_streaming.asgi import drain, flush, hooked_router
from otel_streaming.testing import capture


def both(app):
    async def call(_, scope, receive, send):
        await app(scope, receive, send)

    return StreamingMiddleware(partial(hooked_router(call, lambda scope: None), None))


def outcome(app, **connection):
    """All that a server can see of an application: messages by identity, what was raised, by type and text."""

    async def main():
        c = await Connection(**connection).run(app)
        return [id(m) for m in c.sent], type(c.raised), str(c.raised)

    return asyncio.run(main())


TYPES = [
    b"text/event-stream",
    b"application/x-ndjson",
    b"text/plain",
    b"image/png",
    b"multipart/x-mixed-replace",
    b"\xff",
]
MESSAGES = st.one_of(
    st.builds(start, st.sampled_from([200, 204, 206, 304, 404, 500, 503]), st.sampled_from(TYPES)),
    st.builds(body, st.binary(max_size=300), st.booleans()),
    st.builds(body, st.sampled_from(ANSWER)),
    st.builds(
        body, st.sampled_from([b": ping\n\n", b"event: ping\ndata: {}\n\n", b"\n", b"\r", b":", b"e", b"\xff\xfe"])
    ),
    st.builds(lambda b: body(memoryview(b)), st.binary(max_size=20)),
    st.builds(lambda b: body(bytearray(b)), st.binary(max_size=20)),
    st.sampled_from(
        [
            {"type": "http.response.body"},
            {"type": "http.response.body", "body": None},
            {"type": "http.response.body", "body": "text"},
            {"type": "http.response.body", "body": 7, "more_body": True},
            {"type": "http.response.start"},
            {"type": "http.response.start", "status": "200", "headers": None},
            {"type": "http.response.start", "status": 200, "headers": [("a", "b"), 3]},
            {"type": "http.response.trailers", "headers": []},
            {"type": "http.response.pathsend", "path": "/x"},
            {},
        ]
    ),
    st.builds(ValueError),
    st.builds(asyncio.CancelledError),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(MESSAGES, max_size=12), st.sampled_from(["receive", "send", "flag"]), st.none() | st.integers(0, 6))
def test_any_messages(steps, door, leave_after):
    """Whatever an application sends, in whatever order, the server gets the same objects and the same exception."""
    connection = {"door": door, "leave_after": leave_after}
    with capture() as captured:
        assert outcome(both(script(*steps)), **connection) == outcome(script(*steps), **connection)
        assert len(captured) <= 1
        assert captured.engine.registry.open_count == 0


def test_not_even_a_mapping():
    """A message that is no mapping is the server's to refuse."""

    class Refusing(Connection):
        async def send(self, message):
            raise TypeError("not a mapping")

    async def main(app):
        return (await Refusing().run(app)).raised

    for message in (None, 3, "http.response.body", []):

        async def app(scope, receive, send, message=message):
            await send(message)

        with capture():
            assert str(asyncio.run(main(both(app)))) == str(asyncio.run(main(app)))


def test_random_chunkings_keep_their_bytes():
    """However an answer is cut, each chunk goes on as the object it was, and the verdict is the same."""
    whole = b"".join(ANSWER)
    for seed in range(50):
        rng = random.Random(seed)
        cuts = sorted(rng.sample(range(1, len(whole)), rng.randrange(1, 40)))
        chunks = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        steps = [start(), *(body(c) for c in chunks), body(b"", more=False)]
        with capture() as captured:
            assert outcome(both(script(*steps))) == outcome(script(*steps))
        (summary,) = captured
        assert (str(summary.reason), summary.size) == ("completed", len(whole)), f"seed {seed}"


@pytest.mark.parametrize("size", [1 << 16, 100 << 20])
def test_event_of_100_mb(size):
    """A 100 MB event without a line end, in 64 KiB messages or in one, needs no memory of ours."""
    total, chunk = 100 << 20, b"x" * size
    steps = [start(), *[body(chunk)] * (total // size), body(b"", more=False)]
    app = both(script(*steps))
    with capture() as captured:
        tracemalloc.start()
        try:
            outcome(app)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 << 20
    assert captured[0].size == total


def test_cancellation_arrives_at_once():
    """A cancelled request is cancelled in the same tick, with and without the hooks."""

    async def app(scope, receive, send):
        await send(start())
        await asyncio.sleep(60)

    async def ticks(wrapped):
        task = asyncio.ensure_future(Connection().run(wrapped))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel("stop")
        n = 0
        while not task.done():
            n += 1
            await asyncio.sleep(0)
        return n, str(task.result().raised)

    with capture():
        assert asyncio.run(ticks(both(app))) == asyncio.run(ticks(app))


def test_a_fault_of_ours_costs_the_watch_only(monkeypatch, caplog):
    """When our own code fails, the exchange goes on, one warning is logged, and nothing is counted as open."""
    from otel_streaming import _exchange
    from otel_streaming._stream import Stream

    monkeypatch.setattr(_exchange._Faults, "logged", False)
    monkeypatch.setattr(Stream, "chunk", lambda *_: 1 / 0)
    steps = [start(), body(b"data: x\n\n"), body(b"data: y\n\n"), body(b"", more=False)]
    with capture() as captured:
        assert outcome(both(script(*steps))) == outcome(script(*steps))
        assert captured.engine.registry.open_count == 0
    assert [r.levelname for r in caplog.records if "unwatched" in r.message] == ["WARNING"]


def test_lifespan_is_passed_on():
    """Startup and shutdown reach the application, and its answers the server, in their order."""
    seen = []

    async def app(scope, receive, send):
        for _ in range(2):
            seen.append((await receive())["type"])
            await send({"type": seen[-1] + ".complete"})

    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    outbox = []

    async def receive():
        return inbox.pop(0)

    async def send(message):
        outbox.append(message["type"])

    with capture():
        asyncio.run(StreamingMiddleware(app)({"type": "lifespan"}, receive, send))
    assert seen == ["lifespan.startup", "lifespan.shutdown"]
    assert outbox == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_shutdown_waits_for_open_streams():
    """lifespan.shutdown is held back while a stream ends, and not a second longer than that."""

    async def main():
        inbox = asyncio.Queue()
        order = []

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                order.append("shutdown")
                return
            try:
                await send(start())
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.02)
                order.append("stream ended")

        async def nothing(message):
            pass

        served = both(app)
        stream = asyncio.ensure_future(Connection().run(served))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stream.cancel()
        inbox.put_nowait({"type": "lifespan.shutdown"})
        await served({"type": "lifespan"}, inbox.get, nothing)
        await stream
        return order

    with capture() as captured:
        assert asyncio.run(main()) == ["stream ended", "shutdown"]
    assert [(str(s.reason), str(s.result)) for s in captured] == [("server_shutdown", "recycled")]


def test_what_a_server_leaves_open_ends():
    """What a server that stops has not awaited ends when it is at its end, and what comes after changes nothing."""

    async def main():
        connection, server, go_on = Connection(), Server(), asyncio.Event()

        async def app(scope, receive, send):
            await send(start())
            await send(body(b"data: x\n\n"))
            await go_on.wait()
            await receive()
            await send(body(b"", more=False))

        stream = asyncio.ensure_future(connection.run(StreamingMiddleware(app, server)))
        await asyncio.sleep(0)
        await flush()
        assert not captured
        drain(server, yes=True)
        await flush()
        assert len(captured) == 1
        go_on.set()
        connection.gone.set()
        await stream

    with capture() as captured:
        asyncio.run(main())
        assert captured.engine.registry.open_count == 0
    assert [str(s.reason) for s in captured] == ["server_shutdown"]


@pytest.mark.parametrize(("version", "reason"), [("2", "server_shutdown"), ("1.1", "client_disconnect")])
def test_a_server_that_cuts_its_streams(version, reason):
    """A disconnect over the HTTP version that a draining server cuts itself is its own doing, over others it is not."""

    async def main():
        connection, server = Connection(leave_after=1), Server(cuts="2")

        async def app(scope, receive, send):
            await receive()
            await send(start())
            await send(body(b"data: x\n\n"))
            await receive()

        drain(server, yes=True)
        connection.gone.set()
        await connection.run(StreamingMiddleware(app, server), {**http_scope(), "http_version": version})

    with capture() as captured:
        asyncio.run(main())
    assert [str(s.reason) for s in captured] == [reason]
