"""What is heard over OTLP, as plain records: ended streams, and the values of what a process counts itself."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_streaming import semconv as sc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from google.protobuf.message import Message
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value = str | int | float | bool | tuple[Any, ...]

REQUESTS: dict[str, type[Message]] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}
"""What comes by which path (OTLP specification, "OTLP/HTTP Request")."""
_MAX_ATTRIBUTES, _MAX_TEXT, _MAX_ITEMS = 128, 256, 64
_READ = {m.name for m in sc.METRICS if m.source == "process"}


def clean(text: str) -> str:
    """Return a text without what a terminal obeys: controls and escapes, bidirectional overrides, line separators."""
    return "".join(filter(str.isprintable, text))


@dataclass(frozen=True)
class EndedStream:
    """One stream that has ended, as its span tells.

    Attributes:
        trace_id, span_id: Hexadecimal.
        service: ``service.name``, clean; empty where none was told.
        started_at, ended_at: Unix time, s.
        attributes: The span's, by their names in the contract; arrays as tuples; bounded.
    """

    trace_id: str
    span_id: str
    service: str
    started_at: float
    ended_at: float
    attributes: Mapping[str, Value]

    def text(self, name: str) -> str:
        """Return an attribute as clean text; empty where it is missing."""
        return clean(str(self.attributes.get(name, "")))

    def number(self, name: str) -> float | None:
        """Return an attribute as a number; None where it is none."""
        value = self.attributes.get(name)
        return value if isinstance(value, (int, float)) and math.isfinite(value) else None

    @property
    def gaps(self) -> tuple[int, ...]:
        """Gaps between chunks by bucket of ``semconv.GAP_BOUNDS``; empty where none were told."""
        value = self.attributes.get(sc.CHUNK_GAP_COUNTS)
        return value if isinstance(value, tuple) and all(type(count) is int for count in value) else ()


@dataclass(frozen=True)
class Reading:
    """One value of one metric that a process counts itself, at one collection.

    Attributes:
        metric: Its name: those of ``semconv.METRICS`` that come from the process.
        at: When it was collected, Unix time, s; the same for all that was collected together.
        value: Cumulative where the metric is a counter.
        labels: The metric's attributes.
    """

    metric: str
    at: float
    value: float
    labels: Mapping[str, Value]

    @property
    def process(self) -> str:
        """The random id of the process."""
        return str(self.labels.get(sc.PROCESS_ID, ""))


def streams(request: ExportTraceServiceRequest, *, as_json: bool = False) -> Iterator[EndedStream]:
    """Yield the streams that a request tells of; spans that are not ours are nobody's.

    Args:
        request: As parsed.
        as_json: From JSON, where ids are hexadecimal and were read as base64 (OTLP specification, "JSON Protobuf
            Encoding").
    """
    ids = _from_base64 if as_json else bytes.hex
    for resource in request.resource_spans:
        service = clean(str(_plain(resource.resource.attributes).get(sc.SERVICE_NAME, "")))
        for scope in resource.scope_spans:
            for span in scope.spans if scope.scope.name == sc.SCOPE else ():
                attributes = _plain(span.attributes)
                if sc.RESULT in attributes:
                    yield _ended(span, ids(span.trace_id), ids(span.span_id), service, attributes)


def traces(request: ExportTraceServiceRequest, *, as_json: bool = False) -> set[str]:
    """Return the ids of the traces that a request tells of, whoever made the spans; ``as_json`` as in ``streams``."""
    ids = _from_base64 if as_json else bytes.hex
    scopes = (scope for resource in request.resource_spans for scope in resource.scope_spans)
    return {ids(span.trace_id) for scope in scopes for span in scope.spans}


def readings(request: ExportMetricsServiceRequest) -> Iterator[Reading]:
    """Yield the values that a request tells of."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics if scope.scope.name == sc.SCOPE else ():
                for point in _points(metric):
                    value = point.as_int if point.HasField("as_int") else point.as_double
                    if math.isfinite(value):
                        yield Reading(metric.name, point.time_unix_nano / 1e9, value, _plain(point.attributes))


def _ended(span: Span, trace_id: str, span_id: str, service: str, attributes: dict[str, Value]) -> EndedStream:
    begun, ended = span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9
    return EndedStream(trace_id, span_id, service, begun, ended, attributes)


def _points(metric: Metric) -> Iterable[NumberDataPoint]:
    numbers = {"sum": metric.sum.data_points, "gauge": metric.gauge.data_points}
    return numbers.get(metric.WhichOneof("data") or "", ()) if metric.name in _READ else ()


def _plain(attributes: Iterable[KeyValue]) -> dict[str, Value]:
    kept = [pair for _, pair in zip(range(_MAX_ATTRIBUTES), attributes, strict=False)]
    return {pair.key[:_MAX_TEXT]: _value(pair.value) for pair in kept}


def _value(any_value: AnyValue) -> Value:
    kind = any_value.WhichOneof("value")
    if kind == "string_value":
        return any_value.string_value[:_MAX_TEXT]
    if kind == "array_value":
        items = any_value.array_value.values[:_MAX_ITEMS]
        return tuple(_value(item) for item in items if item.WhichOneof("value") != "array_value")
    if kind == "double_value" and not math.isfinite(any_value.double_value):
        return str(any_value.double_value)  # JSON has no word for it
    return getattr(any_value, kind) if kind in {"int_value", "double_value", "bool_value"} else ""


def _from_base64(read: bytes) -> str:
    return base64.b64encode(read).decode("ascii").lower()  # its case says nothing
