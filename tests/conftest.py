"""What several groups of tests share."""

import pytest

from stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """One real collector and one real Prometheus for all tests that do not disturb them."""
    with Stack(tmp_path_factory.mktemp("stack"), record=True) as running:
        yield running
