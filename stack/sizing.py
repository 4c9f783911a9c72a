"""Measure what the collector needs: ``python -m stack.sizing``.

A real collector and a real Prometheus; the streams are spans as the plugin makes them, sent in batches of an SDK's
size. Processor time, not wall time, and resident memory: a busy machine does not change them much.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from otel_streaming import semconv
from stack import Stack
from stack.prometheus import open_local

BATCH = 512
"""Spans in a request: what the SDK's processor sends at most."""
SECONDS = 20
RATES = (500, 1000, 2000, 4000)
"""Streams ended in a second."""
ROUTES = (200, 1000)
"""Each with a completed and a broken kind of stream, hence with series of its own."""


class Usage(NamedTuple):
    """What a process has used: processor time in seconds, resident memory in MiB."""

    seconds: float
    memory: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Read it from the kernel."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return cls(ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20)


def request(routes: int, first: int) -> bytes:
    """A batch of ended streams, one in ten broken; the routes in turn."""
    spans = [_span(f"/route/{number % routes}", number // routes % 10 == 0) for number in range(first, first + BATCH)]
    resource = ResourceSpans(scope_spans=[ScopeSpans(scope=InstrumentationScope(name=semconv.SCOPE), spans=spans)])
    resource.resource.attributes.append(_attribute(semconv.SERVICE_NAME, "sizing"))
    body: bytes = ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()
    return body


def _span(route: str, broken: bool) -> Span:  # noqa: FBT001 a fact, not a switch
    end = time.time_ns()
    verdict = ("silent", "truncated", "connection_lost", "mid_stream", "upstream", "missing")
    words = verdict if broken else ("ok", "completed", "completed", "after_terminal", "server", "seen")
    names = (semconv.RESULT, semconv.OUTCOME, semconv.REASON, semconv.PHASE, semconv.ORIGIN, semconv.TERMINAL)
    values: dict[str, str | int | float | list[int]] = {
        **dict(zip(names, words, strict=True)),
        semconv.ROLE: "server",
        semconv.KIND: "bounded",
        semconv.PROTOCOL: "sse",
        semconv.DIALECT: "openai.chat",
        semconv.ROUTE: route,
        semconv.METHOD: "POST",
        semconv.STATUS_CODE: 200,
        semconv.CHUNK_COUNT: 120,
        semconv.SIZE: 24_000,
        semconv.TIME_TO_FIRST_CHUNK: 0.4,
        semconv.CHUNK_GAP_COUNTS: [10] * 12,
    }
    return Span(
        trace_id=os.urandom(16),
        span_id=os.urandom(8),
        name=f"stream POST {route}",
        start_time_unix_nano=end - 8 * 10**9,
        end_time_unix_nano=end,
        attributes=[_attribute(name, value) for name, value in values.items()],
    )


def _attribute(name: str, value: str | float | list[int]) -> KeyValue:
    if isinstance(value, list):
        array = ArrayValue(values=[AnyValue(int_value=one) for one in value])
        return KeyValue(key=name, value=AnyValue(array_value=array))
    if isinstance(value, str):
        return KeyValue(key=name, value=AnyValue(string_value=value))
    if isinstance(value, int):
        return KeyValue(key=name, value=AnyValue(int_value=value))
    return KeyValue(key=name, value=AnyValue(double_value=value))


def send(stack: Stack, rate: int, routes: int, seconds: float) -> int:
    """Send streams at a steady rate; return how many."""
    began, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < seconds:
        if sent > rate * elapsed:
            time.sleep((sent - rate * elapsed) / rate)
        headers = {"Content-Type": "application/x-protobuf"}
        url = f"{stack.otlp_endpoint}/v1/traces"
        with open_local(urllib.request.Request(url, request(routes, sent), headers)):
            sent += BATCH
    return sent


def measure(rate: int, routes: int, seconds: float = SECONDS) -> str:
    """Return one row: what a collector of its own used, while it was sent that much."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        warm = send(stack, rate, routes, 3)  # every series is there, every code path has been taken
        pid = stack.collector.pid
        before, began = Usage.of(pid), time.monotonic()
        sent = send(stack, rate, routes, seconds)
        took, after = time.monotonic() - began, Usage.of(pid)
        counted = 'sum(stream_ended_total{service_name="sizing"})'
        stack.wait_until(lambda: stack.prometheus.value(counted) == warm + sent, "every stream in Prometheus")
        series = stack.prometheus.value('count({__name__=~"stream_.+", service_name="sizing"})') or 0
        used = after.seconds - before.seconds
        return (
            f"{sent / took:9.0f} {series:9.0f} {used / took:9.2f} {1000 * used / sent:9.2f} {before.memory:9.0f} "
            f"{after.memory:9.0f}"
        )


def main() -> None:
    """Print a row for each rate with few series, and for each number of routes at one rate."""
    parser = argparse.ArgumentParser(prog="python -m stack.sizing", description="Measure what the collector needs.")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for each row (default: {SECONDS})")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print("streams/s    series     cores s per 1k   MiB at start, end")
    for rate in RATES:
        print(measure(rate, 1, options.seconds), flush=True)
    for routes in ROUTES:
        print(measure(RATES[1], routes, options.seconds), flush=True)


if __name__ == "__main__":
    main()
