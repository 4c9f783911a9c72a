"""``python -m bench.instructions``: the instructions of a chunk, a request and a stream, as callgrind counts them.

They do not depend on what else the machine does. One process imports everything and forks a child for each count;
of two children, the second of which does as much again, the difference is what the steps took and nothing else.
Counts differ between builds of Python: what is held against bounds is the number of awaited calls that take as many.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.client import HttpxClient
from bench.peers import ASGI, BARE, COMPARED, OURS
from bench.pool import BenchError
from bench.workloads import CUT, EVENT, NAMED, Site, serve
from stack import find_or_build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
_BEFORE = ("httpx", "otel_streaming.instrumentor", "opentelemetry.instrumentation.utils")
"""What the children would import, each of them, which takes longer than all that they do."""
_EVENTS = {"chunk": EVENT, "named-chunk": NAMED, "cut-chunk": CUT}
_TOTAL = re.compile(r"^==(\d+)== Collected : (\d+)$", re.MULTILINE)


def _asgi(site: Site, app: Any, what: str, steps: int) -> None:
    event = _EVENTS.get(what)
    site.event = event or EVENT
    site.chunks, times = (1, steps) if event is None else (steps, 1)
    asyncio.run(serve(app, "/page" if what == "request" else "/chat", times))


def _client(name: str, what: str, steps: int) -> None:
    getattr(HttpxClient(name), what)(steps)


def _works() -> Iterator[tuple[str, str, int, Callable[[int], None]]]:
    """Yield of what there are steps, the variant, how many of them are enough, and what takes that many."""
    site = Site()
    apps = {name: ASGI[name](site) for name in COMPARED}
    for what, steps in (*((what, 400) for what in _EVENTS), ("request", 100), ("stream", 50)):
        for name, app in apps.items():
            yield what, name, steps, partial(_asgi, site, app, what)
    for what, steps in (("chunk", 400), ("request", 40)):
        for name in (BARE, OURS):
            yield f"client-{what}", name, steps, partial(_client, name, what)


def _children() -> None:
    """Be the process that callgrind runs: fork, and say which child does what."""
    for module in _BEFORE:
        import_module(module)
    for what, name, steps, work in _works():
        children = []
        for times in (1, 2):
            child = os.fork()
            if child == 0:
                work(steps * times)
                os._exit(0)
            if os.waitpid(child, 0)[1]:
                sys.exit(1)
            children.append(child)
        print(json.dumps([what, name, steps, *children]), flush=True)


def count() -> dict[str, dict[str, float]]:
    """Return the instructions of one step, by what it is a step of (``chunk``) and who is in place; no recorder is.

    Raises:
        StackError: There is no valgrind, nor a way to get it.
        BenchError: A child failed.
    """
    valgrind = [str(find_or_build("valgrind")), "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*valgrind, sys.executable, "-m", "bench.instructions", "children"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0", "OTEL_PYTHON_STREAMING_STATE_DIR": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(done.stderr[-2000:])
    totals = {int(process): int(total) for process, total in _TOTAL.findall(done.stderr)}
    counts: dict[str, dict[str, float]] = {}
    for what, name, steps, once, twice in map(json.loads, done.stdout.splitlines()):
        counts.setdefault(what, {})[name] = (totals[twice] - totals[once]) / steps
    return counts


if __name__ == "__main__":
    if sys.argv[1:]:
        _children()
    else:
        for what, counts in count().items():
            for name, instructions in counts.items():
                print(f"{what:16} {name:30} {instructions:9.0f}")
