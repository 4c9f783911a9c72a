"""The PromQL of objectives: the error budget from recorded series, and what subscriptions promise instead.

The rules record how many streams a second ended badly, and how many could, so that thirty days are cheap to
ask for. A share over any time is the sum of the one over the sum of the other, never a mean of shares.
"""

from __future__ import annotations

from dashboards import queries as q
from dashboards.queries import RANGE, STEP
from otel_streaming import semconv
from otel_streaming.semconv import Kind, Role, State

BUDGET = round(1 - q.OBJECTIVE, 6)
PERIOD = "30d"
BURNS = (
    # How many times faster than the budget allows, over which two windows, whether that wakes somebody, how many
    # minutes it must last: of thirty days' budget 2 % are gone in 1 h, 5 % in 6 h, 10 % in a day or in three.
    (14.4, "1h", "5m", True, 2),
    (6, "6h", "30m", True, 2),
    (3, "1d", "2h", False, 15),
    (1, "3d", "6h", False, 15),
)
NO_NUMBER = -1_000_000_000
"""What stands for no traffic where any small number may be the truth: a budget can be overspent many times."""
ALERTS = "ALERTS"
"""The series in which Prometheus tells its alerts."""


def recorded(name: str) -> str:
    """A recorded series as the variables choose it."""
    chosen = ",".join(f'{q.VARIABLES[name]}=~"${name}"' for name in ("service", "route"))
    return f"{name}{{{q.where(semconv.ROLE, Role.SERVER)},{chosen}}}"


_EVERY = {"1h": "1m", "6h": "5m", "3d": "5m"}
"""How often a window of a graph reads a rate of five minutes, which needs no more."""


def burn(window: str) -> str:
    """How many times faster than allowed the budget burns: 1 uses it up in exactly thirty days.

    For every point of a graph. So the routes are summed up before they are over the window: else each point would read
    every sample of every route of three days anew.
    """
    bad, eligible = (q.total(recorded(name)) for name in (q.RECORDED_BAD, q.RECORDED_ELIGIBLE))
    if window in _EVERY:
        bad, eligible = (f"sum_over_time({rate}[{window}:{_EVERY[window]}])" for rate in (bad, eligible))
    return f"{q.share(bad, eligible)}\n/ {BUDGET}"


def burn_tile(window: str) -> str:
    """The same for a live tile, which tells no traffic from no rules."""
    nothing = f"0 * {q.total(recorded(q.RECORDED_ELIGIBLE))} {q.NOTHING_TO_DIVIDE:+d}"
    return q.live(f"{burn(window)}\nor {nothing}")


def left_tile() -> str:
    """Share of the budget of thirty days that is left; below zero when it is overspent.

    For a tile, which is asked for once, and tells no traffic from no recording rules. No failure hides behind "no
    traffic".
    """
    both = (q.RECORDED_BAD, q.RECORDED_ELIGIBLE)
    bad, eligible = (q.total(f"sum_over_time({recorded(name)}[{PERIOD}])") for name in both)
    return f"1 - {q.share(bad, eligible)}\n/ {BUDGET}\nor 0 * {q.total(recorded(both[1]))} {NO_NUMBER:+d}"


def burn_recorded(window: str) -> str:
    """The same for each service and route, as the rules have recorded it."""
    return f"max by ({q.SERVICE}, {q.ROUTE}) ({recorded(q.RECORDED_RATIO.format(window=window))}) / {BUDGET}"


def firing_alerts() -> str:
    """Alerts on streams that fire, one series each."""
    # Those about a whole service have no route: they are about every route of it.
    chosen = f'{q.SERVICE}=~"$service",{q.ROUTE}=~"$route|"'
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


def available(window: q.Window, bad: str = q.BAD, of: str = q.ELIGIBLE) -> str:
    """Share of streams that were not bad, among those of which one could say."""
    return f"1 - {q.share(q.count(bad, window), q.count(of, window))}"


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
