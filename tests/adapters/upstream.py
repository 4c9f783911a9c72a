"""A server that answers as it is told, byte by byte, so that it can break off where no framework would."""

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field

CUT = "cut"
"""A step: break the connection."""
SSE = "text/event-stream"


class Part(bytes):
    """A step: half of a message that the framing announces whole."""

    __slots__ = ()


@dataclass
class Answer:
    """An answer, step by step: bytes to send, a ``Part``, seconds to wait, or ``CUT``; ``length`` if not chunked."""

    steps: list = field(default_factory=list)
    media_type: str = SSE
    status: int = 200
    headers: str = ""
    length: int | None = None
    open_end: bool = False  # closed without the last chunk

    def head(self):
        framing = "transfer-encoding: chunked" if self.length is None else f"content-length: {self.length}"
        return f"HTTP/1.1 {self.status} As told\r\ncontent-type: {self.media_type}\r\n{framing}\r\n{self.headers}\r\n"

    def frame(self, body):
        if isinstance(body, Part):
            return b"%x\r\n%s" % (2 * len(body), body)
        return body if self.length is not None else b"%x\r\n%s\r\n" % (len(body), body)


class Upstream:
    """The server, on a thread and event loop of its own; ``connections`` counts those it has accepted."""

    def __init__(self):
        self.answers = {}
        self.connections = 0
        self.requests = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_):
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def answer(self, *steps, path="/stream", **more):
        """Answer requests of ``path`` so; several answers of one path are given in their order, the last for ever."""
        self.answers.setdefault(path, []).append(Answer(list(steps), **more))
        return self.url + path

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _stop(self):
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was aborted is closed in the loop's next turns

    async def _serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        writer.transport.abort()

    async def _one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        await reader.readexactly(int(fields.get("content-length", 0)))
        path = head.split(" ")[1].split("?")[0]
        self.requests.append({":path": path, **fields})
        answers = self.answers[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        writer.write(answer.head().encode())
        for step in answer.steps:
            if step == CUT:
                writer.transport.abort()
                return False
            if isinstance(step, bytes):
                writer.write(answer.frame(step))
                await writer.drain()
            else:
                await asyncio.sleep(step)
        if answer.length is None and not answer.open_end:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return answer.length is None and not answer.open_end
