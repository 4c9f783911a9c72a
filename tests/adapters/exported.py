"""What a real SDK exports, in place of the process's own."""

from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_streaming._config import read_settings
from otel_streaming.testing import capture


@contextmanager
def exported(**options):
    """Have an SDK with options of its own that only this block sees; gives what returns the spans that have ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False, **options)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_TRACER_PROVIDER", provider)
        with capture(read_settings({})[0]):
            yield exporter.get_finished_spans
