"""What is said of all streams together: what a 5xx count shows of them, and what users saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_streaming import _words
from otel_streaming.semconv import Result, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_streaming.cli.live.streams import Streams

_BAD = (Result.SILENT, Result.LOUD)
_WORST_FIRST = (*_BAD, Result.GAVE_UP, Result.OK, Result.CANCELLED, Result.RECYCLED, Result.UNKNOWN)
ROLES = {Role.SERVER: "served", Role.CLIENT: "read", Role.TASK: "watched", Role.PROXY: "passed on"}
OPEN = {Role.SERVER: "serving", Role.CLIENT: "reading", Role.TASK: "watching"}
_VERDICTS = {
    Role.SERVER: "what your 5xx count says: {loud}; what users saw: {bad} of {all} streams failed",
    Role.CLIENT: "of what it reads: {bad} of {all} streams failed, {silent} of them without an error status",
    Role.TASK: "of what is watched by hand: {bad} of {all} streams failed",
}
_UNTOLD = "for reasons that are not known: they were counted, and their spans did not come"
NOTHING = "no stream has ended"


def counted(counts: Mapping[Any, int], texts: Mapping[Any, str]) -> str:
    """Return counts in words, in the order of ``texts``."""
    return " · ".join(f"{text} {counts[code]}" for code, text in texts.items() if counts.get(code))


def by_role(streams: Streams) -> Iterator[str]:
    """Yield what became of the streams that were served, read, watched: a line each, the worst first."""
    texts = {result: _words.RESULTS[result] for result in _WORST_FIRST}
    for role, text in ROLES.items():
        totals = streams.totals(role)
        if totals:
            yield f"{text} {sum(totals.values())}: {counted(totals, texts)}"


def verdict(streams: Streams) -> str:
    """Return the one line: what a count of 5xx says, and what users saw; of what is read, where nothing is served."""
    role = _first(streams)
    totals = streams.totals(role)
    silent, loud = (totals.get(result, 0) for result in _BAD)
    due = silent + loud + totals.get(Result.OK, 0)
    return _VERDICTS[role].format(silent=silent, loud=loud, bad=silent + loud, all=due) if totals else NOTHING


def closing(streams: Streams) -> Iterator[str]:
    """Yield the lines of the summary at the end."""
    yield verdict(streams)
    role = _first(streams)
    totals, told = streams.totals(role), 0
    for (whose, reason), count in streams.reasons.most_common():
        if whose is role:
            told += count
            yield f"{count:>6}  {_words.REASONS[reason]}"
    if untold := sum(totals.get(result, 0) for result in _BAD) - told:
        yield f"{untold:>6}  {_UNTOLD}"
    yield from by_role(streams)


def _first(streams: Streams) -> Role:
    """Return what there is to judge by: what is served, else what is read, else what is watched by hand."""
    return next((role for role in _VERDICTS if streams.totals(role)), Role.SERVER)
