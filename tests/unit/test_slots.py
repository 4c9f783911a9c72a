"""The slots of the crash recorder: what is written is read again, and what is damaged is nothing."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_streaming import _slots
from otel_streaming._shape import METHODS, Ended, Shape
from otel_streaming._slots import (
    PROGRESS_AT,
    ROUTE_MAX,
    SIZE,
    End,
    Header,
    Legacy,
    Open,
    Progress,
    Row,
    decode,
    decode_progress,
    encode,
)
from otel_streaming.semconv import OTHER, Kind, Outcome, Protocol, Reason, Result, Retry, Role

LONG = st.integers(0, 2**64 - 1)
INT = st.integers(0, 2**32 - 1)
SECONDS = st.floats(-1, 1e6, width=32)
SHAPES = st.builds(
    Shape,
    role=st.sampled_from(Role),
    kind=st.sampled_from(Kind),
    protocol=st.sampled_from([*Protocol, OTHER]),
    route=st.none() | st.text(st.characters(codec="utf-8"), max_size=30),
)
ENDED = st.builds(Ended, SHAPES, st.sampled_from(Result), st.sampled_from(Outcome), st.booleans())
SERIES = SHAPES | ENDED
TALLIES = st.one_of(
    st.builds(Header, LONG, LONG),
    st.builds(End, ENDED, LONG, LONG),
    st.builds(Row, SERIES, LONG, LONG, LONG),
    st.builds(Legacy, SERIES, LONG, LONG, LONG),
)
OPEN = st.builds(
    Open,
    shape=SHAPES,
    method=st.sampled_from([*METHODS, OTHER]),
    retry=st.sampled_from(Retry),
    status=st.integers(0, 65535),
    number=LONG,
    started_ns=LONG,
    trace_id=st.integers(0, 2**128 - 1),
    span_id=st.integers(0, 2**64 - 1),
    stream_id=LONG,
    sampled=st.booleans(),
)
PROGRESS = st.builds(
    Progress, LONG, LONG, LONG, INT, INT, INT, SECONDS, SECONDS, SECONDS, SECONDS, st.none() | st.sampled_from(Reason)
)


@given(TALLIES | OPEN)
def test_what_is_written_is_read_again(slot):
    """The first part of a slot has its size, and comes back as it was."""
    data = encode(slot)
    assert len(data) == PROGRESS_AT
    assert decode(data) == slot


@given(PROGRESS)
def test_progress_is_read_again(progress):
    """The second part has its size, and comes back as it was."""
    data = encode(progress)
    assert len(data) == SIZE - PROGRESS_AT
    assert decode_progress(data) == progress


def test_a_series_is_found_again():
    """A series that comes back is the same key of a dictionary as before."""
    series = Ended(Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/r"), Result.OK, Outcome.COMPLETED, stalled=True)
    assert decode(encode(Row(series, 1, 2, 3))).series in {series: 1}


@given(OPEN, st.text("é€x", min_size=ROUTE_MAX, max_size=200))
def test_a_long_route_is_cut_between_characters(slot, route):
    """A route too long for its place is cut, and is still text."""
    found = decode(encode(slot._replace(shape=Shape(Role.SERVER, Kind.OTHER, OTHER, route))))
    assert route.startswith(found.shape.route)
    assert len(found.shape.route.encode()) > ROUTE_MAX - 4


def test_what_is_too_large_is_cut():
    """Counts beyond their place are the most that it holds, and an unknown method is another one."""
    huge = 2**70
    series = Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, None)
    assert decode(encode(Row(series, huge, huge, huge))) == Row(series, *[2**64 - 1] * 3)
    found = decode_progress(encode(Progress(1, 2, huge, huge, huge, huge, 0.0, 0.0, 0.0, 0.0)))
    assert found[2:6] == (2**64 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    opened = Open(series, "BREW", Retry.NONE, 99_999, 1, 2, 3, 4, 5, sampled=False)
    assert (decode(encode(opened)).method, decode(encode(opened)).status) == (OTHER, 99_999 & 0xFFFF)


@given(TALLIES | OPEN, TALLIES | OPEN, st.integers(1, PROGRESS_AT - 1))
def test_a_torn_write_is_nothing(old, new, written):
    """A slot of which only a part was overwritten is either of the two, or nothing; never a mixture."""
    data = encode(new)[:written] + encode(old)[written:]
    assert decode(data) in {None, old, new}


@given(PROGRESS, PROGRESS, st.integers(1, 63))
def test_torn_progress_is_nothing(old, new, written):
    """The same of the second part."""
    data = encode(new)[:written] + encode(old)[written:]
    assert decode_progress(data) in {None, old, new}


def sealed(body, seed=None):
    """A slot with a right checksum, whoever wrote it."""
    return body + zlib.crc32(body, _slots._SEED if seed is None else seed).to_bytes(4, "little")


@given(TALLIES | OPEN, PROGRESS, st.integers(0, 2**32 - 1).filter(lambda seed: seed != _slots._SEED))
def test_another_version_is_nothing(slot, progress, seed):
    """What a version with other words or another layout has written does not hold."""
    assert decode(sealed(encode(slot)[:-4], seed)) is None
    assert decode_progress(sealed(encode(progress)[:-4], seed)) is None


@pytest.mark.parametrize("at", range(6))
def test_codes_that_stand_for_nothing(at):
    """A slot with a code beyond its list is refused, right as its checksum may be; so is an unknown reason."""
    series = Ended(Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/r"), Result.OK, Outcome.COMPLETED, stalled=False)
    body = bytearray(encode(Row(series, 1, 2, 3))[:-4])
    body[at] = 200
    assert decode(sealed(bytes(body))) is None
    assert decode(sealed(bytes(len(body)))) is None
    progress = bytearray(encode(Progress(1, 2, 3, 4, 5, 6, 0.0, 0.0, 0.0, 0.0))[:-4])
    progress[struct.calcsize("<QQQIIIffff")] = 200
    assert decode_progress(sealed(bytes(progress))) is None


@given(st.binary(max_size=2 * SIZE))
def test_any_bytes_do_no_harm(data):
    """Random bytes, too few and too many ones, are no slot."""
    assert decode(data) is None
    assert decode_progress(data) is None
