"""One run: everything that is measured, in the order of the page."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import instructions
from bench.load import Served, served
from bench.peers import ASGI, BARE, FASTAPI, HTTPX, IMPORTS, OPENAI, OURS
from bench.pool import Figure, Worker, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

GROWTH = (10, 100, 1000, 10_000)
MOST_ROUTES = 1000
GROWTH_OF = (BARE, OURS, "contrib ASGI, exclude_spans")


@dataclass(frozen=True)
class Sizes:
    """How much is measured: the default takes some eight minutes on two cores."""

    turns: int = 30
    chunks: int = 2000
    requests: int = 200
    streams: int = 100
    open: int = 10_000
    open_fastapi: int = 1000
    growth: Sequence[int] = GROWTH
    few: int = 5
    """Turns of what hardly differs, or takes long."""
    served: int = 400
    served_turns: int = 15
    looks: int = 20


TINY = Sizes(1, 20, 5, 3, 30, 20, (10, 20), 1, 16, 1, 1)
"""To see that everything runs."""

Figures = dict[str, dict[str, Figure]]
"""By what is measured and by name; seconds, of memory bytes."""


@dataclass(frozen=True)
class Run:
    """What one run has measured.

    ``growth`` is by what grows, how far, and name; ``looks``, without and with the recorder, has the watchdog's share
    of a core and its longest hold (s) of each look; ``counts`` are instructions, by step and variant.
    """

    sizes: Sizes
    asgi: Figures
    uvicorn: dict[str, Served]
    fastapi: Figures
    growth: dict[str, dict[int, dict[str, Figure]]]
    looks: list[list[list[float]]]
    clients: dict[str, Figures]
    imports: dict[str, Figure]
    counts: dict[tuple[str, str], float]


@contextmanager
def _workers(kind: str, names: Iterable[str]) -> Iterator[list[Worker]]:
    """Have a process for each name."""
    with tempfile.TemporaryDirectory() as folder:
        workers = [Worker(kind, name, Path(folder)) for name in names]
        try:
            yield workers
        finally:
            for worker in workers:
                worker.stop()


def run(sizes: Sizes) -> Run:
    """Measure everything.

    Raises:
        BenchError: A process does not measure.
    """
    with _workers("asgi", ASGI) as workers:
        asgi = _steps(workers, sizes)
        asgi["memory"] = measure(workers, 2, "memory", count=sizes.open, dialect=True)
        asgi["memory without dialect"] = measure(workers, 1, "memory", count=sizes.open, dialect=False)
        growth = _growth([worker for worker in workers if worker.name in GROWTH_OF], sizes)
        mine = next(worker for worker in workers if worker.name == OURS)
        looks = [
            mine.ask("looks", count=sizes.open, recorder=recorder, times=sizes.looks) for recorder in (False, True)
        ]
        uvicorn = served(workers, sizes.served_turns, sizes.served)
    with _workers("fastapi", FASTAPI) as workers:
        fastapi = _steps(workers, sizes)
        fastapi["memory"] = measure(workers, 2, "memory", count=sizes.open_fastapi, dialect=True)
    clients = {}
    for kind, names in (("httpx", HTTPX), ("openai", OPENAI)):
        with _workers(kind, names) as workers:
            clients[kind] = {
                "chunk": measure(workers, sizes.turns, "chunk", chunks=sizes.chunks),
                "request": measure(workers, sizes.turns, "request", requests=sizes.requests // 4),
            }
    return Run(sizes, asgi, uvicorn, fastapi, growth, looks, clients, _imports(sizes.few), instructions.count())


def _steps(workers: list[Worker], sizes: Sizes) -> Figures:
    return {
        "chunk": measure(workers, sizes.turns, "chunk", chunks=sizes.chunks),
        "request": measure(workers, sizes.turns, "request", requests=sizes.requests),
        "stream": measure(workers, sizes.turns, "stream", streams=sizes.streams),
    }


def _growth(workers: list[Worker], sizes: Sizes) -> dict[str, dict[int, dict[str, Figure]]]:
    largest = max(sizes.growth)
    return {
        "chunks": {
            n: measure(workers, sizes.few * 2, "chunk", chunks=n, streams=max(1, largest // 10 // n))
            for n in sizes.growth
        },
        "open streams": {n: measure(workers, 2, "crowd", count=n, moves=sizes.few) for n in sizes.growth},
        "routes": {n: measure(workers, sizes.few, "routes", routes=n) for n in sizes.growth if n <= MOST_ROUTES},
    }


def _imports(times: int) -> dict[str, Figure]:
    """Return by name how long it takes to import something, s, each time in a new process."""
    code = "import sys, time; began = time.perf_counter(); list(map(__import__, sys.argv[1:]))"
    code += "; print(time.perf_counter() - began)"
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(times + 1):  # the first may have to compile
        for name, modules in IMPORTS.items():
            command = [sys.executable, "-c", code, *modules.split()]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds[name].append(float(done.stdout.split()[-1]))
    return {name: Figure.of(runs[1:]) for name, runs in seconds.items()}
