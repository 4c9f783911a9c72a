"""Callbacks: what an application has asked to be called when a stream of its own has ended."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import TYPE_CHECKING, Any

from otel_streaming.semconv import SCOPE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from otel_streaming._verdict import StreamSummary

    Callback = Callable[[StreamSummary], Any]

_log = logging.getLogger(SCOPE)


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


async def _awaited(awaitable: Awaitable[Any]) -> None:
    try:
        await awaitable
    except Exception:  # noqa: BLE001 - as above
        _failed()


def _failed() -> None:
    _log.exception("a callback of current_stream().on_end has failed; nothing else is touched by it")
