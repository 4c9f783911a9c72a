"""Instruments: what the process counts itself, told through the OpenTelemetry API.

The ledger and the live gauges are read when a collection asks. With ``METRICS=all`` so are the counts of ended
streams, by every diagnosis, and two histograms are recorded at each end: what else the collector derives, from spans.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from otel_streaming import semconv as sc
from otel_streaming._registry import MAX_SERIES
from otel_streaming._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from opentelemetry.context import Context

    from otel_streaming._config import Settings
    from otel_streaming._registry import Registry
    from otel_streaming._shape import Shape
    from otel_streaming._verdict import StreamSummary


class Instruments:
    """The instruments of one process."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._registry = registry
        self._all = settings.metrics == "all"
        self.registered = False
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must."""
        self._diagnoses: Counter[tuple[Any, ...]] = Counter()

    def register(self) -> None:
        """Create the instruments, once: a service that never streams exports nothing of ours."""
        if self.registered:
            return
        self.registered = True
        meter = metrics.get_meter(sc.SCOPE, __version__)
        handed = self._registry.handed
        for metric, rows in (
            (sc.LEDGER_STARTED, _ZeroFirst(self._started, handed)),
            (sc.LEDGER_ENDED, _ZeroFirst(self._ended, handed)),
            *(((sc.ENDED, _ZeroFirst(self._diagnosed, lambda _: None)),) if self._all else ()),
        ):
            meter.create_observable_counter(metric.name, [rows], metric.unit, metric.brief)
        meter.create_observable_up_down_counter(sc.ACTIVE.name, [self._active], sc.ACTIVE.unit, sc.ACTIVE.brief)
        silence = sc.SILENCE_MAX
        meter.create_observable_gauge(silence.name, [self._silence], silence.unit, silence.brief)
        if self._all:
            self._duration, self._first_chunk = (
                meter.create_histogram(m.name, m.unit, m.brief, explicit_bucket_boundaries_advisory=m.bounds)
                for m in (sc.DURATION, sc.FIRST_CHUNK_TIME)
            )

    def ended(self, summary: StreamSummary, attributes: dict[str, Any], context: Context | None) -> None:
        """Count one ended stream by its diagnosis, and record its times.

        Args:
            summary: What is known of it.
            attributes: Those of its span.
            context: Its span's, for exemplars.
        """
        if not (self._all and self.registered):
            return
        told = {**attributes, sc.STALLED: summary.stall_count > 0, sc.MASKED: summary.masked}
        key = _key(told)
        if key not in self._diagnoses and len(self._diagnoses) >= MAX_SERIES:
            key = _key({**told, **{label: sc.OTHER for label in _OPEN if label in told}})
        with self._registry.lock:
            self._diagnoses[key] += 1
        process = {sc.PROCESS_ID: self._registry.process_id}
        self._duration.record(
            summary.ended_at - summary.started_at, _only(sc.DURATION, told) | process, context=context
        )
        first = attributes.get(sc.TIME_TO_FIRST_CHUNK)
        if first is not None:
            self._first_chunk.record(first, _only(sc.FIRST_CHUNK_TIME, told) | process, context=context)

    def _diagnosed(self) -> Iterable[tuple[Hashable, int, dict[str, Any]]]:
        process_id = self._registry.process_id
        with self._registry.lock:
            counts = dict(self._diagnoses)
        for key, count in counts.items():
            labels: dict[str, Any] = {
                label: value for label, value in zip(sc.ENDED.labels, key, strict=True) if value is not None
            }
            yield (key, process_id), count, {**labels, sc.PROCESS_ID: process_id}

    def _labels(self, shape: Shape) -> dict[str, Any]:
        labels: dict[str, Any] = {
            sc.ROLE: shape.role.value,
            sc.KIND: shape.kind.value,
            sc.PROTOCOL: str(shape.protocol),
            sc.PROCESS_ID: self._registry.process_id,
        }
        return labels if shape.route is None else {**labels, sc.ROUTE: shape.route}

    def _started(self) -> Iterable[tuple[Hashable, int, dict[str, Any]]]:
        for shape, count in self._registry.started().items():
            yield (shape, self._registry.process_id), count, self._labels(shape)

    def _ended(self) -> Iterable[tuple[Hashable, int, dict[str, Any]]]:
        for ended, count in self._registry.ended().items():
            labels = self._labels(ended.shape)
            labels |= {sc.RESULT: ended.result.value, sc.OUTCOME: ended.outcome.value, sc.STALLED: ended.stalled}
            yield (ended, self._registry.process_id), count, labels

    def _active(self, _: CallbackOptions) -> Iterable[Observation]:
        for (shape, state), count in self._registry.live().items():
            yield Observation(count, self._labels(shape) | {sc.STATE: state.value})

    def _silence(self, _: CallbackOptions) -> Iterable[Observation]:
        longest: dict[tuple[str, str | None], float] = {}
        for shape, seconds in self._registry.silence().items():
            key = (shape.role.value, shape.route)
            longest[key] = max(longest.get(key, 0.0), seconds)
        for (role, route), seconds in longest.items():
            labels: dict[str, Any] = {sc.ROLE: role, sc.PROCESS_ID: self._registry.process_id}
            yield Observation(seconds, labels if route is None else {**labels, sc.ROUTE: route})


_OPEN = {sc.ROUTE, sc.SERVER_ADDRESS}
"""Labels without a closed set of values."""


def _key(values: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(values.get(label) for label in sc.ENDED.labels)


def _only(metric: sc.Metric, values: dict[str, Any]) -> dict[str, Any]:
    return {label: values[label] for label in metric.labels if values.get(label) is not None}


class _ZeroFirst:
    """A callback that reports 0 the first time it reports a series, and the count from then on.

    A series that begins with its count has no increase: Prometheus would never show a first failure. (With several
    metric readers the first one gets the zero: a callback is not told who asks.)
    """

    def __init__(self, rows: Any, handed: Callable[[dict[Any, int]], None]) -> None:
        self._rows = rows
        self._handed = handed
        self._known: set[Hashable] = set()

    def __call__(self, _: CallbackOptions) -> Iterable[Observation]:
        rows = list(self._rows())
        self._handed({key[0]: count for key, count, _ in rows if key in self._known})
        for key, count, labels in rows:
            yield Observation(count if key in self._known else 0, labels)
            self._known.add(key)
