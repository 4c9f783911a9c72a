"""An application and what is put around it, called as a server calls it, or served by a real uvicorn."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from bench.workloads import EVENT, TICK, Cycle, Site, scope, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_LONGEST = 600.0
"""Seconds that streams may take to open, to move, and to be looked at: one that has failed never does."""


class Asgi:
    """An ASGI application, plain or FastAPI's. Methods return seconds, unless they say otherwise."""

    def __init__(self, make: Callable[[Site], Any]) -> None:
        self._site = Site()
        self._app = make(self._site)

    def chunk(self, chunks: int, streams: int = 1) -> float:
        """Return what the sending of a chunk takes, of streams of so many."""
        self._site.chunks, self._site.seconds = chunks, 0.0
        asyncio.run(serve(self._app, "/chat", streams))
        return self._site.seconds / chunks / streams

    def request(self, requests: int) -> float:
        """Return what a request takes that does not stream."""
        return asyncio.run(self._timed("/page", requests))

    def stream(self, streams: int) -> float:
        """Return what a stream of one chunk takes, from its beginning to its end."""
        self._site.chunks = 1
        return asyncio.run(self._timed("/chat", streams))

    def routes(self, routes: int) -> float:
        """Return the same, of a stream on each of so many routes."""

        async def each() -> float:
            return sum([await self._timed(f"/r{i}", 1) for i in range(routes)]) / routes

        self._site.chunks = 1
        return asyncio.run(each())

    async def _timed(self, path: str, times: int) -> float:
        began = time.perf_counter()
        await serve(self._app, path, times)
        return (time.perf_counter() - began) / times

    def memory(self, count: int, *, dialect: bool) -> float:
        """Return the bytes that one of so many open streams holds, each of which has sent ten chunks."""
        self._site.event = EVENT if dialect else TICK
        try:
            return asyncio.run(asyncio.wait_for(self._held(count), _LONGEST))
        finally:
            self._site.event = EVENT

    async def _held(self, count: int) -> float:
        await self._close(await self._open(10))  # what is made once is no stream's
        tracemalloc.start()
        tasks = await self._open(count)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        await self._close(tasks)
        return held / count

    def crowd(self, count: int, moves: int) -> list[float]:
        """Return what a chunk takes where so many streams are open that send one each, of each such move."""
        return asyncio.run(asyncio.wait_for(self._moving(count, moves), _LONGEST))

    async def _moving(self, count: int, moves: int) -> list[float]:
        tasks = await self._open(count)
        seconds = []
        for _ in range(moves):
            self._site.moved = 0
            began = time.perf_counter()
            self._site.move.set()
            self._site.move.clear()
            while self._site.moved < count:  # noqa: ASYNC110 - an event would take a turn of the loop more
                await asyncio.sleep(0)
            seconds.append((time.perf_counter() - began) / count)
        await self._close(tasks)
        return seconds

    async def _open(self, count: int) -> list[asyncio.Task[None]]:
        """Let so many streams come to where they stay open."""
        self._site.chunks, self._site.waiting, self._site.move = 10, 0, asyncio.Event()
        tasks = [asyncio.ensure_future(self._wait()) for _ in range(count)]
        while self._site.waiting < count:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0)
        return tasks

    async def _wait(self) -> None:
        cycle = Cycle()
        await self._app(scope("/wait"), cycle.receive, cycle.send)

    async def _close(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def looks(self, count: int, *, recorder: bool, times: int) -> list[list[float]]:
        """Return the share of a core and the longest hold, s, of each of the watchdog's looks at open streams.

        The garbage collector stays off: nothing else can be measured after it.
        """
        from bench.many import looks  # noqa: PLC0415 - ours, which nobody else is to import

        def begin(move: asyncio.Event) -> Coroutine[None, None, None]:
            self._site.chunks, self._site.move = 10, move
            return self._wait()

        return asyncio.run(asyncio.wait_for(looks(begin, count, recorder=recorder, times=times), _LONGEST))

    def rested(self, count: int, times: int) -> list[float]:
        """Return what the slowest of so many reads takes of what has rested for a second."""
        from bench.many import rested  # noqa: PLC0415 - as above

        return rested(count, times)

    def serve(self, chunks: int) -> int:
        """Begin to serve streams of so many chunks; returns the port."""
        import uvicorn  # noqa: PLC0415 - no part of what a start takes

        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._site.chunks = chunks
        config = uvicorn.Config(self._app, interface="asgi3", lifespan="off", log_level="critical", access_log=False)
        threading.Thread(target=uvicorn.Server(config).run, args=([listening],), daemon=True).start()
        port: int = listening.getsockname()[1]
        return port

    def processor(self) -> float:
        """Return the processor's time of this process so far."""
        return time.process_time()
