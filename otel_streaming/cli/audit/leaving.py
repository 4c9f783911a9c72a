"""Questions 1 and 5: a client leaves at half way. Who notices, and does the work for it stop?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_streaming.cli.audit.evidence import Way
from otel_streaming.cli.audit.words import EXPORT_HERE, counted, in_words, seconds
from otel_streaming.cli.finding import fail, passed, unknown, warn
from otel_streaming.semconv import Outcome

if TYPE_CHECKING:
    from otel_streaming.cli.audit.evidence import Evidence, Leaving, Record
    from otel_streaming.cli.finding import Finding

PROMPT = 2.0
"""Seconds within which a departure is noticed, and the work for it stopped, by a service that listens for it."""
ENOUGH = 0.2
"""Seconds of listening after the FIN from which something follows."""
ALL = 0.9
"""The share of an answer that counts as all of it: no two answers are alike."""
_LISTEN = "listen for the disconnect while waiting for the producer, or write keep-alives: a write finds out"
_STOP = (
    "stop the producer when the client has gone: let the server's cancellation through, close the call to the model, "
    "check for the disconnect in a loop that never waits"
)


def _not_left(e: Evidence) -> Finding | None:
    if e.left is not None:
        return None
    more = "allow for it (--yes, --max-requests, --max-seconds), or ask for a longer answer"
    return unknown(f"no stream was left at half way: {e.why(Way.LEAVE)}", more)


# -- noticed? -------------------------------------------------------------------------------------------------


def _hidden(e: Evidence) -> Finding | None:
    record = e.record(Way.LEAVE)
    if record is None or record.outcome != Outcome.COMPLETED:
        return None
    return fail(
        f"the client left at half way, and the service recorded the stream as {in_words(record.reason)}",
        "find what stands between and takes the answer in the client's place (a buffering proxy), or the server that "
        "does not listen; let it hand the departure on",
    )


def _noticed(e: Evidence) -> Finding | None:
    record = e.record(Way.LEAVE)
    if record is None or e.left is None:
        return None
    if record.gone_at is None:
        return warn(
            f"the stream that the client left was recorded as {in_words(record.reason)}, not as left",
            "tell a departure from a failure: the application may swallow the server's signal",
        )
    lag = _lag(e.left[1], record.gone_at)
    said = f"the service noticed the departure after {seconds(lag)}, and recorded: {in_words(record.reason)}"
    return warn(said, _LISTEN) if lag > PROMPT else passed(said)


def _lag(leaving: Leaving, gone_at: float) -> float:
    """Return the time to the notice: from the close, where the FIN told nothing; clocks may differ a little."""
    closed_at = leaving.closed_at
    since = closed_at if closed_at is not None and gone_at >= closed_at else leaving.sent_at
    return max(0.0, gone_at - since)


def _unrecorded(e: Evidence) -> Finding | None:
    if not e.untold(Way.LEAVE):
        return None
    return fail(
        f"the client left at half way, and the service, waited for {seconds(e.waited)}, told nothing of it",
        "see whether it still works for it (the last question), and record the end whatever ends the stream",
    )


def _seen(e: Evidence) -> Finding | None:
    if e.left is None:
        return None
    read, leaving = e.left
    after = read.seconds - leaving.at
    if leaving.closed_at is None:
        said = f"whoever answers at this address ended the connection {seconds(after)} after the client's FIN"
        return warn(said, _LISTEN) if after > PROMPT else passed(said)
    said = f"nothing reacted to the client's FIN within {seconds(after)}"
    if after < ENOUGH:
        return unknown(f"{said}, which is no time", "ask for a longer answer")
    return warn(
        f"{said}; what a later write finds out is not seen from outside",
        f"watch the connection while it streams; {EXPORT_HERE} to know what is noticed",
    )


# -- stopped? -------------------------------------------------------------------------------------------------


def _ran_to_the_end(e: Evidence) -> Finding | None:
    record, whole = e.record(Way.LEAVE), e.record(Way.WHOLE)
    if record is None:
        return None
    made = record.chunks + record.abandoned_chunks
    everything = whole is not None and record.abandoned_chunks > 1 and made >= ALL * whole.chunks
    if not everything and record.outcome != Outcome.COMPLETED:
        return None
    return fail(f"generation ran to its end for a client that had left ({_wasted(record, e)})", _STOP)


def _wasted(record: Record, e: Evidence) -> str:
    """Say what was made for nobody; where the service knew of no departure, how much of it the client had."""
    if record.gone_at is None:
        had = sum(arrival.progress for arrival in e.reads[Way.LEAVE].arrivals)
        return f"{counted(record.chunks, 'chunk')} made, {counted(had, 'piece')} received"
    return (
        f"wasted: {seconds(record.abandoned_seconds)}, {counted(record.abandoned_chunks, 'chunk')}, "
        f"{counted(record.abandoned_size, 'byte')}"
    )


def _stopped(e: Evidence) -> Finding | None:
    record = e.record(Way.LEAVE)
    if record is None:
        return None
    if record.abandoned_seconds <= PROMPT:
        said = "the response's work stopped when the service had noticed"
        return passed(f"{said} ({_wasted(record, e)}); a task apart from the response would not show")
    said = "the response's work stopped only a while after the service had noticed"
    return warn(f"{said} ({_wasted(record, e)})", _STOP)


def _works_on(e: Evidence) -> Finding | None:
    if not e.untold(Way.LEAVE):
        return None
    said = f"{seconds(e.waited)} after the last request, no end of the stream that was left had been told"
    return fail(said, f"{_STOP}; or unset OTEL_PYTHON_STREAMING_SPANS, if it leaves spans out")


def _went_on(e: Evidence) -> Finding | None:
    if e.left is None or e.left[1].closed_at is None or not e.left[1].heard:
        return None
    read, leaving = e.left
    wasted = f"{seconds(read.seconds - leaving.at)}, {counted(leaving.heard, 'piece')}, {counted(leaving.size, 'byte')}"
    return warn(f"the answer went on after the client's FIN (at least: {wasted})", _STOP)


def _behind(_: Evidence) -> Finding:
    said = "whether the work behind a closed connection stops cannot be seen from outside"
    return unknown(said, f"{EXPORT_HERE} to know")


DROP = (_not_left, _hidden, _noticed, _unrecorded, _seen)
CANCEL = (_not_left, _ran_to_the_end, _stopped, _works_on, _went_on, _behind)
