"""The watch over one stream that is read, and what its reader reads from: what it receives, and how it stops.

Gaps run from the moment the reader asks for more to the moment it gets some: what passes between is the reader's own.
"""

from __future__ import annotations

import sys
from math import nextafter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from otel_streaming._causes import Cause, cause_of_reading
from otel_streaming._exchange import Exchange, harmless
from otel_streaming._verdict import summarise
from otel_streaming.semconv import Origin, Reason

if TYPE_CHECKING:
    from typing_extensions import Self

    from otel_streaming._stream import Stream
    from otel_streaming._verdict import StreamSummary

T = TypeVar("T")
_STOPPED = Cause(Reason.CONSUMER_STOPPED, Origin.CLIENT)
_EXPIRED = Cause(Reason.DEADLINE_EXCEEDED, Origin.CLIENT)
_AT_EXIT = Cause(Reason.UNKNOWN, Origin.UNKNOWN)
_LONG = 512
"""Bytes of a message above which its events are counted one by one."""


class Reading(Exchange):
    """A stream as its reader has it. ``wants`` and ``got`` run for every message."""

    _holds: Stream | None = None  # what the reader has, and asks for no more of yet

    def wants(self) -> None:
        """The reader asks for more."""
        if self._holds is not None:
            self._holds.idle_since = self.clock()
            self._holds = None

    def _handed(self, stream: Stream) -> None:
        """The reader has got what a stream begins with; when it asks for its first message is up to it."""
        stream.idle_since = nextafter(stream.progress_at, 0)  # before it: not waiting
        self._holds = stream

    def got(self, body: Any) -> None:
        """The reader gets some."""
        try:
            stream = self.stream
            if stream is None:
                self._plain(body)
            elif body and stream.chunk(self.clock(), body):
                self._holds = stream
                if len(body) > _LONG:
                    self._many(body)
        except Exception:  # noqa: BLE001 - what we cannot read is the reader's to judge
            self.give_up()

    def _plain(self, body: Any) -> None:
        """A message of what is no stream, or is no longer."""

    def _many(self, body: Any) -> None:
        """A message that may hold many events."""

    @harmless
    def finished(self) -> None:
        """The reader has got all there was."""
        if self.stream is not None:
            self.stream.eof(self.clock())
            self._end(self.stream)

    @harmless
    def broke(self, exception: BaseException) -> None:
        """Reading raised."""
        self._stop(cause_of_reading(exception))

    @harmless
    def expired(self) -> None:
        """The reader's own limit for the whole has passed."""
        self._stop(_EXPIRED)

    @harmless
    def closed(self) -> None:
        """The reader wants no more; after the end it means nothing."""
        self._stop(_STOPPED)

    @harmless
    def dropped(self) -> None:
        """What the reader reads from is collected: it wants no more, unless it is the interpreter that exits."""
        self.collected = True
        self._stop(_AT_EXIT if sys.is_finalizing() else _STOPPED)

    def _stop(self, cause: Cause) -> None:
        stream = self.stream
        if stream is not None:
            stream.failed(self.clock(), cause)
            self._end(stream)

    def _end(self, stream: Stream, *, attempt: bool = False) -> None:
        summary = self._verdict(stream)
        self.stream = None
        self._close_books(stream, summary, attempt=attempt)

    def _verdict(self, stream: Stream) -> StreamSummary:
        return summarise(stream, self.clock())


class Watched:
    """A source and the watch over it; whatever else the source has is had through this."""

    def __init__(self, source: Any, watch: Reading) -> None:
        self._source = source
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        if name in {"_source", "_watch", "_next"}:  # of a copy, which has been given none
            raise AttributeError(name)
        return getattr(self._source, name)

    def __del__(self) -> None:
        """End what was neither read to its end nor closed."""
        watch = getattr(self, "_watch", None)
        if watch is not None:
            watch.dropped()


class WatchedIterator(Watched, Generic[T]):
    """An iterable that passes everything on, and tells the watch."""

    def __init__(self, source: Any, watch: Reading) -> None:
        super().__init__(source, watch)
        self._next: Any = getattr(source, "__next__", None)

    def __iter__(self) -> Self:
        """Begin to read."""
        self._next = iter(self._source).__next__
        return self

    def __next__(self) -> T:
        """Read on."""
        if self._next is None:
            self.__iter__()
        watch = self._watch
        watch.wants()
        try:
            item: T = self._next()
        except StopIteration:
            watch.finished()
            raise
        except BaseException as exception:
            watch.broke(exception)
            raise
        watch.got(item)
        return item


class WatchedAsyncIterator(Watched, Generic[T]):
    """The same but for its awaits."""

    def __init__(self, source: Any, watch: Reading) -> None:
        super().__init__(source, watch)
        self._next: Any = getattr(source, "__anext__", None)

    def __aiter__(self) -> Self:
        """Begin to read."""
        self._next = self._source.__aiter__().__anext__
        return self

    async def __anext__(self) -> T:
        """Read on."""
        if self._next is None:
            self.__aiter__()
        watch = self._watch
        watch.wants()
        try:
            item: T = await self._next()
        except StopAsyncIteration:
            watch.finished()
            raise
        except BaseException as exception:
            watch.broke(exception)
            raise
        watch.got(item)
        return item
