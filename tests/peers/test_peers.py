"""What ``make peers`` does, for those that the development environment has."""

import pytest

from bench.pool import BenchError
from tests.peers.__main__ import SERVED, in_place, serving

pytestmark = pytest.mark.e2e


def test_ours_tells_each_end_apart():
    """Six ends, six words, but for one end that comes about in two ways."""
    told = {ending: said["told"] for ending, said in serving("otel-streaming").items()}
    assert all(len(words) == 1 for words in told.values()), told
    assert told["raises"] == told["behind/raises"]
    assert len({words[0] for words in told.values()}) == len(SERVED) - 1


def test_who_reads_no_end_marker_tells_a_cut_end_like_a_good_one():
    """The table's bold cells are what was told, not what was not heard."""
    told = {ending: said["told"] for ending, said in serving("contrib FastAPI").items()}
    assert told["cut"] == told["whole"] == ["200"]
    assert told["raises"] == ["200 ERROR RuntimeError"]


def test_who_tells_nothing_of_a_good_end_comes_into_no_table():
    """A tool that is not in place is no tool that tells nothing."""
    found = {"whole": {"told": []}, "status": {"told": ["503"]}}
    with pytest.raises(BenchError, match="nobody tells nothing of a good end"):
        in_place("nobody", found)
