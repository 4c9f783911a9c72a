"""What the unit tests share: bodies played through a stream, and a real SDK that only this test sees."""

import logging
from dataclasses import dataclass

import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from otel_streaming._shape import Shape
from otel_streaming._stream import Stream
from otel_streaming._verdict import summarise
from otel_streaming.semconv import Kind, Protocol, Role


def _begin(protocol=Protocol.SSE, kind=Kind.BOUNDED, route="/r", **settings):
    return Stream(Shape(Role.SERVER, kind, protocol, route), "POST", 0.0, **settings)


def _play(chunks, protocol=Protocol.SSE, **settings):
    stream = _begin(protocol, **settings)
    now = 0.1
    stream.headers(now, 200)
    for chunk in chunks:
        now += 0.1
        if stream.chunk(now, chunk):
            stream.idle_since = now
    stream.eof(now)
    return summarise(stream, now)


@pytest.fixture(scope="session")
def begin():
    """Begin a stream of the server role at time 0."""
    return _begin


@pytest.fixture(scope="session")
def play():
    """Send messages of a body, 0.1 s apart, then the end; returns the summary."""
    return _play


@dataclass
class Sdk:
    """What reached the exporters."""

    spans: InMemorySpanExporter
    logs: InMemoryLogRecordExporter
    reader: InMemoryMetricReader
    tracer: trace.Tracer

    @property
    def span(self):
        (span,) = self.spans.get_finished_spans()
        return span

    @property
    def records(self):
        return [finished.log_record for finished in self.logs.get_finished_logs()]

    def points(self, name):
        """Collect once; return the points of one metric as {labels: value}, process id left out."""
        data = self.reader.get_metrics_data()
        points = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points if metric.name == name else ():
                        labels = {k: v for k, v in point.attributes.items() if k != "stream.process.id"}
                        points[tuple(sorted(labels.items()))] = point.value
        return points


@pytest.fixture
def sdk(monkeypatch):
    """A real SDK with a sampler that samples no root, in place of the process's providers."""
    spans, logs, reader = InMemorySpanExporter(), InMemoryLogRecordExporter(), InMemoryMetricReader()
    tracers = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0)), shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracers)
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", meters)
    monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", loggers)
    yield Sdk(spans, logs, reader, tracers.get_tracer("host"))
    meters.shutdown()
    tracers.shutdown()
    loggers.shutdown()


@pytest.fixture(autouse=True)
def _no_leftover_engine(monkeypatch):
    from otel_streaming import _engine

    monkeypatch.setattr(_engine._Current, "engine", None)
    logging.getLogger("otel_streaming").setLevel(logging.NOTSET)
