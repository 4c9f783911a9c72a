"""What to be woken by, and what can wait for the morning; every alert says where, how much, and what to read next.

Shares are judged only where enough streams ended, so that three at night page nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dashboards import queries as q
from dashboards.recording import AT_LIMIT, BOUNDED, INTERRUPTED, NEAR_LIMIT, SERVER, WHERE, ratio
from otel_streaming import semconv
from otel_streaming.semconv import State

BUDGET = 1 - q.OBJECTIVE
"""The share of streams that may end badly. Another objective: change it there and run ``make dashboards``."""

RUNBOOKS = "docs/runbooks"
OVERVIEW, OBJECTIVES, FORENSICS, TRUST = "stream-overview", "stream-slo", "stream-forensics", "stream-trust"
"""Where an alert sends its reader: a dashboard's uid."""

PAGE, TICKET = "critical", "warning"
ENOUGH = 30
"""Streams in the window of an alert from which on a share of them means something."""


@dataclass(frozen=True)
class Alert:
    """What is true for ``lasting`` minutes wakes (critical) or waits for the morning (warning).

    ``window`` is what it looks back on: for so long it may go on when all is well again.
    """

    name: str
    expr: str
    summary: str
    description: str
    lasting: int
    window: str
    severity: str = TICKET
    by: tuple[str, ...] = WHERE
    board: str = OVERVIEW
    labels: dict[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        variables = {label: name for name, label in q.VARIABLES.items()}
        chosen = "&".join(f"var-{variables[label]}={{{{ $labels.{label} | urlquery }}}}" for label in self.by)
        where = " on ".join(f"{{{{ $labels.{label} }}}}" for label in reversed(self.by))
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": f"{self.lasting}m",
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": f"{where}: {self.description}",
                "runbook_url": f"{RUNBOOKS}/{self.name}.md",
                "dashboard_url": f"/d/{self.board}?{chosen}",
            },
        }


BURNS = (
    # How many times faster than the budget allows, over which two windows, how bad that is, how long it must last.
    (14.4, "1h", "5m", PAGE, 2),
    (6, "6h", "30m", PAGE, 2),
    (3, "1d", "2h", TICKET, 15),
    (1, "3d", "6h", TICKET, 15),
)


def _burn(factor: float, long: str, short: str, severity: str, lasting: int) -> Alert:
    limit = f"{factor * BUDGET:.6g}"
    return Alert(
        "StreamErrorBudgetBurn",
        f"({ratio(long)}{{{SERVER}}} > {limit} and {ratio(short)}{{{SERVER}}} > {limit})\n"
        f"and 60 * sum_over_time({q.RECORDED_ELIGIBLE}{{{SERVER}}}[{long}]) > {ENOUGH}",
        "Streams fail faster than the objective allows.",
        f"{{{{ $value | humanizePercentage }}}} of the streams of the last {long} failed, a burn rate above {factor:g} "
        f"(at 1 the error budget of an objective of {q.OBJECTIVE:.6g} lasts for 30 days).",
        lasting,
        short,
        severity,
        board=OBJECTIVES,
        labels={"long": long, "short": short},
    )


def _ended(which: str, window: str, by: tuple[str, ...] = WHERE) -> str:
    return q.ended_everywhere("increase", window, (SERVER, BOUNDED, which), by)


def _spans(which: str, window: str) -> str:
    series = q.everywhere(semconv.ENDED, SERVER, BOUNDED, which)
    return f"sum by ({', '.join(WHERE)}) (increase({series}[{window}]))"


def _silent() -> Alert:
    return Alert(
        "StreamSilentFailuresDominate",
        f"({_ended(q.SILENT, '30m')}\n/ {_ended(q.BAD, '30m')} > 0.8)\n"
        f"and {_ended(q.BAD, '30m')} > 10\n"
        f"and on ({', '.join(WHERE)}) {ratio('30m')}{{{SERVER}}} > {BUDGET:.6g}",
        "Streams fail after their 200 OK, where no status code tells.",
        "{{ $value | humanizePercentage }} of the failures of the last 30 minutes had no status code: "
        "an error rate by status does not show this incident.",
        5,
        "30m",
    )


def _stalled() -> Alert:
    active = q.everywhere(semconv.ACTIVE, SERVER, BOUNDED)
    stalled = q.everywhere(semconv.ACTIVE, SERVER, BOUNDED, q.where(semconv.STATE, State.STALLED))
    by = f"sum by ({', '.join(WHERE)})"
    return Alert(
        "StreamStalledOpen",
        f"max by ({', '.join(WHERE)}) ({q.everywhere(semconv.SILENCE_MAX, SERVER)}) > 30\n"
        f"and {by} ({stalled}) / {by} ({active}) > 0.05",
        "Open streams have stopped moving.",
        "readers are waiting now, the longest for {{ $value | humanizeDuration }}; "
        "more than one open stream in twenty is stalled.",
        2,
        "5m",
    )


def _slow() -> Alert:
    bucket = q.everywhere(semconv.FIRST_CHUNK_TIME, SERVER, suffix="_bucket")
    return Alert(
        "StreamFirstChunkSlow",
        # The histogram knows no kind, and a subscription may wait for its first event: bounded streams must end there.
        f"histogram_quantile(0.95, sum by ({q.BUCKET}, {', '.join(WHERE)}) (rate({bucket}[15m]))) > 10\n"
        f"and {_ended(q.ANY, '15m')} > {ENOUGH}",
        "Streams take long to begin.",
        "one stream in twenty of the last 15 minutes took {{ $value | humanizeDuration }} or more to its first chunk.",
        5,
        "15m",
    )


def _blank() -> Alert:
    return Alert(
        "StreamBlankResponses",
        f"{_spans(q.BLANK, '15m')}\n/ {_spans(q.ANY, '15m')} > 0.02\nand {_spans(q.ANY, '15m')} > {ENOUGH}",
        "Streams end before their first chunk.",
        "{{ $value | humanizePercentage }} of the streams of the last 15 minutes sent headers and nothing else: "
        "their readers saw a blank answer.",
        5,
        "15m",
    )


def _at_a_limit() -> Alert:
    return Alert(
        "StreamsDieAtALimit",
        f"({AT_LIMIT} / ignoring (limit) group_left {INTERRUPTED} > 0.2)\n"
        f"and {AT_LIMIT} > 10\nand {AT_LIMIT} > 3 * {NEAR_LIMIT}",
        "Streams are interrupted at one age, as by a time limit on the way.",
        "{{ $value | humanizePercentage }} of the streams interrupted in the last hour were "
        "{{ $labels.limit }} s old: look for that time-out in proxies, load balancers and servers.",
        5,
        "1h",
    )


def _masked() -> Alert:
    return Alert(
        "StreamsMasked",
        f"{_spans(q.MASKED, '30m')}\n/ {_spans(q.ANY, '30m')} > 0.01\nand {_spans(q.ANY, '30m')} > {ENOUGH}",
        "Streams end cleanly although what fed them broke.",
        "{{ $value | humanizePercentage }} of the streams of the last 30 minutes looked complete, "
        "but the stream they pass on had broken.",
        5,
        "30m",
        board=FORENSICS,
    )


def _unknown() -> Alert:
    return Alert(
        "StreamOutcomeUnknownHigh",
        f"{_ended(q.UNKNOWN, '30m')}\n/ {_ended(q.ANY, '30m')} > 0.05\nand {_ended(q.ANY, '30m')} > {ENOUGH}",
        "Nobody knows how streams end.",
        "{{ $value | humanizePercentage }} of the streams of the last 30 minutes ended in a way "
        "that was not seen: the other numbers are worth less.",
        15,
        "30m",
        board=TRUST,
    )


def _lossy() -> Alert:
    def bad(metric: semconv.Metric) -> str:
        return f"sum by ({q.SERVICE}) (increase({q.everywhere(metric, q.BAD)}[30m]))"

    # Failures have spans in every setting of SPANS but off, and then the service has no derived series at all.
    reported = f"0 * sum by ({q.SERVICE}) (increase({q.everywhere(semconv.ENDED)}[30m]))"
    return Alert(
        "StreamTelemetryLossy",
        f"1 - ({bad(semconv.ENDED)}\nor {reported})\n/ ({bad(semconv.LEDGER_ENDED)} > 20) > 0.05",
        "Spans of streams are lost on their way.",
        "{{ $value | humanizePercentage }} of the failures of the last 30 minutes were counted by the service "
        "and never arrived as spans: their causes are unknown.",
        10,
        "30m",
        by=(q.SERVICE,),
        board=TRUST,
    )


def _missing() -> Alert:
    ledger, spans = (
        f"count by ({q.SERVICE}) ({q.everywhere(metric)})" for metric in (semconv.LEDGER_STARTED, semconv.ENDED)
    )

    def lately(present: str) -> str:
        # There for more than three of the last six hours: a job that runs for one is not missed.
        return f"count_over_time(({present})[6h:10m]) > 18"

    return Alert(
        "StreamTelemetryMissing",
        # A collector that begins anew knows a service without a ledger from its next stream on: then the silence of
        # all tells, not that of one.
        f"({lately(ledger)} unless {ledger})\nor ({lately(spans)} unless {ledger} unless on () {spans})",
        "A service no longer reports its streams.",
        "reported its streams until lately and does not now; no dashboard can tell whether they fail.",
        10,
        "10m",
        by=(q.SERVICE,),
        board=TRUST,
    )


ALERTS = (
    *(_burn(*burn) for burn in BURNS),
    *(_silent(), _stalled(), _slow(), _blank(), _at_a_limit(), _masked(), _unknown(), _lossy(), _missing()),
)
