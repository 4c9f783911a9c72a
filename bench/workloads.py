"""What is measured: applications and messages that take as little time of their own as can be."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

EVENT = (
    b'data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1694268190,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}\n\n'
)
NAMED = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"Hello"}}\n\n'
)
CUT = EVENT[90:] + EVENT[:90]
"""Ends in the midst of an event, and goes on with one: who does not send whole events cuts them anywhere."""
TICK = b"data: tick\n\n"
DONE = b"data: [DONE]\n\n"
STREAM = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
LAST = {"type": "http.response.body", "body": DONE, "more_body": False}
PAGE = [(b"content-type", b"application/json"), (b"content-length", b"2")]


class Cycle:
    """A server's side of one exchange, as uvicorn has it."""

    def __init__(self) -> None:
        self.disconnected = False
        self._asked = False

    async def send(self, message: Any) -> None:
        """Take a message."""

    async def receive(self) -> dict[str, Any]:
        """Give the request; after it nothing comes."""
        if self._asked:
            await asyncio.Event().wait()
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}


class Site:
    """What an application does: ``/page`` answers at once, ``/wait`` stays open, every other path streams.

    Attributes:
        chunks: How many chunks a stream has.
        event: Each of them.
        seconds: What the sending of all chunks has taken so far.
        waiting: How many streams stay open, all their chunks sent.
        moved: How many more they have sent, each one when ``move`` is set.
    """

    def __init__(self) -> None:
        self.chunks = 1
        self.event = EVENT
        self.seconds = 0.0
        self.waiting = 0
        self.moved = 0
        self.move = asyncio.Event()

    async def body(self, path: str) -> AsyncIterator[bytes]:
        """Yield the chunks of a stream, each an object of its own where it stays open."""
        chunks, event = self.chunks, self.event
        if path == "/wait":
            for _ in range(chunks):
                yield bytes(memoryview(event))
            self.waiting += 1
            while await self.move.wait():
                self.moved += 1
                yield bytes(memoryview(event))
        began = time.perf_counter()
        for _ in range(chunks):
            yield event
        self.seconds += time.perf_counter() - began
        yield DONE

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        """Be a plain ASGI application, which sends without a generator where it is measured."""
        path = scope["path"]
        if path == "/page":
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": PAGE})
            await send({"type": "http.response.body", "body": b"{}", "more_body": False})
            return
        await send(STREAM)
        chunk = {"type": "http.response.body", "body": self.event, "more_body": True}
        if path == "/wait":
            async for body in self.body(path):
                await send({**chunk, "body": body})
        began = time.perf_counter()
        for _ in range(self.chunks):
            await send(chunk)
        self.seconds += time.perf_counter() - began
        await send(LAST)


def scope(path: str) -> dict[str, Any]:
    """Return a request's scope."""
    headers = [(b"host", b"localhost"), (b"accept", b"*/*"), (b"user-agent", b"bench")]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def serve(app: Callable[..., Any], path: str, times: int) -> None:
    """Let an application answer so many requests, one after the other."""
    for _ in range(times):
        cycle = Cycle()
        await app(scope(path), cycle.receive, cycle.send)
