"""The promise of exactness: ledger = injected, derived = ledger, whatever the service samples."""

import asyncio
import random
from collections import Counter

import pytest
from clients import fetch_all, status

pytestmark = pytest.mark.e2e

STREAMS = 5000
ENDINGS = {
    "healthy": ("ok", "completed", "completed"),
    "unfinished": ("silent", "truncated", "missing_terminal"),
    "in_band_error": ("silent", "failed", "in_band_error"),
    "raises": ("silent", "failed", "producer_error"),
    "fails": ("loud", "failed", "http_5xx"),
    "leaves": ("cancelled", "cancelled", "client_disconnect"),
}


def counts(prometheus, metric, labels, service):
    by = ", ".join(labels)
    samples = prometheus.query(f'sum by ({by}) (max_over_time({metric}{{service_name="{service}"}}[1h]))')
    return {tuple(s.labels.get(label, "") for label in labels): s.value for s in samples if s.value}


def test_5000_streams_on_4_workers_under_a_1_percent_sampler(stack, serve):
    """Five thousand streams, six endings, four workers, a head sampler of 1 %: every count is exact."""
    rng = random.Random(1)
    # "fails" asks for no stream and gets none: it counts since its route is configured.
    endings = rng.choices(list(ENDINGS), [60, 10, 10, 8, 0, 12], k=STREAMS)
    jobs = [
        ("/v1/healthy?chunks=50&pause=0.01", b'word 20"') if ending == "leaves" else (f"/v1/{ending}", None)
        for ending in endings
    ]
    env = {
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
        "OTEL_BSP_MAX_QUEUE_SIZE": "20000",
        "OTEL_PYTHON_STREAMING_ROUTES": "/v1/*",
    }
    with serve(
        "chat:app", "exact", "--workers", "4", "--no-access-log", "--timeout-worker-healthcheck", "60", env=env
    ) as service:
        service.wait_until(lambda: service.log.read_text().count("startup complete") == 4, "four workers", 120)
        failing = [("/v1/fails", None)] * 100
        answers = asyncio.run(fetch_all(service.port, [*jobs, *failing]))
        assert Counter(map(status, answers)) == {200: STREAMS, 500: 100}

        injected = Counter([*endings, *["fails"] * 100])
        expected_ledger = Counter()
        for ending, n in injected.items():
            expected_ledger[ENDINGS[ending][:2]] += n
        expected_derived = {ENDINGS[ending]: n for ending, n in injected.items()}

        def ledger():
            return counts(stack.prometheus, "stream_ledger_ended_total", ["stream_result", "stream_outcome"], "exact")

        def derived():
            labels = ["stream_result", "stream_outcome", "stream_reason"]
            return counts(stack.prometheus, "stream_ended_total", labels, "exact")

        stack.wait_until(lambda: sum(ledger().values()) >= STREAMS + 100, "the ledger", 120)
        stack.wait_until(lambda: sum(derived().values()) >= STREAMS + 100, "the derived counter", 120)
    assert ledger() == dict(expected_ledger)
    assert derived() == expected_derived
    started = stack.prometheus.value('sum(max_over_time(stream_ledger_started_total{service_name="exact"}[1h]))')
    assert started == STREAMS + 100
    workers = stack.prometheus.query('count by (stream_process_id) (stream_ledger_started_total{service_name="exact"})')
    assert len(workers) == 4
    sampled = [s for s in stack.recorded_spans() if s["resource"]["service.name"] == "exact"]
    ours = [s for s in sampled if s["scope"] == "otel_streaming"]
    assert len(ours) == STREAMS + 100
    assert len(sampled) - len(ours) < STREAMS / 2, "the service's own sampler was to stay in force"
