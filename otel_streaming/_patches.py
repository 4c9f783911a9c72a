"""Patches: attributes replaced in other people's modules, and put back."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

from otel_streaming._notices import notice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    Hook = Callable[[ModuleType, "Patches"], None]
    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

_INHERITED = object()
"""Stands for what was not the owner's own: it has it again when ours is deleted."""


class Patches:
    """What has been replaced, to be undone in reverse."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, str, Any]] = []
        self._active = False
        self._registered: set[str] = set()  # modules whose import is watched: that cannot be taken back
        self.unknown: set[str] = set()
        """Modules that are not watched, since names have moved in them."""

    def apply(self, hooks: Mapping[str, Hook]) -> None:
        """Run each hook when its module is imported, at once if it is already."""
        self._active = True
        for name, hook in hooks.items():
            if name not in self._registered:
                self._registered.add(name)
                register_post_import_hook(functools.partial(self._run, hook), name)
            elif name in sys.modules:
                self._run(hook, sys.modules[name])

    def _run(self, hook: Hook, module: ModuleType) -> None:
        if not self._active:
            return
        its = Patches()  # another thread's import may run a hook meanwhile
        try:
            hook(module, its)
        except Exception as moved:  # noqa: BLE001 - the host's import must not fail for a name that has moved
            its.undo()  # what is watched in part is told wrong
            self.unknown.add(module.__name__)
            notice("%s is not watched, this version is not known: %r", module.__name__, moved)
        else:
            self._done += its._done

    def wrap(self, owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
        """Replace ``owner.name`` by what ``wrapper`` makes of it."""
        own = vars(owner).get(name, _INHERITED)
        setattr(owner, name, wrapper(getattr(owner, name)))
        self._done.append((owner, name, own))

    def undo(self) -> None:
        """Put everything back."""
        self._active = False
        while self._done:
            owner, name, own = self._done.pop()
            if own is _INHERITED:
                delattr(owner, name)
            else:
                setattr(owner, name, own)


def before(tell: Callable[..., object]) -> Wrapper:
    """Return what has ``tell`` called with a function's arguments before the function; what it raises is dropped."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def called(*args: Any, **kwargs: Any) -> Any:
            with contextlib.suppress(Exception):  # called in a way we do not know
                tell(*args, **kwargs)
            return original(*args, **kwargs)

        return called

    return wrapper


def after(tell: Callable[..., object]) -> Wrapper:
    """The same, after it: ``tell`` gets what the function has returned, or its coroutine, and its arguments."""

    def told(result: Any, *args: Any, **kwargs: Any) -> Any:
        with contextlib.suppress(Exception):
            tell(result, *args, **kwargs)
        return result

    async def told_later(result: Any, *args: Any, **kwargs: Any) -> Any:
        return told(await result, *args, **kwargs)

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def called(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)  # of a coroutine function too, that another has wrapped in a plain one
            return (told_later if inspect.isawaitable(result) else told)(result, *args, **kwargs)

        @functools.wraps(original)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return told(await original(*args, **kwargs), *args, **kwargs)

        return awaited if inspect.iscoroutinefunction(original) else called

    return wrapper
