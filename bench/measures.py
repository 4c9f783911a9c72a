"""One run: everything that is measured, in the order of the page."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import instructions
from bench.load import served
from bench.peers import ASGI, BARE, COMPARED, FASTAPI, HTTPX, IMPORTS, OPENAI, OURS
from bench.pool import ALIKE, BenchError, Figure, measure, processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.pool import Worker

MOST_ROUTES = 1000
"""Far more than are told apart."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured: the default takes some eight minutes on two cores."""

    turns: int = 30
    chunks: int = 2000
    requests: int = 200
    streams: int = 100
    open: int = 10_000
    open_fastapi: int = 1000
    growth: Sequence[int] = (10, 100, 1000, 10_000)
    few: int = 5
    """Turns of what hardly differs, or takes long."""
    served: int = 400
    served_turns: int = 10
    looks: int = 20
    starts: int = 3


TINY = Sizes(
    turns=1,
    chunks=20,
    requests=5,
    streams=3,
    open=30,
    open_fastapi=20,
    growth=(10, 20),
    few=1,
    served=16,
    served_turns=1,
    looks=1,
    starts=1,
)
"""To see that everything runs."""

Figures = dict[str, dict[str, Figure]]
"""By what is measured and by name; seconds, of memory bytes."""


@dataclass(frozen=True)
class Run:
    """What one run has measured.

    ``growth`` is by what grows, how far, and name; ``looks``, without and with the recorder, has the watchdog's share
    of a core and its longest hold (s) of each look, ``rested`` the slowest read (s) of what has rested as long;
    ``counts`` are instructions, by step and name.
    """

    sizes: Sizes
    asgi: Figures
    fastapi: Figures
    growth: dict[str, dict[int, dict[str, Figure]]]
    looks: list[list[list[float]]]
    rested: list[float]
    clients: dict[str, Figures]
    imports: dict[str, Figure]
    counts: dict[str, dict[str, float]]


def run(sizes: Sizes) -> Run:
    """Measure everything.

    Raises:
        BenchError: A process does not measure, or what it has in place tells nothing.
    """
    with processes("asgi", ASGI) as workers:
        asgi = _steps(workers, sizes)
        compared = [worker for worker in workers if worker.name in COMPARED]
        asgi["memory"] = measure(workers, 1, "memory", count=sizes.open, dialect=True)
        asgi["memory without dialect"] = measure(compared, 1, "memory", count=sizes.open, dialect=False)
        growth = _growth(compared, sizes)
        asgi["uvicorn"] = served(workers, sizes.served_turns, sizes.served)
    with processes("asgi", [OURS]) as (alone,):
        rested = alone.ask("rested", count=sizes.open, times=sizes.looks)
        looks = [
            alone.ask("looks", count=sizes.open, recorder=recorder, times=sizes.looks) for recorder in (False, True)
        ]
    with processes("fastapi", FASTAPI) as workers:
        fastapi = _steps(workers, sizes)
        fastapi["memory"] = measure(workers, 1, "memory", count=sizes.open_fastapi, dialect=True)
    clients = {}
    for kind, names in (("httpx", HTTPX), ("openai", OPENAI)):
        with processes(kind, names) as workers:
            chunk = measure(workers, sizes.turns, "chunk", chunks=sizes.chunks)
            hold_told(workers, sizes.turns)
            request = measure(workers, sizes.turns, "request", requests=sizes.requests // 4)
            clients[kind] = {"chunk": chunk, "request": request}
    asgi["start"] = _starts("asgi", ASGI, sizes.starts, "stream", streams=1)
    clients["openai"]["start"] = _starts("openai", OPENAI, sizes.starts, "request", requests=1)
    return Run(sizes, asgi, fastapi, growth, looks, rested, clients, _imports(sizes.few), instructions.count())


def _steps(workers: list[Worker], sizes: Sizes) -> Figures:
    stream = measure(workers, sizes.turns, "stream", streams=sizes.streams)
    hold_told(workers, sizes.turns * sizes.streams)
    return {
        "stream": stream,
        "chunk": measure(workers, sizes.turns, "chunk", chunks=sizes.chunks),
        "request": measure(workers, sizes.turns, "request", requests=sizes.requests),
    }


def hold_told(workers: list[Worker], streams: int) -> None:
    """Hold that each has told of so many streams: who tells of none may not be in place, and costs nothing.

    Raises:
        BenchError: One has not.
    """
    for worker in workers:
        if worker.name != BARE and (told := worker.ask("told")) < streams:
            raise BenchError(f"{worker.name}: has told of {told:.0f} of {streams} streams")


def _growth(workers: list[Worker], sizes: Sizes) -> dict[str, dict[int, dict[str, Figure]]]:
    few, largest = sizes.few, max(sizes.growth)
    return {
        "chunks": {
            n: measure(workers, few * 2, "chunk", chunks=n, streams=max(1, largest // 10 // n)) for n in sizes.growth
        },
        "open streams": {n: measure(workers, 1, "crowd", count=n, moves=few) for n in sizes.growth},
        "routes": {n: measure(workers, few, "routes", routes=n) for n in sizes.growth if n <= MOST_ROUTES},
    }


def _starts(kind: str, names: Iterable[str], times: int, first: str, **arguments: int) -> dict[str, Figure]:
    """Return by name how long it takes to put something in place and do the first thing, each time in a new process."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(times):
        for name, runs in seconds.items():
            with processes(kind, [name]) as (worker,):
                runs.append(worker.ask("start") + worker.ask(first, **arguments))
    return {name: Figure.of(runs) for name, runs in seconds.items()}


def _imports(times: int) -> dict[str, Figure]:
    """Return by name how long it takes to import something, s, each time in a new process."""
    code = "import sys, time; began = time.perf_counter(); list(map(__import__, sys.argv[1:]))"
    code += "; print(time.perf_counter() - began)"
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(times + 1):  # the first may have to compile
        for name, modules in IMPORTS.items():
            command = [sys.executable, "-c", code, *modules.split()]
            done = subprocess.run(command, env={**os.environ, **ALIKE}, capture_output=True, text=True, check=True)
            seconds[name].append(float(done.stdout.split()[-1]))
    return {name: Figure.of(runs[1:]) for name, runs in seconds.items()}
