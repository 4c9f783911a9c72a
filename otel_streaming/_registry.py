"""The registry: which streams are open, and the ledger of those that began and ended.

One lock is taken at the start and the end of a stream (WSGI threads, free threading); never per chunk.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from otel_streaming._life import Life
from otel_streaming._shape import Ended, Shape
from otel_streaming.semconv import OTHER, Outcome, Result, Role, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_streaming._exchange import Exchange
    from otel_streaming._recorder import Recorder
    from otel_streaming._stream import Stream

MAX_SERIES = 1900
"""The SDK folds what exceeds 2,000 series of one instrument into a single one without labels."""
_LONGEST_ROUTE = 256
_PARTS = 61
"""Parts that open streams are kept in: where they are many it takes long to take hold of all at once."""
_NEAR = 10
"""Low bits of a stream's hash, which is its address, that do not decide on its part: neighbours in memory stay
together, since a look at streams of which each lies far from the last one takes twice as long."""
_SLICE = 5
"""Open streams looked at before the clock is."""
_HOLD = 0.0004
"""Seconds after which other threads are let in."""
_PAUSE = 0.001
"""Seconds for which they are; after none the interpreter is taken back before another thread wakes up."""


class Registry:
    """Open streams and counts of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_routes: int = 200) -> None:
        self.clock = clock
        self._max_routes = max_routes
        self.recorder: Recorder | None = None
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: its parent's streams are not its own."""
        # Reentrant, as all locks of ours: what allocates may run the garbage collector, and an abandoned exchange that
        # it closes is counted in this very thread.
        self.lock = threading.RLock()
        self._open: tuple[dict[Stream, Exchange | None], ...] = tuple({} for _ in range(_PARTS))
        self._started: Counter[Shape] = Counter()
        self._ended: Counter[Ended] = Counter()
        self._states: set[tuple[Shape, State]] = set()
        self._routes: set[str] = set()
        self.learned: dict[Role, dict[str, str]] = {role: {} for role in Role}
        self.draining = False  # of servers that are not told apart
        self.process_id = os.urandom(8).hex()

    def cap_route(self, route: str | None) -> str | None:
        """Return the route, cut where it is no name any more, or ``_OTHER`` when too many are told apart already."""
        route = route and route[:_LONGEST_ROUTE]
        if route is None or route in self._routes:
            return route
        if len(self._routes) >= self._max_routes or max(len(self._ended), len(self._states)) >= MAX_SERIES:
            return OTHER
        self._routes.add(route)
        return route

    def begin(self, stream: Stream, watch: Exchange | None = None) -> None:
        """Count a stream that began; ``watch`` is what knows its reader and its parent."""
        origin = watch.origin() if watch is not None and self.recorder is not None else None
        part = self._part(stream)
        with self.lock:
            again = stream in part  # two threads of an application may make a stream of it at once
            if stream.life is Life.ENDED:
                return
            if self.recorder is not None:
                self.recorder.began(stream, origin, late=again)  # first: what a collection may get is in the file
            if again:
                return
            part[stream] = watch
            self._started[stream.shape] += 1
            self._learn(stream.shape)

    def named(self, stream: Stream, watch: Exchange) -> None:
        """Take note that an open stream has got an id."""
        with self.lock:
            if self.recorder is not None and stream in self._part(stream):
                self.recorder.began(stream, watch.origin(), late=True)

    def end(self, stream: Stream, result: Result, outcome: Outcome) -> bool:
        """Count a stream that ended; False if it is not ours to count (begun before a fork)."""
        part = self._part(stream)
        with self.lock:
            if stream not in part:
                return False
            series = Ended(stream.shape, result, outcome, stream.stall_count > 0)
            if self.recorder is not None:
                self.recorder.ended(stream, series)
            del part[stream]
            self._ended[series] += 1
        return True

    def attempt(self, stream: Stream, result: Result, outcome: Outcome) -> None:
        """Count an exchange that qualified only by its end: started and ended together."""
        with self.lock:
            if self.recorder is not None:
                self.recorder.attempted(stream)
            self._part(stream)[stream] = None
            self._started[stream.shape] += 1
            self.end(stream, result, outcome)

    def adopt(self, counts: Mapping[Shape | Ended, int]) -> None:
        """Add what a dead process of the same service had not handed out."""
        with self.lock:
            for series, count in counts.items():
                if isinstance(series, Shape):
                    self._started[series] += count
                    self._learn(series)
                else:
                    self._ended[series] += count

    def _learn(self, shape: Shape) -> None:
        if shape.route is not None:
            self.learn(shape.role, shape.route, shape.protocol)

    def learn(self, role: Role, name: str, protocol: str) -> None:
        """Keep in mind that a route streams, or what a client has called."""
        if len(self.learned[role]) < self._max_routes:
            self.learned[role][name] = protocol

    def handed(self, counts: Mapping[Shape | Ended, int]) -> None:
        """Take note of what a collection has got."""
        recorder = self.recorder
        if recorder is not None:
            recorder.handed(counts)

    @property
    def serving(self) -> bool:
        """Whether a stream is open that this process serves; those that it reads may never end."""
        return any(stream.shape.role is Role.SERVER for part in self._open for stream in list(part))

    @property
    def open_count(self) -> int:
        """How many streams are open."""
        return sum(map(len, self._open))

    def started(self) -> dict[Shape, int]:
        """Return the counts of streams that began."""
        with self.lock:
            return dict(self._started)

    def ended(self) -> dict[Ended, int]:
        """Return the counts of streams that ended."""
        with self.lock:
            return dict(self._ended)

    def counts(self) -> dict[Shape | Ended, int]:
        """Return both kinds of counts, of one moment."""
        with self.lock:
            counts: dict[Any, int] = {**self._started, **self._ended}
        return counts

    def live(self) -> dict[tuple[Shape, State], int]:
        """Return how many streams are open by shape and state: 0 for those that were not empty at some time."""
        self._states.update((shape, State.FLOWING) for shape in self.started())
        counts = dict.fromkeys(self._states, 0)
        for stream, _, now in self.scan():
            key = (stream.shape, stream.live_state(now))
            counts[key] = counts.get(key, 0) + 1
        self._states.update(counts)
        return counts

    def silence(self) -> dict[Shape, float]:
        """Return the longest current silence by shape, s."""
        longest = dict.fromkeys(self.started(), 0.0)
        for stream, _, now in self.scan():
            longest[stream.shape] = max(longest.get(stream.shape, 0.0), stream.silence(now))
        return longest

    def watches(self) -> list[Exchange]:
        """Return what watches the open streams."""
        with self.lock:
            return [watch for part in self._open for watch in part.values() if watch is not None]

    def watch_of(self, stream: Stream) -> Exchange | None:
        """Return what watches an open stream."""
        return self._part(stream).get(stream)

    def scan(self, turn: int = 0, turns: int = 1) -> Iterator[tuple[Stream, Exchange | None, float]]:
        """Yield the open streams, what watches each (None once it has ended) and the time; let other threads in.

        Several ``turns`` share them: each stream has its turn.
        """
        began = self.clock()
        for part in self._open[turn::turns]:
            with self.lock:
                streams = list(part)
            watch_of = part.get
            for i in range(0, len(streams), _SLICE):
                now = self.clock()
                if now - began > _HOLD:
                    time.sleep(_PAUSE)
                    began = now = self.clock()
                for stream in streams[i : i + _SLICE]:
                    yield stream, watch_of(stream), now

    def _part(self, stream: Stream) -> dict[Stream, Exchange | None]:
        return self._open[(hash(stream) >> _NEAR) % _PARTS]
