"""What the incident leaves out: services that differ in what they report, for half an hour, of which half is asked for.

Their streams end as those of the incident do; the failures all end shortly before its end.
"""

import time
from collections import Counter
from dataclasses import dataclass, field

from dashboards import queries
from dashboards.incident import FATES
from dashboards.incident.samples import MINUTE, Samples
from dashboards.incident.series import labels_of, verdict
from dashboards.incident.table import Line
from otel_streaming import semconv as sc
from otel_streaming.semconv import Dialect, Protocol, Result, State

MINUTES, FLAT, EARLY, LATE, SILENCED = 30, 1, 20, 28, 22
"""How long it lasts, and what ends when: long before what is asked for, in it, at its end; then one falls silent."""
END = int(time.time()) // 3600 * 3600 - MINUTE
"""Recent, or Prometheus would throw it away; within one hour, so that blocks are whole."""
START = END - MINUTES * MINUTE


@dataclass(frozen=True)
class Service:
    """Streams by fate, as its processes count them and as its spans tell them: None where that is off."""

    ledger: dict | None
    spans: dict | None
    own: dict = field(default_factory=dict)
    """Labels that its counts from spans have besides."""
    at: tuple = (EARLY, LATE)
    """When good and bad streams end."""
    open: dict = field(default_factory=dict)

    @property
    def streams(self):
        """What the dashboards must believe: the ledger, where there is one."""
        return Counter(self.spans if self.ledger is None else self.ledger)


MIXED = {"ok": 800, "ok after a stall": 40, "no end marker": 12, "exception": 6, "5xx": 3, "gave up": 20, "left": 30}
FEW = {"ok": 500, "blank": 10, "masked by a clean end": 8, "no end marker": 2}
BAD = {fate: number for fate, number in FEW.items() if FATES[fate].result in {Result.SILENT, Result.LOUD}}
SERVICES = {
    "both": Service(MIXED, MIXED, open={State.FLOWING: 5, State.STALLED: 2}),
    "older": Service(None, {"ok": 600, "ok after a stall": 6, "blank": 2, "5xx": 4}),
    "off": Service({"ok": 50, "no end marker": 2}, None),
    "bad only": Service(FEW, BAD, at=(LATE, LATE)),
    "lossy": Service({"ok": 500, "exception": 20}, {"ok": 480, "exception": 10}),
    "inside": Service(FEW, {**FEW, "no end marker": 1}, {sc.PROCESS_ID.label: "inside-1"}),
    "twice": Service(FEW, {fate: 2 * number for fate, number in FEW.items()}),
    "blended": Service({"ok": 300}, {"ok": 400, "exception": 30}),
    "healthy": Service({"ok": 300}, {"ok": 300}, open={State.FLOWING: 3}),
    "flat": Service({"ok": 40, "no end marker": 7}, {"ok": 40, "no end marker": 7}, at=(FLAT, FLAT)),
    "leavers": Service({"left": 3, "gave up": 1}, {"left": 3, "gave up": 1}),
    "silenced": Service({"ok": 10}, {"ok": 10}, open={State.FLOWING: 4, State.STALLED: 4}),
}
"""By what is special about it: SPANS off, bad; METRICS=all; two deriving collectors; an older release beside."""
STOCK = {"healthy": (1990, 10), "web": (50, 50)}
"""Requests that the stock instrumentation counts as 200 and as 503; the second service streams nothing."""
ROUTE = "/stream"


def share(parts, wholes, *names):
    """What a tile must show for these services."""
    total = sum((SERVICES[name].streams for name in names), Counter())
    return of(total, parts) / of(total, wholes)


def of(streams, results):
    """Streams of some results, or that are whatever a function says of their fate."""
    holds = results if callable(results) else lambda fate: fate.result in results
    return sum(number for fate, number in streams.items() if holds(FATES[fate]))


def samples():
    """All of it, as Prometheus would have stored it."""
    stored = Samples()
    for minute in range(MINUTES + 1):
        for name, service in SERVICES.items():
            _end(stored, name, service, minute)
        for name, counts in STOCK.items():
            for status, count in zip(("200", "503"), counts, strict=True):
                labels = (("service_name", name), ("http_target", ROUTE), ("http_status_code", status))
                stored.count(queries.STOCK_HTTP[0][0], labels, count * (minute == EARLY))
        stored.scrape(minute, dict(_open()), {"silenced-1"} if minute > SILENCED else ())
    return stored


def _end(stored, name, service, minute):
    line, process = Line(name, ROUTE, Protocol.SSE, Dialect.NONE, {}), {sc.PROCESS_ID.label: f"{name}-1"}
    for metric, streams, own in (
        (sc.LEDGER_ENDED, service.ledger, process),
        (sc.ENDED, service.spans, service.own),
    ):
        for fate, number in (streams or {}).items():
            bad = FATES[fate].result in {Result.SILENT, Result.LOUD}
            labels = labels_of(metric, line, **verdict(FATES[fate]))
            if minute >= service.at[bad]:
                stored.count(metric.prometheus, (*labels, *own.items()), number * (minute == service.at[bad]))


def _open():
    for name, service in SERVICES.items():
        line = Line(name, ROUTE, Protocol.SSE, Dialect.NONE, {})
        for state, number in service.open.items():
            own = {sc.STATE.label: state, sc.PROCESS_ID.label: f"{name}-1"}
            yield (sc.ACTIVE.prometheus, labels_of(sc.ACTIVE, line, **own)), number
