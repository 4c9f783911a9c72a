"""Callbacks: what an application has asked to be called when a stream of its own has ended."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from otel_streaming.semconv import SCOPE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from otel_streaming._verdict import StreamSummary

    Callback = Callable[[StreamSummary], Any]

_log = logging.getLogger(SCOPE)

_KEPT = 1000
"""Streams of dead processes kept for callbacks still to come."""


class Callbacks:
    """Calls them, each by itself, and knows which are still at work."""

    def __init__(self) -> None:
        self._running: set[Any] = set()

    @property
    def running(self) -> bool:
        """Whether a coroutine of one of them has not returned yet."""
        return bool(self._running)

    def call(self, callback: Callback, summary: StreamSummary) -> None:
        """Call one: a function at once, what it returns to be awaited on the event loop, or without one on a thread."""
        try:
            result = callback(summary)
            if inspect.isawaitable(result):
                self._start(result)
        except Exception:  # noqa: BLE001 - whatever it is, it is the application's
            _failed()

    def _start(self, awaitable: Awaitable[Any]) -> None:
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented, does not raise
            task = asyncio.ensure_future(_awaited(awaitable))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            return

        def run() -> None:
            asyncio.run(_awaited(awaitable))
            self._running.discard(thread)

        thread = threading.Thread(target=run, name="otel-streaming-callback", daemon=True)
        self._running.add(thread)
        thread.start()


class Recovered:
    """Tells each callback of each stream that a dead process left, whichever of the two comes first."""

    def __init__(self) -> None:
        self._run = Callbacks()
        self._callbacks: list[Callback] = []
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: what its parent has found, its parent has told."""
        self._lock = threading.Lock()
        self._streams: deque[StreamSummary] = deque(maxlen=_KEPT)

    def add(self, callback: Callback) -> None:
        """Call it from now on, and of those found before."""
        with self._lock:
            self._callbacks.append(callback)
            found = list(self._streams)
        for summary in found:
            self._run.call(callback, summary)

    def tell(self, streams: Iterable[StreamSummary]) -> None:
        """Some were found."""
        found = list(streams)
        with self._lock:
            self._streams.extend(found)
            callbacks = list(self._callbacks)
        for callback in callbacks:
            for summary in found:
                self._run.call(callback, summary)


recovered = Recovered()


async def _awaited(awaitable: Awaitable[Any]) -> None:
    try:
        await awaitable
    except Exception:  # noqa: BLE001 - as above
        _failed()


def _failed() -> None:
    _log.exception("a callback of on_end or on_recovered has failed; nothing else is touched by it")
