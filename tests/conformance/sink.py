"""A minimal OTLP/HTTP receiver: spans by trace id, and the last value of each counter."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

OURS = "otel_streaming"


def plain(attributes):
    return {a.key: getattr(a.value, a.value.WhichOneof("value") or "string_value") for a in attributes}


class Sink:
    def __init__(self):
        self.spans = {}  # attributes of our spans, by trace id
        self.counters = {}
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                sink.take(self.path, self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def service_env(self):
        """Return the ``OTEL_`` environment of an instrumented service that exports here, often."""
        return {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }

    def take(self, path, body):
        {"/v1/traces": self.traces, "/v1/metrics": self.metrics}.get(path, bool)(body)

    def traces(self, body):
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans if scope.scope.name == OURS else ():
                    self.spans.setdefault(span.trace_id.hex(), []).append(plain(span.attributes))

    def metrics(self, body):
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.sum.data_points:
                        key = (metric.name, tuple(sorted(plain(point.attributes).items())))
                        self.counters[key] = point.as_int

    def total(self, name):
        return sum(value for (metric, _), value in self.counters.items() if metric == name)

    def told_all(self, due):
        """Tell whether a span has come of each of the traces, and the ledger counts no less."""
        spans = sum(map(len, self.spans.values()))
        return (
            due <= self.spans.keys()
            and self.total("stream.ledger.started") == self.total("stream.ledger.ended") >= spans
        )

    def close(self):
        self.server.shutdown()
        self.server.server_close()
