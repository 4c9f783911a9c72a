"""What has been heard of streams so far: open ones by state, the last that ended, counts. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from otel_streaming import semconv as sc
from otel_streaming._config import Globs
from otel_streaming.semconv import Reason, Result, Role, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from otel_streaming.cli.records import EndedStream, Reading, Value

Count = tuple[Role, Result]
KEPT = 200
"""Streams that ended, at most, that can be shown."""
_PROCESSES = 256
_SERIES = 2000
"""What the SDK tells apart of one instrument, at most."""
_BEATS = 3.5
"""Collections that a process may miss before what it said of open streams counts no more."""
_FIRST_BEAT = 60.0
"""Seconds between two collections, until two have been seen: the SDK's default."""
_HISTORY = 60
Word = TypeVar("Word", bound=Enum)


@dataclass(frozen=True)
class Wanted:
    """Which streams are looked at: by route, or the address that is read from; and of these, which are shown."""

    routes: Globs = field(default_factory=Globs)
    results: Collection[str] = ()

    def counts(self, attributes: Mapping[str, Value]) -> bool:
        """Tell whether a stream, or a value, with these attributes counts."""
        names = (attributes.get(name) for name in (sc.ROUTE, sc.SERVER_ADDRESS))
        return not self.routes or self.routes.match(*(name if isinstance(name, str) else None for name in names))

    def shows(self, stream: EndedStream) -> bool:
        """Tell whether a stream that counts is shown."""
        return not self.results or stream.text(sc.RESULT) in self.results


@dataclass
class _Process:
    """What one process said last."""

    at: float = -1.0
    heard: float = 0.0
    beat: float = _FIRST_BEAT
    active: Counter[tuple[Role, State]] = field(default_factory=Counter)
    silence: float = 0.0
    ledger: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)


class Streams:
    """The state of everything that is shown.

    Attributes:
        reasons: How many ended in which way, by role, for those that failed.
        heard: Whether anything has been heard of streams at all.
    """

    def __init__(self, wanted: Wanted | None = None) -> None:
        self._wanted = wanted or Wanted()
        self._recent: deque[EndedStream] = deque(maxlen=KEPT)
        self._failed: deque[EndedStream] = deque(maxlen=KEPT)
        self.reasons: Counter[tuple[Role, Reason]] = Counter()
        self.silences: deque[float] = deque(maxlen=_HISTORY)
        self.heard = False
        self._spans: Counter[Count] = Counter()
        self._ledger: Counter[Count] = Counter()
        self._processes: OrderedDict[str, _Process] = OrderedDict()

    def ended(self, stream: EndedStream) -> bool:
        """Take note of a stream that ended; tell whether it is to be shown."""
        self.heard = True
        if not self._wanted.counts(stream.attributes):
            return False
        role, result = _count(stream.attributes)
        self._spans[role, result] += 1
        failed = result in {Result.SILENT, Result.LOUD}
        if failed:
            self.reasons[role, _one_of(Reason, stream.text(sc.REASON), Reason.UNKNOWN)] += 1
        shown = self._wanted.shows(stream)
        if shown:
            self._recent.append(stream)
        if shown and failed:
            self._failed.append(stream)
        return shown

    def shown(self, room: int) -> list[EndedStream]:
        """Return the last streams that ended and are wanted, the newest last; the last failures have half the room."""
        place = {id(stream): number for number, stream in enumerate((*self._failed, *self._recent))}
        failed = _last(self._failed, room // 2)
        rest = [stream for stream in self._recent if all(stream is not one for one in failed)]
        return sorted((*failed, *_last(rest, room - len(failed))), key=lambda stream: place[id(stream)])

    def read(self, reading: Reading, now: float) -> None:
        """Take note of a value; ``now`` in seconds of any one clock.

        What a process says at one collection replaces all that it said of open streams before.
        """
        self.heard = True
        process = self._process(reading.process)
        if reading.at != process.at:  # later, or by a clock that was set back
            if process.at >= 0:
                process.beat = now - process.heard
            process.at, process.heard = reading.at, now
            process.active, process.silence = Counter(), 0.0
        if not self._wanted.counts(reading.labels):
            return
        if reading.metric == sc.ACTIVE.name:
            state = _one_of(State, str(reading.labels.get(sc.STATE)), State.FLOWING)
            process.active[_role(reading.labels), state] += int(reading.value)
        elif reading.metric == sc.SILENCE_MAX.name:
            process.silence = max(process.silence, reading.value)
        elif reading.metric == sc.LEDGER_ENDED.name:
            self._count(process, reading)

    def open(self, role: Role, now: float) -> dict[State, int]:
        """Return how many streams are open, by state; those of processes that say nothing any more left out."""
        alive = self._alive(now)
        total = {state: sum(process.active[role, state] for process in alive) for state in State}
        return {state: count for state, count in total.items() if count}

    @property
    def blind(self) -> bool:
        """Whether streams end of whose like, while they are open, nothing is told: no metrics come."""
        return bool(self._spans) and not self._processes

    def sample(self, now: float) -> float:
        """Return the longest silence of an open stream, s, and keep it as the newest of ``silences``."""
        silence = max((process.silence for process in self._alive(now)), default=0.0)
        self.silences.append(silence)
        return silence

    def totals(self, role: Role) -> dict[Result, int]:
        """Return how many streams ended, by result.

        Spans may be lost, the ledger comes a little later, neither counts too much: the higher of the two is right.
        """
        both = {result: max(self._spans[role, result], self._ledger[role, result]) for result in Result}
        return {result: count for result, count in both.items() if count}

    def _count(self, process: _Process, reading: Reading) -> None:
        """Count what a cumulative series has risen by since it was first heard of: there it is 0 in a new process."""
        series = tuple(sorted((name, str(value)) for name, value in reading.labels.items()))
        if series not in process.ledger and len(process.ledger) >= _SERIES:
            return
        self._ledger[_count(reading.labels)] += max(0, int(reading.value - process.ledger.get(series, reading.value)))
        process.ledger[series] = reading.value

    def _process(self, name: str) -> _Process:
        process = self._processes.setdefault(name, _Process())
        self._processes.move_to_end(name)
        if len(self._processes) > _PROCESSES:
            self._processes.popitem(last=False)
        return process

    def _alive(self, now: float) -> list[_Process]:
        return [p for p in self._processes.values() if now - p.heard <= max(1.0, p.beat) * _BEATS]


def _count(attributes: Mapping[str, Value]) -> Count:
    return _role(attributes), _one_of(Result, str(attributes.get(sc.RESULT)), Result.UNKNOWN)


def _last(streams: Iterable[EndedStream], count: int) -> list[EndedStream]:
    return list(streams)[-count:] if count > 0 else []


def _role(attributes: Mapping[str, Value]) -> Role:
    return _one_of(Role, str(attributes.get(sc.ROLE)), Role.SERVER)


def _one_of(words: type[Word], text: str, otherwise: Word) -> Word:
    try:
        return words(text)
    except ValueError:  # of a version to come
        return otherwise
