"""Write the reference pages that follow from the code: ``python docs/generate.py [--check]``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dashboards.__main__ import DASHBOARDS
from otel_streaming._life import TRANSITIONS, Life, Signal
from otel_streaming.cli.catalog import contract_page, markdown_table, settings_page

HERE = Path(__file__).parent


NEEDS = """\
## What they need

- **Prometheus** with the metrics of [contract.md](contract.md), and its data source's scrape interval set to your
  `OTEL_METRIC_EXPORT_INTERVAL` (60 s by default): rates are taken over four of those.
- **Its rules** ([alerts.md](alerts.md)): without them budgets, burn rates and alerts say
  `no rules, or no telemetry`, and everything else works. **Budget left** is of thirty days if Prometheus keeps them
  (`--storage.tsdb.retention.time=31d`), else of as many as it keeps: 15 unless set.
- **Traces** in Tempo (2.8 or later for the newest first; TraceQL metrics switched on for the comparison) and **logs**
  in Loki, for `stream-forensics` and one panel of `stream-trust`. Their lists leave out streams without a route.
- **Exemplars**: in the Prometheus data source an exemplar label `trace_id` that leads to Tempo. Then every dot in a
  graph of failures, of first chunks and of durations opens its trace.
- **Deployments** are marked where Grafana has an annotation with the tag `deploy`; processes that began and alerts that
  fired mark themselves.

## Three kinds of nothing

`no traffic`: nothing ended in this time range. `no failures`, or 0 in green: streams ended, none of them badly.
`no telemetry`: nobody has reported anything, or nobody does any more. The last is grey, never green.

## Seen in a Grafana

The workflow `grafana` loads the incident of `make incident` into Grafana 10.4, 11.6, 12.4 and 13, opens every
dashboard in a browser, fails where a panel of metrics shows an error or nothing, and keeps the pictures. It needs
containers, and has only run where they are to be had; `make test` holds what can be held without a Grafana: queries
against a real Prometheus, the schema, the layout, the grammars of TraceQL and LogQL."""


def dashboards() -> str:
    """Return the page of the dashboards: whom each is for, how it is read, what every panel shows."""
    boards = [json.loads(module.build()) for module in DASHBOARDS]
    return "\n".join(
        [
            "# Dashboards",
            "",
            "Generated from `dashboards/*.py`; every panel says the same in its (i), with what is good and what to",
            "do first. Import all of `dashboards/out/*.json` (`otel-streaming export dashboards DIR` writes them) into",
            "Grafana 10.4 or later: they link to each other, and every link keeps the time range and what you have",
            "chosen.",
            "",
            *markdown_table(
                ["file", "dashboard", "asks"],
                [[f"`{board['uid']}.json`", board["title"], board["description"]] for board in boards],
            ),
            "",
            NEEDS,
            "",
            *(line for board in boards for line in dashboard(board)),
        ]
    )


def dashboard(board: dict[str, Any]) -> list[str]:
    """Return the section of one dashboard."""
    guide, *rows = board["panels"]
    text = guide["options"]["content"].partition(" Go on to ")[0]
    shown = []
    for panel in rows:
        if panel["type"] == "row":
            shown.append([f"**{panel['title']}**", "", ""])
            continue
        metric, formula, *_ = (part.partition(":** ")[2] for part in panel["description"].split("\n\n"))
        shown.append([panel["title"], formula, metric])
    return [f"## {board['title']}", "", text, "", *markdown_table(["panel", "shows", "from"], shown), ""]


LIVES = """\
Generated from `TRANSITIONS` in `otel_streaming/_life.py`. One state machine serves all roles: of a server, of a
client, of an iterable watched by hand, of a WebSocket. The adapters tell it what happens, and it knows no clock, no
library and no side.

- `asked`: nothing has been answered. `open`: the headers are out, and no progress has been made; keep-alives are none.
- `finished`: the final message has passed, which is no success until the application has returned: behind
  `BaseHTTPMiddleware` an exception follows it. `closed`: a close frame has passed, whose code says how it ended.
- `gone`: the reader has left, and the application may go on. `broken`: a failure was seen, and it may still clean up.
  What follows either is its echo, so the earliest evidence stands; but a close frame explains a departure.
- `ended`: the application has returned. Now the verdict is formed ([endings.md](endings.md))."""


def lifecycle() -> str:
    """Return the page of the lifecycle table: what changes a state drawn, everything listed."""
    moves: dict[tuple[str, str], list[str]] = {}
    for life in Life:
        for signal in Signal:
            if (after := TRANSITIONS[life, signal]) is not life:
                moves.setdefault((life.name.lower(), after.name.lower()), []).append(signal.name.lower())
    rows = [
        [f"`{life.name.lower()}`"]
        + ["" if (after := TRANSITIONS[life, signal]) is life else f"`{after.name.lower()}`" for signal in Signal]
        for life in Life
    ]
    return "\n".join(
        [
            "# The life of a stream",
            "",
            LIVES,
            "",
            "```mermaid",
            "stateDiagram-v2",
            f"    [*] --> {next(iter(Life)).name.lower()}",
            *(f"    {before} --> {after}: {', '.join(signals)}" for (before, after), signals in moves.items()),
            f"    {Life.ENDED.name.lower()} --> [*]",
            "```",
            "",
            "Every signal in every state; an empty cell changes nothing.",
            "",
            *markdown_table(["state", *(f"`{signal.name.lower()}`" for signal in Signal)], rows),
            "",
        ]
    )


def commands() -> str:
    """Return the page of every command, as typer itself describes them."""
    words = ["otel_streaming.cli.app", "utils", "docs", "--name", "otel-streaming", "--title", "Commands"]
    described = subprocess.run(  # noqa: S603 - its own words
        [sys.executable, "-m", "typer", *words], check=True, capture_output=True, text=True
    )
    title, _, rest = described.stdout.replace("&#x27;", "'").rstrip().partition("\n")
    needs = 'Generated from `otel_streaming/cli`. They need the extra `cli`: `pip install "otel-streaming[cli]"`'
    needs += ' (not on PyPI yet: in a checkout, `pip install ".[cli]"`).'
    return f"{title}\n\n{needs}\n{rest}\n"


PAGES = {
    "contract.md": contract_page,
    "settings.md": settings_page,
    "dashboards.md": dashboards,
    "lifecycle.md": lifecycle,
    "commands.md": commands,
}


def main() -> int:
    """Write the pages, or tell which of them are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    check = parser.parse_args().check
    pages = {HERE / name: page() for name, page in PAGES.items()}
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
    if check and stale:
        sys.stderr.write(f"out of date: {', '.join(path.name for path in stale)}; run: make docs\n")
        return 1
    for path in stale:
        path.write_text(pages[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
