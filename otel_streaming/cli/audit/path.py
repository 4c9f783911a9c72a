"""Question 3: what does the path do to a stream? Caches and buffers, by headers, arrivals and a repeated call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_streaming.cli.audit.evidence import Way
from otel_streaming.cli.audit.words import counted, seconds
from otel_streaming.cli.finding import fail, passed, unknown, warn
from otel_streaming.semconv import Cache

if TYPE_CHECKING:
    from otel_streaming.cli.audit.evidence import Evidence
    from otel_streaming.cli.finding import Finding


_HELD = 1.0
"""Seconds that a chunk is held back, or that nothing comes before all does, from which it is no network's delay."""
_BRIEF = 0.5
"""Seconds under which nothing follows from how long an answer took, or from how far its portions are apart."""
_FEW = 5
_CROWD = 10
_AT_ONCE = 0.002
"""Seconds an event takes at least where one after the other is made, as models do."""
_REPLAYED = 0.2
_CACHING = "let no cache keep the answer: Cache-Control: no-store, and none of the path configured to"
_HOLDING = (
    "turn buffering off on the path (nginx: proxy_buffering off, or X-Accel-Buffering: no from the service; "
    "compression as well), and see that the service writes each event when it has it"
)


def _cache_hit(e: Evidence) -> Finding | None:
    for read in e.reads.values():
        if read.cache is Cache.HIT:
            return fail(f"the headers of {read.way.words} say that a cache has answered", _CACHING)
    return None


def _unserved(e: Evidence) -> Finding | None:
    if not (e.repeated and e.untold(Way.REPEAT) and e.record(Way.WHOLE)):
        return None
    return fail("the repeated call was answered, and the service knows nothing of it: a cache did", _CACHING)


def _replayed(e: Evidence) -> Finding | None:
    whole, again = e.reads[Way.WHOLE], e.reads.get(Way.REPEAT)
    if again is None or not e.repeated or not whole.complete or whole.seconds < _BRIEF:
        return None
    if again.seconds > _REPLAYED * whole.seconds:
        return None
    took = f"{seconds(whole.seconds)}, then {seconds(again.seconds)}"
    return fail(f"the repeated call brought the same bytes in a fraction of the time ({took})", _CACHING)


def _held_back(e: Evidence) -> Finding | None:
    read, record = e.reads[Way.WHOLE], e.record(Way.WHOLE)
    if record is None or record.first is None or read.first is None:
        return None
    held = read.first - record.first
    if held < _HELD:
        return None
    return fail(
        f"the service sent its first chunk after {seconds(record.first)}, and it came {seconds(held)} later",
        _HOLDING,
    )


def _burst(e: Evidence) -> Finding | None:
    read = e.reads[Way.WHOLE]
    if read.first is None or read.first < _HELD or read.spread > read.first / _CROWD:
        return None
    if not read.encoded and (read.events < _FEW or read.spread > _AT_ONCE * read.events):
        return None
    what = "all of it" if read.encoded else counted(read.events, "event")
    said = f"{what} came within {seconds(read.spread)} after {seconds(read.first)} of nothing"
    record = e.record(Way.WHOLE)
    if record is not None and record.first is not None and read.first - record.first < read.first / _CROWD:
        return warn(f"{said}: the service sent it so", "see that the service writes each event when it has it")
    return fail(f"{said}: held back, or made at once", _HOLDING)


def _portions(e: Evidence) -> Finding | None:
    read = e.reads[Way.WHOLE]
    pieces = len({round(arrival.at, 2) for arrival in read.arrivals if arrival.progress})
    if pieces < 2 or read.events < _CROWD * pieces or read.spread / (pieces - 1) < _BRIEF:
        return None
    return warn(
        f"{counted(read.events, 'event')} came in {pieces} portions, {seconds(read.spread / (pieces - 1))} apart",
        _HOLDING,
    )


def _encoded(e: Evidence) -> Finding | None:
    if not e.reads[Way.WHOLE].encoded:
        return None
    return warn("the answer is compressed, and compressors hold back what is small", "leave streams uncompressed")


_KEPT_OUT = ("no-store", "no-cache", "private")


def _cacheable(e: Evidence) -> Finding | None:
    control = e.reads[Way.WHOLE].control
    if e.method != "GET" or any(word in control for word in _KEPT_OUT):
        return None
    return warn(
        "nothing in the headers forbids a cache to keep this answer (RFC 9111, section 4.2.2)",
        "send Cache-Control: no-store with the stream",
    )


def _few_events(e: Evidence) -> Finding | None:
    read = e.reads[Way.WHOLE]
    if read.events >= _FEW and read.spread > 0:
        return None
    return unknown(f"{counted(read.events, 'event')}: too few to see how they travel", "ask for a longer answer")


def _streams(e: Evidence) -> Finding:
    read = e.reads[Way.WHOLE]
    again = "a repeated call took its time" if Way.REPEAT in e.reads else f"not repeated: {e.why(Way.REPEAT)}"
    return passed(f"{counted(read.events, 'event')} came over {seconds(read.spread)}, no cache in the headers; {again}")


PATH = (
    *(_cache_hit, _unserved, _replayed, _held_back, _burst, _portions, _encoded, _cacheable, _few_events),
    _streams,
)
