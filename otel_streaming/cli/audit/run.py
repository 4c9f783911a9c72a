"""The audit's requests, one after the other within their bounds, and what the service tells of them meanwhile."""

from __future__ import annotations

import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import anyio

from otel_streaming.cli.audit.answers import NoStreamError, RedirectedError
from otel_streaming.cli.audit.evidence import Evidence, Read, Record, Way
from otel_streaming.cli.audit.probe import Probe
from otel_streaming.semconv import (
    ABANDONED_CHUNK_COUNT,
    ABANDONED_DURATION,
    ABANDONED_SIZE,
    CHUNK_COUNT,
    OUTCOME,
    REASON,
    ROLE,
    TIME_TO_FIRST_CHUNK,
    Role,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_streaming.cli.audit.bounds import Bounds
    from otel_streaming.cli.audit.curl import Asked
    from otel_streaming.cli.receiver import Export
    from otel_streaming.cli.records import EndedStream


class Inside:
    """What the service tells, as the receiver hears it."""

    def __init__(self) -> None:
        self.records: defaultdict[str, list[Record]] = defaultdict(list)
        self.traces: set[str] = set()
        self.heard = False

    def stream(self, ended: EndedStream) -> None:
        """A stream has ended; only of what was served is there to be one record."""
        if ended.text(ROLE) == Role.SERVER:
            self.records[ended.trace_id].append(_record(ended))

    def trace(self, trace_id: str) -> None:
        """Spans of a trace have come."""
        self.traces.add(trace_id)

    def export(self, _: Export) -> None:
        """Anything has been exported."""
        self.heard = True


def _printable(text: str) -> str:
    """Return what a terminal takes for text and for nothing else: anybody here may send."""
    return "".join(character for character in text if character.isprintable())


def _record(ended: EndedStream) -> Record:
    abandoned = ended.number(ABANDONED_DURATION)
    return Record(
        service=_printable(ended.service),
        outcome=_printable(ended.text(OUTCOME)),
        reason=_printable(ended.text(REASON)),
        seconds=ended.ended_at - ended.started_at,
        chunks=int(ended.number(CHUNK_COUNT) or 0),
        first=ended.number(TIME_TO_FIRST_CHUNK),
        gone_at=None if abandoned is None else ended.ended_at,  # a stream ends when its reader is known to have gone
        abandoned_chunks=int(ended.number(ABANDONED_CHUNK_COUNT) or 0),
        abandoned_size=int(ended.number(ABANDONED_SIZE) or 0),
        abandoned_seconds=abandoned or 0.0,
    )


_SMALL = 1 << 18
"""Bytes of an answer that a slow reader cannot hold up: sockets, servers and proxies have buffers of some 100 KiB."""


def _useless(way: Way, whole: Read, bounds: Bounds) -> str:
    """Return why a read would show nothing, given the first; empty where it may."""
    reasons = {
        Way.REPEAT: (("the first did not end in time", whole.over),),
        Way.SLOW: (
            ("the first did not end well", not whole.complete),
            ("the first lasted long enough", whole.seconds >= bounds.longest),
            ("the answer is so small that the buffers on the path hold all of it", whole.summary.size < _SMALL),
        ),
    }
    return next((why for why, holds in reasons.get(way, ()) if holds), "")


class Run:
    """One audit.

    Args:
        asked: What to ask for.
        bounds: How far to go.
        inside: What the service tells; None where nobody listens.
        tell: Called with what is going on, and pieces so far.
    """

    def __init__(self, asked: Asked, bounds: Bounds, inside: Inside | None, tell: Callable[[str, int], None]) -> None:
        self._asked = asked
        self._bounds = bounds
        self._inside = inside
        self._tell = tell
        self._until = time.monotonic() + bounds.seconds
        self._answered_at = 0.0  # when the first read ended
        self._made = 0
        self._reads: dict[Way, Read] = {}
        self._missing: dict[Way, str] = {}

    async def gather(self) -> Evidence:
        """Make the reads, wait for the service's records, and return what was found.

        Raises:
            NoStreamError: Not even the first read got a stream.
        """
        for way in Way:
            await self._read(way)
            self._answered_at = self._answered_at or time.monotonic()
        waited, hurried = await self._hear()
        inside = self._inside or Inside()
        told = {trace: tuple(records) for trace, records in list(inside.records.items())}
        ours = {read.trace_id for read in self._reads.values()}
        return Evidence(
            method=self._asked.method,
            longest=self._bounds.longest,
            silence=self._bounds.silence,
            reads=self._reads,
            missing=self._missing,
            records={trace: records for trace, records in told.items() if trace in ours},
            elsewhere=sum(len(records) for trace, records in told.items() if trace not in ours),
            heard=inside.heard,
            traced=not ours.isdisjoint(inside.traces),
            waited=waited,
            hurried=hurried,
        )

    async def _read(self, way: Way) -> None:
        whole = self._reads.get(Way.WHOLE)
        useless = "" if whole is None else _useless(way, whole, self._bounds)
        if useless:
            self._missing[way] = useless
            return
        while self._made < self._bounds.requests and (left := self._until - time.monotonic()) > 0:
            self._made += 1
            tell = partial(self._tell, f"request {self._made} of at most {self._bounds.requests}: {way.words}")
            tell(0)
            try:
                seconds = min(left, self._bounds.longest)
                probe = Probe(self._asked, way, seconds=seconds, until=self._until, whole=whole, tell=tell)
                self._keep(await probe.read())
            except RedirectedError as redirected:
                self._asked = redirected.asked
                continue
            except NoStreamError as error:
                if whole is None:
                    raise
                self._missing[way] = str(error)
            return
        if whole is None:
            raise NoStreamError(f"redirected {self._made} times: ask where it leads, or allow for more requests")

    def _keep(self, read: Read) -> None:
        if read.way is Way.LEAVE and (read.leaving is None or read.complete):
            self._missing[read.way] = "it ended before the client could leave"
            if read.complete:  # it was had whole: nothing follows from it
                return
        self._reads[read.way] = read

    async def _hear(self) -> tuple[float, bool]:
        """Wait for the service's records, and a moment more: there may be two of one.

        Returns:
            For how long, s; and whether that was less than was to be, all of the time being over.
        """
        inside, since = self._inside, time.monotonic()
        if inside is None:
            return 0.0, False
        hurried, wanted = False, {read.trace_id for read in self._reads.values()}
        while (waited := time.monotonic() - since) < min(self._bounds.wait, self._until - since):
            unheard = not inside.heard and time.monotonic() > self._answered_at + _UNHEARD
            if unheard or wanted <= inside.records.keys():
                break
            self._tell("waiting for what the service tells", len(wanted & inside.records.keys()))
            await anyio.sleep(_POLL)
        else:
            hurried = waited < self._bounds.wait
        await anyio.sleep(_MOMENT)
        return time.monotonic() - since, hurried


_POLL = 0.1
_MOMENT = 0.5
_UNHEARD = 6.0
"""Seconds within which an exporter of spans says something (OTEL_BSP_SCHEDULE_DELAY is 5 s where nothing is set)."""
