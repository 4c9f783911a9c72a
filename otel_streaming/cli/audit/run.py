"""The audit's requests, one after the other within their bounds."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio

from otel_streaming.cli.audit.answers import NoStreamError, RedirectedError
from otel_streaming.cli.audit.evidence import Evidence, Read, Way
from otel_streaming.cli.audit.inside import Inside
from otel_streaming.cli.audit.probe import Probe
from otel_streaming.cli.audit.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_streaming.cli.audit.curl import Asked

_POLL = 0.1
_MOMENT = 0.5
_UNHEARD = 6.0
"""Seconds within which an exporter of spans says something (OTEL_BSP_SCHEDULE_DELAY is 5 s where nothing is set)."""
_SMALL = 1 << 18
"""Bytes of an answer that a slow reader cannot hold up: sockets, servers and proxies have buffers of some 100 KiB."""


@dataclass(frozen=True)
class Bounds:
    """How far an audit goes.

    Attributes:
        requests: At most so many.
        seconds: At most so long, in all.
        longest: A read lasts no longer, s.
        silence: Silence without a keep-alive that is a finding, s.
        wait: How long to wait for the service's records after the last read, s.
    """

    requests: int
    seconds: float
    longest: float
    silence: float
    wait: float


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
        self._listening = inside is not None
        self._inside = inside or Inside()
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
        inside, traces = self._inside, {read.trace_id for read in self._reads.values()}
        return Evidence(
            method=self._asked.method,
            longest=self._bounds.longest,
            silence=self._bounds.silence,
            reads=self._reads,
            missing=self._missing,
            records={trace: tuple(told) for trace, told in inside.records.items() if told and trace in traces},
            elsewhere=inside.elsewhere,
            heard=inside.heard,
            traced=not traces.isdisjoint(inside.traced),
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
            trace_id, seconds = secrets.token_hex(16), min(left, self._bounds.longest)
            self._inside.expect(trace_id)
            try:
                probe = Probe(self._asked, way, trace_id, seconds=seconds, until=self._until, whole=whole, tell=tell)
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
            raise NoStreamError(
                f"redirected {counted(self._made, 'time')}: ask where it leads, or allow for more requests"
            )

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
        if not self._listening:
            return 0.0, False
        since, hurried = time.monotonic(), False
        while (waited := time.monotonic() - since) < min(self._bounds.wait, self._until - since):
            unheard = not self._inside.heard and time.monotonic() > self._answered_at + _UNHEARD
            told = sum(bool(self._inside.records[read.trace_id]) for read in self._reads.values())
            if unheard or told == len(self._reads):
                break
            self._tell("waiting for what the service tells", told)
            await anyio.sleep(_POLL)
        else:
            hurried = waited < self._bounds.wait
        await anyio.sleep(_MOMENT)
        return time.monotonic() - since, hurried
