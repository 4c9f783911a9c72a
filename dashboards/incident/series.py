"""From the table to samples: every stream of it ends once, and each metric of the contract counts what it tells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashboards import queries
from dashboards.incident import table
from dashboards.incident.fates import FATES
from dashboards.incident.samples import Key, Labels, Samples
from otel_streaming import semconv as sc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dashboards.incident.fates import Fate
    from dashboards.incident.table import Line, Period


def simulate(periods: tuple[Period, ...]) -> Samples:
    """Let the periods happen one after the other."""
    samples, processes, seen = Samples(), _Processes(), Counter[tuple[str, str]]()
    begin = 0
    for period in periods:
        scene = _Scene(period, samples, processes)
        processes.begin(period, samples)
        for minute in range(1, period.minutes + 1):
            if minute == table.CHANGE_AT:
                processes.change(period, samples)
            for name in table.LINES:
                for fate, number in period.ended(name, minute).items():
                    _end(scene, name, FATES[fate], range(seen[name, fate], seen[name, fate] + number))
                    seen[name, fate] += number
            gauges = _live(scene, minute) | _of_the_collector(scene)
            samples.scrape(begin + minute, gauges, processes.alive.get(period.mute, ()))
        begin += period.minutes
    return samples


class _Processes:
    """Who is alive, service by service: streams go round among them."""

    def __init__(self) -> None:
        self._born: Counter[str] = Counter()
        self.alive: dict[str, list[str]] = {service: [] for service in table.PROCESSES}
        self.open: Counter[Key] = Counter()
        self._turn: Counter[str] = Counter()

    def begin(self, period: Period, samples: Samples) -> None:
        """Start and end those that live for one period."""
        for service, count in table.PROCESSES.items():
            lives = table.ONLY_IN.get(service, period.name) == period.name
            if lives != bool(self.alive[service]):
                self._replace(service, count if lives else 0, samples)

    def change(self, period: Period, samples: Samples) -> None:
        """Replace all of a service in a deployment, the first one where it is killed."""
        if period.replaced:
            self._replace(period.replaced, table.PROCESSES[period.replaced], samples)
        if period.killed:
            samples.forget(sc.PROCESS_ID.label, self.alive[period.killed].pop(0))
            self.alive[period.killed].append(self._new(period.killed))

    def next(self, line: Line) -> str:
        """Return the process whose turn it is."""
        alive = self.alive[line.service]
        self._turn[line.service] += 1
        return alive[self._turn[line.service] % len(alive)]

    def _replace(self, service: str, count: int, samples: Samples) -> None:
        for gone in self.alive[service]:
            samples.forget(sc.PROCESS_ID.label, gone)
        self.alive[service] = [self._new(service) for _ in range(count)]

    def _new(self, service: str) -> str:
        self._born[service] += 1
        return f"{service}-{self._born[service]}"


@dataclass(frozen=True)
class _Scene:
    period: Period
    samples: Samples
    processes: _Processes


def labels_of(metric: sc.Metric, line: Line, **more: str) -> Labels:
    """Return those of the labels that the metric has, in a fixed order; what is unknown is left out."""
    known: dict[str, str | None] = {
        sc.ROLE.label: line.role,
        sc.KIND.label: line.kind,
        sc.PROTOCOL.label: line.protocol,
        sc.DIALECT.label: line.dialect,
        sc.ROUTE.label: line.route,
        sc.METHOD.label: line.method,
        sc.SERVER_ADDRESS.label: line.address,
        **more,
    }
    values = ((label.label, known.get(label.label)) for label in metric.labels)
    own = ((label, str(value)) for label, value in values if value is not None)
    return ((sc.SERVICE_NAME.label, line.service), *own)


def verdict(fate: Fate) -> dict[str, str]:
    """Every label in which one end differs from another."""
    return {
        sc.RESULT.label: fate.result,
        sc.OUTCOME.label: fate.outcome,
        sc.REASON.label: fate.reason,
        sc.PHASE.label: fate.phase,
        sc.ORIGIN.label: fate.origin,
        sc.TERMINAL.label: fate.terminal,
        sc.STALLED.label: str(fate.stalled).lower(),
        sc.MASKED.label: str(fate.masked).lower(),
        sc.STATUS_CODE.label: str(fate.status),
    }


def _end(scene: _Scene, name: str, fate: Fate, numbers: Sequence[int]) -> None:
    """Streams end: their processes count them, and the collector what it hears of."""
    line, samples = table.LINES[name], scene.samples
    for process, number in Counter(scene.processes.next(line) for _ in numbers if line.ledger).items():
        ledger = labels_of(sc.LEDGER_ENDED, line, **verdict(fate), **{sc.PROCESS_ID.label: process})
        samples.count(sc.LEDGER_ENDED.prometheus, ledger, number)
        if fate.reason is not sc.Reason.PROCESS_DEATH:  # which the dead process has counted
            samples.count(*_started(line, process), number)
    heard = [number for number in numbers if not _lost(scene.period, line, number)]
    if heard:
        _tell(samples, line, fate, [fate.ages[number % len(fate.ages)] for number in heard])
    if numbers and name in table.SHOWN_BY_STOCK_METRICS:
        metric, status, route = queries.STOCK_HTTP[table.SHOWN_BY_STOCK_METRICS[name]]
        labels = {sc.SERVICE_NAME.label: line.service, route: str(line.route), status: str(fate.status)}
        samples.count(metric, tuple(labels.items()), len(numbers))


def _lost(period: Period, line: Line, number: int) -> bool:
    loss = table.SPANS_LOST * period.lossy
    return line.service == period.mute or int((number + 1) * loss) > int(number * loss)


def _tell(samples: Samples, line: Line, fate: Fate, ages: Sequence[float]) -> None:
    """What the collector derives from the spans of streams that lived for so long."""
    told = verdict(fate)
    lived = Counter(ages)
    samples.count(sc.ENDED.prometheus, labels_of(sc.ENDED, line, **told), len(ages))
    if fate.outcome != sc.Outcome.COMPLETED and fate.phase != sc.Phase.BEFORE_HEADERS:
        samples.observe(sc.INTERRUPTED_DURATION, labels_of(sc.INTERRUPTED_DURATION, line, **told), lived)
    if line.role is sc.Role.PROXY:  # whose log tells no more
        return
    samples.observe(sc.DURATION, labels_of(sc.DURATION, line, **told), lived)
    if fate.first_chunk is not None:
        samples.observe(sc.FIRST_CHUNK_TIME, labels_of(sc.FIRST_CHUNK_TIME, line), {fate.first_chunk: len(ages)})
        gaps = zip((*sc.GAP_BOUNDS, sc.GAP_BOUNDS[-1] + 1), fate.gaps, strict=True)
        samples.observe(sc.GAP, labels_of(sc.GAP, line), {gap: number * len(ages) for gap, number in gaps})
    for metric, amount, more in _sums(fate, told, ages):
        if amount:
            samples.count(metric.prometheus, labels_of(metric, line, **more), amount)


BYTES_A_CHUNK = 120


def _sums(fate: Fate, told: dict[str, str], ages: Sequence[float]) -> Iterator[tuple[sc.Metric, float, dict[str, str]]]:
    number, size = len(ages), len(ages) * fate.chunks * BYTES_A_CHUNK
    broken = fate.outcome in {sc.Outcome.TRUNCATED, sc.Outcome.FAILED}
    yield sc.SIZES, size, told
    yield sc.CHUNKS, number * fate.chunks, told
    yield sc.WASTED_SIZE, size * broken + number * (fate.wasted > 0) * 10 * BYTES_A_CHUNK, told
    yield sc.WASTED_DURATION, sum(ages) * broken + number * fate.wasted, told
    yield sc.WASTED_TOKENS, number * fate.tokens * broken, told
    yield sc.RETRIES, number * (fate.retry != "none"), {sc.RETRY.label: fate.retry}
    yield sc.BUFFERED_STREAMS, number * fate.buffered, {sc.CACHE.label: sc.Cache.MISS}


def _started(line: Line, process: str) -> Key:
    return sc.LEDGER_STARTED.prometheus, labels_of(sc.LEDGER_STARTED, line, **{sc.PROCESS_ID.label: process})


def _live(scene: _Scene, minute: int) -> dict[Key, float]:
    """What processes report of their open streams; a stream that is open has started."""
    gauges: dict[Key, float] = {}
    for name, line in table.LINES.items():
        states = scene.period.open.get(name, line.open)
        if line.service == scene.period.replaced and minute == table.CHANGE_AT - 1:
            states = dict.fromkeys(states, 0)
        alive = scene.processes.alive.get(line.service, ())
        for place, process in enumerate(alive):
            own = {sc.PROCESS_ID.label: process}
            shares = {state: len(range(place, number, len(alive))) for state, number in states.items()}
            for state, share in shares.items():
                gauges[sc.ACTIVE.prometheus, labels_of(sc.ACTIVE, line, **own, **{sc.STATE.label: state})] = share
            started, total = _started(line, process), sum(shares.values())
            scene.samples.count(*started, total - scene.processes.open[started])
            scene.processes.open[started] = total
            if line.kind is sc.Kind.BOUNDED and states:
                grows = scene.period.silence.get(name, 0) * (place == 0)
                gauges[sc.SILENCE_MAX.prometheus, labels_of(sc.SILENCE_MAX, line, **own)] = 1 + minute * grows
    return gauges


def _of_the_collector(scene: _Scene) -> dict[Key, float]:
    """The collector's own metrics: a lossy one refuses spans, fails to send and fills its queue."""
    job = (("job", "otel-collector"),)
    for metric, amount in (
        ("otelcol_receiver_accepted_spans", 150),
        ("otelcol_receiver_refused_spans", 60 * scene.period.lossy),
        ("otelcol_exporter_sent_metric_points", 900),
        ("otelcol_exporter_send_failed_metric_points", 90 * scene.period.lossy),
    ):
        scene.samples.count(metric, job, amount)
    return {
        ("otelcol_exporter_queue_size", job): 700 if scene.period.lossy else 0,
        ("otelcol_exporter_queue_capacity", job): 1000,
    }
