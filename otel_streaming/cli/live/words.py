"""One stream in words: as a line, as cells, as JSON; and of a command's own lines what may reach a terminal."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from otel_streaming import _words
from otel_streaming import semconv as sc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_streaming.cli.records import EndedStream

_OBEYED = re.compile(
    r"(\x1b\[[0-9;:]*m)"  # a colour
    r"|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\)"  # another control sequence, an order to the system (ECMA-48)
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)
_BARS = " ▁▂▃▄▅▆▇█"


def coloured(line: str) -> str:
    """Return a line of a program's output without what a terminal obeys, but for its colours."""
    return _OBEYED.sub(lambda found: found[1] or "", line)


def result(stream: EndedStream) -> str:
    """Return the one-word verdict in words."""
    return _said(_words.RESULTS, stream.text(sc.RESULT))


def reason(stream: EndedStream) -> str:
    """Return why it ended; of one that is complete, what was wrong all the same."""
    return doubt(stream) or _said(_words.REASONS, stream.text(sc.REASON))


def doubt(stream: EndedStream) -> str:
    """Return what was wrong with a stream that is complete; empty if nothing was."""
    if stream.text(sc.OUTCOME) != sc.Outcome.COMPLETED:
        return ""
    if stream.attributes.get(sc.MASKED) is True:
        return _words.MASKED
    return _words.STALLED if stream.number(sc.STALL_COUNT) else ""


def origin(stream: EndedStream) -> str:
    """Return who ended it; empty for one that is complete."""
    completed = stream.text(sc.OUTCOME) == sc.Outcome.COMPLETED
    return "" if completed else _said(_words.ORIGINS, stream.text(sc.ORIGIN))


def name(stream: EndedStream) -> str:
    """Return what a stream is called: its route, or where it is read from."""
    route = stream.text(sc.ROUTE)
    if stream.text(sc.ROLE) == sc.Role.CLIENT:
        return f"from {stream.text(sc.SERVER_ADDRESS)}{route}"
    return route or "(no route)"


def full_name(stream: EndedStream) -> str:
    """Return what a stream is called among those of several services."""
    return f"{stream.service} {name(stream)}".lstrip()


def seconds(value: float | None) -> str:
    """Return a time in at most six characters; empty for none."""
    if value is None:
        return ""
    for below, form in ((0.0095, "{:.1f} ms"), (0.9995, "{:.0f} ms"), (99.95, "{:.1f} s"), (999.5, "{:.0f} s")):
        if value < below:
            return form.format(value * 1000 if "ms" in form else value)
    return f"{min(value / 60, 9999):.0f} m"


def bars(values: Iterable[float]) -> str:
    """Return a sparkline: a bar for each value, the highest full, none for zero."""
    values = [max(0.0, value) for value in values]
    most = max(values, default=0.0) or 1.0
    return "".join(_BARS[-int(-value / most * (len(_BARS) - 1) // 1)] for value in values)


def clock(at: float) -> str:
    """Return the local time of day."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "??:??:??"


def first_chunk(stream: EndedStream) -> str:
    """Return how long it took from the request to the first chunk; empty when none came."""
    return seconds(stream.number(sc.TIME_TO_FIRST_CHUNK))


def worst_gap(stream: EndedStream) -> str:
    """Return the longest gap between chunks; empty when there was none."""
    return seconds(stream.number(sc.CHUNK_GAP_MAX) or None)


def line(stream: EndedStream) -> str:
    """Return one stream as a line of text."""
    by = origin(stream)
    times = (("first chunk", first_chunk(stream)), ("worst gap", worst_gap(stream)))
    told = [f"{what} {time}" for what, time in times if time]
    why = reason(stream) + (f", by {by}" if by and by != _words.ORIGINS[sc.Origin.UNKNOWN] else "")
    parts = [f"{result(stream)}: {why}", full_name(stream), ", ".join(told)]
    return f"{clock(stream.ended_at)} {'; '.join(filter(None, parts))}"


def as_json(stream: EndedStream) -> str:
    """Return one stream as a line of JSON, in ASCII; attributes by their names in the contract."""
    about: dict[str, Any] = {
        "trace_id": stream.trace_id,
        "span_id": stream.span_id,
        sc.SERVICE_NAME: stream.service,
        "started_at": stream.started_at,
        "ended_at": stream.ended_at,
    }
    return json.dumps({**stream.attributes, **about}, default=str)


def _said(words: Mapping[Any, str], code: str) -> str:
    return words.get(code, code)
