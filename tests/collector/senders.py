"""A service as the collector sees it: nothing but OTLP."""

import time

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_streaming import semconv

# What makes a collector hand on at once what it has.
QUICK = (
    "yaml:processors::batch/streams::timeout: 100ms",
    "yaml:connectors::span_metrics/streams::metrics_flush_interval: 300ms",
)

HEALTHY = {
    semconv.ROLE: "server",
    semconv.KIND: "bounded",
    semconv.PROTOCOL: "sse",
    semconv.RESULT: "ok",
    semconv.OUTCOME: "completed",
    semconv.REASON: "completed",
    semconv.PHASE: "after_terminal",
    semconv.ORIGIN: "server",
    semconv.TERMINAL: "seen",
}
BROKEN = HEALTHY | {
    semconv.ROUTE: "/chat",
    semconv.RESULT: "silent",
    semconv.OUTCOME: "truncated",
    semconv.REASON: "missing_terminal",
    semconv.PHASE: "mid_stream",
    semconv.ORIGIN: "upstream",
    semconv.TERMINAL: "missing",
    semconv.SIZE: 1000,
}


class Service:
    """One process of a service; what it sends is on the wire when the ``with`` block ends, or after `flush`."""

    def __init__(self, endpoint, service, instance="1"):
        self.resource = Resource(
            {
                semconv.SERVICE_NAME: service,
                semconv.SERVICE_NAMESPACE: "tests",
                semconv.ENVIRONMENT: "ci",
                "service.instance.id": instance,
                "host.name": f"host-{instance}",
            }
        )
        self.endpoint = endpoint
        self.provider = TracerProvider(resource=self.resource, shutdown_on_exit=False)
        # Small batches, so that two processes really alternate in the collector.
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
        self.provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=100_000, schedule_delay_millis=50, max_export_batch_size=100)
        )

    def stream(self, attributes, seconds=1.0, scope=semconv.SCOPE, context=None):
        """Send the span of one stream and return it."""
        end = time.time_ns()
        tracer = self.provider.get_tracer(scope)
        span = tracer.start_span(
            "stream GET /chat",
            context=context,
            attributes=attributes,
            start_time=end - int(seconds * 1_000_000_000),
        )
        span.end(end)
        return span

    def ledger(self, count):
        """Report so many ended streams as the ledger does, a zero first; and something that is not ours."""
        exporter = OTLPMetricExporter(endpoint=f"{self.endpoint}/v1/metrics")
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
        provider = MeterProvider([reader], self.resource, shutdown_on_exit=False)
        counter = provider.get_meter(semconv.SCOPE).create_counter(semconv.LEDGER_ENDED.name, semconv.LEDGER_ENDED.unit)
        provider.get_meter("shop").create_counter("shop.orders").add(1)
        labels = {str(semconv.ROLE): "server", str(semconv.PROCESS_ID): "abc"}
        for value in (0, count):
            counter.add(value, labels)
            provider.force_flush()
        provider.shutdown()

    def log(self):
        provider = LoggerProvider(self.resource, shutdown_on_exit=False)
        exporter = OTLPLogExporter(endpoint=f"{self.endpoint}/v1/logs")
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        provider.get_logger(semconv.SCOPE).emit(event_name="stream.end", body="truncated")
        provider.shutdown()

    def flush(self):
        self.provider.force_flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.provider.shutdown()


def send(endpoint, service, count):
    """Send so many broken streams, the ledger that knows them, and one log record."""
    with Service(endpoint, service) as sender:
        for _ in range(count):
            sender.stream(BROKEN, 2.0)
        sender.ledger(count)
        sender.log()


def complaints(log):
    """What a collector has logged beyond information, and wishes that it utters as such."""
    lines = [line for line in log.read_text().splitlines() if line.count("\t") > 1]
    return [line for line in lines if line.split("\t")[1] != "info" or "please" in line.lower()]
