"""The watchdog, with a real uvicorn, real sockets and a real fork: what it tells while a stream hangs."""

import asyncio
import http.client
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from driver import body, start
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from serving import serving, until
from websockets.sync.client import connect

from otel_streaming import _engine
from otel_streaming._config import Settings
from otel_streaming._engine import Engine, use
from otel_streaming._exchange import Exchange
from otel_streaming._shape import Shape
from otel_streaming._stream import Stream
from otel_streaming._watchdog import Watchdog
from otel_streaming.semconv import Kind, Origin, Protocol, Reason, Role, State

TICK = b"data: tick\n\n"


@pytest.fixture
def records(monkeypatch):
    """The log records of a real SDK."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", provider)

    def found(event):
        return [f.log_record for f in exporter.get_finished_logs() if f.log_record.event_name == event]

    yield found
    provider.shutdown()


async def until_set(event):
    while not event.is_set():  # noqa: ASYNC110 - of another thread
        await asyncio.sleep(0.02)


def states(captured):
    return {state: count for (_, state), count in captured.engine.registry.live().items() if count}


def test_a_stall_is_told_once_while_it_lasts(records):
    """A silent producer gets one log record while the stream hangs, under the parent's context, and no second one."""
    release = threading.Event()
    parent = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))

    async def app(scope, receive, send):
        with trace.use_span(parent):
            await send(start())
            await send(body(TICK))
            await until_set(release)
            await send(body(TICK))
            await send(body(b"", more=False))

    with serving(app, STALL_THRESHOLD="0.3", SPANS="off") as (port, captured):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        client.request("POST", "/v1/chat")
        answer = client.getresponse()
        until(lambda: records("stream.stalled"), "the record")
        assert not captured
        assert states(captured) == {State.STALLED: 1}
        time.sleep(2.5)  # two more looks at the same silence
        release.set()
        assert answer.read() == TICK * 2
        client.close()
        until(lambda: captured, "the end")
    (record,) = records("stream.stalled")
    assert record.severity_text == "WARN"
    assert record.attributes["stream.state"] == "stalled"
    assert record.attributes["stream.origin"] == Origin.UNKNOWN.value
    assert record.attributes["stream.stall.duration"] > 0.3
    assert (record.trace_id, record.span_id) == (1, 2)
    assert captured[0].stall_count == 1


def test_a_reader_that_takes_nothing_is_told_apart(records):
    """A silence that waits for the reader is reported as backpressured, and counts as no stall."""

    async def app(scope, receive, send):
        await send(start())
        for _ in range(1000):
            await send(body(b"data: " + b"x" * 100_000 + b"\n\n"))
        await send(body(b"", more=False))

    with serving(app, STALL_THRESHOLD="0.3", SPANS="off") as (port, captured):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            until(lambda: records("stream.stalled"), "the record")
            assert states(captured) == {State.BACKPRESSURED: 1}
        until(lambda: captured, "the end")
    record = records("stream.stalled")[0]
    assert (record.attributes["stream.state"], record.attributes["stream.origin"]) == ("backpressured", "client")
    assert captured[0].stall_count == 0


@pytest.mark.parametrize("talks", [False, True], ids=["silent", "talking"])
def test_work_for_nobody_is_seen_live(talks):
    """An application that never calls ``receive`` works on: abandoned while it does, in a silence too, then summed."""
    gone, release = threading.Event(), threading.Event()

    async def app(scope, receive, send):
        await send(start())
        await send(body(TICK))
        while not release.is_set():
            await asyncio.sleep(0.02)
            if talks and gone.is_set():
                await send(body(TICK))
        await send(body(b"", more=False))

    with serving(app) as (port, captured):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            received = b""
            while TICK not in received:
                received += client.recv(4096)
        gone.set()
        until(lambda: states(captured) == {State.ABANDONED: 1}, "the live state")
        assert not captured
        assert captured.engine.registry.silence().popitem()[1] == 0.0
        time.sleep(0.5)
        release.set()
        until(lambda: captured, "the end")
    (summary,) = captured
    assert summary.reason is Reason.CLIENT_DISCONNECT
    assert summary.chunks == 1
    assert summary.abandoned_duration >= 0.5
    assert bool(summary.abandoned_chunks) is talks


ENDS = {None: (Reason.CLIENT_DISCONNECT, None), 1000: (Reason.COMPLETED, 1000), 1011: (Reason.IN_BAND_ERROR, 1011)}


@pytest.mark.parametrize("ws", ["websockets-sansio", "wsproto"])
@pytest.mark.parametrize("code", ENDS)
def test_a_websocket_whose_application_never_receives(ws, code):
    """Its end is seen while it hangs; the close frame, or the lack of one, that it never received says how it ended."""
    release = threading.Event()

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "tick"})
        await until_set(release)

    with serving(app, ws) as (port, captured):
        with connect(f"ws://127.0.0.1:{port}/") as client:
            assert client.recv() == "tick"
            assert states(captured) == {State.FLOWING: 1}
            if code is None:
                client.socket.shutdown(socket.SHUT_RDWR)
            client.close(code or 1000)
        until(lambda: states(captured) == {State.ABANDONED: 1}, "the live state")
        assert not captured
        noticed = time.monotonic()
        time.sleep(0.1)
        release.set()
        until(lambda: captured, "the end")
    (summary,) = captured
    assert (summary.reason, summary.close_code) == ENDS[code]
    assert summary.ended_at <= noticed
    assert summary.chunks == 1


@pytest.mark.parametrize("ws", ["websockets-sansio", "wsproto"])
def test_a_websocket_whose_client_answers_no_ping(ws):
    """uvicorn gives it up, and lets a ``send`` of the same moment raise as if the application had closed it."""

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "text": "tick"})
            await asyncio.sleep(0)

    options = {"ws_ping_interval": 0.05, "ws_ping_timeout": 0.05, "loop": "asyncio"}
    with serving(app, ws, uvicorns=options) as (port, captured):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(
                b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            while client.recv(65536):
                pass
        until(lambda: captured, "the end")
    assert [s.reason for s in captured] == [Reason.CLIENT_DISCONNECT]


def test_a_forked_child_has_a_watchdog_of_its_own():
    """Started once in each process, with its first stream; a child's begins with the child's first stream."""
    code = """if True:
        import asyncio, os, sys, threading
        sys.path.insert(0, sys.argv[1])
        from driver import Connection, answer, script
        from otel_streaming import StreamingMiddleware

        def dogs():
            return sum(thread.name == "otel-streaming-watchdog" for thread in threading.enumerate())

        def stream():
            app = StreamingMiddleware(script(*answer(b"data: x\\n\\n")))
            asyncio.run(Connection().run(app))

        assert dogs() == 0
        stream(), stream()
        assert dogs() == 1
        child = os.fork()
        if child == 0:
            before = dogs()
            stream(), stream()
            os._exit(0 if (before, dogs()) == (0, 1) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_it_starts_once_a_thread_is_to_be_had():
    """At a limit of threads it is tried again with the next stream."""
    looked = threading.Event()
    dog = Watchdog(looked.set)
    size = threading.stack_size(2**46)  # more than any machine has
    try:
        dog.start()
    finally:
        threading.stack_size(size)
    dog.start()
    assert looked.wait(20)


class Raising(logging.Handler):
    def __init__(self):
        super().__init__()
        self.told = []

    def emit(self, record):
        self.told.append(record.getMessage())
        raise RuntimeError


class RaisingProcessor(LogRecordProcessor):
    """A host's own, which fails."""

    def __init__(self):
        self.told = []

    def on_emit(self, log_record):
        self.told.append(log_record)
        raise RuntimeError

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=30000):
        return True


def test_a_host_whose_log_raises(tmp_path, monkeypatch):
    """Each stall is told, and that the recorder is off, once: whatever a host's handlers and processors raise."""
    handler, processor, provider = Raising(), RaisingProcessor(), LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", provider)
    (tmp_path / f"otel-streaming-{os.geteuid()}").mkdir(mode=0o755)  # open to others: refused
    before = use(engine := Engine(Settings(state_dir=str(tmp_path))))
    logging.getLogger("otel_streaming").addHandler(handler)
    try:
        streams = [Stream(Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/r"), "GET", -100.0) for _ in range(3)]
        for stream in streams:
            stream.headers(time.monotonic() - 100, 200)
            exchange = Exchange()
            exchange._engine = engine
            engine.registry.begin(stream, exchange)
        for _ in range(2):
            _engine._look()
    finally:
        logging.getLogger("otel_streaming").removeHandler(handler)
        use(before)
        provider.shutdown()
    assert len(processor.told) == 3
    assert [text.partition(":")[0] for text in handler.told] == ["the crash recorder is off"]
