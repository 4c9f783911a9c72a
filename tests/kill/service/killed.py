"""A service that writes down, beside us and before a kill can come between, what its streams did.

``TRUTH`` is a folder. Its file ``events`` has a line for each step of a stream, ``marks/PID`` says how much, of streams
started and ended, a collection that is under way in that process hands out at most.
"""

import asyncio
import os

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_streaming import StreamingMiddleware
from otel_streaming._engine import engine
from otel_streaming._shape import Ended

TRUTH = os.environ["TRUTH"]
EVENTS = os.open(f"{TRUTH}/events", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
MARK = os.open(f"{TRUTH}/marks/{os.getpid()}", os.O_WRONLY | os.O_CREAT)
TICK = b"data: tick\n\n"


def mark(text):
    os.pwrite(MARK, text.encode().ljust(64), 0)


def totals(data):
    """Sum what a collection says of each of the two counters of the ledger."""
    found = {"stream.ledger.started": 0, "stream.ledger.ended": 0}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name in found:
                    found[metric.name] += sum(point.value for point in metric.data.data_points)
    return list(found.values())


class Exporter(OTLPMetricExporter):
    sent = [0, 0]  # noqa: RUF012 - there is one

    def export(self, metrics_data, *args, **kwargs):
        result = super().export(metrics_data, *args, **kwargs)
        if result is MetricExportResult.SUCCESS:
            Exporter.sent = totals(metrics_data)
        return result


class Reader(PeriodicExportingMetricReader):
    def collect(self, *args, **kwargs):
        super().collect(*args, **kwargs)
        mark("idle")


def handed(counts):
    """Mark what a collection is about to get, before it is noted in the recorder's file."""
    for series in counts:
        handing[isinstance(series, Ended)] = sum(counts.values())
    mark("exporting {} {}".format(*(max(0, new - old) for new, old in zip(handing, Exporter.sent, strict=True))))
    note(counts)


handing = [0, 0]
mark("idle")
metrics.set_meter_provider(MeterProvider([Reader(Exporter(), export_interval_millis=500)]))
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=200))
trace.set_tracer_provider(provider)
registry = engine().registry
note, registry.handed = registry.handed, handed


def event(step, scope):
    os.write(EVENTS, f"{step} {os.getpid()} {scope['path']}\n".encode())


async def service(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    _, _, chunks, pause = scope["path"].split("/")
    event("asked", scope)
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    event("begun", scope)
    for _ in range(int(chunks)):
        await send({"type": "http.response.body", "body": TICK, "more_body": True})
        await asyncio.sleep(float(pause))
    event("ending", scope)
    await send({"type": "http.response.body", "body": b""})
    event("ended", scope)


app = StreamingMiddleware(service)
