"""Locks of ours, which tell the code that runs within one.

The garbage collector runs wherever it likes, within a lock as well, and may end an abandoned exchange there: hence all
are reentrant, and what is not ours is not called on such a stack. They are the interpreter's own: a class around one
would keep it for ever where a signal's handler, or whoever ends a thread's request, raises between its two steps.
"""

from __future__ import annotations

import threading
import weakref

_made: list[weakref.ref[threading.RLock]] = []


def new_lock() -> threading.RLock:
    """Return a reentrant lock; a forked child must make a new one."""
    lock = threading.RLock()
    _made.append(weakref.ref(lock, _made.remove))
    return lock


def within() -> bool:
    """Tell whether this thread holds one of them."""
    locks = [made() for made in list(_made)]
    return any(lock._is_owned() for lock in locks if lock is not None)  # type: ignore[attr-defined] # noqa: SLF001 - for threading.Condition
