"""Processes that are no servers: what they count is handed over before they are gone."""

import subprocess
import sys
from pathlib import Path

import pytest

from otel_streaming import semconv
from tests.conformance.sink import Sink

STREAM = """
from otel_streaming import observe
{sdk}
list(observe(range(3), "job"))
{last}
"""
BY_HAND = """
from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
"""
INSTRUMENT = str(Path(sys.executable).with_name("opentelemetry-instrument"))
SCRIPTS = {
    "instrumented": ([INSTRUMENT], STREAM.format(sdk="", last=""), 1),
    "by hand": ([], STREAM.format(sdk=BY_HAND, last=""), 1),
    "shut down by hand": ([], STREAM.format(sdk=BY_HAND, last="metrics.get_meter_provider().shutdown()"), 0),
    "flushed before": (
        [],
        STREAM.format(sdk=BY_HAND, last="p = metrics.get_meter_provider(); p.force_flush(); p.shutdown()"),
        1,
    ),
}
"""What runs the script, the script, and how many streams the last collection counts."""


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_hands_over_its_ledger(name):
    """Also one that ends before a second collection was due, and without a word of ours or the SDK's on the way."""
    prefix, script, due = SCRIPTS[name]
    sink = Sink()
    try:
        env = sink.service_env() | {"OTEL_METRIC_EXPORT_INTERVAL": "600000"}
        env |= {"OTEL_PYTHON_STREAMING_STATE_DIR": "off", "OTEL_PYTHON_STREAMING_SPANS": "off"}
        command = [*prefix, sys.executable, "-c", script]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
    finally:
        sink.close()
    assert done.stderr == ""
    assert sink.total(semconv.LEDGER_STARTED.name) == sink.total(semconv.LEDGER_ENDED.name) == due
    assert len(sink.counters) >= 2
