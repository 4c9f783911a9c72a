"""``python -m bench.instructions``: the instructions of a chunk, a request and a stream, as callgrind counts them.

They do not depend on what else the machine does. One process imports everything and forks a child for each count;
of two children, the second of which does as much again, the difference is what the steps took and nothing else.
Counts differ between builds of Python: what is held against bounds is the number of awaited calls that take as many.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider

from bench.client import HttpxClient
from bench.peers import BARE, OURS
from bench.workloads import EVENT, NAMED, Site, bare, ours, serve
from otel_streaming._config import Settings
from otel_streaming.testing import capture
from stack import find_or_build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
VARIANTS: dict[str, Callable[[Any], Any]] = {
    "bare": bare,
    "ours": ours,
    "contrib": partial(OpenTelemetryMiddleware, exclude_spans=["send", "receive"]),
}
_TOTAL = re.compile(r"^==(\d+)== Collected : (\d+)$", re.MULTILINE)


def _asgi(wrap: Callable[[Any], Any], what: str, steps: int) -> None:
    site = Site()
    long = what in {"chunk", "named-chunk"}
    site.chunks = steps if long else 1
    site.event = NAMED if what == "named-chunk" else EVENT
    path = "/page" if what == "request" else "/chat"
    asyncio.run(serve(wrap(site.asgi), path, 1 if long else steps))


def _client(name: str, what: str, steps: int) -> None:
    getattr(HttpxClient(name), what)(steps)


def _works() -> Iterator[tuple[str, str, int, Callable[[int], None]]]:
    """Yield of what there are steps, the variant, how many of them are enough, and what takes that many."""
    for what, steps in (("chunk", 400), ("named-chunk", 400), ("request", 100), ("stream", 50)):
        for name, wrap in VARIANTS.items():
            yield what, name, steps, partial(_asgi, wrap, what)
    for what, steps in (("chunk", 400), ("request", 40)):
        for name, peer in (("bare", BARE), ("ours", OURS)):
            yield f"client-{what}", name, steps, partial(_client, peer, what)


def _children() -> None:
    """Be the process that callgrind runs: fork, and say which child does what."""
    trace.set_tracer_provider(TracerProvider())
    with capture(Settings(logs="off")):
        for what, name, steps, work in _works():
            for times in (1, 2):
                child = os.fork()
                if child == 0:
                    work(steps * times)
                    os._exit(0)
                print(what, name, steps * times, child, flush=True)
                os.waitpid(child, 0)


def count() -> dict[tuple[str, str], float]:
    """Return the instructions of one step, by what it is a step of (``chunk``) and the variant (``bare``).

    Raises:
        StackError: There is no valgrind, nor a way to get it.
        subprocess.CalledProcessError: A child failed.
    """
    valgrind = [str(find_or_build("valgrind")), "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*valgrind, sys.executable, "-m", "bench.instructions", "children"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    totals = {int(process): int(total) for process, total in _TOTAL.findall(done.stderr)}
    counts: dict[tuple[str, str], float] = {}
    once, twice = (map(str.split, done.stdout.splitlines()[start::2]) for start in (0, 1))
    for (what, name, steps, child), (*_, again) in zip(once, twice, strict=True):
        counts[what, name] = (totals[int(again)] - totals[int(child)]) / int(steps)
    return counts


if __name__ == "__main__":
    if sys.argv[1:]:
        _children()
    else:
        for (what, name), instructions in count().items():
            print(f"{what:8} {name:16} {instructions:9.0f}")
