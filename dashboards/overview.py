"""``stream-overview``: is it broken, what is failing, where, how does it feel? One screen, for whoever is on call."""

from __future__ import annotations

from dashboards import panels as p
from dashboards import queries as q
from dashboards import words
from dashboards.panels import About, Column, Series
from dashboards.queries import RANGE, STEP
from otel_streaming import semconv

UID = "stream-overview"

GUIDE = """\
A stream that breaks after its `200 OK` is a failure that no status code tells: **Failed** counts it, **What your 5xx \
panel says** does not, and the difference is what your users see and your alerts do not. \
Read from the top: is it broken, what ends the streams, which route is worst, how does it feel to a reader. \
Green means measured and fine, grey **no traffic** means that no stream ended, grey **no telemetry** that no service \
has reported one in this time range."""

LEDGER_OR_SPANS = (
    f"`{semconv.LEDGER_ENDED.prometheus}` (counted in the process), or `{semconv.ENDED.prometheus}` (from spans) "
    "for services without it; server role, streams with a natural end"
)
SPANS = f"`{semconv.ENDED.prometheus}` (from spans); server role, streams with a natural end"

FAILED = About(
    101,
    "Failed",
    metric=LEDGER_OR_SPANS,
    formula="(silent + loud) / (ok + silent + loud), over the whole time range; silent is cut short or failed after "
    "the headers, loud is a 5xx instead of a stream. Readers who left and streams that a restart ended tidily count "
    "on neither side.",
    good="below 0.1 %.",
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
    metric=LEDGER_OR_SPANS,
    formula="silent / (silent + loud), over the whole time range: failures that went out under a status of 200.",
    good="no number is good or bad; it says how much of the trouble status codes cannot show.",
    action="the higher it is, the less the panel to the left is worth in this incident.",
)
TRUNCATED = About(
    104,
    "Cut short",
    metric=LEDGER_OR_SPANS,
    formula="silent with outcome truncated / (ok + silent + loud), over the whole time range: the reader got a "
    "beginning and an end of file that looks like success.",
    good="below 0.1 %.",
    action="the purple parts of the stack name the cause: no end marker is usually upstream, a dead process is yours.",
)
GAVE_UP = About(
    105,
    "Gave up",
    metric=LEDGER_OR_SPANS,
    formula="gave_up / all ended streams, over the whole time range: readers who left before the first chunk or in the "
    "middle of a stall. Not part of **Failed**.",
    good="below 2 %, and steady.",
    action="compare with time to first chunk and silence below: people leave what does not move.",
)
STALLED_NOW = About(
    106,
    "Stalled now",
    metric=f"`{semconv.ACTIVE.prometheus}`, reported by the processes while the streams are open",
    formula="open streams in state stalled: silent for longer than the threshold of their route (10 s unless set).",
    good="0.",
    action="look at the provider behind the route; these readers are waiting at this moment.",
)
OPEN_NOW = About(
    107,
    "Open streams",
    metric=f"`{semconv.ACTIVE.prometheus}`, reported by the processes while the streams are open",
    formula="sum over all states, subscriptions included.",
    good="no judgement: it follows the traffic. A step down is a restart, a steady climb is a leak.",
    action="if it climbs, see which state grows in **Open streams by state**.",
)
BY_CAUSE = About(
    201,
    "Failures by cause, on one axis",
    metric=f"{SPANS}; stalls: {LEDGER_OR_SPANS}",
    formula="silent and loud ends per minute by reason, and complete streams that stalled on the way. A 5xx is one "
    "colour among others. Grey is what the ledger of a service counts whose spans do not arrive.",
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
    metric=f"attempts and shares: {LEDGER_OR_SPANS}; blank: {SPANS}; times: "
    f"`{semconv.FIRST_CHUNK_TIME.prometheus}`, `{semconv.GAP.prometheus}`",
    formula="per service and route, over the whole time range. Attempts are all ended streams; failed, 5xx, cut short "
    "and stalled are shares of (ok + silent + loud); blank (headers, no chunk) and gave up are shares of attempts.",
    good="no coloured cell.",
    action="start with the first line; click on its route to see this dashboard for it alone.",
)
FIRST_CHUNK = About(
    401,
    "Time to first chunk",
    metric=f"`{semconv.FIRST_CHUNK_TIME.prometheus}`",
    formula="quantiles over the streams that ended; from the request to the first chunk (keep-alives are none).",
    good="steady; what is fast enough depends on the route.",
    action="if only the 95th percentile rises, a queue builds up; if both do, everybody waits.",
)
GAPS = About(
    402,
    "Gaps and longest silence",
    metric=f"`{semconv.GAP.prometheus}` (ended streams), `{semconv.SILENCE_MAX.prometheus}` (open streams, live)",
    formula="quantiles of the gaps between chunks; the longest current silence of a stream that should flow.",
    good="silence below the stall threshold (10 s unless set).",
    action="stalls are too rare to move a percentile: trust the silence, then look at **Stalled now**.",
)
OPEN_BY_STATE = About(
    403,
    "Open streams by state",
    metric=f"`{semconv.ACTIVE.prometheus}`, reported by the processes while the streams are open",
    formula="sum by state, subscriptions included.",
    good="nearly all flowing.",
    action="waiting: the producer is slow to begin; stalled: it stopped; slow readers: the network; "
    "still working for nobody: the disconnect is not noticed.",
)
DURATIONS = About(
    404,
    "Duration",
    metric=f"`{semconv.DURATION.prometheus}`",
    formula="quantiles over the streams that ended, from the request to the real end, not to the headers.",
    good="steady, and far from the time-outs on the way.",
    action="a flat line at a round number is a limit: see **When do streams die?**",
)
AGES = About(
    501,
    "Age of streams when they are interrupted",
    metric=f"`{semconv.INTERRUPTED_DURATION.prometheus}`: every end after the headers that is not complete, readers "
    "who left included, since a proxy's limit looks just like that",
    formula="interrupted streams per bucket of age.",
    good="a thin cloud without a pattern.",
    action="a level band is a time limit on the way: its height in seconds names the setting.",
)
AT_LIMITS = About(
    502,
    "Interrupted at a usual limit",
    metric=f"`{semconv.INTERRUPTED_DURATION.prometheus}`",
    formula="streams interrupted within a second or so of the limits that proxies and platforms like to set, over the "
    "whole time range.",
    good="short bars: a few by chance.",
    action="one bar above all others names the limit: look for it in proxies, load balancers and servers.",
)


def _tiles() -> list[p.AnyPanel]:
    return [
        p.tile(FAILED, q.tile(q.failed(RANGE)), 4, steps=p.FAILURE_STEPS),
        p.tile(FIVE_XX, q.tile(q.five_xx_panel(RANGE)), 4, steps=p.FAILURE_STEPS),
        p.tile(HIDDEN, q.tile(q.hidden(RANGE)), 4, nothing=words.NO_FAILURES),
        p.tile(TRUNCATED, q.tile(q.among_eligible(q.TRUNCATED, RANGE)), 3, steps=p.FAILURE_STEPS),
        p.tile(GAVE_UP, q.tile(q.gave_up(RANGE)), 3, steps=p.LOST_STEPS),
        p.live_tile(STALLED_NOW, q.stalled_now(), 3, steps=((0, words.GREEN), (1, words.ORANGE), (10, words.RED))),
        p.live_tile(OPEN_NOW, q.open_streams(), 3),
    ]


def _causes() -> list[p.AnyPanel]:
    stalled, unexplained = words.STALLED, words.UNEXPLAINED
    causes = [
        Series(q.per_minute(q.count_spans(q.BAD, STEP, (q.REASON,))), f"{{{{{q.REASON}}}}}", exemplars=True),
        Series(q.per_minute(q.completed_but_stalled(STEP)), stalled.text, stalled.colour),
        Series(q.per_minute(q.failures_without_cause(STEP)), unexplained.text, unexplained.colour),
    ]
    users = Series(q.failed(STEP), *words.USERS_SAW)
    panel_says = Series(q.five_xx_panel(STEP), *words.PANEL_SAYS)
    return [
        p.stack(BY_CAUSE, causes, 14, unit=p.PER_MINUTE, codes=words.REASONS),
        p.gap_between(SEEN_AND_UNSEEN, users, panel_says, 10),
    ]


def _routes() -> list[p.AnyPanel]:
    by = (q.SERVICE, q.ROUTE)
    columns = [
        Column("Attempts", q.attempts(by), p.COUNT),
        Column("Failed", q.failed(RANGE, by), steps=p.FAILURE_STEPS),
        Column("5xx", q.among_eligible(q.LOUD, RANGE, by), steps=p.FAILURE_STEPS),
        Column("Cut short", q.among_eligible(q.TRUNCATED, RANGE, by), steps=p.FAILURE_STEPS),
        Column("Stalled", q.among_eligible(q.STALLED, RANGE, by), steps=p.LOST_STEPS),
        Column("Blank", q.blank(RANGE, by), steps=p.LOST_STEPS),
        Column("Gave up", q.gave_up(RANGE, by), steps=p.LOST_STEPS),
        Column("First chunk p95", q.quantile(0.95, semconv.FIRST_CHUNK_TIME, RANGE, by), p.SECONDS),
        Column("Gap p99", q.quantile(0.99, semconv.GAP, RANGE, by), p.SECONDS),
    ]
    chosen = "var-service=${__data.fields.Service}&var-route=${__data.fields.Route}"
    link = p.Link("Show only this route", f"/d/{UID}?{chosen}&${{datasource:queryparam}}&${{__url_time_range}}")
    return [p.routes(ROUTES, columns, 24, sort="Failed", link=link)]


def _feel() -> list[p.AnyPanel]:
    def quantiles(metric: semconv.Metric, *shown: float) -> list[Series]:
        return [Series(q.quantile(level, metric, STEP), f"p{level * 100:g}", exemplars=True) for level in shown]

    silence = Series(q.longest_silence(), "longest silence", words.STALLED.colour)
    states = [Series(q.open_streams(by=(q.STATE,)), f"{{{{{q.STATE}}}}}")]
    return [
        p.graph(FIRST_CHUNK, quantiles(semconv.FIRST_CHUNK_TIME, 0.5, 0.95), 6, unit=p.SECONDS),
        p.graph(GAPS, [*quantiles(semconv.GAP, 0.5, 0.99), silence], 6, unit=p.SECONDS),
        p.stack(OPEN_BY_STATE, states, 6, unit=p.COUNT, codes=words.STATES),
        p.graph(DURATIONS, quantiles(semconv.DURATION, 0.5, 0.95), 6, unit=p.SECONDS),
    ]


def _ages() -> list[p.AnyPanel]:
    limits = [Series(q.interrupted_between(low, high), f"at {limit} s", words.PURPLE) for limit, low, high in q.LIMITS]
    return [p.buckets_map(AGES, q.buckets(semconv.INTERRUPTED_DURATION), 14), p.bars(AT_LIMITS, limits, 10)]


def build() -> str:
    """The dashboard's JSON."""
    return p.dashboard(
        UID,
        "Streams: overview",
        "What really became of the streams: failures that a status code cannot tell, by cause and by route.",
        p.note(1, GUIDE, height=3),
        [
            p.Row(100, "Is it broken?", 4, _tiles()),
            p.Row(200, "What is failing?", 8, _causes()),
            p.Row(300, "Where?", 9, _routes()),
            p.Row(400, "How does it feel?", 7, _feel()),
            p.Row(500, "When do streams die?", 12, _ages()),
        ],
    )
