"""``stream-forensics``: why did these streams end, which ones exactly, what do they have in common?"""

from __future__ import annotations

from dashboards import board, parts, tables, traceql, traces, words
from dashboards import panels as p
from dashboards import queries as q
from dashboards.board import Row, dashboard
from dashboards.parts import About, Column, Series
from dashboards.queries import RANGE, STEP
from dashboards.traces import Shown
from otel_streaming import semconv
from otel_streaming.semconv import Role

UID = parts.FORENSICS

GUIDE = f"""\
From a red number to one stream in two clicks: choose a cause (or come from a colour in another dashboard), click on a \
line, and its trace opens at the bottom. \
Numbers by cause are counted from all spans; the lists and the comparison come from the traces that your backend kept, \
so use them to understand, never to count. \
Origin says who ended it, and only where there is evidence. \
{parts.go_on(parts.OVERVIEW, parts.FLOW, parts.TRUST)}"""

BY_CAUSE = About(
    101,
    "Failures by cause",
    metric=parts.SPANS,
    formula="silent and loud ends per minute, by reason.",
    good="flat at zero.",
    action="click on a colour to list the newest streams of that cause.",
)
BY_ORIGIN = About(
    102,
    "Failures by who ended them",
    metric=parts.SPANS,
    formula="silent and loud ends per minute, by origin.",
    good="flat at zero.",
    action="**the upstream** is your provider's, **this service** is yours, **something in between** is a proxy.",
)
WHERE_AND_WHY = About(
    201,
    "Where, why, by whom",
    metric=parts.SPANS,
    formula="silent and loud ends over the whole time range, by service, route, reason and origin.",
    good="empty.",
    action="the first line is the one to repair first; its route leads to its streams alone.",
)
MASKED = About(
    202,
    "Behind a clean end",
    metric=parts.SPANS,
    formula="streams whose upstream broke while they themselves looked complete (or were cut by a pass-through that "
    "invented the end), told by spans / all streams of the services whose spans arrive.",
    good="0.",
    action="a gateway or an exception handler closes politely what it should have passed on: see **Newest masked**.",
)
TRUNCATED = About(
    301,
    "Newest cut short",
    metric=f"traces: `{semconv.RESULT}` silent, `{semconv.OUTCOME}` truncated, of the cause chosen above",
    formula="the newest spans that your trace backend has kept.",
    good="nothing to show.",
    action="read the line from left to right: after how much, of what, why; then open its trace.",
)
FAILED = About(
    302,
    "Newest failed",
    metric=f"traces: `{semconv.RESULT}` silent or loud, `{semconv.OUTCOME}` failed, of the cause chosen above",
    formula="the newest spans that your trace backend has kept.",
    good="nothing to show.",
    action="open its trace: the exception stands on the span of the server.",
)
BLANK = About(
    303,
    "Newest blank",
    metric=f"traces: `{semconv.PHASE}` before the first chunk",
    formula="the newest spans whose headers went out and nothing after them.",
    good="nothing to show.",
    action="the reader saw an empty answer: was it slow (see how long it lasted), or did something break at once?",
)
STALLED = About(
    304,
    "Newest stalled",
    metric=f"traces: `{semconv.STALL_COUNT}` above zero",
    formula="the newest spans with a silence over the threshold of their route.",
    good="nothing to show.",
    action="the longest gap beside the number of chunks says where in the answer it stopped.",
)
MASKED_ONES = About(
    305,
    "Newest masked",
    metric=f"traces: `{semconv.MASKED}`",
    formula="the newest spans that looked complete although their upstream was not.",
    good="nothing to show.",
    action="its trace has both ends: the client's span says what really happened.",
)
OTHERS = About(
    306,
    "Newest that neither ended well nor failed",
    metric=f"traces: `{semconv.RESULT}` gave up, cancelled, recycled or unknown, of the cause chosen above",
    formula="the newest spans that your trace backend has kept: readers who left, restarts, ends that nobody saw.",
    good="readers who left, having seen most of it.",
    action="choose a cause; **unknown** is an end that our hooks have missed: which protocol and dialect have they in "
    "common?",
)
BY_UPSTREAM = About(
    401,
    "What this service reads, by upstream",
    metric=f"`{semconv.ENDED.prometheus}`; client role",
    formula="streams, share of failures by the same definition, over the whole time range, by address; all "
    f"{parts.WITH_SPANS}.",
    good="no coloured cell.",
    action="a provider that fails here and nowhere else is theirs to explain: send them a trace of the list below; a "
    "click on the service narrows both.",
)
UPSTREAM_CAUSES = About(
    402,
    "How upstreams fail",
    metric=f"`{semconv.ENDED.prometheus}`; client role",
    formula="silent and loud ends per minute, by reason.",
    good="flat at zero.",
    action="compare with **Failures by cause**: what rises in both came from there. Click on a colour to list those of "
    "that cause below.",
)
BY_PROXY = About(
    403,
    "What the proxies in front saw",
    metric=f"`{semconv.ENDED.prometheus}`; proxy role, from access logs; every proxy, whatever service is chosen",
    formula="ends that were not complete, per minute, by reason.",
    good="what the service saw, no more.",
    action="**deadline passed** or **upstream went silent** here, and readers leaving there: the proxy's own limit.",
)
BY_MODEL = About(
    404,
    "Failures by model",
    metric=f"traces: `{semconv.MODEL}`",
    formula="failed spans per second that your trace backend has kept, by the model that the stream names "
    "and by which end was watched.",
    good="nothing to show.",
    action="one model above the others: route around it, and look at what it answers.",
)
FAILED_READS = About(
    405,
    "Newest failed reads",
    metric=f"traces: `{semconv.ROLE}` client, `{semconv.RESULT}` silent or loud, of the cause chosen above",
    formula="the newest spans of what this service has read from others, that your trace backend has kept.",
    good="nothing to show.",
    action="open its trace: above it is the stream that was served from it, and what became of that.",
)
COMPARED = About(
    501,
    "What failures have in common",
    metric="traces: every attribute of our spans",
    formula="the most frequent values among failures against those among all the others, by your trace backend.",
    good="nothing that failures have and others do not.",
    action="a value that is frequent on one side only is the lead: a version, a model, a route, a close code.",
)
LOGS = About(
    502,
    "Records",
    metric="log records of ours: bad ends, stalls while they last, processes that died",
    formula="newest first; a record carries what its span carries.",
    good="few.",
    action="open a record for its attributes; its trace id leads to the trace.",
)
ONE_TRACE = About(
    601,
    "The trace",
    metric="traces: the one whose id stands in the variable **Trace**",
    formula="every span of it, from the request to the real end.",
    good="the stream's span ends where its parent does.",
    action="see what its last event was, and which side it waited for.",
)

PROTOCOL = Shown(semconv.PROTOCOL, "Protocol", words.PROTOCOLS)
DIALECT = Shown(semconv.DIALECT, "Dialect", words.DIALECTS)
CAUSE = Shown(semconv.REASON, "Why", words.REASONS)
ROUTE = Shown(semconv.ROUTE, "Route")
PROGRESS = (
    # The last progress: how far it had come, in words, chunks and bytes.
    Shown(semconv.PHASE, "Got as far as", words.PHASES),
    Shown(semconv.CHUNK_COUNT, "Chunks"),
    Shown(semconv.SIZE, "Bytes", unit=parts.BYTES),
)
LONGEST_GAP = Shown(semconv.CHUNK_GAP_MAX, "Longest gap", unit=parts.SECONDS)
ORIGIN = Shown(semconv.ORIGIN, "By whom", words.ORIGINS)
FINISH = Shown(semconv.FINISH_REASON, "Finish reason")
CLOSE_CODE = Shown(semconv.WEBSOCKET_CLOSE_CODE, "Close code")
ADDRESS = Shown(semconv.SERVER_ADDRESS, "Upstream")
MODEL = Shown(semconv.MODEL, "Model")
UPSTREAM = Shown(semconv.UPSTREAM_REASON, "Its upstream", words.REASONS)

_HERE = (*parts.EVERYWHERE, *traces.SOURCES)
THIS_CAUSE = parts.to(UID, "The newest of these", _HERE, reason=f"${{__field.labels.{q.REASON}}}")


def _causes() -> list[p.AnyPanel]:
    unexplained = Series(q.per_minute(q.failures_without_cause(STEP)), *words.UNEXPLAINED)
    reasons = Series(q.per_minute(q.count_spans(q.BAD, STEP, (q.REASON,))), f"{{{{{q.REASON}}}}}", exemplars=True)
    origins = Series(q.per_minute(q.count_spans(q.BAD, STEP, (q.ORIGIN,))), f"{{{{{q.ORIGIN}}}}}")
    return [
        p.stack(BY_CAUSE, [reasons, unexplained], 14, unit=parts.PER_MINUTE, codes=words.REASONS, link=THIS_CAUSE),
        p.stack(BY_ORIGIN, [origins, unexplained], 10, unit=parts.PER_MINUTE, codes=words.ORIGINS),
    ]


def _where() -> list[p.AnyPanel]:
    by = (*q.BY_ROUTE, q.REASON, q.ORIGIN)
    only = parts.to_line(UID, "Only this route", _HERE, service="Service", route="Route")
    keys = (
        parts.Key(q.SERVICE, "Service"),
        parts.Key(q.ROUTE, "Route", link=only),
        parts.Key(q.REASON, "Why", words.REASONS),
        parts.Key(q.ORIGIN, "By whom", words.ORIGINS),
    )
    counted = [Column("Streams", f"{q.count_spans(q.BAD, RANGE, by)} > 0", parts.COUNT)]
    masked = [Series(q.share_of_spans(q.MASKED, STEP), "masked", words.REASONS[semconv.Reason.UPSTREAM_MASKED].colour)]
    return [
        tables.listing(WHERE_AND_WHY, keys, counted, 16, sort="Streams"),
        p.graph(MASKED, masked, 8, unit=parts.SHARE, fill=20),
    ]


def _lists() -> list[p.AnyPanel]:
    def newest(about: About, conditions: tuple[str, ...], width: int, *shown: Shown) -> p.AnyPanel:
        return traces.newest(about, traceql.newest(conditions, [one.attribute for one in shown]), shown, width)

    return [
        newest(TRUNCATED, traceql.TRUNCATED, 12, ROUTE, CAUSE, ORIGIN, *PROGRESS, FINISH, CLOSE_CODE),
        newest(FAILED, traceql.FAILED, 12, ROUTE, CAUSE, ORIGIN, *PROGRESS, FINISH, CLOSE_CODE),
        newest(BLANK, traceql.BLANK, 8, ROUTE, CAUSE, ORIGIN),
        newest(STALLED, traceql.STALLED, 8, ROUTE, *PROGRESS, LONGEST_GAP),
        newest(MASKED_ONES, traceql.MASKED, 8, ROUTE, CAUSE, UPSTREAM, *PROGRESS),
        newest(OTHERS, traceql.OTHERS, 24, ROUTE, PROTOCOL, DIALECT, CAUSE, ORIGIN, *PROGRESS),
    ]


def _neighbours() -> list[p.AnyPanel]:
    by = (q.SERVICE, q.ADDRESS)
    columns = [
        Column("Streams", f"{q.count_spans(q.ANY, RANGE, by, Role.CLIENT)} > 0", parts.COUNT),
        Column("Failed", q.failed_spans(RANGE, by, Role.CLIENT), steps=parts.FAILURES),
    ]
    only = parts.to_line(UID, "Only this service", _HERE, service="Service")
    keys = (parts.Key(q.SERVICE, "Service", link=only), parts.Key(q.ADDRESS, "Upstream"))

    def by_cause(which: str, role: Role) -> list[Series]:
        reasons = q.per_minute(q.count_spans(which, STEP, (q.REASON,), role))
        return [Series(reasons, f"{{{{{q.REASON}}}}}"), Series(q.none_of(q.ANY, STEP, role), *words.NONE)]

    shown = (ADDRESS, CAUSE, ORIGIN, *PROGRESS, FINISH, MODEL)
    return [
        tables.listing(BY_UPSTREAM, keys, columns, 6, sort="Failed"),
        p.stack(
            UPSTREAM_CAUSES,
            by_cause(q.BAD, Role.CLIENT),
            6,
            unit=parts.PER_MINUTE,
            codes=words.REASONS,
            link=THIS_CAUSE,
        ),
        p.stack(BY_PROXY, by_cause(q.NOT_OK, Role.PROXY), 6, unit=parts.PER_MINUTE, codes=words.REASONS),
        traces.spans_graph(BY_MODEL, traceql.failures_by(semconv.MODEL), 6),
        traces.newest(FAILED_READS, traceql.newest_reads([one.attribute for one in shown]), shown, 24),
    ]


def _leads() -> list[p.AnyPanel]:
    return [
        traces.spans_graph(COMPARED, traceql.what_failures_have_in_common(), 12),
        traces.records(LOGS, traceql.records(), 12),
    ]


def build() -> str:
    """The dashboard's JSON."""
    return dashboard(
        UID,
        "Streams: forensics",
        "For whoever must explain a stream: why did it end, who ended it, what have such streams in common?",
        GUIDE,
        [
            Row(100, "Why, and by whom?", 8, _causes()),
            Row(200, "Where?", 8, _where()),
            Row(300, "Which ones exactly?", 9, _lists()),
            Row(400, "Before us and behind us?", 8, _neighbours()),
            Row(500, "What do they have in common?", 9, _leads()),
            Row(600, "What happened in this one?", 14, [traces.waterfall(ONE_TRACE, 24)]),
        ],
        more=(
            board.source("tempo", "Traces", "tempo"),
            board.source("loki", "Logs", "loki"),
            board.choice("reason", q.reasons()),
            board.typed(traces.TRACE, "Trace"),
        ),
    )
