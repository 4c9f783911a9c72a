"""Iterables that no hook sees, watched by hand: response streams of gRPC, queues, streams of SDKs.

There is nothing to read in an item but its size, and whether it is the last one, if the application tells what is.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from otel_streaming._causes import cause_of, cause_of_reading
from otel_streaming._engine import engine
from otel_streaming._exchange import harmless
from otel_streaming._notices import notice
from otel_streaming._reading import Reading, Watched, WatchedAsyncIterator, WatchedIterator
from otel_streaming._shape import Request, Shape, kind_of
from otel_streaming.semconv import REASON_OUTCOME, Outcome, Protocol, Role, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from otel_streaming._stream import Stream

T = TypeVar("T")

_LONGEST = 256
"""Characters kept of a name."""
_STOPS = {"close", "aclose", "cancel"}
"""Methods of a source by which its reader says that it wants no more."""


@overload
def observe(
    source: AsyncIterable[T], name: str | None = None, *, terminal: Callable[[T], object] | None = None
) -> ObservedAsyncIterator[T]: ...
@overload
def observe(
    source: Iterable[T], name: str | None = None, *, terminal: Callable[[T], object] | None = None
) -> ObservedIterator[T]: ...
def observe(source: Any, name: str | None = None, *, terminal: Callable[[Any], object] | None = None) -> Any:
    """Return an iterator that passes on what ``source`` gives, and reports how it ends as a stream of role ``task``.

    Asynchronous if ``source`` is; what is no iterable is returned as it is. The source's attributes are had through
    it, and it is a context manager if the source is. The stream begins with this call.

    Args:
        source: What is iterated over, once. Bytes and strings count with their size, other items without.
        name: Stands where a route does, in settings and labels too: the name of a kind of stream, not of one; beyond
            ``MAX_ROUTES`` it is ``_OTHER``.
        terminal: Tells whether an item is the last one that has to come. With it, the stream is completed once it has
            been seen, though its reader stops there, and truncated if it ends without.
    """
    if isinstance(source, AsyncIterable):
        return ObservedAsyncIterator(source, _Observation(name, terminal))
    return ObservedIterator(source, _Observation(name, terminal)) if isinstance(source, Iterable) else source


class _Observation(Reading):
    """The watch over one iterable."""

    def __init__(self, name: str | None, terminal: Callable[[Any], object] | None) -> None:
        self._terminal = terminal
        self._begin(name)

    @harmless
    def _begin(self, name: str | None) -> None:
        self._engine = current = engine()
        self.clock = current.registry.clock
        self.parent = current.telemetry.current(None)
        route, now = None if name is None else str(name)[:_LONGEST], self.clock()
        request = Request("", route or "", None, mcp=False)
        kind = kind_of(request, Protocol.ITERABLE, route, current.settings)
        shape = Shape(Role.TASK, kind, Protocol.ITERABLE, current.registry.cap_route(route))
        stream = self._make(shape, request, now, route)
        stream.headers(now, None)
        stream.marker = None if self._terminal is None else Terminal.MISSING
        self.stream = stream
        self._handed(stream)
        self._count(stream)

    @harmless
    def got(self, body: Any) -> None:
        """The reader gets an item."""
        stream = self.stream
        if stream is not None and stream.chunk(self.clock(), _size(body)):
            self._holds = stream
            if stream.marker is Terminal.MISSING:
                self._look(stream, body)

    def _look(self, stream: Stream, item: Any) -> None:
        try:
            if self._terminal is not None and self._terminal(item):
                stream.marker = Terminal.SEEN
        except Exception as error:  # noqa: BLE001 - the application's own
            stream.marker = None  # not asked again: nobody knows what has to come
            _say(type(error).__name__)

    @harmless
    def broke(self, exception: BaseException) -> None:
        """The source raised: its own error, unless it was told to stop."""
        cause = cause_of_reading(exception)
        stopped = REASON_OUTCOME[cause.reason] is Outcome.CANCELLED
        self._stop(cause if stopped else cause_of(exception))


@functools.lru_cache
def _say(kind: str) -> None:
    notice("observe(): terminal raised %s, the ends of its streams go unchecked", kind)


def _size(item: Any) -> int:
    if isinstance(item, str):
        return len(item) if item.isascii() else len(item.encode(errors="surrogatepass"))
    return len(item) if isinstance(item, bytes | bytearray) else 0


def _stopping(watch: Reading, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def stop(*args: Any, **kwargs: Any) -> Any:
        watch.closed()
        return method(*args, **kwargs)

    return stop


class _Observed(Watched):
    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        return _stopping(self._watch, found) if name in _STOPS and callable(found) else found


class ObservedIterator(_Observed, WatchedIterator[T]):
    """An iterable, observed."""

    def __enter__(self) -> Self:
        """Enter the source."""
        self._manager, self._source, self._next = self._source, self._source.__enter__(), None
        return self

    def __exit__(self, *exc: object) -> Any:
        """Leave the source: nobody reads on."""
        self._watch.closed()
        return self._manager.__exit__(*exc)


class ObservedAsyncIterator(_Observed, WatchedAsyncIterator[T]):
    """An asynchronous iterable, observed."""

    async def __aenter__(self) -> Self:
        """Enter the source."""
        self._manager, self._source, self._next = self._source, await self._source.__aenter__(), None
        return self

    async def __aexit__(self, *exc: object) -> Any:
        """Leave the source: nobody reads on."""
        self._watch.closed()
        return await self._manager.__aexit__(*exc)
