"""What it costs to look at many open streams once a second, by the real watchdog's own thread.

Taken is the processor's time between its pauses: for so long at most it holds the interpreter, whatever else the
machine does. All streams have moved since the last look, as the crash recorder likes it least.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import threading
import time
from typing import TYPE_CHECKING

from otel_streaming._config import Settings
from otel_streaming._engine import Engine, engine, use
from otel_streaming._watchdog import EVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_sleep = time.sleep


class Holds:
    """Stands for ``time.sleep`` and, of the watchdog's thread, keeps how long it was at work in each look."""

    def __init__(self) -> None:
        self.looks: list[list[float]] = []
        self._holds: list[float] = []
        self._began = 0.0

    def __call__(self, seconds: float) -> None:
        """Sleep."""
        if threading.current_thread().name != "otel-streaming-watchdog":
            _sleep(seconds)
            return
        self._holds.append(time.thread_time() - self._began)
        if seconds == EVERY:
            self.looks.append(self._holds)
            self._holds = []
        _sleep(seconds)
        self._began = time.thread_time()


async def looks(
    begin: Callable[[asyncio.Event], Coroutine[None, None, None]], count: int, *, recorder: bool, times: int
) -> list[list[float]]:
    """Return what each of the looks at ``count`` open streams costs: its share of a core, its longest hold in seconds.

    ``begin`` makes a stream that sends something each time the event is set. The garbage collector is off: it runs in
    whichever thread it happens to, and takes what it takes.
    """
    gc.disable()
    holds = Holds()
    time.sleep = holds  # type: ignore[assignment]  # where the watchdog lets others in, a hold ends
    with tempfile.TemporaryDirectory() as folder:
        use(Engine(Settings(logs="off", spans="off", state_dir=folder if recorder else "off")))
        while recorder and not engine().recording():  # noqa: ASYNC110 - the watchdog's thread makes the file
            await asyncio.sleep(0.01)
        move = asyncio.Event()
        tasks = [asyncio.ensure_future(begin(move)) for _ in range(count)]
        while engine().registry.open_count < count:  # noqa: ASYNC110 - tasks tell of their begin to nobody
            await asyncio.sleep(0.01)
        await asyncio.sleep(2 * EVERY)  # a look that has been begun before
        holds.looks.clear()
        while len(holds.looks) < times:
            so_far = len(holds.looks)
            move.set()
            move.clear()
            while len(holds.looks) == so_far:  # noqa: ASYNC110 - it is the watchdog's thread that looks
                await asyncio.sleep(0.05)
        taken = holds.looks[:times]  # those that follow see the streams end
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        use(None)
    return [[sum(look) / EVERY, max(look)] for look in taken]


def rested(count: int, times: int) -> list[float]:
    """Return what the slowest of so many reads takes, s, of objects that have rested between two looks.

    So long may anything take that has, the machine's page tables included: a look is all of such things.
    """
    objects, slowest = [[bytes(300)] for _ in range(count)], []
    for _ in range(times):
        _sleep(EVERY)
        longest = 0.0
        for each in objects:
            began = time.perf_counter()
            each[0]
            longest = max(longest, time.perf_counter() - began)
        slowest.append(longest)
    return slowest
