"""What is told of an ended stream, as names and values: its span's name, attributes and events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_streaming import semconv as sc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_streaming._config import Settings
    from otel_streaming._verdict import StreamSummary

    Event = tuple[float, str, dict[str, Any]]

COUNTED = "sdk"
"""The value of ``stream.metrics`` on the span of a stream that its process counts."""

_FIRST_EVENTS, _LAST_EVENTS = 4, 28
_MAX_TEXT = 256
"""Characters after which a string is no name any more."""


def name_of(s: StreamSummary) -> str:
    """Return the name of a stream's span: ``stream POST /chat``."""
    return " ".join(word[:_MAX_TEXT] for word in ("stream", s.method, s.server_address or s.shape.route) if word)


def attributes_of(s: StreamSummary, settings: Settings, *, model: str | None) -> dict[str, Any]:
    """Return the attributes of a stream's span, the most important last: span limits drop the oldest.

    Args:
        s: What is known of the stream.
        settings: Which of it may be told, and whether the process counts it itself.
        model: The model's name, or what stands for it.
    """
    shape = s.shape
    first = None if s.first_chunk_at is None else s.first_chunk_at - s.started_at
    left = s.client_gone_at is not None
    values: dict[str, Any] = {
        **s.attributes,
        sc.ERROR: s.error if s.reason is sc.Reason.DECLARED_ERROR else None,
        sc.ERROR_TYPE: s.reason if s.bad else None,
        sc.PROCESS_DEAD: s.dead or None,
        sc.COUNTED_BY: COUNTED if settings.metrics == "all" else None,
        sc.STATUS_CODE: s.status,
        sc.METHOD: s.method or None,
        sc.SERVER_ADDRESS: s.server_address,
        sc.ROUTE: shape.route,
        sc.BUFFERED: s.buffered,
        sc.CACHE: s.cache,
        sc.MASKED: s.masked or None,
        sc.UPSTREAM_REASON: s.upstream_reason,
        sc.UPSTREAM_OUTCOME: s.upstream_outcome,
        sc.OUTPUT_TOKENS: s.output_tokens,
        sc.MODEL: model,
        sc.FINISH_REASON: s.finish_reason if settings.capture_finish_reason else None,
        sc.WEBSOCKET_CLOSE_CODE: s.close_code,
        sc.RETRY: s.retry,
        sc.ATTEMPT_BASIS: s.attempt_basis,
        sc.ABANDONED_DURATION: s.abandoned_duration if left else None,
        sc.ABANDONED_SIZE: s.abandoned_size if left else None,
        sc.ABANDONED_CHUNK_COUNT: s.abandoned_chunks if left else None,
        sc.BACKPRESSURE_DURATION: s.backpressure,
        sc.STALL_DURATION: s.stall_duration,
        sc.STALL_COUNT: s.stall_count,
        sc.CHUNK_GAP_COUNTS: s.gap_counts or None,
        sc.CHUNK_GAP_MAX: s.gap_max,
        sc.TIME_TO_FIRST_CHUNK: first,
        sc.SIZE: s.size,
        sc.KEEPALIVE_COUNT: s.keepalives,
        sc.CHUNK_COUNT: s.chunks,
        sc.TERMINAL: s.terminal,
        sc.DIALECT: s.dialect,
        sc.PROTOCOL: shape.protocol,
        sc.KIND: shape.kind,
        sc.ROLE: shape.role,
        sc.ORIGIN: s.origin,
        sc.PHASE: s.phase,
        sc.REASON: s.reason,
        sc.OUTCOME: s.outcome,
        sc.RESULT: s.result,
    }
    return {
        key: value[:_MAX_TEXT] if isinstance(value, str) else value  # cut, a word is a plain string as well
        for key, value in values.items()
        if value is not None
    }


def events_of(s: StreamSummary) -> Sequence[Event]:
    """Return the span's events in their order: the first four, the last twenty-eight, and the chunks asked for."""
    points: list[Event] = []
    if s.headers_at is not None and s.status is not None:
        points.append((s.headers_at, sc.Event.HEADERS.value, {}))
    if s.first_chunk_at is not None:
        points.append((s.first_chunk_at, sc.Event.FIRST_CHUNK.value, {sc.CHUNK_SIZE: s.first_chunk_size}))
    for stalled_at, resumed_at, silence in s.stalls:
        why: dict[str, Any] = {sc.STALL_DURATION: silence, sc.ORIGIN: sc.Origin.UNKNOWN.value}
        points.append((stalled_at, sc.Event.STALLED.value, why))
        if resumed_at < s.ended_at:
            points.append((resumed_at, sc.Event.RESUMED.value, {}))
    if s.client_gone_at is not None:
        points.append((s.client_gone_at, sc.Event.CLIENT_GONE.value, {}))
    if s.terminal_at is not None:
        points.append((s.terminal_at, sc.Event.TERMINAL.value, {}))
    points.sort(key=lambda point: point[0])
    end: dict[str, Any] = {sc.OUTCOME: s.outcome.value, sc.REASON: s.reason.value, sc.ORIGIN: s.origin.value}
    points.append((s.ended_at, sc.Event.END.value, end))
    kept = [*points[:_FIRST_EVENTS], *points[_FIRST_EVENTS:][-_LAST_EVENTS:]]
    for when, size, gap in s.recent_chunks:  # asked for one by one
        kept.append((when, sc.Event.CHUNK.value, {sc.CHUNK_SIZE: size, sc.CHUNK_GAP: gap}))
    return sorted(kept, key=lambda point: point[0])
