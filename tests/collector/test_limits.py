"""What no collector has to swallow: long messages, packed ones too, too many series, too much for who is away."""

import gzip
import http.client
import urllib.parse

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from senders import BROKEN, QUICK, Service

from otel_streaming import semconv
from stack import Collector, free_ports
from stack.prometheus import open_local

pytestmark = pytest.mark.e2e

MIB = 2**20
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def request(size, count=1):
    text = KeyValue(key="text", value=AnyValue(string_value="x" * size))
    span = Span(trace_id=b"t" * 16, span_id=b"s" * 8, name="long", attributes=[text])
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span] * count)])])


def post(endpoint, body, **headers):
    """Return the status; of a connection that is closed in the middle of the body as well, if one came."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(endpoint).netloc, timeout=60)
    packed = {"content-encoding": headers["encoding"]} if headers else {}
    try:
        connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf", **packed})
        return connection.getresponse().status
    except OSError:
        return "closed"
    finally:
        connection.close()


def test_long_messages_are_refused(stack):
    """Over HTTP 20 MiB are too many, unpacked too, over gRPC 4 MiB; what is shorter is taken, before and after."""
    taken, long = (request(MIB).SerializeToString(), request(21 * MIB).SerializeToString())
    with grpc.insecure_channel(stack.otlp_grpc) as channel:
        call = channel.unary_unary(EXPORT)
        call(taken, timeout=60)
        with pytest.raises(grpc.RpcError) as refused:
            call(request(5 * MIB).SerializeToString(), timeout=60)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert post(stack.otlp_endpoint, taken) == 200
    assert post(stack.otlp_endpoint, long) in {400, 413, "closed"}
    assert post(stack.otlp_endpoint, gzip.compress(long), encoding="gzip") in {400, 413}
    assert post(stack.otlp_endpoint, gzip.compress(taken), encoding="gzip") == 200


def test_too_many_series(stack, tmp_path):
    """Beyond the limit streams go on being counted, in a series that names nothing; the sum of all stays right."""
    limit = "yaml:connectors::span_metrics/streams::aggregation_cardinality_limit: 20"
    env = {"PROMETHEUS_OTLP": f"{stack.prometheus.url}/api/v1/otlp"}
    with Collector(tmp_path, ["config.yaml", *QUICK, limit], env, "limited") as collector:
        with Service(collector.otlp_endpoint, "crowded") as sender:
            for n in range(100):
                sender.stream(BROKEN | {semconv.ROUTE: f"/{n}"})
        ended = 'sum by (otel_metric_overflow) (max_over_time(stream_ended_total{service_name="crowded"}[1h]))'

        def counted():
            return {s.labels.get("otel_metric_overflow", ""): s.value for s in stack.prometheus.query(ended)}

        collector.wait_until(lambda: sum(counted().values()) == 100, "all of them")
        assert counted() == {"": 20, "true": 80}


def test_a_backend_that_is_away(tmp_path):
    """What waits for a backend of traces is bounded; what finds no room is dropped, and nobody is refused."""
    (nobody,) = free_ports(1)
    away = f"http://127.0.0.1:{nobody}"
    env = {"PROMETHEUS_OTLP": away, "TRACES_EXPORTER": "otlp_http/traces", "TRACES_OTLP": away}
    with Collector(tmp_path, ["config.yaml", QUICK[0]], env, "waiting") as collector:

        def told(name):
            with open_local(collector.metrics) as answer:
                lines = answer.read().decode().splitlines()
            found = [line for line in lines if line.startswith(f"{name}{{") and "otlp_http/traces" in line]
            return sum(float(line.rpartition(" ")[2]) for line in found)

        thousand = request(10, 1000).SerializeToString()
        assert {post(collector.otlp_endpoint, thousand) for _ in range(40)} == {200}
        collector.wait_until(lambda: told("otelcol_exporter_enqueue_failed_spans"), "a span that finds no room")
        assert 0 < told("otelcol_exporter_queue_size") <= told("otelcol_exporter_queue_capacity") == 20_000
