"""What is kept of what is heard."""

import pytest
from heard import ended, reading

from otel_streaming import semconv as sc
from otel_streaming._config import Globs
from otel_streaming.cli.live import streams as module
from otel_streaming.cli.live.streams import KEPT, Streams, Wanted
from otel_streaming.cli.live.summary import NOTHING, by_role, closing, verdict
from otel_streaming.semconv import Reason, Result, Role, State


def active(count, state="flowing", **more):
    return reading(sc.ACTIVE, count, state=state, **more)


def test_a_collection_replaces_the_one_before():
    """What a process said of open streams counts until it says something newer, whatever that is about."""
    streams = Streams()
    streams.read(active(3, at=1.0), 10.0)
    streams.read(active(1, "stalled", at=1.0), 10.0)
    streams.read(active(4, at=1.0, process="q"), 10.0)
    assert streams.open(Role.SERVER, 10.0) == {State.FLOWING: 7, State.STALLED: 1}
    streams.read(active(2, at=2.0), 11.0)
    assert streams.open(Role.SERVER, 11.0) == {State.FLOWING: 6}
    streams.read(reading(sc.LEDGER_STARTED, 0, at=3.0), 12.0)
    assert streams.open(Role.SERVER, 12.0) == {State.FLOWING: 4}
    assert streams.open(Role.CLIENT, 12.0) == {}


def test_a_process_that_is_silent_is_not_counted_for_ever():
    """A process that collects every second is left out seconds after its last word, one that takes its time later."""
    streams = Streams()
    for at in (0, 1):
        streams.read(active(1, at=at), at)
    for at in (0, 30):
        streams.read(active(1, at=at, process="slow"), at)
    assert streams.open(Role.SERVER, 3) == {State.FLOWING: 2}
    assert streams.open(Role.SERVER, 40) == {State.FLOWING: 1}
    assert streams.open(Role.SERVER, 200) == {}


def test_silence():
    """The longest silence of all processes is sampled; the last minute is kept."""
    streams = Streams()
    streams.read(reading(sc.SILENCE_MAX, 2.5), 0)
    streams.read(reading(sc.SILENCE_MAX, 0.5, route="/other"), 0)
    streams.read(reading(sc.SILENCE_MAX, 1.5, process="q"), 0)
    assert streams.sample(1) == 2.5
    assert streams.sample(1000) == 0
    assert list(streams.silences) == [2.5, 0]


def counts(streams, value, result, at, process="p"):
    streams.read(reading(sc.LEDGER_ENDED, value, at=at, result=result, process=process), at)


def test_the_ledger_makes_up_for_spans_that_are_lost():
    """Of spans and ledger the higher count is told; the ledger counts from where it was first heard of."""
    streams = Streams()
    counts(streams, 0, "silent", 1)
    counts(streams, 100, "ok", 1)
    streams.ended(ended())
    streams.ended(ended("loud", "http_5xx"))
    counts(streams, 3, "silent", 2)
    counts(streams, 105, "ok", 2)
    counts(streams, 0, "ok", 2, "q")
    counts(streams, 2, "ok", 3, "q")
    assert streams.totals(Role.SERVER) == {Result.OK: 7, Result.LOUD: 1, Result.SILENT: 3}
    assert streams.totals(Role.CLIENT) == {}
    assert list(closing(streams)) == [
        "what your 5xx count says: 1; what users saw: 4 of 11 streams failed",
        "     1  5xx instead of a stream",
        "     3  for reasons that are not known: they were counted, and their spans did not come",
        "served 11: silent failure 3 · loud failure 1 · fine 7",
    ]


def test_words_of_a_version_to_come():
    """A role, a result, a state, a reason that this version does not know breaks nothing."""
    streams = Streams()
    streams.ended(ended("splendid", "fancy", "seer"))
    streams.ended(ended("silent", "fancy"))
    streams.read(active(1, "dancing"), 0)
    assert streams.totals(Role.SERVER) == {Result.SILENT: 1, Result.UNKNOWN: 1}
    assert streams.reasons == {(Role.SERVER, Reason.UNKNOWN): 1}
    assert streams.open(Role.SERVER, 0) == {State.FLOWING: 1}


def test_filters():
    """A route, or the address that is read from, decides what counts; a result decides what is shown of it."""
    streams = Streams(Wanted(Globs("/chat*", "api.*"), ("silent",)))
    told = [
        ended("silent", "missing_terminal", route="/chat/a"),
        ended(route="/chat/b"),
        ended("silent", "missing_terminal", route="/other"),
        ended("silent", "connection_lost", role="client", route="/x", **{sc.SERVER_ADDRESS: "api.example.com"}),
    ]
    assert [streams.ended(stream) for stream in told] == [True, False, False, True]
    streams.read(active(1, route="/other"), 0)
    streams.read(active(2, route="/chat"), 0)
    assert streams.open(Role.SERVER, 0) == {State.FLOWING: 2}
    assert streams.totals(Role.SERVER) == {Result.SILENT: 1, Result.OK: 1}
    assert streams.shown(10) == [told[0], told[3]]


def test_failures_stay_in_sight():
    """Where many end well, the last failures keep half of the room, in their order; where few end, all is shown."""
    streams = Streams()
    failed = [ended("silent", "missing_terminal", route=f"/{n}") for n in range(4)]
    fine = [ended(route=f"/fine/{n}") for n in range(20)]
    for stream in (*failed, *fine):
        streams.ended(stream)
    assert streams.shown(6) == [*failed[1:], *fine[-3:]]
    assert streams.shown(1) == fine[-1:]
    assert streams.shown(0) == streams.shown(-5) == []
    assert streams.shown(24) == streams.shown(100) == [*failed, *fine]
    newer = ended("loud", "http_5xx")
    streams.ended(newer)
    assert streams.shown(4) == [failed[3], *fine[-2:], newer]


def test_memory_is_bounded(monkeypatch):
    """However many streams, processes and series there are, only so many are kept; what was counted stays counted."""
    monkeypatch.setattr(module, "_PROCESSES", 10)
    monkeypatch.setattr(module, "_SERIES", 5)
    streams = Streams()
    for number in range(KEPT + 50):
        streams.ended(ended(route=f"/{number}"))
    for number in range(100):
        for at in (0, 1):
            streams.read(reading(sc.LEDGER_ENDED, at, at=at, process=str(number), result="silent"), at)
    for number in range(100):
        streams.read(reading(sc.LEDGER_ENDED, 1, at=2, process="many", route=f"/{number}", result="silent"), 2)
    assert len(streams.shown(1000)) == KEPT
    assert streams.shown(1)[0].text(sc.ROUTE) == f"/{KEPT + 49}"
    assert streams.totals(Role.SERVER) == {Result.OK: KEPT + 50, Result.SILENT: 100}
    assert len(streams._processes) == 10
    assert len(streams._processes["many"].ledger) == 5


def test_the_end():
    """At the end: what a 5xx count says and what users saw, why, and what became of all; what is read is told apart."""
    streams = Streams()
    for _ in range(3):
        streams.ended(ended())
        streams.ended(ended("silent", "missing_terminal"))
    streams.ended(ended("loud", "http_5xx"))
    streams.ended(ended("gave_up", "client_disconnect"))
    streams.ended(ended("silent", "connection_lost", "client"))
    assert list(closing(streams)) == [
        "what your 5xx count says: 1; what users saw: 4 of 7 streams failed",
        "     3  cut short: no end marker",
        "     1  5xx instead of a stream",
        "served 8: silent failure 3 · loud failure 1 · reader gave up 1 · fine 3",
        "read 1: silent failure 1",
    ]


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ("client", "of what it reads: 1 of 2 streams failed, 1 of them without an error status"),
        ("task", "of what is watched by hand: 1 of 2 streams failed"),
    ],
)
def test_where_nothing_is_served(role, says):
    """A program that only reads is told of that; nothing is made up where nothing was heard."""
    streams = Streams()
    assert (verdict(streams), list(by_role(streams))) == (NOTHING, [])
    streams.ended(ended(role=role))
    streams.ended(ended("silent", "connection_lost", role))
    assert verdict(streams) == says
