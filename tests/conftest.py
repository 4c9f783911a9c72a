"""What several groups of tests share."""

import os
import signal

import pytest

from stack import Stack

os.environ["OTEL_PYTHON_STREAMING_STATE_DIR"] = "off"  # no test's dead are another's: each asks for its own folder
# A shell's background job ignores what a terminal sends, and so would all that tests start: it is to obey.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """One real collector and one real Prometheus for all tests that do not disturb them."""
    with Stack(tmp_path_factory.mktemp("stack"), record=True) as running:
        yield running
