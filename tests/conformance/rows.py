"""One row of a matrix: the server that it runs, what that reports, and what of it is wrong."""

import asyncio
import contextlib
import os
import platform
import signal
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from stack import Process, StackError, free_ports, listens
from tests.conformance.compare import notes
from tests.conformance.expected import LOST, changes, fits
from tests.conformance.sink import Sink

BIN = Path(sys.executable).parent
SERVICE = Path(__file__).parent / "service"


@dataclass
class Row:
    """What was told of one server and framework; of a single run of them also what was received and seen."""

    server: str
    framework: str
    cells: dict = field(default_factory=dict)
    routes: set = field(default_factory=set)
    started: int = 0
    ended: int = 0
    exit: int | None = None
    log: str = ""
    answers: dict = field(default_factory=dict)
    seen: dict = field(default_factory=dict)
    inherited: bool = False
    compared: int = 0
    differences: list = field(default_factory=list)


def wrong(row, expected, route):
    """Return what a row says that it is not to say."""
    cells, due = row.cells.items(), {cause: expected(row.server, row.framework, cause)[0] for cause in row.cells}
    found = [f"{cause} says {said}, not {due[cause]}" for cause, said in cells if not fits(due[cause], said)]
    if row.routes - {route(row.framework)}:
        found.append(f"routes are {row.routes}")
    injected = sum(said != "-" or "-" not in due[cause].split(" or ") for cause, said in cells)
    lost = sum(said == "-" and LOST in due[cause] for cause, said in cells)
    if row.started != injected or not injected - lost <= row.ended <= injected:
        found.append(f"ledger says {row.started} started, {row.ended} ended, {injected} were injected")
    if row.inherited and not any("process_death" in cell for cell in due.values()):
        found.append("it was not killed, and has not handed over all")
    changed = [d for d in row.differences if changes(row.server, row.framework, *d[:2]) is None]
    return found + [f"changed by us: {cause}: {how}" for cause, _, how in changed]


def due_of(row, traces, expected):
    """Return those of the traces in which a span is due, by the cause of each."""
    return {trace for c, trace in traces.items() if not fits(expected(row.server, row.framework, c)[0], "-")}


def versions(names):
    """Return the versions of what was run."""
    found = ", ".join(f"{name} {version(name)}" for name in names.split())
    return f"CPython {platform.python_version()}, {found}"


def cell(spans):
    """Say what was reported of one exchange: result, reason, phase."""
    words = [tuple(span[f"stream.{word}"] for word in ("result", "reason", "phase")) for span in spans]
    return " + ".join("/".join(word) for word in words) or "-"


@contextlib.contextmanager
def serving(row, command, folder, suffix="", *, due=None, bare=False):
    """Run the row's server; yields its process, its port and what it reports, whose sums the row has at the end.

    If it has stopped and not told of all the streams that are ``due``, it is started once more: the crash recorder is
    to report what is missing.
    """
    sink, (port,) = Sink(), free_ports(1)
    program, *arguments = command.format(port=port).split()
    name = f"{row.server}-{row.framework}{suffix}"
    log, seen = folder / f"{name}.log", folder / f"{name}.seen"
    env = {
        "FRAMEWORK": row.framework,
        "SEEN": os.fspath(seen),
        **sink.service_env(),
        "OTEL_PYTHON_STREAMING_STATE_DIR": os.fspath(folder / f"{name}.state"),
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "asgi,django,fastapi,flask,starlette,wsgi",  # what differs is ours
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SERVICE), os.environ.get("PYTHONPATH")])),
    }
    command = [*([] if bare else [BIN / "opentelemetry-instrument"]), BIN / program, *arguments]
    try:
        with Process(name, command, log, env, SERVICE) as process:
            yield process, port, sink
            row.exit = process.returncode
        row.inherited = not (due is None or sink.told_all(due))
        if row.inherited:
            with process:
                asyncio.run(_inherited(process, port, sink, due))
    finally:
        sink.close()
    row.routes = {span.get("http.route") for spans in sink.spans.values() for span in spans}
    row.started, row.ended = sink.total("stream.ledger.started"), sink.total("stream.ledger.ended")
    row.log, row.seen = log.read_text(), notes(seen)


async def gone(process):
    try:
        await asyncio.to_thread(process.wait, 12)
    except StackError:  # daphne waits for ever for anyio's worker threads, without us as well
        process.signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait, 12)


async def told_of(sink, due):
    """Wait for a span of each trace, but not for ever."""
    await until(lambda: due <= sink.spans.keys())


async def until(condition, patience=20):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and not condition():  # noqa: ASYNC110 - nothing tells of what a sink receives
        await asyncio.sleep(0.05)


async def ready(process, port):
    await asyncio.to_thread(process.wait_until, lambda: listens(port), "its port")


async def _inherited(process, port, sink, due):
    """Wait until the successor has told what its predecessor could not."""
    await ready(process, port)
    await until(lambda: sink.told_all(due))
