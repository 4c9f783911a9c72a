"""The WSGI adapter (PEP 3333): two hooks that share one watch through the environ.

The *outer* hook stands at the server's entry, the *inner* one at the framework's; the one that sees the headers
first counts the body. Both only pass on: the application's chunks, the server's calls, and what either raises.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from otel_streaming._body import watched_body
from otel_streaming._engine import watched
from otel_streaming._exchange import harmless
from otel_streaming._life import Life
from otel_streaming._peers import peer_behind
from otel_streaming._shape import LENGTHS
from otel_streaming._stand_in import StandIn
from otel_streaming._watch import Server, untold, watch_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from otel_streaming._stream import Stream
    from otel_streaming._watch import Watch

    Environ = dict[str, Any]
    StartResponse = Callable[..., Any]
    App = Callable[[Environ, StartResponse], Iterable[bytes]]
    T = TypeVar("T")

KEY = "otel_streaming.watch"
"""Environ key of the exchange's watch; None where it is not watched. Without a dot it would have to be a string."""

_WHOLE = (list, tuple)
_PAUSE = 0.01
"""Seconds of silence after which the server's socket is asked for the reader: that is a system call."""
_GONE = {"ClientDisconnected", "HTTP2ConnectionError", "HTTP2StreamError"}
"""What waitress, and gunicorn over HTTP/2, raise in place of an OSError when the reader has gone."""


class WSGIStreamingMiddleware(StandIn):
    """Watch a WSGI application's streams: the outer hook, put in place by a server's entry or by hand.

    Counted once, however many of them stand in a row.

    Example:
        ``app.wsgi_app = WSGIStreamingMiddleware(app.wsgi_app)``, or ``app = WSGIStreamingMiddleware(app)``.
    """

    def __init__(self, app: App, server: Server | None = None) -> None:
        """Wrap ``app``; ``server`` is given where a server has several doors to it."""
        self._application: App = app
        self._server = server or Server()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        watch = None
        if KEY not in environ:
            environ[KEY] = None
            around = watched.get(None)
            if around is None or around.over:  # not below an ASGI server, nor asked by an application itself
                environ[KEY] = watch = watch_over(_scope(environ), untold)
        if watch is None:
            return self._application(environ, start_response)
        watch.server, watch.bridged = self._server, True
        watch.peer = peer_behind(environ)
        return Layer(watch, environ, start_response, inner=False).run(self._application)


def hooked_application(original: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return a framework's WSGI application method, watched: the inner hook."""

    @functools.wraps(original)
    def entered(application: Any, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        app = functools.partial(original, application)
        if KEY not in environ:  # no outer hook: stand in for it
            return WSGIStreamingMiddleware(functools.partial(entered, application))(environ, start_response)
        watch = environ[KEY]
        if watch is None or not watch.enter(_scope(environ), untold):
            return app(environ, start_response)
        return Layer(watch, environ, start_response, inner=True).run(app)

    return entered


def _scope(environ: Environ) -> dict[str, Any]:
    """Return what a watch reads of a request, under ASGI's names."""
    path = f"{environ.get('SCRIPT_NAME') or ''}{environ.get('PATH_INFO') or ''}"
    if not path.isascii():  # "bytes-as-unicode" (PEP 3333)
        path = path.encode("latin-1", "replace").decode(errors="replace")
    return {"method": environ.get("REQUEST_METHOD") or "", "path": path, "headers": _RequestHeaders(environ)}


class _RequestHeaders:
    """Header fields of a request as ASGI has them, made when they are read: of few requests they are."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._environ.items():
            if key.startswith("HTTP_") and isinstance(value, str):  # middleware puts in whatever it likes
                yield key[5:].replace("_", "-").lower().encode("latin-1", "replace"), value.encode("latin-1", "replace")


class Layer:
    """What one hook wraps of one exchange: start_response, write and the body."""

    __slots__ = ("_environ", "_handled", "_inner", "_sent", "_start", "counts", "ended", "granian", "waitress", "watch")

    def __init__(self, watch: Watch, environ: Environ, start: StartResponse, *, inner: bool) -> None:
        self.watch, self._environ, self._start, self._inner = watch, environ, start, inner
        self.counts = self.ended = self._sent = False
        self._handled = sys.exc_info()[1]
        # granian sends the headers at once, and closes a body, without a word, when it could not hand a chunk on.
        self.waitress = "waitress.client_disconnected" in environ
        self.granian = environ.get("SERVER_SOFTWARE") == "Granian"

    def run(self, app: App) -> Iterable[bytes]:
        """Call the application; returns its body as the server is to have it."""
        try:
            body = self.within(app, self._environ, self.start_response)
        except BaseException as exception:
            self.failed(exception)
            self.end(exception)
            raise
        return body if self._nothing_to_watch(body) else watched_body(self, body)

    def within(self, call: Callable[..., T], *args: Any) -> T:
        """Call what is the application's as part of this exchange: the thread's next request is another one."""
        token = watched.set(self.watch)
        try:
            return call(*args)
        finally:
            watched.reset(token)

    def start_response(self, status: str, headers: list[tuple[str, str]], *error: Any, **named: Any) -> Any:
        """Pass the headers on; of an answer that is taken back the server decides whether it is too late for that."""
        if hasattr(headers, "__next__"):  # may be read once only
            headers = list(headers)
        first = not self.watch.answered
        if first:
            self._answered(status, headers)
        write = self._start(status, headers, *error, **named)
        if not first and not self._inner:  # by a layer further inside, or another answer instead of the first
            self._rewired(status)
        if write is None or not self.watch.unfinished or not (self.counts or not self._inner):
            return write
        return functools.partial(self._write, write)

    @harmless
    def _answered(self, status: str, headers: list[tuple[str, str]]) -> None:
        watch = self.watch
        if watch.peer.disconnected:
            watch.left()
        self.counts = True
        read = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers if len(n) in LENGTHS]
        watch.respond(int(status[:3]), read)

    @harmless
    def _rewired(self, status: str) -> None:
        watch, stream, code = self.watch, self.watch.stream, int(status[:3])
        if stream is not None and stream.life is Life.BROKEN and not self._sent and code < 500:  # it is tried again
            watch.thrown_away(stream)
        watch.rewire(code)

    def _write(self, write: Callable[[bytes], Any], data: bytes) -> Any:
        self.sends(data)
        progress = self.count(data, self.watch.clock()) if self.counts else None
        try:
            result = write(data)
        except BaseException as exception:
            if _says_gone(exception):
                self.cut(exception)
            raise
        if progress is not None:
            progress.idle_since = self.watch.clock()
        return result

    def sends(self, data: Any) -> None:
        """Headers go out with the first bytes (PEP 3333), with the first chunk at all but waitress's."""
        if data or not self.waitress:
            self._sent = True

    def count(self, data: Any, now: float) -> Stream | None:
        """A part of the body is about to be sent; returns the stream if that is progress."""
        watch = self.watch
        try:
            if not isinstance(data, bytes):  # the server's to refuse (PEP 3333)
                return None
            stream = watch.stream
            if stream is None:
                watch.plain(len(data))
                return None
            if now - stream.idle_since > _PAUSE and watch.peer.disconnected:
                watch.left()
            progress = bool(data) and stream.chunk(now, data)
            if not watch.counted:
                watch.consider(now)
        except Exception:  # noqa: BLE001 - a chunk we cannot read is the server's to judge
            watch.give_up()
            return None
        return stream if progress else None

    @harmless
    def _nothing_to_watch(self, body: Iterable[bytes]) -> bool:
        """Tell whether the body goes on as it is: servers treat those that are whole in ways of their own."""
        watch = self.watch
        whole = isinstance(body, _WHOLE)
        if whole or _is_file(body, self._environ.get("wsgi.file_wrapper")):
            for data in body if whole and self.counts else ():
                self.count(data, watch.clock())
            if self.counts:
                watch.finish(b"" if whole else None)
        elif not watch.answered or watch.stream is not None or watch.unfinished:
            return False
        self.end()
        return True

    @harmless
    def finished(self) -> None:
        """The body is exhausted."""
        if self.counts:
            if self.watch.unfinished and self.watch.peer.disconnected:
                self.watch.left()
            self.watch.finish(b"")

    @harmless
    def failed(self, exception: BaseException) -> None:
        """An exception leaves the application, or its body."""
        if self.watch.answered and not (self._inner or self._sent or self.granian):
            self.watch.rewire(500)
        self.watch.broke(exception)

    @harmless
    def cut(self, reason: BaseException | None) -> None:
        """A body is closed before its end; what its server handles meanwhile says why.

        "close() ... whether it terminated early due to an application error during iteration or an early disconnect
        of the browser" (PEP 3333); an error of the application would have been seen.
        """
        if isinstance(reason, OSError):
            self.watch.send_failed(reason)
        elif reason is None or _says_gone(reason):
            self.watch.left()
        else:
            self.watch.broke(reason)

    def closed_early(self) -> None:
        """A body is closed before its end, and what is being handled meanwhile says why."""
        reason = sys.exc_info()[1]
        if reason is self._handled:  # since before the request
            reason = None
        if self._inner and isinstance(reason, OSError):  # a middleware's: of the server's the outer layer knows first
            self.failed(reason)
        else:
            self.cut(reason)

    def end(self, exception: BaseException | None = None) -> None:
        """The application has returned, and its body has been closed, as this layer sees it."""
        if not self.ended and not self._inner:
            self.watch.returned(exception)
            self._environ.pop(KEY, None)
        self.ended = True

    def give_up(self) -> None:
        """A fault of ours."""
        self.watch.give_up()


def _is_file(body: Any, wrapper: Any) -> bool:
    """Tell a file that the server may send by means of its own; uWSGI's wrapper, a function, returns the file."""
    return isinstance(body, wrapper) if isinstance(wrapper, type) else wrapper is not None and hasattr(body, "read")


def _says_gone(exception: BaseException) -> bool:
    """Tell whether it says that the reader has gone; a generator in between makes GeneratorExit of it."""
    return isinstance(exception, OSError | GeneratorExit) or type(exception).__name__ in _GONE
