"""What Prometheus says of each fault, held against what was injected."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from demo.faults import DEATH
from otel_streaming import semconv
from otel_streaming.semconv import Origin, Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.faults import Fault
    from stack import Prometheus

CONTRIB, NATIVE = "chat", "chat-native"
"""The same service twice: with the contrib FastAPI instrumentation, and with FastAPI's own telemetry."""

_STOCK = "http_server_request_duration_seconds_count"
_LEDGER_LABELS = (semconv.RESULT.label, semconv.OUTCOME.label, semconv.STALLED.label)
_DERIVED_LABELS = (
    *(semconv.RESULT.label, semconv.OUTCOME.label, semconv.REASON.label),
    *(semconv.PHASE.label, semconv.ORIGIN.label, semconv.STALLED.label),
)

Counts = Counter[tuple[str, ...]]
"""How many, by the values of the labels asked for."""


def _by_route(
    prometheus: Prometheus, metric: str, *labels: str, service: str = f"{CONTRIB}|{NATIVE}"
) -> dict[str, Counts]:
    """Return the counts of ``metric`` for each route.

    Processes come and go, so each series counts with the most it has ever said. `increase` would not do:
    it extrapolates.
    """
    by = ", ".join((semconv.ROUTE.label, *labels))
    found: dict[str, Counts] = defaultdict(Counter)
    for sample in prometheus.query(f'sum by ({by}) (max_over_time({metric}{{service_name=~"{service}"}}[1h]))'):
        if sample.value:
            key = tuple(sample.labels.get(label, "") for label in labels)
            found[sample.labels.get(semconv.ROUTE.label, "")][key] += round(sample.value)
    return found


@dataclass(frozen=True)
class Reading:
    """All that Prometheus has to say, by route."""

    started: dict[str, Counts]
    ended: dict[str, Counts]
    derived: dict[str, Counts]
    contrib: dict[str, Counts]
    native: dict[str, Counts]

    @classmethod
    def of(cls, prometheus: Prometheus) -> Reading:
        """Ask Prometheus."""
        stock = (_STOCK, semconv.STATUS_CODE.label, semconv.ERROR_TYPE.label)
        return cls(
            _by_route(prometheus, semconv.LEDGER_STARTED.prometheus),
            _by_route(prometheus, semconv.LEDGER_ENDED.prometheus, *_LEDGER_LABELS),
            _by_route(prometheus, semconv.ENDED.prometheus, *_DERIVED_LABELS),
            _by_route(prometheus, *stock, service=CONTRIB),
            _by_route(prometheus, *stock, service=NATIVE),
        )


@dataclass(frozen=True)
class Row:
    """What was done to one route.

    Attributes:
        fault: What was injected.
        opened: Streams asked for.
        lost: Those that died with their process.
        misfired: Clients that saw something else on the wire than the fault's name says.
    """

    fault: Fault
    opened: int
    lost: int = 0
    misfired: int = 0

    def _claims(self, reading: Reading) -> list[tuple[str, Counts, Counts]]:
        """Return who says so, what it says, and what it should say."""
        started, ledger, derived = Counts({(): self.opened}), Counts(), Counts()
        for verdict, count in ((self.fault.verdict, self.opened - self.lost), (DEATH, self.lost)):
            if count:
                told, stalled = (verdict.result, verdict.outcome), (str(verdict.stalled).lower(),)
                ledger[told + stalled] = count
                derived[(*told, verdict.reason, verdict.phase, verdict.origin, *stalled)] = count
        return [
            (name, found.get(self.fault.route, Counter()), wanted)
            for name, found, wanted in (
                ("ledger, started", reading.started, started),
                ("ledger, ended", reading.ended, ledger),
                ("stream_ended_total", reading.derived, derived),
            )
        ]

    def differences(self, reading: Reading) -> list[str]:
        """Return, in words, where ``reading`` is not what was injected."""
        differences = [
            f"{name} says {_words(found, ', ', _IN_FULL)} instead of {_words(wanted, ', ', _IN_FULL)}"
            for name, found, wanted in self._claims(reading)
            if found != wanted
        ]
        if self.misfired:
            differences.append(f"{self.misfired} of {self.opened} clients saw something else than this on the wire")
        return [f"{self.fault.name} ({self.fault.route}): {difference}" for difference in differences]

    def cells(self, reading: Reading) -> list[str]:
        """Return the cells of the table."""
        _, ended, derived = (found for _, found, _ in self._claims(reading))
        return [
            self.fault.name,
            f"{self.lost} of {self.opened}" if self.lost else str(self.opened),
            _words(reading.contrib.get(self.fault.route, Counter())),
            _words(reading.native.get(self.fault.route, Counter())),
            _words(ended),
            _words(derived),
            "[red]NO" if self.differences(reading) else "[green]yes",
        ]


_IN_FULL: dict[str, str] = {"true": "stalled", "false": "", **{str(origin): f"by {origin}" for origin in Origin}}
_IN_SHORT = {**_IN_FULL, Origin.SERVER: "", Origin.UNKNOWN: ""}


def _words(counts: Counts, between: str = "\n", phrased: Mapping[str, str] = _IN_SHORT) -> str:
    """Return counts in words, one phrase for each combination of labels."""
    phrases = []
    for values, count in sorted(counts.items()):
        words = dict.fromkeys(phrased.get(value, value) for value in values)  # no word twice
        phrases.append(" ".join((f"{count} x", *(word for word in words if word))))
    return between.join(phrases).removesuffix(" x") or "nothing"


_HEADINGS = (
    *("fault", "injected", "HTTP status, by contrib", "HTTP status, by FastAPI itself"),
    *("our ledger", "stream_ended_total", "agrees"),
)


def table(rows: Sequence[Row], reading: Reading) -> Table:
    """Return the table for people."""
    drawn = Table(show_lines=True, title="What was injected, and what the metrics say of it")
    for heading in _HEADINGS:
        drawn.add_column(heading, justify="right" if heading == "injected" else "left")
    for row in rows:
        drawn.add_row(*row.cells(reading))
    return drawn


def listing(rows: Sequence[Row], reading: Reading) -> str:
    """Return the same for terminals that are too narrow for a table."""
    lines = []
    for row in rows:
        name, *cells = row.cells(reading)
        lines += ["", f"[bold]{name}[/bold]"]
        for heading, cell in zip(_HEADINGS[1:], cells, strict=True):
            lines += [f"  {heading:31} {phrase}" for phrase in cell.split("\n")]
    return "\n".join([*lines, ""])


def summary(rows: Sequence[Row], reading: Reading) -> str:
    """Return the two ratios that the demo is about, as Prometheus has them."""
    routes = [row.fault.route for row in rows]
    stock, results = Counter[str](), Counter[str]()
    for route in routes:
        for source in (reading.contrib, reading.native):
            for (status, _), count in source.get(route, Counter()).items():
                stock[status[:1]] += count
        for (result, *_), count in reading.ended.get(route, Counter()).items():
            results[result] += count
    bad = results[Result.SILENT] + results[Result.LOUD]
    eligible = bad + results[Result.OK]
    gave_up = f"{results[Result.GAVE_UP]} users gave up before the first chunk"
    lost = f"{sum(row.lost for row in rows)} streams died with their worker"
    return (
        f"Your 5xx panel says {_percent(stock['5'], stock.total())}. What users saw: {_percent(bad, eligible)} of the"
        f" answers failed, {_percent(results[Result.SILENT], eligible)} silently; {gave_up}, {lost}."
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "nothing"
