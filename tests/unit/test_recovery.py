"""What a dead process's file says, whatever was the last thing that was written to it."""

import random

import pytest

from otel_streaming._recovery import recover
from otel_streaming._shape import Ended, Shape
from otel_streaming._slots import (
    PROGRESS_AT,
    SIZE,
    End,
    Header,
    Legacy,
    Open,
    Progress,
    Row,
    encode,
)
from otel_streaming.semconv import Kind, Origin, Outcome, Phase, Protocol, Reason, Result, Retry, Role, Terminal

SHAPE = Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/r")
OK = Ended(SHAPE, Result.OK, Outcome.COMPLETED, stalled=False)
DIED = Ended(SHAPE, Result.SILENT, Outcome.TRUNCATED, stalled=False)
START = 1_000_000_000_000


def opened(number=1, started_ns=START, status=200, key=0):
    return Open(SHAPE, "GET", Retry.RESUMED, status, number, started_ns, 10, 11, key, sampled=True)


NEW = Header(0, 0)


def file(*slots, header=NEW):
    """The bytes of a file; a pair is an open stream with its progress."""
    parts = [encode(header).ljust(SIZE, b"\0")]
    for slot in slots:
        what, progress = slot if type(slot) is tuple else (slot, None)
        first = what if isinstance(what, bytes) else encode(what)
        second = b"" if progress is None else encode(progress)
        parts.append((first.ljust(PROGRESS_AT, b"\0") + second).ljust(SIZE, b"\0"))
    return b"".join(parts)


def counts(*slots, **more):
    return {series: count for series, count in recover(file(*slots, **more), 0.0).counts.items() if count}


def test_an_end_counts_before_and_after_it_is_gathered():
    """A begin and an end count once: by themselves, beside a row that knows of neither, and in a row that does."""
    end = End(OK, 3, 4)
    assert counts(end) == {SHAPE: 1, OK: 1}
    assert counts(end, Row(OK, 5, 2, 0), Row(SHAPE, 5, 2, 0)) == {SHAPE: 6, OK: 6}
    assert counts(end, Row(OK, 6, 4, 0), Row(SHAPE, 6, 4, 0)) == {SHAPE: 6, OK: 6}
    assert counts(end, Row(SHAPE, 6, 3, 0), Row(OK, 5, 2, 0)) == {SHAPE: 6, OK: 6}


def test_what_was_handed_out_is_left_out():
    """Of what a collection has got nothing is left, whether it had been gathered or not."""
    assert counts(Row(OK, 6, 4, 4), Row(SHAPE, 7, 4, 7)) == {OK: 2}
    assert counts(End(OK, 3, 4), Row(OK, 0, 0, 1), Row(SHAPE, 0, 0, 1)) == {}
    assert counts(Row(OK, 1, 1, 2)) == {}


def test_an_open_stream_has_ended():
    """A stream that was open began and ended, truncated, with its process; its begin may have been gathered."""
    assert counts(opened(3)) == {SHAPE: 1, DIED: 1}
    assert counts(opened(3), Row(SHAPE, 1, 3, 1)) == {DIED: 1}
    assert counts(opened(0), Row(SHAPE, 1, 3, 0)) == {SHAPE: 1, DIED: 1}


def test_a_legacy_counts_once_it_is_taken():
    """What was inherited counts from the header's word on, and not again in a row."""
    legacy = Legacy(OK, 7, 5, 2)
    assert counts(legacy, header=Header(1, 0)) == {}
    assert counts(legacy, header=Header(2, 99)) == {OK: 7}
    assert counts(legacy, Row(OK, 8, 5, 1), header=Header(2, 99)) == {OK: 7}
    assert recover(file(header=Header(2, 99)), 0.0).adopted == 99


@pytest.mark.parametrize("data", [b"", b"\0" * 4096, random.Random(1).randbytes(4096), file(opened())[SIZE:]])
def test_no_file_of_ours(data):
    """What does not begin with a header is not read."""
    assert recover(data, 0.0) is None


def test_damaged_slots_are_left_out():
    """A slot that does not hold, and an end of nothing, cost themselves alone."""
    torn = encode(End(OK, 1, 2))[:100]
    noise = random.Random(2).randbytes(PROGRESS_AT)
    assert counts(torn, noise, End(SHAPE, 1, 2), encode(Header(1, 1)), End(OK, 3, 4)) == {SHAPE: 1, OK: 1}
    assert counts(End(OK, 3, 4), header=Header(0, 0)) == {SHAPE: 1, OK: 1}
    whole = file(End(OK, 3, 4), End(OK, 5, 6))
    assert recover(whole[:-1], 0.0).counts[OK] == 2
    assert recover(whole[:-100], 0.0).counts[OK] == 1


def test_how_far_it_had_come():
    """The summary is that of the last look: end, first chunk, sizes; what nobody knows is absent."""
    progress = Progress(START, START + 5_000_000_000, 120, 12, 3, 2, 0.5, 1.5, 2.5, 3.5)
    (dead,) = recover(file((opened(), progress)), 400.0).streams
    summary = dead.summary
    assert (dead.trace_id, dead.span_id, dead.sampled) == (10, 11, True)
    assert (summary.started_at, summary.ended_at, summary.first_chunk_at) == (600.0, 605.0, 600.5)
    assert (summary.size, summary.chunks, summary.keepalives, summary.stall_count) == (120, 12, 3, 2)
    assert (summary.gap_max, summary.stall_duration, summary.backpressure) == (1.5, 2.5, 3.5)
    assert (summary.result, summary.outcome, summary.reason) == (
        Result.SILENT,
        Outcome.TRUNCATED,
        Reason.PROCESS_DEATH,
    )
    assert (summary.phase, summary.origin, summary.terminal) == (Phase.MID_STREAM, Origin.SERVER, Terminal.NOT_CHECKED)
    assert (summary.method, summary.retry, summary.status, summary.shape) == ("GET", Retry.RESUMED, 200, SHAPE)
    assert (summary.headers_at, summary.gap_counts, summary.dead) == (None, (), True)
    assert counts((opened(), progress))[DIED._replace(stalled=True)] == 1


@pytest.mark.parametrize("progress", [None, Progress(START + 1, START + 9, 1, 1, 0, 0, 1.0, 0.0, 0.0, 0.0)])
def test_another_streams_progress_is_not_its_own(progress):
    """Without progress, or with that of the slot's last stream, it ended where it began, before the first chunk."""
    (dead,) = recover(file((opened(), progress)), 0.0).streams
    assert dead.summary.started_at == dead.summary.ended_at
    assert dead.summary.phase is Phase.BEFORE_FIRST_CHUNK
    assert dead.summary.first_chunk_at is None


@pytest.mark.parametrize(
    ("reason", "result", "origin"),
    [
        (Reason.COMPLETED, Result.OK, Origin.SERVER),
        (Reason.CLIENT_DISCONNECT, Result.CANCELLED, Origin.UNKNOWN),
        (Reason.PRODUCER_ERROR, Result.SILENT, Origin.SERVER),
    ],
)
def test_what_had_ended_before_keeps_its_end(reason, result, origin):
    """A stream whose end was known, but whose application went on, did not die of its process."""
    progress = Progress(START, START + 5, 120, 12, 0, 0, 0.5, 0.0, 0.0, 0.0, reason)
    (dead,) = recover(file((opened(), progress)), 0.0).streams
    assert (dead.summary.result, dead.summary.reason, dead.summary.origin) == (result, reason, origin)


@pytest.mark.parametrize(("key", "expected"), [(0, None), (0xAB, "00000000000000ab")])
def test_the_name_that_the_application_knows(key, expected):
    """A stream that its application has asked for its id keeps it."""
    (dead,) = recover(file(opened(key=key)), 0.0).streams
    assert dead.summary.stream_id == expected
