"""``stream-flow``: how do streams flow, where do they stall, when do they die, what is made for nobody?"""

from __future__ import annotations

from dashboards import ages, parts, tables, words
from dashboards import measures as m
from dashboards import panels as p
from dashboards import queries as q
from dashboards.board import Row, dashboard
from dashboards.parts import About, Column, Judgement, Series
from dashboards.queries import RANGE, STEP
from otel_streaming import semconv
from otel_streaming.semconv import Role

UID = parts.FLOW

GUIDE = f"""\
A stream has a pace: how long until it begins, how evenly it goes on, and whether anybody still reads. \
In the maps a cell is the number of streams (or gaps) of that length at that time, a dot is one trace: a second band \
far above the first is a stall, a level band in **When do streams die?** is somebody's time limit. \
Whatever was made for a stream that broke, or for a reader who had gone, is the bill at the bottom. \
{parts.go_on(parts.OVERVIEW, parts.FORENSICS)}"""

FIRST_CHUNK = About(
    101,
    "Time to first chunk",
    metric=f"`{semconv.FIRST_CHUNK_TIME.prometheus}`",
    formula="streams per bucket of time from the request to the first chunk (keep-alives are none), "
    f"{parts.WITH_SPANS}, {parts.SUBSCRIPTIONS_TOO}.",
    good="one band, where it always is.",
    action="a second band above it is a queue, a cold start or one slow provider: click on a dot for its trace.",
)
GAPS = About(
    102,
    "Gaps between chunks",
    metric=f"`{semconv.GAP.prometheus}`",
    formula=f"gaps per bucket of length, {parts.WITH_SPANS}, {parts.SUBSCRIPTIONS_TOO}.",
    good="a dense band at the pace of your producer, nothing above a second.",
    action="mass at 10 s and more are stalls: the row below counts them by route.",
)
STALLS = About(
    201,
    "Stalled, of a thousand streams",
    metric=parts.LEDGER_OR_SPANS,
    formula=f"1000 x streams with a stall / (ok + silent + loud), by route; the {m.WORST} that have most.",
    good="0.",
    action="the route that leads is the one whose producer stops; a stall is no failure if it ends, but readers leave.",
)
SILENCE = About(
    202,
    "Longest silence, live",
    metric=f"`{semconv.SILENCE_MAX.prometheus}`, reported by the processes while the streams are open",
    formula=f"the longest current silence of a stream that should flow, by route, {parts.SUBSCRIPTIONS_TOO}; the "
    f"{m.WORST} routes with the longest.",
    good="below the stall threshold (10 s unless set).",
    action="a ramp is one stream that hangs at this moment: no time-out has seen it.",
)
STATES = About(
    203,
    "Open streams by state",
    metric=parts.LIVE,
    formula=f"sum by state, {parts.SUBSCRIPTIONS_TOO}.",
    good="nearly all flowing.",
    action="**reader gone, still working** is work for nobody: let your code notice the disconnect.",
)
BYTES = About(
    301,
    "Bytes per second",
    metric=f"`{semconv.SIZES.prometheus}`",
    formula=f"bytes {parts.WITH_SPANS} and ended, spread over the window, {parts.SUBSCRIPTIONS_TOO}.",
    good="follows the traffic.",
    action="bytes that fall while attempts do not: answers have become shorter.",
)
CHUNKS = About(
    302,
    "Chunks per second",
    metric=f"`{semconv.CHUNKS.prometheus}`",
    formula=f"chunks {parts.WITH_SPANS} and ended, spread over the window, {parts.SUBSCRIPTIONS_TOO}.",
    good="follows the traffic.",
    action="fewer chunks at the same bytes: something on the way, or a library, gathers them.",
)
BUFFERED = About(
    303,
    "Streams that arrived in one burst",
    metric=f"`{semconv.BUFFERED_STREAMS.prometheus}`; client role",
    formula="streams we read that should have come piece by piece and did not, by what their headers say of caches, "
    f"{parts.SUBSCRIPTIONS_TOO}.",
    good="0.",
    action="switch off buffering (or the cache) in the proxy between this service and what it reads.",
)
WASTED_BYTES = About(
    601,
    "Wasted bytes",
    metric=f"`{semconv.WASTED_SIZE.prometheus}`",
    formula="all bytes of streams cut short or failed, and what was made after the reader had gone, over the whole "
    f"time range, by cause, {parts.SUBSCRIPTIONS_TOO}.",
    good="little beside **Bytes per second**.",
    action="whoever got half an answer asks again: each bar is paid twice.",
)
WASTED_SECONDS = About(
    602,
    "Wasted time",
    metric=f"`{semconv.WASTED_DURATION.prometheus}`",
    formula="seconds of streams cut short or failed, and of work after the reader had gone, over the whole time range, "
    f"by cause, {parts.SUBSCRIPTIONS_TOO}.",
    good="short bars.",
    action="**reader left** is yours to save: stop when `client_gone` says so.",
)
WASTED_TOKENS = About(
    603,
    "Wasted tokens",
    metric=f"`{semconv.WASTED_TOKENS.prometheus}`",
    formula="output tokens of streams cut short or failed, where the stream tells them, over the whole time range, "
    f"{parts.SUBSCRIPTIONS_TOO}.",
    good="short bars.",
    action="times the price of a token it is the part of your provider's bill that nobody has read.",
)
RETRIES = About(
    604,
    "Further attempts",
    metric=f"`{semconv.RETRIES.prometheus}`",
    formula=f"requests that say they repeat or resume an earlier one, per minute, {parts.SUBSCRIPTIONS_TOO}.",
    good="few; resumed rather than begun again.",
    action="a wave of new beginnings after an incident is its echo: see that clients can resume.",
)
DIALECTS = About(
    701,
    "By protocol and dialect",
    metric=parts.SPANS,
    formula="streams, share of failures, and share whose end marker was seen among those that must have one, over the "
    f"whole time range; all {parts.WITH_SPANS}.",
    good="end marker seen: above 99 %.",
    action="a dialect without markers is one that your provider or your gateway cuts: see its failures.",
)
BY_PROTOCOL = About(
    702,
    "Streams by protocol",
    metric=parts.LEDGER_OR_SPANS,
    formula="streams that ended, per minute, by the framing of their bodies.",
    good="follows the traffic.",
    action="one that vanishes while the others go on: a client or a gateway has changed how it asks.",
)
BY_DIALECT = About(
    703,
    "Streams by dialect",
    metric=parts.SPANS,
    formula=f"streams that ended, per minute, by whose events are inside; {parts.WITH_SPANS}.",
    good="follows the traffic.",
    action="**not known** or **none** that grows: streams whose end marker nobody can miss; declare it (`TERMINALS`).",
)
ITS_FAILURES = parts.to(
    parts.FORENSICS,
    "Its newest failures",
    tuple(name for name in parts.EVERYWHERE if name != "protocol"),
    protocol="${__value.raw:percentencode}",  # the code, where the cell says it in words
)
MARKERS = Judgement(
    "a stream in a hundred without its marker is more than chance",
    ((0, words.RED), (0.9, words.ORANGE), (0.99, words.GREEN)),
)


def _pace() -> list[p.AnyPanel]:
    return [
        p.buckets_map(FIRST_CHUNK, m.buckets(semconv.FIRST_CHUNK_TIME), 12),
        p.buckets_map(GAPS, m.buckets(semconv.GAP), 12),
    ]


def _stalls() -> list[p.AnyPanel]:
    by_route = f"{{{{{q.SERVICE}}}}} {{{{{q.ROUTE}}}}}"
    states = [Series(m.open_streams(by=(q.STATE,)), f"{{{{{q.STATE}}}}}")]
    return [
        p.graph(STALLS, [Series(m.stalls(), by_route)], 8, unit=parts.COUNT),
        p.graph(SILENCE, [Series(m.longest_silences(), by_route)], 8, unit=parts.SECONDS),
        p.stack(STATES, states, 8, unit=parts.COUNT, codes=words.STATES),
    ]


def _throughput() -> list[p.AnyPanel]:
    burst = [Series(m.buffered(), f"{{{{{q.CACHE}}}}}"), Series(q.none_of(q.ANY, STEP, Role.CLIENT), *words.NONE)]
    return [
        p.graph(BYTES, [Series(m.flow(semconv.SIZES), "bytes", words.GREEN)], 8, unit=parts.BYTES_PER_SECOND, fill=20),
        p.graph(CHUNKS, [Series(m.flow(semconv.CHUNKS), "chunks", words.GREEN)], 8, unit=parts.PER_SECOND, fill=20),
        p.stack(BUFFERED, burst, 8, unit=parts.PER_MINUTE, codes=words.CACHES),
    ]


def _waste() -> list[p.AnyPanel]:
    def by_cause(about: About, metric: semconv.Metric, unit: str) -> p.AnyPanel:
        bars = [Series(m.wasted_in_all(metric), *words.ALL), Series(m.wasted(metric), f"{{{{{q.REASON}}}}}")]
        return p.bars(about, bars, 6, unit=unit, codes=words.REASONS)

    again = [Series(m.retries(), f"{{{{{q.RETRY}}}}}"), Series(q.none_of(q.ANY, STEP), *words.NONE)]
    return [
        by_cause(WASTED_BYTES, semconv.WASTED_SIZE, parts.BYTES),
        by_cause(WASTED_SECONDS, semconv.WASTED_DURATION, parts.SECONDS),
        by_cause(WASTED_TOKENS, semconv.WASTED_TOKENS, parts.COUNT),
        p.stack(RETRIES, again, 6, unit=parts.PER_MINUTE, codes=words.RETRIES),
    ]


def _dialects() -> list[p.AnyPanel]:
    by = (q.PROTOCOL, q.DIALECT)
    columns = [
        Column("Streams", f"{q.count_spans(q.ANY, RANGE, by)} > 0", parts.COUNT),
        Column("Failed", q.failed_spans(RANGE, by), steps=parts.FAILURES),
        Column("End marker seen", q.marker_seen(RANGE, by), steps=MARKERS),
    ]
    keys = (
        parts.Key(q.PROTOCOL, "Protocol", words.PROTOCOLS, ITS_FAILURES),
        parts.Key(q.DIALECT, "Dialect", words.DIALECTS),
    )
    protocols = [Series(q.per_minute(q.count(q.ANY, STEP, (q.PROTOCOL,))), f"{{{{{q.PROTOCOL}}}}}")]
    dialects = [Series(q.per_minute(q.count_spans(q.ANY, STEP, (q.DIALECT,))), f"{{{{{q.DIALECT}}}}}")]
    return [
        p.stack(BY_PROTOCOL, protocols, 6, unit=parts.PER_MINUTE, codes=words.PROTOCOLS),
        p.stack(BY_DIALECT, dialects, 6, unit=parts.PER_MINUTE, codes=words.DIALECTS),
        tables.listing(DIALECTS, keys, columns, 12, sort="Failed"),
    ]


def build() -> str:
    """The dashboard's JSON."""
    return dashboard(
        UID,
        "Streams: flow",
        "For whoever makes streams fast: how soon, how evenly, when do they die, what was it all for?",
        GUIDE,
        [
            Row(100, "How soon, how evenly?", 9, _pace()),
            Row(200, "Where do they stall?", 8, _stalls()),
            Row(300, "How much flows?", 7, _throughput()),
            ages.row(),
            Row(600, "What was it all for? The bill", 9, _waste()),
            Row(700, "Whose streams are these?", 8, _dialects()),
        ],
    )
