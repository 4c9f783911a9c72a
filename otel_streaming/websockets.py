"""The adapter for websockets' clients: one stream a connection, from the dialling to its close.

All of its clients speak through one sans-I/O protocol, whose public methods tell the request, what comes of the
network, and a failure. So a message counts when it has come, read or not. What fails before there is a protocol, and
why the application leaves, the clients tell.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from otel_streaming._call import Call, call
from otel_streaming._causes import Cause, cause_of_close, cause_of_reading
from otel_streaming._exchange import harmless
from otel_streaming._patches import before
from otel_streaming.semconv import Kind, Origin, Protocol, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from otel_streaming._call import Asked
    from otel_streaming._patches import Patches, Wrapper

_WATCH, _END = "_otel_streaming_watch", "_otel_streaming_end"
"""Attributes of a protocol."""

_DATA = {0, 1, 2}
"""Opcodes of continuation, text and binary frames (RFC 6455 section 11.8)."""
_NO_PONG = (1011, "keepalive ping timeout")
"""What a client says that closes because its pings are not answered."""

_LOST = Cause(Reason.CONNECTION_LOST, Origin.UPSTREAM)
_IDLE = Cause(Reason.IDLE_TIMEOUT, Origin.UPSTREAM)
_STOPPED = Cause(Reason.CONSUMER_STOPPED, Origin.CLIENT)

_dialled: ContextVar[_Talk | None] = ContextVar("otel_streaming_dialled", default=None)
"""The connection that is being opened here."""


class _Talk(Call):
    """One connection."""

    _asks = Protocol.WEBSOCKET
    _size = 0  # of the message that is coming in, frame by frame

    @harmless
    def refused(self, exception: BaseException) -> None:
        """No connection came of it; an answer below 500 is told the caller, and no attempt."""
        status = getattr(getattr(exception, "response", None), "status_code", 0)
        if status >= 500:
            self._attempt(status, None)
        elif status < 300:
            self.failed(exception)

    @harmless
    def sent(self, protocol: Any, request: Any) -> None:
        """The request has been handed over; after a redirect there is another one."""
        setattr(protocol, _WATCH, self)
        self._host, self._path = protocol.uri.host, protocol.uri.path
        self.target = f"{self._host}{self._path}"
        self._headers = [(name.encode(), value.encode()) for name, value in request.headers.raw_items()]

    @harmless
    def took(self, protocol: Any, events: list[Any]) -> None:
        """What the network brought: the response, then frames, those of control too."""
        for event in events:
            opcode = getattr(event, "opcode", None)
            if opcode in _DATA:
                self._take(event)
            elif opcode is None and not self.counted and protocol.handshake_exc is None:
                self._open(Protocol.WEBSOCKET, Kind.SUBSCRIPTION, event.status_code)
                setattr(protocol, _END, _End(self))
        if protocol.close_rcvd is not None:
            self._part(protocol)

    @harmless
    def gave_in(self, protocol: Any, _: Any) -> None:
        """The protocol has failed: an error of the other side, pings without an answer, the end of the connection."""
        self.took(protocol, protocol.events)  # what came before it, and has not been fetched yet
        self._part(protocol)

    def _take(self, frame: Any) -> None:
        self._size += len(frame.data)
        if not frame.fin:
            return
        size, self._size = self._size, 0
        stream = self.stream
        if stream is not None and not size:
            stream.keepalives += 1
        elif stream is not None and stream.chunk(self.clock(), size):
            stream.idle_since = stream.progress_at

    def _part(self, protocol: Any) -> None:
        """Nothing more will come: take the close frames for the end."""
        stream = self.stream
        cause, code = _farewell(protocol)
        if stream is None or code is None:
            self._stop(cause)
        else:
            stream.closed(self.clock(), cause, code)
            self._end(stream)

    @harmless
    def left(self, exception: BaseException) -> None:
        """The application leaves the connection's block by an exception: it stops if it was told to."""
        if cause_of_reading(exception) == _STOPPED:
            self._stop(_STOPPED)


def _farewell(protocol: Any) -> tuple[Cause, int | None]:
    """Return what the close frames say, and the code of the first one; none: there was none, or no answer to ours."""
    theirs, ours = protocol.close_rcvd, protocol.close_sent
    if theirs is not None and (ours is None or protocol.close_rcvd_then_sent):
        return cause_of_close(theirs.code, Origin.UPSTREAM), int(theirs.code)
    if ours is None:
        return _LOST, None
    cause = cause_of_close(ours.code, Origin.CLIENT)
    if theirs is None and cause.reason is Reason.COMPLETED:
        return _STOPPED, None
    return _IDLE if (ours.code, ours.reason) == _NO_PONG else cause, int(ours.code)


class _End:
    """Is collected with the protocol it hangs on."""

    def __init__(self, watch: _Talk) -> None:
        self._watch = watch

    def __del__(self) -> None:
        self._watch.dropped()


def _asks(connect: Any) -> Asked:
    return "GET", connect.ws_uri.host, connect.ws_uri.path, ()


@contextmanager
def _dialling(connect: Any) -> Iterator[None]:
    watch: Any = call(_asks, connect, kind=_Talk)
    _dialled.set(watch)
    try:
        yield
    except BaseException as exception:
        if watch is not None:
            watch.refused(exception)
        raise
    finally:
        _dialled.set(None)  # no reset by token: what collects a coroutine may do so in another context


def _dials(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def connect(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _dialling(self):
            return original(self, *args, **kwargs)

    return connect


def _dials_later(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def connect(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _dialling(self):
            return await original(self, *args, **kwargs)

    return connect


@before
def _sends(protocol: Any, request: Any) -> None:
    watch = _dialled.get()
    if watch is not None:
        watch.sent(protocol, request)


def _told(tell: Callable[[_Talk, Any, Any], None]) -> Wrapper:
    """Have a protocol's watch told what one of its methods has returned."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def method(protocol: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(protocol, *args, **kwargs)
            watch = getattr(protocol, _WATCH, None)
            if watch is not None:
                tell(watch, protocol, result)
            return result

        return method

    return wrapper


@before
def _leaves(connection: Any, _: Any, exception: BaseException | None, *__: Any) -> None:
    watch = getattr(connection.protocol, _WATCH, None)
    if watch is not None and exception is not None:
        watch.left(exception)


def _protocol(module: ModuleType, patches: Patches) -> None:
    patches.wrap(module.ClientProtocol, "send_request", _sends)
    patches.wrap(module.ClientProtocol, "events_received", _told(_Talk.took))
    patches.wrap(module.ClientProtocol, "fail", _told(_Talk.gave_in))


HOOKS = {
    "websockets.client": _protocol,
    "websockets.asyncio.client": lambda module, patches: patches.wrap(module.connect, "connect", _dials_later),
    "websockets.asyncio.connection": lambda module, patches: patches.wrap(module.Connection, "__aexit__", _leaves),
    "websockets.sync.client": lambda module, patches: patches.wrap(module.reconnect, "connect", _dials),
    "websockets.sync.connection": lambda module, patches: patches.wrap(module.Connection, "__exit__", _leaves),
    "websockets.trio.client": lambda module, patches: patches.wrap(module.connect, "connect", _dials_later),
    "websockets.trio.connection": lambda module, patches: patches.wrap(module.Connection, "__aexit__", _leaves),
}
"""What is patched when a module is imported by the host; nothing is imported for it."""
