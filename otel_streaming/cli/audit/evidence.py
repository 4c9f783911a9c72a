"""What an audit has found: its reads, as the client had them, and what the service told of them itself. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from otel_streaming.semconv import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_streaming._verdict import StreamSummary
    from otel_streaming.semconv import Cache


class Way(str, Enum):
    """How a stream is read; in the order in which it is."""

    WHOLE = "whole"
    LEAVE = "leave"
    REPEAT = "repeat"
    SLOW = "slow"

    __str__ = str.__str__

    @property
    def words(self) -> str:
        """The read in words."""
        return _WORDS[self]


_WORDS = {
    Way.WHOLE: "the one read to its end",
    Way.LEAVE: "the one left at half way",
    Way.REPEAT: "the one repeated",
    Way.SLOW: "the one read slowly",
}


class Arrival(NamedTuple):
    """One piece of a body: when it came (s since the request), its bytes, whether it was more than a keep-alive."""

    at: float
    size: int
    progress: bool


@dataclass(frozen=True)
class Leaving:
    """How the client left before the end.

    It ends its own side of the connection first (a FIN, as every closing client sends), listens on for a while, and
    then closes it, so that whatever is still written is answered by a reset.

    Attributes:
        at: When the FIN was sent, s since the request.
        sent_at: The same, s since the epoch.
        closed_at: When it was closed, s since the epoch; None where the other side had ended it.
        heard: Pieces that came after the FIN.
        size: Their bytes.
    """

    at: float
    sent_at: float
    closed_at: float | None = None
    heard: int = 0
    size: int = 0


_CUT = {Reason.CONNECTION_LOST, Reason.MISSING_TERMINAL}


@dataclass(frozen=True)
class Read:
    """One read, as its client had it.

    Attributes:
        way: How it was read.
        trace_id: Of the trace context that went with the request, in hexadecimal.
        cache: What the response's headers say of a cache on the path.
        control: What they say to caches (Cache-Control).
        encoded: Whether the body is compressed, so that its events are not seen.
        arrivals: The pieces of the body.
        events: How many events were in it; pieces, where the framing has none.
        digest: Tells equal bodies from others.
        summary: The verdict of the client's side.
        over: Whether the audit itself ended the read, its time being up.
        leaving: How the client left, if it did.
    """

    way: Way
    trace_id: str
    cache: Cache
    control: str
    encoded: bool
    arrivals: tuple[Arrival, ...]
    events: int
    digest: str
    summary: StreamSummary
    over: bool = False
    leaving: Leaving | None = None

    @property
    def seconds(self) -> float:
        """From the request to the end."""
        return self.summary.ended_at - self.summary.started_at

    @property
    def complete(self) -> bool:
        """Whether all of the answer came."""
        return self.summary.outcome is Outcome.COMPLETED

    @property
    def cut(self) -> bool:
        """Whether it broke off, the client having stayed."""
        return self.leaving is None and not self.over and self.summary.reason in _CUT

    @property
    def silences(self) -> list[float]:
        """Seconds without a single byte: up to the headers, between pieces, and up to the end."""
        headers = (self.summary.headers_at or self.summary.started_at) - self.summary.started_at
        times = [0.0, headers, *(arrival.at for arrival in self.arrivals)]
        return [after - before for before, after in zip(times, [*times[1:], self.seconds], strict=True)]

    @property
    def first(self) -> float | None:
        """Seconds from the request to the first progress."""
        first = self.summary.first_chunk_at
        return None if first is None else first - self.summary.started_at

    @property
    def spread(self) -> float:
        """Seconds from the first progress to the last."""
        times = [arrival.at for arrival in self.arrivals if arrival.progress]
        return times[-1] - times[0] if times else 0.0


class Record(NamedTuple):
    """What the service told of one stream it served, by its span.

    Attributes:
        service: Who told it.
        outcome: What became of the stream.
        reason: Why it ended.
        seconds: From the request to the end.
        chunks: Messages with progress.
        first: Seconds from the request to the first chunk.
        gone_at: When the client was known to have gone, s since the epoch.
        abandoned_chunks: Chunks made after that.
        abandoned_size: Their bytes.
        abandoned_seconds: For how long the work went on.
    """

    service: str
    outcome: str
    reason: str
    seconds: float = 0.0
    chunks: int = 0
    first: float | None = None
    gone_at: float | None = None
    abandoned_chunks: int = 0
    abandoned_size: int = 0
    abandoned_seconds: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """All that was found.

    Attributes:
        method: Of the requests.
        longest: How long a read may last, s.
        silence: Silence without a keep-alive that is a finding, s.
        reads: The reads that were made.
        missing: Why others were not, by the way they would have been.
        records: What the service told, by trace id.
        elsewhere: How many records came that belong to no read.
        heard: Whether anything at all came from inside.
        traced: Whether spans of the reads' traces did, whoever made them.
        waited: How long records were waited for after the last read, s.
        hurried: Whether that was less than was to be, all of the time being over.
    """

    method: str
    longest: float
    silence: float
    reads: Mapping[Way, Read]
    missing: Mapping[Way, str] = field(default_factory=dict)
    records: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    elsewhere: int = 0
    heard: bool = False
    traced: bool = False
    waited: float = 0.0
    hurried: bool = False

    @property
    def left(self) -> tuple[Read, Leaving] | None:
        """The read that the client left, and how; None where there is none, or all had been sent by then."""
        read = self.reads.get(Way.LEAVE)
        return None if read is None or read.leaving is None or self.sent_before else (read, read.leaving)

    @property
    def sent_before(self) -> bool:
        """Whether the service had sent all of it when the client left, and the rest lay in buffers."""
        read, record = self.reads.get(Way.LEAVE), self.record(Way.LEAVE)
        if read is None or read.leaving is None or record is None:
            return False
        return record.outcome == Outcome.COMPLETED and record.seconds <= read.leaving.at

    def record(self, way: Way) -> Record | None:
        """Return what the service told of a read, None where it told nothing."""
        read = self.reads.get(way)
        told = self.records.get(read.trace_id, ()) if read is not None else ()
        return told[0] if told else None

    def untold(self, way: Way) -> bool:
        """Tell whether the service told nothing of a read, though it told of others and had its time."""
        return way in self.reads and bool(self.records) and not self.hurried and self.record(way) is None

    @property
    def repeated(self) -> bool:
        """Whether the repeated call brought the very same bytes."""
        return Way.REPEAT in self.reads and self.reads[Way.REPEAT].digest == self.reads[Way.WHOLE].digest

    def why(self, way: Way) -> str:
        """Return why a read was not made, or tells nothing."""
        if way is Way.LEAVE and self.sent_before:
            return "the service had sent all of it before the client could leave"
        return self.missing.get(way, "no further request was allowed, or no time was left")
