"""One run: a service of three workers under load, a real collector, a real Prometheus, and what is done to them."""

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dashboards import health
from dashboards import queries as q
from dashboards.render import substitute
from otel_streaming import semconv
from stack import Process, Stack, free_ports, wait_until
from tests.chaos.backend import Backend
from tests.chaos.scenarios import ANSWERS, SIGNALS, Scenario

BIN = Path(sys.executable).parent
SERVICES = Path(__file__).parents[1] / "e2e" / "services"
WORKERS, CLIENTS = 3, 12
SERVICE = "chaos"
ENDINGS = {"healthy": "ok", "unfinished": "silent", "in_band_error": "silent", "raises": "silent", "fails": "loud"}
BAD = ("silent", "loud")
LEAST = 100
"""Streams that make a run, however slow the machine is."""
EXPORT_INTERVAL = 1.0
"""Seconds between two exports of metrics: with the SDK's default of 60 a run would take an hour."""


class Load:
    """Clients that ask for one stream after another, and note how each ended."""

    def __init__(self, port, seed):
        self._port, self._chance, self._stop = port, random.Random(seed), threading.Event()
        self.results, self.unanswered, self.ends = Counter(), 0, []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(120)

    def lately(self, seconds):
        """Return how many streams ended in the last seconds."""
        return sum(end > time.monotonic() - seconds for end in self.ends)

    async def _all(self):
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    async def _client(self):
        while not self._stop.is_set():
            ending = self._chance.choice(list(ENDINGS))
            raw = await self._ask(f"/v1/{ending}?pause=0.02")
            if raw.startswith(b"HTTP/1.1 "):
                cut = not raw.endswith(b"\r\n0\r\n\r\n") and b"transfer-encoding: chunked" in raw
                self.results["silent" if cut else ENDINGS[ending]] += 1
                self.ends.append(time.monotonic())
            else:
                self.unanswered += 1
                await asyncio.sleep(0.2)

    async def _ask(self, path):
        received = b""
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
                while data := await asyncio.wait_for(reader.read(65536), 60):
                    received += data
            finally:
                writer.transport.abort()
        return received


@dataclass
class Row:
    """What was done, and who counted what; by result."""

    scenario: Scenario
    injected: Counter
    unanswered: int
    ledger: Counter
    derived: Counter
    trust: int  # failures of which the trust query says that they are missing among the derived
    under_way: int  # streams that a collection under way may have held
    shown: bool  # whether the logs have what the scenario is to show

    def lost(self, counts):
        return (self.injected - counts).total()

    def doubled(self, counts):
        return (counts - self.injected).total()

    def missing_failures(self):
        """Return how many failures the ledger has beyond the derived, read without any query of a dashboard."""
        return max(0, sum(self.ledger[result] - self.derived[result] for result in BAD))

    def wrong(self):
        """Return what should not be."""
        scenario, all_ = self.scenario, self.injected.total()
        near = all_ - self.under_way <= self.ledger.total() <= all_ + self.unanswered
        claims = {
            "the ledger is what was injected": near if scenario.kills else self.ledger == self.injected,
            "nobody went unanswered": scenario.kills or not self.unanswered,
            "no stream is derived twice": scenario.doubles or scenario.kills or not self.derived - self.ledger,
            "no stream is missing among the derived": scenario.loses or not self.ledger - self.derived,
            "the trust query gives the difference": self.trust == self.missing_failures(),
            f"a log says {scenario.shows!r}": self.shown,
        }
        return [claim for claim, holds in claims.items() if not holds]


class Run:
    """A pipeline, and what can be done to it."""

    def __init__(self, scenario, folder):
        self.scenario, self.folder, self.under_way = scenario, folder, 0
        self.stack = Stack(folder)
        self.backend = Backend(self.stack.prometheus.url)
        if any(isinstance(step, tuple) and step[0] == "backend" for step in scenario.steps):
            self.stack.collector.env["PROMETHEUS_OTLP"] = f"{self.backend.url}/api/v1/otlp"
        self.stack.collector.argv += [f"--config=yaml:{value}" for value in scenario.collector]
        if scenario.disk:
            small_disk(self.stack.collector, scenario.disk)
        self.processes = {"collector": self.stack.collector, "prometheus": self.stack.prometheus_process}
        (self.port,) = free_ports(1)

    def result(self, quiet=40.0, seed=0):
        """Do it all; the numbers are taken when they agree, or have not changed for ``quiet`` seconds."""
        with contextlib.closing(self.backend), self.stack, self._service() as service:
            with Load(self.port, seed) as load:
                time.sleep(3 * EXPORT_INTERVAL)
                wait_until(lambda: load.lately(EXPORT_INTERVAL), "streams that end", 120)
                for step in self.scenario.steps:
                    self._do(step, service, load)
                wait_until(lambda: load.results.total() > LEAST, f"{LEAST} streams", 120)
                time.sleep(3 * EXPORT_INTERVAL)
            ledger, derived = self._settled(load.results, quiet)
            missing = trust(self.stack.prometheus)
        shown = any(self.scenario.shows in log.read_text() for log in self.folder.glob("*.log"))
        return Row(self.scenario, load.results, load.unanswered, ledger, derived, missing, self.under_way, shown)

    @contextlib.contextmanager
    def _service(self):
        env = self.stack.service_env(
            SERVICE,
            OTEL_METRIC_EXPORT_INTERVAL=f"{1000 * EXPORT_INTERVAL:.0f}",
            OTEL_LOGS_EXPORTER="none",
            OTEL_PYTHON_STREAMING_ROUTES="/v1/*",
            OTEL_PYTHON_STREAMING_STATE_DIR=str(self.folder / "state"),
            **self.scenario.settings,
        )
        command = [BIN / "opentelemetry-instrument", BIN / "uvicorn", "chat:app", "--port", str(self.port)]
        command += ["--workers", str(WORKERS), "--no-access-log", "--timeout-worker-healthcheck", "60"]
        log = self.folder / "service.log"
        with Process(SERVICE, command, log, env, SERVICES) as service:
            service.wait_until(lambda: log.read_text().count("startup complete") == WORKERS, "its workers", 180)
            yield service

    def _do(self, step, service, load):
        if isinstance(step, float):
            time.sleep(step)
            return
        who, what = step
        if what in ANSWERS:
            self.backend.answers(what)
        elif who == "disk":
            filled(self.stack.collector, what == "full")
        elif who == "worker":
            self.under_way = load.lately(2 * EXPORT_INTERVAL)
            os.kill(random.choice(workers(service.pid)), signal.SIGKILL)
        elif what == "back":
            self.processes[who].start()
        else:
            self.processes[who].signal(getattr(signal, f"SIG{SIGNALS[what]}"))
            if what in {"killed", "stopped"}:
                self.processes[who].wait(60)

    def _settled(self, injected, quiet):
        last, since, deadline = None, time.monotonic(), time.monotonic() + 300
        while True:
            counts = self._counts(semconv.LEDGER_ENDED), self._counts(semconv.ENDED)
            if counts != last:
                last, since = counts, time.monotonic()
            # What is counted twice would only show after a while.
            enough = 5.0 if counts == (injected, injected) else quiet
            if time.monotonic() > min(since + enough, deadline):
                return counts
            time.sleep(0.5)

    def _counts(self, metric):
        """Sum up, by result, the most that each series has ever said."""
        series = f'max_over_time({metric.prometheus}{{service_name="{SERVICE}"}}[1h])'
        samples = self.stack.prometheus.query(f"sum by (stream_result) ({series})")
        return Counter({sample.labels["stream_result"]: round(sample.value) for sample in samples if sample.value})


def trust(prometheus):
    """Return how many failures are missing among the derived: the share that the dashboard shows, of the ledger's."""
    ledger = q.total(q.RANGE.read_ledger(q.select(semconv.LEDGER_ENDED, q.BAD, kind=None)))
    query = f"({health.lost(q.RANGE)}) * {ledger}"
    return round(prometheus.value(substitute(query, range="1h")))


def workers(server):
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def small_disk(collector, kilobytes):
    """Give a collector's queue a file system of its own, of that size, which goes with it."""
    queue = Path(collector.env["COLLECTOR_QUEUE"])
    mount = f"mkdir -p {queue} && mount -t tmpfs -o size={kilobytes}k tmpfs {queue}"
    collector.argv = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *collector.argv]


def filled(collector, full):
    """Let somebody else take all that is left on that file system, or give it back."""
    filler = Path(f"/proc/{collector.pid}/root{collector.env['COLLECTOR_QUEUE']}/filler")
    if not full:
        filler.unlink()
        return
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def can_mount():
    """Tell whether a file system can be mounted here without being root."""
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /tmp"]
    return bool(shutil.which("unshare")) and subprocess.run(command, check=False, capture_output=True).returncode == 0


def run(scenario, folder, quiet=40.0, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    return Run(scenario, folder).result(quiet, seed)


def one(folder, scenario):
    """Run a scenario beside others, and say how it went, since all take long; None where it came to no end."""
    started = time.monotonic()
    try:
        row = run(scenario, Path(folder) / re.sub(r"\W+", "-", scenario.name))
        said = "; ".join([*row.wrong(), str(row)]) if row.wrong() else "as it should be"
    except Exception:
        row, said = None, traceback.format_exc()
    sys.stdout.write(f"{scenario.name} ({time.monotonic() - started:.0f} s): {said}\n")
    sys.stdout.flush()
    return row
