"""Collector and Prometheus together, as demo and tests use them."""

import sys
import time

import pytest

from stack import Process, PrometheusError, Stack, StackError, find_or_build

pytestmark = pytest.mark.e2e

SERVICE = """
import logging
from opentelemetry import _logs, metrics, trace
with trace.get_tracer("tests").start_as_current_span("a span", attributes={"n": 1, "list": ["a", "b"]}) as span:
    span.add_event("an event", {"x": 1.5})
    _logs.get_logger("tests").emit(_logs.LogRecord(body="a record", event_name="an.event"))
metrics.get_meter("tests").create_counter("tests.calls").add(3)
"""


def test_service_env(stack, tmp_path):
    """A service with this environment delivers all three signals; they are recorded and its metrics are queried."""
    env = stack.service_env("told", OTEL_RESOURCE_ATTRIBUTES="service.namespace=tests")
    argv = [find_instrument(), sys.executable, "-c", SERVICE]
    with Process("service", argv, tmp_path / "service.log", env) as service:
        assert service.wait() == 0, service.log.read_text()

    def received(items):
        return [item for item in items if item["resource"].get("service.name") == "told" and item["scope"] == "tests"]

    (span,) = stack.wait_until(lambda: received(stack.recorded_spans()), "the span")
    assert (span["name"], span["attributes"]) == ("a span", {"n": 1, "list": ["a", "b"]})
    assert [(event["name"], event["attributes"]) for event in span["events"]] == [("an event", {"x": 1.5})]
    (record,) = stack.wait_until(lambda: received(stack.recorded_logs()), "the log record")
    assert (record["eventName"], record["traceId"]) == ("an.event", span["traceId"])
    assert stack.wait_until(lambda: received(stack.recorded_metrics()), "the metric")[0]["name"] == "tests.calls"
    value = stack.wait_until(lambda: stack.prometheus.value('tests_calls_total{service_name="told"}'), "its value")
    assert value == 3


def find_instrument():
    from pathlib import Path

    return Path(sys.executable).with_name("opentelemetry-instrument")


def test_prometheus_client(stack):
    """The client reads every kind of answer, and repeats Prometheus' own words about a bad query."""
    prometheus, now = stack.prometheus, time.time()
    stack.wait_until(lambda: prometheus.value("up"), "the first scrape")
    (series,) = prometheus.query_range("up", now - 1, time.time() + 30, 1)
    assert series.labels["job"] == "otel-collector"
    assert {value for _, value in series.points} == {1.0}
    assert prometheus.series("up") == [series.labels]
    assert "otel-collector" in prometheus.label_values("job")
    assert prometheus.label_values("job", 'up{job="nobody"}') == []
    assert prometheus.query("vector(2) > 3") == []
    assert prometheus.value("vector(2) > 3") is None
    assert prometheus.value("1 + 1") == 2
    with pytest.raises(PrometheusError, match=r"(?s)parse error.*in rate\(up"):
        prometheus.query("rate(up")
    with pytest.raises(PrometheusError, match="2 series"):
        prometheus.value('label_replace(vector(1), "a", "b", "", "") or vector(1)')


@pytest.mark.parametrize("broken", ["otelcol", "prometheus"])
def test_all_or_nothing(broken, tmp_path, monkeypatch):
    """When one of the two does not start, its log is shown and the other is not left running."""
    dud = tmp_path / "dud"
    dud.write_text("#!/bin/sh\necho out of order; exit 7\n")
    dud.chmod(0o755)
    for module in ("server", "collector"):
        found = f"stack.{module}.find_or_build"
        monkeypatch.setattr(found, lambda name: dud if name == broken else find_or_build(name))
    both = Stack(tmp_path / "stack")
    with pytest.raises(StackError, match=r"(?s)ended with 7.*out of order"):
        both.start()
    for process in (both.collector, both.prometheus_process):
        assert process.returncode is not None or not process.log.exists()


def test_nothing_starts_without_binaries(tmp_path, monkeypatch):
    """What is missing is said before anything is written or started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(StackError, match="Install either"):
        Stack(tmp_path / "stack")
    assert not (tmp_path / "stack").exists()


def test_outage(tmp_path):
    """The collector can be taken away and given back, with a second stack running beside it."""
    with Stack(tmp_path) as stack:
        up = stack.prometheus.value
        stack.wait_until(lambda: up("up == 1"), "the first scrape")
        stack.collector.stop()
        with pytest.raises(StackError, match="collector ended with 0"):
            stack.wait_until(lambda: False, "anything")
        stack.prometheus_process.wait_until(lambda: up("up == bool 0"), "a scrape that fails")
        stack.collector.start()
        stack.wait_until(lambda: up("up == 1"), "a scrape that succeeds")
    assert stack.collector.returncode == 0


def test_promtool_accepts_the_rendered_configuration(stack, tmp_path):
    """Prometheus' own checker finds nothing wrong with what is written for it."""
    argv = [find_or_build("promtool"), "check", "config", stack.folder / "prometheus.yml"]
    with Process("promtool", argv, tmp_path / "log") as promtool:
        assert promtool.wait() == 0, promtool.log.read_text()
