"""What the plugin does to a host that it watches: nothing."""

import asyncio
import signal
import socket
from collections import Counter

import pytest
from clients import fetch, fetch_all, status, undated

pytestmark = pytest.mark.e2e

SERVER = 2
"""Span kind, as OTLP writes it."""
OFF = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "otel_streaming_asgi"}


ORDINARY = {
    "chat": ("chat:app", ["/plain"] * 20 + ["/missing"] * 5 + ["/openapi.json"]),
    "fastapi": ("pages:app", ["/small", "/big", "/slow", "/missing"] * 3),  # behind BaseHTTPMiddleware and GZip
    "django": ("pages:app", ["/small", "/big", "/slow", "/missing"] * 3),  # pages of 200 KB, behind its GZip
}


@pytest.mark.parametrize("pages", ORDINARY)
def test_a_service_that_never_streams_exports_nothing_of_ours(pages, stack, serve):
    """Not one span, metric or log record more than without us, over pages and errors of a real service."""
    app, paths = ORDINARY[pages]
    seen = {}
    for name, off in ((f"{pages}-with", {}), (f"{pages}-without", OFF)):
        env = {**off, "PAGES": pages}

        def of_this_service(items, name=name):
            return [item for item in items if item["resource"]["service.name"] == name]

        with serve(app, name, env=env) as service:
            headers = "accept-encoding: gzip\r\n"
            answers = asyncio.run(fetch_all(service.port, [(path, None) for path in paths], headers=headers))
            assert app == "chat:app" or sum(b"content-encoding: gzip" in raw.lower() for raw in answers) == 6
            # Not every server flushes at its end: wait for the stock spans before it is stopped.
            stack.wait_until(
                lambda: sum(s.get("kind") == SERVER for s in of_this_service(stack.recorded_spans())) == len(paths),
                "a server span for every request",
            )
            stack.wait_until(
                lambda: any(_counted(m) == len(paths) for m in of_this_service(stack.recorded_metrics())),
                "metrics of every request",
            )
        metrics = of_this_service(stack.recorded_metrics())
        seen[name] = (
            Counter(span["name"] for span in of_this_service(stack.recorded_spans())),
            {metric["name"]: len(_points(metric)) for metric in metrics},
            Counter((r["scope"], r.get("eventName")) for r in of_this_service(stack.recorded_logs())),
        )
    assert seen[f"{pages}-with"] == seen[f"{pages}-without"]


def _counted(metric):
    return sum(int(point.get("count", 0)) for point in _points(metric))


def _points(metric):
    kind = next(k for k in ("sum", "gauge", "histogram", "exponentialHistogram") if k in metric)
    return metric[kind]["dataPoints"]


def test_the_client_receives_the_same_bytes(serve):
    """Status, headers and body are the same to the byte over random chunkings, breaking ones included."""
    jobs = [(f"/cut/{seed}", None) for seed in range(120)]
    answers = {}
    for name, env in (("bytes-with", {}), ("bytes-without", OFF)):
        with serve("chat:app", name, "--no-access-log", env=env) as service:
            answers[name] = [undated(raw) for raw in asyncio.run(fetch_all(service.port, jobs))]
            answers[name + " errors"] = service.log.read_text().count("ValueError: every third one breaks")
    assert all(status(raw) == 200 for raw in answers["bytes-with"])
    assert answers["bytes-with"] == answers["bytes-without"]
    assert answers["bytes-with errors"] == answers["bytes-without errors"] == 40


def test_an_export_that_hangs_delays_no_shutdown(serve):
    """A collector that takes everything and answers nothing holds the application's shutdown back for a moment only."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        hole.settimeout(60)
        endpoint = f"http://127.0.0.1:{hole.getsockname()[1]}"
        hangs = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
        with serve("chat:app", "hole", env=hangs) as service:
            asyncio.run(fetch(service.port, "/v1/unfinished"))
            service.signal(signal.SIGTERM)
            service.wait(60)
        hole.accept()[0].close()
        assert "shutdown complete" in service.log.read_text()
