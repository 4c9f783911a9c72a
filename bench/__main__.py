"""``python -m bench``: what a chunk, a request and an open stream cost, beside the stock instrumentations.

The applications are plain ASGI, so that nothing but the hooks is measured; each figure is the least of many runs
(the machine's own noise only adds), its spread the distance to the median.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import os
import platform
import statistics
import sys
import time
import tracemalloc
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider

from bench import client
from bench.many import LOOKS, looks
from bench.workloads import EVENT, TICK, Cycle, bare, ours, page, scope, serve, streaming, waiting
from otel_streaming._config import Settings
from otel_streaming.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNKS = 2000
REQUESTS = 1000
OPEN = 10_000
REPEATS = 40
OPENED = 2
"""Repeats of opening so many: what they hold hardly differs."""
PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


VARIANTS: dict[str, Callable[[Any], Any]] = {
    "bare": bare,
    "otel-streaming, both hooks": ours,
    "contrib ASGI, exclude_spans": lambda app: OpenTelemetryMiddleware(app, exclude_spans=["send", "receive"]),
    "contrib ASGI": OpenTelemetryMiddleware,
}


async def added(what: str, app: Any, calls: int, per: int) -> dict[str, tuple[float, float]]:
    """Return for each variant the microseconds it adds to one of ``per`` steps of a call, and their spread."""
    apps = {name: wrap(app) for name, wrap in VARIANTS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in apps}
    for repeat in range(REPEATS):
        sys.stderr.write(f"\r{what}: {repeat + 1} of {REPEATS} ")
        for name, wrapped in apps.items():
            began = time.perf_counter()
            await serve(wrapped, calls)
            seconds[name].append((time.perf_counter() - began) / per * 1e6)
    sys.stderr.write("\n")
    least = min(seconds["bare"])
    return {name: (min(runs) - least, statistics.median(runs) - min(runs)) for name, runs in seconds.items()}


async def memory(wrap: Callable[[Any], Any], event: bytes) -> float:
    """Return the KiB that one of many open streams holds."""
    app = wrap(partial(waiting, move=asyncio.Event(), event=event))
    tracemalloc.start()
    cycles = [Cycle() for _ in range(OPEN)]
    tasks = [asyncio.ensure_future(app(scope(), cycle.receive, cycle.send)) for cycle in cycles]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return held / OPEN / 1024


async def kept(event: bytes) -> dict[str, str]:
    """Return for each variant what an open stream holds beyond a bare one, and its spread."""
    sys.stderr.write(f"{OPEN} open streams\n")
    plain = min([await memory(bare, event) for _ in range(OPENED)])
    runs = {
        name: [await memory(wrap, event) - plain for _ in range(OPENED)]
        for name, wrap in VARIANTS.items()
        if wrap is not bare
    }
    return {name: f"{min(kib):.2f} (+{statistics.median(kib) - min(kib):.2f})" for name, kib in runs.items()}


async def talking(move: asyncio.Event) -> None:
    """Watch one stream of many."""
    cycle = Cycle()
    await ours(partial(waiting, move=move))(scope(), cycle.receive, cycle.send)


async def measure() -> str:
    """Measure everything; return the page."""
    chunk = await added("streaming", partial(streaming, chunks=CHUNKS), 1, CHUNKS)
    request = await added("page", page, REQUESTS, REQUESTS)
    model, ticks = await kept(EVENT), await kept(TICK)
    sys.stderr.write(f"{2 * LOOKS} looks at {OPEN} open streams\n")
    watched = [await looks(talking, OPEN, recorder=recorder) for recorder in (False, True)]
    rows = [
        f"| {name} | {chunk[name][0]:.2f} (+{chunk[name][1]:.2f}) | {request[name][0]:.1f} (+{request[name][1]:.1f}) "
        f"| {model[name]} | {ticks[name]} |"
        for name in VARIANTS
        if name != "bare"
    ]
    peer = chunk["contrib ASGI, exclude_spans"][0]
    mine = chunk["otel-streaming, both hooks"][0]
    return "\n".join(
        [
            "# What it costs",
            "",
            "Written by `make bench`: what is added to a bare ASGI application, the least of many runs; in brackets",
            "how far the median lies above it. The SDK",
            f"has no exporter here. CPython {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores,",
            f"shared, {dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}.",
            "",
            "| | us a chunk | us a request that does not stream | KiB an open stream | the same, of no dialect |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"A chunk costs {mine / peer:.1f} times what contrib with `exclude_spans` adds, which looks at the type of",
            "each message and at nothing else. The targets are 0.5 us a chunk, 3 us a request and 4 KiB a stream;",
            "they are missed where the table says more. Of a chunk an eighth goes into two readings of the clock.",
            "",
            f"KiB are of {OPEN:,} open streams that have sent ten chunks, the last three of which are kept where there",
            "is a dialect. Of no dialect the target is 1.5 KiB, and missed: the two coroutines of two hooks, and their",
            "three functions with what they close over, take more by themselves.",
            "",
            f"Once a second the watchdog looks at all open streams, here {OPEN:,}, which have sent a chunk meanwhile:",
            "",
            f"| | % of a core | longest hold of the interpreter in a look, ms | in {LOOKS} looks, ms |",
            "|---|---|---|---|",
            *watched,
            "",
            "The targets are 1 % for the watchdog, and 1 ms: it lets others in once 0.4 ms have passed. A hold is",
            "counted in the processor's time of the watchdog's thread between two pauses. In each look the recorder",
            "writes how far some 500 streams have come: of so many each has its turn every 20 s.",
            "",
            *client.table(),
        ]
    )


def main() -> int:
    """Measure, print and write the page."""
    argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition(": ")[2]).parse_args()
    trace.set_tracer_provider(TracerProvider())
    with capture(Settings(logs="off")):
        text = asyncio.run(measure())
    print(text)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
