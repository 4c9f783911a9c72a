"""Processes that come out of a fork, under real servers: each has a ledger and a watchdog of its own."""

import asyncio
import re
from collections import Counter

import pytest
from clients import fetch_all

pytestmark = pytest.mark.e2e

ENV = {"OTEL_PYTHON_STREAMING_STALL_THRESHOLD": "0.3"}
MASTER_STREAMS = {"WARM_UP": "", "OTEL_METRIC_EXPORT_INTERVAL": "5000"}
"""The master has metrics to export, and has forked before it does: a child forked in mid-export never exports its own
(docs/limits.md), which at the interval of the other tests, 1 s, is the moment at which a busy machine forks."""
PRELOADED = ("--preload", "-w", "2")
SETUPS = {
    "uvicorns-workers": ("gunicorn", "forked:app", *PRELOADED, "-k", "uvicorn_worker.UvicornWorker"),
    "asgi-workers": ("gunicorn", "forked:app", *PRELOADED, "-k", "asgi"),
    "sync-workers": ("gunicorn", "forked:wsgi", *PRELOADED, "-k", "sync"),
    "gthread-workers": ("gunicorn", "forked:wsgi", *PRELOADED, "-k", "gthread", "--threads", "4"),
    "generators-in-threads": ("uvicorn", "forked:threads", "--workers", "2", "--loop", "uvloop"),
}
"""gunicorn's master has imported all, and streamed itself, before it forks; uvicorn's workers are no forks."""
BATCH = ["/ends"] * 10 + ["/raises"] * 3 + ["/hangs"] * 2
LABELS = ["stream_result", "stream_stalled"]
ENDED = {"/ends": ("ok", "false"), "/forks": ("ok", "false"), "/raises": ("silent", "false"), "/hangs": ("ok", "true")}


def ledger(stack, service):
    """Return the counts of ended streams over all processes."""
    query = f'sum by ({", ".join(LABELS)}) (max_over_time(stream_ledger_ended_total{{service_name="{service}"}}[1h]))'
    samples = stack.prometheus.query(query)
    return {tuple(sample.labels[label] for label in LABELS): sample.value for sample in samples if sample.value}


def injected(paths):
    return dict(Counter(ENDED[path] for path in paths))


def send(service, paths):
    """Send requests; returns by path which processes have answered."""
    answers = asyncio.run(fetch_all(service.port, [(path, None) for path in paths]))
    served = [(path, re.search(rb"process (\d+)", raw)[1]) for path, raw in zip(paths, answers, strict=True)]
    return {path: {process for one, process in served if one == path} for path in paths}


@pytest.mark.parametrize("setup", SETUPS)
def test_each_worker_counts_for_itself(setup, stack, serve):
    """Each process has an id of its own, the ledgers sum up to what was injected, and each tells of its own stalls."""
    server, app, *arguments = SETUPS[setup]
    name, sent, hung = f"forks-{setup}", [], set()
    masters = ["/ends"] if "--preload" in arguments else []
    env = ENV | MASTER_STREAMS if masters else ENV
    ready = "Booting worker" if server == "gunicorn" else "startup complete"
    with serve(app, name, *arguments, server=server, env=env, ready=ready) as service:
        while len(hung) < 2:
            assert len(sent) < 30 * len(BATCH), "one worker gets all"
            hung |= send(service, BATCH)["/hangs"]
            sent += BATCH
        sent += masters
        stack.wait_until(lambda: sum(ledger(stack, name).values()) >= len(sent), "the ledger")
    assert ledger(stack, name) == injected(sent)
    counted = f'sum by (stream_process_id) (max_over_time(stream_ledger_ended_total{{service_name="{name}"}}[1h])) > 0'
    assert len(stack.prometheus.query(counted)) == 2 + len(masters)
    started = f'sum(max_over_time(stream_ledger_started_total{{service_name="{name}"}}[1h]))'
    assert stack.prometheus.value(started) == len(sent)
    told = [
        record
        for record in stack.recorded_logs()
        if (record["resource"]["service.name"], record["eventName"]) == (name, "stream.stalled")
    ]
    assert len(told) == sent.count("/hangs")


def test_a_fork_in_mid_stream(stack, serve):
    """A child forked while streams are open exports nothing of its parent's, whose own counts go on unharmed."""
    sent = ["/hangs", "/forks", *["/ends"] * 10]
    with serve("forked:app", "forks-mid-stream", "--loop", "uvloop", env=ENV) as service:
        send(service, sent)
        for _ in range(5):  # while the child lives, and exports what it has
            send(service, ["/ends", "/forks", "/ends"])
            sent += ["/ends", "/forks", "/ends"]
        stack.wait_until(lambda: sum(ledger(stack, "forks-mid-stream").values()) >= len(sent), "the ledger")
    assert ledger(stack, "forks-mid-stream") == injected(sent)
    series = '{__name__=~"stream_ledger_.*_total", service_name="forks-mid-stream"}'
    assert stack.prometheus.value(f"sum(resets({series}[1h]))") == 0
