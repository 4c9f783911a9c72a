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
from otel_streaming.semconv import Outcome

if TYPE_CHECKING:
    from otel_streaming.cli.audit.evidence import Evidence


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
    return Answer(
        FAIL,
        f"the service exports, and within {seconds(e.waited)} told of none of {counted(len(e.reads), 'stream')}",
        "load the instrumentation of otel_streaming into it; see that traceparent reaches it",
    )


def _record_missing(e: Evidence) -> Answer | None:
    without = [way for way in e.reads if way is not Way.REPEAT and e.record(way) is None]  # a cache may have answered
    if not without:
        return None
    which = ", ".join(way.words for way in without)
    return Answer(
        FAIL,
        f"no record came of {len(without)} of {counted(len(e.reads), 'stream')}: {which}",
        "see that the end is recorded whatever ends the stream, also while the producer is still at work",
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


def _record_false(e: Evidence) -> Answer | None:
    for way, read in e.reads.items():
        record = e.record(way)
        if record is not None and read.complete != (record.outcome == Outcome.COMPLETED) and not read.over:
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
