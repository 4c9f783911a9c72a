"""Ask a Prometheus what every panel asks: ``python -m dashboards.ask URL``.

The URL may be a Grafana's way to its Prometheus (``.../api/datasources/proxy/uid/prometheus``): then the answer also
shows that the data source is right.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from dashboards.__main__ import OUT
from dashboards.queries import NOBODY_REPORTS
from dashboards.render import PanelQuery, panel_queries, substitute
from stack import Prometheus, PrometheusError

if TYPE_CHECKING:
    from pathlib import Path

FIRST = "stream-overview"
"""The dashboard that has to show something in every panel once every kind of fault has happened."""


class Answer(NamedTuple):
    """What Prometheus said to one panel's query: so many series, or a refusal in its own words."""

    dashboard: str
    query: PanelQuery
    series: int
    refusal: str = ""


def ask(prometheus: Prometheus, folder: Path = OUT) -> list[Answer]:
    """Put every query of every dashboard, everything chosen."""
    return [
        _put(prometheus, file.stem, query)
        for file in sorted(folder.glob("*.json"))
        for query in panel_queries(json.loads(file.read_text(encoding="utf-8")))
    ]


def _put(prometheus: Prometheus, dashboard: str, query: PanelQuery) -> Answer:
    try:
        found = prometheus.query(substitute(query.expr))
        return Answer(dashboard, query, sum(sample.value != NOBODY_REPORTS for sample in found))
    except PrometheusError as error:
        return Answer(dashboard, query, 0, str(error))


def lacking(answers: list[Answer]) -> list[Answer]:
    """The queries that were refused, and those of panels that must not be empty and are."""
    full = {one.query.panel for one in answers if one.series}
    return [one for one in answers if one.refusal or (one.dashboard == FIRST and one.query.panel not in full)]


def main() -> int:
    """Print every answer; return 0 when none is lacking."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.ask", description="Ask what every panel asks.")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="go on asking for so long")
    parser.add_argument("url", metavar="URL", help="of a Prometheus")
    options = parser.parse_args()
    prometheus, deadline = Prometheus(options.url), time.monotonic() + options.wait
    answers = ask(prometheus)
    while lacking(answers) and time.monotonic() < deadline:
        time.sleep(5)
        answers = ask(prometheus)
    for one in answers:
        print(f"{one.series:4} {one.dashboard}: {one.query.panel} {one.query.ref} {one.refusal}".rstrip())
    for one in lacking(answers):
        print(f"lacking: {one.dashboard}: {one.query.panel} {one.query.ref}", file=sys.stderr)
    return bool(lacking(answers))


if __name__ == "__main__":
    sys.exit(main())
