"""What to be woken by, and what can wait for the morning; every alert says where, how much, and what to read next.

Shares are judged only where enough streams ended, so that three at night page nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dashboards import health, parts
from dashboards import measures as m
from dashboards import queries as q
from dashboards.budget import BUDGET, BURNS
from dashboards.recording import AT_LIMIT, BOUNDED, INTERRUPTED, NEAR_LIMIT, SERVER, ratio
from otel_streaming import semconv
from otel_streaming.semconv import State

RUNBOOKS = "docs/runbooks"
"""Where the pages are: a folder of this repository, or the address under which you publish them."""

PAGE, TICKET = "critical", "warning"
ENOUGH = 30
"""Streams in the window of an alert from which on a share of them means something."""
A_FEW = 5
"""Failures that are chance, whatever share they are of."""
SLOW = 10
"""Seconds to the first chunk, a bound of its histogram: a stall's threshold, after which readers leave."""


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
    by: tuple[str, ...] = q.BY_ROUTE
    board: str = parts.OVERVIEW
    labels: dict[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        on_route, of_route = (
            f"{{{{ with $labels.{q.ROUTE} }}}}{words}{{{{ end }}}}" if q.ROUTE in self.by else ""  # not all know theirs
            for words in ("{{ . }} on ", "&var-route={{ . | urlquery }}")
        )
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": f"{self.lasting}m",
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": f"{on_route}{{{{ $labels.{q.SERVICE} }}}}: {self.description}",
                "runbook_url": f"{RUNBOOKS}/{self.name}.md",
                "dashboard_url": f"/d/{self.board}?var-service={{{{ $labels.{q.SERVICE} | urlquery }}}}{of_route}",
            },
        }


def _burn(factor: float, long: str, short: str, wakes: bool, lasting: int) -> Alert:  # noqa: FBT001 - a row of BURNS
    limit = f"{factor * BUDGET:.6g}"
    return Alert(
        "StreamErrorBudgetBurn",
        f"({ratio(long)}{{{SERVER}}} > {limit} and {ratio(short)}{{{SERVER}}} > {limit})\n"
        f"and 60 * sum_over_time({q.RECORDED_ELIGIBLE}{{{SERVER}}}[{long}]) > {ENOUGH}\n"
        f"and 60 * sum_over_time({q.RECORDED_BAD}{{{SERVER}}}[{long}]) > {A_FEW}",
        "Streams fail faster than the objective allows.",
        f"{{{{ $value | humanizePercentage }}}} of the streams of the last {long} failed, a burn rate above {factor:g} "
        f"(at 1 the error budget of an objective of {q.OBJECTIVE:.6g} lasts for 30 days).",
        lasting,
        short,
        PAGE if wakes else TICKET,
        board=parts.SLO,
        labels={"long": long, "short": short},
    )


def _ended(which: str, window: str, by: tuple[str, ...] = q.BY_ROUTE) -> str:
    return q.ended_everywhere("increase", window, (SERVER, BOUNDED), which, by)


def _spans(which: str, window: str) -> str:
    series = q.everywhere(semconv.ENDED, SERVER, BOUNDED, which)
    return f"sum by ({', '.join(q.BY_ROUTE)}) (increase({series}[{window}]))"


def _silent() -> Alert:
    return Alert(
        "StreamSilentFailuresDominate",
        f"({_ended(q.SILENT, '30m')}\n/ {_ended(q.BAD, '30m')} > 0.8)\n"
        f"and {_ended(q.BAD, '30m')} > 10\n"
        f"and on ({', '.join(q.BY_ROUTE)}) {ratio('30m')}{{{SERVER}}} > {BUDGET:.6g}",
        "Streams fail after their 200 OK, where no status code tells.",
        "{{ $value | humanizePercentage }} of the failures of the last 30 minutes had no status code: "
        "an error rate by status does not show this incident.",
        5,
        "30m",
    )


def _stalled(severity: str, least: int, share: float, words: str) -> Alert:
    active = q.everywhere(semconv.ACTIVE, SERVER, BOUNDED)
    stalled = q.everywhere(semconv.ACTIVE, SERVER, BOUNDED, q.where(semconv.STATE, State.STALLED))
    by = f"sum by ({', '.join(q.BY_ROUTE)})"
    return Alert(
        "StreamStalledOpen",
        f"max by ({', '.join(q.BY_ROUTE)}) ({q.everywhere(semconv.SILENCE_MAX, SERVER)}) > 30\n"
        f"and {by} ({stalled}) / {by} ({active}) > {share}\n"
        f"and {by} ({stalled}) >= {least}",
        "Open streams have stopped moving.",
        f"readers are waiting now, the longest for {{{{ $value | humanizeDuration }}}}; "
        f"{least} open streams or more are stalled, and more than {words}.",
        2,
        "5m",
        severity,
    )


def _of_all(told: str, window: str) -> str:
    """Share of all streams of what only spans tell; of the spans it would be fiction with ``SPANS=bad``."""
    return f"{told}\n/ {_ended(q.ANY, window)}"


def _slow() -> Alert:
    def begun(which: str, suffix: str) -> str:
        series = q.everywhere(semconv.FIRST_CHUNK_TIME, SERVER, which, suffix=suffix)
        return f"sum by ({', '.join(q.BY_ROUTE)}) (increase({series}[15m]))"

    late = f"({begun(q.ANY, '_count')} - {begun(m.up_to(SLOW), '_bucket')})"
    return Alert(
        "StreamFirstChunkSlow",
        # The histogram knows no kind, and a subscription may wait for its first event: bounded streams must end there.
        f"{_of_all(late, '15m')} > 0.05\nand {_ended(q.ANY, '15m')} > {ENOUGH}",
        "Streams take long to begin.",
        "{{ $value | humanizePercentage }} of the streams of the last 15 minutes took more than "
        f"{SLOW} s to their first chunk.",
        5,
        "15m",
    )


def _blank() -> Alert:
    return Alert(
        "StreamBlankResponses",
        f"{_of_all(_spans(q.BLANK, '15m'), '15m')} > 0.02\nand {_ended(q.ANY, '15m')} > {ENOUGH}",
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
        f"{_of_all(_spans(q.MASKED, '30m'), '30m')} > 0.01\nand {_ended(q.ANY, '30m')} > {ENOUGH}",
        "Streams end cleanly although what fed them broke.",
        "{{ $value | humanizePercentage }} of the streams of the last 30 minutes looked complete, "
        "but the stream they pass on had broken.",
        5,
        "30m",
        board=parts.FORENSICS,
    )


def _unknown() -> Alert:
    return Alert(
        "StreamOutcomeUnknownHigh",
        f"{_of_all(_ended(q.UNKNOWN, '30m'), '30m')} > 0.05\nand {_ended(q.ANY, '30m')} > {ENOUGH}",
        "Nobody knows how streams end.",
        "{{ $value | humanizePercentage }} of the streams of the last 30 minutes ended in a way "
        "that was not seen: the other numbers are worth less.",
        15,
        "30m",
        board=parts.TRUST,
    )


def _witness(metric: semconv.Metric, *own: str) -> str:
    """Failures by service as one of the two counts them: those that ``health`` compares on the dashboard, too.

    A service is known by what is folded as well: it may have begun when all series were taken.
    """
    bad, ended, folded = (
        f"sum by ({q.SERVICE}) (increase({q.everywhere(metric, *which)}[30m]))"
        for which in ((SERVER, *own, q.BAD), (SERVER, *own, q.ANY), (health.FOLDED,))
    )
    return f"({bad}\nor 0 * {ended}\nor 0 * {folded})"


def _lossy() -> tuple[Alert, Alert]:
    ledger, spans = _witness(semconv.LEDGER_ENDED), _witness(semconv.ENDED, health.NOT_BY_THE_PROCESS)

    def beyond(one: str, other: str, spans: str, words: str) -> Alert:
        return Alert(
            "StreamTelemetryLossy",
            f"({one}\n- {other})\n/ ({one} > 20) > 0.05",
            "Processes and spans disagree about failures.",
            f"{{{{ $value | humanizePercentage }}}} of the failures of the last 30 minutes were {words}.",
            10,
            "30m",
            by=(q.SERVICE,),
            board=parts.TRUST,
            labels={"spans": spans},
        )

    return (
        beyond(ledger, spans, "missing", "counted by the service and never arrived as spans: their causes are unknown"),
        beyond(
            spans,
            ledger,
            "surplus",
            "told by spans and not counted by the service: they are derived twice, or sent twice",
        ),
    )


def _missing() -> Alert:
    ledger, spans = (
        f"count by ({q.SERVICE}) ({q.everywhere(metric)})" for metric in (semconv.LEDGER_STARTED, semconv.ENDED)
    )

    def lately(present: str) -> str:
        # There for more than six of the last 24 hours: a job of a few hours is not missed, a night is not forgotten.
        return f"count_over_time(({present})[1d:10m]) > 36"

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
        board=parts.TRUST,
    )


ALERTS = (
    *(_burn(*burn) for burn in BURNS),
    _silent(),
    _stalled(TICKET, 3, 0.05, "one in twenty of all"),
    _stalled(PAGE, 10, 0.5, "half of all"),
    *(_slow(), _blank(), _at_a_limit(), _masked(), _unknown(), *_lossy(), _missing()),
)
if (fastest := BURNS[0][0]) * BUDGET >= 1:
    raise ValueError(f"OBJECTIVE is too low to page anybody: no share of failures is {fastest:g} times {BUDGET:.6g}")
