"""What the incident leaves out: services without spans, without traffic, without any stream that could fail.

A quarter of an hour of them as Prometheus would have stored it, the failures all in its last minutes.
"""

import itertools
import time
from collections import Counter

from otel_streaming import semconv
from otel_streaming.semconv import Kind, Outcome, Phase, Protocol, Reason, Result, Role, State

SCRAPE, MINUTE = 15, 60
END = int(time.time()) // 3600 * 3600 - MINUTE
"""An hour's last minute, so that blocks are whole; recent, or Prometheus would throw them away."""
BEGIN = END - 15 * MINUTE

FATES = {
    "ok": (Result.OK, Outcome.COMPLETED, Reason.COMPLETED, Phase.AFTER_TERMINAL, "false"),
    "stalled": (Result.OK, Outcome.COMPLETED, Reason.COMPLETED, Phase.AFTER_TERMINAL, "true"),
    "cut": (Result.SILENT, Outcome.TRUNCATED, Reason.MISSING_TERMINAL, Phase.MID_STREAM, "false"),
    "blank": (Result.SILENT, Outcome.TRUNCATED, Reason.CONNECTION_LOST, Phase.BEFORE_FIRST_CHUNK, "false"),
    "raised": (Result.SILENT, Outcome.FAILED, Reason.PRODUCER_ERROR, Phase.MID_STREAM, "false"),
    "5xx": (Result.LOUD, Outcome.FAILED, Reason.HTTP_5XX, Phase.BEFORE_HEADERS, "false"),
    "gave up": (Result.GAVE_UP, Outcome.CANCELLED, Reason.CLIENT_DISCONNECT, Phase.BEFORE_FIRST_CHUNK, "false"),
    "left": (Result.CANCELLED, Outcome.CANCELLED, Reason.CLIENT_DISCONNECT, Phase.MID_STREAM, "false"),
}
SILENT, LOUD = ("cut", "blank", "raised"), ("5xx",)
ELIGIBLE = ("ok", "stalled", *SILENT, *LOUD)

STREAMS = {
    ("chat", "/v1/chat"): {"ok": 900, "stalled": 40, "cut": 12, "raised": 3, "5xx": 3, "gave up": 20, "left": 30},
    ("chat", "/v1/agents/{id}/run"): {"ok": 200, "cut": 9, "blank": 3, "5xx": 1, "left": 4},
    ("search", "/answer"): {"ok": 600, "stalled": 6, "blank": 2, "5xx": 4},
    ("batch", "/nightly"): {"ok": 50, "cut": 2},
    ("export", "/report"): {"ok": 300},
    ("quiet", "/rare"): {},
    ("moody", "/chat"): {"left": 3, "gave up": 1},
}
LEDGER = {"chat", "batch", "export", "quiet", "moody"}  # search is an older release, known by its spans only
SPANS = {"chat", "search", "export", "quiet", "moody"}  # batch has its spans switched off
PROCESSES = ((BEGIN + MINUTE, END), (BEGIN + MINUTE, END - 8 * MINUTE), (END - 7 * MINUTE, END))
"""From and to: the second one was killed, the third replaces it."""
STOCK = {"chat": (1990, 10), "web": (50, 50)}  # requests answered with 200 and with 503; web streams nothing
ACTIVE = {("chat", State.FLOWING): 5, ("chat", State.STALLED): 2, ("export", State.FLOWING): 3}


def share(parts, wholes, chosen=STREAMS):
    """What a tile must show for these services and routes."""
    total = sum((Counter(STREAMS[key]) for key in chosen), Counter())
    return sum(total[part] for part in parts) / sum(total[whole] for whole in wholes)


def openmetrics():
    """The whole incident in the format that ``promtool tsdb create-blocks-from`` reads."""
    families = {}
    for name, labels, samples in itertools.chain(_streams(), _stock(), _gauges()):
        families.setdefault(name, []).append((labels, samples))
    for name, series in families.items():
        yield f"# TYPE {name} unknown"
        for labels, samples in series:
            text = ",".join(f'{label}="{value}"' for label, value in labels.items())
            yield from (f"{name}{{{text}}} {value} {at}" for at, value in samples)
    yield "# EOF\n"


def _streams():
    for (service, route), fates in STREAMS.items():
        where = {"service_name": service, "http_route": route, "stream_protocol": Protocol.SSE}
        shape = where | {"stream_role": Role.SERVER, "stream_kind": Kind.BOUNDED}
        counted = {}  # the ledger knows no reason: what differs in nothing else is one series
        for fate, count in (fates or {"ok": 0}).items():
            result, outcome, reason, phase, stalled = FATES[fate]
            verdict = {"stream_result": result, "stream_outcome": outcome, "stream_stalled": stalled}
            ends = _ends(fate, count)
            counted.setdefault(tuple(verdict.items()), []).extend(ends)
            if service in SPANS:
                labels = {**shape, **verdict, "stream_reason": reason, "stream_phase": phase}
                yield semconv.ENDED.prometheus, labels, _counter(ends, BEGIN + MINUTE, END)
        for verdict, ends in counted.items() if service in LEDGER else ():
            for number, (first, last) in enumerate(PROCESSES):
                labels = {**shape, **dict(verdict), "stream_process_id": f"{service}-{number}"}
                yield semconv.LEDGER_ENDED.prometheus, labels, _counter(ends[number :: len(PROCESSES)], first, last)


def _ends(fate, count):
    """When they ended: the good ones all the time, the bad ones in a burst just before the end."""
    first = BEGIN + 2 * MINUTE if fate == "ok" else END - 3 * MINUTE
    return [first + (END - MINUTE - first) * index / max(count, 1) for index in range(count)]


def _counter(ends, first, last):
    """Scrapes of a process that reports a series from its first event on: 0 at first, then the count.

    A process that is no more counts nothing: what is meant to have ended later ended just before.
    """
    ends = [min(max(end, first), last - 2 * SCRAPE) for end in ends]
    times = [at for at in range(BEGIN - 5 * MINUTE, END + 1, SCRAPE) if min(ends, default=first) <= at <= last]
    return [(at, sum(end <= at for end in ends) if index else 0) for index, at in enumerate(times)]


def _stock():
    for service, counts in STOCK.items():
        for status, count in zip(("200", "503"), counts, strict=True):
            labels = {"service_name": service, "http_status_code": status, "http_target": "/v1/chat"}
            yield "http_server_duration_milliseconds_count", labels, _counter(_ends("ok", count), BEGIN + MINUTE, END)


def _gauges():
    always = range(BEGIN, END + 1, SCRAPE)
    process = {"service_name": "chat", "stream_role": Role.SERVER, "http_route": "/v1/chat", "stream_process_id": "1"}
    for (service, state), count in ACTIVE.items():
        labels = {**process, "service_name": service, "stream_protocol": Protocol.SSE, "stream_state": state}
        yield semconv.ACTIVE.prometheus, labels, [(at, count) for at in always]
