"""The verdict: what the evidence of one stream amounts to. Result, outcome, reason, phase, origin: formed here only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otel_streaming._life import Life
from otel_streaming.semconv import (
    REASON_OUTCOME,
    AttemptBasis,
    Cache,
    Dialect,
    Kind,
    Origin,
    Outcome,
    Phase,
    Protocol,
    Reason,
    Result,
    Retry,
    Role,
    Terminal,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_streaming._dialects import Ending
    from otel_streaming._shape import Shape
    from otel_streaming._stream import AttributeValue, Stream

ORIGIN = {
    Reason.CLIENT_DISCONNECT: Origin.UNKNOWN,  # perhaps a proxy: a server cannot know
    Reason.MISSING_TERMINAL: Origin.UNKNOWN,  # this service or its upstream: its client side knows
    Reason.IN_BAND_ERROR: Origin.UNKNOWN,
    Reason.PROTOCOL_ERROR: Origin.UNKNOWN,
    Reason.CONSUMER_STOPPED: Origin.CLIENT,
    Reason.UNKNOWN: Origin.UNKNOWN,
}
"""Origins of reasons seen by a server; all others are its own."""
_OF_UPSTREAM = {
    *(Reason.HTTP_5XX, Reason.CONNECT_FAILED, Reason.MISSING_TERMINAL, Reason.IN_BAND_ERROR, Reason.PROTOCOL_ERROR)
}
"""What a client sees of whom it called."""

_BY_DRAINING = {Reason.SERVER_CANCELLED, Reason.INCOMPLETE_RESPONSE}
"""Reasons that a draining server explains."""

_RESULT = {
    Outcome.COMPLETED: Result.OK,
    Outcome.TRUNCATED: Result.SILENT,
    Outcome.FAILED: Result.SILENT,
    Outcome.CANCELLED: Result.CANCELLED,
    Outcome.UNKNOWN: Result.UNKNOWN,
}


class StreamSummary(NamedTuple):
    """All that is known of one ended stream.

    Times (``..._at``) are seconds on the caller's monotonic clock, durations seconds, sizes bytes. A stall is
    (when it became one, when it ended, its whole silence), a recent chunk (when, size, the gap before it).
    """

    shape: Shape
    method: str
    status: int | None
    result: Result
    outcome: Outcome
    reason: Reason
    phase: Phase
    origin: Origin
    dialect: Dialect
    terminal: Terminal
    retry: Retry
    attempt_basis: AttemptBasis | None
    started_at: float
    headers_at: float | None
    first_chunk_at: float | None
    client_gone_at: float | None
    terminal_at: float | None
    ended_at: float
    first_chunk_size: int
    chunks: int
    keepalives: int
    size: int
    gap_max: float
    gap_counts: tuple[int, ...]
    stalls: tuple[tuple[float, float, float], ...]
    recent_chunks: tuple[tuple[float, int, float], ...]
    stall_count: int
    stall_duration: float
    backpressure: float
    abandoned_chunks: int
    abandoned_size: int
    abandoned_duration: float
    finish_reason: str | None
    close_code: int | None
    output_tokens: int | None
    model: str | None
    stream_id: str | None
    error: str | None
    attributes: Mapping[str, AttributeValue]
    dead: bool = False  # reported after the death of its process
    server_address: str | None = None  # whom a client called
    cache: Cache | None = None
    buffered: bool | None = None
    upstream_outcome: Outcome | None = None  # of the client stream that fed this one and ended badly
    upstream_reason: Reason | None = None
    masked: bool = False  # complete on the wire all the same

    @property
    def bad(self) -> bool:
        """Whether users lost something: truncated or failed."""
        return self.outcome in {Outcome.TRUNCATED, Outcome.FAILED}


def summarise(stream: Stream, now: float, *, draining: bool = False) -> StreamSummary:
    """Form the verdict at ``now``; of a stream not yet ended, the one it would have if it ended now.

    Args:
        stream: The stream; it is not changed.
        now: The time, s.
        draining: Whether the server is shutting down.
    """
    said = stream.said()
    rule = stream.rule()
    reason = _reason(stream, said, draining=draining)
    outcome, terminal = REASON_OUTCOME[reason], _terminal(stream, said)
    ended_at = now if stream.ended_at is None else stream.ended_at
    gone, notes = stream.gone_at, stream.notes
    sent_at = stream.idle_since if stream.idle_since >= stream.progress_at else ended_at
    return StreamSummary(
        shape=stream.shape,
        method=stream.method,
        status=stream.status,
        result=_result(stream, reason, terminal, ended_at),
        outcome=outcome,
        reason=reason,
        phase=_phase(stream, terminal),
        origin=_origin(stream, reason),
        dialect=Dialect.NONE if rule is None else rule.dialect,
        terminal=terminal,
        retry=stream.retry,
        attempt_basis=stream.basis,
        started_at=stream.started_at,
        headers_at=stream.headers_at,
        first_chunk_at=stream.first_chunk_at,
        client_gone_at=gone,
        terminal_at=stream.progress_at if terminal is Terminal.SEEN else None,
        ended_at=ended_at,
        first_chunk_size=stream.first_chunk_size,
        chunks=stream.chunks,
        keepalives=stream.keepalives,
        size=stream.size,
        gap_max=stream.gap_max,
        gap_counts=tuple(stream.gap_counts),
        stalls=stream.stalls,
        recent_chunks=tuple(stream.recent or ()),
        stall_count=stream.stall_count,
        stall_duration=stream.stall_duration,
        backpressure=max(0.0, stream.backpressure + sent_at - stream.progress_at),
        abandoned_chunks=stream.abandoned_chunks,
        abandoned_size=stream.abandoned_size,
        abandoned_duration=0.0 if gone is None else max(0.0, now - gone),
        finish_reason=said.finish_reason,
        close_code=stream.close_code,
        output_tokens=said.output_tokens,
        model=said.model,
        stream_id=None if notes is None else f"{notes.stream_id:016x}",
        error=None if notes is None else notes.error,
        attributes={} if notes is None else dict(notes.attributes),
    )


def _reason(stream: Stream, said: Ending, *, draining: bool) -> Reason:
    """Weigh the evidence: the status, what the last events say, then how the application ended."""
    if stream.status is not None and stream.status >= 500:
        return Reason.HTTP_5XX
    if said.reason is not None:
        return said.reason
    if stream.life is Life.FINISHED:
        cut = said.cut or stream.marker_due()
        return Reason.MISSING_TERMINAL if cut else Reason.COMPLETED
    if stream.life is Life.GONE:
        return Reason.CLIENT_DISCONNECT
    reason = Reason.INCOMPLETE_RESPONSE if stream.cause is None else stream.cause.reason
    if draining and reason in _BY_DRAINING:
        return Reason.SERVER_SHUTDOWN
    unanswered = stream.headers_at is None and stream.shape.role is Role.SERVER
    return Reason.HTTP_5XX if unanswered and reason is not Reason.SERVER_CANCELLED else reason


def _terminal(stream: Stream, said: Ending) -> Terminal:
    if said.reason in {Reason.COMPLETED, Reason.INCOMPLETE_DECLARED}:
        return Terminal.SEEN
    if stream.marker_due():
        return Terminal.MISSING
    endless = stream.shape.kind is Kind.SUBSCRIPTION or stream.endless
    return Terminal.NOT_REQUIRED if endless else Terminal.NOT_CHECKED


def _phase(stream: Stream, terminal: Terminal) -> Phase:
    if stream.headers_at is None or (stream.status or 0) >= 500:
        return Phase.BEFORE_HEADERS
    if terminal is Terminal.SEEN:
        return Phase.AFTER_TERMINAL
    return Phase.MID_STREAM if _begun(stream) else Phase.BEFORE_FIRST_CHUNK


def _begun(stream: Stream) -> bool:
    """Tell whether there was progress; of a fixed body only its size is known."""
    return bool(stream.chunks or (stream.size and not stream.keepalives))


def _origin(stream: Stream, reason: Reason) -> Origin:
    if stream.cause is not None and stream.cause.reason is reason:
        return stream.cause.origin
    if stream.shape.role is Role.CLIENT and reason in _OF_UPSTREAM:
        return Origin.UPSTREAM
    return ORIGIN.get(reason, Origin.SERVER)


def _result(stream: Stream, reason: Reason, terminal: Terminal, ended_at: float) -> Result:
    """Say it in one word; the first match counts."""
    outcome = REASON_OUTCOME[reason]
    if reason in {Reason.HTTP_5XX, Reason.CONNECT_FAILED}:
        return Result.LOUD
    if reason is Reason.SERVER_SHUTDOWN and terminal in {Terminal.NOT_CHECKED, Terminal.NOT_REQUIRED}:
        return Result.RECYCLED
    if outcome is Outcome.CANCELLED and stream.shape.kind is not Kind.SUBSCRIPTION:
        silent = ended_at - stream.idle_since > stream.threshold and stream.progress_at <= stream.idle_since
        return Result.GAVE_UP if silent or not _begun(stream) else Result.CANCELLED
    return _RESULT[outcome]


_MANY = 50
_WAITED = 1.0
_APART = 0.001


def buffered(summary: StreamSummary, stream: Stream, events: int) -> bool:
    """Tell whether events that were made one by one must have been held back on the way.

    At least 50, after a wait of a second or more, and then less than a millisecond apart: no model writes so fast. A
    cache that plays a stream back does, without the wait; so do the rows of a query, after one. What is held back in
    portions is not recognised.

    Args:
        summary: What came.
        stream: The stream.
        events: How many events were in it.
    """
    first, rows = summary.first_chunk_at, summary.shape.protocol == Protocol.NDJSON and summary.dialect is Dialect.NONE
    if first is None or rows or events < _MANY or first - summary.started_at - stream.backpressure < _WAITED:
        return False
    return stream.progress_at - first < events * _APART
