"""Any bytes, and samples spoilt anywhere, in any cuts: a verdict, the same for all cuts, from bounded memory."""

import os
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dialects import samples
from test_frames import BODIES
from test_tail import BOUND

from otel_streaming._dialects import Declared
from otel_streaming._tail import LIMIT, RAW
from otel_streaming._verdict import summarise
from otel_streaming.semconv import Dialect, Protocol

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
SAMPLES = {
    **{name: (sample.protocol, b"".join(sample.events)) for name, sample in samples().items()},
    **{name: (protocol, b"".join(messages)) for name, (protocol, messages) in BODIES.items()},
}
BITS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"\n", b"\r", b"\n\n", b"\r\n", b":", b"data:", b"event: ping\n", b'"', b"\\", b"{", b"}", b"[", b"]"]
    ),
    st.sampled_from(
        [b"data: [DONE]\n\n", b": c\n\n", b"\x1e", b"--", b"\0", b'{"error":{', b" ", b"x" * 700, b"x" * 5000]
    ),
)
SPOIL = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 40), BITS), max_size=6)


def retained(tail):
    """Return how many bytes a tail, and the framing before it, hold between two messages."""
    parts = [tail] if hasattr(tail, "_before") else [tail._tail, tail._frames]
    values = [getattr(part, name) for part in parts for name in part.__slots__]
    held = [value for value in values if isinstance(value, bytes | bytearray)]
    return sum(map(len, held))


def facts(begin, protocol, pieces, **more):
    """Return what a verdict says of a body in these messages; what is kept of it is bounded after each."""
    stream = begin(protocol, **more)
    stream.headers(0.1, 200)
    for piece in pieces:
        if stream.chunk(0.2, piece):
            stream.idle_since = 0.2
        if stream._tail is not None and len(piece) <= 512:
            assert retained(stream._tail) <= BOUND + LIMIT + 4 * RAW
    stream.eof(0.3)
    s = summarise(stream, 0.3)
    return (s.reason, s.terminal, s.dialect, s.finish_reason, s.output_tokens, s.model, s.size)


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    spoil=SPOIL,
    points=st.lists(st.integers(0, 1 << 16), max_size=30),
    how=st.tuples(
        st.sampled_from([None, None, None, *Protocol]),
        st.sampled_from([{}, {}, {"declared": Declared("json", "done=true")}, {"announced": Dialect.VERCEL_AI}]),
    ),
)
def test_spoilt_bodies(begin, name, spoil, points, how):
    """A sample with bytes changed, in its own or a foreign protocol, reads the same in any cuts, and raises nothing."""
    protocol, body = SAMPLES[name]
    protocol, more = how[0] or protocol, how[1]
    for point, gone, bits in spoil:
        at = point % (len(body) + 1)
        body = (body[:at] + bits + body[at + gone :])[: 1 << 16]
    bounds = [0, *sorted(point % (len(body) + 1) for point in points), len(body)]
    cut = [body[a:b] for a, b in pairwise(bounds) if a < b]
    whole = [body] if body else []
    assert facts(begin, protocol, cut, **more) == facts(begin, protocol, whole, **more)
