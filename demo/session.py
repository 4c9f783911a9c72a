"""One run of the demo: start everything, inject, wait for the numbers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from demo.faults import FAULTS, FEWEST, FIRST_TOKEN_TIMEOUT, KILL, MOST, ROUTES, STALL_THRESHOLD, counts
from demo.report import CONTRIB, NATIVE, Reading, Row
from stack import Process, Stack, free_ports, listens

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from demo.clients import Client

WORKERS = {CONTRIB: 4, NATIVE: 2}
OPEN_AT_ONCE = 60
"""Streams open at the same time, both services together."""
PATIENCE = 60.0
"""Seconds for the workers to start, and for one stream."""
STABLE = 20.0
"""Seconds after which numbers that do not change are taken for the last word."""
EXPORT_INTERVAL = 1.0
"""Seconds between two exports of metrics: the SDK's default of 60 would take long to watch."""

_ROOT = Path(__file__).resolve().parent.parent
_BIN = Path(sys.executable).parent


class Session:
    """Collector, Prometheus, model server and the service twice; a context manager.

    Args:
        folder: Where logs and data go.
        rng: Decides how often, and in which order, faults are injected.
        say: Told what is going on, again and again.
    """

    def __init__(self, folder: Path, rng: random.Random, say: Callable[[str], None]) -> None:
        self._folder, self._rng, self._say = folder, rng, say
        self._cleanup = contextlib.ExitStack()
        self._services: dict[str, Process] = {}
        self._ports: dict[str, int] = {}
        self._model = 0
        self._stack = Stack(folder)

    def __enter__(self) -> Self:
        with self._cleanup:
            self._say("starting collector and Prometheus")
            self._cleanup.enter_context(self._stack)
            self._model, *ports = free_ports(1 + len(WORKERS))  # not before the stack listens on its own
            self._ports = dict(zip(WORKERS, ports, strict=True))
            model = self._start("model server", [sys.executable, "-m", "demo.upstream", str(self._model)])
            for name in WORKERS:
                self._services[name] = self._start(name, self._command(name), self._service_env(name))
            model.wait_until(lambda: listens(self._model), "its port", PATIENCE)
            for name, process in self._services.items():
                process.wait_until(partial(self._ready, name), "all of its workers", PATIENCE)
            self._cleanup = self._cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._say("stopping everything")
        self._cleanup.close()

    def _start(self, name: str, command: Sequence[str | Path], env: dict[str, str] | None = None) -> Process:
        return self._cleanup.enter_context(Process(name, command, self._log(name), env, _ROOT))

    def _log(self, name: str) -> Path:
        return self._folder / f"{name.replace(' ', '-')}.log"

    def _ready(self, name: str) -> bool:
        up = self._log(name).read_text().count("Application startup complete")
        self._say(f"starting the service {name}: {up} of {WORKERS[name]} workers are up")
        return up >= WORKERS[name]

    def _command(self, name: str) -> list[str | Path]:
        return [
            *(_BIN / "opentelemetry-instrument", _BIN / "uvicorn", "demo.service:app"),
            *("--port", str(self._ports[name]), "--workers", str(WORKERS[name])),
            *("--no-access-log", "--timeout-graceful-shutdown", "5", "--timeout-worker-healthcheck", "60"),
        ]

    def _service_env(self, name: str) -> dict[str, str]:
        """Return what a user sets: where things are, which routes stream, how long a silence may be."""
        return self._stack.service_env(
            name,
            OTEL_PYTHON_STREAMING_ROUTES=",".join(ROUTES),
            OTEL_PYTHON_STREAMING_STALL_THRESHOLD=f"{STALL_THRESHOLD:g}",
            OTEL_PYTHON_STREAMING_STATE_DIR=str(self._folder / "state"),
            OTEL_METRIC_EXPORT_INTERVAL=f"{1000 * EXPORT_INTERVAL:.0f}",
            # For the stock metrics: the stable names, and an identity for each worker (else they overwrite each other).
            OTEL_SEMCONV_STABILITY_OPT_IN="http",
            OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="otel,service_instance",
            OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="fastapi,asgi" if name == NATIVE else "",
            UPSTREAM_URL=f"http://127.0.0.1:{self._model}",
            PRODUCTS=",".join(fault.product for fault in (*FAULTS, KILL)),
            FIRST_TOKEN_TIMEOUT=f"{FIRST_TOKEN_TIMEOUT:g}",
        )

    def addresses(self) -> dict[str, str]:
        """Return where everything is to be found."""
        services = {f"service {name}": f"http://127.0.0.1:{port}" for name, port in self._ports.items()}
        return {**services, "model server": f"http://127.0.0.1:{self._model}", **self._stack.addresses()}

    def example(self) -> str:
        """Return a command that injects one fault."""
        url = f"http://127.0.0.1:{self._ports[CONTRIB]}{FAULTS[0].route}"
        return f"curl -N {url} -H 'content-type: application/json' -d '{{\"model\": \"cut\"}}'"

    def inject(self) -> list[Row]:
        """Inject every fault into both services, in random order."""
        jobs = [
            (fault, fault.client(port, reset=number % 2 == 1))
            for port in self._ports.values()
            for fault, count in counts(self._rng).items()
            for number in range(count)
        ]
        self._rng.shuffle(jobs)
        asyncio.run(self._visit([client for _, client in jobs]))
        return [
            Row(
                fault,
                opened=sum(job is fault for job, _ in jobs),
                misfired=sum(job is fault and not fault.happened(client) for job, client in jobs),
            )
            for fault in FAULTS
        ]

    async def _visit(self, clients: Sequence[Client]) -> None:
        gate = asyncio.Semaphore(OPEN_AT_ONCE)
        over = 0

        async def visit(client: Client) -> None:
            nonlocal over
            # A client that cannot connect or waits in vain is reported by what it has not seen.
            async with gate:
                with contextlib.suppress(ConnectionError, TimeoutError):
                    await asyncio.wait_for(client.run(), PATIENCE)
            over += 1

        visits = [asyncio.ensure_future(visit(client)) for client in clients]
        try:
            while over < len(clients):
                self._say(f"injecting: {over} of {len(clients)} streams are over")
                await asyncio.wait(visits, timeout=0.5)
        finally:
            for one in visits:
                one.cancel()
            await asyncio.gather(*visits, return_exceptions=True)

    def kill_worker(self) -> Row | None:
        """Kill one worker in the middle of its streams; None where there is no /proc to find it by."""
        if not Path("/proc/self/task").exists():
            return None
        # One of four workers has at least a fourth of the streams, hence at least FEWEST.
        opened = WORKERS[CONTRIB] * self._rng.randint(FEWEST, MOST)
        lost = asyncio.run(self._kill(opened))
        return Row(KILL, opened, lost=lost, misfired=0 if lost else opened)

    async def _kill(self, opened: int) -> int:
        workers = _workers(self._services[CONTRIB].pid)
        before = {pid: _open_files(pid) for pid in workers}
        clients = [KILL.client(self._ports[CONTRIB]) for _ in range(opened)]
        visits = [asyncio.ensure_future(client.run()) for client in clients]
        try:
            self._say(f"opening {opened} streams, then one worker is killed")
            await asyncio.wait_for(asyncio.gather(*(client.arrived.wait() for client in clients)), PATIENCE)
            # A new series is exported as 0 first and with its count at the next export: let both happen.
            await asyncio.sleep(3 * EXPORT_INTERVAL)
            os.kill(max(workers, key=lambda pid: _open_files(pid) - before[pid]), signal.SIGKILL)
            await asyncio.sleep(EXPORT_INTERVAL)
            return sum(visit.done() for visit in visits)
        finally:
            for visit in visits:
                visit.cancel()
            await asyncio.gather(*visits, return_exceptions=True)

    def settle(self, rows: Sequence[Row]) -> Reading:
        """Wait until Prometheus agrees with all rows, or has said the same for long; return what it says."""
        last, since = None, time.monotonic()
        while True:
            reading = Reading.of(self._stack.prometheus)
            agreeing = sum(not row.differences(reading) for row in rows)
            if reading != last:
                last, since = reading, time.monotonic()
            if agreeing == len(rows) or time.monotonic() - since > STABLE:
                break
            self._say(f"waiting for the numbers: {agreeing} of {len(rows)} rows agree so far")
            time.sleep(EXPORT_INTERVAL / 2)
        # What is counted twice would only show now.
        time.sleep(2 * EXPORT_INTERVAL)
        return Reading.of(self._stack.prometheus)


def _workers(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
