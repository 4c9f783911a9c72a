"""The incident as data: who streams, and what goes wrong when. With `fates` all else follows from this page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_streaming.semconv import Dialect, Kind, Protocol, Role, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Line:
    """Streams of one route (or, as a client, to one address): what is normal there, per minute and at any time.

    ``ledger=False`` is an older release, known by its spans only.
    """

    service: str
    route: str | None
    protocol: Protocol
    dialect: Dialect
    normal: Mapping[str, float]
    open: Mapping[State, int] = field(default_factory=dict)
    role: Role = Role.SERVER
    kind: Kind = Kind.BOUNDED
    method: str = "POST"
    address: str | None = None
    ledger: bool = True


_FLOWING = {State.FLOWING: 9, State.WAITING: 2, State.BACKPRESSURED: 1}

LINES = {
    "completions": Line(
        *("chat", "/v1/chat/completions", Protocol.SSE, Dialect.OPENAI_CHAT),
        {"ok": 57, "ok, retried": 1, "left": 2},
        _FLOWING,
    ),
    "agents": Line(*("chat", "/v1/agents/{id}/run", Protocol.SSE, Dialect.AG_UI), {"ok": 25}, {State.FLOWING: 6}),
    "provider": Line(
        *("chat", None, Protocol.SSE, Dialect.OPENAI_CHAT),
        {"ok": 57, "ok, in one burst": 1},
        {State.FLOWING: 9},
        role=Role.CLIENT,
        address="api.provider.example",
    ),
    "answer": Line(*("search", "/answer", Protocol.NDJSON, Dialect.NONE), {"ok": 30, "left": 1}, ledger=False),
    "report": Line(*("export", "/reports/{id}", Protocol.NDJSON, Dialect.DECLARED), {"ok": 12}, {State.FLOWING: 2}),
    "events": Line(
        *("notify", "/events", Protocol.SSE, Dialect.NONE),
        {"left": 4},
        {State.FLOWING: 40},
        kind=Kind.SUBSCRIPTION,
        method="GET",
    ),
    "socket": Line(
        *("notify", "/ws", Protocol.WEBSOCKET, Dialect.NONE),
        {"left": 2},
        {State.FLOWING: 20},
        kind=Kind.SUBSCRIPTION,
        method="GET",
    ),
    "proxy": Line(
        *("edge", "/answer", Protocol.NDJSON, Dialect.NONE),
        {"ok": 30, "left": 1},
        role=Role.PROXY,
        ledger=False,
    ),
    "nightly": Line(*("nightly", "/jobs/{id}/log", Protocol.SSE, Dialect.NONE), {}),
}

SHOWN_BY_STOCK_METRICS = {"completions": 0, "agents": 0, "answer": 1}
"""What the stock HTTP instrumentations count too, and under which of their names in ``queries.STOCK_HTTP``."""

PROCESSES = {"chat": 3, "export": 1, "notify": 2, "nightly": 1}
"""By service; the others have no ledger, and report nothing themselves."""
ONLY_IN = {"nightly": "at night"}
"""A job: its process lives for one period."""

SPANS_LOST = 0.4
"""Of all spans, while the collector is lossy."""


@dataclass(frozen=True)
class Period:
    """What differs from normal for some minutes.

    Attributes:
        per_minute: By line, all that ends there instead of what is normal.
        once: By line and fate, how many end in which minute, beside the rest.
        open: By line, the open streams instead of the normal ones.
        silence: By line, how many seconds the longest silence grows every minute.
        replaced: The service that is deployed anew: all its processes.
        killed: The service that loses a process, and gets another one.
        mute: The service whose processes report nothing.
        lossy: The collector loses spans.
        alerts: By alert, the lines it is about; every other alert stays silent.
    """

    name: str
    minutes: int
    per_minute: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    once: Mapping[tuple[str, str], Mapping[int, int]] = field(default_factory=dict)
    open: Mapping[str, Mapping[State, int]] = field(default_factory=dict)
    silence: Mapping[str, float] = field(default_factory=dict)
    replaced: str = ""
    killed: str = ""
    mute: str = ""
    lossy: bool = False
    alerts: Mapping[str, Iterable[str]] = field(default_factory=dict)

    def ended(self, line: str, minute: int) -> Counter[str]:
        """Count the streams of a line that end in one minute, by fate."""
        rates = self.per_minute.get(line, LINES[line].normal)
        ended = Counter({fate: _whole(rate * minute) - _whole(rate * (minute - 1)) for fate, rate in rates.items()})
        for (where, fate), minutes in self.once.items():
            if where == line:
                ended[fate] += minutes.get(minute, 0)
        return ended


def _whole(number: float) -> int:
    return int(number + 1e-6)


CHANGE_AT = 10
"""The minute of a period in which processes are replaced."""


def _quiet(minutes: int) -> Period:
    return Period("quiet", minutes)


PERIODS = (
    _quiet(60),
    Period(
        "burst of 5xx",
        40,
        {"completions": {"ok": 30, "5xx": 30, "left": 2}},
        alerts={"StreamErrorBudgetBurn": ["completions"]},
    ),
    _quiet(20),
    Period(
        "cut short, no 5xx",
        60,
        {"agents": {"ok": 23, "no end marker": 2}, "provider": {"ok": 55, "no end marker": 3}},
        alerts={"StreamErrorBudgetBurn": ["agents"], "StreamSilentFailuresDominate": ["agents"]},
    ),
    _quiet(20),
    Period(
        "proxy with a limit",
        40,
        {
            "answer": {"ok": 26, "left": 1, "cut at 60 s": 4},
            "proxy": {"ok": 26, "left": 1, "ended by a proxy": 4},
        },
        alerts={"StreamsDieAtALimit": ["answer"]},
    ),
    _quiet(20),
    Period(
        "stalls behind keep-alives",
        30,
        {"completions": {"ok": 45, "ok after a stall": 10, "gave up in a stall": 3, "left": 2}},
        open={"completions": {State.FLOWING: 9, State.STALLED: 8, State.WAITING: 1, State.ABANDONED: 1}},
        silence={"completions": 5},
        alerts={"StreamStalledOpen": ["completions"]},
    ),
    _quiet(20),
    Period(
        "slow to begin",
        30,
        {"completions": {"ok": 50, "ok, slow to begin": 8, "left": 2}},
        open={"completions": {State.FLOWING: 9, State.WAITING: 12}},
        alerts={"StreamFirstChunkSlow": ["completions"]},
    ),
    _quiet(20),
    Period(
        "blank responses",
        30,
        {"completions": {"ok": 53, "blank": 3, "gave up": 2, "left": 2}},
        alerts={"StreamBlankResponses": ["completions"], "StreamSilentFailuresDominate": ["completions"]},
    ),
    _quiet(20),
    Period(
        "masked upstream",
        30,
        {
            "agents": {"ok": 23, "masked": 2, "masked by a clean end": 0.2},
            "provider": {"ok": 55, "no end marker": 2.2},
        },
        alerts={"StreamsMasked": ["agents"]},
    ),
    _quiet(20),
    Period(
        "killed worker",
        30,
        once={("completions", "process died"): {CHANGE_AT + 1: 3}, ("agents", "process died"): {CHANGE_AT + 1: 1}},
        killed="chat",
    ),
    _quiet(20),
    Period(
        "deploy",
        30,
        once={("events", "recycled"): {CHANGE_AT - 1: 40}, ("socket", "recycled"): {CHANGE_AT - 1: 20}},
        replaced="notify",
    ),
    _quiet(20),
    Period(
        "failing subscriptions",
        30,
        {"events": {"left": 4, "subscription lost": 3}},
        open={"events": {State.FLOWING: 36, State.STALLED: 4}},
    ),
    _quiet(20),
    Period("at night", 60, once={("nightly", "ok"): {15: 1, 30: 1}, ("nightly", "exception"): {45: 1}}),
    _quiet(20),
    Period(
        "ends of which nothing is known",
        40,
        {"report": {"ok": 10, "unknown": 2}},
        alerts={"StreamOutcomeUnknownHigh": ["report"]},
    ),
    _quiet(20),
    Period(
        "lossy collector",
        50,
        {"agents": {"ok": 24, "5xx": 1}},
        lossy=True,
        alerts={"StreamTelemetryLossy": ["agents"]},
    ),
    _quiet(20),
    Period("no telemetry", 40, mute="export", alerts={"StreamTelemetryMissing": ["report"]}),
    _quiet(20),
)
