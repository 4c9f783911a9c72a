"""What a reader reads from, watched: an iterator that passes everything on, and tells the watch.

The asynchronous one is the same but for its awaits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

    from otel_streaming._call import Reading

T = TypeVar("T")


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
    """An iterable, watched."""

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

    def close(self) -> None:
        """Close the source: nobody reads on."""
        self._watch.closed()
        self._source.close()


class WatchedAsyncIterator(Watched, Generic[T]):
    """An asynchronous iterable, watched."""

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

    async def aclose(self) -> None:
        """Close the source: nobody reads on."""
        self._watch.closed()
        await self._source.aclose()
