"""What the service itself tells of the audit's requests, as the receiver hears it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_streaming import semconv as sc
from otel_streaming.cli.audit.evidence import Record

if TYPE_CHECKING:
    from otel_streaming.cli.receiver import Export
    from otel_streaming.cli.records import EndedStream


class Inside:
    """What the service tells: kept in the traces of the audit's own requests, in all others counted.

    Attributes:
        records: Of each request, by its trace id.
        traced: The requests' traces of which spans came, whoever made them.
        elsewhere: How many records came in other traces.
        heard: Whether anything at all came.
    """

    def __init__(self) -> None:
        self.records: dict[str, list[Record]] = {}
        self.traced: set[str] = set()
        self.elsewhere = 0
        self.heard = False

    def expect(self, trace_id: str) -> None:
        """A request is about to be sent with this trace id."""
        self.records[trace_id] = []

    def stream(self, ended: EndedStream) -> None:
        """A stream has ended; only of what was served is there to be one record."""
        if ended.text(sc.ROLE) != sc.Role.SERVER:
            return
        if ended.trace_id in self.records:
            self.records[ended.trace_id].append(_record(ended))
        else:
            self.elsewhere += 1

    def trace(self, trace_id: str) -> None:
        """Spans of a trace have come."""
        if trace_id in self.records:
            self.traced.add(trace_id)

    def export(self, _: Export) -> None:
        """Anything has been exported."""
        self.heard = True


def _record(ended: EndedStream) -> Record:
    abandoned = ended.number(sc.ABANDONED_DURATION)
    return Record(
        service=ended.service,
        outcome=ended.text(sc.OUTCOME),
        reason=ended.text(sc.REASON),
        seconds=ended.ended_at - ended.started_at,
        chunks=int(ended.number(sc.CHUNK_COUNT) or 0),
        first=ended.number(sc.TIME_TO_FIRST_CHUNK),
        gone_at=None if abandoned is None else ended.ended_at,  # a stream ends when its reader is known to have gone
        abandoned_chunks=int(ended.number(sc.ABANDONED_CHUNK_COUNT) or 0),
        abandoned_size=int(ended.number(sc.ABANDONED_SIZE) or 0),
        abandoned_seconds=abandoned or 0.0,
    )
