"""What must fire and what must not, alert by alert: series in, the words that arrive out."""

from alert_series import HERE, WARNING, Case, failing, fires, ledger, series, spans, steadily
from telemetry_cases import LOSSY, MISSING

from otel_streaming import semconv as sc
from otel_streaming.semconv import Kind, Outcome, Phase, Reason, Result, Role, State


def burn(percent, *windows, here=HERE):
    """The words of the budget's alert; the pages burn 14.4 and 6 times too fast, the tickets 3 times and once."""
    rates = {"1h": ("5m", "critical", "14.4"), "6h": ("30m", "critical", "6")}
    rates |= {"1d": ("2h", "warning", "3"), "3d": ("6h", "warning", "1")}
    return {
        (("long", long), ("severity", rates[long][1]), ("short", rates[long][0])): (
            f"{here}{percent} of the streams of the last {long} failed, a burn rate above {rates[long][2]} "
            "(at 1 the error budget of an objective of 0.99 lasts for 30 days)."
        )
        for long in windows
    }


BURN = "StreamErrorBudgetBurn"
BUDGET = [
    Case(BURN, "one in five pages at once", failing(20, 80), burn("20%", "1h", "6h", "1d", "3d")),
    Case(BURN, "the same without a ledger", failing(20, 80, spans), burn("20%", "1h", "6h", "1d", "3d")),
    Case(
        BURN,
        "the same of a service that does not know its routes",
        [ledger(result, steadily(rate), http_route=None) for result, rate in ((Result.OK, 80), (Result.SILENT, 20))],
        burn("20%", "1h", "6h", "1d", "3d", here="chat: "),
        where={sc.SERVICE_NAME: "chat", sc.ROLE: Role.SERVER},
    ),
    Case(BURN, "eight in a hundred page by the long window", failing(8, 92), burn("8%", "6h", "1d", "3d")),
    Case(BURN, "four in a hundred are a ticket", failing(4, 96), burn("4%", "1d", "3d")),
    Case(BURN, "two in a hundred are the slow ticket", failing(2, 98), burn("2%", "3d")),
    Case(BURN, "one in two hundred is what the objective allows", failing(1, 199)),
    Case(
        BURN,
        "what is over for ten minutes pages no more by the short window",
        [ledger(Result.OK, steadily(80)), ledger(Result.SILENT, "0+20x60 1200x300")],
        burn("17.53%", "6h", "1d", "3d"),  # 60 of 72 minutes, and the rates' five minutes more
        at=72,
    ),
    Case(
        BURN,
        "three streams at night, one failed",
        [ledger(Result.OK, "0x10 1x20 2x100"), ledger(Result.SILENT, "0x40 1x100")],
    ),
    Case(
        BURN,
        "two failures of sixty are chance",
        [ledger(Result.OK, "0+1x60"), ledger(Result.SILENT, "0x20 1x10 2x100")],
    ),
    Case(
        BURN,
        "the ledger decides where it has never seen a failure",
        [ledger(Result.OK, steadily(80)), spans(Result.SILENT, steadily(20))],
    ),
    Case(
        BURN,
        "subscriptions",
        [
            ledger(result, steadily(20), kind=Kind.SUBSCRIPTION)
            for result in (Result.OK, Result.SILENT, Result.RECYCLED)
        ],
    ),
    Case(
        BURN,
        "a client of something that fails",
        [ledger(result, steadily(20), stream_role=Role.CLIENT) for result in (Result.OK, Result.SILENT)],
    ),
    Case(
        BURN,
        "readers who leave, streams that a restart recycles, ends that nobody knows",
        [ledger(result, steadily(20)) for result in (Result.OK, Result.CANCELLED, Result.GAVE_UP, Result.UNKNOWN)],
    ),
    Case(
        BURN,
        "three workers count apart",
        [
            ledger(result, steadily(rate), process=process)
            for process in "123"
            for result, rate in ((Result.OK, 48), (Result.LOUD, 2))
        ],
        burn("4%", "1d", "3d"),
    ),
]

NO_CODE = (
    " of the failures of the last 30 minutes had no status code: an error rate by status does not show this incident."
)
SILENT = [
    Case("StreamSilentFailuresDominate", "all silent", failing(5, 95), fires("100%" + NO_CODE)),
    Case(
        "StreamSilentFailuresDominate",
        "nine of ten silent",
        [*failing(9, 90), ledger(Result.LOUD, steadily(1))],
        fires("90%" + NO_CODE),
    ),
    Case("StreamSilentFailuresDominate", "all 5xx", [ledger(Result.OK, "0+95x99"), ledger(Result.LOUD, "0+5x99")]),
    Case("StreamSilentFailuresDominate", "within the objective", failing(1, 199)),
    Case("StreamSilentFailuresDominate", "too few to mean something", failing(0.2, 1)),
]


def open_streams(silence, **states):
    return [
        *(
            series(sc.ACTIVE, f"{count}x99", stream_kind=Kind.BOUNDED, stream_state=State(state))
            for state, count in states.items()
        ),
        series(sc.SILENCE_MAX, silence),
    ]


WAITING = "readers are waiting now, the longest for 1m 40s; {} open streams or more are stalled, and more than {}."
SOME, MOST = WAITING.format(3, "one in twenty of all"), WAITING.format(10, "half of all")
CRITICAL = (("severity", "critical"),)
STALLED = [
    Case("StreamStalledOpen", "three of ten", open_streams("0+10x99", flowing=7, stalled=3), fires(SOME), 10),
    Case(
        "StreamStalledOpen",
        "most of them wake somebody",
        open_streams("0+10x99", flowing=9, stalled=10),
        {WARNING: HERE + SOME, CRITICAL: HERE + MOST},
        10,
    ),
    Case("StreamStalledOpen", "two of ten are chance", open_streams("0+10x99", flowing=8, stalled=2)),
    Case("StreamStalledOpen", "only for a moment", open_streams("0+10x99", flowing=7, stalled=3), at=4),
    Case("StreamStalledOpen", "four of a hundred", open_streams("0+10x99", flowing=96, stalled=4)),
    Case("StreamStalledOpen", "short silences", open_streams("12x99", flowing=7, stalled=3)),
    Case(
        "StreamStalledOpen",
        "a subscription in silence",
        [series(sc.ACTIVE, "9x99", stream_kind=Kind.SUBSCRIPTION, stream_state=State.STALLED)],
    ),
]


def histogram(metric, per_minute, **more):
    """Streams a minute by the bucket they are the first to fill; every bucket exists."""
    found, below = [], 0
    for bound, count in per_minute.items():
        below += count
        found.append(series(metric, steadily(below), "_bucket", le=bound, **more))
    return [*found, series(metric, steadily(below), "_count", **more)]


BAD_ONLY = [ledger(Result.OK, steadily(990)), ledger(Result.SILENT, steadily(10))]
"""With ``SPANS=bad`` ten of a thousand have a span: whatever those have in common, it is few streams that have it."""


def slow(ended, buckets):
    """So many a minute end, and begin as the histogram of first chunks says."""
    return [ledger(Result.OK, steadily(ended)), *histogram(sc.FIRST_CHUNK_TIME, buckets, stream_protocol="sse")]


SLOW = [
    Case(
        "StreamFirstChunkSlow",
        "all between 10 and 30 s",
        slow(9, {"10": 0, "30": 9, "+Inf": 0}),
        fires("100% of the streams of the last 15 minutes took more than 10 s to their first chunk."),
    ),
    Case("StreamFirstChunkSlow", "one in fifty", slow(50, {"1": 49, "10": 0, "30": 1, "+Inf": 0})),
    Case(
        "StreamFirstChunkSlow",
        "bad ones only (SPANS=bad)",
        [*BAD_ONLY, *histogram(sc.FIRST_CHUNK_TIME, {"10": 0, "30": 10, "+Inf": 0}, stream_protocol="sse")],
    ),
    Case("StreamFirstChunkSlow", "subscriptions that wait for an event", slow(0, {"10": 0, "30": 9, "+Inf": 0})),
    Case("StreamFirstChunkSlow", "one a minute", slow(1, {"10": 0, "30": 1, "+Inf": 0})),
]


def blank(count, of):
    return [
        spans(Result.SILENT, steadily(count), Phase.BEFORE_FIRST_CHUNK),
        spans(Result.OK, steadily(of - count), Phase.AFTER_TERMINAL),
    ]


BLANK = [
    Case(
        "StreamBlankResponses",
        "one in ten",
        blank(5, 50),
        fires(
            "10% of the streams of the last 15 minutes sent headers and nothing else: their readers saw a blank answer."
        ),
    ),
    Case("StreamBlankResponses", "one in a hundred", blank(1, 100)),
    Case("StreamBlankResponses", "bad ones only (SPANS=bad)", [*BAD_ONLY, *blank(8, 10)]),
    Case("StreamBlankResponses", "one a minute", blank(1, 1)),
    Case("StreamBlankResponses", "errors told before the headers", [
        spans(Result.LOUD, steadily(5), Phase.BEFORE_HEADERS), spans(Result.OK, steadily(45), Phase.AFTER_TERMINAL)
    ]),
]  # fmt: skip

CUT = {"stream_outcome": Outcome.CANCELLED, "stream_reason": Reason.CLIENT_DISCONNECT}


def at(limit, percent):
    words = f"{percent} of the streams interrupted in the last hour were {limit} s old: look for that time-out "
    return {(("limit", limit), *WARNING): HERE + words + "in proxies, load balancers and servers."}


def around(low, high, inside, beside, elsewhere=0):
    """So many a minute between two bounds, in each bucket beside them, and far from there."""
    below, above = {"60.5": ("45", "90"), "121.0": ("101.0", "180.0")}[high]
    counts = {below: elsewhere, low: beside, high: inside, above: beside, "+Inf": 0}
    return histogram(sc.INTERRUPTED_DURATION, counts, **CUT)


LIMIT = [
    Case("StreamsDieAtALimit", "half of them at 60 s", around("59.5", "60.5", 4, 0, 4), at("60", "50%")),
    Case("StreamsDieAtALimit", "at 120 s, scraped", around("119.0", "121.0", 8, 1, 6), at("120", "50%")),
    Case("StreamsDieAtALimit", "as many beside it", around("59.5", "60.5", 4, 2)),
    Case("StreamsDieAtALimit", "one in ten", around("59.5", "60.5", 1, 0, 9)),
    Case("StreamsDieAtALimit", "a handful", around("59.5", "60.5", 0.1, 0)),
]


def masked(count, of):
    return [
        spans(Result.OK, steadily(count), Phase.AFTER_TERMINAL, "true"),
        spans(Result.OK, steadily(of - count), Phase.AFTER_TERMINAL),
    ]


MASKED = [
    Case(
        "StreamsMasked",
        "one in ten",
        masked(5, 50),
        fires("10% of the streams of the last 30 minutes looked complete, but the stream they pass on had broken."),
    ),
    Case("StreamsMasked", "one in two hundred", masked(1, 200)),
    Case("StreamsMasked", "few streams", masked(0.5, 0.5)),
    Case("StreamsMasked", "bad ones only (SPANS=bad)", [*BAD_ONLY, *masked(8, 10)]),
]


def unknown(count, of, source=ledger):
    return [source(Result.UNKNOWN, steadily(count)), source(Result.OK, steadily(of - count))]


NOT_SEEN = "of the streams of the last 30 minutes ended in a way that was not seen: the other numbers are worth less."
UNKNOWN = [
    Case("StreamOutcomeUnknownHigh", "one in ten", unknown(2, 20), fires(f"10% {NOT_SEEN}")),
    Case("StreamOutcomeUnknownHigh", "the same without a ledger", unknown(2, 20, spans), fires(f"10% {NOT_SEEN}")),
    Case("StreamOutcomeUnknownHigh", "one in fifty", unknown(1, 50)),
    Case("StreamOutcomeUnknownHigh", "few streams", unknown(0.5, 0.5)),
]

CASES = [*BUDGET, *SILENT, *STALLED, *SLOW, *BLANK, *LIMIT, *MASKED, *UNKNOWN, *LOSSY, *MISSING]
