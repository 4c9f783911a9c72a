"""The SDKs of the development environment against every fault; the others run by ``make sdks``."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sdks.runner import ROWS, SDKS, run_row, wrong

pytestmark = pytest.mark.e2e

HERE = [(name, mode) for name, mode in ROWS if not SDKS[name].environment]


@pytest.fixture(scope="module")
def rows():
    """All at once would race for the processors, one after the other would mostly wait."""
    with ThreadPoolExecutor(3) as pool:
        yield {row: pool.submit(run_row, *row) for row in HERE}


@pytest.mark.parametrize("row", HERE, ids=" ".join)
def test_an_sdk(row, rows):
    """Whatever an SDK tells its caller, each end is told by its name, once, with what the stream has said."""
    assert wrong(rows[row].result(timeout=300)) == []
