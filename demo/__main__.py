"""``python -m demo``: inject faults into real streams, and hold what the metrics say against it."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from demo.faults import STALL_THRESHOLD
from demo.report import listing, summary, table
from demo.session import Session
from stack import StackError

DEFAULT_SEED = 20
WIDTH_OF_A_FILE = 180
WIDTH_OF_A_TABLE = 130


class Progress:
    """Says what is going on: a changing line on a terminal, else a line every two seconds and at each step.

    A step is what stands before the colon of a text.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._began = console, time.monotonic()
        self._last, self._step = self._began, ""
        self._status = console.status("") if console.is_terminal else None

    def __call__(self, text: str) -> None:
        """Show ``text``."""
        now, step = time.monotonic(), text.partition(":")[0]
        line = f"{now - self._began:4.0f} s  {text}"
        if self._status:
            self._status.start()
            self._status.update(line)
        elif step != self._step or now - self._last >= 2:
            self._console.print(line, highlight=False)
            self._last, self._step = now, step

    def pause(self) -> None:
        """Give the line to others."""
        if self._status:
            self._status.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.partition(": ")[2])
    parser.add_argument(
        "--keep", action="store_true", help="leave everything running until Ctrl-C, print the addresses"
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="decides how often each fault is injected")
    return parser.parse_args()


def _compare(session: Session, console: Console, progress: Progress) -> bool:
    """Inject everything, print the table; return whether all rows agree."""
    rows = session.inject()
    reading = session.settle(rows)
    if killed := session.kill_worker():
        rows.append(killed)
        reading = session.settle([killed])
    progress.pause()
    drawn = table(rows, reading) if console.width >= WIDTH_OF_A_TABLE else listing(rows, reading)
    console.print(drawn, summary(rows, reading), sep="\n", highlight=False)
    if not killed:
        console.print("Left out, since this system has no /proc: the killing of a worker.")
    differences = [difference for row in rows for difference in row.differences(reading)]
    for difference in differences:
        console.print(f"DISAGREES: {difference}", style="red", markup=False, highlight=False)
    if differences and (load := os.getloadavg()[0]) > 2 * (os.cpu_count() or 1):
        turn = f"a worker that waits {STALL_THRESHOLD:g} s for its turn has stalled"
        console.print(f"The machine is busy (load {load:.0f}): {turn}.", highlight=False)
    return not differences


def _keep(session: Session, console: Console) -> None:
    console.print("\nAll of it goes on running; Ctrl-C stops it.")
    for name, address in session.addresses().items():
        console.print(f"  {name:22} {address}", highlight=False)
    console.print("Try a fault by hand; the model is its name in demo/upstream.py:", highlight=False)
    console.print(f"  {session.example()}", highlight=False, markup=False, soft_wrap=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def main() -> int:
    """Run the demo and return the exit status."""
    options = _arguments()
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
    progress = Progress(console)
    folder = Path(tempfile.mkdtemp(prefix="otel-streaming-demo-"))
    status = 1
    console.print(
        f"seed {options.seed} (choose another with --seed N); logs, kept on failure, in {folder}", highlight=False
    )
    try:
        with Session(folder, random.Random(options.seed), progress) as session:
            status = 0 if _compare(session, console, progress) else 1
            if options.keep:
                _keep(session, console)
    except StackError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    finally:
        progress.pause()
        if status != 1 or not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for what they start in the background
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # clean up as for Ctrl-C
    sys.exit(main())
