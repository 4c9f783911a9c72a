"""What panels are made of, before Grafana comes into it: descriptions, series, columns, links, units, judgements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Judgement(NamedTuple):
    """From where on a number wears which colour, ascending, and why there."""

    why: str
    steps: Steps

    def words(self, unit: str) -> str:
        """The colours as a reader wants them: "green, orange from 0.1 %, red from 1 %: why"."""
        (_, first), *others = self.steps
        shown = (words.percent(value) if unit == SHARE else f"{value:g}" for value, _ in others)
        return ", ".join(
            [first, *(f"{colour} from {value}" for value, (_, colour) in zip(shown, others, strict=True))]
        ) + (f" ({self.why})")


NEUTRAL = Judgement("", ())
"""No colour: it may be any number."""
FAILURES = Judgement(
    "red is more than the objective allows, orange a tenth of that",
    ((0, words.GREEN), (budget.BUDGET / 10, words.ORANGE), (budget.BUDGET, words.RED)),
)
NUISANCES = Judgement(
    "nobody's failure, so milder: one in fifty is noticed, one in ten is bad",
    ((0, words.GREEN), (0.02, words.ORANGE), (0.1, words.RED)),
)
STALLS = Judgement("one may be chance, ten have one cause", ((0, words.GREEN), (1, words.ORANGE), (10, words.RED)))
ANY_ALERT = Judgement("any alert is to be read", ((0, words.GREEN), (1, words.RED)))
BURN = Judgement(
    "from 1 on the budget does not last, at 6 somebody is woken",
    ((0, words.GREEN), (1, words.ORANGE), (6, words.RED)),
)
BUDGET_LEFT = Judgement(
    "red is overspent; the last quarter is for what cannot be planned",
    ((budget.NO_NUMBER / 2, words.RED), (0, words.ORANGE), (0.25, words.GREEN)),
)


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
PROMISE, ALLOWED = (words.percent(share) for share in (queries.OBJECTIVE, budget.BUDGET))
WITH_SPANS = "of the streams that have spans (with `SPANS=bad` the bad ones only)"
SUBSCRIPTIONS_TOO = "subscriptions included"
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
    steps: Judgement = NEUTRAL


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


NO_TRAFFIC = {queries.NOTHING_TO_DIVIDE: words.NO_TRAFFIC}
GONE = {queries.NOBODY_REPORTS: words.NO_TELEMETRY}
NO_RULES = {queries.NOBODY_REPORTS: words.NO_RULES}
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


def go_on(*uids: str) -> str:
    """The last sentence of every header: links to other dashboards and to the runbooks, in Markdown."""
    others = ", ".join(f"[{_QUESTIONS[uid]}]({to(uid, '').url})" for uid in uids)
    return f"Go on to {others}; each of the [alerts]({ALERTS}) leads to its runbook."


def to_line(uid: str, title: str, keep: tuple[str, ...] = EVERYWHERE, **fields: str) -> Link:
    """Link to a dashboard for what a table's line is about: each variable is the value of this column.

    A route may have signs that mean something in a URL.
    """
    chosen = {name: f"${{__data.fields.{field}:percentencode}}" for name, field in fields.items()}
    return to(uid, title, tuple(name for name in keep if name not in fields), **chosen)
