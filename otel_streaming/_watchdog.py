"""The watchdog: one daemon thread a process that looks at the open streams about once a second.

It takes no lock of theirs and decides nothing: it reads plain attributes, warns of a silence while it lasts, and
leaves a note where the reader has gone. What it reads may be a moment old, never half of two moments: of the two
times of a stream the later one counts, so progress between two reads makes the silence shorter.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from otel_streaming._life import Life
from otel_streaming.semconv import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_streaming._registry import Registry
    from otel_streaming._telemetry import Telemetry
    from otel_streaming._verdict import StreamSummary

EVERY = 1.0
"""Seconds between two looks."""


class Watchdog:
    """A thread that calls ``look`` again and again, from the first stream on; what it raises is dropped."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: threads stay with the parent."""
        self._lock = threading.RLock()
        self._started = False

    def start(self) -> None:
        """Start the thread, once."""
        if self._started:  # asked for every stream: no lock for it
            return
        with self._lock:
            first, self._started = not self._started, True
        if first:
            try:
                threading.Thread(target=self._run, name="otel-streaming-watchdog", daemon=True).start()
            except RuntimeError:  # no thread is to be had: the interpreter exits, or a limit, perhaps for now
                self._started = False

    def _run(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # a host's log handler may raise
                self._look()
            time.sleep(EVERY)


def record(registry: Registry, telemetry: Telemetry, tell: Callable[[Iterable[StreamSummary]], None]) -> None:
    """Keep the crash recorder's file, and report those who died."""
    if registry.recorder is not None:
        adopt = telemetry.ready() or bool(registry.started())  # before, nobody would hear of it
        for process_id, dead in registry.recorder.look(adopt=adopt):
            with contextlib.suppress(Exception):  # of a host's exporter
                tell(stream.summary for stream in dead)
                telemetry.died(process_id, dead)


def look(registry: Registry, telemetry: Telemetry) -> None:
    """Look at every open stream once."""
    for stream, watch, now in registry.scan():
        if watch is None:
            continue
        if stream.lost_at is None:
            try:
                if watch.peer.disconnected:
                    watch.lost(stream, now)
            except Exception:  # noqa: BLE001 - another version's object; no other stream is to suffer for it
                watch.forget_peer()
        idle_since, progress_at = stream.idle_since, stream.progress_at
        since = idle_since if idle_since > progress_at else progress_at  # noqa: FURB136 - a call costs a tenth of the look
        if now - since <= stream.threshold or stream.warned_of == since or stream.lost_at is not None:
            continue
        if stream.life in _DUE:
            stream.warned_of = since
            state = State.BACKPRESSURED if progress_at > idle_since else State.STALLED
            with contextlib.suppress(Exception):  # of a host's log processor; no other stream is to suffer for it
                telemetry.stalled(stream, state, since, watch.parent)


_DUE = {Life.OPEN, Life.FLOWING}
