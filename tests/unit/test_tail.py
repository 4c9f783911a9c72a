"""Bounded memory of a body, whatever the cuts between its chunks."""

import contextlib
import signal
import tracemalloc
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_streaming._dialects import recognise
from otel_streaming._tail import HEAD, LIMIT, RAW, SHORT, WINDOW, Event, Tail, is_json
from otel_streaming.semconv import Protocol

BOUND = LIMIT + 2 * (HEAD + RAW) + SHORT + 2 * HEAD + 16
"""Bytes a tail may hold between two feeds: an open event, two last events with a short one, two chunks as they came."""

CHAT = b'{"object":"chat.completion.chunk","model":"m","choices":[{"delta":{"content":"%s"},"finish_reason":null}]}'
FINISH = b'{"object":"chat.completion.chunk","choices":[{"delta":{},"finish_reason":"length"}]}'
OLLAMA = b'{"model":"llama3.2","message":{"role":"assistant","content":"%s"},"done":false}'


def tail(*, lines=False):
    return Tail(partial(recognise, protocol=Protocol.NDJSON if lines else Protocol.SSE), lines=lines)


def held(result):
    """Return how many bytes of the body a tail holds."""
    return len(result.open) + len(result.kept)


def fed(chunks, *, lines=False):
    """Return the tail after the chunks; its memory is bounded after each of them."""
    result = tail(lines=lines)
    for chunk in chunks:
        result.feed(chunk)
        assert held(result) <= BOUND
    return result


def verdict(result):
    """Return what a verdict reads: all of the last events where a dialect was recognised, else the open one."""
    events = result.last()
    return result.found, events if result.found else [event for event in events if not event.ended]


def cut(body, points):
    bounds = [0, *sorted(point % (len(body) + 1) for point in points), len(body)]
    return [body[a:b] for a, b in pairwise(bounds)]


def datas(result):
    return [event.data for event in result.last()]


TOLD = b'"finishReason": "STOP","finish_reason":{},"candidatesTokenCount" : 12'
SIZES = st.sampled_from([0, 1, 40, 400, 700, 1500])
DATA = st.one_of(
    st.builds(lambda n: CHAT % (b"x" * n), SIZES),
    st.builds(lambda n: b'{"type":"extra","text":"' + b"y" * n + b'"}', SIZES),
    st.builds(lambda n, m: b'{"candidates":"%s",%s,"p":"%s"}' % (b"x" * n, TOLD, b"y" * m), SIZES, SIZES),
    st.builds(lambda n: b"line\ndata: " * n + b"end", st.sampled_from([1, 30, 90])),
    st.sampled_from([FINISH, b"[DONE]", b"", b"{}", b'{"choices":[],"usage":{"completion_tokens":7}}']),
)
SSE_EVENT = st.builds(
    lambda name, data: name + b"data: " + data + b"\n\n",
    st.sampled_from([b"", b"", b"event: message_delta\n", b"id: 7\nevent: x\n", b": why\n", b":" * 700 + b"\n"]),
    DATA,
)
COMMENTS = st.builds(lambda n: b": ping\n\n" * n, st.sampled_from([1, 3, 200]))
BLANKS = st.builds(lambda n: b"\n" * n, st.integers(1, 9))
SSE_BODY = st.builds(
    lambda parts, end, cut_short, eol: b"".join([*parts, *end])[: None if cut_short is None else -cut_short].replace(
        b"\n", eol
    ),
    st.lists(st.one_of(SSE_EVENT, SSE_EVENT, SSE_EVENT, COMMENTS, BLANKS), max_size=25),
    st.lists(st.one_of(COMMENTS, BLANKS), max_size=2),
    st.one_of(st.none(), st.integers(1, 60)),
    st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]),
)
LINE = st.one_of(
    st.builds(lambda n: OLLAMA % (b"x" * n), SIZES),
    st.builds(lambda n: b'{"n":"' + b"y" * n + b'"}', SIZES),
    st.sampled_from([b'{"model":"m","done":true,"done_reason":"length"}', b"", b'{"error":"boom"}']),
)
NDJSON_BODY = st.builds(
    lambda lines, eol, end: eol.join(lines) + end,
    st.lists(LINE, max_size=30),
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from([b"", b"\n", b"\r\n"]),
)
POINTS = st.lists(st.integers(0, 1 << 20), max_size=40)


@settings(max_examples=200, deadline=None)
@given(body=SSE_BODY, points=POINTS)
def test_cuts_do_not_matter_in_sse(body, points):
    """Dialect and last events of an SSE body are the same however it is cut."""
    assert verdict(fed(cut(body, points))) == verdict(fed([body]))


def test_an_odd_blank_line_before_a_long_event():
    """A third line end between two events belongs to neither, from whichever side the text is split."""
    long = b'data: {"text":"' + b"x" * 1500 + b'"}\n\n'
    body = b'data: {"n":1}\n\n' * 60 + b'data: {"n":2}\n\n\n' + long
    assert verdict(fed(cut(body, [1024]))) == verdict(fed([body]))


@settings(max_examples=60, deadline=None)
@given(body=SSE_BODY)
def test_single_bytes_do_not_matter_in_sse(body):
    """Dialect and last events of an SSE body are the same when every byte comes alone."""
    assert verdict(fed(cut(body, range(len(body))))) == verdict(fed([body]))


@settings(max_examples=150, deadline=None)
@given(body=NDJSON_BODY, points=POINTS)
def test_cuts_do_not_matter_in_ndjson(body, points):
    """Dialect and last lines of an NDJSON body are the same however it is cut, byte by byte as well."""
    whole = verdict(fed([body], lines=True))
    assert verdict(fed(cut(body, points), lines=True)) == whole
    assert verdict(fed(cut(body, range(len(body))), lines=True)) == whole


@settings(max_examples=40, deadline=None)
@given(before=st.lists(SSE_EVENT, max_size=3), size=st.sampled_from([20_000, 50_000]), points=POINTS)
def test_events_of_50_kb(before, size, points):
    """An event of 50 KB is kept by its head and its end, however it is cut."""
    long = b"event: response.completed\ndata: " + CHAT % (b"z" * size) + b"\n\n"
    body = b"".join(before) + long + b"data: [DONE]\n\n"
    result = fed(cut(body, points))
    assert verdict(result) == verdict(fed([body]))
    event, done = result.last()[-2:]
    assert event.name == b"response.completed"
    assert len(event.data) <= HEAD + RAW + 1
    assert event.data.startswith(CHAT[:40])
    assert event.data.endswith(b'"finish_reason":null}]}')
    assert done.data == b"[DONE]"


@contextlib.contextmanager
def at_most(seconds):
    """Fail, also from within a search, once so much processor time is used up."""

    def stop(*_):
        pytest.fail(f"it takes more than {seconds} seconds")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize("filler", [b":", b":\n", b"\n", b"\r", b'"', b'"finish_reason"', b'"finish'])
@pytest.mark.parametrize("lines", [False, True])
def test_adversarial_messages_are_taken_in_linear_time(filler, lines):
    """A quarter of a megabyte without an event does not make a search begin at each of its bytes: it would not end."""
    with at_most(20):  # it takes less than one; a minute and more if a search begins at each byte
        result = fed([filler * (WINDOW // len(filler)) for _ in range(4)], lines=lines)
        assert len(result.last()) <= 4


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
def test_all_line_ends_of_sse(eol):
    """LF, CR LF and CR end lines alike (WHATWG HTML 9.2.5), also when a cut divides CR from LF."""
    body = (b"data: " + CHAT % b"x" + b"\n\n" + b"event: a\ndata: 1\n\ndata: 2\ndata: 3\n\n" * 4).replace(b"\n", eol)
    for at in range(len(body)):
        result = tail()
        result.feed(body[:at])
        result.last()
        result.feed(body[at:])
        assert result.last() == [Event(b"", b"2\n3"), Event(b"a", b"1"), Event(b"", b"2\n3")]


def test_asking_in_between_changes_nothing():
    """Asking for the last events at any byte of a body changes nothing of what is kept in the end."""
    long = b"data: " + CHAT % (b"w" * 900) + b"\n\n"
    body = b"data: " + CHAT % b"a" + b"\n\n" + long + b": ping\n\n" + long + b"data: [DONE]\n\n: bye\n\n"
    whole = verdict(fed([body]))
    for at in range(len(body)):
        result = tail()
        result.feed(body[:at])
        result.last()
        result.feed(body[at:])
        assert verdict(result) == whole


def test_the_two_ends_of_a_long_event_make_no_delimiter():
    """An event whose kept ends both touch a line end stays one event."""
    head = b"data: ".ljust(HEAD - 1, b"a") + b"\n"
    end = b"\ndata: ".ljust(RAW, b"c")
    result = tail()
    result.feed(head + b"data: " + b"b" * 900 + end + b"\n\n")
    assert len(result.last()) == 1
    assert result.last() == result.last()


def test_many_comments_push_no_event_out():
    """Comments after the last event, in one message with it or not, leave the last events in place."""
    event, finish = b"data: " + CHAT % b"x" + b"\n\n", b"data: " + FINISH + b"\n\n"
    result = fed([*[event] * 26, event * 9 + finish + b"data: [DONE]\n\n" + b": ping\n\n" * 300])
    assert datas(result)[-2:] == [FINISH, b"[DONE]"]


def test_padding_before_an_event_does_not_use_up_its_head():
    """Comments that belong to a long event's block are left out of what is kept of it."""
    block = b":" + b" " * 2048 + b"\nevent: x\ndata: " + CHAT % (b"y" * 300) + b"\n\n"
    assert fed([block]).last() == [Event(b"x", CHAT % (b"y" * 300))]


def test_a_short_event_is_short_under_its_padding():
    """Whether comments before a short event came with it or in a message before, as many events are known."""
    events = [b"data: " + CHAT % b"x" + b"\n\n", b":" * 700 + b"\ndata: 1\n\n", b"data: " + FINISH + b"\n\n"]
    assert datas(fed(events)) == datas(fed([b"".join(events)])) == [CHAT % b"x", b"1", FINISH]


def test_a_short_event_takes_no_place():
    """A sentinel after the two last events leaves both of them known."""
    result = fed([b"data: " + FINISH + b"\n\n", b"data: " + CHAT % b"u" + b"\n\n", b"data: [DONE]\n\n"])
    assert datas(result) == [FINISH, CHAT % b"u", b"[DONE]"]
    assert len(b"data: [DONE]") <= SHORT


def test_fields_of_sse():
    """A field is a name, a colon, one optional space and a value; data lines are joined, others ignored."""
    block = b"event:named\nid: 1\nretry: 3\ndata:  two spaces\ndata\ndata:x:y\nunknown: z\n: comment\n\n"
    assert fed([block]).last() == [Event(b"named", b" two spaces\n\nx:y")]


def test_the_open_event_is_told_apart():
    """What no delimiter ends comes last and is marked as open; comments alone are no event."""
    assert fed([b"data: 1\n\ndata: 2\n"]).last() == [Event(b"", b"1"), Event(b"", b"2", ended=False)]
    assert fed([b"data: 1\n\n: half a comm"]).last() == [Event(b"", b"1")]
    assert fed([b'{"a":1}\n{"b":'], lines=True).last() == [Event(b"", b'{"a":1}'), Event(b"", b'{"b":', ended=False)]


WHOLE = [
    (b'{"a":1}', True),
    (b" [1, 2] ", True),
    (b"[DONE]", True),
    (b"3", True),
    (b'{"a":1', False),
    (b"[DONE", False),
    (b"", False),
    (b"\xff\xfe", False),
    (b"[" * 100_000, False),
    (b"9" * 10_000, False),
]


@pytest.mark.parametrize(("data", "whole"), WHOLE, ids=lambda v: str(v)[:12])
def test_whole_events(data, whole):
    """An event without its delimiter is whole if it is valid JSON or a bare sentinel."""
    assert Event(b"", data, ended=False).whole is whole
    assert Event(b"", data).whole


def test_long_open_json_is_judged_by_its_ends():
    """A long last line without its line end counts as whole when its two ends match, and only then."""
    body = b'{"items":[' + b",".join(b'{"id":%d,"tags":["a","b"]}' % i for i in range(100)) + b'],"sum":{"n":1}}'
    assert not is_json(body[:HEAD] + body[-RAW:])
    (event,) = fed([body], lines=True).last()
    assert event.whole
    (event,) = fed([body[:-1]], lines=True).last()
    assert event.whole is body[:-1].endswith(b"}")
    (event,) = fed([body[:-5]], lines=True).last()
    assert not event.whole


def test_the_first_four_events_are_examined():
    """The dialect is looked for in four events that are no comments, and not in a fifth."""
    blank, event = b'data: {"object":""}\n\n', b"data: " + CHAT % b"x" + b"\n\n"
    for before, found in ((0, True), (3, True), (4, False)):
        for chunks in ([b": hi\n\n" * 9 + blank * before + event], [b": hi\n\n", *[blank] * before, event]):
            result = fed(chunks)
            result.last()
            assert (result.found is not None) is found


@pytest.mark.parametrize("size", [100, 1000, 4096, 65536, 300_000])
@pytest.mark.parametrize("event", [b"data: " + CHAT % b"x" + b"\n\n", b'data: {"n":1}\n\n', b": ping\n\n"])
def test_memory_is_bounded_for_any_chunk_size(event, size):
    """However large the chunks and whether or not a dialect is recognised, the memory stays bounded."""
    chunk = event * (size // len(event) + 1)
    result = fed([chunk[i : i + size] for _ in range(6) for i in range(0, len(chunk), size)])
    assert held(result) <= BOUND


@settings(max_examples=150, deadline=None)
@given(chunks=st.lists(st.binary(max_size=4000), max_size=20), lines=st.booleans())
def test_binary_bodies_raise_nothing(chunks, lines):
    """Bytes that are no text, let alone events, raise nothing and stay within bounds."""
    result = fed(chunks, lines=lines)
    for event in result.last():
        assert event.whole in {True, False}


@settings(max_examples=100, deadline=None)
@given(chunks=st.lists(st.text(alphabet="\r\n:da{}\0", max_size=60).map(str.encode), max_size=60), lines=st.booleans())
def test_bodies_of_line_ends_raise_nothing(chunks, lines):
    """Any mixture of line ends, colons and fragments is read the same in one piece and in many."""
    body = b"".join(chunks)
    many, one = fed(chunks, lines=lines), fed([body], lines=lines)
    assert verdict(many) == verdict(one)


@pytest.mark.parametrize("filler", [b"x", b"\r", b"\n", b":", b": \n", b"\xff", b"data: \n", b"\n\n:"])
def test_a_huge_body_without_events_is_bounded(filler):
    """100 MB that never end an event take bounded memory, in chunks of 64 KiB."""
    chunk = filler * (65536 // len(filler))
    result = tail()
    result.feed(b"data: ")
    for _ in range(100_000_000 // len(chunk) // (1 if filler == b"x" else 10)):
        result.feed(chunk)
        assert held(result) <= BOUND
    result.last()


def test_a_huge_chunk_is_cheap():
    """A single chunk of 100 MB is not copied: only its beginning and its end are read."""
    chunk = b"data: " + b"x" * 100_000_000
    result = tail()
    tracemalloc.start()
    try:
        result.feed(chunk)
        result.feed(b'"}\n\n')
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20
    assert held(result) <= BOUND
    (event,) = result.last()
    assert event.data.endswith(b'xx"}')
