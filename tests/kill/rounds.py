"""Rounds of killing: a real server with four workers, clients that read, and SIGKILL at random moments."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from otel_streaming._recorder import Recorder
from otel_streaming._registry import Registry
from otel_streaming._shape import Shape
from stack import Process, free_ports
from tests.conformance.sink import Sink

BIN = Path(sys.executable).parent
SERVICE = Path(__file__).parent / "service"
WORKERS = 4
CLIENTS = 24
COMMANDS = {
    "uvicorn": f"uvicorn killed:app --workers {WORKERS} --port {{port}} --no-access-log",
    "gunicorn": f"gunicorn killed:app -k uvicorn_worker.UvicornWorker -w {WORKERS} -b 127.0.0.1:{{port}}",
}


@dataclass
class Tally:
    """What happened, by the service's own word, and what was counted of it."""

    kills: int = 0
    asked: int = 0
    begun: int = 0
    ending: int = 0
    ended: int = 0
    started_counted: int = 0
    ended_counted: int = 0
    completed_counted: int = 0
    died_counted: int = 0
    died_reported: int = 0
    reported_twice: int = 0
    under_way: tuple[int, int] = (0, 0)  # what collections under way at a kill handed out: started, ended
    off: int = 0  # processes whose recorder gave up

    @property
    def missing(self):
        return max(0, self.begun - self.started_counted), max(0, self.started_counted - self.ended_counted)

    def wrong(self):
        """Return what should not be."""
        lost_started, lost_ended = self.under_way
        open_at_kills = self.begun - self.ending
        claims = {
            "a begin is counted twice": self.started_counted <= self.asked,
            "an end is counted twice": self.ended_counted <= self.asked,
            "what completed is counted twice": self.completed_counted <= self.ending,
            "a begin is missing": self.started_counted >= self.begun - lost_started,
            "an end is missing": self.ended_counted >= self.begun - lost_ended,
            "an open stream is missing": self.died_counted >= open_at_kills - lost_ended,
            "one that had ended died as well": self.died_counted <= self.asked - self.completed_counted,
            "a stream has two spans": self.reported_twice == 0,
        }
        return [claim for claim, holds in claims.items() if not holds]


def run(seed, rounds, folder, server="uvicorn"):
    """Kill workers ``rounds`` times, then let all come to its end; returns the tally."""
    chance = random.Random(seed)
    truth, state = folder / "truth", folder / "state"
    (truth / "marks").mkdir(parents=True)
    sink, tally, stop = Sink(), Tally(), asyncio.Event()
    (port,) = free_ports(1)
    env = {
        "TRUTH": str(truth),
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_SERVICE_NAME": "killed",
        "OTEL_PYTHON_STREAMING_STATE_DIR": str(state),
        "OTEL_PYTHON_STREAMING_LOGS": "off",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SERVICE), os.environ.get("PYTHONPATH")])),
    }
    command = COMMANDS[server].format(port=port).split()
    command[0] = BIN / command[0]

    async def main(process):
        clients = [asyncio.ensure_future(_client(port, random.Random(chance.random()), stop)) for _ in range(CLIENTS)]
        for _ in range(rounds):
            await asyncio.sleep(chance.uniform(0.1, 1.5))
            process.check()
            for pid in chance.sample(
                pids := _workers(process.pid, truth), min(len(pids), chance.choice([1, 1, 1, 2, 4]))
            ):
                _kill(pid, truth, tally)
        stop.set()
        await asyncio.wait(clients, timeout=60)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and sink.total("stream.ledger.ended") < _events(truth)["begun"]:  # noqa: ASYNC110 - nothing tells of a count
            await asyncio.sleep(0.1)

    try:
        with Process(f"{server} being killed", command, folder / "log", env, SERVICE) as process:
            process.wait_until(lambda: len(_workers(process.pid, truth)) == WORKERS, "its workers")
            asyncio.run(main(process))
    finally:
        sink.close()
    tally.off = (folder / "log").read_text().count("the crash recorder is off")
    _count(tally, _events(truth), sink, state)
    return tally


async def _client(port, chance, stop):
    """Ask for one stream after another: short ones, longer ones, and such as last until the next kill or two."""
    while not stop.is_set():
        chunks, pause = chance.choice([(2, 0.01), (2, 0.01), (20, 0.02), (100, 0.05)])
        request = f"GET /{chance.randbytes(8).hex()}/{chunks}/{pause} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request.encode())
                while await asyncio.wait_for(reader.read(65536), 30):
                    pass
            finally:
                writer.transport.abort()
        await asyncio.sleep(chance.uniform(0, 0.2))


def _workers(server, truth):
    """Return the workers that have got as far as to load the service."""
    with contextlib.suppress(FileNotFoundError):
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        return [int(pid) for pid in children if (truth / "marks" / pid).exists()]
    return []


def _kill(pid, truth, tally):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        tally.kills += 1
    while not _is_dead(pid):
        time.sleep(0.001)
    _, *handed = (truth / "marks" / str(pid)).read_text().split() or ["idle"]
    if handed:
        tally.under_way = tuple(lost + int(more) for lost, more in zip(tally.under_way, handed, strict=True))


def _is_dead(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _events(truth):
    return Counter(line.split()[0] for line in (truth / "events").read_text().splitlines())


def _count(tally, events, sink, state):
    """Sum up what was exported, and what the last processes left."""
    tally.asked, tally.begun, tally.ending, tally.ended = (events[n] for n in ("asked", "begun", "ending", "ended"))
    registry = Registry()
    registry.recorder = heir = Recorder(str(state), registry, lambda: "killed\n\n")
    heir.look()
    left = registry.ended()
    tally.started_counted = sink.total("stream.ledger.started") + sum(registry.started().values())
    tally.ended_counted = sink.total("stream.ledger.ended") + sum(left.values())

    def of(outcome):
        exported = sum(
            value
            for (name, labels), value in sink.counters.items()
            if name == "stream.ledger.ended" and dict(labels)["stream.outcome"] == outcome
        )
        return exported + sum(count for series, count in left.items() if series.outcome == outcome)

    tally.completed_counted, tally.died_counted = of("completed"), of("truncated")
    assert all(isinstance(series, Shape) for series in registry.started())
    spans = list(sink.spans.values())
    tally.died_reported = sum(span[0].get("stream.process.dead", False) for span in spans)
    tally.reported_twice = sum(len(span) > 1 for span in spans)
