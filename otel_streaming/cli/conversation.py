"""One connection of the receiver: HTTP/1.1 by h11, with a bound on every wait."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import h11
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # has no stubs

from otel_streaming.cli.bodies import JSON, PROTOBUF

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GONE = (OSError, asyncio.TimeoutError, h11.ProtocolError)
"""What ends a connection: its other end left, was too slow, or broke the rules in mid-request."""
_MORE_HEADERS = {405: [("allow", "POST")], 503: [("retry-after", "1")]}


class Conversation:
    """One connection, HTTP/1.1 by h11."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: float, patience: float
    ) -> None:
        self._reader, self._writer = reader, writer
        self._idle, self._patience = idle, patience
        self._http = h11.Connection(h11.SERVER)
        self._until = 0.0

    async def request(self) -> h11.Request | None:
        """Wait for the head of the next request; None when there is none."""
        self._until = asyncio.get_running_loop().time() + self._idle
        if not self._http.trailing_data[0]:
            self._http.receive_data(await self._read())
        self._until = asyncio.get_running_loop().time() + self._patience
        try:
            event = await self._next()
        except h11.RemoteProtocolError as error:
            await self.answer(error.error_status_hint, JSON, f"this is no HTTP/1.1: {error}")
            return None
        return event if isinstance(event, h11.Request) else None

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body's parts."""
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    async def answer(self, status: int, content_type: str, message: str = "") -> None:
        """Answer; with a ``google.rpc.Status`` when there is something to say (OTLP specification, "Failures")."""
        if content_type == PROTOBUF:
            body = Status(message=message).SerializeToString() if message else b""
        else:
            content_type = JSON
            body = json.dumps({"message": message} if message else {}).encode()
        headers = [("content-type", content_type), ("content-length", str(len(body))), *_MORE_HEADERS.get(status, ())]
        if status >= 400:
            headers.append(("connection", "close"))
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self._send(event)
        await asyncio.wait_for(self._writer.drain(), self._patience)

    def again(self) -> bool:
        """Tell whether another request may follow, and be ready for it."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    async def _next(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._read())
        return event

    def _send(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")

    async def _read(self) -> bytes:
        left = self._until - asyncio.get_running_loop().time()
        return await asyncio.wait_for(self._reader.read(65536), max(0.0, left))
