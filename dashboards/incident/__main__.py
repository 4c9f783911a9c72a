"""``python -m dashboards.incident``: serve the incident to have a look at, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import signal
import tempfile
import time
from pathlib import Path

from dashboards import incident


def _clock(at: int) -> str:
    return time.strftime("%H:%M", time.localtime(at))


def main() -> None:
    """Load it, say where it is and what is in it."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.incident", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="of the Prometheus (default: any that is free)")
    port = parser.parse_args().port
    with tempfile.TemporaryDirectory(prefix="incident-") as folder, incident.load(Path(folder), port) as prometheus:
        print(f"Prometheus: {prometheus.url}   from {_clock(incident.START)} to {_clock(incident.END)}")
        for phase in incident.PHASES:
            print(f"  {_clock(phase.start)} - {_clock(phase.end)}  {phase.name:32}{', '.join(phase.alerts)}")
        print("Ctrl-C ends it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
