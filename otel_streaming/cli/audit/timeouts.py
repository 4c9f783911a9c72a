"""Question 4: which time-outs does a stream meet? Silences, keep-alives, and what cuts a long one."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from otel_streaming.cli.audit.evidence import Way
from otel_streaming.cli.audit.words import counted, in_words, seconds
from otel_streaming.cli.finding import fail, passed, unknown, warn
from otel_streaming.semconv import Reason

if TYPE_CHECKING:
    from otel_streaming.cli.audit.evidence import Evidence, Read, Record
    from otel_streaming.cli.finding import Finding

_SAME = 0.1
"""Times that differ by less than this share of them are one limit."""
_JITTER = 0.3
_NOT_ITS_OWN = {Reason.CLIENT_DISCONNECT, Reason.COMPLETED, Reason.MISSING_TERMINAL}
"""What a service records of a cut that it did not make, or does not know the cause of."""
_IDLE = 1.5
"""How much longer than any silence before a silence is that ends in a cut because of it."""


def _cut(e: Evidence) -> Finding | None:
    cuts = [read for read in e.reads.values() if read.cut]
    if not cuts:
        return None
    kind = _kind(cuts)
    times = [read.silences[-1] if kind is _Cut.SILENCE else read.seconds for read in cuts]
    said = ", ".join(map(seconds, times))
    record = next((record for read in cuts if (record := e.record(read.way))), None)
    if record is not None and record.reason not in _NOT_ITS_OWN:
        text = f"{kind.text.format(said)}; the service recorded: {in_words(record.reason)}"
        return fail(text, "find why in its log, or in the traces named here")
    seen = "" if record is None else _seen(record)
    return fail(f"{kind.text.format(said)} ({_limit(e, cuts, kind, times)}){seen}", kind.advice)


def _limit(e: Evidence, cuts: list[Read], kind: _Cut, times: list[float]) -> str:
    """Say what the cuts have in common."""
    if len(cuts) > 1:
        alike = max(times) - min(times) <= max(_SAME * max(times), _JITTER)
        return kind.limit if alike else "not at one time: no limit, but whoever makes or carries it"
    slow = "; a slow reader, for whom some lay in buffers: the limit may be lower" if Way.SLOW is cuts[0].way else ""
    return f"once, of {counted(len(e.reads), 'read')}{slow}"


def _seen(record: Record) -> str:
    between = ", so something in between did it" if record.reason == Reason.CLIENT_DISCONNECT else ""
    return f"; the service recorded: {in_words(record.reason)}{between}"


class _Cut(Enum):
    """What kind of limit the cuts look like: how it is told, what it would be, what to do."""

    SILENCE = (
        "cut off after {} of silence",
        "silence is tolerated no longer",
        "write a keep-alive (an SSE comment) more often than that, or raise the path's read time-out for streams",
    )
    CLEAN = (
        "ended without its end marker after {}",
        "each time",
        "look for what ends it early and in good order (code, the call to the model); if it is whole, send the marker",
    )
    AGE = (
        "cut off after {}",
        "at one age, as by a limit on the whole",
        "find the limit of this length (proxy, load balancer, server, the call to the model), and give streams more",
    )

    def __init__(self, text: str, limit: str, advice: str) -> None:
        self.text, self.limit, self.advice = text, limit, advice


def _kind(cuts: list[Read]) -> _Cut:
    if all(read.silences[-1] > _IDLE * max(read.silences[:-1], default=0.0) for read in cuts):
        return _Cut.SILENCE
    return _Cut.CLEAN if all(read.summary.reason is Reason.MISSING_TERMINAL for read in cuts) else _Cut.AGE


def _ended_badly(e: Evidence) -> Finding | None:
    stayed = [read for read in e.reads.values() if read.leaving is None]
    bad = [read for read in stayed if read.summary.bad]
    if not bad:
        return None
    said = f"{counted(len(bad), 'stream')} of {len(stayed)} ended as {in_words(bad[0].summary.reason)}"
    advice = "mend that first: the service's log, or the traces named here, tell more"
    return (fail if bad == stayed else warn)(f"{said} after {seconds(bad[0].seconds)}", advice)


def _silent(e: Evidence) -> Finding | None:
    longest = max(max(read.silences) for read in e.reads.values() if read.way is not Way.SLOW)
    if longest <= e.silence:
        return None
    return warn(
        f"{seconds(longest)} without a byte, and no keep-alive; nothing cut it here",
        f"write a keep-alive (an SSE comment) at least every {seconds(e.silence)}: proxies' usual limit is 60 s",
    )


def _lasted(e: Evidence) -> Finding:
    longest = max(read.seconds for read in e.reads.values() if read.way is not Way.SLOW)
    silence = max(max(read.silences) for read in e.reads.values() if read.way is not Way.SLOW)
    alive = counted(e.reads[Way.WHOLE].summary.keepalives, "keep-alive")
    said = f"longest silence {seconds(silence)}, {alive}; no limit up to {seconds(longest)}"
    if longest >= e.longest:
        return passed(said)
    slow = "" if Way.SLOW not in e.reads else f"; a slow reader was served for {seconds(e.reads[Way.SLOW].seconds)}"
    return unknown(
        f"{said}, where the stream ended by itself{slow}",
        f"ask for an answer that lasts {seconds(e.longest)} to find a limit below that (--long)",
    )


TIMEOUTS = (_cut, _ended_badly, _silent, _lasted)
