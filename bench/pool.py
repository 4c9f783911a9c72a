"""The processes that measure, and the order in which they are asked: each in turn, again and again.

What disturbs the machine for a while disturbs all alike, and of each the least counts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
ALIKE = {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
    "TRACELOOP_TELEMETRY": "false",
    "PYTHONDONTWRITEBYTECODE": "",
}
"""So that nobody looks for a server of its own, and a checkout is imported as compiled as what is installed."""


class BenchError(RuntimeError):
    """A process does not measure; the message has its last words."""


class Figure(NamedTuple):
    """The least of many runs, and how far their median lies above it."""

    least: float
    spread: float

    @classmethod
    def of(cls, runs: Iterable[float]) -> Figure:
        """Sum runs up."""
        runs = list(runs)
        return cls(min(runs), statistics.median(runs) - min(runs))


class Worker:
    """One process, which has one library in place."""

    def __init__(self, kind: str, name: str, folder: Path, module: str = "bench.worker", **env: str) -> None:
        self.name = name
        self._log = folder / f"{kind}-{name.replace(' ', '-')}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, kind, name],
                cwd=ROOT,
                env={**os.environ, **ALIKE, "OTEL_PYTHON_STREAMING_STATE_DIR": str(folder / "state"), **env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, method: str, **arguments: Any) -> Any:
        """Return what it measures.

        Raises:
            BenchError: It ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps([method, arguments]) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError) as error:
            self._process.wait()  # it may be about to say why
            message = f"{self.name}: no answer to {method}\n" + self._log.read_text()[-2000:]
            raise BenchError(message) from error

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        with suppress(BrokenPipeError), self._process:  # what it was asked and did not read
            pass


@contextmanager
def processes(kind: str, names: Iterable[str], *module: str, **env: str) -> Iterator[list[Worker]]:
    """Have a process for each name."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as started:
        workers = []
        for name in names:
            workers.append(Worker(kind, name, Path(folder), *module, **env))
            started.callback(workers[-1].stop)
        yield workers


def in_turn(workers: list[Worker], times: int) -> Iterator[Worker]:
    """Yield each so many times, every time another one first."""
    for turn in range(times):
        yield from workers[turn % len(workers) :]
        yield from workers[: turn % len(workers)]


def measure(workers: list[Worker], times: int, method: str, **arguments: Any) -> dict[str, Figure]:
    """Return by name what each measures in so many turns, one figure in each or several."""
    runs: dict[str, list[float]] = {worker.name: [] for worker in workers}
    sys.stderr.write(f"{method} {arguments}: {len(workers)} x {times}\n")
    for worker in in_turn(workers, times):
        answer = worker.ask(method, **arguments)
        runs[worker.name] += answer if isinstance(answer, list) else [answer]
    return {name: Figure.of(figures) for name, figures in runs.items()}
