"""The same answer however the service is set up: every way to instrument it, to serve it, to nest it."""

import asyncio
import signal

import pytest
from clients import fetch, fetch_all

pytestmark = pytest.mark.e2e

NO_STOCK = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi,asgi,starlette"}
SETUPS = {
    "contrib": ("chat:app", {}, ()),
    "native": ("chat:app", NO_STOCK, ()),
    "h11": ("chat:app", {}, ("--http", "h11")),
    "by-hand-and-entry-point": ("byhand:app", {}, ()),
    "by-hand": ("byhand:app", {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "otel_streaming_asgi"}, ()),
    "mounted": ("mounted:app", {}, ()),
    "gunicorn": ("chat:app", {}, ("-k", "uvicorn_worker.UvicornWorker", "-w", "1")),
    "no-sampling": ("chat:app", {"OTEL_TRACES_SAMPLER": "always_off"}, ()),
}
EXPECTED = [
    ("cancelled", "mid_stream", "client_disconnect"),
    ("ok", "after_terminal", "completed"),
    ("silent", "mid_stream", "in_band_error"),
    ("silent", "mid_stream", "missing_terminal"),
    ("silent", "mid_stream", "producer_error"),
]


@pytest.mark.parametrize("setup", SETUPS)
def test_setup(setup, stack, serve):
    """Five streams with five endings come out as five spans with the right verdicts, and are counted once."""
    app, env, arguments = SETUPS[setup]
    prefix = "/tenants/42" if setup == "mounted" else ""
    name = f"setup-{setup}"
    jobs = [(f"{prefix}/v1/{ending}", None) for ending in ("healthy", "unfinished", "in_band_error", "raises")]
    jobs.append((f"{prefix}/v1/healthy?chunks=50&pause=0.02", b'word 20"'))
    server = "gunicorn" if setup == "gunicorn" else "uvicorn"
    with serve(app, name, *arguments, server=server, env=env) as service:
        asyncio.run(fetch_all(service.port, jobs))

        def ours():
            return [
                span
                for span in stack.recorded_spans()
                if span["resource"]["service.name"] == name and span["scope"] == "otel_streaming"
            ]

        stack.wait_until(lambda: len(ours()) >= 5, "five spans")
    keys = ("stream.result", "stream.phase", "stream.reason")
    assert sorted(tuple(span["attributes"][key] for key in keys) for span in ours()) == EXPECTED
    template = "/tenants/{tenant}/v1/{ending}" if setup == "mounted" else "/v1/{ending}"
    assert {span["attributes"]["http.route"] for span in ours()} == {template}
    query = f'sum(max_over_time(stream_ledger_ended_total{{service_name="{name}"}}[1h]))'
    stack.wait_until(lambda: (stack.prometheus.value(query) or 0) >= 5, "the ledger")
    assert stack.prometheus.value(query) == 5
    if setup in {"contrib", "native", "mounted"}:
        servers = {s["spanId"] for s in stack.recorded_spans() if s.get("kind") == 2}
        assert all(span["parentSpanId"] in servers for span in ours()), "the parent is the server span"


def test_a_tracestate_threshold_counts_once(stack, serve):
    """A caller's ``ot=th:c`` would make the collector count each span four times: it counts once."""
    headers = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: ot=th:c,x=1\r\n"
    with serve("chat:app", "threshold") as service:
        for _ in range(8):
            asyncio.run(fetch(service.port, "/v1/healthy", headers=headers))
    query = 'sum(max_over_time(stream_ended_total{service_name="threshold"}[1h]))'
    stack.wait_until(lambda: (stack.prometheus.value(query) or 0) >= 8, "eight streams")
    assert stack.prometheus.value(query) == 8
    ours = [
        span
        for span in stack.recorded_spans()
        if span["resource"]["service.name"] == "threshold" and span["scope"] == "otel_streaming"
    ]
    assert {span["traceState"] for span in ours} == {"x=1"}
    assert {span["traceId"] for span in ours} == {"0af7651916cd43dd8448eb211c80319c"}


def test_open_streams_end_as_shutdown(stack, serve):
    """SIGTERM past the graceful time-out: the open stream is reported as server_shutdown, and exported."""
    with serve("chat:app", "shutdown", "--timeout-graceful-shutdown", "1") as service:
        signalled = []

        def stop(received):
            if b"word 3" in received and not signalled:
                signalled.append(service.signal(signal.SIGTERM))

        asyncio.run(fetch(service.port, "/v1/healthy?chunks=10000&pause=0.05", on_data=stop))
        service.wait()
    query = 'max_over_time(stream_ended_total{service_name="shutdown"}[1h])'
    stack.wait_until(lambda: stack.prometheus.query(query), "the stream")
    (sample,) = stack.prometheus.query(query)
    assert (sample.labels["stream_reason"], sample.labels["stream_result"]) == ("server_shutdown", "silent")
    ledger = 'sum(max_over_time(stream_ledger_ended_total{service_name="shutdown"}[1h]))'
    assert stack.wait_until(lambda: stack.prometheus.value(ledger), "the ledger") == 1
