"""Real clients over real sockets, which read the wire themselves and can leave at an exact point."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field

MARKERS = (b"data: [DONE]", b'"type": "response.completed"')
"""What a client takes for the end of the answer."""


@dataclass(frozen=True)
class Leave:
    """When a client closes its connection before the end of the response.

    Attributes:
        on: As soon as this has arrived in the body.
        after: When no body has arrived for so many seconds.
    """

    on: bytes = b""
    after: float | None = None


STAY = Leave()


@dataclass
class Client:
    """One request for a stream, and what was seen of the answer so far.

    Attributes:
        port: Of the service.
        path: What to ask for.
        model: Tells the upstream how to behave.
        leave: When to leave before the end.
        reset: Leave with RST, like a killed app, rather than with FIN, like a closed tab.
        host: Where the service is.
        status: HTTP status; 0 until the headers have arrived.
        body: The body so far, freed from its framing.
        whole: HTTP's framing is complete (last chunk seen, or all of content-length).
        left: The client has closed the connection of its own will.
        arrived: Set when the body has begun, or when it never will.
    """

    port: int
    path: str
    model: str
    leave: Leave = STAY
    reset: bool = False
    host: str = "127.0.0.1"
    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    left: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def marker(self) -> bool:
        """Whether the body has shown the protocol's terminal marker."""
        return any(marker in self.body for marker in MARKERS)

    async def run(self) -> Client:
        """Ask, and read until the response ends, the connection breaks, or it is time to leave."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(self._request())
            await self._read(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the connection broke: `whole` stays false
        finally:
            self.arrived.set()
            self._close(writer)
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return self

    def _request(self) -> bytes:
        body = json.dumps({"model": self.model, "stream": True, "messages": [{"role": "user", "content": "Hi!"}]})
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAccept: text/event-stream\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        ).encode()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        self.status = int(head.split()[1])
        if b"transfer-encoding: chunked" not in head:
            length = int(head.partition(b"content-length:")[2].split()[0])
            self.body += await reader.readexactly(length)
            self.whole = True
        while not self.whole and not self.left:
            try:
                piece = await asyncio.wait_for(_chunk(reader), self.leave.after)
            except TimeoutError:
                self.left = True
                return
            self.body += piece
            self.arrived.set()
            self.whole = not piece
            self.left = bool(self.leave.on) and self.leave.on in self.body

    def _close(self, writer: asyncio.StreamWriter) -> None:
        if self.reset:
            no_linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        writer.close()


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    """Return the next chunk of a body (RFC 9112, section 7.1), empty at its end."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]
