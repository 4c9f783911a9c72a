"""``stream-trust``: may these numbers be believed? What vanished, what was lost on the way, what it costs."""

from __future__ import annotations

from dashboards import board, health, parts, tables, traceql, traces, words
from dashboards import panels as p
from dashboards import queries as q
from dashboards.board import Row, dashboard
from dashboards.parts import About, Column, Judgement, Series
from dashboards.queries import RANGE, STEP
from otel_streaming import semconv
from otel_streaming.semconv import Reason

UID = parts.TRUST

GUIDE = f"""\
Two witnesses count every stream: its process (the ledger) and, by way of its span, the collector; where both speak \
they must agree on failures. \
What began, did not end and is not open has **vanished**; what the ledger knows and no span told is **lost \
telemetry**: then reasons and traces are missing, the objective's numbers are not. \
Grey **no telemetry** on every tile means that nobody reports at all. \
{parts.go_on(parts.OVERVIEW, parts.SLO)}"""

LEDGER = f"`{semconv.LEDGER_STARTED.prometheus}`, `{semconv.LEDGER_ENDED.prometheus}`"
VANISHED = About(
    101,
    "Vanished",
    metric=f"{LEDGER}, `{semconv.ACTIVE.prometheus}`",
    formula=f"began - ended - (open now - open when the range began), {parts.SUBSCRIPTIONS_TOO}.",
    good="0, give or take what one export has not told yet.",
    action="if it stays above zero: a process was killed and nothing has replaced it (the next reports its streams). "
    "Far below zero: ends were counted whose begin was not, as after a gap in Prometheus, or of a process from before "
    "the range.",
)
COMPARED = (
    f"`{semconv.LEDGER_ENDED.prometheus}` against `{semconv.ENDED.prometheus}` (from spans: what a process counts "
    f"itself with `METRICS=all` is no second witness); server role, {parts.SUBSCRIPTIONS_TOO}"
)
LOST = About(
    102,
    "Lost telemetry",
    metric=COMPARED,
    formula="failures in the ledger that the spans do not tell, service by service / failures in the ledger, over the "
    "whole time range, of those that send spans; **nothing to compare** where there are none of either.",
    good="below 1 %.",
    action="look at what the collector refused or could not hand on, then at the exporter of whoever leads below.",
)
TWICE = About(
    107,
    "Told twice",
    metric=COMPARED,
    formula="failures told by spans that are not in the ledger, service by service / failures told by spans, over the "
    "whole time range.",
    good="below 1 %; a failure of the last minute shows here until its process has told of it.",
    action="a half: two collectors derive, one behind another (let only one); a little after an outage: batches that "
    "were sent again; else some processes export no metrics.",
)
UNKNOWN = About(
    103,
    "Ended unknown",
    metric=parts.LEDGER_OR_SPANS,
    formula="streams with result unknown / all, over the whole time range.",
    good="below 1 %.",
    action="an integration lets go of streams without telling: see its row in docs/conformance.md, and report it.",
)
FOLDED = About(
    104,
    "Too many routes",
    metric=parts.LEDGER_OR_SPANS,
    formula=f"streams with route `{semconv.OTHER}` / all, over the whole time range.",
    good="0.",
    action="a route is a path that was never made a template (the overview lists them): mend the framework's routing, "
    "or raise MAX_ROUTES.",
)
OVERFLOW = About(
    105,
    "Overflowing series",
    metric=f"every metric of ours with `{health.OVERFLOW}`",
    formula="series into which an SDK or the collector folds what goes beyond its limit.",
    good="0.",
    action="find the label that grows in **Series by metric**; what is folded has lost its labels, not its count.",
)
PROCESSES_NOW = About(
    106,
    "Processes",
    metric=f"`{semconv.LEDGER_STARTED.prometheus}`",
    formula=f"distinct process ids that report streams, {parts.SUBSCRIPTIONS_TOO}.",
    good="as many as there are workers that have had a stream.",
    action="fewer than you run: some are not instrumented, or have nothing to tell yet.",
)
BALANCE = About(
    201,
    "Began and ended",
    metric=LEDGER,
    formula=f"streams that began and that ended, per minute, {parts.SUBSCRIPTIONS_TOO}.",
    good="two lines on each other.",
    action="began above ended for long: more and more stay open, or they vanish.",
)
LOST_BY_SERVICE = About(
    202,
    "Lost telemetry over time",
    metric=COMPARED,
    formula="failures in the ledger that the spans do not tell / failures in the ledger, by service that sends spans.",
    good="0.",
    action="all services at once: the collector; one alone: its exporter or its batch queue.",
)
WITNESSES = About(
    203,
    "Services and their witnesses",
    metric=f"`{semconv.LEDGER_ENDED.prometheus}`, `{semconv.ENDED.prometheus}`",
    formula="streams that ended, streams told by spans, failures lost, failures told twice, over the whole time range, "
    f"{parts.SUBSCRIPTIONS_TOO}; ends unknown, of streams with a natural end.",
    good="no coloured cell; fewer spans than streams where healthy ones are left out on purpose.",
    action="click on a service to see it alone. One without spans shows its failures in grey in the overview: their "
    "causes are missing.",
)
REFUSED = About(
    301,
    "Collector: refused, not handed on",
    metric=f"`{health.COLLECTOR['refused']}`, `{health.COLLECTOR['failed']}`, `{health.COLLECTOR['dropped']}`; every "
    "collector that is scraped",
    formula="spans refused, metric points that could not be sent or had no room in the queue, per second.",
    good="0.",
    action="refused: it is out of memory, give it more or more of them; not sent: Prometheus does not take them.",
)
QUEUE = About(
    302,
    "Collector: queue",
    metric=f"`{health.COLLECTOR['queue']}`, `{health.COLLECTOR['capacity']}`",
    formula="the fullest queue / its capacity.",
    good="near 0.",
    action="full means that the next batch is thrown away: look at what it sends to.",
)
SERIES = About(
    303,
    "Series by metric",
    metric="every metric of ours",
    formula="series that exist now, by metric.",
    good="flat; docs/collector.md says how many to expect.",
    action="a slope is a label without a bound: look at routes and addresses.",
)
PROCESSES = About(
    401,
    "Processes by service",
    metric=f"`{semconv.LEDGER_STARTED.prometheus}`",
    formula=f"distinct process ids that report streams, {parts.SUBSCRIPTIONS_TOO}, by service.",
    good="level; a deployment is a step up and down again.",
    action="a saw-tooth is a crash loop: each tooth takes open streams along.",
)
VERSIONS = About(
    402,
    "Versions of the instrumentation",
    metric="traces: `instrumentation:version` of our scope",
    formula="spans per second that your trace backend has kept, by version.",
    good="one version.",
    action="two for long: a deployment has not reached everybody, and numbers may differ.",
)

DEAD = parts.to(parts.FORENSICS, "What was told of processes that died", reason=Reason.PROCESS_DEATH)
UNSEEN = parts.to(parts.FORENSICS, "The newest of these", reason=Reason.UNKNOWN)
LOSSY = parts.Link("Its alert, with the runbook", "/alerting/list?search=StreamTelemetryLossy")
NAMES = parts.to(parts.OVERVIEW, "Which routes there are")
NOT_COMPARED = {q.NOTHING_TO_DIVIDE: words.NOT_COMPARED}
LOSS = Judgement(
    "one in a hundred is to be looked into, one in ten makes the other numbers worth less",
    ((0, words.GREEN), (0.01, words.ORANGE), (0.1, words.RED)),
)
ANY = Judgement("a limit was reached", ((0, words.GREEN), (1, words.ORANGE)))
GONE = Judgement(
    "one is a killed stream, ten a killed worker; as many below zero are counts that miss their begin",
    ((-1e9, words.ORANGE), (-10, words.GREEN), (1, words.ORANGE), (10, words.RED)),
)


def _tiles() -> list[p.AnyPanel]:
    return [
        p.tile(VANISHED, health.vanished(), 4, unit=parts.COUNT, steps=GONE, nothing={}, link=DEAD),
        p.tile(LOST, q.tile(health.lost(RANGE), None), 4, steps=LOSS, nothing=NOT_COMPARED, link=LOSSY),
        p.tile(TWICE, q.tile(health.told_twice(RANGE), None), 4, steps=LOSS, nothing=NOT_COMPARED, link=LOSSY),
        p.tile(UNKNOWN, q.tile(health.unknown(RANGE)), 3, steps=LOSS, link=UNSEEN),
        p.tile(FOLDED, q.tile(health.folded_routes()), 3, steps=LOSS, link=NAMES),
        p.live_tile(OVERFLOW, q.live(health.overflowing()), 3, steps=ANY),
        p.live_tile(PROCESSES_NOW, q.live(health.processes(())), 3),
    ]


def _witnesses() -> list[p.AnyPanel]:
    balance = [
        Series(q.per_minute(health.started(STEP)), "began", words.BLUE),
        Series(q.per_minute(health.ended(STEP)), "ended", words.GREEN),
    ]
    by = (q.SERVICE,)
    only = parts.to_line(UID, "Only this service", (*parts.EVERYWHERE, "tempo"), service="Service")
    lost = [Series(health.lost(STEP, by), f"{{{{{q.SERVICE}}}}}")]
    columns = [
        Column("Streams", f"{q.count(q.ANY, RANGE, by, kind=None)} > 0", parts.COUNT),
        Column("Told by spans", q.count_spans(q.ANY, RANGE, by, kind=None), parts.COUNT),
        Column("Failures lost", health.lost(RANGE, by), steps=LOSS),
        Column("Told twice", health.told_twice(RANGE, by), steps=LOSS),
        Column("Unknown", health.unknown(RANGE, by), steps=LOSS),
    ]
    return [
        p.graph(BALANCE, balance, 7, unit=parts.PER_MINUTE),
        p.graph(LOST_BY_SERVICE, lost, 7, unit=parts.SHARE),
        tables.listing(WITNESSES, (parts.Key(q.SERVICE, "Service", link=only),), columns, 10, sort="Failures lost"),
    ]


def _on_the_way() -> list[p.AnyPanel]:
    refused = [
        Series(health.refused(), "spans refused", words.RED),
        Series(health.not_sent("failed"), "metric points not taken", words.ORANGE),
        Series(health.not_sent("dropped"), "metric points dropped, queue full", words.DARK_RED),
    ]
    queue = [Series(health.queue_filled(), "queue", words.ORANGE)]
    return [
        p.graph(REFUSED, refused, 6, unit=parts.PER_SECOND),
        p.graph(QUEUE, queue, 6, unit=parts.SHARE, limits=((0.8, words.RED),)).max(1),
        # Every point counts all series there are: a thousand routes have hundreds of thousands.
        p.stack(SERIES, [Series(health.series(), "{{__name__}}")], 12, unit=parts.COUNT).max_data_points(60),
    ]


def _who() -> list[p.AnyPanel]:
    return [
        p.graph(PROCESSES, [Series(health.processes(), f"{{{{{q.SERVICE}}}}}")], 12, unit=parts.COUNT),
        traces.spans_graph(VERSIONS, traceql.versions(), 12),
    ]


def build() -> str:
    """The dashboard's JSON."""
    return dashboard(
        UID,
        "Streams: trust",
        "For whoever looks after the telemetry: may the numbers of the other dashboards be believed?",
        GUIDE,
        [
            Row(100, "Is anything missing?", 4, _tiles()),
            Row(200, "Do the witnesses agree?", 9, _witnesses()),
            Row(300, "What gets lost on the way?", 8, _on_the_way()),
            Row(400, "Who reports?", 8, _who()),
        ],
        more=(board.source("tempo", "Traces", "tempo"),),
    )
