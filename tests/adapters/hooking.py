"""Hooks in place within a block."""

import contextlib

from otel_streaming._patches import Patches


@contextlib.contextmanager
def patched(hooks):
    """Have hooks run on their modules, imported before or within the block."""
    patches = Patches()
    patches.apply(hooks)
    try:
        yield
    finally:
        patches.undo()


@contextlib.contextmanager
def instrumented(*instrumentors, on=True):
    """Have libraries instrumented within the block, or not, for what is to be the same either way."""
    with contextlib.ExitStack() as undo:
        for instrumentor in instrumentors if on else ():
            instrumentor().instrument()
            undo.callback(instrumentor().uninstrument)
        yield
