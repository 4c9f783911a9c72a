"""``stream-slo``: how much may still break, what spent the budget, what is the objective worth to users?"""

from __future__ import annotations

from dashboards import budget, parts, tables, words
from dashboards import panels as p
from dashboards import queries as q
from dashboards.board import Row, dashboard
from dashboards.parts import About, Column, Judgement, Series
from dashboards.queries import RANGE, STEP
from otel_streaming import semconv

UID = parts.SLO

GUIDE = f"""\
The objective: of all streams that could end well, {parts.PROMISE} do, over thirty days; the rest is the budget. \
A burn rate of 1 spends it in exactly thirty days, 6 in five days, 14.4 in two; the alerts watch two windows at each \
rate, so that they come early and stop soon. \
Readers who gave up count beside it, subscriptions have a promise of their own below. \
{parts.go_on(parts.OVERVIEW, parts.FORENSICS, parts.TRUST)}"""

LEFT = About(
    101,
    "Budget left",
    metric=parts.RECORDED,
    formula=f"1 - share of bad streams over thirty days / {parts.ALLOWED}.",
    good="above a quarter; below zero the objective is missed.",
    action="if it is nearly spent, put stability before features; the bars below say where.",
)
BURNING = About(
    102,
    "Burn rate, last hour",
    metric=parts.RECORDED,
    formula=f"share of bad streams over one hour / {parts.ALLOWED}.",
    good="below 1.",
    action="above 14.4 somebody has been paged: start with the overview.",
)
BURNING_SLOWLY = About(
    103,
    "Burn rate, three days",
    metric=parts.RECORDED,
    formula=f"share of bad streams over three days / {parts.ALLOWED}.",
    good="below 1.",
    action="above 1 and nothing acute: a slow leak, for which a ticket is due.",
)
USERS_GOT = About(
    104,
    "As users saw it",
    metric=parts.LEDGER_OR_SPANS,
    formula="ok / (ok + silent + loud), over the whole time range.",
    good=f"above {parts.PROMISE}.",
    action="compare with the tile to the right: the difference is silent.",
)
PANEL_SAYS = About(
    105,
    "By 5xx only",
    metric=parts.LEDGER_OR_SPANS,
    formula="1 - loud / (ok + silent + loud), over the whole time range: all that a status code can tell.",
    good="equal to the tile to the left.",
    action="if it looks better, an objective on status codes would be met while users suffer.",
)
WITH_LEAVERS = About(
    106,
    "Gave-up counted",
    metric=parts.LEDGER_OR_SPANS,
    formula="ok / (ok + silent + loud + gave up), over the whole time range.",
    good="near **As users saw it**.",
    action="if it is far below, streams are too slow rather than broken: see how they flow.",
)
RATES = About(
    201,
    "Burn rates",
    metric=parts.RECORDED,
    formula=f"share of bad streams over each window / {parts.ALLOWED}; lines at 14.4, 6 and 1.",
    good="all below 1.",
    action="short windows above long ones: it has just begun; long above short: it is over, and the budget is gone.",
)
CAUSES = About(
    202,
    "Budget spent, by cause",
    metric=f"{parts.SPANS}; allowed: {parts.LEDGER_OR_SPANS}",
    formula=f"failures by reason / ({parts.ALLOWED} of ok + silent + loud), over the whole time range: all bars "
    "together at 100 % have spent what this range allows.",
    good="short bars.",
    action="the longest bar is the repair that pays most.",
)
OVER_TIME = About(
    301,
    "Three ways to count availability",
    metric=parts.LEDGER_OR_SPANS,
    formula="1 - loud / all; 1 - (silent + loud) / all; the same with those who gave up on both sides. The dashed line "
    "is the objective.",
    good="three lines on each other.",
    action="the gap below the first line is what status codes hide, the one below the second what waiting costs.",
)
BY_ROUTE = About(
    302,
    "Routes by budget",
    metric=", ".join(f"`{q.RECORDED_RATIO.format(window=window)}`" for window in ("30d", "1h", "6h", "3d")),
    formula=f"recorded share of bad streams / {parts.ALLOWED}, by service and route, as the alerts read it.",
    good="no coloured cell.",
    action="the first line has the least left; its route leads to its failures.",
)
FAILURES_AN_HOUR = About(
    401,
    "Failures per stream-hour",
    metric=f"`{semconv.LEDGER_ENDED.prometheus}`, `{semconv.ACTIVE.prometheus}`; subscriptions (WebSockets, feeds)",
    formula="silent and loud ends per hour / open subscriptions. What a restart ended tidily does not count.",
    good="below 0.1: ten hours without a break.",
    action="if it rises without a deployment, look at what lies between: proxies, load balancers, time limits.",
)
STALLED_TIME = About(
    402,
    "Time stalled",
    metric=f"`{semconv.ACTIVE.prometheus}`; subscriptions",
    formula="open stream-seconds in state stalled / all open stream-seconds, over the whole time range.",
    good="0; only routes with a stall threshold of their own can stall.",
    action="readers are connected and get nothing: look at the source of the events.",
)
SUBSCRIPTIONS = About(
    403,
    "Open subscriptions",
    metric=parts.LIVE,
    formula="sum over all states; subscriptions only.",
    good="no judgement: a cliff is a restart, and the wave after it the reconnecting readers.",
    action="if a cliff is not a deployment, see **Processes that began** in the annotations.",
)

FAILED = parts.to(parts.FORENSICS, "What failed")
AVAILABLE = Judgement("the objective", ((0, words.RED), (q.OBJECTIVE, words.GREEN)))
STALLED_SHARE = Judgement(
    "4 s and 36 s of each hour that one is open", ((0, words.GREEN), (0.001, words.ORANGE), (0.01, words.RED))
)


def _tiles() -> list[p.AnyPanel]:
    def available(about: About, expr: str) -> p.AnyPanel:
        return p.tile(about, q.tile(expr), 4, steps=AVAILABLE, link=FAILED)

    def burning(about: About, window: str) -> p.AnyPanel:
        nothing = parts.NO_TRAFFIC | parts.NO_RULES
        return p.live_tile(
            about, budget.burn_tile(window), 4, unit=parts.FACTOR, steps=parts.BURN, nothing=nothing, link=FAILED
        )

    return [
        p.budget_tile(LEFT, budget.left_tile(), 4, link=FAILED),
        burning(BURNING, "1h"),
        burning(BURNING_SLOWLY, "3d"),
        available(USERS_GOT, budget.available(RANGE)),
        available(PANEL_SAYS, budget.available(RANGE, q.LOUD)),
        available(WITH_LEAVERS, budget.available(RANGE, q.BAD_OR_GAVE_UP, q.ELIGIBLE_OR_GAVE_UP)),
    ]


def _burning() -> list[p.AnyPanel]:
    rates = [Series(budget.burn(window), f"over {window}", colour) for window, colour in words.WINDOWS.items()]
    spent = [Series(budget.spent(RANGE), *words.ALL), Series(budget.spent_by_cause(RANGE), f"{{{{{q.REASON}}}}}")]
    return [
        p.graph(
            RATES, rates, 14, unit=parts.FACTOR, limits=((1, words.ORANGE), (6, words.RED), (14.4, words.DARK_RED))
        ),
        p.bars(CAUSES, spent, 10, unit=parts.SHARE, codes=words.REASONS),
    ]


def _availability() -> list[p.AnyPanel]:
    lines = [
        Series(budget.available(STEP, q.LOUD), *words.PANEL_SAYS),
        Series(budget.available(STEP), *words.USERS_SAW),
        Series(budget.available(STEP, q.BAD_OR_GAVE_UP, q.ELIGIBLE_OR_GAVE_UP), *words.USERS_AND_LEAVERS),
    ]
    columns = [
        Column("Budget left", f"1 - {budget.burn_recorded('30d')}", steps=parts.BUDGET_LEFT),
        *(
            Column(f"Burn {window}", budget.burn_recorded(window), parts.FACTOR, parts.BURN)
            for window in ("1h", "6h", "3d")
        ),
    ]
    objective = ((q.OBJECTIVE, words.ORANGE),)
    why = parts.to_line(parts.FORENSICS, "Its newest failures", service="Service", route="Route")
    keys = (parts.Key(q.SERVICE, "Service"), parts.Key(q.ROUTE, "Route", link=why))
    return [
        p.graph(OVER_TIME, lines, 12, unit=parts.SHARE, limits=objective).axis_soft_min(2 * q.OBJECTIVE - 1).max(1),
        tables.listing(BY_ROUTE, keys, columns, 12, sort="Budget left", worst_last=True),
    ]


def _subscriptions() -> list[p.AnyPanel]:
    none_open = {q.NOBODY_REPORTS: words.NO_SUBSCRIPTIONS}
    failures = [Series(budget.subscription_failures(), "failures per stream-hour", words.PURPLE)]
    return [
        p.graph(FAILURES_AN_HOUR, failures, 12, unit=parts.COUNT),
        p.tile(
            STALLED_TIME,
            budget.subscription_stalls(),
            6,
            steps=STALLED_SHARE,
            nothing={},
            missing=words.NO_SUBSCRIPTIONS,
            link=parts.to(parts.FORENSICS, "The newest stalled, and their records"),
        ),
        p.live_tile(SUBSCRIPTIONS, q.live(budget.subscriptions_open()), 6, nothing=none_open),
    ]


def build() -> str:
    """The dashboard's JSON."""
    return dashboard(
        UID,
        "Streams: objectives",
        "For whoever answers for the service: how much may still break, and what spent the budget?",
        GUIDE,
        [
            Row(100, "Is the promise kept?", 4, _tiles()),
            Row(200, "What spends the budget, and how fast?", 9, _burning()),
            Row(300, "What would status codes have said?", 9, _availability()),
            Row(400, "Streams without an end: subscriptions", 7, _subscriptions()),
        ],
        since="now-6h",
        refresh="1m",
    )
