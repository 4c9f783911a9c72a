"""Recording rules: the objective's two rates, their ratios over longer times, and where interrupted streams died.

Only streams with a natural end count: a subscription has none, and cannot fail by ending.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dashboards import measures as m
from dashboards import queries as q
from otel_streaming import semconv
from otel_streaming.semconv import Kind, Role

BOUNDED = q.where(semconv.KIND, Kind.BOUNDED)
SERVER = q.where(semconv.ROLE, Role.SERVER)

INTERRUPTED, AT_LIMIT, NEAR_LIMIT = (
    f"stream:{name}:increase1h" for name in ("interrupted", "interrupted_at_limit", "interrupted_near_limit")
)


def ratio(window: str) -> str:
    """Name of the recorded share of bad streams over a window."""
    return q.RECORDED_RATIO.format(window=window)


@dataclass(frozen=True)
class Record:
    """A series that Prometheus computes every minute and keeps."""

    name: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """Return it as Prometheus reads it."""
        return {"record": self.name, "expr": self.expr} | ({"labels": self.labels} if self.labels else {})


def sli() -> list[Record]:
    """Streams a second that ended badly, and that could."""
    eligible = q.ended_everywhere("rate", "5m", (BOUNDED,), q.ELIGIBLE, q.RECORDED_LABELS)
    bad = q.ended_everywhere("rate", "5m", (BOUNDED,), q.BAD, q.RECORDED_LABELS)
    # The series of failures starts at the first failure: until then there are none, which is 0.
    return [Record(q.RECORDED_ELIGIBLE, eligible), Record(q.RECORDED_BAD, f"{bad}\nor 0 * {q.RECORDED_ELIGIBLE}")]


def ratios(*windows: str) -> list[Record]:
    """Share of bad streams: a sum over a sum, or a night of ten streams would weigh like a day of ten thousand."""
    return [
        Record(
            ratio(window),
            f"sum_over_time({q.RECORDED_BAD}[{window}])\n/ (sum_over_time({q.RECORDED_ELIGIBLE}[{window}]) > 0)",
        )
        for window in windows
    ]


def limits() -> list[Record]:
    """Interrupted streams of the last hour: all, inside the bracket of each usual limit, and right beside it."""

    def up_to(bound: float) -> str:
        series = q.everywhere(semconv.INTERRUPTED_DURATION, SERVER, m.up_to(bound), suffix="_bucket")
        return f"sum by ({', '.join(q.BY_ROUTE)}) (increase({series}[1h]))"

    total = q.everywhere(semconv.INTERRUPTED_DURATION, SERVER, suffix="_count")
    records = [Record(INTERRUPTED, f"sum by ({', '.join(q.BY_ROUTE)}) (increase({total}[1h]))")]
    for limit, (below, low, high, above) in m.LIMITS.items():
        around = f'{up_to(above)}\n- {up_to(below)}\n- ignoring (limit) {AT_LIMIT}{{limit="{limit}"}}'
        records += [
            Record(AT_LIMIT, f"{up_to(high)}\n- {up_to(low)}", {"limit": str(limit)}),
            Record(NEAR_LIMIT, around, {"limit": str(limit)}),
        ]
    return records
