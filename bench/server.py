"""An application and what is put around it, called as a server calls it, or served by a real uvicorn."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

from bench.many import looks
from bench.peers import ASGI, FASTAPI
from bench.workloads import EVENT, TICK, Cycle, Site, scope, serve

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Asgi:
    """A plain ASGI application. Methods return seconds, unless they say otherwise."""

    def __init__(self, name: str) -> None:
        self._site = Site()
        self._app = ASGI[name](self._site.asgi)

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
            return asyncio.run(self._held(count))
        finally:
            self._site.event = EVENT

    async def _held(self, count: int) -> float:
        tracemalloc.start()
        tasks = self._open(count)
        await self._settle()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        await self._close(tasks)
        return held / count

    def crowd(self, count: int, moves: int) -> float:
        """Return what a chunk takes where so many streams are open that send one each, the least of some moves."""
        return asyncio.run(self._moving(count, moves))

    async def _moving(self, count: int, moves: int) -> float:
        tasks = self._open(count)
        await self._settle()
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
        return min(seconds)

    def _open(self, count: int) -> list[asyncio.Task[None]]:
        self._site.chunks, self._site.move = 10, asyncio.Event()
        return [asyncio.ensure_future(self._wait()) for _ in range(count)]

    async def _wait(self) -> None:
        cycle = Cycle()
        await self._app(scope("/wait"), cycle.receive, cycle.send)

    async def _settle(self) -> None:
        """Let all streams come to where they stay open; a framework takes some turns of the loop for it."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def _close(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def looks(self, count: int, *, recorder: bool, times: int) -> list[list[float]]:
        """Return the share of a core and the longest hold, s, of each of the watchdog's looks at open streams."""

        def begin(move: asyncio.Event) -> Coroutine[None, None, None]:
            self._site.chunks, self._site.move = 10, move
            return self._wait()

        return asyncio.run(looks(begin, count, recorder=recorder, times=times))

    def serve(self, chunks: int) -> int:
        """Begin to serve streams of so many chunks; returns the port."""
        import uvicorn  # noqa: PLC0415 - nothing is imported for those who do not ask

        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._site.chunks = chunks
        server = uvicorn.Server(uvicorn.Config(self._app, log_level="critical", access_log=False, lifespan="off"))
        threading.Thread(target=server.run, args=([listening],), daemon=True).start()
        port: int = listening.getsockname()[1]
        return port

    def processor(self) -> float:
        """Return the processor's time of this process so far."""
        return time.process_time()


class FastApi(Asgi):
    """A FastAPI application."""

    def __init__(self, name: str) -> None:
        self._site = Site()
        self._app: Any = FASTAPI[name](self._site)
