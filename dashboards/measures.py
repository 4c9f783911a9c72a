"""The PromQL of what streams measure: how long they take, how much flows, what is wasted, what is open now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards import queries as q
from dashboards.queries import RANGE, STEP
from otel_streaming import semconv
from otel_streaming.semconv import Role, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboards.queries import Window
    from otel_streaming.semconv import Metric

LIMITS = {
    # Ages at which proxies and platforms like to end a stream, in seconds: the bounds of the bucket around each,
    # between those of the two buckets beside it, which are far wider.
    15: (10, 14.5, 15.5, 29.5),
    30: (15.5, 29.5, 30.5, 45),
    60: (45, 59.5, 60.5, 90),
    100: (90, 99, 101, 119),
    120: (101, 119, 121, 180),
    240: (180, 239, 241, 299),
    300: (241, 299, 301, 599),
    600: (301, 599, 601, 899),
    900: (601, 899, 901, 1800),
    3600: (1800, 3599, 3601, 3601),
}

WORST = 20
"""So many routes have a line in a graph: thousands of them would be none that anybody can read, or a browser draw."""


def quantile(level: float, metric: Metric, window: Window, by: Sequence[str] = ()) -> str:
    """A quantile of a histogram; no sample where nothing was observed (NaN compares as false)."""
    observed = window.read(q.select(metric, suffix="_bucket"))
    return f"histogram_quantile({level}, {q.total(observed, (q.BUCKET, *by))}) >= 0"


def open_streams(which: str = q.ANY, by: Sequence[str] = ()) -> str:
    """Streams open now, subscriptions included."""
    return q.total(q.select(semconv.ACTIVE, which, kind=None), by)


def stalled_now() -> str:
    """Open streams that should flow and do not; 0 where the service reports open streams at all."""
    return f"{open_streams(q.where(semconv.STATE, State.STALLED))} or 0 * {open_streams()}"


def longest_silence() -> str:
    """How long the most silent of the open streams has been silent."""
    return f"max({q.select(semconv.SILENCE_MAX)})"


def longest_silences() -> str:
    """The same by route: those that are the longest at any time of the range."""
    by, silence = f"max by ({', '.join(q.BY_ROUTE)})", q.select(semconv.SILENCE_MAX)
    return f"{by} ({silence})\nand topk({WORST}, {by} (max_over_time({silence}[{RANGE.value}] @ end())))"


def stalls() -> str:
    """Of a thousand streams of a route so many had a stall: the routes that have most."""
    return f"topk({WORST}, 1000 * {q.among_eligible(q.STALLED, STEP, q.BY_ROUTE)})"


def buckets(metric: Metric) -> str:
    """A histogram by bucket, for a heat map."""
    return f"sum by ({q.BUCKET}) (increase({q.select(metric, suffix='_bucket')}[{STEP.value}]))"


def flow(metric: Metric) -> str:
    """What flows, per second."""
    return q.total(STEP.read(q.select(metric)))


def wasted(metric: Metric) -> str:
    """What was made for nobody, by why the stream ended."""
    return f"{q.total(RANGE.read(q.select(metric)), (q.REASON,))} > 0"


def wasted_in_all(metric: Metric) -> str:
    """The same for all reasons; 0 where streams ended and nothing was wasted."""
    return f"{q.total(RANGE.read(q.select(metric)))} or {q.none_of(q.ANY, RANGE)}"


def retries() -> str:
    """Further attempts at the same answer per minute, by sort."""
    return q.per_minute(q.total(STEP.read(q.select(semconv.RETRIES)), (q.RETRY,)))


def buffered() -> str:
    """Streams that arrived here in one burst per minute, by what caches say."""
    return q.per_minute(q.total(STEP.read(q.select(semconv.BUFFERED_STREAMS, role=Role.CLIENT)), (q.CACHE,)))


def interrupted_between(low: float, high: float) -> str:
    """Streams interrupted at an age between two bounds of the histogram, over the whole range."""
    return f"{_up_to(high)} - {_up_to(low)}"


def _up_to(bound: float) -> str:
    return f"sum({RANGE.read(q.select(semconv.INTERRUPTED_DURATION, up_to(bound), suffix='_bucket'))})"


def up_to(bound: float) -> str:
    """Matcher: the bucket with this bound. OTLP ingestion writes ``le="101"``, scraping ``le="101.0"``."""
    whole, _, fraction = f"{bound:g}".partition(".")
    le = f"{whole}[.]{fraction}" if fraction else f"{whole}([.]0)?"
    return f'{q.BUCKET}=~"{le}"'
