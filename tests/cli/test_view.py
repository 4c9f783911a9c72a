"""What is drawn: it fits, it is in words, and it obeys nobody's escapes."""

import dataclasses
import json

import pytest
from heard import ended, reading
from rich.cells import cell_len
from rich.console import Console

from otel_streaming import _words
from otel_streaming import semconv as sc
from otel_streaming.cli.live import words
from otel_streaming.cli.live.streams import Streams
from otel_streaming.cli.live.view import screen
from otel_streaming.cli.records import clean

HOSTILE = "/a\x1b[31m\x1b]0;title\x07\x9b2J\r\n\u202e\u2066\u2028\u200b\ud800\U000e0041\U000f0000b"


def drawn(streams, width, height=20, title="otel-streaming"):
    console = Console(width=width, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(screen(streams, title, width, height, 1.0))
    return captured.get().splitlines()


@pytest.fixture
def busy():
    """Everything at once, and long."""
    streams = Streams()
    for state in sc.State:
        streams.read(reading(sc.ACTIVE, 1000, state=state.value), 0)
    streams.read(reading(sc.SILENCE_MAX, 12.0), 0)
    for _ in range(60):
        streams.sample(1)
    times = {sc.TIME_TO_FIRST_CHUNK: 123.4, sc.CHUNK_GAP_MAX: 5000.0, sc.CHUNK_GAP_COUNTS: tuple(range(12))}
    for reason in sc.Reason:
        for role in sc.Role:
            route = "/a/long/route/that/ends/in/日本語/" + reason
            streams.ended(ended("silent", reason, role, route, **times))
    for result in sc.Result:
        streams.ended(ended(result))
    return streams


@pytest.mark.parametrize("width", [20, 60, 80, 100, 140, 160, 250])
def test_it_fits(busy, width):
    """No line is wider than the terminal, and no more lines are drawn than it has."""
    for height in (1, 5, 10, 11, 20, 200):
        lines = drawn(busy, width, height, title="t" * 300)
        assert max(map(cell_len, lines)) <= width
        assert len(lines) <= height


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("reason", sc.Reason)
def test_reasons_are_read_in_full(width, reason):
    """At 160 columns every reason is whole, at 80 all but the ends of three; a route shows its end."""
    streams = Streams()
    streams.ended(ended("silent", reason, route="/v1/a/long/route/whose/end/tells/chat/completions"))
    row = drawn(streams, width)[-1]
    assert _words.REASONS[reason][: 33 if width == 80 else None] in row
    assert "…/chat/completions " in row if width == 80 else "/v1/a/long/route" in row


def test_the_newest_are_shown():
    """Where not all streams fit, the newest do, the last at the bottom."""
    streams = Streams()
    for number in range(50):
        streams.ended(ended(route=f"/{number}"))
    lines = drawn(streams, 80, 12)
    assert len(lines) == 12
    assert lines[-1].startswith("/49")


def test_open_streams_of_whom_nothing_is_told():
    """Where streams end and no metrics come, nobody says that none is open; once they come, it is said."""
    streams = Streams()
    assert "nothing open" in drawn(streams, 80)
    streams.ended(ended("ok"))
    assert "what is open is not known: no metrics come" in drawn(streams, 80)
    streams.read(reading(sc.ACTIVE, 0), 1.0)
    assert "nothing open" in drawn(streams, 80)


def test_several_services_are_told_apart():
    """Where streams of more than one service are shown, each row says whose it is."""
    streams = Streams()
    streams.ended(ended())
    assert drawn(streams, 80)[-1].startswith("/chat ")
    streams.ended(dataclasses.replace(ended(), service="books"))
    assert [line.split()[:2] for line in drawn(streams, 80)[-2:]] == [["shop", "/chat"], ["books", "/chat"]]


def test_nothing_that_a_terminal_obeys():
    """Escapes, controls, bidirectional overrides and unassigned characters of strangers reach no terminal."""
    stream = ended("silent", HOSTILE, route=HOSTILE, **{sc.SERVER_ADDRESS: HOSTILE, sc.ORIGIN: HOSTILE})
    streams = Streams()
    streams.ended(stream)
    for text in (*drawn(streams, 160, title=HOSTILE), words.line(stream)):
        assert text.isprintable(), text
        assert "/a[31m" in text or "title" not in text
    assert words.as_json(stream).isascii()
    assert words.as_json(stream).isprintable()
    assert clean("Zürich 日本語 🙂") == "Zürich 日本語 🙂"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m\tplain", "\x1b[1;31mred\x1b[0m\tplain"),
        ("\x1b]52;c;c2VjcmV0\x07copied", "copied"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x1b[2J\x1b[?1049hgone\r\x08\x9b", "gone"),
        ("\x1b", ""),
        ("plain", "plain"),
    ],
)
def test_what_a_command_writes_keeps_its_colours(line, shown):
    """Of a command's own output nothing but colours and tabs is obeyed."""
    assert words.coloured(line) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((None, ""), (0.0, "0.0 ms"), (0.0094, "9.4 ms"), (0.0096, "10 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s")),
        *((99.94, "99.9 s"), (99.96, "100 s"), (999.4, "999 s"), (1000, "17 m"), (1e12, "9999 m")),
    ],
)
def test_times(value, shown):
    """A time takes six characters at most."""
    assert words.seconds(value) == shown
    assert len(shown) <= 6


@pytest.mark.parametrize(
    ("values", "shown"), [([], ""), ([0, 0], "  "), (range(9), " ▁▂▃▄▅▆▇█"), ([1, 1000], "▁█"), ([-1, 0.5], " █")]
)
def test_sparklines(values, shown):
    """A bar for each value, the highest full; what is not nothing is seen."""
    assert words.bars(values) == shown


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({sc.STALL_COUNT: 1}, "completed, but stalled"),
        ({sc.MASKED: True, sc.STALL_COUNT: 1}, "completed, its upstream did not"),
        ({sc.MASKED: False, sc.STALL_COUNT: 0}, "complete"),
    ],
)
def test_what_is_complete_and_yet(more, said):
    """A stream that ended well says what was wrong with it all the same; one that did not says why it ended."""
    assert words.reason(ended(**more)) == said
    assert words.reason(ended("silent", "producer_error", **more)) == "failed: exception in the code"


def test_a_line():
    """A stream in one line, for a log."""
    stream = ended("silent", "missing_terminal", **{sc.ORIGIN: "upstream", sc.TIME_TO_FIRST_CHUNK: 0.25})
    line = words.line(stream).partition(" ")[2]
    assert line == "silent failure: cut short: no end marker, by the upstream; shop /chat; first chunk 250 ms"
    stream = ended("cancelled", "consumer_stopped", "client", "/x", **{sc.SERVER_ADDRESS: "api", sc.ORIGIN: "unknown"})
    assert words.line(stream).partition(" ")[2] == "reader left: reader had enough; shop from api/x"


def test_a_line_of_json():
    """All that was told, by the contract's names; an attribute does not pass for what identifies the stream."""
    told = json.loads(words.as_json(ended(trace_id="mine", **{sc.CHUNK_GAP_COUNTS: (1, 2)})))
    assert told.pop(sc.CHUNK_GAP_COUNTS) == [1, 2]
    expected = {"trace_id": "ab" * 16, "span_id": "cd" * 8, "service.name": "shop", "started_at": 1.0, "ended_at": 2.0}
    assert told == expected | {
        sc.ROLE: "server",
        sc.ROUTE: "/chat",
        sc.RESULT: "ok",
        sc.REASON: "completed",
        sc.OUTCOME: "completed",
        sc.ORIGIN: "server",
    }


def test_every_word():
    """Every result and state of the contract has its word."""
    assert set(_words.RESULTS) == set(sc.Result)
    assert set(_words.STATES) == set(sc.State)
