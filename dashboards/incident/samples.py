"""Samples as Prometheus would have stored them: one scrape a minute, and a zero before a series' first value.

The processes and the collector see to that zero, without which ``increase`` misses what comes first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from functools import cache
from itertools import accumulate, chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dashboards import queries
from otel_streaming import semconv as sc

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

MINUTE = 60
COLLECTOR = Path(__file__).parents[2] / "collector" / "config.yaml"

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]


class Samples:
    """What Prometheus would have stored: counters are carried on from minute to minute, gauges are not."""

    def __init__(self) -> None:
        self.series: dict[Key, list[tuple[int, float]]] = defaultdict(list)
        self._counters: dict[Key, float] = {}

    def count(self, metric: str, labels: Labels, amount: float = 1) -> None:
        """Add to a counter; nothing is enough to make it exist."""
        self._counters[metric, labels] = self._counters.get((metric, labels), 0) + amount

    def observe(self, metric: sc.Metric, labels: Labels, values: Mapping[float, int]) -> None:
        """Add to a histogram: how many there were of each value. Every bucket exists from the first on."""
        edges = bounds(metric)
        added = [0] * (len(edges) + 1)
        for value, times in values.items():
            added[bisect_left(edges, value)] += times
        for edge, below in zip((*(f"{bound:g}" for bound in edges), "+Inf"), accumulate(added), strict=True):
            self.count(f"{metric.prometheus}_bucket", (*labels, (queries.BUCKET, edge)), below)
        self.count(f"{metric.prometheus}_count", labels, sum(added))
        self.count(f"{metric.prometheus}_sum", labels, sum(value * times for value, times in values.items()))

    def forget(self, label: str, value: str) -> None:
        """Drop the counters with this label: who reports them is no more."""
        self._counters = {key: total for key, total in self._counters.items() if (label, value) not in key[1]}

    def scrape(self, minute: int, gauges: Mapping[Key, float], mute: Container[str]) -> None:
        """Store all that is reported in this minute; mute processes report nothing."""
        for key, value in chain(self._counters.items(), gauges.items()):
            if mute and dict(key[1]).get(sc.PROCESS_ID.label) in mute:
                continue
            if key in self._counters and key not in self.series:
                self.series[key].append((minute - 1, 0))
            self.series[key].append((minute, value))

    def openmetrics(self, start: int) -> Iterator[str]:
        """Yield the text that ``promtool tsdb create-blocks-from openmetrics`` reads."""
        for name, group in groupby(sorted(self.series, key=lambda key: key[0]), key=lambda key: key[0]):
            yield f"# TYPE {name} unknown"
            for key in group:
                series = name + "{" + ",".join(f'{label}="{value}"' for label, value in key[1]) + "}"
                for minute, value in self.series[key]:
                    yield f"{series} {value:g} {start + minute * MINUTE}"
        yield "# EOF"


@cache
def bounds(metric: sc.Metric) -> tuple[float, ...]:
    """The buckets of a histogram: the contract's, else those that the collector is told to make."""
    if metric.bounds:
        return metric.bounds
    connectors: dict[str, Any] = yaml.safe_load(COLLECTOR.read_text())["connectors"]
    spans = connectors["signal_to_metrics/streams"]["spans"]
    return next(tuple(one["histogram"]["buckets"]) for one in spans if one["name"] == metric.name)
