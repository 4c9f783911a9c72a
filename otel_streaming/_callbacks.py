"""Callbacks: what an application has asked to be called when a stream of its own has ended."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from otel_streaming._notices import notice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from otel_streaming._verdict import StreamSummary

    Callback = Callable[[StreamSummary], Any]

_KEPT = 1000
"""Streams of dead processes kept for callbacks still to come."""
_WAITING = 10_000
"""Calls that wait for the thread."""


class Callbacks:
    """Calls them, each by itself, and knows which are still at work.

    What must not hold up another is called by one daemon thread, in turn, that lives while there is something to do.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must."""
        self._tasks: set[Any] = set()
        self._lock = threading.RLock()
        self._jobs: deque[Callable[[], object]] = deque(maxlen=_WAITING)
        self._busy = False  # whether the thread has something to do

    @property
    def running(self) -> bool:
        """Whether one of them has not returned yet."""
        return bool(self._tasks) or self._busy

    def call(self, callback: Callback, summary: StreamSummary) -> None:
        """Call one: a function at once, what it returns to be awaited on the event loop, or without one on a thread."""
        _call(callback, summary, self._start)

    def later(self, callback: Callback, summary: StreamSummary) -> None:
        """Call one on the thread: where it may be the garbage collector that ends the exchange, within any lock."""
        self._put(lambda: _call(callback, summary, _finish))

    def _start(self, awaitable: Awaitable[Any]) -> None:
        if asyncio._get_running_loop() is None:  # noqa: SLF001 - documented, does not raise
            self._put(lambda: _finish(awaitable))
            return
        task = asyncio.ensure_future(_awaited(awaitable))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _put(self, job: Callable[[], object]) -> None:
        """Have it called; of too many that wait the oldest is left out."""
        with self._lock:
            self._jobs.append(job)
            idle, self._busy = not self._busy, True
        if idle:
            try:
                threading.Thread(target=self._run, name="otel-streaming-callbacks", daemon=True).start()
            except RuntimeError:  # no thread is to be had: the interpreter exits, or a limit
                self._busy = False

    def _run(self) -> None:
        while True:
            with self._lock:
                self._busy = bool(self._jobs)
                if not self._busy:
                    return
                job = self._jobs.popleft()
            try:
                job()
            except BaseException:  # noqa: BLE001 - no event loop is to be had, or a callback exits: others wait
                _failed()


class Recovered:
    """Tells each callback of each stream that a dead process left, whichever of the two comes first."""

    def __init__(self) -> None:
        self._callbacks: list[Callback] = []
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: what its parent has found, its parent has told."""
        self._lock = threading.RLock()
        self._streams: deque[StreamSummary] = deque(maxlen=_KEPT)
        self._run = Callbacks()

    @property
    def running(self) -> bool:
        """Whether one has still to be told."""
        return self._run.running

    def add(self, callback: Callback) -> None:
        """Call it from now on, and of those found before."""
        with self._lock:
            self._callbacks.append(callback)
            found = list(self._streams)
        for summary in found:
            self._run.later(callback, summary)

    def tell(self, streams: Iterable[StreamSummary]) -> None:
        """Some were found."""
        found = list(streams)
        with self._lock:
            self._streams.extend(found)
            callbacks = list(self._callbacks)
        for callback in callbacks:
            for summary in found:
                self._run.later(callback, summary)


recovered = Recovered()


def _call(callback: Callback, summary: StreamSummary, start: Callable[[Awaitable[Any]], None]) -> None:
    """Call one, and have awaited what it returns."""
    try:
        result = callback(summary)
        if inspect.isawaitable(result):
            start(result)
    except (Exception, asyncio.CancelledError):  # noqa: BLE001 - whatever it is, it is the application's
        _failed()


def _finish(awaitable: Awaitable[Any]) -> None:
    asyncio.run(_awaited(awaitable))


async def _awaited(awaitable: Awaitable[Any]) -> None:
    try:
        await awaitable
    except Exception:  # noqa: BLE001 - the application's, as well
        _failed()


def _failed() -> None:
    text = "a callback of on_end or on_recovered has failed; nothing else is touched by it"
    notice(text, level=logging.ERROR, traceback=True)
