"""Locks of ours, which tell the code that runs within one.

The garbage collector runs wherever it likes, within a lock as well, and may end an abandoned exchange there: hence all
are reentrant, and what is not ours is not called on such a stack.
"""

from __future__ import annotations

import threading


class _Depth(threading.local):
    value = 0


_depth = _Depth()


def within() -> bool:
    """Tell whether this thread holds one of them, or is about to."""
    return _depth.value > 0


class Lock:
    """A reentrant lock; a forked child must make a new one."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        _depth.value += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        _depth.value -= 1
