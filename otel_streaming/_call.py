"""The watch over one request to another service, from its sending to the end of its answer."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

from otel_streaming._causes import Cause, cause_of_reading
from otel_streaming._engine import engine, watched
from otel_streaming._exchange import harmless
from otel_streaming._reading import Reading
from otel_streaming._shape import (
    PLAIN,
    announced,
    cache_of,
    kind_of,
    protocol_of,
    read_request,
    read_response,
    shape_of,
    would_have_streamed,
)
from otel_streaming._verdict import buffered
from otel_streaming.semconv import (
    REASON_OUTCOME,
    AttemptBasis,
    Cache,
    Kind,
    Origin,
    Outcome,
    Protocol,
    Reason,
    Role,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Context

    from otel_streaming._blame import Feed
    from otel_streaming._engine import Engine
    from otel_streaming._exchange import HeaderList
    from otel_streaming._shape import Request
    from otel_streaming._stream import Stream
    from otel_streaming._verdict import StreamSummary

    Asked = tuple[str, str, str, HeaderList]

_SHORT = Cause(Reason.CONNECTION_LOST, Origin.UPSTREAM)

_DELIMITERS: dict[str, tuple[bytes, ...]] = {Protocol.SSE: (b"\n\n", b"\r\n\r\n"), Protocol.NDJSON: (b"\n",)}


class Fields:
    """Header fields of a library that keeps them as text, read anew each time."""

    def __init__(self, headers: Any) -> None:
        self._headers = headers

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield names and values."""
        for name, value in self._headers.items():
            yield _bytes(name), _bytes(value)


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "replace")


class Call(Reading):
    """One request to another service, and the reading of its answer."""

    paced = True  # whether its messages are had when they come, and no later
    _asks: Protocol | None = None  # what the request itself asks for, whatever its headers accept
    _cache = Cache.NONE
    _events = 0  # beyond one a message
    _left: int | None = None  # what is to come of the body, or still to come of one that is no stream
    _status = 0
    _quiet: Protocol | None = None  # of a body that is no stream: told only if it ends badly
    _feed: Feed | None = None

    def __init__(self, engine: Engine, method: str, host: str, path: str, headers: HeaderList) -> None:
        """Begin a call; ``headers`` are read, when they matter, as they have been sent by then."""
        self._engine = engine
        self._method, self._host, self._path = method, host, path
        self._headers = headers
        self.target = f"{host}{path}"  # a route, to settings and to what is learnt; never told
        self._context: Context | None = copy_context()
        self._fed = watched.get(None)
        self.clock = clock = engine.registry.clock
        self._started_at = clock()

    @harmless
    def answered(self, status: int, headers: HeaderList) -> bool:
        """Response headers have come; returns whether the reading of the body is to be watched."""
        media_type, length, encoded = read_response(headers)
        protocol = protocol_of(self._method, self._path, status, media_type, length)
        self._status = status
        if status >= 500 and protocol in PLAIN:
            self._attempt(status, None)
        if (status >= 500 and protocol in PLAIN) or protocol is None:
            return False
        settings = self._engine.settings
        if protocol in PLAIN and not (settings.routes or settings.subscriptions):  # most: no need to read the request
            return self._no_stream(protocol, None if encoded else length)
        request = self._request()
        kind = kind_of(request, protocol, self.target, settings, media_type)
        if kind is Kind.OTHER:
            return self._no_stream(protocol, None if encoded else length)
        self._left = None if encoded else length
        self._cache = cache_of(headers)
        self._open(protocol, kind, status, encoded=encoded, dialect=announced(headers))
        if self.stream is not None:
            self._handed(self.stream)
        return True

    def _open(self, protocol: Protocol, kind: Kind, status: int, **more: Any) -> None:
        stream = self._new(self._request(), protocol, kind, **more)
        stream.headers(self.clock(), status)
        self._set_out()
        self._engine.registry.learn(Role.CLIENT, self.target, protocol)
        self.stream = stream
        self._count(stream)

    def _no_stream(self, protocol: Protocol, length: int | None) -> bool:
        """Keep in mind a body that is told only if it ends badly; returns whether there is one."""
        self._quiet, self._left = protocol, length
        return length != 0

    @harmless
    def failed(self, exception: BaseException) -> None:
        """No answer came."""
        cause = cause_of_reading(exception)
        if REASON_OUTCOME[cause.reason] is not Outcome.CANCELLED:
            cause = Cause(Reason.CONNECT_FAILED, Origin.UPSTREAM)
        self._attempt(None, cause)

    def _attempt(self, status: int | None, cause: Cause | None) -> None:
        """Report a call that got no stream, if it was an attempt at one."""
        request = self._request()
        learned = self._engine.registry.learned[Role.CLIENT]
        found = would_have_streamed(request, self.target, self._engine.settings, learned)
        if found is None or request.method == "HEAD":
            return
        basis, asked = found
        stream = self._new(request, asked, kind_of(request, asked, self.target, self._engine.settings))
        stream.status, stream.basis = status, AttemptBasis(basis)
        if cause is not None:
            stream.failed(self.clock(), cause)
        self._set_out()
        self._end(stream, attempt=True)

    def _plain(self, body: Any) -> None:
        if self._left is not None:
            self._left -= len(body)

    def _many(self, body: Any) -> None:
        delimiters = _DELIMITERS.get(self.stream.shape.protocol, ()) if self.stream is not None else ()
        self._events += max((body.count(mark) for mark in delimiters), default=1) - 1

    @harmless
    def finished(self) -> None:
        """The reader has got all there was."""
        size = self.stream.size if self.stream is not None else 0
        if (self._left or 0) > size:  # not every library minds
            self._stop(_SHORT)
        super().finished()
        self._quiet = None

    def _stop(self, cause: Cause) -> None:
        super()._stop(cause)
        quiet, self._quiet = self._quiet, None
        if quiet is None or REASON_OUTCOME[cause.reason] in {Outcome.CANCELLED, Outcome.UNKNOWN}:
            return
        stream = self._new(self._request(), quiet, Kind.OTHER)
        now = self.clock()
        stream.headers(now, self._status)
        stream.failed(now, cause)
        self._set_out(feeds=False)
        self._end(stream, attempt=True)

    def _set_out(self, *, feeds: bool = True) -> None:
        """What is told of it belongs to the span that went with the request, else to the one current then."""
        telemetry = self._engine.telemetry
        if self._context is not None and not telemetry.sent(self._headers).is_valid:
            self.parent = telemetry.current(self._context)
        self._context = None  # an application's own variables may lead to what it reads from: it is to be collected
        if feeds and self._fed is not None and self._feed is None:
            self._feed = self._fed.fed(self.target)

    def _verdict(self, stream: Stream) -> StreamSummary:
        summary = super()._verdict(stream)
        held_back = self.paced and self._events > 0 and buffered(summary, stream, summary.chunks + self._events)
        return summary._replace(server_address=self._host, cache=self._cache, buffered=held_back)

    def _close_books(self, stream: Stream, summary: StreamSummary, *, attempt: bool) -> None:
        if self._feed is not None:
            self._feed.summary = summary
        super()._close_books(stream, summary, attempt=attempt)

    def _request(self) -> Request:
        request = read_request(self._method, self.target, self._headers)  # a path alone would be this service's own
        return request if self._asks is None else request._replace(accepts=self._asks)

    def _new(self, request: Request, protocol: str, kind: Kind, **more: Any) -> Stream:
        shape = shape_of(Role.CLIENT, kind, protocol, None)
        return self._make(shape, request, self._started_at, self.target, **more)


_sent: ContextVar[str | None] = ContextVar("otel_streaming_sent", default=None)
"""What a request that is being sent asks, which one library may do by another: it is one call."""


class Sending:
    """The sending of a request, up to its answer, which may fail."""

    __slots__ = ("_token", "_watch")

    def __init__(self, watch: Call | None) -> None:
        self._watch = watch

    def __enter__(self) -> None:
        """Begin to send."""
        if self._watch is not None:
            self._token = _sent.set(self._watch.target)

    def __exit__(self, kind: object, exception: BaseException | None, traceback: object) -> None:
        """Be answered, or tell that there is no answer."""
        if self._watch is None:
            return
        with contextlib.suppress(ValueError):  # a coroutine that is collected ends in another context
            _sent.reset(self._token)
        if exception is not None:
            self._watch.failed(exception)


def call(asks: Callable[..., Asked], *args: Any, kind: type[Call] = Call) -> Call | None:
    """Begin to watch a request about to be sent; None if it is excluded, an exporter's own, or watched already.

    Args:
        asks: Reads the request that ``args`` stand for: method, host, path and headers.
        args: What the library has.
        kind: What watches it.
    """
    try:
        current = engine()
        method, host, path, headers = asks(*args)
        excluded = current.settings.excluded_urls
        if _sent.get() == f"{host}{path}" or current.telemetry.suppressed():
            return None
        if excluded is not None and excluded.search(f"{host}{path}"):
            return None
        return kind(current, method, host, path, headers)
    except Exception:  # noqa: BLE001 - a request we cannot read is the library's to judge
        return None
