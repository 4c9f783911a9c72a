"""What the hooks make of everything an application and a client can do, without a server in between."""

import asyncio

import pytest
from driver import ANSWER, DONE, Connection, answer, body, chat, http_scope, script, start

from otel_streaming._config import read_settings
from otel_streaming.testing import capture

SSE = (b"accept", b"text/event-stream")


def run(app, connection=None, scope=None):
    async def main():
        return await (connection() if connection else Connection()).run(app, scope)

    return asyncio.run(main())


def verdict(summary):
    return str(summary.result), str(summary.outcome), str(summary.phase), str(summary.reason)


CASES = {
    "healthy": (answer(*ANSWER), ("ok", "completed", "after_terminal", "completed")),
    "several events a message": (answer(b"".join(ANSWER)), ("ok", "completed", "after_terminal", "completed")),
    "marker in the final message": (
        [start(), body(chat(0)), body(chat(1, "stop") + DONE, more=False)],
        ("ok", "completed", "after_terminal", "completed"),
    ),
    "stopped early by its own word": (
        answer(chat(0), chat(1, "length"), DONE),
        ("ok", "completed", "after_terminal", "incomplete_declared"),
    ),
    "no terminal": (answer(*ANSWER[:3]), ("silent", "truncated", "mid_stream", "missing_terminal")),
    "a dialect announced by a header": (
        [
            start(200, b"text/event-stream", (b"X-Vercel-AI-UI-Message-Stream", b"v1")),
            body(b'data: {"type":"start"}\n\n'),
            body(b"", more=False),
        ],
        ("silent", "truncated", "mid_stream", "missing_terminal"),
    ),
    "in-band error": (
        answer(chat(0), b'data: {"error":{"message":"overloaded"}}\n\n', DONE),
        ("silent", "failed", "mid_stream", "in_band_error"),
    ),
    "exception at a later chunk": (
        [start(), body(chat(0)), ValueError("x")],
        ("silent", "failed", "mid_stream", "producer_error"),
    ),
    "exception before the first chunk": (
        [start(), ValueError("x")],
        ("silent", "failed", "before_first_chunk", "producer_error"),
    ),
    "exception after nothing but keep-alives": (
        [start(), body(b": ping\n\n"), body(b": ping\n\n"), ValueError("x")],
        ("silent", "failed", "before_first_chunk", "producer_error"),
    ),
    "exception after the final message": (
        [*answer(*ANSWER[:3]), ValueError("x")],
        ("silent", "failed", "mid_stream", "producer_error"),
    ),
    "exception after the marker": (
        [*answer(*ANSWER), ValueError("x")],
        ("ok", "completed", "after_terminal", "completed"),
    ),
    "time-out of the application": (
        [start(), body(chat(0)), TimeoutError()],
        ("silent", "failed", "mid_stream", "deadline_exceeded"),
    ),
    "cancelled": (
        [start(), body(chat(0)), asyncio.CancelledError()],
        ("silent", "failed", "mid_stream", "server_cancelled"),
    ),
    "no final message": (
        [start(), body(chat(0))],
        ("silent", "truncated", "mid_stream", "incomplete_response"),
    ),
    "unknown dialect": (answer(b"data: tick\n\n"), ("ok", "completed", "mid_stream", "completed")),
    "unknown dialect, cut event": (answer(b"data: tick"), ("silent", "truncated", "mid_stream", "missing_terminal")),
    "empty": (answer(), ("ok", "completed", "before_first_chunk", "completed")),
    "500 with a streamed body": (
        [start(500), body(chat(0)), body(b"", more=False)],
        ("loud", "failed", "before_headers", "http_5xx"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_cause(case, hooks, captured):
    """Every cause gets its verdict, once, wherever the hooks stand."""
    steps, expected = CASES[case]
    run(hooks(script(*steps)))
    assert [verdict(s) for s in captured] == [expected]
    assert sum(captured.engine.registry.started().values()) == 1
    assert sum(captured.engine.registry.ended().values()) == 1
    assert captured.engine.registry.open_count == 0


async def streaming(scope, receive, send):
    """As Starlette does: a listener beside the producer, which is cancelled when the client leaves."""

    async def listen():
        while (await receive())["type"] != "http.disconnect":
            pass
        producer.cancel()

    async def produce():
        await script(*answer(*[chat(n) for n in range(50)], chat(50, "stop"), DONE))(scope, receive, send)

    producer = asyncio.ensure_future(produce())
    listener = asyncio.ensure_future(listen())
    await asyncio.wait([producer])
    listener.cancel()
    if not producer.cancelled() and producer.exception():
        raise producer.exception()


@pytest.mark.parametrize("door", ["receive", "send", "flag"])
def test_client_leaves(door, hooks, captured):
    """A client that leaves is seen through whichever door the server opens."""
    connection = run(hooks(streaming), lambda: Connection(leave_after=5, door=door))
    (summary,) = captured
    assert verdict(summary) == ("cancelled", "cancelled", "mid_stream", "client_disconnect")
    assert not connection.complete


@pytest.mark.parametrize("door", ["receive", "send"])
def test_client_leaves_after_the_marker(door, hooks, captured):
    """A client that has its marker and leaves before the final message got everything."""
    app = script(start(), *(body(d) for d in ANSWER), 0.01, body(b"", more=False))
    run(hooks(app), lambda: Connection(leave_after=len(ANSWER) + 1, door=door))
    assert [verdict(s) for s in captured] == [("ok", "completed", "after_terminal", "completed")]


def test_client_gives_up_before_the_first_chunk(hooks, captured):
    """Headers and keep-alives, then the client goes: it gave up."""

    async def app(scope, receive, send):
        await receive()
        await send(start())
        await send(body(b": ping\n\n"))
        await send(body(b": ping\n\n"))
        await receive()

    run(hooks(app), lambda: Connection(leave_after=1))
    assert [verdict(s) for s in captured] == [("gave_up", "cancelled", "before_first_chunk", "client_disconnect")]
    assert captured[0].keepalives == 2
    assert captured[0].chunks == 0


def test_client_gives_up_before_the_headers(hooks, captured):
    """A request that asked for a stream and left before the headers is an attempt that gave up."""

    async def app(scope, receive, send):
        await receive()
        await receive()

    async def main():
        connection = Connection()
        connection.gone.set()
        await connection.run(hooks(app), http_scope(headers=[SSE]))

    asyncio.run(main())
    assert [verdict(s) for s in captured] == [("gave_up", "cancelled", "before_headers", "client_disconnect")]
    assert str(captured[0].attempt_basis) == "accept"


def test_work_after_the_client_left(both, captured):
    """What the application goes on producing is counted as abandoned, not as the stream's."""

    async def app(scope, receive, send):
        await send(start())
        for n in range(3):
            await send(body(chat(n)))
        await receive()
        await receive()
        for n in range(7):
            await send(body(chat(n)))
        await send(body(DONE, more=False))

    run(both(app), lambda: Connection(leave_after=2))
    (summary,) = captured
    assert summary.reason == "client_disconnect"
    assert (summary.chunks, summary.abandoned_chunks) == (3, 8)
    assert summary.abandoned_size == 7 * len(chat(0)) + len(DONE)


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (503, [SSE], "accept"),
        (500, [(b"accept", b"application/x-ndjson")], "accept"),
        (503, [(b"accept", b"*/*")], None),
        (404, [SSE], None),
        (429, [SSE], None),
    ],
)
def test_error_instead_of_a_stream(status, headers, expected, hooks, captured):
    """A 5xx is an attempt where the request asked for a stream; a 4xx never is."""
    page = [start(status, b"text/plain", (b"content-length", b"5")), body(b"sorry", more=False)]
    run(hooks(script(*page)), scope=http_scope(headers=headers))
    assert [(verdict(s), str(s.attempt_basis)) for s in captured] == (
        [(("loud", "failed", "before_headers", "http_5xx"), expected)] if expected else []
    )


@pytest.mark.parametrize("steps", [answer(*ANSWER), [start(503, b"text/plain"), body(b"sorry", more=False)]])
def test_further_attempts(steps, hooks, captured):
    """What a client tries again says so, whether it gets a stream or an error in its place."""
    for header in ((b"x-stainless-retry-count", b"1"), (b"last-event-id", b"7")):
        run(hooks(script(*steps)), scope=http_scope(headers=[SSE, header]))
    run(hooks(script(*steps)), scope=http_scope(headers=[SSE]))
    assert [str(s.retry) for s in captured] == ["retried", "resumed", "none"]


def test_error_on_a_route_that_has_streamed(both, captured):
    """A route that streamed before is remembered: its 5xx counts."""
    run(both(script(*answer(*ANSWER))))
    run(both(script(start(503, b"text/plain"), body(b"sorry", more=False))))
    assert [str(s.attempt_basis) for s in captured] == ["None", "learned"]
    assert captured[1].shape.protocol == "sse"


def test_error_on_a_configured_route():
    """A configured route counts by path even where no router tells a template."""
    settings, problems = read_settings({"OTEL_PYTHON_STREAMING_ROUTES": "/v1/*"})
    assert not problems
    from otel_streaming import StreamingMiddleware

    with capture(settings) as captured:
        run(StreamingMiddleware(script(RuntimeError("x"))))
    assert [(verdict(s), str(s.attempt_basis)) for s in captured] == [
        (("loud", "failed", "before_headers", "http_5xx"), "configured")
    ]


@pytest.mark.parametrize(
    "page",
    [
        [start(200, b"application/json", (b"content-length", b"2")), body(b"{}", more=False)],
        [start(200, b"text/html"), body(b"<html>"), body(b"</html>", more=False)],
        [start(304, b"text/event-stream"), body(b"", more=False)],
        [start(204, b"text/event-stream"), body(b"", more=False)],
        [start(302, b"text/event-stream"), body(b"", more=False)],
    ],
)
def test_ordinary_page(page, hooks, captured):
    """A page is no stream, in however many messages it comes."""
    run(hooks(script(*page)))
    assert captured == []
    assert not captured.engine.registry.started()


def test_head(hooks, captured):
    """HEAD has headers of a stream and no stream."""
    run(hooks(script(start(), body(b"", more=False))), scope=http_scope(method="HEAD"))
    assert captured == []


def test_chunked_body_that_lasts(both, captured):
    """A merely chunked body is a stream once a second has passed between its messages."""
    captured.engine.registry.clock = iter_clock(0.3)
    steps = [start(200, b"text/plain"), *[body(b"x") for _ in range(8)], body(b"", more=False)]
    run(both(script(*steps)))
    assert [(str(s.shape.protocol), str(s.shape.kind), str(s.result)) for s in captured] == [("chunked", "other", "ok")]


def iter_clock(step):
    now = [0.0]

    def clock():
        now[0] += step
        return now[0]

    return clock


def test_fixed_body_that_comes_short(both, captured):
    """A body of fixed length is reported only when it comes short."""
    head = start(200, b"application/octet-stream", (b"content-length", b"10"))
    run(both(script(head, body(b"12345"), body(b"67890", more=False))))
    assert captured == []
    run(both(script(head, body(b"12345"), ValueError("x"))))
    assert [(verdict(s), str(s.shape.protocol), s.size) for s in captured] == [
        (("silent", "failed", "mid_stream", "producer_error"), "fixed", 5)
    ]


def test_fixed_body_closed_too_early(both, captured):
    """A final message before the length is reached says it all, whatever the server makes of it."""

    class Refusing(Connection):
        async def send(self, message):
            await super().send(message)
            if not message.get("more_body", True):
                raise RuntimeError("shorter than Content-Length")

    head = start(200, b"application/octet-stream", (b"content-length", b"10"))
    steps = [head, body(b"12345"), body(b"", more=False)]
    run(both(script(*steps)))
    asyncio.run(Refusing().run(both(script(*steps)), http_scope()))
    assert [verdict(s) for s in captured] == [("silent", "truncated", "mid_stream", "incomplete_response")] * 2


def test_excluded():
    """Excluded paths are left alone by both hooks."""
    settings, _ = read_settings({"OTEL_PYTHON_EXCLUDED_URLS": "health,^/v1/chat$"})
    from otel_streaming import StreamingMiddleware

    with capture(settings) as captured:
        run(StreamingMiddleware(script(*answer(*ANSWER))))
    assert captured == []


def test_background_task_that_raises(both, captured):
    """An exception out of a Starlette background task does not fail the answer before it."""
    from starlette.background import BackgroundTask
    from starlette.responses import StreamingResponse

    def fail():
        raise ValueError("after the answer")

    response = StreamingResponse(
        iter([b"data: tick\n\n"]), media_type="text/event-stream", background=BackgroundTask(fail)
    )
    connection = run(both(response))
    assert isinstance(connection.raised, ValueError)
    assert [str(s.reason) for s in captured] == ["completed"]


def test_process_forked_in_mid_stream(both, captured):
    """A stream begun before a fork is its parent's to count, not the child's."""

    async def app(scope, receive, send):
        await send(start())
        await send(body(chat(0)))
        captured.engine.registry.reset()
        await send(body(DONE, more=False))

    run(both(app))
    assert captured == []
    assert not captured.engine.registry.ended()


def test_a_final_message_that_cannot_be_sent(hooks, captured):
    """Where ``send`` raises for the final message the reader has gone (ASGI HTTP spec 2.4): nobody failed."""
    gone = Connection(leave_after=3, door="send")
    run(hooks(script(start(), body(chat(0)), body(chat(1)), body(chat(2)), body(b"", more=False))), lambda: gone)
    assert isinstance(gone.raised, OSError)
    assert verdict(captured[0]) == ("cancelled", "cancelled", "mid_stream", "client_disconnect")
