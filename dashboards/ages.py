"""When do streams die? A row for two dashboards: a time limit on the way shows as one age at which many end."""

from __future__ import annotations

from dashboards import panels as p
from dashboards import queries as q
from dashboards import words
from dashboards.board import Row
from dashboards.parts import About, Series
from otel_streaming import semconv

AGES = About(
    501,
    "Age of streams when they are interrupted",
    metric=f"`{semconv.INTERRUPTED_DURATION.prometheus}`: every end after the headers that is not complete, readers "
    "who left included, since a proxy's limit looks just like that",
    formula="interrupted streams per bucket of age.",
    good="a thin cloud without a pattern.",
    action="a level band is a time limit on the way: its height in seconds names the setting.",
)
AT_LIMITS = About(
    502,
    "Interrupted at a usual limit",
    metric=f"`{semconv.INTERRUPTED_DURATION.prometheus}`",
    formula="streams interrupted within a second or so of the limits that proxies and platforms like to set, over the "
    "whole time range.",
    good="short bars: a few by chance.",
    action="one bar above all others names the limit: look for it in proxies, load balancers and servers.",
)


def row() -> Row:
    """Return the row: as a map over time, and as a bar for each usual limit."""
    limits = [Series(q.interrupted_between(low, high), f"at {limit} s", words.PURPLE) for limit, low, high in q.LIMITS]
    by_age = q.buckets(semconv.INTERRUPTED_DURATION)
    return Row(500, "When do streams die?", 13, [p.buckets_map(AGES, by_age, 14), p.bars(AT_LIMITS, limits, 10)])
