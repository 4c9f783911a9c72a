"""The PromQL of the telemetry itself: what vanished, what was lost on the way, what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards import measures as m
from dashboards import queries as q
from dashboards.queries import RANGE, STEP, Window
from otel_streaming import semconv
from otel_streaming.semconv import OTHER, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

OVERFLOW = "otel_metric_overflow"
"""The label of the one series into which an SDK or the collector folds whatever is too much."""
FOLDED = f'{OVERFLOW}="true"'
"""Matcher of that series: of its streams only the service is known."""

COLLECTOR = {
    # The collector's own metrics, as it exposes them: its counters have no suffix.
    "accepted": "otelcol_receiver_accepted_spans",
    "refused": "otelcol_receiver_refused_spans",
    "sent": "otelcol_exporter_sent_metric_points",
    "failed": "otelcol_exporter_send_failed_metric_points",
    "dropped": "otelcol_exporter_enqueue_failed_metric_points",
    "queue": "otelcol_exporter_queue_size",
    "capacity": "otelcol_exporter_queue_capacity",
}


def _ledger(metric: semconv.Metric, window: Window) -> str:
    return q.total(window.read_ledger(q.select(metric, kind=None)))


def started(window: Window) -> str:
    """Streams that began, of every kind."""
    return _ledger(semconv.LEDGER_STARTED, window)


def ended(window: Window) -> str:
    """Streams that ended, of every kind."""
    return _ledger(semconv.LEDGER_ENDED, window)


def vanished() -> str:
    """Streams that began, did not end and are not open: nobody knows what became of them.

    What is open more (or less) than when the range began is neither.
    """
    now = m.open_streams()
    before = q.total(f"{q.select(semconv.ACTIVE, kind=None)} offset {RANGE.value}")
    began, finished = (_since_then(metric) for metric in (semconv.LEDGER_STARTED, semconv.LEDGER_ENDED))
    return f"{began} - ({finished} or vector(0))\n- (({now} or vector(0)) - ({before} or vector(0)))"


def _since_then(metric: semconv.Metric) -> str:
    """Growth since the very moment at which the range begins, the one for which open streams are asked as well."""
    series = q.select(metric, kind=None)
    last = f"max_over_time({series}[{RANGE.value}])"
    return q.total(f"{last} - ({series} offset {RANGE.value} or 0 * {last})")


NOT_BY_THE_PROCESS = f'{semconv.PROCESS_ID.label}=""'
"""Matcher: counted from spans. With ``METRICS=all`` the process counts these itself, and is no second witness."""


def lost(window: Window, by: tuple[str, ...] = ()) -> str:
    """Share of the failures in the ledger that the spans do not tell."""
    ledger, spans = _witnesses(window)
    return _beyond(ledger, spans, by)


def told_twice(window: Window, by: tuple[str, ...] = ()) -> str:
    """Share of the failures told by spans that are not in the ledger; it offsets no loss elsewhere."""
    ledger, spans = _witnesses(window)
    return _beyond(spans, ledger, by)


def _witnesses(window: Window) -> list[str]:
    """Failures by service, as each of the two counts them: 0 where it knows the service and no failure of it.

    Failures only: healthy streams may be left out on purpose, failures never are. Served streams only: of those that a
    service reads, spans of other instrumentations may tell. Both are read as the ledger is: a collector's series begins
    at 0, and each collector has its own.
    """
    return [
        f"({_by_service(metric, window, q.BAD, *own)} or 0 * {_by_service(metric, window, *own)})"
        for metric, *own in ((semconv.LEDGER_ENDED,), (semconv.ENDED, NOT_BY_THE_PROCESS))
    ]


def _by_service(metric: semconv.Metric, window: Window, *which: str) -> str:
    return q.total(window.read_ledger(q.select(metric, ",".join(which), kind=None)), (q.SERVICE,))


def _beyond(one: str, other: str, by: tuple[str, ...]) -> str:
    """Share of what one says that the other does not, of the services that both know."""
    more, both = q.total(f"clamp_min({one} - {other}, 0)", by), q.total(f"{one} + 0 * {other}", by)
    return f"{more}\n/ ({both} > 0)"


def unknown(window: Window, by: tuple[str, ...] = ()) -> str:
    """Share of streams of which nobody can say how they ended."""
    return q.share(q.count(q.UNKNOWN, window, by), q.count(q.ANY, window, by), by)


def _all_of(metrics: Iterable[semconv.Metric], which: str = f'{q.SERVICE}=~"$service"') -> str:
    names = "|".join(one.prometheus + ("_bucket" if one.instrument == "histogram" else "") for one in metrics)
    return f'{{__name__=~"{names}",{which}}}'


def series() -> str:
    """Series of ours, by metric."""
    return f"count by (__name__) ({_all_of(semconv.METRICS)})"


def overflowing() -> str:
    """Series into which others were folded because there were too many; 0 where anybody reports."""
    folded, reported = _all_of(semconv.METRICS, FOLDED), _all_of((semconv.LEDGER_STARTED, semconv.ENDED))
    return f"count({folded}) or 0 * count({reported})"


def folded_routes() -> str:
    """Share of streams whose route is one too many and has no name any more."""
    other = f'{q.ROUTE}="{OTHER}"'
    return q.share(q.count(other, RANGE), q.count(q.ANY, RANGE))


def processes(by: tuple[str, ...] = (q.SERVICE,)) -> str:
    """Processes that report, by service."""
    each = f"count by ({q.SERVICE}, {semconv.PROCESS_ID.label}) ({q.select(semconv.LEDGER_STARTED, kind=None)})"
    return f"count by ({', '.join(by)}) ({each})"


def processes_that_began() -> str:
    """Processes that in the last two minutes have reported for the first time: a deployment, a restart, a crash.

    The first report is of no stream on any route, so nobody begins because telemetry comes back, or a route is chosen.
    """
    reported = q.everywhere(semconv.LEDGER_STARTED, q.where(semconv.ROLE, Role.SERVER), f'{q.SERVICE}=~"$service"')
    by_process = q.total(f"min_over_time({reported}[2m])", (q.SERVICE, semconv.PROCESS_ID.label))
    return f"count by ({q.SERVICE}) ({by_process} == 0)"


def refused() -> str:
    """Spans that the collector would not take, per second; 0 where it is watched."""
    return f"sum({STEP.read(COLLECTOR['refused'])}) or 0 * sum({STEP.read(COLLECTOR['accepted'])})"


def not_sent(how: str) -> str:
    """Metric points that the collector ``failed`` to send, or ``dropped`` unsent, per second; 0 where it is watched.

    Their series begin with the first one.
    """
    return f"sum({STEP.read(COLLECTOR[how])}) or 0 * sum({STEP.read(COLLECTOR['sent'])})"


def queue_filled() -> str:
    """How full the fullest queue of the collector is."""
    return f"max({COLLECTOR['queue']} / {COLLECTOR['capacity']})"
