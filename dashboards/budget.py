"""The PromQL of objectives: the error budget from recorded series, and what subscriptions promise instead.

The rules record how many streams a second ended badly, and how many could, so that thirty days are cheap to
ask for. A share over any time is the sum of the one over the sum of the other, never a mean of shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards import queries as q
from dashboards.queries import RANGE, STEP
from otel_streaming import semconv
from otel_streaming.semconv import Kind, Role, State

if TYPE_CHECKING:
    from collections.abc import Sequence

BUDGET = round(1 - q.OBJECTIVE, 6)
PERIOD = "30d"
BURNS = (("5m", 14.4), ("1h", 14.4), ("6h", 6), ("3d", 1))
"""Windows to look at, and the rate at which the budget of thirty days burns too fast."""
NO_TRAFFIC = -1000
"""What stands for no traffic where -1 may be the truth: a budget can be overspent."""
ALERTS = "ALERTS"
"""The series in which Prometheus tells its alerts."""


def recorded(name: str) -> str:
    """A recorded series as the variables choose it."""
    chosen = ",".join(f'{q.VARIABLES[name]}=~"${name}"' for name in ("service", "route"))
    return f"{name}{{{q.where(semconv.ROLE, Role.SERVER)},{chosen}}}"


def _over(name: str, window: str, by: Sequence[str]) -> str:
    """A recorded rate over a window; over its own five minutes it is what it is."""
    series = recorded(name)
    return q.total(series if window == "5m" else f"sum_over_time({series}[{window}])", by)


def burn(window: str, by: Sequence[str] = ()) -> str:
    """How many times faster than allowed the budget burns: 1 uses it up in exactly thirty days."""
    return f"{q.share(_over(q.RECORDED_BAD, window, by), _over(q.RECORDED_ELIGIBLE, window, by), by)}\n/ {BUDGET}"


def left(by: Sequence[str] = ()) -> str:
    """Share of the budget of thirty days that is left; below zero when it is overspent."""
    return f"1 - {burn(PERIOD, by)}"


def left_tile() -> str:
    """The same for a tile, which tells no traffic from no recording rules. No failure hides behind "no traffic"."""
    return f"{left()}\nor 0 * {q.total(recorded(q.RECORDED_ELIGIBLE))} {NO_TRAFFIC:+d}"


def burn_recorded(window: str) -> str:
    """The same for each service and route, as the rules have recorded it."""
    return f"max by ({q.SERVICE}, {q.ROUTE}) ({recorded(q.RECORDED_RATIO.format(window=window))}) / {BUDGET}"


def firing_alerts() -> str:
    """Alerts on streams that fire, one series each."""
    chosen = ",".join(f'{q.VARIABLES[name]}=~"${name}"' for name in ("service", "route"))
    return f'{ALERTS}{{alertname=~"Stream.*",alertstate="firing",{chosen}}}'


def firing() -> str:
    """How many alerts fire; 0 only where the rules are evaluated at all."""
    return f"count({firing_alerts()}) or 0 * count({q.RECORDED_ELIGIBLE})"


def spent_by_cause(window: q.Window) -> str:
    """How much of the budget that this window allows each cause used up: all of it together at 1."""
    allowed = f"({BUDGET} * {q.count(q.ELIGIBLE, window)} > 0)"
    return f"{q.count_spans(q.BAD, window, (q.REASON,))}\n/ on () group_left () {allowed} > 0"


def spent(window: q.Window) -> str:
    """How much of it all causes used up, those included that no span tells."""
    return f"{q.failed(window)}\n/ {BUDGET}"


def available(bad: Sequence[str], window: q.Window, leavers: Sequence[str] = ()) -> str:
    """Share of streams that were neither bad nor, if they count, given up."""
    failures = " + ".join(f"({q.count(which, window)} or vector(0))" for which in (*bad, *leavers))
    whole = " + ".join([q.count(q.ELIGIBLE, window), *(f"({q.count(one, window)} or vector(0))" for one in leavers)])
    return f"1 - ({failures})\n/ ({whole} > 0)"


def _open(which: str = q.ANY) -> str:
    return q.total(q.select(semconv.ACTIVE, which, kind=Kind.SUBSCRIPTION))


def subscription_failures() -> str:
    """Failures of subscriptions for each hour that one of them is open."""
    bad = q.select(semconv.LEDGER_ENDED, q.BAD, kind=Kind.SUBSCRIPTION)
    return f"3600 * ({q.total(STEP.read(bad))} or 0 * {_open()})\n/ ({_open()} > 0)"


def subscription_stalls() -> str:
    """Share of the time of open subscriptions that they spend stalled, over the whole range."""
    stalled = f"({_open(q.where(semconv.STATE, State.STALLED))} or 0 * {_open()})"
    return f"avg_over_time(({stalled})[{RANGE.value}:])\n/ (avg_over_time(({_open()})[{RANGE.value}:]) > 0)"


def subscriptions_open() -> str:
    """Subscriptions open now."""
    return _open()
