"""The watch over one request that is answered: what adapters tell, turned into a stream and its verdict.

Adapters know a server or a library; this knows neither. Nothing here raises.
"""

from __future__ import annotations

import os
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from otel_streaming._blame import MAX_FEEDS, Feed, blamed
from otel_streaming._causes import GONE, Cause, cause_of, cause_of_close
from otel_streaming._engine import engine
from otel_streaming._exchange import Exchange, harmless
from otel_streaming._life import Life
from otel_streaming._shape import (
    PLAIN,
    announced,
    kind_of,
    protocol_of,
    read_request,
    read_response,
    shape_of,
    would_have_streamed,
)
from otel_streaming._stream import Notes
from otel_streaming._verdict import summarise
from otel_streaming.semconv import OTHER, AttemptBasis, Kind, Origin, Outcome, Protocol, Reason, Result, Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from opentelemetry.trace import Span

    from otel_streaming._engine import Engine
    from otel_streaming._exchange import HeaderList
    from otel_streaming._shape import Request
    from otel_streaming._stream import Stream
    from otel_streaming._verdict import StreamSummary
    from otel_streaming.semconv import Dialect

CHUNKED_AFTER = 1.0
"""Seconds between first and last message that make a stream of a merely chunked body."""

_UNFINISHED = {Life.OPEN, Life.FLOWING}
_NO_FINAL = Cause(Reason.INCOMPLETE_RESPONSE, Origin.SERVER)

ABNORMAL = 1006
"""The close code that stands for a connection lost without a close frame (RFC 6455 section 7.1.5)."""
_RESTART = 1012

_NOT_READ = Cause(Reason.CLIENT_TIMEOUT, Origin.CLIENT)


class Server:
    """What the exchanges of one server share: whether it drains, and over which HTTP version it then cuts them."""

    draining = False

    def __init__(self, cuts: str = "") -> None:
        self.cuts = cuts


def untold(_: Any) -> None:
    """Tell no route: it comes by ``routed``."""


def watch_over(scope: Any, template: Callable[[Any], str | None]) -> Watch | None:
    """Begin to watch an exchange; None if it is excluded, or says of itself what we cannot read."""
    try:
        current = engine()
        excluded = current.settings.excluded_urls
        if excluded is not None and excluded.search(scope["path"]):
            return None
        return Watch(current, scope, template)
    except Exception:  # noqa: BLE001 - a scope we cannot read is the application's to judge
        return None


class Watch(Exchange):
    """One request that this process answers."""

    forwarded = False  # whether what reaches the outer hook was counted by the inner one
    answered = 0  # the status of the response, 0 before its headers
    wire_done: bool | None = None  # whether the outer hook saw the final message; None without one
    server = Server()
    bridged = False  # whether it runs under WSGI, where an ASGI application below a bridge is the same exchange
    asked: Protocol | None = None  # what the request itself asks for, whatever its headers accept
    farewell: Callable[[], int | None] | None = None  # tells the close code that the application has not received
    closing: int | None = None  # the code of the close frame that the application sends
    parting: int | None = None  # the close code of a server whose application returns without closing a WebSocket
    _attempted: Stream | None = None  # what qualified by its end only, kept until the application has returned
    _server_span: Span | None = None
    _notes: Notes | None = None
    _mounts: tuple[tuple[str, str], ...] = ()  # root path and template of each mount on the way to the route
    _context: Context | None = None
    _left_at: float | None = None
    feeds: tuple[Feed, ...] = ()  # client streams, in the order they began
    _length = 0  # of a fixed body
    _due = 0  # what of it is still to come
    _closed = False  # whether its final message was seen

    def __init__(self, engine: Engine, scope: Any, template: Callable[[Any], str | None]) -> None:
        """Watch the exchange of an ASGI ``scope``; ``template`` tells its route where no framework's hook does."""
        self._engine = engine
        self._scope = scope
        self._template = template
        self._method: str = scope.get("method", "GET")  # a WebSocket's, RFC 6455 section 4.1
        self._path: str = scope["path"]
        self._headers: HeaderList = scope["headers"]
        self.clock = clock = engine.registry.clock
        self._started_at = clock()

    # -- told by the adapters, in the order of an exchange ---------------------------------------------------

    def enter(self, scope: Any, template: Callable[[Any], str | None]) -> bool:
        """A framework's router is entered; returns whether it handles the exchange itself, and before its answer.

        Of routers in routers the last one knows the route: ``template`` tells it when it has been chosen.
        """
        try:
            if self.answered or not self._ours(scope):
                return False
        except Exception:  # noqa: BLE001 - a scope we cannot read; guarded here, since it runs for every request
            self.give_up()
            return False
        self._template, self._scope = template, scope
        if self._context is None:  # of the outermost router: the server span, not a mounted application's own
            self._context = copy_context()  # a tenth of the price of asking for the span, which few will need
        return True

    @harmless
    def routed(self, template: str) -> None:
        """A framework that leaves no trace of it in the scope has chosen a route."""
        self._template = lambda _: template

    @harmless
    def descend(self, scope: Any, template: str) -> None:
        """A mount passes the request on to the application below it; the scope's root path says how deep it is."""
        if self.answered or not self._ours(scope):
            return
        root = scope.get("root_path", "")
        above = [(path, part) for path, part in self._mounts if path != root and root.startswith(path)]
        self._mounts = (*above, (root, template))

    def _ours(self, scope: Any) -> bool:
        """Tell the request itself from another one that the application makes of a copy of its scope."""
        return scope is self._scope or scope["path"] == self._path or self._context is None

    def served_by(self, span: Span) -> None:
        """A server span starts: the first one is this exchange's, others are of requests that it makes."""
        if self._server_span is None and self._scope is not None:
            self._server_span = span

    # The six that follow run within the adapters' own guard, for every request or more often.

    def respond(self, status: int, headers: HeaderList) -> None:
        """Response headers are about to be sent."""
        self.answered = status
        media_type, length, encoded = read_response(headers)
        protocol = protocol_of(self._method, self._path, status, media_type, length)
        if status >= 500 and protocol in PLAIN:
            self._attempt(status)
        elif protocol is Protocol.FIXED:
            self._length = self._due = length or 0
        elif protocol is not None:
            self._open(protocol, media_type, status, encoded=encoded, dialect=announced(headers))

    def upgrade(self) -> None:
        """The connection is about to become a WebSocket: with 101, over HTTP/2 with 200 (RFC 8441 section 5)."""
        self.answered = 101 if self._scope.get("http_version", "1.1") < "2" else 200
        self._open(Protocol.WEBSOCKET, "", self.answered, encoded=False, dialect=None)

    def rewire(self, status: int) -> None:
        """Response headers are about to be sent by an outer layer, perhaps with another status."""
        if status == self.answered:
            return
        self.answered = status
        self._due = 0
        stream = self.stream
        if stream is None or (status >= 500 and not self.counted):
            self.stream = None
            self._attempt(status)
        elif status >= 500:
            stream.status = status
        elif not 200 <= status < 300:
            self.thrown_away(stream)

    def thrown_away(self, stream: Stream) -> None:
        """Another answer was given in place of the stream, a refusal or a second attempt: nobody saw it."""
        self._engine.registry.end(stream, Result.UNKNOWN, Outcome.UNKNOWN)
        self.stream = None

    def consider(self, now: float) -> None:
        """Count a merely chunked body as a stream once it has lasted."""
        stream = self.stream
        if stream is not None and now - (stream.first_chunk_at or now) >= CHUNKED_AFTER:
            self._count(stream)

    def plain(self, size: int) -> None:
        """A message of a body that is no stream: only its length is kept in mind."""
        self._due -= size

    def finish(self, body: bytes | None) -> None:
        """The final message is about to be sent, as the innermost hook sees it; no body: a whole file follows."""
        stream = self.stream
        if stream is None:
            self._due = 0 if body is None else self._due - len(body)
            self._closed = True
            return
        now = self.clock()
        if body:
            stream.chunk(now, body)
        if not self.counted:
            self.consider(now)
        stream.eof(now)
        self._mark(stream)

    @harmless
    def left(self) -> None:
        """The reader has gone."""
        # After the final message, or the application's close frame, it means nothing.
        if self._left_at is not None or self.wire_done or self.closing is not None or self._scope is None:
            return
        if self._draining and self._scope.get("http_version") == self.server.cuts:
            return  # it is the server that has
        self._left_at = now = self.clock()
        if self.stream is None:
            return
        code = self.farewell() if self.farewell is not None else None
        if code not in {None, ABNORMAL}:
            self.closed(code, Origin.CLIENT)
        elif self.asked and self._draining:
            # Servers that drain drop their WebSockets, and tell a ``send`` no more than that one is gone.
            self._close(self.stream, cause_of_close(_RESTART, Origin.SERVER), None)
        else:
            self.stream.left(now)

    @harmless
    def closed(self, code: int, side: Origin) -> None:
        """A WebSocket is closed: by the application, or by its client as the server tells it."""
        if self.closing is not None:  # the client's frame is its echo
            code, side = self.closing, Origin.SERVER
        stream, by_client = self.stream, side is Origin.CLIENT
        if stream is None or (code == ABNORMAL and by_client):
            self.left()
        elif by_client or self._left_at is None:
            self._close(stream, cause_of_close(code, side), int(code))

    @property
    def over(self) -> bool:
        """Whether the application has returned."""
        return self._scope is None

    @property
    def unfinished(self) -> bool:
        """Whether a body that matters is still to come."""
        stream = self.stream
        return self._due > 0 and not self._closed if stream is None else stream.life in _UNFINISHED

    def lost(self, stream: Stream, now: float) -> None:
        """The watchdog found that the server has lost the reader: a note, taken up with the next thing that happens.

        Asked in this order: a server may close after the final message, and ``wire_done`` is set before that is sent.
        """
        if not self.wire_done and not self._draining:
            stream.lost_at = now

    @harmless
    def send_failed(self, error: Exception) -> None:
        """``send`` raised: the reader has gone (ASGI HTTP spec 2.4), or took nothing for as long as allowed."""
        if self.stream is not None and isinstance(error, TimeoutError):
            self.stream.failed(self.clock(), _NOT_READ)
        elif self.stream is not None and self.wire_done:  # the final message itself was not sent
            self.stream.failed(self.clock(), GONE)
        else:
            self.left()

    @harmless
    def broke(self, exception: BaseException) -> None:
        """An exception leaves the innermost hook."""
        self._look()
        stream = self.stream
        if stream is None or stream.headers_at is None or _in_background(exception):
            return
        cause = cause_of(exception)
        if cause.reason is Reason.CLIENT_DISCONNECT:
            if self.wire_done:
                return
            self.left()
        stream.failed(self.clock(), cause)
        self._mark(stream)

    @harmless
    def timed_out(self) -> None:
        """If a framework has cancelled what sends the response, it did so by a time-out that it keeps to itself."""
        stream = self.stream
        if stream is not None and stream.cause is not None and stream.cause.reason is Reason.SERVER_CANCELLED:
            stream.failed(self.clock(), cause_of(TimeoutError()))

    def returned(self, exception: BaseException | None = None) -> None:
        """The application has returned, or raised, at the outermost hook: the verdict is due."""
        try:
            self._conclude(exception)
        except Exception:  # noqa: BLE001 - whatever it is, it is not the host's
            self.give_up()
        finally:
            # Most lead back to the scope, which holds us; and what goes on, a task or a connection, holds us by its
            # context, and would keep the request and its headers alive.
            self.stream = self._attempted = None
            self._scope = self.parent = self._context = self._server_span = self.farewell = None
            self._headers = ()
            self.forget_peer()

    def _conclude(self, exception: BaseException | None) -> None:
        if exception is not None:
            self.broke(exception)
        else:
            self._look()
        if exception is None and self.parting is not None and self.stream is not None:
            self.closed(self.parting, Origin.SERVER)
        if not self.answered:
            self._attempt(None if self._left_at is not None else _status_of(exception))
            self.answered = -1  # what is sent after this is too late
        if self._due > 0:
            self._came_short(exception)
        for stream in (self.stream, self._attempted):
            if stream is not None:
                self._end(stream)

    @harmless
    def left_behind(self) -> None:
        """The server stops and waits no longer: what the application has not ended by now, it never will."""
        if self._draining:
            # Kept as it was: an interpreter that collects what it leads to, a coroutine in mid-air, crashes at its exit
            # (daphne, CPython 3.11).
            self._engine.left_behind.append(dict(vars(self)))
            self.parting = None  # of one that returns
            self.returned()

    def _look(self) -> None:
        """Ask the server for the reader once more: it may have gone in a silence, unknown to the application.

        A server that drains may have closed the connection itself.
        """
        if self._left_at is None and self.peer.disconnected and not self._draining:
            self.left()

    @property
    def _draining(self) -> bool:
        return self.server.draining or self._engine.registry.draining

    def fed(self, target: str) -> Feed:
        """The application reads a stream of another service: whom it asked, which is not told, and what came of it."""
        feed = Feed(target)
        if not self.over:
            self.feeds = (*self.feeds[1 - MAX_FEEDS :], feed)
        return feed

    # -- told by the application itself, and to it -----------------------------------------------------------

    def notes(self) -> Notes | None:
        """Return what the application's own words go into; None after the end. What it speaks of is a stream."""
        if self._scope is None:
            return None
        if self._notes is None:
            self._speak()
        return self._notes

    def _speak(self) -> None:
        """The application speaks for the first time; of threads that do so at once the first one's notes are all's."""
        mine, notes = vars(self), Notes(int.from_bytes(os.urandom(8), "big") or 1)
        mine.setdefault("callbacks", [])
        if mine.setdefault("_notes", notes) is not notes:
            return
        stream = self.stream
        if stream is not None:
            stream.notes = notes
            if self.counted:
                self._engine.registry.named(stream, self)
            else:
                self._count(stream)

    @harmless
    def deserted(self) -> bool:
        """Tell whether the reader is known to have gone."""
        return self._scope is not None and (self._left_at is not None or self.peer.disconnected)

    # -- how it is done -------------------------------------------------------------------------------------

    def give_up(self) -> None:
        """A fault of ours: say so once, and watch this exchange no more."""
        super().give_up()
        self._due = 0
        self._attempted = None

    def __deepcopy__(self, _: Any) -> Watch:
        """A copied scope belongs to the same exchange."""
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """A pickled scope belongs to none."""
        return type(None), ()

    def _request(self) -> Request:
        request = read_request(self._method, self._path, self._headers)
        return request if self.asked is None else request._replace(accepts=self.asked)

    def _route(self) -> str | None:
        if self.parent is None:
            current = self._engine.telemetry.current
            seen = current(self._context) if self._context is not None else None
            self.parent = seen or self._server_span or current(None)
        route = "".join(template for _, template in self._mounts) + (self._template(self._scope) or "")
        return route or self._engine.telemetry.route_of(self.parent)

    def _new(self, request: Request, protocol: str, kind: Kind, route: str | None, **more: Any) -> Stream:
        shape = shape_of(Role.SERVER, kind, protocol, self._engine.registry.cap_route(route))
        stream = self._make(shape, request, self._started_at, route, **more)
        stream.notes = self._notes
        return stream

    def _open(
        self, protocol: Protocol, media_type: str, status: int, *, encoded: bool, dialect: Dialect | None
    ) -> None:
        request, route = self._request(), self._route()
        self._context = None  # has told the parent; no router below counts from here on
        kind = kind_of(request, protocol, route, self._engine.settings, media_type)
        stream = self._new(request, protocol, kind, route, encoded=encoded, dialect=dialect)
        if self._left_at is not None:  # nobody was there for the headers
            if kind is Kind.OTHER and self._notes is None:
                return
            stream.status = status
            stream.left(self._left_at)
            self._attempted = stream
            return
        stream.headers(self.clock(), status)
        self.stream = stream
        stream.notes = self._notes  # another thread may have spoken meanwhile
        if kind is not Kind.OTHER or self._notes is not None:
            self._count(stream)

    def _attempt(self, status: int | None) -> None:
        """Remember a request that got no stream, if it was an attempt at one."""
        if status is not None and status < 500:
            return
        request, route = self._request(), self._route()
        registry = self._engine.registry
        found = would_have_streamed(request, route, self._engine.settings, registry.learned[Role.SERVER])
        if found is None and self._notes is not None:
            found = AttemptBasis.CONFIGURED, OTHER
        if found is None or request.method == "HEAD":
            return
        basis, protocol = found
        stream = self._new(request, protocol, kind_of(request, protocol, route, self._engine.settings), route)
        stream.status, stream.basis = status, AttemptBasis(basis)
        if self._left_at is not None:
            stream.left(self._left_at)
        self._attempted = stream

    def _came_short(self, exception: BaseException | None) -> None:
        """Report a body of fixed length that ended before its length."""
        stream = self._new(self._request(), Protocol.FIXED, Kind.OTHER, self._route())
        now = self.clock()
        stream.headers(now, self.answered)
        stream.size = self._length - self._due
        if self._closed:  # a server may refuse that message, or say that the reader has gone
            stream.eof(now)
            stream.failed(now, _NO_FINAL)
        elif self._left_at is not None:
            stream.left(self._left_at)
        elif exception is not None:
            stream.failed(now, cause_of(exception))
        self._attempted = stream

    def _mark(self, stream: Stream) -> None:
        """Mark the parent while it records; it ends when the final message has gone."""
        if self.parent is not None and self.counted:
            summary = self._verdict(stream)
            if summary.bad:
                self._engine.telemetry.mark(self.parent, summary)

    def _verdict(self, stream: Stream) -> StreamSummary:
        summary = summarise(stream, self.clock(), draining=self._draining)
        return blamed(summary, self.feeds, declared=stream.declared is not None) if self.feeds else summary

    def _close(self, stream: Stream, cause: Cause, code: int | None) -> None:
        """End a WebSocket: its application may go on, but nothing that follows counts, unless it failed before."""
        stream.closed(self.clock(), cause, code)
        self._mark(stream)
        if stream.life is Life.CLOSED:
            self.wire_done, self.stream = True, None
            self._end(stream)

    def _end(self, stream: Stream) -> None:
        if self.wire_done is False and stream.life is Life.FINISHED:
            stream.failed(self.clock(), _NO_FINAL)
        summary = self._verdict(stream)
        unseen = stream.headers_at is None or summary.shape.protocol == Protocol.FIXED
        self._close_books(stream, summary, attempt=unseen)


_HTTP_EXCEPTIONS = {"starlette.exceptions", "litestar.exceptions.http_exceptions"}


def _status_of(exception: BaseException | None) -> int:
    """Return the status that an exception becomes outside the router: only frameworks' own say another than 500."""
    ours = any(c.__module__ in _HTTP_EXCEPTIONS and c.__name__ == "HTTPException" for c in type(exception).__mro__)
    return exception.status_code if ours else 500  # type: ignore[union-attr]


def _in_background(exception: BaseException) -> bool:
    """Tell whether the exception comes from a Starlette background task: the answer was complete before it."""
    traceback = exception.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") == "starlette.background":
            return True
        traceback = traceback.tb_next
    return False
