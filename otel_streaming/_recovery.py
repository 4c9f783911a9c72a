"""Recovery: what a dead process's file says. What it had not handed out, and which of its streams were open."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from otel_streaming._causes import Cause
from otel_streaming._shape import Ended, Shape
from otel_streaming._slots import (
    PROGRESS_AT,
    SIZE,
    End,
    Header,
    Legacy,
    Open,
    Progress,
    Row,
    decode,
    decode_progress,
)
from otel_streaming._stream import Notes, Stream
from otel_streaming._verdict import ORIGIN, StreamSummary, summarise
from otel_streaming.semconv import Origin, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

_SLICE = 32


class Dead(NamedTuple):
    """A stream that died with its process, and the span context it belongs to (zeros: none)."""

    summary: StreamSummary
    trace_id: int
    span_id: int
    sampled: bool


class Found(NamedTuple):
    """What a file holds: counts not handed out, its open streams among them, and whom its process had adopted last."""

    counts: dict[Shape | Ended, int]
    streams: list[Dead]
    adopted: int


def recover(data: bytes, wall: float, pause: Callable[[], object] = bool) -> Found | None:
    """Read a file, None if it is none of ours.

    Args:
        data: Its bytes.
        wall: What the wall clock is ahead of the monotonic one, s.
        pause: Called again and again, to let other threads in.
    """
    header = decode(data[:PROGRESS_AT])
    if not isinstance(header, Header):
        return None
    places = [at for at in range(SIZE, len(data), SIZE) if data[at]]
    read = ((at, decode(data[at : at + PROGRESS_AT])) for at in _in_slices(places, pause))
    slots = {at: slot for at, slot in read if slot is not None}
    counts, upto = _rows(slots.values())

    def add(series: Shape | Ended, number: int, amount: int = 1) -> None:
        if number > upto.get(series, 0):
            counts[series] += amount
        counts.setdefault(series, 0)

    streams = []
    for at, slot in _in_slices(slots.items(), pause):
        if isinstance(slot, Legacy) and slot.batch <= header.batch:
            add(slot.series, slot.number, slot.amount)
        elif isinstance(slot, End) and isinstance(slot.series, Ended):
            add(slot.series.shape, slot.begun)
            add(slot.series, slot.ended)
        elif isinstance(slot, Open):
            add(slot.shape, slot.number)
            progress = decode_progress(data[at + PROGRESS_AT : at + SIZE])
            streams.append(_dead(slot, progress, wall))
            counts[_series(streams[-1].summary)] += 1
    return Found({series: max(0, count) for series, count in counts.items()}, streams, header.adopted)


def _rows(slots: Iterable[object]) -> tuple[Counter[Shape | Ended], dict[Shape | Ended, int]]:
    """Return what the rows have not handed out, and up to which numbers they count: two routes may be cut to one."""
    counts: Counter[Shape | Ended] = Counter()
    upto: dict[Shape | Ended, int] = {}
    for row in slots:
        if isinstance(row, Row):
            counts[row.series] += row.amount - row.handed
            upto[row.series] = max(row.upto, upto.get(row.series, 0))
    return counts, upto


def _in_slices(items: Iterable[T], pause: Callable[[], object]) -> Iterator[T]:
    for number, item in enumerate(items):
        if number % _SLICE == 0:
            pause()
        yield item


def _series(summary: StreamSummary) -> Ended:
    return Ended(summary.shape, summary.result, summary.outcome, summary.stall_count > 0)


def _dead(slot: Open, progress: Progress | None, wall: float) -> Dead:
    """Form the verdict over a stream that ended with its process, or had ended before, but for its application."""
    if progress is None or progress.started_ns != slot.started_ns:  # another stream's, or none yet
        progress = Progress(slot.started_ns, slot.started_ns, 0, 0, 0, 0, -1.0, 0.0, 0.0, 0.0)
    started, last = (ns / 1e9 - wall for ns in (slot.started_ns, progress.progress_ns))
    stream = Stream(slot.shape, slot.method, started, readable=False)
    stream.retry = slot.retry
    stream.notes = Notes(slot.stream_id) if slot.stream_id else None
    stream.headers(started, slot.status)
    stream.size, stream.keepalives = progress.size, progress.keepalives
    stream.gap_counts[0] = progress.chunks
    stream.stall_count, stream.stall_duration = progress.stall_count, progress.stall_duration
    stream.backpressure = progress.backpressure
    stream.idle_since = stream.progress_at = last
    if progress.first_chunk >= 0:
        stream.first_chunk_at = started + progress.first_chunk
    reason = progress.reason or Reason.PROCESS_DEATH
    stream.failed(last, Cause(reason, ORIGIN.get(reason, Origin.SERVER)))
    summary = summarise(stream, last)
    # How its gaps were spread went with the process.
    summary = summary._replace(headers_at=None, gap_max=progress.gap_max, gap_counts=(), dead=True)
    return Dead(summary, slot.trace_id, slot.span_id, slot.sampled)
