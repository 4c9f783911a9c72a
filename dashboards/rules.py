"""Recording rules and alerts for Prometheus (Mimir, Thanos): the objective of DESIGN's SLI, and what to be woken by.

Every alert says who (service, route), how much, and how many streams that is judged by: three at night page nobody.
Only streams with a natural end of the server role count; a subscription has none, and cannot fail by ending.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from dashboards import queries as q
from otel_streaming import semconv
from otel_streaming.semconv import Result, Role, State

BUDGET = 1 - q.OBJECTIVE
"""The share of streams that may end badly. Another objective: change it there and run ``make dashboards``."""

RUNBOOKS = "docs/runbooks"
DASHBOARD = "/d/stream-overview"

PAGE, TICKET = "critical", "warning"
ENOUGH = 30
"""Streams in the window of an alert from which on a share of them means something."""

WHERE = (q.SERVICE, q.ROUTE)
BOUNDED = q.where(semconv.KIND, semconv.Kind.BOUNDED)
SERVER = q.where(semconv.ROLE, Role.SERVER)

INTERRUPTED, AT_LIMIT, NEAR_LIMIT = (
    f"stream:{name}:increase1h" for name in ("interrupted", "interrupted_at_limit", "interrupted_near_limit")
)
BESIDE = {
    # By limit, from where to where its bracket and the two buckets beside it reach; each of them is far wider.
    15: (10, 29.5),
    30: (15.5, 45),
    60: (45, 90),
    100: (90, 119),
    120: (101, 180),
    240: (180, 299),
    300: (241, 599),
    600: (301, 899),
    900: (601, 1800),
    3600: (1800, 3601),
}


def ratio(window: str) -> str:
    """Name of the recorded share of bad streams over a window."""
    return q.RECORDED_RATIO.format(window=window)


@dataclass(frozen=True)
class Record:
    """A series that Prometheus computes every minute and keeps."""

    name: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        return {"record": self.name, "expr": self.expr} | ({"labels": self.labels} if self.labels else {})


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
                "dashboard_url": f"{DASHBOARD}?{chosen}",
            },
        }


def _sli() -> list[Record]:
    eligible = q.ended_everywhere("rate", "5m", (BOUNDED, q.ELIGIBLE), q.RECORDED_LABELS)
    bad = q.ended_everywhere("rate", "5m", (BOUNDED, q.BAD), q.RECORDED_LABELS)
    # The series of failures starts at the first failure: until then there are none, which is 0.
    return [Record(q.RECORDED_ELIGIBLE, eligible), Record(q.RECORDED_BAD, f"{bad}\nor 0 * {q.RECORDED_ELIGIBLE}")]


def _ratios(*windows: str) -> list[Record]:
    # A sum over a sum: the average of ratios would weigh a night of ten streams like a day of ten thousand.
    return [
        Record(
            ratio(window),
            f"sum_over_time({q.RECORDED_BAD}[{window}])\n/ (sum_over_time({q.RECORDED_ELIGIBLE}[{window}]) > 0)",
        )
        for window in windows
    ]


def _limits() -> list[Record]:
    """Interrupted streams of the last hour: all, inside the bracket of each usual limit, and right beside it."""

    def up_to(bound: float) -> str:
        series = q.everywhere(semconv.INTERRUPTED_DURATION, SERVER, q.up_to(bound), suffix="_bucket")
        return f"sum by ({', '.join(WHERE)}) (increase({series}[1h]))"

    total = q.everywhere(semconv.INTERRUPTED_DURATION, SERVER, suffix="_count")
    records = [Record(INTERRUPTED, f"sum by ({', '.join(WHERE)}) (increase({total}[1h]))")]
    for limit, low, high in q.LIMITS:
        below, above = BESIDE[limit]
        inside = f"{up_to(high)}\n- {up_to(low)}"
        records += [
            Record(AT_LIMIT, inside, {"limit": str(limit)}),
            Record(NEAR_LIMIT, f"{up_to(above)}\n- {up_to(below)}\n- ({inside})", {"limit": str(limit)}),
        ]
    return records


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
    by = ", ".join(WHERE)
    bucket = q.everywhere(semconv.FIRST_CHUNK_TIME, SERVER, suffix="_bucket")
    count = q.everywhere(semconv.FIRST_CHUNK_TIME, SERVER, suffix="_count")
    return Alert(
        "StreamFirstChunkSlow",
        f"histogram_quantile(0.95, sum by ({q.BUCKET}, {by}) (rate({bucket}[15m]))) > 10\n"
        f"and sum by ({by}) (increase({count}[15m])) > {ENOUGH}",
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
        f"{_spans(q.where(semconv.MASKED, 'true'), '30m')}\n/ {_spans(q.ANY, '30m')} > 0.01\n"
        f"and {_spans(q.ANY, '30m')} > {ENOUGH}",
        "Streams end cleanly although what fed them broke.",
        "{{ $value | humanizePercentage }} of the streams of the last 30 minutes looked complete, "
        "but the stream they pass on had broken.",
        5,
        "30m",
    )


def _unknown() -> Alert:
    return Alert(
        "StreamOutcomeUnknownHigh",
        f"{_ended(q.where(semconv.RESULT, Result.UNKNOWN), '30m')}\n/ {_ended(q.ANY, '30m')} > 0.05\n"
        f"and {_ended(q.ANY, '30m')} > {ENOUGH}",
        "Nobody knows how streams end.",
        "{{ $value | humanizePercentage }} of the streams of the last 30 minutes ended in a way "
        "that was not seen: the other numbers are worth less.",
        15,
        "30m",
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
    )


def _missing() -> Alert:
    def gone(metric: semconv.Metric) -> str:
        present = f"count by ({q.SERVICE}) ({q.everywhere(metric)})"
        # There for more than three of the last six hours: a job that runs for one is not missed.
        return f"(count_over_time(({present})[6h:10m]) > 18 unless {present})"

    return Alert(
        "StreamTelemetryMissing",
        f"{gone(semconv.LEDGER_STARTED)}\nor {gone(semconv.ENDED)}",
        "A service no longer reports its streams.",
        "reported its streams until lately and does not now; no dashboard can tell whether they fail.",
        10,
        "10m",
        by=(q.SERVICE,),
    )


ALERTS = (
    *(_burn(*burn) for burn in BURNS),
    *(_silent(), _stalled(), _slow(), _blank(), _at_a_limit(), _masked(), _unknown(), _lossy(), _missing()),
)


def _file(**groups: tuple[str, list[Record] | list[Alert]]) -> str:
    found = [
        {"name": f"stream-{name}", "interval": interval, "rules": [rule.rule() for rule in rules]}
        for name, (interval, rules) in groups.items()
    ]
    return dump({"groups": found})


def dump(document: dict[str, Any]) -> str:
    """Write YAML that is read by people: in our order, queries over several lines as they are."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    pass


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)


def build() -> dict[str, str]:
    """Return the rule files, by name."""
    return {
        "rules/recording.yaml": _file(
            sli=("1m", _sli()),
            ratios=("1m", _ratios("5m", "30m", "1h", "2h", "6h")),
            # Long windows move slowly and cost much: a third of the evaluations does.
            longterm=("3m", _ratios("1d", "3d", "30d")),
            limits=("1m", _limits()),
        ),
        "rules/alerts.yaml": _file(alerts=("1m", list(ALERTS))),
    }
