"""The life of a stream: where it may stand, what can happen to it, and where that leads. The whole table."""

from __future__ import annotations

from enum import Enum, auto


class _Word(Enum):
    """A word of the table below."""

    __hash__ = object.__hash__  # quicker than Enum's, which is written in Python


class Life(_Word):
    """Where a stream stands."""

    ASKED = auto()  # nothing answered yet
    OPEN = auto()  # headers out, no progress
    FLOWING = auto()
    FINISHED = auto()  # the final message passed: no success until the application has returned
    CLOSED = auto()  # a close frame passed, whose code says how: final
    GONE = auto()  # the reader left; the application may go on
    BROKEN = auto()  # a failure was seen; the application may still clean up
    ENDED = auto()


class Signal(_Word):
    """What can happen to it."""

    HEADERS = auto()
    PROGRESS = auto()
    EOF = auto()
    CLOSED = auto()
    LEFT = auto()
    FAILED = auto()
    RETURNED = auto()


_L, _S = Life, Signal
TRANSITIONS: dict[tuple[Life, Signal], Life] = {
    (_L.ASKED, _S.HEADERS): _L.OPEN,
    (_L.ASKED, _S.PROGRESS): _L.ASKED,  # a body before headers: the server refuses it, we count nothing
    (_L.ASKED, _S.EOF): _L.ASKED,
    (_L.ASKED, _S.LEFT): _L.GONE,
    (_L.ASKED, _S.FAILED): _L.BROKEN,
    (_L.OPEN, _S.HEADERS): _L.OPEN,
    (_L.OPEN, _S.PROGRESS): _L.FLOWING,
    (_L.OPEN, _S.EOF): _L.FINISHED,
    (_L.OPEN, _S.LEFT): _L.GONE,
    (_L.OPEN, _S.FAILED): _L.BROKEN,
    (_L.FLOWING, _S.HEADERS): _L.FLOWING,
    (_L.FLOWING, _S.PROGRESS): _L.FLOWING,
    (_L.FLOWING, _S.EOF): _L.FINISHED,
    (_L.FLOWING, _S.LEFT): _L.GONE,
    (_L.FLOWING, _S.FAILED): _L.BROKEN,
    (_L.FINISHED, _S.HEADERS): _L.FINISHED,
    (_L.FINISHED, _S.PROGRESS): _L.FINISHED,
    (_L.FINISHED, _S.EOF): _L.FINISHED,
    (_L.FINISHED, _S.LEFT): _L.FINISHED,  # servers deliver http.disconnect after a normal end as well
    (_L.FINISHED, _S.FAILED): _L.BROKEN,  # BaseHTTPMiddleware: a clean final message, then the exception
    **{(life, _S.CLOSED): _L.CLOSED for life in Life},
    **{(_L.CLOSED, signal): _L.CLOSED for signal in Signal},
    # What follows a departure or a failure is its echo: the earliest evidence stands.
    **{(_L.GONE, signal): _L.GONE for signal in Signal if signal is not _S.CLOSED},  # unless its own frame explains it
    **{(_L.BROKEN, signal): _L.BROKEN for signal in Signal},
    **{(life, _S.RETURNED): _L.ENDED for life in Life},
    **{(_L.ENDED, signal): _L.ENDED for signal in Signal},
}
