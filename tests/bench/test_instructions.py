"""How many instructions a chunk, a request and a stream take: these tests do not depend on the machine's load."""

import pytest

from bench.instructions import count
from bench.peers import BARE, EXCLUDED, OURS

BOUNDS = {
    "chunk": 6.7,
    "named-chunk": 8.9,
    "cut-chunk": 28,
    "request": 53,
    "stream": 900,
    "client-chunk": 6.7,
    "client-request": 64,
}
"""What the hooks may add to a step, in awaited calls of a function that does nothing, of which each build of Python
takes its own number of instructions; a twentieth above what they add, of a
client's request a tenth: httpx itself takes ten times as many."""


@pytest.fixture(scope="module")
def counts():
    return count()


@pytest.mark.parametrize("what", BOUNDS)
def test_added(counts, what):
    """No step takes more instructions than when its bound was last written; who makes it take far fewer lowers that."""
    call = counts["chunk"][BARE]
    added = (counts[what][OURS] - counts[what][BARE]) / call
    assert BOUNDS[what] / 2 < added < BOUNDS[what]


def test_request_beside_contrib(counts):
    """A request that does not stream is added an eighth of what the stock instrumentation adds, at most."""
    ours, contrib, bare = (counts["request"][name] for name in (OURS, EXCLUDED, BARE))
    assert (ours - bare) * 8 < contrib - bare
