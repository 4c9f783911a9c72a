"""The engine: what the exchanges of one process share, made from the environment when first asked for."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from otel_streaming._callbacks import Callbacks, recovered
from otel_streaming._config import Settings, read_settings
from otel_streaming._notices import notice
from otel_streaming._registry import Registry
from otel_streaming._telemetry import Telemetry
from otel_streaming._watchdog import Watchdog, look, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from otel_streaming._verdict import StreamSummary
    from otel_streaming._watch import Watch

_UNTOLD = 10_000
"""Ends kept for the watchdog to tell of, within a second."""


class Engine:
    """Settings, registry and telemetry of one process."""

    def __init__(self, settings: Settings, listener: Callable[[StreamSummary], None] | None = None) -> None:
        self.settings = settings
        self.registry = Registry(max_routes=settings.max_routes)
        # The SDK keeps the first callbacks of an instrument for ever: an engine for a while makes none.
        self.telemetry = Telemetry(settings, self.registry, instruments=listener is None, caught=_caught)
        self.callbacks = Callbacks()
        self.listener = listener
        # The garbage collector runs within the SDK's locks as well, which are not reentrant: what it ends is told from
        # a stack of our own. To append takes no lock.
        self.untold: deque[Callable[[], None]] = deque(maxlen=_UNTOLD)
        self.left_behind: list[dict[str, Any]] = []
        with contextlib.suppress(Exception):  # of a host's own provider
            self.telemetry.catch()
        if listener is None and settings.state_dir != "off" and hasattr(os, "posix_fallocate"):
            from otel_streaming._recorder import Recorder  # noqa: PLC0415 - needs fcntl, which not every system has

            self.registry.recorder = Recorder(settings.state_dir, self.registry, self.telemetry.service)

    def recording(self) -> bool:
        """Tell whether a stream that begins now outlives a kill, as far as it ever will: the file takes a moment."""
        recorder = self.registry.recorder
        if recorder is None:
            return True
        watchdog.start()  # also in a forked child, whose parent had an engine
        return recorder.on

    def close(self) -> threading.Event:
        """A server is at its end: end what it left open, hand all over; returns the event that tells it is done."""
        for watch in self.registry.watches():
            watch.left_behind()
        self.tell()
        return self.telemetry.flush()

    def tell(self) -> None:
        """Tell of what the garbage collector has ended."""
        with contextlib.suppress(IndexError):  # none is left
            while True:
                self.untold.popleft()()

    def finish(self) -> Callable[[], bool]:
        """Close; returns what tells that all has been handed over, and no callback is at work any more."""
        done = self.close()
        return lambda: done.is_set() and not self.callbacks.running


watched: ContextVar[Watch | None] = ContextVar("otel_streaming_watched")
"""What watches the exchange that the running code belongs to, however deep in tasks and threads."""


def _caught(span: Span) -> None:
    watch = watched.get(None)
    if watch is not None:
        watch.served_by(span)


class _Current:
    """Holds the engine in use, made from the environment when first asked for."""

    engine: Engine | None = None
    lock = threading.RLock()


def engine() -> Engine:
    """Return the engine in use."""
    if _Current.engine is None:
        with _Current.lock:
            if _Current.engine is None:
                settings, problems = read_settings(os.environ)
                _Current.engine = Engine(settings)
                for problem in problems:
                    notice("%s", problem)
                if _Current.engine.registry.recorder is not None:
                    watchdog.start()  # others may have died before our first stream
    return _Current.engine


def use(new: Engine | None) -> Engine | None:
    """Put another engine in place; returns the one before."""
    before, _Current.engine = _Current.engine, new
    return before


def _at_exit() -> None:
    if _Current.engine is not None:
        _Current.engine.tell()


atexit.register(_at_exit)


def _look() -> None:
    current = _Current.engine
    if current is not None:
        current.tell()
        with contextlib.suppress(Exception):  # a host's log handler may raise: streams are looked at all the same
            record(current.registry, current.telemetry, recovered.tell)
        look(current.registry, current.telemetry)


watchdog = Watchdog(_look)


def _after_fork() -> None:
    _Current.lock = threading.RLock()
    watchdog.reset()
    recovered.reset()
    if _Current.engine is not None:
        _Current.engine.callbacks.reset()
        _Current.engine.untold.clear()
        registry = _Current.engine.registry
        if registry.recorder is not None:
            registry.recorder.reset()
        registry.reset()
        _Current.engine.telemetry.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
