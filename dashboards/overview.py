"""``stream-overview``: is it broken, what is failing, where, how does it feel? One screen, for whoever is on call."""

from __future__ import annotations

from dashboards import ages, budget, parts, tables, words
from dashboards import measures as m
from dashboards import panels as p
from dashboards import queries as q
from dashboards.board import Row, dashboard
from dashboards.parts import About, Column, Series
from dashboards.queries import RANGE, STEP
from otel_streaming import semconv

UID = parts.OVERVIEW

GUIDE = f"""\
A stream that breaks after its `200 OK` is a failure that no status code tells: **Failed** counts it, **What your 5xx \
panel says** does not, and the difference is what your users see and your alerts do not. \
Read from the top: is it broken, what ends the streams, which route is worst, how does it feel to a reader; green is \
measured and fine, grey is **no traffic**, **no failures** or **no telemetry**. \
{parts.go_on(parts.SLO, parts.FLOW, parts.FORENSICS, parts.TRUST)}"""

FAILED = About(
    101,
    "Failed",
    metric=parts.LEDGER_OR_SPANS,
    formula="(silent + loud) / (ok + silent + loud), over the whole time range; silent is cut short or failed after "
    "the headers, loud is a 5xx instead of a stream. Readers who left and streams that a restart ended tidily count "
    "on neither side.",
    good=f"below {words.percent(budget.BUDGET / 10)}.",
    action="if it is red, read the stack below for the cause and the table for the route.",
)
FIVE_XX = About(
    102,
    "What your 5xx panel says",
    metric=" or ".join(f"`{metric}`" for metric, _, _ in q.STOCK_HTTP)
    + ", the stock HTTP metrics of the services that "
    "stream, their other routes included; where there are none (or none for the route chosen), our own count of 5xx",
    formula="requests answered with a 5xx / all requests, over the whole time range.",
    good="equal to **Failed**: then your error rate tells the truth.",
    action="if it is far below **Failed**, put your alerts on streams, not on status codes.",
)
HIDDEN = About(
    103,
    "Hidden share",
    metric=parts.LEDGER_OR_SPANS,
    formula="silent / (silent + loud), over the whole time range: failures that went out under a status of 200.",
    good="no number is good or bad; it says how much of the trouble status codes cannot show.",
    action="the higher it is, the less the panel to the left is worth in this incident.",
)
TRUNCATED = About(
    104,
    "Cut short",
    metric=parts.LEDGER_OR_SPANS,
    formula="silent with outcome truncated / (ok + silent + loud), over the whole time range: the reader got a "
    "beginning and an end of file that looks like success.",
    good=f"below {words.percent(budget.BUDGET / 10)}.",
    action="the purple parts of the stack name the cause: no end marker is usually upstream, a dead process is yours.",
)
GAVE_UP = About(
    105,
    "Gave up",
    metric=parts.LEDGER_OR_SPANS,
    formula="given up / all ended streams, over the whole time range: readers who left before the first chunk or in "
    "the middle of a stall. Not part of **Failed**.",
    good="below 2 %, and steady.",
    action="compare with time to first chunk and silence below: people leave what does not move.",
)
STALLED_NOW = About(
    106,
    "Stalled now",
    metric=parts.LIVE,
    formula=f"open streams in state stalled, {parts.SUBSCRIPTIONS_TOO}: silent for longer than the threshold of their "
    "route (10 s unless set; subscriptions have none unless set).",
    good="0.",
    action="these readers are waiting at this moment: their log records (click) have the traces; look at "
    "the provider behind the route.",
)
OPEN_NOW = About(
    107,
    "Open streams",
    metric=parts.LIVE,
    formula=f"sum over all states, {parts.SUBSCRIPTIONS_TOO}.",
    good="no judgement: it follows the traffic. A step down is a restart, a steady climb is a leak.",
    action="if it climbs, see which state grows in **Open streams by state**.",
)
BUDGET_LEFT = About(
    108,
    "Budget left",
    metric=parts.RECORDED,
    formula=f"1 - share of bad streams over thirty days / {parts.ALLOWED} (the objective is {parts.PROMISE}).",
    good="above a quarter.",
    action="if it melts, see which cause spends it in **Streams: objectives**.",
)
FIRING = About(
    109,
    "Firing alerts",
    metric=f"`{budget.ALERTS}`, which Prometheus writes while it evaluates the rules",
    formula="alerts on streams in state firing, of the services and routes chosen; those about a whole service are "
    "about every route of it.",
    good=f"0; **{words.NO_RULES}** means that nobody is watching.",
    action="open the alert: its runbook says what to do first.",
)
BY_CAUSE = About(
    201,
    "Failures by cause, on one axis",
    metric=f"{parts.SPANS}; stalls: {parts.LEDGER_OR_SPANS}",
    formula="silent and loud ends per minute by reason, and complete streams that stalled on the way. A 5xx is one "
    "colour among others. Grey is what the ledger of a service counts and its spans do not tell. Readers who left "
    "before the end, which is no failure, show when you click on their name (with Ctrl, beside the others).",
    good="flat at zero.",
    action="note the largest colour and when it began: deploy, provider or proxy?",
)
SEEN_AND_UNSEEN = About(
    202,
    "What users saw, and what your 5xx panel says",
    metric="as **Failed** and **What your 5xx panel says**",
    formula="the same two shares over time. The area between them is what goes unseen.",
    good="two lines on each other, near zero.",
    action="an area without a red line is an incident that no status code shows.",
)
ROUTES = About(
    301,
    "Routes, worst first",
    metric=f"attempts and shares: {parts.LEDGER_OR_SPANS}; blank: {parts.SPANS}; times: "
    f"`{semconv.FIRST_CHUNK_TIME.prometheus}`, `{semconv.GAP.prometheus}`; burn rate: "
    f"`{q.RECORDED_RATIO.format(window='1h')}` (recording rule)",
    formula="per service and route, over the whole time range. Attempts are all ended streams; failed, 5xx, cut short "
    "and stalled are shares of (ok + silent + loud); blank (headers, no chunk) and gave up are shares of attempts; the "
    "burn rate is that of the last hour, 1 being what the objective allows. Times are those "
    f"{parts.WITH_SPANS}, {parts.SUBSCRIPTIONS_TOO}; blank is told by spans, and left out where none arrive.",
    good="no coloured cell.",
    action="start with the first line; its service leads to this dashboard for it alone, its route to its failures.",
)
FIRST_CHUNK = About(
    401,
    "Time to first chunk",
    metric=f"`{semconv.FIRST_CHUNK_TIME.prometheus}`",
    formula=f"quantiles {parts.WITH_SPANS}, {parts.SUBSCRIPTIONS_TOO}; from the request to the first chunk "
    "(keep-alives are none).",
    good="steady; what is fast enough depends on the route.",
    action="if only the 95th percentile rises, a queue builds up; if both do, everybody waits.",
)
GAPS = About(
    402,
    "Gaps between chunks",
    metric=f"`{semconv.GAP.prometheus}`",
    formula=f"quantiles over all gaps {parts.WITH_SPANS}, {parts.SUBSCRIPTIONS_TOO}.",
    good="steady: this is the speed at which the answer appears.",
    action="stalls are too rare to move a percentile: look at the silence beside it.",
)
SILENCE = About(
    405,
    "Longest silence",
    metric=f"`{semconv.SILENCE_MAX.prometheus}`, reported by the processes while the streams are open",
    formula=f"the longest current silence of a stream that should flow, {parts.SUBSCRIPTIONS_TOO}.",
    good="below the stall threshold (10 s unless set).",
    action="a line that climbs second by second is one stream that hangs: see **Stalled now** and the table.",
)
OPEN_BY_STATE = About(
    403,
    "Open streams by state",
    metric=parts.LIVE,
    formula=f"sum by state, {parts.SUBSCRIPTIONS_TOO}.",
    good="nearly all flowing.",
    action="waiting: the producer is slow to begin; stalled: it stopped; slow readers: the network; "
    "still working for nobody: the disconnect is not noticed.",
)
DURATIONS = About(
    404,
    "Duration",
    metric=f"`{semconv.DURATION.prometheus}`",
    formula=f"quantiles {parts.WITH_SPANS}, {parts.SUBSCRIPTIONS_TOO}; from the request to the real end, not to the "
    "headers.",
    good="steady, and far from the time-outs on the way.",
    action="a flat line at a round number is a limit: see **When do streams die?**",
)
TRACES = parts.to(parts.FORENSICS, "Which streams, and why")
ALERTS = parts.Link("The alerts, with their runbooks", parts.ALERTS)
THIS_CAUSE = parts.to(parts.FORENSICS, "The newest of these", reason=f"${{__field.labels.{q.REASON}}}")


def _tiles() -> list[p.AnyPanel]:
    return [
        p.tile(FAILED, q.tile(q.failed(RANGE)), 4, steps=parts.FAILURES, link=TRACES),
        p.tile(FIVE_XX, q.tile(q.five_xx_panel(RANGE)), 4, steps=parts.FAILURES, link=TRACES),
        p.tile(HIDDEN, q.tile(q.hidden(RANGE)), 2, nothing=parts.NO_FAILURES, link=TRACES),
        p.tile(TRUNCATED, q.tile(q.among_eligible(q.TRUNCATED, RANGE)), 3, steps=parts.FAILURES, link=TRACES),
        p.tile(GAVE_UP, q.tile(q.gave_up(RANGE)), 2, steps=parts.NUISANCES, link=TRACES),
        p.live_tile(STALLED_NOW, q.live(m.stalled_now()), 2, steps=parts.STALLS, link=TRACES),
        p.live_tile(OPEN_NOW, q.live(m.open_streams()), 2),
        p.budget_tile(BUDGET_LEFT, budget.left_tile(), 2, link=parts.to(parts.SLO, "What spent it")),
        p.live_tile(FIRING, q.live(budget.firing()), 3, steps=parts.ANY_ALERT, nothing=parts.NO_RULES, link=ALERTS),
    ]


def _causes() -> list[p.AnyPanel]:
    stalled, unexplained = words.STALLED, words.UNEXPLAINED
    causes = [
        Series(q.per_minute(q.count_spans(q.BAD, STEP, (q.REASON,))), f"{{{{{q.REASON}}}}}", exemplars=True),
        Series(q.per_minute(q.count_or_none(q.OK_BUT_STALLED, STEP)), stalled.text, stalled.colour),
        Series(q.per_minute(q.failures_without_cause(STEP)), unexplained.text, unexplained.colour),
        Series(q.per_minute(q.count_or_none(q.CANCELLED, STEP)), *words.LEFT),
    ]
    users = Series(q.failed(STEP), *words.USERS_SAW)
    panel_says = Series(q.five_xx_panel(STEP), *words.PANEL_SAYS)
    objective = ((budget.BUDGET, words.ORANGE),)
    return [
        p.stack(
            BY_CAUSE,
            causes,
            14,
            unit=parts.PER_MINUTE,
            codes=words.REASONS,
            link=THIS_CAUSE,
            off=words.LEFT.text,
        ),
        p.gap_between(SEEN_AND_UNSEEN, users, panel_says, 10, limits=objective),
    ]


def _routes() -> list[p.AnyPanel]:
    by = q.BY_ROUTE
    columns = [
        Column("Attempts", f"{q.count(q.ANY, RANGE, by)} > 0", parts.COUNT),
        Column("Failed", q.failed(RANGE, by), steps=parts.FAILURES),
        Column("5xx", q.among_eligible(q.LOUD, RANGE, by), steps=parts.FAILURES),
        Column("Cut short", q.among_eligible(q.TRUNCATED, RANGE, by), steps=parts.FAILURES),
        Column("Stalled", q.among_eligible(q.STALLED, RANGE, by), steps=parts.NUISANCES),
        Column("Blank", q.share_of_spans(q.BLANK, RANGE, by), steps=parts.NUISANCES),
        Column("Gave up", q.gave_up(RANGE, by), steps=parts.NUISANCES),
        Column("First chunk p95", m.quantile(0.95, semconv.FIRST_CHUNK_TIME, RANGE, by), parts.SECONDS),
        Column("Gap p99", m.quantile(0.99, semconv.GAP, RANGE, by), parts.SECONDS),
        Column("Burn rate", budget.burn_recorded("1h"), parts.FACTOR, parts.BURN),
    ]
    only = parts.to_line(UID, "Show only this route", service="Service", route="Route")
    why = parts.to_line(parts.FORENSICS, "Its newest failures", service="Service", route="Route")
    keys = (parts.Key(q.SERVICE, "Service", link=only), parts.Key(q.ROUTE, "Route", link=why))
    return [tables.listing(ROUTES, keys, columns, 24, sort="Failed")]


def _feel() -> list[p.AnyPanel]:
    def quantiles(metric: semconv.Metric, *shown: float) -> list[Series]:
        return [Series(m.quantile(level, metric, STEP), f"p{level * 100:g}", exemplars=True) for level in shown]

    silence = Series(m.longest_silence(), "longest silence", words.STALLED.colour)
    states = [Series(m.open_streams(by=(q.STATE,)), f"{{{{{q.STATE}}}}}")]
    return [
        p.graph(FIRST_CHUNK, quantiles(semconv.FIRST_CHUNK_TIME, 0.5, 0.95), 5, unit=parts.SECONDS),
        p.graph(GAPS, quantiles(semconv.GAP, 0.5, 0.99), 5, unit=parts.SECONDS),
        p.graph(SILENCE, [silence], 4, unit=parts.SECONDS),
        p.stack(OPEN_BY_STATE, states, 5, unit=parts.COUNT, codes=words.STATES),
        p.graph(DURATIONS, quantiles(semconv.DURATION, 0.5, 0.95), 5, unit=parts.SECONDS),
    ]


def build() -> str:
    """The dashboard's JSON."""
    return dashboard(
        UID,
        "Streams: overview",
        "For whoever is on call: is it broken, what is failing, where, how does it feel?",
        GUIDE,
        [
            Row(100, "Is it broken?", 4, _tiles()),
            Row(200, "What is failing?", 8, _causes()),
            Row(300, "Where?", 9, _routes()),
            Row(400, "How does it feel?", 7, _feel()),
            ages.row(),
        ],
    )
