"""One workload, counted in the process (METRICS=all) and by the collector: the same names, labels and numbers."""

import asyncio
import contextlib
import random
from collections import Counter

import pytest
from clients import fetch_all

from otel_streaming import semconv
from stack import StackError

pytestmark = pytest.mark.e2e

ENDINGS = ["healthy", "unfinished", "in_band_error", "raises", "fails"]
INSTANCE = {
    "stream_process_id",
    "collector_instance_id",
    "instance",
    "service_instance_id",
    "service_name",
    "job",
    "le",
}
COUNTED = {
    semconv.ENDED.prometheus: semconv.ENDED,
    f"{semconv.DURATION.prometheus}_count": semconv.DURATION,
    f"{semconv.FIRST_CHUNK_TIME.prometheus}_count": semconv.FIRST_CHUNK_TIME,
}


def series(stack, name, service):
    """Every series of a metric of the service by its labels, those of an instance left out."""
    found = Counter()
    for sample in stack.prometheus.query(f'max_over_time({name}{{service_name="{service}"}}[1h])'):
        found[frozenset((k, v) for k, v in sample.labels.items() if k not in INSTANCE)] += sample.value
    return {labels: value for labels, value in found.items() if value}


def test_both_ways_of_counting_agree(stack, serve):
    """The process alone, and the collector alone, say the same of the same streams, under the same labels."""
    jobs = [(f"/v1/{ending}", None) for ending in random.Random(2).choices(ENDINGS, k=150)]
    for metrics in ("ledger", "all"):
        env = {"OTEL_PYTHON_STREAMING_METRICS": metrics, "OTEL_PYTHON_STREAMING_ROUTES": "/v1/*"}
        with serve("chat:app", f"counts-{metrics}", env=env) as service:
            asyncio.run(fetch_all(service.port, jobs, headers="Accept: text/event-stream\r\n"))

    def seen(name, metrics):
        return series(stack, name, f"counts-{metrics}")

    ended = semconv.ENDED.prometheus
    for metrics in ("ledger", "all"):
        stack.wait_until(lambda metrics=metrics: sum(seen(ended, metrics).values()) == len(jobs), "the counter", 120)
    for name, metric in COUNTED.items():
        with contextlib.suppress(StackError):  # the assertion shows the difference better
            stack.wait_until(lambda name=name: seen(name, "all") == seen(name, "ledger"), name, 60)
        assert seen(name, "all") == seen(name, "ledger")
        labels = {label for series in seen(name, "all") for label, _ in series}
        assert labels <= {"__name__", *(label.label for label in metric.labels)}
    by_process = stack.prometheus.query('count by (stream_process_id) (stream_ended_total{service_name="counts-all"})')
    assert [sample.labels.get("stream_process_id", "") != "" for sample in by_process] == [True]
    assert seen(f"{semconv.GAP.prometheus}_count", "all"), "what the process does not count is derived all the same"
