"""The embedded receiver: what real exporters send arrives as records, and what nobody should send does no harm."""

import contextlib
import gzip
import json
import socket
import threading
import time
import tracemalloc
import zlib

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_streaming import semconv as sc
from otel_streaming.cli import receiver as module
from otel_streaming.cli.bodies import MAX_BODY, Refused, inflate
from otel_streaming.cli.receiver import Receiver, ReceiverError
from stack import wait_until

HEAD = "POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1\r\n"
PROTOBUF, JSON = "Content-Type: application/x-protobuf\r\n", "Content-Type: application/json\r\n"
LENGTH, GZIP = "Content-Length: {}\r\n", "Content-Encoding: gzip\r\n"
ID = "0123456789abcdef"
SPAN = {
    "traceId": ID + ID,
    "spanId": ID,
    "startTimeUnixNano": "1000000000",
    "endTimeUnixNano": "3500000000",
    "attributes": [{"key": sc.RESULT, "value": {"stringValue": "silent"}}],
}


def traces(*spans, scope=sc.SCOPE):
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": scope}, "spans": spans}]}]}).encode()


@pytest.fixture
def told():
    return []


@pytest.fixture
def receiver(told):
    """One that is not patient, and keeps what it is told."""
    with Receiver(on_stream=told.append, on_reading=told.append, on_export=told.append, patience=1.0) as running:
        yield running


def connect(receiver):
    return socket.create_connection(("127.0.0.1", int(receiver.endpoint.rpartition(":")[2])), timeout=30)


def ask(receiver, head, body=b""):
    """Send a request in raw bytes; returns the status and the body of the answer."""
    with connect(receiver) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head.format(len(body)).encode() + b"\r\n" + body)
        return answer(connection)


def answer(connection):
    with connection.makefile("rb", buffering=0) as file:  # not a byte of the answer after this one
        status = int(file.readline().split()[1])
        fields = dict(line.lower().split(b": ", 1) for line in iter(lambda: file.readline().strip(), b""))
        return status, file.read(int(fields[b"content-length"])).decode(errors="replace")


@pytest.mark.parametrize("compression", Compression)
def test_what_the_real_exporters_send(receiver, told, compression):
    """Spans, metrics and log records of the SDK arrive, whichever way they are packed."""
    resource = Resource.create({"service.name": "shop"})
    tracers, loggers = TracerProvider(resource=resource), LoggerProvider(resource)
    url = f"{receiver.endpoint}/v1/"
    tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{url}traces", compression=compression)))
    loggers.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{url}logs", compression=compression)))
    exporter = OTLPMetricExporter(f"{url}metrics", compression=compression)
    meters = MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)], resource)
    labels = {sc.STATE: "flowing", sc.PROCESS_ID: "p1"}
    meters.get_meter(sc.SCOPE).create_up_down_counter(sc.ACTIVE.name).add(3, labels)
    meters.get_meter("others").create_counter("others").add(1)
    gaps = [0, 1, *[0] * 10]
    with tracers.get_tracer(sc.SCOPE).start_as_current_span("stream") as span:
        span.set_attributes({sc.RESULT: "ok", sc.TIME_TO_FIRST_CHUNK: 0.25, sc.CHUNK_GAP_COUNTS: gaps})
    with tracers.get_tracer("others").start_as_current_span("GET"):
        pass
    loggers.get_logger(sc.SCOPE).emit(body="told")
    for provider in (tracers, meters, loggers):
        provider.shutdown()
    stream, reading = (next(one for one in told if hasattr(one, name)) for name in ("trace_id", "metric"))
    assert (stream.service, stream.text(sc.RESULT), stream.number(sc.TIME_TO_FIRST_CHUNK)) == ("shop", "ok", 0.25)
    assert stream.gaps == tuple(gaps)
    assert stream.trace_id == f"{span.get_span_context().trace_id:032x}"
    assert stream.span_id == f"{span.get_span_context().span_id:016x}"
    assert stream.ended_at >= stream.started_at > time.time() - 3600
    assert (reading.metric, reading.value, reading.process) == (sc.ACTIVE.name, 3, "p1")
    assert reading.labels == labels
    paths = [one.path for one in told if hasattr(one, "path")]
    assert sorted(paths) == ["/v1/logs", "/v1/metrics", "/v1/traces", "/v1/traces"]
    assert sum(hasattr(one, "trace_id") or hasattr(one, "metric") for one in told) == 2


def test_ids_of_either_case():
    """Traces are told by their ids whoever made the spans, and whatever case JSON has them in."""
    seen, found = [], []
    with Receiver(on_trace=seen.append, on_stream=lambda stream: found.append(stream.trace_id)) as receiver:
        for scope in ("others", sc.SCOPE):
            assert ask(
                receiver, HEAD + JSON + LENGTH, traces({**SPAN, "traceId": SPAN["traceId"].upper()}, scope=scope)
            )
    assert (seen, found) == ([ID + ID] * 2, [ID + ID])


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
)
def test_json(receiver, told, encoding, pack):
    """JSON arrives as protobuf does, its ids as they were; what it is answered is JSON."""
    head = HEAD + "Content-Type: Application/JSON; charset=utf-8\r\n" + LENGTH
    body = pack(traces(SPAN))
    assert ask(receiver, head + (f"Content-Encoding: {encoding}\r\n" if encoding else ""), body) == (200, "{}")
    stream, export = told
    assert (stream.trace_id, stream.span_id) == (ID + ID, ID)
    assert (stream.started_at, stream.ended_at) == (1.0, 3.5)
    assert export.body == body


def test_pieces(receiver, told):
    """A body in chunks, and two requests on one connection that come together."""
    body = traces(SPAN)
    chunked = b"".join(b"1\r\n" + body[i : i + 1] + b"\r\n" for i in range(len(body))) + b"0\r\n\r\n"
    with connect(receiver) as connection:
        head = (HEAD + JSON + "Transfer-Encoding: chunked\r\n\r\n").encode()
        connection.sendall(head + chunked + (HEAD + JSON + LENGTH.format(2) + "\r\n{}").encode())
        assert answer(connection) == (200, "{}")
        assert answer(connection) == (200, "{}")
    assert len(told) == 3


def test_a_client_that_asks_before_it_sends(receiver):
    """Who waits for leave to send (curl, from a megabyte on) gets it."""
    with connect(receiver) as connection:
        connection.sendall((HEAD + JSON + "Expect: 100-continue\r\n" + LENGTH.format(2) + "\r\n").encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(b"{}")
        assert answer(connection) == (200, "{}")


BOMB = gzip.compress(bytes(64 * MAX_BODY))
DEEP = b'{"resourceSpans":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


REFUSED = {
    "another name": (
        HEAD.replace("127.0.0.1", "evil.example") + JSON + LENGTH,
        b"{}",
        403,
        "only 127.0.0.1 and localhost",
    ),
    "no name": (HEAD.replace("Host: 127.0.0.1\r\n", "") + JSON + LENGTH, b"{}", 400, "Host"),
    "a web page": (HEAD + "Origin: https://evil.example\r\n" + JSON + LENGTH, b"{}", 403, "browsers"),
    "a page of no origin": (HEAD + "Origin: null\r\n" + JSON + LENGTH, b"{}", 403, "browsers"),
    "a browser": (HEAD + "Sec-Fetch-Site: none\r\n" + JSON + LENGTH, b"{}", 403, "browsers"),
    "GET": (HEAD.replace("POST", "GET"), b"", 405, "POST only"),
    "a preflight": (HEAD.replace("POST", "OPTIONS") + "Origin: https://evil.example\r\n", b"", 403, "browsers"),
    "another path": (HEAD.replace("/v1/traces", "/"), b"", 404, "/v1/traces, /v1/metrics, /v1/logs"),
    "text": (HEAD + "Content-Type: text/plain\r\n" + LENGTH, b"{}", 415, "content-type must be"),
    "no type": (HEAD + LENGTH, b"{}", 415, "content-type must be"),
    "brotli": (HEAD + JSON + "Content-Encoding: br\r\n" + LENGTH, b"{}", 415, "gzip, deflate or none"),
    "bomb of JSON": (HEAD + JSON + GZIP + LENGTH, BOMB, 413, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
    "bomb of protobuf": (HEAD + PROTOBUF + GZIP + LENGTH, BOMB, 413, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
    "too large": (HEAD + JSON + LENGTH, b" " * (MAX_BODY + 1), 413, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
    "not packed": (HEAD + JSON + GZIP + LENGTH, b"{}", 400, "not gzip"),
    "cut off": (HEAD + JSON + GZIP + LENGTH, gzip.compress(b"{}")[:-4], 400, "not one whole gzip"),
    "two members": (HEAD + JSON + GZIP + LENGTH, gzip.compress(b"{}") * 2, 400, "not one whole gzip"),
    "no protobuf": (HEAD + PROTOBUF + LENGTH, b"\xff" * 50, 400, "no ExportTraceServiceRequest"),
    "no JSON": (HEAD + JSON + LENGTH, b"{", 400, "no ExportTraceServiceRequest"),
    "another JSON": (HEAD + JSON + LENGTH, b"[1]", 400, "no ExportTraceServiceRequest"),
    "no UTF-8": (HEAD + JSON + LENGTH, b"\xff\xfe{", 400, "no ExportTraceServiceRequest"),
    "half a character": (HEAD + JSON + LENGTH, rb'{"\ud800": 1}', 400, "no ExportTraceServiceRequest"),
    "deep": (HEAD + JSON + LENGTH, DEEP, 400, "no ExportTraceServiceRequest"),
    "another shape": (
        HEAD + JSON + LENGTH,
        b'{"resourceSpans": [{"scopeSpans": 7}]}',
        400,
        "no ExportTraceServiceRequest",
    ),
    "TLS": ("\x16\x03\x01 this is TLS\r\n", b"", 400, "no HTTP/1.1"),
    "large head": (HEAD + "X: " + "x" * 100_000 + "\r\n", b"", 431, "no HTTP/1.1"),
    "another framing": (HEAD + JSON + "Transfer-Encoding: gzip\r\n", b"", 501, "no HTTP/1.1"),
    "no length": (HEAD + JSON + "Content-Length: -1\r\n", b"", 400, "no HTTP/1.1"),
}


@pytest.mark.parametrize(("head", "body", "status", "said"), REFUSED.values(), ids=REFUSED)
def test_refused(receiver, told, head, body, status, said):  # noqa: PLR0917
    """What should not come is answered with what would be right, tells nobody anything, and the next one is served."""
    got, message = ask(receiver, head, body)
    assert got == status
    assert said in message
    assert told == []
    assert ask(receiver, HEAD + JSON + LENGTH, traces(SPAN)) == (200, "{}")


def test_a_bomb_is_not_unpacked():
    """Of a body that grows without end no more is unpacked than is allowed."""
    tracemalloc.start()
    try:
        with pytest.raises(Refused):
            inflate(BOMB, "gzip")
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_BODY
    finally:
        tracemalloc.stop()


def test_spans_of_others_and_spans_that_are_no_streams(receiver, told):
    """What is not a stream of ours is accepted and told nobody; strings and lists are bounded."""
    huge = {"key": "x" * 1000, "value": {"stringValue": "y" * 1000}}
    many = {"key": "many", "value": {"arrayValue": {"values": [{"intValue": "1"}] * 1000}}}
    infinite = {"key": "infinite", "value": {"doubleValue": "Infinity"}}
    full = {**SPAN, "attributes": [*SPAN["attributes"], huge, many, infinite]}
    ask(receiver, HEAD + JSON + LENGTH, traces(SPAN, scope="others"))
    ask(receiver, HEAD + JSON + LENGTH, traces({**SPAN, "attributes": []}, full))
    (stream,) = (one for one in told if hasattr(one, "trace_id"))
    assert max(len(text) for text in stream.attributes) == 256
    assert len(stream.attributes["x" * 256]) == 256
    assert len(stream.attributes["many"]) == 64
    assert stream.attributes["infinite"] == "inf"


@pytest.mark.parametrize("sent", ["POST /v1", HEAD + JSON + LENGTH.format(10) + "\r\n{"])
def test_who_sends_slowly_is_cut_off(receiver, sent):
    """A head or a body that drips is not waited for, although something comes all the time."""
    with connect(receiver) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(sent.encode())
        stop = threading.Event()

        def drip():
            with contextlib.suppress(OSError):
                while not stop.wait(0.2):
                    connection.sendall(b"x" if sent.startswith("POST /v1 ") else b"/")

        threading.Thread(target=drip, daemon=True).start()
        assert connection.recv(1) == b""
        stop.set()


def test_who_says_nothing_is_cut_off():
    """A connection that says nothing is closed after a while."""
    with Receiver(idle=0.2) as receiver, connect(receiver) as connection:
        assert connection.recv(1) == b""


def test_too_many(receiver, monkeypatch):
    """Connections beyond a number, and bodies beyond a size in all, are told to come again."""
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 3)
    with contextlib.ExitStack() as others:
        for _ in range(3):
            others.enter_context(connect(receiver))
        status, message = ask(receiver, HEAD + JSON + LENGTH, b"{}")
        assert (status, "try again" in message) == (503, True)
        for _ in range(3):
            others.enter_context(connect(receiver))
        with connect(receiver) as beyond, contextlib.suppress(ConnectionResetError):
            assert beyond.recv(1) == b""
    wait_until(lambda: ask(receiver, HEAD + JSON + LENGTH, b"{}")[0] == 200, "room again")
    monkeypatch.setattr(module, "MAX_HELD", 100)
    assert ask(receiver, HEAD + JSON + LENGTH, b"{}" + b" " * 200)[0] == 503
    for _ in range(3):  # what has been read is held no more
        assert ask(receiver, HEAD + JSON + LENGTH, b"{}" + b" " * 60)[0] == 200


def test_a_port_that_is_taken():
    """Who asks for a port that another has is told which, and what to do."""
    with Receiver() as one, pytest.raises(ReceiverError, match=r"port \d+ .*another with --port"):
        Receiver(port=int(one.endpoint.rpartition(":")[2])).__enter__()


def test_nothing_is_left_behind():
    """When the block is left, threads and ports are free again, whoever is connected."""
    with contextlib.ExitStack() as connections:
        with Receiver() as receiver:
            idle, busy = (connections.enter_context(connect(receiver)) for _ in range(2))
            busy.sendall(HEAD.encode())
            assert ask(receiver, HEAD + JSON + LENGTH, b"{}") == (200, "{}")
        for connection in (idle, busy):
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        assert "otlp" not in {thread.name for thread in threading.enumerate()}
        with pytest.raises(ConnectionRefusedError):
            connect(receiver)
