"""Bodies whose framing is no text of events: complete, cut anywhere, broken, failed; and in bounded memory."""

import json
import struct
import tracemalloc
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_streaming._dialects import Declared
from otel_streaming._frames import BRACKETS, FRAMES, FRAMES_FOLLOWED, EventStream, JsonArray, JsonSeq, Multipart
from otel_streaming._tail import LIMIT, RAW
from otel_streaming._verdict import summarise
from otel_streaming.semconv import Dialect, Kind, Origin, Phase, Protocol, Reason, Result, Terminal

LONG = 'A "quoted" [text] {with} \\brackets\\ \u00fc. ' * 1300
SEPARATORS = {"compact": (",", ":"), "spaced": (", ", ": "), "pretty": None}


def dump(value, style="compact"):
    indent = {"indent": 2} if style == "pretty" else {"separators": SEPARATORS[style]}
    return json.dumps(value, **indent).encode()


def cut(body, points):
    bounds = [0, *sorted({point % (len(body) + 1) for point in points} - {0}), len(body)]
    return [body[a:b] for a, b in pairwise(bounds) if a < b]


def facts(s):
    return (s.result, s.reason, s.terminal, s.phase, s.dialect, s.finish_reason, s.output_tokens, s.model)


def verdict(s):
    return (s.reason, s.terminal, s.dialect)


# -- Gemini's array ------------------------------------------------------------------------------------------


def candidate(text, finish=None):
    parts = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    usage = {"promptTokenCount": 4, "candidatesTokenCount": 31}
    return {"candidates": [parts | ({"finishReason": finish} if finish else {})], "usageMetadata": usage}


def array(*elements, style="pretty", end=b"\n]\n"):
    """Return the messages of an array as Google's servers send them: an element each, then its end."""
    dumped = [dump(element, style) for element in elements]
    return [b"[" + dumped[0], *(b"\n,\r\n" + element for element in dumped[1:]), end]


ARRAY = [candidate(text) for text in ("The", ' sky "]', " is [{", " \\")] + [candidate("", "STOP")]
SEEN = (Reason.COMPLETED, Terminal.SEEN, Dialect.GEMINI)
MISSING = (Reason.MISSING_TERMINAL, Terminal.MISSING, Dialect.GEMINI)


@pytest.mark.parametrize("style", SEPARATORS)
def test_a_complete_array(play, style):
    """An array that is closed is complete, in any white space; its dialect, finish reason and tokens are known."""
    s = play(array(*ARRAY, style=style), Protocol.JSON_ARRAY)
    assert (s.result, s.phase, *verdict(s)) == (Result.OK, Phase.AFTER_TERMINAL, *SEEN)
    assert (s.finish_reason, s.output_tokens) == ("STOP", 31)


@pytest.mark.parametrize("style", SEPARATORS)
def test_an_array_cut_anywhere(play, style):
    """An array cut at any byte before its closing bracket is truncated, whatever brackets its strings hold."""
    body = b"".join(array(*ARRAY, style=style))
    for at in range(len(body)):
        s = play([body[:at]] if at else [], Protocol.JSON_ARRAY)
        done = not body[at:].strip()
        assert s.reason is (Reason.COMPLETED if done else Reason.MISSING_TERMINAL), body[:at]
        assert s.terminal is (Terminal.SEEN if done else Terminal.MISSING)


def test_an_array_split_at_every_byte(play):
    """Its end is seen wherever messages divide it, byte by byte as well."""
    body = b"".join(array(*ARRAY))
    for at in range(1, len(body)):
        assert verdict(play([body[:at], body[at:]], Protocol.JSON_ARRAY)) == SEEN
    assert verdict(play([body[at : at + 1] for at in range(len(body))], Protocol.JSON_ARRAY)) == SEEN


@pytest.mark.parametrize("at", [0, 2, 4])
def test_array_elements_of_50_kb(play, at):
    """Elements of 50 KB, anywhere in the array, hide no end and make none."""
    elements = [*ARRAY[:at], candidate(LONG), *ARRAY[at:]]
    body = b"".join(array(*elements))
    packets = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    assert verdict(play(packets, Protocol.JSON_ARRAY)) == SEEN
    assert verdict(play(packets[:-1], Protocol.JSON_ARRAY))[:2] == MISSING[:2]


def test_an_error_in_an_array(play):
    """An error object is a failure, in a closed array, in an open one, as its only element, and in its place."""
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    bodies = (array(*ARRAY[:3], error), array(*ARRAY[:3], error, end=b"\n"), array(error), [dump(error)])
    for body in bodies:
        s = play(body, Protocol.JSON_ARRAY)
        assert (s.result, s.reason, s.terminal) == (Result.SILENT, Reason.IN_BAND_ERROR, Terminal.MISSING)


@pytest.mark.parametrize("finish", ["MAX_TOKENS", "SAFETY"])
def test_an_array_that_stopped_early(play, finish):
    """An array whose last candidate stopped early is complete and says so."""
    s = play(array(*ARRAY[:3], candidate("", finish)), Protocol.JSON_ARRAY)
    assert (s.reason, s.terminal, s.finish_reason) == (Reason.INCOMPLETE_DECLARED, Terminal.SEEN, finish)


def test_elements_nobody_knows_in_an_array(play):
    """Elements without candidates change nothing; an array of nothing else ends by its bracket all the same."""
    assert verdict(play(array({"x": [1]}, *ARRAY, {"y": {}}), Protocol.JSON_ARRAY))[:2] == SEEN[:2]
    for body in ([b"[]"], [b'[1, "a]", {"b": []}]'], [b'{"a": {}}']):
        assert verdict(play(body, Protocol.JSON_ARRAY)) == (Reason.COMPLETED, Terminal.SEEN, Dialect.NONE)
        cut_short = [body[0][:-1]]
        assert verdict(play(cut_short, Protocol.JSON_ARRAY)) == (
            Reason.MISSING_TERMINAL,
            Terminal.MISSING,
            Dialect.NONE,
        )


def test_declarations_win_over_brackets(play):
    """A marker declared by the user is asked for in place of the bracket; with none an open array is still cut."""
    body = array(*ARRAY)
    declared = Declared("json", "finishReason=STOP")
    assert verdict(play(body[:-1], Protocol.JSON_ARRAY, declared=declared))[1:] == (Terminal.SEEN, Dialect.DECLARED)
    s = play(array(*ARRAY[:2]), Protocol.JSON_ARRAY, declared=declared)
    assert verdict(s) == (Reason.MISSING_TERMINAL, Terminal.MISSING, Dialect.DECLARED)
    nothing = Declared("none")
    assert play(body, Protocol.JSON_ARRAY, declared=nothing).reason is Reason.COMPLETED
    assert play(body[:-1], Protocol.JSON_ARRAY, declared=nothing).reason is Reason.MISSING_TERMINAL


# -- JSON text sequences ---------------------------------------------------------------------------------------


def seq(*elements, style="compact"):
    return [b"\x1e" + dump(element, style) + b"\n" for element in elements]


SEQ_ENDS = [
    (b'\x1e{"a":1}\n', False),
    (b'\x1e{"a":1}', False),
    (b'\x1e{"a":[1,2', True),
    (b'\x1e{\n "a": 1,\n', True),
    (b'\x1e"text"', False),
    (b'\x1e"te', True),
    (b"\x1e12\n", False),
    (b"\x1e12 ", False),
    (b"\x1e12", True),
    (b"\x1e true", True),
    (b"\x1enull\n", False),
    (b"\x1enul\n", True),
    (b"\x1e", False),
    (b"\x1e\x1e\n", False),
    (b'\x1e"' + b"x" * 50_000 + b'"\n', False),
    (b'\x1e{"a":"' + b"x" * 50_000 + b'"}', False),
    (b'\x1e{"a":"' + b"x" * 50_000, True),
]


@pytest.mark.parametrize("count", [0, 1, 5, 40])
@pytest.mark.parametrize(("last", "truncated"), SEQ_ENDS, ids=lambda v: str(v)[:20])
def test_the_last_element_of_a_sequence(play, count, last, truncated):
    """The last element is truncated if it is no JSON, or a number or literal that no white space follows."""
    body = [*seq(*[{"i": i} for i in range(count)], style="pretty"), last]
    expected = Reason.MISSING_TERMINAL if truncated else Reason.COMPLETED
    joined = b"".join(body)
    for way in (body, [joined], cut(joined, range(max(0, len(joined) - 60), len(joined)))):
        assert verdict(play(way, Protocol.JSON_SEQ)) == (expected, Terminal.NOT_CHECKED, Dialect.NONE)


def test_a_declared_marker_in_a_sequence(play):
    """A declared marker is read from the elements, pretty-printed ones and the last one too."""
    declared = Declared("json", "type=end")
    for style in SEPARATORS:
        body = seq({"n": 1}, {"n": 2}, {"type": "end"}, style=style)
        s = play(body, Protocol.JSON_SEQ, declared=declared)
        assert verdict(s) == (Reason.COMPLETED, Terminal.SEEN, Dialect.DECLARED)
        assert play(body[:-1], Protocol.JSON_SEQ, declared=declared).reason is Reason.MISSING_TERMINAL


# -- multipart -------------------------------------------------------------------------------------------------


def multipart(*parts, boundary=b"-", eol=b"\r\n", end=True):
    """Return the messages of a multipart body, a part each with its delimiter before it, then the end."""
    head = eol + b"Content-Type: application/json; charset=utf-8" + eol * 2
    body = [eol + b"--" + boundary + head + dump(part) for part in parts]
    return [*body, eol + b"--" + boundary + b"--" + eol] if end else body


PARTS = [{"data": {"a": 1}, "hasNext": True}, {"incremental": [{"items": [2]}], "hasNext": True}]
LAST = {"incremental": [{"items": [3]}], "hasNext": False}
PART_SEEN = (Reason.COMPLETED, Terminal.SEEN, Dialect.NONE)
PART_MISSING = (Reason.MISSING_TERMINAL, Terminal.MISSING, Dialect.NONE)


@pytest.mark.parametrize("eol", [b"\r\n", b"\n"])
@pytest.mark.parametrize("boundary", [b"-", b"graphql", b"=_" + b"b" * 68])
def test_multipart_ends_with_its_close_delimiter(play, boundary, eol):
    """A multipart body is complete with its close delimiter, and truncated at every byte before its two hyphens."""
    body = b"".join(multipart(*PARTS, {"data": "x"}, boundary=boundary, eol=eol))
    marker = len(body.rstrip())
    for at in range(len(body) + 1):
        expected = PART_SEEN if at >= marker else PART_MISSING
        assert verdict(play([body[:at]] if at else [], Protocol.MULTIPART)) == expected, body[:at]
        if 0 < at < len(body):
            assert verdict(play([body[:at], body[at:]], Protocol.MULTIPART)) == PART_SEEN


@pytest.mark.parametrize("last", [LAST, {"hasNext": False}, {"hasNext": False, "extensions": {"a": LONG}}])
def test_incremental_delivery_says_that_nothing_follows(play, last):
    """GraphQL's last part completes the answer, though the close delimiter is missing; not before it is delimited."""
    body = multipart(*PARTS, last)
    assert verdict(play([*body[:-1], b"\r\n---\r\n"], Protocol.MULTIPART)) == PART_SEEN
    assert verdict(play(body[:-1], Protocol.MULTIPART)) == PART_MISSING
    nested = multipart(*PARTS, {"data": {"page": {"hasNext": False}}, "hasNext": True}, {"x": 1})
    assert verdict(play(nested[:-1], Protocol.MULTIPART)) == PART_MISSING


def test_preamble_and_epilogue(play):
    """Text before the first boundary and after the last delimiter is no part."""
    body = [b"This is a preamble.\r\n" * 300, *multipart(*PARTS, {"d": LONG}), b"An epilogue\r\n---\r\n--\r\n" * 99]
    joined = b"".join(body)
    for way in (body, [joined], [joined[i : i + 1000] for i in range(0, len(joined), 1000)]):
        assert verdict(play(way, Protocol.MULTIPART)) == PART_SEEN


def test_replaced_parts_have_no_end(begin):
    """x-mixed-replace is a subscription: its parts are not read, and no end is missed."""
    stream = begin(Protocol.MULTIPART, Kind.SUBSCRIPTION)
    stream.headers(0.1, 200)
    for part in multipart(*PARTS, end=False):
        assert stream.chunk(0.2, part)
    stream.eof(0.3)
    assert verdict(summarise(stream, 0.3)) == (Reason.COMPLETED, Terminal.NOT_REQUIRED, Dialect.NONE)


# -- AWS event streams -----------------------------------------------------------------------------------------


def header(name, value):
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


def frame(kind, payload=b"{}", message_type="event", extra=b""):
    """Encode one message of an event stream."""
    name = {"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}[message_type]
    headers = header(name, kind) + header(":content-type", "application/json") + extra
    headers += header(":message-type", message_type)
    payload = payload if isinstance(payload, bytes) else dump(payload)
    prelude = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def converse(stop="end_turn"):
    """Return the frames of an answer of ConverseStream."""
    return [
        frame("messageStart", {"p": "abcdefgh", "role": "assistant"}),
        *(frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": t}, "p": "ab"}) for t in "abcd"),
        frame("contentBlockStop", {"contentBlockIndex": 0, "p": "abc"}),
        frame("messageStop", {"p": "abcdef", "stopReason": stop}),
        frame("metadata", {"metrics": {"latencyMs": 275}, "p": "a", "usage": {"inputTokens": 9, "outputTokens": 77}}),
    ]


BEDROCK_SEEN = (Reason.COMPLETED, Terminal.SEEN, Dialect.BEDROCK)
BEDROCK_MISSING = (Reason.MISSING_TERMINAL, Terminal.MISSING, Dialect.BEDROCK)


def test_a_complete_event_stream(play):
    """ConverseStream is complete with messageStop; its stop reason and tokens are read."""
    s = play(converse(), Protocol.EVENTSTREAM)
    assert (s.result, s.phase, *verdict(s)) == (Result.OK, Phase.AFTER_TERMINAL, *BEDROCK_SEEN)
    assert (s.finish_reason, s.output_tokens) == ("end_turn", 77)
    s = play(converse("max_tokens"), Protocol.EVENTSTREAM)
    assert (s.reason, s.finish_reason) == (Reason.INCOMPLETE_DECLARED, "max_tokens")


def test_an_event_stream_cut_anywhere(play):
    """Cut at any byte before the end of the messageStop frame it is truncated; also cut inside a later frame is not."""
    frames = converse()
    body = b"".join(frames)
    recognised, done = len(frames[0]), len(body) - len(frames[-1])
    for at in range(1, len(body) + 1):
        s = play([body[:at]], Protocol.EVENTSTREAM)
        if at < recognised:
            expected = (Reason.MISSING_TERMINAL, Terminal.NOT_CHECKED, Dialect.NONE)
        else:
            expected = BEDROCK_SEEN if at >= done else BEDROCK_MISSING
        assert verdict(s) == expected, at
        if at < len(body):
            assert verdict(play([body[:at], body[at:]], Protocol.EVENTSTREAM)) == BEDROCK_SEEN


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("message_type", ["exception", "error"])
def test_exceptions_in_an_event_stream(play, message_type, marked):
    """A frame that is an exception is a failure, whatever came before, and whosever events they are."""
    failure = frame("throttlingException", {"message": "Too many requests"}, message_type)
    for body, dialect in ((converse()[:-1] if marked else converse()[:4], Dialect.BEDROCK), ([], Dialect.NONE)):
        s = play([*body, failure], Protocol.EVENTSTREAM)
        assert (s.result, s.reason, s.dialect) == (Result.SILENT, Reason.IN_BAND_ERROR, dialect)


@pytest.mark.parametrize("which", [0, 3, 6])
def test_broken_checksums(play, which):
    """A byte changed anywhere in a frame is a protocol error, not a truncation, and nothing after it is believed."""
    frames = converse()
    for at in range(len(frames[which])):
        broken = bytearray(frames[which])
        broken[at] ^= 0x41
        s = play([*frames[:which], bytes(broken), *frames[which + 1 :]], Protocol.EVENTSTREAM)
        assert (s.result, s.reason, s.origin) == (Result.SILENT, Reason.PROTOCOL_ERROR, Origin.UNKNOWN)


def test_impossible_lengths(play):
    """A prelude whose lengths cannot be is a protocol error, though its checksum is right."""
    for total, headers in ((8, 0), (20, 9), (0, 0)):
        prelude = struct.pack(">II", total, headers)
        body = [*converse()[:3], prelude + struct.pack(">I", zlib.crc32(prelude)) + b"x" * 40]
        assert play(body, Protocol.EVENTSTREAM).reason is Reason.PROTOCOL_ERROR


def test_unknown_frames_change_nothing(play):
    """Frames nobody knows, empty ones, ones without a name or with all kinds of headers, change no verdict."""
    empty = struct.pack(">II", 16, 0)
    empty += struct.pack(">I", zlib.crc32(empty))
    empty += struct.pack(">I", zlib.crc32(empty))
    kinds = b"\x01a\x00\x01b\x01\x01c\x04\x00\x00\x00\x05\x01d\x08" + bytes(8) + b"\x01e\x06\x00\x02\x07\x07"
    extras = (empty, frame("new", b"line\r\nmessageStop\n\n", extra=kinds), frame("x", b""))
    for extra in extras:
        spread = [piece for one in converse() for piece in (extra, one)]
        assert verdict(play(spread[:14], Protocol.EVENTSTREAM)) == BEDROCK_SEEN
        assert verdict(play([*spread[:14], spread[-1], extra], Protocol.EVENTSTREAM)) == BEDROCK_SEEN
        assert verdict(play(spread[:13], Protocol.EVENTSTREAM)) == BEDROCK_MISSING


def test_frames_of_50_kb(play):
    """Frames of 50 KB are read, and a cut inside one is seen."""
    frames = converse()
    body = b"".join([*frames[:3], frame("contentBlockDelta", {"delta": {"text": LONG}}), *frames[3:]])
    packets = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    assert verdict(play(packets, Protocol.EVENTSTREAM)) == BEDROCK_SEEN
    assert verdict(play(packets[:30], Protocol.EVENTSTREAM)) == BEDROCK_MISSING


def test_other_event_streams_are_not_checked(play):
    """Event streams of other operations have no end that is known; only their framing is checked."""
    chunks = [frame("chunk", {"bytes": "e30="}) for _ in range(6)]
    assert verdict(play(chunks, Protocol.EVENTSTREAM)) == (Reason.COMPLETED, Terminal.NOT_CHECKED, Dialect.NONE)
    assert play([*chunks, chunks[0][:-1]], Protocol.EVENTSTREAM).reason is Reason.MISSING_TERMINAL


# -- all of them -------------------------------------------------------------------------------------------------

BODIES = {
    "array": (Protocol.JSON_ARRAY, array(*ARRAY)),
    "array, long": (Protocol.JSON_ARRAY, array(*ARRAY, candidate(LONG, "MAX_TOKENS"))),
    "array, error": (Protocol.JSON_ARRAY, array(*ARRAY[:2], {"error": {"code": 500}})),
    "sequence": (Protocol.JSON_SEQ, seq({"a": 1}, [LONG], 12, style="pretty")),
    "multipart": (Protocol.MULTIPART, multipart(*PARTS, {"d": LONG}, LAST, boundary=b"graphql")),
    "event stream": (Protocol.EVENTSTREAM, converse()),
    "event stream, long": (Protocol.EVENTSTREAM, [*converse()[:5], frame("x", {"t": LONG}), *converse()[5:]]),
    "event stream, broken": (Protocol.EVENTSTREAM, [*converse()[:5], b"x" * 40, *converse()[5:]]),
}
POINTS = st.lists(st.integers(0, 1 << 20), max_size=30)


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(list(BODIES)), points=POINTS, short=st.integers(0, 1 << 20), shorten=st.booleans())
def test_cuts_do_not_matter(play, name, points, short, shorten):
    """All that a verdict says of a body, whole or truncated, is the same however it is cut into messages."""
    protocol, messages = BODIES[name]
    body = b"".join(messages)
    body = body[: short % len(body) + 1] if shorten else body
    assert facts(play(cut(body, points), protocol)) == facts(play([body], protocol))


ALPHABETS = {
    Protocol.JSON_ARRAY: b'[]{}",:\\ \n1a',
    Protocol.JSON_SEQ: b'\x1e{}"1 \n\\at',
    Protocol.MULTIPART: b"-\r\nb:{} ",
    Protocol.EVENTSTREAM: b"\x00\x10\x0b:\x07x",
}


@settings(max_examples=200, deadline=None)
@given(data=st.data(), protocol=st.sampled_from(list(FRAMES)))
def test_any_bytes_have_a_verdict(play, data, protocol):
    """Bytes of any kind raise nothing, and are read the same in one piece and in many."""
    some = st.sampled_from([bytes([byte]) for byte in ALPHABETS[protocol]])
    pieces = data.draw(st.lists(st.one_of(some, some, some, st.binary(min_size=1, max_size=900)), max_size=40))
    one = [b"".join(pieces)] if pieces else []
    assert facts(play(pieces, protocol)) == facts(play(one, protocol))


@settings(max_examples=100, deadline=None)
@given(
    value=st.recursive(
        st.text(max_size=9) | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(max_size=5), v)
    )
)
def test_brackets_are_counted_as_json_does(play, value):
    """An array is complete exactly where a JSON parser says so."""
    body = dump([value])
    for at in range(1, len(body)):
        assert play([body[:at]], Protocol.JSON_ARRAY).reason is Reason.MISSING_TERMINAL
    assert play([body], Protocol.JSON_ARRAY).reason is Reason.COMPLETED


def held(frames):
    """Return how many bytes a framing holds."""
    values = (getattr(frames, name) for name in frames.__slots__)
    return sum(len(value) for value in values if isinstance(value, bytes | bytearray))


FILLERS = {
    JsonArray: b'[{"a":"' + b"\\" * 65528,
    JsonSeq: b"\x1e" + b"x" * 65535,
    Multipart: b"--b\r\n" + b"x" * 65531,
    EventStream: frame("x", b"x" * 65000)[:-5],
}


@pytest.mark.parametrize("frames", FILLERS)
@pytest.mark.parametrize("filler", [b"x", b"\n", b"[", b"\\", b'"', b"\x1e", b"\n--", b"\0"])
def test_a_framing_holds_bounded_memory(frames, filler):
    """What never ends is not kept: neither an element nor a part nor a frame."""
    reader = frames()
    reader.plain(FILLERS[frames])
    for _ in range(20):
        reader.plain(filler * 4000)
        assert held(reader) <= LIMIT + 4 * RAW


@pytest.mark.parametrize("protocol", FRAMES)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_huge_message_is_read_in_slices(begin, protocol, kind):
    """A message of 20 MB, of any type with a buffer, is read to its end without copies of its length."""
    size = 20_000_000
    body = {
        Protocol.JSON_ARRAY: b"".join(array(*ARRAY[:2], candidate("x" * size), candidate("", "STOP"))),
        Protocol.JSON_SEQ: b"".join(seq({"a": "x" * size}, {"b": 1})),
        Protocol.MULTIPART: b"".join(multipart({"a": "x" * size}, LAST)),
        Protocol.EVENTSTREAM: b"".join([*converse()[:2], frame("x", b"x" * size), *converse()[2:]]),
    }[protocol]
    message = kind(body)
    stream = begin(protocol)
    stream.headers(0.1, 200)
    tracemalloc.start()
    try:
        stream.chunk(0.2, message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (4 << 20) + (0 if kind is bytes else size)
    stream.eof(0.3)
    assert summarise(stream, 0.3).reason is Reason.COMPLETED


def test_recent_chunks_of_framed_bodies(begin):
    """Where the last chunks are kept one by one, framed bodies are read all the same."""
    stream = begin(Protocol.EVENTSTREAM, recent=3)
    stream.headers(0.1, 200)
    for one in converse():
        assert stream.chunk(0.2, one)
    stream.eof(0.3)
    s = summarise(stream, 0.3)
    assert (len(s.recent_chunks), s.reason) == (3, Reason.COMPLETED)


EMPTY = struct.pack(">III", 16, 0, zlib.crc32(struct.pack(">II", 16, 0)))
EMPTY += struct.pack(">I", zlib.crc32(EMPTY))
DENSE = {
    "array": (Protocol.JSON_ARRAY, array(*ARRAY)[:-1], b"[]" * BRACKETS, b"\n]"),
    "event stream": (Protocol.EVENTSTREAM, converse()[:4], EMPTY * (FRAMES_FOLLOWED + 2), converse()[-2]),
}


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("declared", [None, Declared("json", "never=1")])
def test_what_is_too_dense_is_not_judged(play, begin, name, declared):
    """A message of more brackets or frames than are followed costs no more than those, and no verdict is guessed."""
    protocol, before, dense, end = DENSE[name]
    for body in ([*before, dense], [*before, dense, end], [*before, b"".join([dense, end]), *before]):
        s = play(body, protocol, declared=declared)
        assert (s.reason, s.terminal) == (Reason.COMPLETED, Terminal.NOT_CHECKED)
    stream = begin(protocol, declared=declared)
    stream.headers(0.1, 200)
    stream.chunk(0.2, dense)
    assert stream._tail._frames.plain(end) == b""
