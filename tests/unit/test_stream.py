"""The state machine of one stream: scripts of what happens, and the verdicts they lead to."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_streaming._causes import Cause
from otel_streaming._dialects import Declared
from otel_streaming._life import TRANSITIONS, Life, Signal
from otel_streaming._shape import Shape
from otel_streaming._stream import Notes, Stream
from otel_streaming._verdict import buffered, summarise
from otel_streaming.semconv import (
    GAP_BOUNDS,
    REASON_OUTCOME,
    Kind,
    Origin,
    Outcome,
    Phase,
    Protocol,
    Reason,
    Result,
    Role,
    State,
    Terminal,
)

DELTA = b'data: {"object":"chat.completion.chunk","choices":[{"delta":{"content":"x"},"finish_reason":null}]}\n\n'
STOP = b'data: {"object":"chat.completion.chunk","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
LENGTH = STOP.replace(b"stop", b"length")
DONE = b"data: [DONE]\n\n"
TICK = b"data: tick\n\n"
PING = b": ping\n\n"
CREATED = b'data: {"type":"response.created"}\n\n'
CANCELLED = b'data: {"type":"response.cancelled"}\n\n'


def end(stream, now, **how):
    """The application has returned: the verdict for good."""
    summary = summarise(stream, now, **how)
    stream.end()
    return summary


def test_the_table_is_total():
    """Whatever happens in whatever state has a row."""
    assert set(TRANSITIONS) == set(itertools.product(Life, Signal))


def test_a_message_of_which_only_the_size_is_known():
    """Counts like any other, even with no size at all."""
    for size in (0, 7):
        stream = Stream(Shape(Role.TASK, Kind.BOUNDED, Protocol.ITERABLE, None), "", 0.0, recent=2)
        stream.headers(0.0, None)
        assert stream.chunk(1.0, size)
        stream.idle_since = 1.0
        stream.eof(2.0)
        summary = end(stream, 2.0)
        assert (summary.chunks, summary.size, summary.first_chunk_size) == (1, size, size)
        assert (summary.first_chunk_at, summary.recent_chunks) == (1.0, ((1.0, size, 1.0),))
        assert (summary.phase, summary.reason) == (Phase.MID_STREAM, Reason.COMPLETED)


@pytest.mark.parametrize(
    ("marker", "stop", "expected"),
    [
        (Terminal.SEEN, Stream.eof, (Reason.COMPLETED, Terminal.SEEN)),
        (Terminal.SEEN, Stream.left, (Reason.COMPLETED, Terminal.SEEN)),
        (Terminal.MISSING, Stream.eof, (Reason.MISSING_TERMINAL, Terminal.MISSING)),
        (Terminal.MISSING, Stream.left, (Reason.CLIENT_DISCONNECT, Terminal.MISSING)),
        (None, Stream.eof, (Reason.COMPLETED, Terminal.NOT_CHECKED)),
    ],
)
def test_a_marker_that_the_reader_looks_for(marker, stop, expected):
    """Once seen it completes, until then it is due."""
    stream = Stream(Shape(Role.TASK, Kind.BOUNDED, Protocol.ITERABLE, None), "", 0.0)
    stream.headers(0.0, None)
    stream.chunk(1.0, 0)
    stream.idle_since = 1.0
    stream.marker = marker
    stop(stream, 2.0)
    summary = end(stream, 2.0)
    assert (summary.reason, summary.terminal) == expected


def test_the_end_is_final():
    """Returning ends every life, and nothing follows."""
    assert all(TRANSITIONS[life, Signal.RETURNED] is Life.ENDED for life in Life)
    assert {TRANSITIONS[Life.ENDED, signal] for signal in Signal} == {Life.ENDED}


def test_every_life_is_reached():
    """Every state but the first follows from another one."""
    assert {life for (before, _), life in TRANSITIONS.items() if before is not life} == set(Life) - {Life.ASKED}


SIGNALS = {
    "headers": lambda stream, now: stream.headers(now, 200),
    "chunk": lambda stream, now: stream.chunk(now, TICK),
    "ping": lambda stream, now: stream.chunk(now, PING),
    "sent": lambda stream, now: setattr(stream, "idle_since", now),
    "eof": lambda stream, now: stream.eof(now),
    "left": lambda stream, now: stream.left(now),
    "failed": lambda stream, now: stream.failed(now, Cause(Reason.PRODUCER_ERROR, Origin.SERVER)),
    "closed": lambda stream, now: stream.closed(now, Cause(Reason.COMPLETED, Origin.CLIENT), 1000),
    "summary": summarise,
}


@settings(max_examples=200, deadline=None)
@given(script=st.lists(st.sampled_from(list(SIGNALS)), max_size=12), draining=st.booleans(), kind=st.sampled_from(Kind))
def test_any_order_of_signals_has_a_verdict(begin, script, draining, kind):
    """Late, repeated and impossible signals raise nothing and lead to a consistent verdict."""
    stream = begin(kind=kind)
    now = 0.0
    for signal in script:
        now += 1
        SIGNALS[signal](stream, now)
        assert isinstance(stream.live_state(now), State)
        assert stream.silence(now) >= 0
    s = end(stream, now + 1, draining=draining)
    assert s.outcome is REASON_OUTCOME[s.reason]
    assert s.bad is (s.outcome in {Outcome.TRUNCATED, Outcome.FAILED})
    assert s.started_at <= s.ended_at <= now + 1
    assert (s.phase is Phase.BEFORE_HEADERS) is (s.headers_at is None)
    assert stream.life is Life.ENDED


def act(stream, script):
    """Play ``(method, time, argument)`` rows; a chunk is sent at once."""
    for method, now, *arguments in script:
        progress = getattr(stream, method)(now, *arguments)
        if method == "chunk" and progress:
            stream.idle_since = now


OPEN = ("headers", 1.0, 200)
FLOWING = [OPEN, ("chunk", 2.0, TICK)]
CHATTING = [OPEN, ("chunk", 2.0, DELTA)]


def fails(reason, origin=Origin.SERVER, at=5.0):
    return ("failed", at, Cause(reason, origin))


# script; result, reason, phase, origin, terminal
VERDICTS = {
    "clean end": ([*FLOWING, ("eof", 5.0)], "ok completed mid_stream server not_checked"),
    "clean end, nothing sent": ([OPEN, ("eof", 5.0)], "ok completed before_first_chunk server not_checked"),
    "marker": ([*CHATTING, ("chunk", 3.0, DONE), ("eof", 5.0)], "ok completed after_terminal server seen"),
    "marker, then the reader leaves": (
        [*CHATTING, ("chunk", 3.0, DONE), ("left", 5.0)],
        "ok completed after_terminal server seen",
    ),
    "marker, then a failure": (
        [*CHATTING, ("chunk", 3.0, DONE), fails(Reason.PRODUCER_ERROR)],
        "ok completed after_terminal server seen",
    ),
    "marker, then nothing": ([*CHATTING, ("chunk", 3.0, DONE)], "ok completed after_terminal server seen"),
    "stopped early": (
        [*CHATTING, ("chunk", 3.0, LENGTH), ("eof", 5.0)],
        "ok incomplete_declared after_terminal server seen",
    ),
    "no marker": ([*CHATTING, ("eof", 5.0)], "silent missing_terminal mid_stream unknown missing"),
    "half an event": (
        [*FLOWING, ("chunk", 3.0, b"data: ha"), ("eof", 5.0)],
        "silent missing_terminal mid_stream unknown not_checked",
    ),
    "error event": (
        [*CHATTING, ("chunk", 3.0, b'data: {"error":{"code":500}}\n\n'), ("eof", 5.0)],
        "silent in_band_error mid_stream unknown missing",
    ),
    "abort event": (
        [OPEN, ("chunk", 2.0, CREATED), ("chunk", 3.0, CANCELLED), ("eof", 5.0)],
        "cancelled consumer_stopped mid_stream client missing",
    ),
    "reader left": ([*FLOWING, ("left", 5.0)], "cancelled client_disconnect mid_stream unknown not_checked"),
    "reader left, marker due": ([*CHATTING, ("left", 5.0)], "cancelled client_disconnect mid_stream unknown missing"),
    "reader left before the first chunk": (
        [OPEN, ("left", 5.0)],
        "gave_up client_disconnect before_first_chunk unknown not_checked",
    ),
    "reader left with pings alone": (
        [OPEN, ("chunk", 2.0, PING), ("left", 5.0)],
        "gave_up client_disconnect before_first_chunk unknown not_checked",
    ),
    "reader left in a long silence": (
        [*FLOWING, ("left", 12.5)],
        "gave_up client_disconnect mid_stream unknown not_checked",
    ),
    "reader left at the threshold": (
        [*FLOWING, ("left", 12.0)],
        "cancelled client_disconnect mid_stream unknown not_checked",
    ),
    "reader left before the headers": (
        [("left", 5.0)],
        "gave_up client_disconnect before_headers unknown not_checked",
    ),
    "reader left, then the generator raised": (
        [*FLOWING, ("left", 5.0), fails(Reason.PRODUCER_ERROR)],
        "cancelled client_disconnect mid_stream unknown not_checked",
    ),
    "a disconnect after the end": (
        [*FLOWING, ("eof", 5.0), ("left", 5.1)],
        "ok completed mid_stream server not_checked",
    ),
    "failure after a clean end": (
        [*FLOWING, ("eof", 5.0), fails(Reason.PRODUCER_ERROR, at=5.1)],
        "silent producer_error mid_stream server not_checked",
    ),
    "failure, then the reader left": (
        [*FLOWING, fails(Reason.CONNECTION_LOST, Origin.UPSTREAM), ("left", 5.1)],
        "silent connection_lost mid_stream upstream not_checked",
    ),
    "two failures": (
        [*FLOWING, fails(Reason.IDLE_TIMEOUT, Origin.UPSTREAM), fails(Reason.PRODUCER_ERROR)],
        "silent idle_timeout mid_stream upstream not_checked",
    ),
    "failure before the first chunk": (
        [OPEN, fails(Reason.PRODUCER_ERROR)],
        "silent producer_error before_first_chunk server not_checked",
    ),
    "failure before the headers": (
        [fails(Reason.PRODUCER_ERROR)],
        "loud http_5xx before_headers server not_checked",
    ),
    "cancelled before the headers": (
        [fails(Reason.SERVER_CANCELLED)],
        "silent server_cancelled before_headers server not_checked",
    ),
    "returned without an end": ([*FLOWING], "silent incomplete_response mid_stream server not_checked"),
    "returned without anything": ([], "loud http_5xx before_headers server not_checked"),
    "an error page, streamed": (
        [("headers", 1.0, 500), ("chunk", 2.0, TICK), ("eof", 5.0)],
        "loud http_5xx before_headers server not_checked",
    ),
    "an error page, and the reader left": (
        [("headers", 1.0, 503), ("left", 5.0)],
        "loud http_5xx before_headers server not_checked",
    ),
    **{
        f"failed: {reason}": (
            [*FLOWING, fails(reason, origin)],
            f"{result} {reason} mid_stream {origin} not_checked",
        )
        for result, reason, origin in (
            ("silent", Reason.CONNECTION_LOST, Origin.UPSTREAM),
            ("silent", Reason.IDLE_TIMEOUT, Origin.UPSTREAM),
            ("silent", Reason.DEADLINE_EXCEEDED, Origin.SERVER),
            ("silent", Reason.DEADLINE_EXCEEDED, Origin.INTERMEDIARY),
            ("silent", Reason.PROTOCOL_ERROR, Origin.UPSTREAM),
            ("silent", Reason.CLIENT_TIMEOUT, Origin.CLIENT),
            ("silent", Reason.SERVER_CANCELLED, Origin.SERVER),
            ("silent", Reason.DECLARED_ERROR, Origin.SERVER),
            ("loud", Reason.CONNECT_FAILED, Origin.UPSTREAM),
        )
    },
}


@pytest.mark.parametrize(("script", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_verdicts(begin, script, expected):
    """Each course of events has its result, reason, phase, origin and terminal."""
    stream = begin()
    act(stream, script)
    s = end(stream, 20.0)
    assert f"{s.result} {s.reason} {s.phase} {s.origin} {s.terminal}" == expected
    assert s.outcome is REASON_OUTCOME[s.reason]


DRAINING = {
    "cancelled": ([*FLOWING, fails(Reason.SERVER_CANCELLED)], "recycled server_shutdown mid_stream server not_checked"),
    "returned without an end": ([*FLOWING], "recycled server_shutdown mid_stream server not_checked"),
    "cancelled, marker due": (
        [*CHATTING, fails(Reason.SERVER_CANCELLED)],
        "silent server_shutdown mid_stream server missing",
    ),
    "cancelled before the headers": (
        [fails(Reason.SERVER_CANCELLED)],
        "recycled server_shutdown before_headers server not_checked",
    ),
    "raised": ([*FLOWING, fails(Reason.PRODUCER_ERROR)], "silent producer_error mid_stream server not_checked"),
    "reader left": ([*FLOWING, ("left", 5.0)], "cancelled client_disconnect mid_stream unknown not_checked"),
    "clean end": ([*FLOWING, ("eof", 5.0)], "ok completed mid_stream server not_checked"),
    "no marker": ([*CHATTING, ("eof", 5.0)], "silent missing_terminal mid_stream unknown missing"),
}


@pytest.mark.parametrize(("script", "expected"), DRAINING.values(), ids=DRAINING)
def test_verdicts_while_draining(begin, script, expected):
    """A draining server explains what it cancels, and nothing else."""
    stream = begin()
    act(stream, script)
    s = end(stream, 20.0, draining=True)
    assert f"{s.result} {s.reason} {s.phase} {s.origin} {s.terminal}" == expected


def test_every_reason_a_server_sees_is_tried():
    """The scripts above reach every reason but those found outside the process's own exchange."""
    reached = {expected.split()[1] for _, expected in [*VERDICTS.values(), *DRAINING.values()]}
    elsewhere = {Reason.PROCESS_DEATH, Reason.UPSTREAM_MASKED, Reason.UNKNOWN}
    assert reached == {reason.value for reason in Reason} - {reason.value for reason in elsewhere}


def test_every_result_is_tried():
    """The scripts above reach every result but that of a finalizer."""
    reached = {expected.split()[0] for _, expected in [*VERDICTS.values(), *DRAINING.values()]}
    assert reached == {result.value for result in Result} - {"unknown"}


def test_leaving_a_subscription_is_no_giving_up(begin):
    """Who leaves a subscription, however silent, has not given up; its end needs no marker."""
    for script in ([OPEN, ("left", 90.0)], [*FLOWING, ("left", 90.0)]):
        stream = begin(kind=Kind.SUBSCRIPTION, threshold=10.0)
        act(stream, script)
        s = end(stream, 91.0)
        assert (s.result, s.terminal) == (Result.CANCELLED, Terminal.NOT_REQUIRED)


def test_a_recycled_subscription(begin):
    """A subscription that a draining server cancels is recycled."""
    stream = begin(kind=Kind.SUBSCRIPTION)
    act(stream, [*FLOWING, fails(Reason.SERVER_CANCELLED)])
    assert end(stream, 9.0, draining=True).result is Result.RECYCLED


def test_leaving_while_the_send_is_blocked_is_no_silence(begin):
    """A reader that leaves while a send waits for it was not waiting for the producer."""
    stream = begin()
    act(stream, [OPEN])
    stream.chunk(2.0, TICK)
    stream.left(60.0)
    s = end(stream, 60.0)
    assert s.result is Result.CANCELLED
    assert s.gap_max == 1.0
    assert s.backpressure == 58.0


def test_a_provisional_verdict_binds_nothing(begin):
    """A summary asked for before the end says what is known then, and changes nothing of the final one."""
    stream = begin()
    act(stream, CHATTING)
    assert summarise(stream, 3.0).reason is Reason.INCOMPLETE_RESPONSE
    act(stream, [("chunk", 4.0, STOP)])
    assert summarise(stream, 4.0).reason is Reason.COMPLETED
    act(stream, [("chunk", 5.0, DELTA)])
    assert summarise(stream, 5.0).terminal is Terminal.MISSING
    act(stream, [("chunk", 6.0, DONE), ("eof", 7.0)])
    assert summarise(stream, 7.0).reason is Reason.COMPLETED
    s = end(stream, 8.0)
    assert (s.reason, s.ended_at, s.terminal_at) == (Reason.COMPLETED, 7.0, 6.0)


def test_a_provisional_success_can_still_fail(begin):
    """After the final message a summary says completed; the exception that follows makes it a failure."""
    stream = begin()
    act(stream, [*FLOWING, ("eof", 5.0)])
    assert summarise(stream, 5.0).reason is Reason.COMPLETED
    act(stream, [fails(Reason.PRODUCER_ERROR, at=5.1)])
    s = end(stream, 5.2)
    assert (s.reason, s.ended_at) == (Reason.PRODUCER_ERROR, 5.0)


def test_times_and_sizes(begin):
    """Start, headers, first chunk, end, sizes and counts are those told."""
    stream = begin()
    act(stream, [OPEN, ("chunk", 3.0, PING), ("chunk", 4.0, TICK), ("chunk", 4.5, TICK * 2), ("eof", 6.0)])
    s = end(stream, 7.0)
    assert (s.started_at, s.headers_at, s.first_chunk_at, s.ended_at) == (0.0, 1.0, 4.0, 6.0)
    assert (s.chunks, s.keepalives, s.size, s.first_chunk_size) == (2, 1, 3 * len(TICK) + len(PING), len(TICK))
    assert (s.method, s.status, s.shape.route) == ("POST", 200, "/r")
    with pytest.raises(AttributeError):
        s.chunks = 3


def test_headers_count_once(begin):
    """A second start of the response does not move the first one's time."""
    stream = begin()
    act(stream, [OPEN, ("headers", 3.0, 200), ("eof", 5.0)])
    assert end(stream, 5.0).headers_at == 1.0


@pytest.mark.parametrize(("index", "bound"), list(enumerate(GAP_BOUNDS)))
def test_gap_bounds_are_inclusive(begin, index, bound):
    """A gap of exactly a bound belongs to that bound's bucket, a longer one to the next."""
    for gap, bucket in ((bound, index), (bound * 1.001, index + 1), (bound * 0.999, index)):
        stream = begin(threshold=1000.0)
        stream.headers(0.0, 200)
        stream.chunk(gap, TICK)
        stream.idle_since = 0.0
        counts = end(stream, 0.0).gap_counts
        assert [i for i, count in enumerate(counts) if count] == [bucket]
        assert len(counts) == 12


def test_gaps_are_what_the_producer_takes(begin):
    """A gap runs from the return of a send to the next send; time inside send is backpressure, not gap."""
    stream = begin()
    stream.headers(1.0, 200)
    for called, returned in ((1.5, 3.5), (4.5, 4.75), (6.75, 6.75)):
        stream.chunk(called, TICK)
        stream.idle_since = returned
    stream.eof(60.0)
    s = end(stream, 61.0)
    assert s.gap_counts == (0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0)  # 0.5, 1 and 2 s; none before an EOF
    assert (s.gap_max, s.backpressure) == (2.0, 2.25)


@pytest.mark.parametrize("last", [("left", 9.0), fails(Reason.PRODUCER_ERROR, at=9.0)])
def test_the_silence_before_a_bad_end_is_a_gap(begin, last):
    """The time from the last chunk to an end that is no EOF is a gap, and so is that from the headers."""
    stream = begin(threshold=5.0)
    act(stream, [*FLOWING, last])
    s = end(stream, 30.0)
    assert (sum(s.gap_counts), s.gap_max, s.stall_count, s.stall_duration) == (2, 7.0, 1, 7.0)
    stream = begin(threshold=5.0)
    act(stream, [OPEN, last])
    s = end(stream, 30.0)
    assert (sum(s.gap_counts), s.gap_max, s.stall_count) == (1, 8.0, 1)
    assert s.first_chunk_at is None
    assert s.chunks == 0


def test_one_end_makes_one_gap(begin):
    """What echoes an end adds no further gap."""
    stream = begin()
    act(stream, [*FLOWING, ("left", 9.0), ("left", 10.0), fails(Reason.PRODUCER_ERROR, at=11.0), ("eof", 12.0)])
    assert sum(end(stream, 13.0).gap_counts) == 2


def test_keepalives_hide_no_stall(begin):
    """Keep-alives are neither progress nor first chunk: a stall and a blank response show through them."""
    stream = begin(threshold=10.0)
    act(stream, [OPEN, *(("chunk", 1.0 + n, PING) for n in range(1, 30))])
    assert stream.live_state(15.0) is State.STALLED
    assert stream.silence(15.0) == 14.0
    act(stream, [("chunk", 31.0, TICK), ("eof", 32.0)])
    s = end(stream, 32.0)
    assert (s.first_chunk_at, s.keepalives, s.chunks) == (31.0, 29, 1)
    assert (s.gap_max, s.stall_count, s.stalls) == (30.0, 1, ((11.0, 31.0, 30.0),))


def test_a_later_shorter_stall_counts(begin):
    """Each gap over the threshold is a stall, also after a longer one."""
    stream = begin(threshold=10.0)
    act(stream, [OPEN, *(("chunk", at, TICK) for at in (2.0, 42.0, 43.0, 54.0, 64.0)), ("eof", 65.0)])
    s = end(stream, 65.0)
    assert (s.stall_count, s.stall_duration, s.gap_max) == (2, 51.0, 40.0)
    assert s.stalls == ((12.0, 42.0, 40.0), (53.0, 54.0, 11.0))


def test_a_gap_of_exactly_the_threshold_is_no_stall(begin):
    """A stall is longer than the threshold."""
    stream = begin(threshold=10.0)
    act(stream, [OPEN, ("chunk", 11.0, TICK), ("eof", 11.0)])
    assert end(stream, 11.0).stall_count == 0


def test_the_first_and_the_last_stalls_are_kept(begin):
    """Of many stalls all are counted, and the first two and the last twelve kept one by one."""
    stream = begin(threshold=1.0)
    act(stream, [("headers", 0.0, 200), *(("chunk", 2.0 * n, TICK) for n in range(1, 41)), ("eof", 81.0)])
    s = end(stream, 81.0)
    assert (s.stall_count, s.stall_duration, len(s.stalls)) == (40, 80.0, 14)
    assert [ended for _, ended, _ in s.stalls] == [2.0, 4.0, *(2.0 * n for n in range(29, 41))]


def test_no_threshold_no_stalls(begin):
    """Without a threshold (subscriptions) no silence is a stall, live or later."""
    stream = begin(kind=Kind.SUBSCRIPTION, threshold=float("inf"))
    act(stream, FLOWING)
    assert stream.live_state(1e6) is State.FLOWING
    assert stream.silence(1e6) == 0.0
    act(stream, [("chunk", 1e6, TICK), ("eof", 1e6)])
    s = end(stream, 1e6)
    assert (s.stall_count, s.gap_counts[-1]) == (0, 1)


def test_live_states(begin):
    """An open stream waits, flows, stalls, is backpressured, is abandoned."""
    stream = begin(threshold=10.0)
    stream.headers(1.0, 200)
    assert stream.live_state(2.0) is State.WAITING
    assert stream.live_state(12.0) is State.STALLED
    stream.chunk(13.0, TICK)
    assert stream.live_state(60.0) is State.BACKPRESSURED
    assert stream.silence(60.0) == 0.0
    stream.idle_since = 60.0
    assert stream.live_state(70.0) is State.FLOWING
    assert stream.live_state(70.5) is State.STALLED
    assert stream.silence(70.5) == 10.5
    stream.left(71.0)
    assert stream.live_state(99.0) is State.ABANDONED
    assert stream.silence(99.0) == 0.0


def test_a_finished_stream_is_not_silent(begin):
    """Between the final message and the application's return nothing is due any more."""
    stream = begin()
    act(stream, [*FLOWING, ("eof", 3.0)])
    assert stream.live_state(60.0) is State.FLOWING
    assert stream.silence(60.0) == 0.0


def test_abandoned_work(begin):
    """What is made after the reader has gone is counted apart, until the application returns."""
    stream = begin()
    act(stream, [*FLOWING, ("left", 5.0), ("chunk", 6.0, TICK), ("chunk", 7.0, DONE), ("eof", 8.0)])
    s = end(stream, 9.5)
    assert (s.abandoned_chunks, s.abandoned_size, s.abandoned_duration) == (2, len(TICK) + len(DONE), 4.5)
    assert (s.chunks, s.size, s.client_gone_at, s.ended_at) == (1, len(TICK), 5.0, 5.0)
    assert s.reason is Reason.CLIENT_DISCONNECT


def test_nothing_is_abandoned_while_the_reader_stays(begin):
    """A stream whose reader stayed has no abandoned work, also when it failed."""
    stream = begin()
    act(stream, [*FLOWING, fails(Reason.PRODUCER_ERROR), ("chunk", 6.0, TICK)])
    s = end(stream, 9.5)
    assert (s.abandoned_chunks, s.abandoned_size, s.abandoned_duration, s.client_gone_at) == (0, 0, 0.0, None)


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
def test_a_ping_that_comes_line_by_line_is_none_the_less_one(begin, eol):
    """As readers of lines get it: no progress; an event right behind it is, and is read."""
    stream = begin()
    lines = [b"event: ping\n", b'data: {"type": "ping"}\n', b"\n"]
    act(stream, [*CHATTING, *(("chunk", 3.0, line.replace(b"\n", eol)) for line in lines * 2)])
    act(stream, [("chunk", 4.0, b"event: ping\n".replace(b"\n", eol)), ("chunk", 5.0, eol + LENGTH), ("eof", 6.0)])
    s = end(stream, 6.0)
    assert (s.chunks, s.keepalives, s.reason) == (2, 7, Reason.INCOMPLETE_DECLARED)


def test_what_begins_like_a_ping_and_is_none(begin):
    """An event of another name, given behind that of a ping, is progress, and its data are read."""
    stream = begin()
    act(stream, [*CHATTING, ("chunk", 3.0, b"event: ping\n"), ("chunk", 4.0, b"id: 7\n\n" + LENGTH), ("eof", 5.0)])
    s = end(stream, 5.0)
    assert (s.chunks, s.keepalives, s.reason) == (2, 1, Reason.INCOMPLETE_DECLARED)


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
def test_a_keepalive_cut_anywhere_is_none_the_less_one(begin, eol):
    """A comment cut over two or more messages is no progress, whatever the line ends."""
    ping = b": ping\n\n".replace(b"\n", eol)
    cuts = [[ping[:at], ping[at:]] for at in range(1, len(ping))] + [[ping[i : i + 1] for i in range(len(ping))]]
    for before in ([], [TICK.replace(b"\n", eol)]):
        for pieces in cuts:
            stream = begin()
            act(stream, [OPEN, *(("chunk", 2.0, piece) for piece in [*before, *pieces])])
            stream.eof(3.0)
            s = end(stream, 3.0)
            assert (s.chunks, s.keepalives) == (len(before), len(pieces)), pieces
            assert s.reason is Reason.COMPLETED


@pytest.mark.parametrize("at", range(1, len(TICK)))
def test_an_event_cut_anywhere_is_progress(begin, at):
    """The parts of an event cut over two messages are progress, its line ends too."""
    stream = begin()
    act(stream, [OPEN, ("chunk", 2.0, TICK[:at]), ("chunk", 2.5, TICK[at:]), ("eof", 3.0)])
    s = end(stream, 3.0)
    assert (s.chunks, s.keepalives, s.reason) == (2, 0, Reason.COMPLETED)


def test_data_after_the_rest_of_a_comment_is_progress(begin):
    """A message with the rest of a comment and an event is progress, and its event is read."""
    stream = begin()
    act(stream, [*CHATTING, ("chunk", 3.0, LENGTH), ("chunk", 3.0, b'data: {"choices":[],"usage":{}}\n\n')])
    act(stream, [("chunk", 4.0, b": ke"), ("chunk", 5.0, b"ep-alive\n\n" + DONE), ("eof", 6.0)])
    s = end(stream, 6.0)
    assert (s.chunks, s.keepalives, s.reason) == (4, 1, Reason.INCOMPLETE_DECLARED)


def test_a_colon_inside_an_event_is_no_comment(begin):
    """A message that begins with a colon in the middle of a line belongs to the event."""
    stream = begin()
    act(stream, [OPEN, ("chunk", 2.0, b"data"), ("chunk", 3.0, b": x\n\n"), ("eof", 4.0)])
    s = end(stream, 4.0)
    assert (s.chunks, s.keepalives) == (2, 0)


def test_blank_lines_keep_ndjson_alive(begin):
    """A line end of its own is a keep-alive between lines and progress after a line without one."""
    stream = begin(Protocol.NDJSON)
    script = [b'{"a":1}', b"\n", b"\n", b"\r\n", b'{"b":2}\n']
    act(stream, [OPEN, *(("chunk", 2.0, body) for body in script), ("eof", 4.0)])
    s = end(stream, 4.0)
    assert (s.chunks, s.keepalives, s.reason) == (3, 2, Reason.COMPLETED)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [1, 5000, 3 << 20])
def test_bodies_of_all_kinds(begin, kind, size):
    """bytes, bytearray and memoryview bodies of any size are read alike."""
    text = b'data: {"object":"chat.completion.chunk","choices":[{"delta":{"content":"' + b"x" * size
    event = text + b'"},"finish_reason":null}]}\n\n'
    stream = begin(recent=2)
    act(stream, [OPEN, *(("chunk", 2.0, kind(body)) for body in (PING, DELTA, event, DONE)), ("eof", 3.0)])
    s = end(stream, 3.0)
    assert (s.reason, s.terminal, s.chunks, s.keepalives) == (Reason.COMPLETED, Terminal.SEEN, 3, 1)
    assert s.size == len(PING) + len(DELTA) + len(event) + len(DONE)


@settings(max_examples=100, deadline=None)
@given(bodies=st.lists(st.binary(min_size=1, max_size=600), max_size=30), protocol=st.sampled_from(Protocol))
def test_binary_bodies_raise_nothing(begin, bodies, protocol):
    """Bodies that are no text raise nothing, whatever the protocol, and every byte is counted."""
    stream = begin(protocol)
    act(stream, [OPEN, *(("chunk", 2.0, body) for body in bodies), ("eof", 3.0)])
    s = end(stream, 3.0)
    assert s.size == sum(map(len, bodies))
    assert s.chunks + s.keepalives == len(bodies)


def test_recent_chunks(begin):
    """The last N chunks are kept with time, size and gap; keep-alives are not among them."""
    stream = begin(recent=2)
    act(stream, [OPEN, ("chunk", 2.0, TICK), ("chunk", 4.0, PING), ("chunk", 5.0, TICK), ("chunk", 5.5, TICK * 2)])
    stream.eof(6.0)
    s = end(stream, 6.0)
    assert s.recent_chunks == ((5.0, len(TICK), 3.0), (5.5, 2 * len(TICK), 0.5))
    assert (s.chunks, s.keepalives) == (3, 1)


def test_no_recent_chunks_by_default(begin):
    """Unless asked for, no chunk is kept."""
    stream = begin()
    act(stream, FLOWING)
    assert end(stream, 6.0).recent_chunks == ()


def test_a_declared_end_of_a_subscription(begin):
    """A declared marker is asked for also of a subscription."""
    stream = begin(kind=Kind.SUBSCRIPTION, declared=Declared("data", "END"))
    act(stream, [*FLOWING, ("eof", 5.0)])
    assert end(stream, 5.0).reason is Reason.MISSING_TERMINAL


@pytest.mark.parametrize(("idle_since", "gone_at"), [(1.0, 3.0), (4.0, 4.0)], ids=["in a silence", "in a send"])
def test_a_departure_noticed_earlier_has_its_own_time(begin, idle_since, gone_at):
    """A reader lost in a silence left then, not when the application next acts; never before the last send."""
    stream = begin()
    stream.headers(0.5, 200)
    stream.chunk(1.0, b"data: x\n\n")
    stream.idle_since = idle_since
    stream.lost_at = 3.0
    assert stream.live_state(5.0) is State.ABANDONED
    assert stream.silence(5.0) == 0.0
    stream.left(6.0)
    summary = summarise(stream, 7.0)
    assert (summary.client_gone_at, summary.ended_at) == (gone_at, gone_at)
    assert summary.abandoned_duration == 7.0 - gone_at


BYE = Cause(Reason.COMPLETED, Origin.CLIENT)
TALKING = [("headers", 0.0, 101), ("chunk", 1.0, b"tick")]


def test_a_close_frame_is_final(begin):
    """What follows a close frame is its echo; no gap stands before it, and its first code counts."""
    stream = begin(Protocol.WEBSOCKET, Kind.SUBSCRIPTION)
    act(stream, [*TALKING, ("closed", 5.0, BYE, 1000), ("closed", 6.0, fails(Reason.IN_BAND_ERROR)[2], 1011)])
    act(stream, [fails(Reason.PRODUCER_ERROR, at=7.0), ("left", 8.0), ("chunk", 9.0, b"tick")])
    assert stream.live_state(9.0) is State.FLOWING
    summary = end(stream, 9.0)
    assert (summary.reason, summary.origin, summary.close_code) == (Reason.COMPLETED, Origin.CLIENT, 1000)
    assert (summary.ended_at, summary.chunks, summary.abandoned_chunks) == (5.0, 1, 0)
    assert sum(summary.gap_counts) == 1


@pytest.mark.parametrize(
    ("before", "reason"),
    [(("left", 5.0), Reason.COMPLETED), (fails(Reason.PRODUCER_ERROR), Reason.PRODUCER_ERROR)],
)
def test_a_close_frame_after_an_end(begin, before, reason):
    """The close frame of a reader that has gone explains it; one that follows a failure is its echo."""
    stream = begin(Protocol.WEBSOCKET, Kind.SUBSCRIPTION)
    act(stream, [*TALKING, before, ("closed", 6.0, BYE, 1001)])
    summary = end(stream, 9.0)
    assert (summary.reason, summary.close_code, summary.ended_at) == (reason, 1001, 5.0)


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("reason", [None, Reason.COMPLETED, Reason.DECLARED_ERROR])
def test_notes_of_the_application(reason, readable, begin):
    """What the application says of the end outranks the bytes, whether they can be read or not."""
    stream = begin(readable=readable)
    stream.notes = Notes(1)
    stream.notes.reason = reason
    stream.notes.attributes["app.tier"] = 1
    stream.headers(1.0, 200)
    stream.chunk(2.0, b'data: {"choices":[{"delta":{}}],"object":"chat.completion.chunk"}\n\n')
    stream.eof(3.0)
    summary = summarise(stream, 3.0)
    bytes_say = Reason.MISSING_TERMINAL if readable else Reason.COMPLETED
    assert summary.reason is (reason or bytes_say)
    assert summary.attributes == {"app.tier": 1}


CALLED = Shape(Role.CLIENT, Kind.BOUNDED, Protocol.SSE, None)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(b"", "missing_terminal"), (b'data: {"error":{"message":"overloaded"}}\n\n', "in_band_error")],
)
def test_what_a_client_sees_is_its_upstreams(error, reason):
    """A clean end without a marker, or an error in the band, is whom the client called."""
    stream = Stream(CALLED, "POST", 0.0)
    stream.headers(0.1, 200)
    stream.chunk(0.2, b'data: {"object":"chat.completion.chunk","choices":[]}\n\n' + error)
    stream.eof(0.3)
    summary = summarise(stream, 0.3)
    assert (summary.reason, summary.origin) == (reason, "upstream")


def test_a_client_that_gives_up_before_the_headers_is_no_5xx():
    """Nothing but a status is an error of the server's."""
    stream = Stream(CALLED, "POST", 0.0)
    stream.failed(0.3, Cause(Reason.CONSUMER_STOPPED, Origin.CLIENT))
    summary = summarise(stream, 0.3)
    assert (summary.reason, summary.result, summary.phase) == ("consumer_stopped", "gave_up", "before_headers")


@pytest.mark.parametrize(
    ("first", "events", "until", "asked", "held_back"),
    [
        (1.0, 50, 1.049, 0.1, True),
        (0.9, 50, 0.91, 0.1, False),
        (1.0, 49, 1.01, 0.1, False),
        (1.0, 50, 1.06, 0.1, False),
        (1.0, 50, 1.01, 0.3, False),
        (None, 50, 1.01, 0.1, False),
    ],
)
def test_what_was_held_back_on_the_way(first, events, until, asked, held_back):
    """Fifty events, less than a millisecond apart, after a second without any in which the reader was waiting."""
    assert _buffered(CALLED, first, events, until, asked) is held_back


def test_rows_are_not_held_back():
    """What a query gives is written as fast as that: lines of no dialect prove nothing."""
    assert not _buffered(CALLED._replace(protocol=Protocol.NDJSON), 1.0, 50, 1.01, 0.1)


def _buffered(shape, first, events, until, asked):
    stream = Stream(shape, "POST", 0.0)
    stream.headers(0.1, 200)
    stream.idle_since = asked
    if first is not None:
        stream.chunk(first, b"data: x\n\n")
        stream.idle_since = first
        stream.chunk(until, b"data: x\n\n")
    return buffered(summarise(stream, until), stream, events)
