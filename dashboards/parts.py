"""What panels are made of, before Grafana comes into it: descriptions, series, columns, links, units, judgements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dashboards import budget, queries, words
from otel_streaming import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping

    Words = Mapping[Any, words.Word]

OVERVIEW, SLO, FLOW, FORENSICS, TRUST = (f"stream-{name}" for name in ("overview", "slo", "flow", "forensics", "trust"))
"""The dashboards' uids: for ever, since links name them."""
ALERTS = "/alerting/list?search=Stream"
"""Grafana's list of the alerts on streams, each with a link to its runbook."""

_QUESTIONS = {
    OVERVIEW: "is it broken",
    SLO: "how much of it may break",
    FLOW: "how they flow",
    FORENSICS: "why this one ended",
    TRUST: "whether to trust these numbers",
}

Steps = tuple[tuple[float, str], ...]

SHARE = "percentunit"
SECONDS = "s"
COUNT = "short"
FACTOR = "suffix:x"
BYTES = "bytes"
BYTES_PER_SECOND = "Bps"
PER_SECOND = "cps"
PER_MINUTE = "cpm"

FAILURE_STEPS: Steps = ((0, words.GREEN), (0.001, words.ORANGE), (0.01, words.RED))
"""A share of failures: one in a thousand is a warning, one in a hundred is an incident."""
LOST_STEPS: Steps = ((0, words.GREEN), (0.02, words.ORANGE), (0.1, words.RED))
"""A share of what annoys but is nobody's failure (slow, given up): milder."""
STALL_STEPS: Steps = ((0, words.GREEN), (1, words.ORANGE), (10, words.RED))
ALERT_STEPS: Steps = ((0, words.GREEN), (1, words.RED))
BURN_STEPS: Steps = ((0, words.GREEN), (1, words.ORANGE), (6, words.RED))
BUDGET_STEPS: Steps = ((budget.NO_TRAFFIC / 2, words.RED), (0, words.ORANGE), (0.25, words.GREEN))


@dataclass(frozen=True)
class About:
    """Who a panel is and what it tells: the id is for ever (links name it), the text answers the (i)."""

    id: int
    title: str
    metric: str
    formula: str
    good: str
    action: str

    @property
    def description(self) -> str:
        """The four questions every panel answers."""
        return (
            f"**Metric:** {self.metric}\n\n**Formula:** {self.formula}\n\n"
            f"**Good:** {self.good}\n\n**First action:** {self.action}"
        )


LEDGER_OR_SPANS = (
    f"`{semconv.LEDGER_ENDED.prometheus}` (counted in the process), or `{semconv.ENDED.prometheus}` (from spans) "
    "for services without it; server role, streams with a natural end"
)
SPANS = f"`{semconv.ENDED.prometheus}` (from spans); server role, streams with a natural end"
LIVE = f"`{semconv.ACTIVE.prometheus}`, reported by the processes while the streams are open"
RECORDED = f"`{queries.RECORDED_BAD}`, `{queries.RECORDED_ELIGIBLE}` (recording rules, from the ledger or the spans)"
"""What a panel's ``metric`` says, where several say the same."""


@dataclass(frozen=True)
class Series:
    """One query of a graph; ``name`` is what the legend says, ``{{label}}`` for a label's value."""

    expr: str
    name: str
    colour: str = ""
    exemplars: bool = False


@dataclass(frozen=True)
class Column:
    """One column of numbers in a table; with steps, the cell wears the colour of the judgement."""

    title: str
    expr: str
    unit: str = SHARE
    steps: Steps = ()


@dataclass(frozen=True)
class Link:
    """Where a click leads; the URL may use Grafana's ``${__data.fields.Name}`` of the line clicked on."""

    title: str
    url: str


@dataclass(frozen=True)
class Key:
    """One column of a table that says what its line is about: a label, in words where it is a code."""

    label: str
    title: str
    codes: Words | None = None
    link: Link | None = None


ROUTE_KEYS = (Key(queries.SERVICE, "Service"), Key(queries.ROUTE, "Route"))
NO_TRAFFIC = {queries.NOTHING_TO_DIVIDE: words.NO_TRAFFIC}
NO_FAILURES = {queries.NOTHING_TO_DIVIDE: words.NO_FAILURES}
"""What a tile says where its number only stands for something."""


EVERYWHERE = ("datasource", *queries.VARIABLES)
"""The variables of every dashboard."""


def to(uid: str, title: str, keep: tuple[str, ...] = EVERYWHERE, **chosen: str) -> Link:
    """Link to a dashboard with the time range and the variables to keep; others are chosen.

    Grafana has a word for all variables at once, but one that is given twice has two values.
    """
    kept = [f"${{{name}:queryparam}}" for name in keep]
    given = [f"var-{name}={value}" for name, value in chosen.items()]
    return Link(title, f"/d/{uid}?{'&'.join(['${__url_time_range}', *kept, *given])}")


def ways_on(*uids: str) -> str:
    """Links to other dashboards, in Markdown."""
    return ", ".join(f"[{_QUESTIONS[uid]}]({to(uid, '').url})" for uid in uids)


def to_line(uid: str, title: str, **fields: str) -> Link:
    """Link to a dashboard for what a table's line is about: each variable is the value of this column."""
    chosen = {name: f"${{__data.fields.{field}}}" for name, field in fields.items()}
    return to(uid, title, tuple(name for name in EVERYWHERE if name not in fields), **chosen)
