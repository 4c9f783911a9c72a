"""``stream-flow``: how do streams flow, where do they stall, when do they die, what is made for nobody?"""

from __future__ import annotations

from dashboards import ages, parts, words
from dashboards import panels as p
from dashboards import queries as q
from dashboards.board import Row, dashboard
from dashboards.parts import About, Column, Series
from dashboards.queries import RANGE, STEP
from otel_streaming import semconv
from otel_streaming.semconv import Role

UID = parts.FLOW

GUIDE = f"""\
A stream has a pace: how long until it begins, how evenly it goes on, and whether anybody still reads. \
In the maps a cell is the number of streams (or gaps) of that length at that time, a dot is one trace: a second band \
far above the first is a stall, a level band in **When do streams die?** is somebody's time limit. \
Whatever was made for a stream that broke, or for a reader who had gone, is the bill at the bottom. \
Go on to {parts.ways_on(parts.OVERVIEW, parts.FORENSICS)}."""

FIRST_CHUNK = About(
    101,
    "Time to first chunk",
    metric=f"`{semconv.FIRST_CHUNK_TIME.prometheus}`",
    formula="streams per bucket of time from the request to the first chunk (keep-alives are none).",
    good="one band, where it always is.",
    action="a second band above it is a queue, a cold start or one slow provider: click on a dot for its trace.",
)
GAPS = About(
    102,
    "Gaps between chunks",
    metric=f"`{semconv.GAP.prometheus}`",
    formula="gaps per bucket of length, of the streams that ended.",
    good="a dense band at the pace of your producer, nothing above a second.",
    action="mass at 10 s and more are stalls: the row below counts them by route.",
)
STALLS = About(
    201,
    "Stalled, of a thousand streams",
    metric=parts.LEDGER_OR_SPANS,
    formula="1000 x streams with a stall / (ok + silent + loud), by route.",
    good="0.",
    action="the route that leads is the one whose producer stops; a stall is no failure if it ends, but readers leave.",
)
SILENCE = About(
    202,
    "Longest silence, live",
    metric=f"`{semconv.SILENCE_MAX.prometheus}`, reported by the processes while the streams are open",
    formula="the longest current silence of a stream that should flow, by route.",
    good="below the stall threshold (10 s unless set).",
    action="a ramp is one stream that hangs at this moment: no time-out has seen it.",
)
STATES = About(
    203,
    "Open streams by state",
    metric=parts.LIVE,
    formula="sum by state, subscriptions included.",
    good="nearly all flowing.",
    action="**reader gone, still working** is work for nobody: let your code notice the disconnect.",
)
BYTES = About(
    301,
    "Bytes per second",
    metric=f"`{semconv.SIZES.prometheus}`",
    formula="bytes of the streams that ended, spread over the window.",
    good="follows the traffic.",
    action="bytes that fall while attempts do not: answers have become shorter.",
)
CHUNKS = About(
    302,
    "Chunks per second",
    metric=f"`{semconv.CHUNKS.prometheus}`",
    formula="chunks of the streams that ended, spread over the window.",
    good="follows the traffic.",
    action="fewer chunks at the same bytes: something on the way, or a library, gathers them.",
)
BUFFERED = About(
    303,
    "Streams that arrived in one burst",
    metric=f"`{semconv.BUFFERED_STREAMS.prometheus}`; client role",
    formula="streams we read that should have come piece by piece and did not, by what their headers say of caches.",
    good="0.",
    action="switch off buffering (or the cache) in the proxy between this service and what it reads.",
)
WASTED_BYTES = About(
    601,
    "Wasted bytes",
    metric=f"`{semconv.WASTED_SIZE.prometheus}`",
    formula="all bytes of streams cut short or failed, and what was made after the reader had gone, over the whole "
    "time range, by cause.",
    good="little beside **Bytes per second**.",
    action="whoever got half an answer asks again: each bar is paid twice.",
)
WASTED_SECONDS = About(
    602,
    "Wasted time",
    metric=f"`{semconv.WASTED_DURATION.prometheus}`",
    formula="seconds of streams cut short or failed, and of work after the reader had gone, over the whole time range, "
    "by cause.",
    good="short bars.",
    action="**reader left** is yours to save: stop when `client_gone` says so.",
)
WASTED_TOKENS = About(
    603,
    "Wasted tokens",
    metric=f"`{semconv.WASTED_TOKENS.prometheus}`",
    formula="output tokens of streams cut short or failed, where the stream tells them, over the whole time range.",
    good="short bars.",
    action="times the price of a token it is the part of your provider's bill that nobody has read.",
)
RETRIES = About(
    604,
    "Further attempts",
    metric=f"`{semconv.RETRIES.prometheus}`",
    formula="requests that say they repeat or resume an earlier one, per minute.",
    good="few; resumed rather than begun again.",
    action="a wave of new beginnings after an incident is its echo: see that clients can resume.",
)
DIALECTS = About(
    701,
    "By protocol and dialect",
    metric=parts.SPANS,
    formula="streams, share of failures, and share whose end marker was seen among those that must have one, over the "
    "whole time range.",
    good="end marker seen: above 99 %.",
    action="a dialect without markers is one that your provider or your gateway cuts: see its failures.",
)


def _pace() -> list[p.AnyPanel]:
    return [
        p.buckets_map(FIRST_CHUNK, q.buckets(semconv.FIRST_CHUNK_TIME), 12),
        p.buckets_map(GAPS, q.buckets(semconv.GAP), 12),
    ]


def _stalls() -> list[p.AnyPanel]:
    by_route = f"{{{{{q.SERVICE}}}}} {{{{{q.ROUTE}}}}}"
    states = [Series(q.open_streams(by=(q.STATE,)), f"{{{{{q.STATE}}}}}")]
    return [
        p.graph(STALLS, [Series(q.stalled_per_thousand(STEP, q.BY_ROUTE), by_route)], 8, unit=parts.COUNT),
        p.graph(SILENCE, [Series(q.longest_silence(q.BY_ROUTE), by_route)], 8, unit=parts.SECONDS),
        p.stack(STATES, states, 8, unit=parts.COUNT, codes=words.STATES),
    ]


def _throughput() -> list[p.AnyPanel]:
    burst = [Series(q.buffered(), f"{{{{{q.CACHE}}}}}"), Series(q.none_of(q.ANY, STEP, Role.CLIENT), *words.NONE)]
    return [
        p.graph(BYTES, [Series(q.flow(semconv.SIZES), "bytes", words.GREEN)], 8, unit=parts.BYTES_PER_SECOND, fill=20),
        p.graph(CHUNKS, [Series(q.flow(semconv.CHUNKS), "chunks", words.GREEN)], 8, unit=parts.PER_SECOND, fill=20),
        p.stack(BUFFERED, burst, 8, unit=parts.PER_MINUTE, codes=words.CACHES),
    ]


def _waste() -> list[p.AnyPanel]:
    def by_cause(about: About, metric: semconv.Metric, unit: str) -> p.AnyPanel:
        bars = [Series(q.wasted_in_all(metric), *words.ALL), Series(q.wasted(metric), f"{{{{{q.REASON}}}}}")]
        return p.bars(about, bars, 6, unit=unit, codes=words.REASONS)

    again = [Series(q.retries(), f"{{{{{q.RETRY}}}}}"), Series(q.none_of(q.ANY, STEP), *words.NONE)]
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
        Column("Failed", q.failed_spans(RANGE, by), steps=parts.FAILURE_STEPS),
        Column(
            "End marker seen",
            q.marker_seen(RANGE, by),
            steps=((0, words.RED), (0.9, words.ORANGE), (0.99, words.GREEN)),
        ),
    ]
    keys = (
        parts.Key(q.PROTOCOL, "Protocol", words.PROTOCOLS),
        parts.Key(q.DIALECT, "Dialect", words.DIALECTS),
    )
    return [p.listing(DIALECTS, keys, columns, 24, sort="Failed")]


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
