"""When do streams die? A row for two dashboards: a time limit on the way shows as one age at which many end."""

from __future__ import annotations

from dashboards import measures as m
from dashboards import panels as p
from dashboards import parts, words
from dashboards.board import Row
from dashboards.parts import About, Series
from otel_streaming import semconv

AGES = About(
    501,
    "Age of streams when they are interrupted",
    metric=f"`{semconv.INTERRUPTED_DURATION.prometheus}`: every end after the headers that is not complete, readers "
    "who left included, since a proxy's limit looks just like that",
    formula=f"interrupted streams per bucket of age, {parts.SUBSCRIPTIONS_TOO}; a row is the ages from the row below "
    "up to its own.",
    good="a thin cloud without a pattern.",
    action="a level band is a time limit on the way: the name of its row is the setting to look for.",
)
AT_LIMITS = About(
    502,
    "Interrupted at a usual limit",
    metric=f"`{semconv.INTERRUPTED_DURATION.prometheus}`",
    formula="streams interrupted within a second or so of the limits that proxies and platforms like to set, over the "
    f"whole time range, {parts.SUBSCRIPTIONS_TOO}.",
    good="short bars: a few by chance.",
    action="one bar above all others names the limit: look for it in proxies, load balancers and servers.",
)


def row() -> Row:
    """Return the row: as a map over time, and as a bar for each usual limit."""
    limits = [
        Series(m.interrupted_between(low, high), f"at {limit} s", words.PURPLE)
        for limit, (_, low, high, _) in m.LIMITS.items()
    ]
    names = {high: f"at {limit} s" for limit, (_, _, high, _) in m.LIMITS.items()}
    by_age = p.buckets_map(AGES, m.buckets(semconv.INTERRUPTED_DURATION), 14, names)
    return Row(500, "When do streams die?", 13, [by_age, p.bars(AT_LIMITS, limits, 10)])
