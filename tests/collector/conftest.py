"""A service as the collector sees it: nothing but OTLP."""

import time

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_streaming import semconv


class Process:
    """One process of a service; what it sends is on the wire when the ``with`` block ends."""

    def __init__(self, stack, service, instance="1"):
        self.resource = Resource(
            {
                semconv.SERVICE_NAME: service,
                semconv.SERVICE_NAMESPACE: "tests",
                semconv.ENVIRONMENT: "ci",
                "service.instance.id": instance,
                "host.name": f"host-{instance}",
            }
        )
        self.provider = TracerProvider(resource=self.resource, shutdown_on_exit=False)
        # Small batches, so that two processes really alternate in the collector.
        exporter = OTLPSpanExporter(endpoint=f"{stack.otlp_endpoint}/v1/traces")
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

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.provider.shutdown()


@pytest.fixture(scope="session")
def process(stack):
    """Make a `Process` of the service named."""
    return lambda service, instance="1": Process(stack, service, instance)
