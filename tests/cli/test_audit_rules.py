"""The rules of the audit's questions where no server is needed: evidence that is made up, and what follows from it."""

from dataclasses import replace

import pytest
from heard import ended

from otel_streaming._causes import Cause
from otel_streaming._shape import Shape
from otel_streaming._stream import Stream
from otel_streaming._verdict import summarise
from otel_streaming.cli.audit.evidence import Arrival, Evidence, Leaving, Read, Record, Way
from otel_streaming.cli.audit.inside import Inside
from otel_streaming.cli.audit.questions import QUESTIONS
from otel_streaming.semconv import Cache, Kind, Origin, Outcome, Protocol, Reason, Role, Terminal

WORD = b'data: {"object": "chat.completion.chunk", "choices": []}\n\n'
DONE = b"data: [DONE]\n\n"
LOST = Cause(Reason.CONNECTION_LOST, Origin.UPSTREAM)
STEADY = [0.1 * number for number in range(1, 30)]


def read(way, times=STEADY, *, cut=None, leaving=None, crowd=1, cache=Cache.NONE, encoded=False, **more):
    """A read in which an event came at each of the times (or as many as ``crowd``), and then the end, or a cut."""
    stream = Stream(Shape(Role.CLIENT, Kind.BOUNDED, Protocol.SSE, None), "GET", 0.0)
    stream.headers(0.0, 200)
    last = cut is None and leaving is None
    pieces = [WORD * crowd] * (len(times) - last) + [DONE] * last
    for at, piece in zip(times, pieces, strict=True):
        stream.chunk(at, piece)
        stream.idle_since = at
    end = cut or times[-1]
    stream.eof(end) if last else stream.failed(end, LOST)
    arrivals = tuple(Arrival(at, len(piece), True) for at, piece in zip(times, pieces, strict=True))
    events = crowd * (len(times) - last) + last
    summary = summarise(stream, end)._replace(**more)
    return Read(way, way.value, cache, "no-store", encoded, arrivals, events, way.value, summary, False, leaving)


LEFT = read(Way.LEAVE, STEADY[:15], leaving=Leaving(1.5, 100.0, 103.0, 5, 500))
READS = (read(Way.WHOLE), LEFT, read(Way.REPEAT))
WHOLE = Record("shop", "completed", "completed", 3.0, chunks=29, first=0.1)
GONE = Record("shop", "cancelled", "client_disconnect", 1.6, chunks=15, first=0.1, gone_at=100.1, abandoned_chunks=1)
BROKEN = Record("shop", "failed", "producer_error", 3.0, chunks=29, first=0.1)
IN_BAND = {"outcome": Outcome.FAILED, "reason": Reason.IN_BAND_ERROR}
TOLD = {"whole": (WHOLE,), "leave": (GONE,), "repeat": (WHOLE,)}


def evidence(*reads, told=TOLD, **more):
    by_way = {one.way: one for one in reads or READS}
    return Evidence("GET", 60.0, 5.0, by_way, records=told, **{"heard": bool(told), "waited": 2.0, **more})


def instead(**records):
    """What the service tells, but for these."""
    return {way: tuple(told) for way, told in {**TOLD, **records}.items() if told}


def cuts(*times, way=Way.REPEAT):
    return (read(Way.WHOLE, cut=times[0]), *(read(way, cut=time) for time in times[1:]))


ROWS = {
    "noticed late": (
        *("drop", evidence(told=instead(leave=[GONE._replace(gone_at=102.9)]))),
        *("warn", "noticed the departure after 2.9 s"),
    ),
    "noticed by a write": (
        *("drop", evidence(told=instead(leave=[GONE._replace(gone_at=103.2)]))),
        *("pass", "noticed the departure after 200 ms"),
    ),
    "hidden": ("drop", evidence(told=instead(leave=[WHOLE])), "fail", 'recorded the stream as "complete"'),
    "clocks that differ": ("drop", evidence(told=instead(leave=[GONE._replace(gone_at=99.0)])), "pass", "after 0 ms"),
    "told as a failure": (
        *(
            "drop",
            evidence(told=instead(leave=[GONE._replace(gone_at=None, reason="producer_error", outcome="failed")])),
        ),
        *("warn", "not as left"),
    ),
    "never told": ("drop", evidence(told=instead(leave=[])), "fail", "told nothing of it"),
    "closed late": (
        *("drop", evidence(replace(LEFT, leaving=Leaving(-1.0, 100.0)), told={})),
        *("warn", "ended the connection 2.5 s after"),
    ),
    "no time to see": (
        *("drop", evidence(replace(LEFT, leaving=Leaving(1.45, 100.0, 100.05)), told={})),
        *("not determined", "which is no time"),
    ),
    "told twice": ("record", evidence(told=instead(whole=[WHOLE, WHOLE])), "fail", "shop told of one stream 2 times"),
    "told by two services": (
        *("record", evidence(told=instead(whole=[WHOLE, WHOLE._replace(service="gateway")]))),
        *("pass", "one record of each"),
    ),
    "in other traces": (
        *("record", evidence(told={}, heard=True, elsewhere=3)),
        *("warn", "3 records of streams came, none in the trace"),
    ),
    "a cut that is told as complete": (
        *("record", evidence(read(Way.WHOLE, cut=4.0), LEFT)),
        *("fail", 'the client knows: "cut short: connection lost"; the record says "complete"'),
    ),
    "told by nobody, though spans came": (
        *("record", evidence(told={}, heard=True, traced=True)),
        *("fail", "told of none of 3 streams"),
    ),
    "something exports": ("record", evidence(told={}, heard=True), "not determined", "none of it in the trace"),
    "no time to be told of any": (
        *("record", evidence(told={}, heard=True, traced=True, hurried=True)),
        *("not determined", "none of it in the trace"),
    ),
    "no time to be told of all": (
        *("record", evidence(told=instead(leave=[]), hurried=True)),
        *("not determined", "could tell of 1 of 3 streams"),
    ),
    "no time to be told of the departure": (
        "drop",
        evidence(told=instead(leave=[]), hurried=True),
        "not determined",
        "which is no time",
    ),
    "no time to be told of its end": (
        *("cancel", evidence(told=instead(leave=[]), hurried=True)),
        *("warn", "went on after the client's FIN"),
    ),
    "the repeated call is told nowhere": (
        *("record", evidence(told=instead(repeat=[]))),
        *("fail", "no record came of 1 of 3 streams: the one repeated"),
    ),
    "the repeated call is told nowhere, and was the same": (
        *("record", evidence(*READS[:2], replace(READS[2], digest="whole"), told=instead(repeat=[]))),
        *("pass", "one record of each"),
    ),
    "a failure that ends in good order": (
        *("record", evidence(read(Way.WHOLE, terminal=Terminal.NOT_CHECKED), LEFT, told=instead(whole=[BROKEN]))),
        *("pass", "one record of each"),
    ),
    "a failure after the end marker": (
        *("record", evidence(told=instead(whole=[BROKEN]))),
        *("fail", 'the client knows: "complete"; the record says "failed'),
    ),
    "all sent before the client left": (
        *("drop", evidence(told=instead(leave=[WHOLE._replace(seconds=0.2)]))),
        *("not determined", "had sent all of it before"),
    ),
    "all made before the client left": (
        *("cancel", evidence(told=instead(leave=[WHOLE._replace(seconds=0.2)]))),
        *("not determined", "had sent all of it before"),
    ),
    "complete before the client left": (
        *("record", evidence(told=instead(leave=[WHOLE._replace(seconds=0.2)]))),
        *("pass", "one record of each"),
    ),
    "a repeated call that nobody served": (
        *("path", evidence(*READS[:2], replace(READS[2], digest="whole"), told=instead(repeat=[]))),
        *("fail", "the service knows nothing of it"),
    ),
    "another answer that nobody served": ("path", evidence(told=instead(repeat=[])), "pass", "took its time"),
    "no time to be told of the repeated call": (
        *("path", evidence(*READS[:2], replace(READS[2], digest="whole"), told=instead(repeat=[]), hurried=True)),
        *("pass", "took its time"),
    ),
    "all at once": ("path", evidence(read(Way.WHOLE, [3.0, 3.01], crowd=9), told={}), "fail", "held back, or made"),
    "late and quick": (
        *("path", evidence(read(Way.WHOLE, [3.0 + 0.01 * number for number in range(20)]), told={})),
        *("pass", "came over 190 ms"),
    ),
    "made at once": (
        *("path", evidence(read(Way.WHOLE, [3.0, 3.01], crowd=9), told={"whole": [WHOLE._replace(first=2.9)]})),
        *("warn", "the service sent it so"),
    ),
    "held back for a while, then all at once": (
        *("path", evidence(read(Way.WHOLE, [1.2, 1.21], crowd=9), told={"whole": [WHOLE._replace(first=0.5)]})),
        *("fail", "held back, or made at once"),
    ),
    "in portions": (
        *("path", evidence(read(Way.WHOLE, [1.0, 2.0, 3.0, 4.0], crowd=20), told={})),
        *("warn", "61 events came in 4 portions, 1.0 s apart"),
    ),
    "compressed": (
        *("path", evidence(read(Way.WHOLE, encoded=True), told={})),
        *("warn", "compressors hold back"),
    ),
    "a lone event": ("path", evidence(read(Way.WHOLE, [0.1]), told={}), "not determined", "1 event: too few"),
    "a cache says so": (
        "path",
        evidence(read(Way.WHOLE, cache=Cache.HIT), told={}),
        "fail",
        "a cache has answered",
    ),
    "not repeated": (
        *("path", evidence(READS[0], told={}, missing={Way.REPEAT: "answered 429"})),
        *("pass", "not repeated: answered 429"),
    ),
    "cut at one age": (
        "time-outs",
        evidence(*cuts(3.0, 3.1)),
        "fail",
        "cut off after 3.0 s, 3.1 s (at one age, as by a limit on the whole)",
    ),
    "cut by the service": (
        *("time-outs", evidence(*cuts(3.0, 3.1), told=instead(whole=[BROKEN]))),
        *("fail", 'cut off after 3.0 s, 3.1 s; the service recorded: "failed: exception in the code"'),
    ),
    "cut at any age": ("time-outs", evidence(*cuts(3.0, 4.5)), "fail", "not at one time: no limit"),
    "cut once": ("time-outs", evidence(*cuts(2.95)), "fail", "cut off after 3.0 s (once, of 1 read)"),
    "cut when read slowly": (
        *("time-outs", evidence(read(Way.WHOLE), read(Way.SLOW, cut=3.0))),
        *("fail", "a slow reader, for whom some lay in buffers"),
    ),
    "cut in a silence": (
        *("time-outs", evidence(*cuts(62.9, 62.9))),
        *("fail", "cut off after 60 s, 60 s of silence (silence is tolerated no longer)"),
    ),
    "a long silence": (
        *("time-outs", evidence(read(Way.WHOLE, [0.1, 6.0, 6.1]), told={})),
        *("warn", "5.9 s without a byte"),
    ),
    "as long as was asked for": (
        *("time-outs", evidence(read(Way.WHOLE, [3.0 * number for number in range(1, 21)]), told={})),
        *("pass", "no limit up to 60 s"),
    ),
    "an error in each stream": (
        *("time-outs", evidence(read(Way.WHOLE, **IN_BAND), LEFT, read(Way.REPEAT, **IN_BAND), told={})),
        *("fail", '2 streams of 2 ended as "failed: error event in the stream" after 2.9 s'),
    ),
    "an error in the only stream": (
        "time-outs",
        evidence(read(Way.WHOLE, **IN_BAND), told={}),
        "fail",
        "1 stream of 1",
    ),
    "an error in one of them": (
        *("time-outs", evidence(READS[0], LEFT, read(Way.REPEAT, **IN_BAND), told={})),
        *("warn", '1 stream of 2 ended as "failed: error event in the stream"'),
    ),
    "works on": (
        "cancel",
        evidence(told=instead(leave=[])),
        "fail",
        "no end of the stream that was left had been told",
    ),
    "stops late": (
        *("cancel", evidence(told=instead(leave=[GONE._replace(abandoned_seconds=3.0, abandoned_chunks=5)]))),
        *("warn", "stopped only a while after the service had noticed (wasted: 3.0 s, 5 chunks"),
    ),
    "ran to its end": (
        *("cancel", evidence(told=instead(leave=[GONE._replace(abandoned_chunks=13)]))),
        *("fail", "ran to its end for a client that had left"),
    ),
    "recorded as complete": (
        *("cancel", evidence(told=instead(leave=[WHOLE]))),
        *("fail", "ran to its end for a client that had left (29 chunks made, 15 pieces received)"),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_rule(row):
    """Each piece of evidence has its verdict, and the sentence that gives it says what was found."""
    name, found, verdict, words = ROWS[row]
    question = next(question for question in QUESTIONS if question.name == name)
    answer = question.answer(found)
    assert answer.verdict.value == verdict, answer
    assert words in answer.seen
    assert answer.fix or verdict == "pass"


def test_every_question_is_answered_of_one_read():
    """One read is enough for five answers, and none of them is a guess."""
    answers = [question.answer(evidence(READS[0], told={})) for question in QUESTIONS]
    assert [answer.verdict.value for answer in answers] == [
        *("not determined", "not determined", "pass", "not determined", "not determined")
    ]


def test_what_is_kept_of_what_the_service_tells():
    """Of the audit's own traces each record is; of all others, however many come, nothing but how many."""
    inside = Inside()
    inside.expect("ab" * 16)
    for trace_id in ("ab" * 16, *map(str, range(1000))):
        inside.trace(trace_id)
        inside.stream(replace(ended("cancelled", "client_disconnect"), trace_id=trace_id))
        inside.stream(replace(ended(role="client"), trace_id=trace_id))
    assert (inside.traced, inside.elsewhere) == ({"ab" * 16}, 1000)
    assert {trace: [record.reason for record in told] for trace, told in inside.records.items()} == {
        "ab" * 16: ["client_disconnect"]
    }
