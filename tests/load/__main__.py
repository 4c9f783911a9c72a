"""``python -m tests.load [--seconds N]``: what one collector derives, and what it takes for it; writes docs/load.md."""

import argparse
import http.client
import os
import platform
import sys
import tempfile
import threading
import time
import urllib.parse
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_streaming import semconv as sc
from stack import Stack, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "load.md"
SENDERS = 4
BATCH = 512
"""Spans in one message, as the SDK's batch span processor makes them."""
ROUTES = (1, 200, 1000, 3000, 10000)
TICKS = os.sysconf("SC_CLK_TCK")
STREAM = {
    sc.ERROR_TYPE: "missing_terminal",
    sc.STATUS_CODE: 200,
    sc.METHOD: "POST",
    sc.OUTPUT_TOKENS: 400,
    sc.MODEL: "gpt-4o-mini",
    sc.FINISH_REASON: "stop",
    sc.RETRY: "none",
    sc.BACKPRESSURE_DURATION: 0.01,
    sc.STALL_DURATION: 0.0,
    sc.STALL_COUNT: 0,
    sc.CHUNK_GAP_COUNTS: [40, 40, 40, 40, 20, 10, 5, 3, 1, 1, 0, 0],
    sc.CHUNK_GAP_MAX: 7.0,
    sc.TIME_TO_FIRST_CHUNK: 0.4,
    sc.SIZE: 20000,
    sc.KEEPALIVE_COUNT: 0,
    sc.CHUNK_COUNT: 200,
    sc.TERMINAL: "missing",
    sc.DIALECT: "openai.chat",
    sc.PROTOCOL: "sse",
    sc.KIND: "bounded",
    sc.ROLE: "server",
    sc.ORIGIN: "upstream",
    sc.PHASE: "mid_stream",
    sc.REASON: "missing_terminal",
    sc.OUTCOME: "truncated",
    sc.RESULT: "silent",
}
"""What a span says of a broken stream, which costs the most: it is in every metric of those derived."""


@dataclass
class Row:
    """What a load of so many routes took."""

    routes: int
    streams: int
    seconds: float
    busy: float  # processor's seconds of the collector
    memory: int  # bytes that it keeps resident afterwards
    series: int
    prometheus: int
    folded: float  # streams in series that name no route any more
    refused: int

    @property
    def cells(self):
        return [
            f"{self.routes:,}",
            f"{self.streams / self.seconds:,.0f}",
            f"{self.streams / self.busy:,.0f}",
            f"{self.memory / 2**20:.0f}",
            f"{self.series:,}",
            f"{self.prometheus / 2**20:.0f}",
            f"{100 * self.folded / self.streams:.0f} %",
            f"{self.refused:,}",
        ]


def messages(service, sender, routes):
    """Return messages, encoded as the SDK's exporter does, that go through all routes again and again."""
    exporter = InMemorySpanExporter()
    resource = Resource({sc.SERVICE_NAME: service, "service.instance.id": str(sender)})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer(sc.SCOPE)
    numbers = cycle(range(routes))
    for _ in range(max(1, -(-routes // BATCH))):
        end = time.time_ns()
        for number in islice(numbers, BATCH):
            attributes = STREAM | {sc.ROUTE: f"/v1/{number}/chat/completions"}
            span = tracer.start_span("stream POST", attributes=attributes, start_time=end - 20_000_000_000)
            span.add_event("stream.first_chunk", {sc.CHUNK_SIZE: 100})
            span.add_event("stream.end", {sc.OUTCOME: "truncated", sc.REASON: "missing_terminal"})
            span.end(end)
        yield encode_spans(exporter.get_finished_spans()).SerializeToString()
        exporter.clear()


class Sender:
    """One process of a service, as the collector sees it: message after message, over one connection."""

    def __init__(self, endpoint, bodies, until):
        self.sent = self.refused = 0
        self._bodies, self._until, self._address = bodies, until, urllib.parse.urlsplit(endpoint).netloc
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self):
        connection = http.client.HTTPConnection(self._address, timeout=120)
        for body in cycle(self._bodies):
            if time.monotonic() > self._until:
                return connection.close()
            connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                self.sent += BATCH
            else:  # the collector is full, and says so
                self.refused += BATCH
                time.sleep(0.2)
        return None

    def join(self):
        self._thread.join()
        return self


def measure(stack, routes, seconds):
    """Send for so long, then wait until all of it is derived."""
    service = f"load-{routes}"
    bodies = [list(messages(service, number, routes)) for number in range(SENDERS)]
    before, began = busy(stack.collector.pid), time.monotonic()
    senders = [Sender(stack.otlp_endpoint, one, began + seconds) for one in bodies]
    sent = sum(sender.join().sent for sender in senders)
    ended = f'sum(max_over_time(stream_ended_total{{service_name="{service}"}}[1h]))'
    wait_until(lambda: (stack.prometheus.value(ended) or 0) >= sent, f"{sent} derived streams", 300)
    took, worked = time.monotonic() - began, busy(stack.collector.pid) - before
    folded = ended.replace("{", '{otel_metric_overflow="true",')
    return Row(
        routes=routes,
        streams=sent,
        seconds=took,
        busy=worked,
        memory=resident(stack.collector.pid),
        series=round(stack.prometheus.value(f'count({{service_name="{service}",__name__=~"stream_.*"}})')),
        prometheus=resident(stack.prometheus_process.pid),
        folded=stack.prometheus.value(folded) or 0,
        refused=sum(sender.refused for sender in senders),
    )


def busy(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid):
    (kib,) = (line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
    return 1024 * int(kib)


def page(rows):
    """Return the page."""
    few, many = rows[1], rows[-2]
    per_series = 1000 * (many.memory - few.memory) / (many.series - few.series) / 2**20
    of_prometheus = 1000 * many.prometheus / many.series / 2**20
    head = ["routes", "streams/s", "streams per core-second", "collector, MB", "series", "Prometheus, MB"]
    head += ["streams in the overflow series", "refused"]
    table = [head, ["---"] * len(head), *(row.cells for row in rows)]
    return f"""# What a collector takes

Written by `make load`: {SENDERS} senders hand over messages of {BATCH} spans as fast as one collector answers, with
`collector/config.yaml` as it is; every stream is a broken one with gaps and tokens, which is in all metrics there are.
Each row has a collector and a Prometheus of its own, on the same {os.cpu_count()} cores as the senders, which others
used too ({platform.machine()}, {time.strftime("%Y-%m-%d")}): the streams per second are the least, the core-seconds
are the collector's own.

{chr(10).join("| " + " | ".join(row) + " |" for row in table)}

- **A thousand streams a second** take {1000 / rows[1].streams * rows[1].busy:.2f} cores of a collector.
- **A thousand series** take {per_series:.1f} MB of it, and {of_prometheus:.1f} MB of Prometheus. A route that only
  ever breaks one way has {many.series / many.routes:.0f} series, most of them buckets of histograms.
- **Beyond 5,000 series of `stream_ended_total`** (`aggregation_cardinality_limit`) new ones are folded into one
  that names its service and nothing else, `otel_metric_overflow="true"`: the sum stays right, what is asked for by
  reason or result is not. The dashboard *Streams: trust* counts such series, and `StreamTelemetryLossy` sees what is in
  them as failures that were not derived.
- **Beyond 50,000 series** of the sums and the other histograms, each histogram one, new ones are dropped
  (`deltatocumulative/streams`, `max_streams`), as in the last row.
- **Names without a bound** do not come so far: a process tells the first 200 routes apart
  (`OTEL_PYTHON_STREAMING_MAX_ROUTES`) and calls the rest `_OTHER`, in the ledger and in spans.
- Whoever is refused keeps what it has and repeats it: `memory_limiter` answers 503 at 60 % of the memory that the
  collector may have.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    rows = []
    for routes in ROUTES:
        with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
            rows.append(measure(stack, routes, given.seconds))
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    sys.exit(main())
