"""Killed workers, with the real servers: whoever comes after them, or lives on beside them, reports their streams."""

import asyncio
import contextlib
import os
import random
import signal
from pathlib import Path

import pytest

from otel_streaming._slots import PROGRESS_AT, SIZE, Open, decode
from stack import Process, free_ports, listens
from tests.conformance.sink import Sink
from tests.kill.rounds import BIN, COMMANDS, SERVICE, run

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="workers are found in /proc"),
]

SERVERS = {
    "uvicorn": "uvicorn held:app --workers 2 --port {port}",
    "gunicorn with uvicorn's workers": "gunicorn held:app -k uvicorn_worker.UvicornWorker -w 2 -b 127.0.0.1:{port}",
    "gunicorn's own workers": "gunicorn held:app -k asgi -w 2 -b 127.0.0.1:{port}",
    "preloaded": "gunicorn held:app --preload -k uvicorn_worker.UvicornWorker -w 2 -b 127.0.0.1:{port}",
    "threads": "gunicorn held:wsgi -k gthread --threads 6 -w 2 -b 127.0.0.1:{port}",
    "threads, preloaded": "gunicorn preloaded:wsgi --preload -k gthread --threads 6 -w 2 -b 127.0.0.1:{port}",
    "granian": "granian --interface asgi held:app --workers 2 --port {port} --respawn-failed-workers",
    "hypercorn": "hypercorn held:app --workers 2 --bind 127.0.0.1:{port}",
}
"""Those that replace a worker that was killed. hypercorn does not: it stops."""


@contextlib.contextmanager
def serving(name, command, folder, sink):
    (port,) = free_ports(1)
    env = {
        "OTEL_SERVICE_NAME": "held",
        **sink.service_env(),
        "OTEL_PYTHON_STREAMING_STATE_DIR": str(folder / "state"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SERVICE), os.environ.get("PYTHONPATH")])),
    }
    argv = [BIN / "opentelemetry-instrument", *command.format(port=port).split()]
    argv[1] = BIN / argv[1]
    with Process(name, argv, folder / f"{name}.log", env, SERVICE) as process:
        process.wait_until(lambda: listens(port), "its port")
        yield process, port


class Reader:
    """One request, whose answer is read to its end."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    @classmethod
    async def ask(cls, port, trace):
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        parent = f"traceparent: 00-{trace}-00f067aa0ba902b7-00"
        client._writer.write(f"GET / HTTP/1.1\r\nhost: x\r\n{parent}\r\n\r\n".encode())
        await asyncio.wait_for(client._reader.readuntil(b"tick"), 30)
        return client

    async def cut(self):
        """Wait until the server is gone."""
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(self._reader.read(65536), 30):
                pass
        self._writer.transport.abort()


async def opened(port, traces):
    """Open one stream for each trace; returns the clients when each has got something."""
    return [await Reader.ask(port, trace) for trace in traces]


def children(pid):
    """Return the processes below a server that have the recorder's file open."""
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    below = [grandchild for child in found for grandchild in children(child)]
    return [child for child in found if _recording(child)] + below


def _recording(pid):
    with contextlib.suppress(OSError):
        return any("otel-streaming-" in str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def open_slots(folder):
    """Return how many open streams the files hold."""
    files = [path.read_bytes() for path in folder.glob("state/*/*")]
    slots = (decode(data[at : at + PROGRESS_AT]) for data in files for at in range(0, 100 * SIZE, SIZE))
    return sum(isinstance(slot, Open) for slot in slots)


def ids(count):
    return [random.randbytes(16).hex() for _ in range(count)]


def reported(sink, traces):
    """Tell whether each of the streams is reported as what it is, once, and all are counted."""
    spans = [sink.spans.get(trace, []) for trace in traces]
    if not all(spans):
        return False
    told = {(len(one), one[0]["stream.reason"], one[0].get("stream.process.dead")) for one in spans}
    assert told == {(1, "process_death", True)}
    return sink.total("stream.ledger.started") == sink.total("stream.ledger.ended") == len(traces)


@pytest.mark.parametrize("server", SERVERS)
def test_a_replacement_reports_the_killed(server, tmp_path):
    """Workers killed in mid-stream: those that replace them report each stream, once, in its own trace."""
    sink, traces = Sink(), ids(6)

    async def main(process, port):
        clients = await opened(port, traces)
        recorded = lambda: open_slots(tmp_path) == len(traces) and len(children(process.pid)) == 2  # noqa: E731
        await asyncio.to_thread(process.wait_until, recorded, "streams that are recorded")
        for pid in children(process.pid):
            os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*(client.cut() for client in clients))
        if server != "hypercorn":
            await asyncio.to_thread(process.wait_until, lambda: reported(sink, traces), "the reports")

    try:
        with serving(server, SERVERS[server], tmp_path, sink) as (process, port):
            asyncio.run(main(process, port))
        if server == "hypercorn":
            with serving("restarted", SERVERS[server], tmp_path, sink) as (process, _):
                process.wait_until(lambda: reported(sink, traces), "the reports")
    finally:
        sink.close()


def test_a_sibling_reports_the_killed(tmp_path):
    """Nobody replaces a single process that is killed: another of the same service reports its streams."""
    sink, traces = Sink(), ids(3)
    alone = "uvicorn held:app --port {port}"

    async def main(first, second, port):
        clients = await opened(port, traces)
        await asyncio.to_thread(first.wait_until, lambda: open_slots(tmp_path) == 3, "streams that are recorded")
        first.signal(signal.SIGKILL)
        await asyncio.gather(*(client.cut() for client in clients))
        await asyncio.to_thread(second.wait_until, lambda: reported(sink, traces), "the reports")

    try:
        with (
            serving("first", alone, tmp_path, sink) as (first, port),
            serving("second", alone, tmp_path, sink) as (second, _),
        ):
            asyncio.run(main(first, second, port))
    finally:
        sink.close()


def test_workers_whose_master_has_begun(tmp_path):
    """Forked from a master that has an engine and a watchdog, each has its own, and a file before any request."""
    name, sink = "threads, preloaded", Sink()
    try:
        with serving(name, SERVERS[name], tmp_path, sink) as (process, _):
            process.wait_until(lambda: len(list(tmp_path.glob("state/*/*[!w]"))) == 3, "three files")
            assert len(children(process.pid)) == 2
            assert _recording(process.pid)
    finally:
        sink.close()


@pytest.mark.parametrize("server", COMMANDS)
def test_some_rounds(server, tmp_path):
    """Workers killed at random moments while streams come and go: none is counted twice, none is missing."""
    seed = random.randrange(2**32)
    tally = run(seed, 8, tmp_path, server)
    assert tally.wrong() == [], f"seed {seed}: {tally}"
    assert tally.died_counted > 0, f"seed {seed}: {tally}"
