"""The live view, drawn of what has been heard: it fits any terminal, and no line of it wraps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from otel_streaming import _words
from otel_streaming import semconv as sc
from otel_streaming.cli.live import words
from otel_streaming.cli.live.summary import NOTHING, OPEN, by_role, counted, verdict
from otel_streaming.cli.records import clean
from otel_streaming.semconv import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import JustifyMethod, RenderableType

    from otel_streaming.cli.live.streams import Streams
    from otel_streaming.cli.records import EndedStream

WIDE = 140
"""Columns from which on everything is shown."""
RESULTS: dict[str, str] = {
    Result.OK: "green",
    Result.SILENT: "bold magenta",
    Result.LOUD: "bold red",
    Result.GAVE_UP: "blue",
    Result.CANCELLED: "blue",
}
"""As on the dashboards: what failed silently is purple, what failed loudly red, the reader's doing blue."""
_BLIND = "what is open is not known: no metrics come"
_DOUBTFUL = "yellow"


@dataclass(frozen=True)
class _Column:
    """A column: its head and its width in a narrow terminal and in a wide one; of no width it is left out."""

    narrow: tuple[str, int]
    wide: tuple[str, int]
    cell: Callable[[EndedStream], str]
    numeric: bool = False


_REST = -1
"""The width of the column that takes what the others leave."""
_LEAST, _MOST = 8, 64
_COLUMNS = (
    _Column(("", 0), ("ended", 8), lambda stream: words.clock(stream.ended_at)),
    _Column(("stream", _REST), ("stream", _REST), words.name),
    _Column(("how it ended", 34), ("how it ended", 39), words.reason),
    _Column(("by", 12), ("ended by", 20), words.origin),
    _Column(("first", 6), ("first chunk", 11), words.first_chunk, numeric=True),
    _Column(("gap", 6), ("worst gap", 9), words.worst_gap, numeric=True),
    _Column(("", 0), ("gap lengths", 12), lambda stream: words.bars(stream.gaps)),
)


def screen(streams: Streams, title: str, width: int, height: int, now: float) -> RenderableType:
    """Return what to draw: at most ``width`` columns, at most ``height`` lines.

    Args:
        streams: What has been heard.
        title: The first line.
        width: In columns, as the terminal has.
        height: In lines.
        now: The time of the clock that `Streams.read` was given, s.
    """
    head = [title, *_open(streams, now), *by_role(streams), verdict(streams)]
    texts = [Text(clean(text), no_wrap=True, overflow="ellipsis") for text in head]
    texts[0].stylize("dim")
    if head[-1] != NOTHING:
        texts[-1].stylize("bold")
    room = height - len(texts) - 2
    rows = streams.shown(room)
    return Group(*texts, "", table(rows, width)) if rows else Group(*texts[: max(1, height)])


def _open(streams: Streams, now: float) -> Iterator[str]:
    states_by_role = {role: streams.open(role, now) for role in OPEN}
    for role, states in states_by_role.items():
        if states:
            yield f"{OPEN[role]} {sum(states.values())}: {counted(states, _words.STATES)}"
    if not any(states_by_role.values()):
        yield _BLIND if streams.blind else "nothing open"
    if any(streams.silences):
        yield f"longest silence {words.seconds(streams.silences[-1])} {words.bars(streams.silences)}"


def table(rows: Sequence[EndedStream], width: int) -> Table:
    """Return a row for each stream."""
    wide = width >= WIDE
    columns = [(column, *(column.wide if wide else column.narrow)) for column in _COLUMNS]
    columns = [(column, head, size) for column, head, size in columns if size]
    gap = 2 if wide else 1
    fixed = sum(size for _, _, size in columns if size != _REST) + gap * (len(columns) - 1)
    rest = max(_LEAST, min(_MOST, width - fixed))
    drawn = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim")
    for column, head, size in columns:
        justify: JustifyMethod = "right" if column.numeric else "left"
        drawn.add_column(
            head, width=rest if size == _REST else size, justify=justify, no_wrap=True, overflow="ellipsis"
        )
    called = words.full_name if len({stream.service for stream in rows}) > 1 else words.name
    for stream in rows:
        style = _DOUBTFUL if words.doubt(stream) else RESULTS.get(stream.text(sc.RESULT), "")
        drawn.add_row(
            *(
                Text(_end_of(called(stream), rest) if size == _REST else column.cell(stream), style=style)
                for column, _, size in columns
            )
        )
    return drawn


def _end_of(text: str, width: int) -> str:
    """Return the end of a text: routes differ there."""
    if cell_len(text) <= width:
        return text
    while cell_len(text) >= width:
        text = text[1:]
    return f"…{text}"
