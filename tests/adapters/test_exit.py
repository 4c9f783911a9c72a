"""Processes that are no servers, and end before a second collection: a series' first report is 0."""

import subprocess
import sys

import pytest

from otel_streaming import semconv
from tests.conformance.sink import Sink

STREAM = """
import time
from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from otel_streaming import observe
from otel_streaming._engine import engine

metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
while not engine().recording():
    time.sleep(0.01)
list(observe(range(3), "job"))
"""
FLUSH = "metrics.get_meter_provider().force_flush()\n"
ADOPT = """
while sum(engine().registry.started().values()) < 2:
    time.sleep(0.01)
"""


@pytest.fixture
def sink():
    sink = Sink()
    yield sink
    sink.close()


def run(script, sink, state):
    """Run a script; returns how many streams the ledger that it handed over counts."""
    sink.counters.clear()
    env = sink.service_env() | {"OTEL_METRIC_EXPORT_INTERVAL": "600000", "OTEL_PYTHON_STREAMING_SPANS": "off"}
    env["OTEL_PYTHON_STREAMING_STATE_DIR"] = str(state)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    counts = [sink.total(metric.name) for metric in (semconv.LEDGER_STARTED, semconv.LEDGER_ENDED)]
    assert counts[0] == counts[1]
    return counts[0]


def test_a_script_that_flushes(sink, tmp_path):
    """The page's line at its end: zeros first, then the counts."""
    assert run(STREAM + FLUSH, sink, tmp_path) == 1


def test_a_script_that_does_not(sink, tmp_path):
    """Its one collection is of zeros; the next process of the service brings the counts."""
    assert run(STREAM, sink, tmp_path) == 0
    assert run(STREAM + ADOPT + FLUSH, sink, tmp_path) == 2
