"""The handle: what an application itself knows of its stream, and what it wants to know of its end."""

from __future__ import annotations

import typing
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from otel_streaming._callbacks import recovered
from otel_streaming._engine import watched
from otel_streaming._exchange import harmless
from otel_streaming._notices import notice
from otel_streaming.semconv import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_streaming._callbacks import Callback
    from otel_streaming._stream import AttributeValue
    from otel_streaming._watch import Watch

    R = TypeVar("R")

_MAX_TEXT = 256
_MAX_ATTRIBUTES = _MAX_CALLBACKS = 32


def current_stream() -> StreamHandle:
    """Return the handle of the stream that the running code belongs to; never None.

    Known in the request's handler and its generator, in tasks and task groups started there and in
    ``asyncio.to_thread``; not in executors and threads of one's own, unless by ``carry``.
    """
    return StreamHandle(watched.get(None))


def carry(function: Callable[..., R]) -> Callable[..., R]:
    """Return ``function`` as one that has the current stream wherever it is called: in an executor, on a thread.

    Each call has the context variables as they are now; calls may overlap. Not for coroutine and generator functions,
    whose bodies run where they are awaited.

    Example:
        ``loop.run_in_executor(None, carry(save), record)``
    """
    context = copy_context()
    return lambda *args, **kwargs: context.copy().run(partial(function, *args, **kwargs))


def on_recovered(callback: Callback) -> None:
    """Have ``callback`` called with the ``StreamSummary`` of each stream that a killed process of this service left.

    At most once in all the processes of the service, by the one that reports the stream; of those found before this
    call too. Its ``stream_id`` is what the dead process's handle said. Needs the crash recorder.

    Args:
        callback: A function, or a coroutine function, which gets an event loop of its own. One call after the other, on
            a thread for callbacks alone.
    """
    if callable(typing.cast("object", callback)):
        recovered.add(callback)
    else:
        notice("on_recovered(): wants a function or a coroutine function of one argument")


class StreamHandle:
    """One stream, to its own application.

    Outside of a stream, and after its end, nothing of this does anything. Nothing of this raises: what cannot be
    understood is logged. A response becomes a stream by it, whatever its content type.
    """

    __slots__ = ("_watch",)

    def __init__(self, watch: Watch | None) -> None:
        """Hold what watches the stream, if there is one."""
        self._watch = watch

    @property
    def client_gone(self) -> bool:
        """Whether the client is known to have left: what is made now, nobody reads."""
        return self._watch is not None and bool(self._watch.deserted())

    @property
    @harmless
    def id(self) -> str | None:
        """A random name of this stream, 16 hexadecimal digits, the same in every ``StreamSummary``; None outside."""
        notes = self._watch.notes() if self._watch is not None else None
        return None if notes is None else f"{notes.stream_id:016x}"

    @harmless
    def complete(self) -> None:
        """Say that all there was to say has been produced: what ends from here on is completed, marker or not."""
        self._conclude(Reason.COMPLETED, None)

    @harmless
    def fail(self, message: str = "") -> None:
        """Say that the stream has failed, whatever its end will look like: ``declared_error``.

        Args:
            message: Goes into ``stream.error`` of span and log record, at most 256 characters, and into no label.
        """
        self._conclude(Reason.DECLARED_ERROR, str(message)[:_MAX_TEXT])

    @harmless
    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute of the stream's span and log record.

        Args:
            key: A name; those of this project, ``stream.*``, are not to be set. At most 32 are.
            value: A string of at most 256 characters, a bool, an int or a float.
        """
        notes = self._watch.notes() if self._watch is not None else None
        if notes is None:
            return
        named = isinstance(key, str) and len(key) <= _MAX_TEXT and not key.startswith("stream.")
        if not named or not isinstance(value, str | bool | int | float):
            self._refuse(f"set_attribute({key!r:.80}): wants a name outside stream.* and a str, bool, int or float")
        elif key in notes.attributes or len(notes.attributes) < _MAX_ATTRIBUTES:
            notes.attributes[key] = value[:_MAX_TEXT] if isinstance(value, str) else value
        else:
            self._refuse(f"set_attribute({key!r}): a stream takes {_MAX_ATTRIBUTES} attributes")

    @harmless
    def on_end(self, callback: Callback) -> None:
        """Have ``callback`` called with the ``StreamSummary`` once the stream has ended, however it has.

        Args:
            callback: A function, which is called at once and must not block, or a coroutine function, which is
                awaited for at most two seconds where the server stops; either on a thread where it may be the garbage
                collector that ends the stream. At most once in this process: after a kill, ``on_recovered`` is. At most
                32 are called, and none where the answer is no stream (204, a redirect, a body of fixed length).
        """
        watch = self._watch
        if watch is None or watch.notes() is None:
            return
        if not callable(typing.cast("object", callback)):
            self._refuse("on_end(): wants a function or a coroutine function of one argument")
        elif len(watch.callbacks) >= _MAX_CALLBACKS:
            self._refuse(f"on_end(): a stream takes {_MAX_CALLBACKS} callbacks")
        else:
            watch.callbacks.append(callback)

    def give_up(self) -> None:
        """What was said could not be understood."""
        self._refuse("a call could not be understood")

    def _conclude(self, reason: Reason, error: str | None) -> None:
        watch = self._watch
        notes = watch.notes() if watch is not None else None
        if watch is not None and notes is not None and (watch.stream is None or watch.stream.ended_at is None):
            notes.reason, notes.error = reason, error

    @staticmethod
    def _refuse(why: str) -> None:
        notice("current_stream(): %s", why)
