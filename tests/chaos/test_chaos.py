"""The short part of ``make chaos``: a collector and a Prometheus killed under a service's load."""

import pytest

from tests.chaos.page import HEAD, cells
from tests.chaos.run import run
from tests.chaos.scenarios import SHORT

pytestmark = pytest.mark.e2e


def test_kills_cost_the_ledger_nothing(tmp_path):
    """The ledger is what was injected, and the trust query says to the unit what the derived counter lacks."""
    row = run(SHORT, tmp_path, quiet=8.0)
    assert row.wrong() == [], row
    assert row.lost(row.derived), "a collector that is killed takes along what it holds"
    assert len(cells(row)) == len(HEAD)
