"""Causes: what an exception, or a WebSocket's close code, that ends a stream says about the reason.

Exceptions are known by the qualified names in their method resolution order, so that no client library is
imported to recognise its errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otel_streaming.semconv import Origin, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cause(NamedTuple):
    """A reason and the side it points at."""

    reason: Reason
    origin: Origin


_LOST = Cause(Reason.CONNECTION_LOST, Origin.UPSTREAM)
_IDLE = Cause(Reason.IDLE_TIMEOUT, Origin.UPSTREAM)
_CANCELLED = Cause(Reason.SERVER_CANCELLED, Origin.SERVER)
_UPSTREAM = Cause(Reason.PRODUCER_ERROR, Origin.UPSTREAM)  # a client library's, such as a refused connection
GONE = Cause(Reason.CLIENT_DISCONNECT, Origin.UNKNOWN)
_PRODUCER = Cause(Reason.PRODUCER_ERROR, Origin.SERVER)

_BY_NAME = {
    **{
        f"{library}.{name}": cause
        for library in ("httpx", "httpcore", "httpx2", "httpcore2")
        for name, cause in (
            ("ReadTimeout", _IDLE),
            ("RemoteProtocolError", _LOST),
            ("ReadError", _LOST),
            ("TransportError", _UPSTREAM),
            ("NetworkError", _UPSTREAM),
            ("TimeoutException", _UPSTREAM),
        )
    },
    "aiohttp.ClientPayloadError": _LOST,
    "aiohttp.ServerDisconnectedError": _LOST,
    "aiohttp.SocketTimeoutError": _IDLE,
    "aiohttp.ServerTimeoutError": _IDLE,
    "builtins.ConnectionError": _LOST,  # of a socket that the producer reads: its own client is seen by `send`
    "builtins.ConnectionRefusedError": _UPSTREAM,
    "asyncio.IncompleteReadError": _LOST,
    "http.IncompleteRead": _LOST,
    "http.RemoteDisconnected": _LOST,
    "urllib3.ProtocolError": _LOST,
    "urllib3.IncompleteRead": _LOST,
    "urllib3.ReadTimeoutError": _IDLE,
    "requests.ChunkedEncodingError": _LOST,
    **dict.fromkeys(("anthropic.APIError", "openai.APIError", "grpc.RpcError"), _UPSTREAM),
    "grpc.UNAVAILABLE": _LOST,
    "grpc.DEADLINE_EXCEEDED": Cause(Reason.DEADLINE_EXCEEDED, Origin.UPSTREAM),
    "gunicorn.HTTP2ConnectionError": GONE,  # out of `send`, and no OSError, against ASGI HTTP spec 2.4
    "gunicorn.ClientDisconnected": GONE,
    "asyncio.CancelledError": _CANCELLED,
    "trio.Cancelled": _CANCELLED,
    "builtins.KeyboardInterrupt": _CANCELLED,
    "builtins.SystemExit": _CANCELLED,
    "builtins.GeneratorExit": Cause(Reason.UNKNOWN, Origin.UNKNOWN),  # closed by a finaliser: nobody knows why
    "builtins.TimeoutError": Cause(Reason.DEADLINE_EXCEEDED, Origin.SERVER),
    "asyncio.TimeoutError": Cause(Reason.DEADLINE_EXCEEDED, Origin.SERVER),  # its own class before Python 3.11
}


def cause_of(exception: BaseException) -> Cause:
    """Return what the exception says; anything unknown out of a producer is its own error.

    Of a group (anyio wraps what its task groups raise) the first member counts that is no cancellation: the
    others were cancelled because of it.
    """
    causes = [_cause(leaf) for leaf in _members(exception)]
    return next((cause for cause in causes if cause is not _CANCELLED), _CANCELLED)


_STOPPED = Cause(Reason.CONSUMER_STOPPED, Origin.CLIENT)
_BROKEN = Cause(Reason.PROTOCOL_ERROR, Origin.UPSTREAM)
_OF_A_READER = {
    **dict.fromkeys(
        ("asyncio.CancelledError", "trio.Cancelled", "builtins.GeneratorExit", "builtins.KeyboardInterrupt"), _STOPPED
    ),
    "builtins.SystemExit": _STOPPED,
    "grpc.CANCELLED": _STOPPED,
    "builtins.TimeoutError": _IDLE,  # of a socket, or of a library that waits for one
    "asyncio.TimeoutError": _IDLE,
    "builtins.OSError": _LOST,  # TLS errors are of its kind
    **{f"{library}.DecodingError": _BROKEN for library in ("httpx", "httpx2")},
    "urllib3.DecodeError": _BROKEN,
    "aiohttp.HttpProcessingError": _BROKEN,  # a body that is not as encoded as it says, a line without end
}
"""Where they say another thing to who reads than to who produces."""


def cause_of_reading(exception: BaseException) -> Cause:
    """Return what an exception says that reading a response raised; of any other its origin is the upstream."""
    for name in _names(exception):
        cause = _OF_A_READER.get(name) or _BY_NAME.get(name)
        if cause is not None:
            return cause
    return _UPSTREAM if isinstance(exception, Exception) else _STOPPED  # a greenlet that is killed, say


_BY_CLOSE_CODE = {
    **dict.fromkeys((1000, 1001, 1005), Reason.COMPLETED),
    **dict.fromkeys((1002, 1003, *range(1007, 1011)), Reason.PROTOCOL_ERROR),
    **dict.fromkeys((1011, 1013, 1014), Reason.IN_BAND_ERROR),
    1012: Reason.SERVER_SHUTDOWN,
}
"""By RFC 6455 section 7.4.1 and its registry; 1006 is no code of a frame: the adapter knows what it stands for."""


def cause_of_close(code: int, side: Origin) -> Cause:
    """Return what the code of a close frame says that ``side`` has sent.

    From 3000 on it is the libraries' and the application's own word: a close all the same (RFC 6455 section 7.4.2).
    """
    reason = _BY_CLOSE_CODE.get(code, Reason.COMPLETED if code >= 3000 else Reason.UNKNOWN)
    return Cause(reason, _NOT_THE_CLIENTS.get(reason, side) if side is Origin.CLIENT else side)


_NOT_THE_CLIENTS = {
    Reason.SERVER_SHUTDOWN: Origin.SERVER,  # nobody but a server restarts
    Reason.PROTOCOL_ERROR: Origin.UNKNOWN,  # it complains of the server, or the server of it: both are told alike
}
"""Whom a client's close frame points at, where it is not at itself."""

_DISGUISE = "starlette.ClientDisconnect"
"""What Starlette, from ASGI 2.4 on, makes of every OSError, a producer's time-out and its lost upstream included.

A ``send`` that raised has been seen as it did, before this.
"""


_DEPTH = 3


def _cause(exception: BaseException, depth: int = 0) -> Cause:
    found = next((_BY_NAME[name] for name in _names(exception) if name in _BY_NAME), _PRODUCER)
    beneath = exception.__cause__
    if found.reason is Reason.PRODUCER_ERROR and beneath is not None and depth < _DEPTH:
        cause = _cause(beneath, depth + 1)  # SDKs raise their own from their client library's, which says more
        found = cause if cause.origin is Origin.UPSTREAM else found
    return found


def _names(exception: BaseException) -> Iterator[str]:
    """Yield what it is known by, the nearest first: its classes, and gRPC's status before the one class of all."""
    for cls in type(exception).__mro__:
        name = _name(cls)
        if name == "grpc.RpcError":
            status = getattr(exception, "code", str)()
            yield f"grpc.{getattr(status, 'name', '')}"
        yield name


def _name(cls: type) -> str:
    return f"{cls.__module__.partition('.')[0]}.{cls.__name__}"


def _members(exception: BaseException, depth: int = 0) -> list[BaseException]:
    disguised = exception.__context__
    if disguised is not None and _name(type(exception)) == _DISGUISE:
        return [disguised]
    inner = getattr(exception, "exceptions", None)  # a group's, or whatever a class of one's own calls so
    if not isinstance(inner, tuple) or depth > _DEPTH:
        return [exception]
    members = [member for member in inner[:4] if isinstance(member, BaseException)]
    return [leaf for member in members for leaf in _members(member, depth + 1)] or [exception]
