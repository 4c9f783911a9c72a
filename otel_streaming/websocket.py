"""WebSockets (ASGI WebSocket spec 2.x): one stream a connection, from its acceptance to its close.

A close frame of either side ends it, and its code says how (RFC 6455 section 7.4). All is seen at the outer hook,
since nothing on the way changes messages; the inner one tells route, parent and the producer's exception.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from otel_streaming._peers import code_of, farewell_of, parting_of
from otel_streaming.semconv import Origin, Protocol

if TYPE_CHECKING:
    from otel_streaming._stream import Stream
    from otel_streaming._watch import Watch
    from otel_streaming.asgi import Message, Receive, Send

_REFUSED = 403
"""What ``websocket.close`` before the acceptance becomes (ASGI WebSocket spec, Close)."""
_GONE = "Disconnected"
"""What daphne's ``send`` raises where the ASGI spec says OSError (autobahn.exception)."""


def outer(watch: Watch, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Return what ``receive`` and ``send`` become at the outer hook."""
    return _listening(watch, receive), _forwarding(watch, send)


def _listening(watch: Watch, receive: Receive) -> Receive:
    """Watch what the client sends: nothing of it counts but its end."""
    watch.asked = Protocol.WEBSOCKET
    watch.parting = parting_of(receive)

    async def listening() -> Message:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            watch.closed(code_of(message, receive), Origin.CLIENT)
        return message

    return listening


def _forwarding(watch: Watch, send: Send) -> Send:
    """Watch what the application sends: each message is a chunk, a close frame the end.

    It counts when it has been sent: daphne refuses most codes. A server may wait there for the client's own.
    """
    watch.farewell = functools.partial(farewell_of, send)

    async def forwarding(message: Message) -> None:
        stream = _take(watch, message)
        try:
            await send(message)
        except Exception as error:
            if stream is None:
                watch.closing = None
            if isinstance(error, OSError) or type(error).__name__ == _GONE:
                watch.send_failed(error)
            raise
        finally:
            if watch.closing is not None:
                watch.closed(watch.closing, Origin.SERVER)
        if stream is not None:
            stream.idle_since = watch.clock()

    return forwarding


def _take(watch: Watch, message: Message) -> Stream | None:
    """Take what the application sends; returns the stream whose progress it is."""
    try:
        if watch.peer.disconnected:
            watch.left()
        kind, stream = message["type"], watch.stream
        if kind == "websocket.send":
            return stream if stream is not None and _chunk(stream, watch.clock(), message) else None
        if watch.answered:
            watch.closing = int(message.get("code") or 1000) if kind == "websocket.close" else watch.closing
        elif kind == "websocket.accept":
            watch.upgrade()
        elif kind in _ANSWERS:
            watch.rewire(message.get("status", _REFUSED))
    except Exception:  # noqa: BLE001 - a message we cannot read is the server's to judge
        watch.give_up()
    return None


_ANSWERS = {"websocket.close", "websocket.http.response.start"}


def _chunk(stream: Stream, now: float, message: Message) -> bool:
    """Count one message; returns whether it is progress: one without content only keeps the connection alive."""
    body = message.get("bytes")
    if body is None:
        text = message.get("text") or ""  # neither is nothing: uvicorn ignores it
        body = text.encode(errors="surrogatepass")  # its size in bytes; a server does the same to send it
    if body:
        return stream.chunk(now, body)
    stream.keepalives += stream.ended_at is None
    return False
