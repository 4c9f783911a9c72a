"""What is measured: applications, clients and messages that take no time of their own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from otel_streaming import StreamingMiddleware
from otel_streaming.asgi import hooked_router

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

EVENT = (
    b'data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1694268190,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}\n\n'
)
TICK = b"data: tick\n\n"
DONE = b"data: [DONE]\n\n"
STREAM = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
CHUNK = {"type": "http.response.body", "body": EVENT, "more_body": True}
LAST = {"type": "http.response.body", "body": DONE, "more_body": False}
JSON = [(b"content-type", b"application/json"), (b"content-length", b"2")]


class Cycle:
    """A server's side of one exchange, as uvicorn has it."""

    disconnected = False

    async def send(self, message: Any) -> None:
        """Take a message."""

    async def receive(self) -> dict[str, Any]:
        """Give the request."""
        return {"type": "http.request", "body": b"", "more_body": False}


async def streaming(_: Any, __: Any, send: Any, chunks: int = 1) -> None:
    """Stream some chunks."""
    await send(STREAM)
    for _n in range(chunks):
        await send(CHUNK)
    await send(LAST)


async def page(_: Any, receive: Any, send: Any) -> None:
    """Answer with a small JSON page."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": JSON})
    await send({"type": "http.response.body", "body": b"{}", "more_body": False})


async def waiting(_: Any, __: Any, send: Any, move: asyncio.Event, event: bytes = EVENT) -> None:
    """Stream some chunks and stay open; send another one when told to. Each is an object of its own."""
    await send(STREAM)
    for _n in range(10):
        await send({**CHUNK, "body": bytes(memoryview(event))})
    while await move.wait():
        await send({**CHUNK, "body": bytes(memoryview(event))})


def bare(app: Any) -> Any:
    """Add nothing."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return call


def ours(app: Any) -> Any:
    """Add both hooks."""

    async def call(_: Any, scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    router = hooked_router(call, lambda _: "/v1/chat")
    return StreamingMiddleware(partial(router, None))


def scope() -> dict[str, Any]:
    """Return a request's scope."""
    headers = [(b"host", b"localhost"), (b"accept", b"*/*"), (b"user-agent", b"bench")]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/chat",
        "raw_path": b"/v1/chat",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def serve(app: Callable[..., Any], times: int) -> None:
    """Let an application answer so many requests, one after the other."""
    for _ in range(times):
        cycle = Cycle()
        await app(scope(), cycle.receive, cycle.send)
