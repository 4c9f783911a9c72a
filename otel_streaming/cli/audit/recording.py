"""Question 2: is there one record of each stream, and does it know how the stream ended?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from otel_streaming.cli.audit.evidence import Way
from otel_streaming.cli.audit.verdicts import (
    EXPORT_HERE,
    FAIL,
    PASS,
    UNKNOWN,
    WARN,
    Answer,
    counted,
    in_words,
    seconds,
)
from otel_streaming.semconv import Outcome, Terminal

if TYPE_CHECKING:
    from otel_streaming.cli.audit.evidence import Evidence, Read, Record


def _nothing_heard(e: Evidence) -> Answer | None:
    if e.heard:
        return None
    return Answer(
        UNKNOWN,
        "what a service records cannot be seen from outside, and nothing was exported to this audit",
        f"look up the traces of the requests in your own backend, or {EXPORT_HERE}",
    )


def _no_records(e: Evidence) -> Answer | None:
    if e.records:
        return None
    if e.elsewhere:
        return Answer(
            WARN,
            f"{counted(e.elsewhere, 'record')} of streams came, none in the trace of a request of this audit",
            "let the trace context (traceparent) pass on the way to the service, or a cut answer leads to no trace",
        )
    if not e.traced or e.hurried:
        return Answer(
            UNKNOWN,
            f"something was exported to this audit within {seconds(e.waited)}, none of it "
            "in the trace of a request: another service's, or unsampled, or too early",
            f"{EXPORT_HERE}, let traceparent pass on the way to it, and allow for the time of its exporter (--wait)",
        )
    return Answer(
        FAIL,
        f"the service exports, and within {seconds(e.waited)} told of none of {counted(len(e.reads), 'stream')}",
        "load the instrumentation of otel_streaming into it; see that traceparent reaches it",
    )


def _record_missing(e: Evidence) -> Answer | None:
    cached = {Way.REPEAT} if e.repeated else set()
    without = [way for way in e.reads if way not in cached and e.record(way) is None]
    if not without:
        return None
    if e.hurried:
        said = f"time was up before the service could tell of {len(without)} of {counted(len(e.reads), 'stream')}"
        return Answer(UNKNOWN, said, "allow for more time in all (--max-seconds)")
    which = ", ".join(way.words for way in without)
    return Answer(
        FAIL,
        f"no record came of {len(without)} of {counted(len(e.reads), 'stream')}: {which}",
        "see that the end is recorded whatever ends the stream, also while the producer is still at work, and that "
        "OTEL_PYTHON_STREAMING_SPANS leaves none out",
    )


def _record_double(e: Evidence) -> Answer | None:
    for told in e.records.values():
        service, number = Counter(record.service for record in told).most_common(1)[0]
        if number > 1:
            return Answer(
                FAIL,
                f"{service or 'a service'} told of one stream {number} times",
                "instrument it once: by the command or by hand, and each mounted application not again",
            )
    return None


def _contradict(read: Read, record: Record) -> bool:
    """Tell whether a record cannot be true: a clean end without an end marker may well be a failure inside."""
    if record.outcome == Outcome.COMPLETED:
        return not read.complete and not read.over
    return read.complete and read.summary.terminal is Terminal.SEEN


def _record_false(e: Evidence) -> Answer | None:
    for way, read in e.reads.items():
        record = e.record(way)
        if record is not None and _contradict(read, record) and not (way is Way.LEAVE and e.sent_before):
            saw = in_words(read.summary.reason) if read.leaving is None else "it left"
            return Answer(
                FAIL,
                f"of {way.words} the client knows: {saw}; the record says {in_words(record.reason)}",
                "find what ends the answer between the service and here, and let the service know of it",
            )
    return None


def _records_true(e: Evidence) -> Answer:
    return Answer(PASS, f"{counted(len(e.reads), 'stream')}, one record of each, with the end that the client saw")


RECORD = (_nothing_heard, _no_records, _record_missing, _record_double, _record_false, _records_true)
