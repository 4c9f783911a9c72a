"""An incident of half a day, loaded into a real Prometheus in seconds: every fault in turn, every number known.

```python
with incident.load(folder) as prometheus:  # all series, recording rules and alerts
    for phase in incident.PHASES:
        prometheus.value(substitute(expr, range=phase.range, rate_interval="4m"), phase.end)  # as phase.figures()
```

Scrapes are a minute apart, so four minutes are the least for a rate.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from dashboards.incident import serve
from dashboards.incident.fates import FATES, Fate
from dashboards.incident.samples import MINUTE
from dashboards.incident.table import LINES, PERIODS, SHOWN_BY_STOCK_METRICS, SPANS_LOST, Line, Period
from otel_streaming import semconv as sc

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from stack import Prometheus

__all__ = ["END", "FATES", "LINES", "PHASES", "START", "Phase", "load"]

END = int(time.time()) // MINUTE * MINUTE - MINUTE
"""Unix time. Recent, so that "the last 15 hours" show it; fixed when this module is imported."""
START = END - MINUTE * sum(period.minutes for period in PERIODS)


def load(folder: Path, port: int = 0) -> AbstractContextManager[Prometheus]:
    """Serve the incident from a folder of its own: a real Prometheus that knows all of it, rules and alerts too."""
    return serve.load(folder, START, port)


@dataclass(frozen=True)
class Phase:
    """A period of the incident in its place in time: what ends after ``start``, until and with ``end``."""

    period: Period
    start: int

    @property
    def name(self) -> str:
        """What goes wrong, or ``quiet``."""
        return self.period.name

    @property
    def end(self) -> int:
        """Ask here, with ``range``, to see this phase and no other."""
        return self.start + self.period.minutes * MINUTE

    @property
    def range(self) -> str:
        """The phase's length as PromQL writes it."""
        return f"{self.period.minutes}m"

    @property
    def alerts(self) -> dict[str, set[tuple[str, str | None]]]:
        """By alert, the services and routes it is about; whatever is not here stays silent."""
        return {
            alert: {(LINES[name].service, LINES[name].route) for name in names}
            for alert, names in self.period.alerts.items()
        }

    def counts(self, which: Callable[[Line], bool], lost: float = SPANS_LOST) -> Counter[str]:
        """Streams of some lines that end in this phase, by fate, as last minus first scrape shows them.

        That leaves out the first minute, a service that reports nothing, and of a lossy collector's spans the share
        that is ``lost`` where there is no ledger.
        """
        total: Counter[str] = Counter()
        for name, line in LINES.items():
            if which(line) and line.service != self.period.mute:
                minutes = range(2, self.period.minutes + 1)
                ended = sum((self.period.ended(name, minute) for minute in minutes), start=Counter[str]())
                heard = 1 - lost * (self.period.lossy and not line.ledger)
                total += Counter({fate: round(number * heard) for fate, number in ended.items()})
        return total

    def figures(self, service: str | None = None, route: str | None = None) -> dict[str, float | None]:
        """What the tiles show at the end, over ``range``, by their titles; None where there is nothing to divide."""

        def chosen(line: Line) -> bool:
            here = service in {None, line.service} and route in {None, line.route}
            return here and line.role is sc.Role.SERVER

        counts = self.counts(lambda line: chosen(line) and line.kind is sc.Kind.BOUNDED)

        def count(holds: Callable[[Fate], bool]) -> int:
            return sum(number for fate, number in counts.items() if holds(FATES[fate]))

        def of(*results: sc.Result) -> int:
            return count(lambda fate: fate.result in results)

        bad, eligible = of(sc.Result.SILENT, sc.Result.LOUD), of(sc.Result.OK, sc.Result.SILENT, sc.Result.LOUD)
        cut = count(lambda fate: fate.result is sc.Result.SILENT and fate.outcome is sc.Outcome.TRUNCATED)
        blank = count(lambda fate: fate.phase is sc.Phase.BEFORE_FIRST_CHUNK)
        shares = {
            "Failed": (bad, eligible),
            "What your 5xx panel says": self._stock(chosen) or (of(sc.Result.LOUD), eligible),
            "Hidden share": (of(sc.Result.SILENT), bad),
            "Cut short": (cut, eligible),
            "Gave up": (of(sc.Result.GAVE_UP), counts.total()),
            "Stalled": (count(lambda fate: fate.stalled), eligible),
            "Blank": (blank, counts.total()),
            "Masked": (count(lambda fate: fate.masked), counts.total()),
            "Unknown": (of(sc.Result.UNKNOWN), counts.total()),
        }
        return {title: part / whole if whole else None for title, (part, whole) in shares.items()} | self._open(chosen)

    def _stock(self, chosen: Callable[[Line], bool]) -> tuple[int, int] | None:
        known = [LINES[name] for name in SHOWN_BY_STOCK_METRICS]
        counts = self.counts(lambda line: chosen(line) and line in known, lost=0)
        failed = sum(number for fate, number in counts.items() if FATES[fate].status >= 500)
        return (failed, counts.total()) if counts else None

    def _open(self, chosen: Callable[[Line], bool]) -> dict[str, float | None]:
        states: Counter[sc.State] = Counter()
        for name, line in LINES.items():
            if chosen(line) and line.ledger and line.service != self.period.mute:
                states.update(self.period.open.get(name, line.open))
        return {"Open streams": states.total(), "Stalled now": states[sc.State.STALLED]}


def _phases() -> tuple[Phase, ...]:
    starts = accumulate((period.minutes * MINUTE for period in PERIODS), initial=START)
    return tuple(Phase(period, start) for period, start in zip(PERIODS, starts, strict=False))


PHASES = _phases()
"""One after the other from ``START`` to ``END``; between two faults there is a quiet one."""
