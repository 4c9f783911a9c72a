"""The body of a WSGI answer (PEP 3333), on its way through a layer of ours."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_streaming._stream import Stream
    from otel_streaming.wsgi import Layer


def watched_body(layer: Layer, body: Any) -> Body:
    """Return a body that ``layer`` is told of, with a length if it has one: servers make a content-length of it."""
    return (SizedBody if hasattr(body, "__len__") else Body)(layer, body)


class Body:
    """A body of whatever an application returns."""

    def __init__(self, layer: Layer, body: Any) -> None:
        self._layer = layer
        self._body = body
        self._next: Callable[[], bytes] = functools.partial(next, body)
        self._progress: Stream | None = None  # whose progress the server is sending
        self._held: tuple[bytes, float] | None = None  # what granian may not be able to send

    def __iter__(self) -> Iterator[bytes]:
        self._next = iter(self._body).__next__
        return self

    def __next__(self) -> bytes:
        layer = self._layer
        if self._held is not None:
            self._progress = layer.count(*self._held)
        if self._progress is not None:
            self._progress.idle_since = layer.watch.clock()
        self._progress = self._held = None
        try:
            data = layer.within(self._next)
        except StopIteration:
            layer.finished()
            raise
        except BaseException as exception:
            layer.failed(exception)
            layer.end(exception)  # careless middleware closes nothing
            raise
        layer.sends(data)
        if layer.counts and layer.granian:
            self._held = data, layer.watch.clock()
        elif layer.counts:
            self._progress = layer.count(data, layer.watch.clock())
        return data

    def __getattr__(self, name: str) -> Any:
        if name in {"_body", "_layer"}:  # of a copy, which has been given none
            raise AttributeError(name)
        return getattr(self._body, name)

    def close(self) -> None:
        """Close the body: it was exhausted, or something ended it before."""
        layer = self._layer
        try:
            if layer.watch.unfinished:
                layer.closed_early()
            if self._held is not None:  # too late
                layer.count(*self._held)
            close = getattr(self._body, "close", None)
            if close is not None:
                layer.within(close)
        finally:
            layer.end()

    def __del__(self) -> None:
        """End what no server has closed: nobody knows why."""
        layer = getattr(self, "_layer", None)
        if layer is not None and not layer.ended:
            layer.watch.collected = True
            layer.end(GeneratorExit() if layer.watch.unfinished else None)


class SizedBody(Body):
    """One that knows its length."""

    def __len__(self) -> int:
        return len(self._body)
