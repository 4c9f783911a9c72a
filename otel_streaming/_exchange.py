"""An exchange under watch, served or called: what both have in common, from the first count to the report.

Nothing here raises: a fault of ours is logged once and costs the watch, never the exchange.
"""

from __future__ import annotations

import functools
import sys
import typing
from typing import TYPE_CHECKING, Any, TypeVar

from otel_streaming._engine import watchdog
from otel_streaming._notices import notice, where
from otel_streaming._stream import Stream
from otel_streaming.semconv import Kind, Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.trace import Span, SpanContext

    from otel_streaming._callbacks import Callback
    from otel_streaming._engine import Engine
    from otel_streaming._shape import Request, Shape
    from otel_streaming._verdict import StreamSummary
    from otel_streaming.semconv import Dialect

    HeaderList = Iterable[tuple[bytes, bytes]]

F = TypeVar("F", bound="Callable[..., Any]")


class Peer(typing.Protocol):
    """What a server knows of its client."""

    @property
    def disconnected(self) -> bool:
        """Whether the connection has been lost."""


class _UnknownPeer:
    disconnected = False


UNKNOWN_PEER: Peer = _UnknownPeer()


def harmless(method: F) -> F:
    """Keep what goes wrong in ``method`` away from the host: log it once, and give the watch up."""

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever it is, it is not the host's
            self.give_up()
            return None

    return guarded  # type: ignore[return-value]


class _Faults:
    """Whether a fault of ours has been logged."""

    logged = False


class Exchange:
    """One exchange under watch.

    ``stream`` is None until the exchange qualifies as a stream, and again after it has ended.
    """

    # Defaults live in the class: most exchanges are no streams, and set few of them.
    stream: Stream | None = None
    counted = False
    collected = False  # whether it may be the garbage collector that ends it
    peer: Peer = UNKNOWN_PEER
    parent: Span | None = None
    callbacks: list[Callback] = []  # noqa: RUF012 - one of its own with the application's notes
    clock: Callable[[], float]
    _engine: Engine
    _headers: HeaderList = ()  # of the request

    def origin(self) -> SpanContext:
        """Return the span context that the stream belongs to; not valid where there is none."""
        return self._engine.telemetry.origin(self.parent, self._headers)

    def lost(self, stream: Stream, now: float) -> None:
        """The watchdog found that the server has lost the reader."""

    def left_behind(self) -> None:
        """A server stops and waits no longer."""

    def forget_peer(self) -> None:
        """Ask the server's object no more."""
        self.peer = UNKNOWN_PEER

    def give_up(self) -> None:
        """A fault of ours: say so once, and watch this exchange no more."""
        if not _Faults.logged:
            _Faults.logged = True
            notice("a stream goes unwatched, please report this fault of otel_streaming: %s", where())
        stream, self.stream = self.stream, None
        if stream is not None:
            self._engine.registry.end(stream, Result.UNKNOWN, Outcome.UNKNOWN)

    def _make(
        self,
        shape: Shape,
        request: Request,
        started_at: float,
        route: str | None,
        *,
        encoded: bool = False,
        dialect: Dialect | None = None,
    ) -> Stream:
        """Make the stream, as the settings for its route will have it."""
        settings = self._engine.settings
        names = (route, request.path)
        threshold = settings.stall_threshold.get(*names)
        if shape.kind is Kind.SUBSCRIPTION and not settings.stall_threshold.named(*names):
            threshold = float("inf")
        stream = Stream(
            shape,
            request.method,
            started_at,
            threshold=threshold,
            readable=not encoded,
            declared=settings.terminals.get(*names),
            announced=dialect,
            recent=settings.chunk_events,
        )
        stream.retry = request.retry
        return stream

    def _count(self, stream: Stream) -> None:
        self.counted = True
        self._engine.telemetry.register()
        self._engine.registry.begin(stream, self)
        watchdog.start()

    def _close_books(self, stream: Stream, summary: StreamSummary, *, attempt: bool) -> None:
        """Count the end, and report it; ``attempt`` where the exchange qualified by its end only."""
        registry = self._engine.registry
        stream.end()
        if attempt:
            self._engine.telemetry.register()
            registry.attempt(stream, summary.result, summary.outcome)
        elif not self.counted or not registry.end(stream, summary.result, summary.outcome):
            return
        self._report(summary)

    @harmless
    def _report(self, summary: StreamSummary) -> None:
        aside = self.collected or sys.exc_info()[0] is GeneratorExit
        tell = functools.partial(self._engine.telemetry.ended, summary, self.parent, self._headers)
        if aside:
            self._engine.untold.append(tell)
        else:
            tell()
        if self._engine.listener is not None:
            self._engine.listener(summary)
        callbacks, self.callbacks = self.callbacks, []
        call = self._engine.callbacks.later if aside else self._engine.callbacks.call
        for callback in callbacks:
            call(callback, summary)
