"""Question 2: is there one record of each stream, and does it know how the stream ended?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from otel_streaming.cli.audit.evidence import Way
from otel_streaming.cli.audit.words import EXPORT_HERE, counted, in_words, seconds
from otel_streaming.cli.finding import fail, passed, unknown, warn
from otel_streaming.semconv import Outcome, Terminal

if TYPE_CHECKING:
    from otel_streaming.cli.audit.evidence import Evidence, Read, Record
    from otel_streaming.cli.finding import Finding


def _nothing_heard(e: Evidence) -> Finding | None:
    if e.heard:
        return None
    return unknown(
        "what a service records cannot be seen from outside, and nothing was exported to this audit",
        f"look up the traces of the requests in your own backend, or {EXPORT_HERE}",
    )


def _no_records(e: Evidence) -> Finding | None:
    if e.records:
        return None
    if e.elsewhere:
        return warn(
            f"{counted(e.elsewhere, 'record')} of streams came, none in the trace of a request of this audit",
            "let the trace context (traceparent) pass on the way to the service, or a cut answer leads to no trace",
        )
    if not e.traced or e.hurried:
        return unknown(
            f"something was exported to this audit within {seconds(e.waited)}, none of it "
            "in the trace of a request: another service's, or unsampled, or too early",
            f"{EXPORT_HERE}, let traceparent pass on the way to it, and allow for the time of its exporter (--wait)",
        )
    return fail(
        f"the service exports, and within {seconds(e.waited)} told of none of {counted(len(e.reads), 'stream')}",
        "load the instrumentation of otel_streaming into it; see that traceparent reaches it",
    )


def _record_missing(e: Evidence) -> Finding | None:
    cached = {Way.REPEAT} if e.repeated else set()
    without = [way for way in e.reads if way not in cached and e.record(way) is None]
    if not without:
        return None
    if e.hurried:
        said = f"time was up before the service could tell of {len(without)} of {counted(len(e.reads), 'stream')}"
        return unknown(said, "allow for more time in all (--max-seconds)")
    which = ", ".join(way.words for way in without)
    return fail(
        f"no record came of {len(without)} of {counted(len(e.reads), 'stream')}: {which}",
        "see that the end is recorded whatever ends the stream, also while the producer is still at work, and that "
        "OTEL_PYTHON_STREAMING_SPANS leaves none out",
    )


def _record_double(e: Evidence) -> Finding | None:
    for told in e.records.values():
        service, number = Counter(record.service for record in told).most_common(1)[0]
        if number > 1:
            return fail(
                f"{service or 'a service'} told of one stream {number} times",
                "instrument it once: by the command or by hand, and each mounted application not again",
            )
    return None


def _contradict(read: Read, record: Record) -> bool:
    """Tell whether a record cannot be true: a clean end without an end marker may well be a failure inside."""
    if record.outcome == Outcome.COMPLETED:
        return not read.complete and not read.over
    return read.complete and read.summary.terminal is Terminal.SEEN


def _record_false(e: Evidence) -> Finding | None:
    for way, read in e.reads.items():
        record = e.record(way)
        if record is not None and _contradict(read, record) and not (way is Way.LEAVE and e.sent_before):
            saw = in_words(read.summary.reason) if read.leaving is None else "it left"
            return fail(
                f"of {way.words} the client knows: {saw}; the record says {in_words(record.reason)}",
                "find what ends the answer between the service and here, and let the service know of it",
            )
    return None


def _records_true(e: Evidence) -> Finding:
    return passed(f"{counted(len(e.reads), 'stream')}, one record of each, with the end that the client saw")


RECORD = (_nothing_heard, _no_records, _record_missing, _record_double, _record_false, _records_true)
