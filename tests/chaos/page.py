"""The table of docs/reliability.md, which stands between two marks."""

import os
import platform
import time
from pathlib import Path

from tests.chaos.scenarios import SCENARIOS

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
MARK = "<!-- written by make chaos -->"
HEAD = (
    *("what was done", "streams", "missing in the ledger"),
    *("missing among the derived", "derived twice", "failures missing, says the trust query"),
)


def write(rows):
    """Put the rows in the place of what the page said of their scenarios."""
    before, then, after = PAGE.read_text().split(MARK)
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in then.splitlines()}
    lines |= {row.scenario.name: line(cells(row)) for row in rows}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, CPython {platform.python_version()}"
    drawn = [line(HEAD), line(["---"] * len(HEAD)), *(lines[s.name] for s in SCENARIOS if s.name in lines)]
    drawn += ["", f"As tried on {time.strftime('%Y-%m-%d')} ({machine}, shared)."]
    PAGE.write_text(MARK.join([before, "\n".join(["", *drawn, ""]), after]))


def line(cells):
    return "| " + " | ".join(cells) + " |"


def cells(row):
    streams, lost = row.injected.total(), row.lost(row.derived)
    return (
        row.scenario.name,
        f"{streams:,}",
        str(row.lost(row.ledger)),
        f"{lost} ({100 * lost / streams:.1f} %)" if lost else "0",
        str(row.doubled(row.derived)),
        str(row.trust),
    )
