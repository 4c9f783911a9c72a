"""The demo, whole: every fault is seen as what it is, and the overview shows the figures that were injected."""

import json
import random
from pathlib import Path

import pytest

from dashboards.render import panel_queries, substitute
from demo.session import Session
from otel_streaming.semconv import Result
from stack import Prometheus

pytestmark = pytest.mark.e2e

BOARD = Path(__file__).parents[2] / "dashboards" / "out" / "stream-overview.json"
QUERIES = [query for query in panel_queries(json.loads(BOARD.read_text())) if "stream:" not in query.expr]
"""What is recorded by rules is missing: this Prometheus has none."""


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Play the demo once, to its end; gives its rows, what they differ in, and a client of its Prometheus."""
    with Session(tmp_path_factory.mktemp("demo"), random.Random(7), lambda _: None) as session:
        rows = session.inject()
        reading = session.settle(rows)
        killed = session.kill_worker()
        if killed:
            rows.append(killed)
            reading = session.settle([killed])
        differences = [difference for row in rows for difference in row.differences(reading)]
        yield rows, differences, Prometheus(session.addresses()["Prometheus"])


def test_every_row_agrees(played):
    """Ledger and derived counter say of every fault what was injected, to the unit."""
    rows, differences, _ = played
    assert differences == []
    assert all(row.opened >= 20 for row in rows)
    assert any(row.lost for row in rows), "a worker was to be killed"


@pytest.mark.parametrize(("panel", "ref", "expr"), QUERIES, ids=[f"{q.panel} {q.ref}" for q in QUERIES])
def test_every_panel_has_data(played, panel, ref, expr):
    """Every query of the overview finds something in what a real collector derived."""
    assert played[2].query(substitute(expr, range="15m", rate_interval="1m"))


def test_tiles_show_what_was_injected(played):
    """The headline tiles are within two points of the figures computed from the injected faults."""
    rows, _, prometheus = played
    seen = dict.fromkeys(Result, 0)
    refused = 0
    for row in rows:
        seen[row.fault.verdict.result] += row.opened - row.lost
        seen[Result.SILENT] += row.lost
        refused += row.opened if row.fault.status >= 500 else 0
    bad = seen[Result.SILENT] + seen[Result.LOUD]
    eligible = bad + seen[Result.OK]
    requests = sum(row.opened - row.lost for row in rows)
    expected = {
        "Failed": bad / eligible,
        "Hidden share": seen[Result.SILENT] / bad,
        "What your 5xx panel says": refused / requests,
    }
    for title, share in expected.items():
        (expr,) = (query.expr for query in QUERIES if query.panel == title)
        (sample,) = prometheus.query(substitute(expr, range="15m"))
        assert sample.value == pytest.approx(share, abs=0.02), title
