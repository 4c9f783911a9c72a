"""Nothing that passes through a service is told: secrets everywhere, and every byte that we export looked through."""

import asyncio
import base64
import contextlib
import os
import re
import secrets
import signal
from importlib.metadata import entry_points

import pytest
import websockets

from tests.conformance.sink import Sink

pytestmark = pytest.mark.e2e

PLACES = (
    *("query", "path", "request header", "request body", "address book"),
    *("answer", "answer header", "error event", "tool argument", "password"),
    *("socket query", "socket path", "socket header", "socket message", "exception"),
)
CALLER = "127.0.7.77"
"""Whence the client calls, while the upstream and the service listen on another address."""
OTHERS = [found.name for found in entry_points(group="opentelemetry_instrumentor") if "streaming" not in found.name]
HEAD = (
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    "transfer-encoding: chunked\r\nset-cookie: id=<answer header>\r\n\r\n"
)
DELTA = (
    'data: {"id":"<answer>","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":%s}]}\n\n'
)
WORD = DELTA % '{"content":"<answer>"},"finish_reason":null'
LAST = DELTA % '{},"finish_reason":"stop"'
FAULT = 'data: {"error":{"type":"<error event>","message":"<error event>"}}\n\n'
GEMINI = (  # arguments of a function that look like what a model says of itself, and words for a finish reason
    'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"model":"<tool argument>"}}}]},'
    '"finishReason":"<tool argument> it is"}],"usageMetadata":{"candidatesTokenCount":3}}\n\n'
)
ANSWERS = {
    "whole": [WORD, LAST, "data: [DONE]\n\n"],
    "unfinished": [WORD],
    "error": [WORD, FAULT],
    "tool": [GEMINI],
    "raises": [WORD, WORD],
    "fails": [WORD],
    "cut": [WORD, ""],
    "open": [WORD, WORD],
}
"""What the upstream sends, by the path; nothing more after an empty part, not even the end of the chunks."""


@pytest.fixture
def planted():
    return {place: f"{place.replace(' ', '-')}-{secrets.token_hex(8)}" for place in PLACES}


class Receiver(Sink):
    """Takes OTLP of any signal, and keeps every byte."""

    received = b""

    def take(self, path, body):
        self.received += body


class Traffic:
    """Both ends of the service: its client, and the upstream that answers by the path; all bytes that they get."""

    def __init__(self, planted):
        self.planted, self.seen, self.handlers = planted, b"", set()

    def filled(self, text):
        for place, secret in self.planted.items():
            text = text.replace(f"<{place}>", secret)
        return text.encode()

    async def upstream(self, reader, writer):
        self.handlers.add(asyncio.current_task())
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        self.seen += head + await reader.readexactly(int(fields[b"content-length"]))
        self.seen += base64.b64decode(re.search(rb"(?i)authorization: basic (\S+)", head)[1])
        ending = head.split(b"/")[1].decode()
        writer.write(self.filled(HEAD))
        for part in map(self.filled, ANSWERS[ending]):
            writer.write(b"%x\r\n%s\r\n" % (len(part), part) if part else b"")
            await writer.drain()
            await asyncio.sleep(0.02)
        if ending == "open":
            with contextlib.suppress(ConnectionError):
                await reader.read()
        if ending != "cut":
            writer.write(b"0\r\n\r\n")
        writer.close()

    async def ask(self, port, ending, leave_on=None):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(CALLER, 0))
        p = self.planted
        writer.write(
            f"POST /{ending}/{p['path']}?key={p['query']} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            f"x-api-key: {p['request header']}\r\nx-forwarded-for: {p['address book']}\r\n"
            f"content-length: {len(p['request body'])}\r\n\r\n{p['request body']}".encode()
        )
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := await asyncio.wait_for(reader.read(65536), 60):
                received += data
                if leave_on is not None and leave_on in received:
                    break
        self.seen += received
        writer.transport.abort()
        return received

    async def visit(self, port):
        """Have it all: every answer, a client that leaves, a WebSocket."""
        for ending in ANSWERS:
            await self.ask(port, ending, leave_on=b"data: " if ending == "open" else None)
        await self.socket(port)

    async def socket(self, port):
        p = self.planted
        url = f"ws://127.0.0.1:{port}/socket/{p['socket path']}?key={p['socket query']}"
        headers = {"authorization": p["socket header"]}
        async with websockets.connect(url, additional_headers=headers, local_addr=(CALLER, 0), proxy=None) as socket:
            self.seen += (await socket.recv()).encode()
            await socket.send(p["socket message"])
            self.seen += (await socket.recv()).encode()
            with contextlib.suppress(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_reason == p["socket message"]


def forms(secret):
    """Return what a secret may be recognised by: as it is, and in Base64, wherever it stands in a text."""
    tail = secret.encode()
    return [tail, *(base64.b64encode(b"x" * n + tail)[4 * (n > 0) : -4] for n in range(3))]


def leaks(planted, data):
    return [place for place, secret in planted.items() if any(form in data for form in forms(secret))]


def recorders(folder):
    return b"".join(path.read_bytes() for path in folder.glob("**/*") if path.is_file())


def told_in(planted, log):
    """Return the lines of a log that tell a secret, without the caller's port."""
    return {re.sub(rb":\d+ ", b" ", line) for line in log.splitlines() if leaks(planted, line)}


@pytest.mark.parametrize("metrics", ["ledger", "all"])
def test_nothing_is_told(metrics, planted, serve, tmp_path):
    """No secret of a request, an answer, an upstream, a socket or an exception leaves us, on the wire, disk or log."""
    receiver, state, logs = Receiver(), tmp_path / "state", []
    traffic = Traffic(planted)

    async def main(start):
        server = await asyncio.start_server(traffic.upstream, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        env = {
            "UPSTREAM_URL": f"http://user:{planted['password']}@127.0.0.1:{port}",
            "EXCEPTION": planted["exception"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(OTHERS),
            "OTEL_PYTHON_STREAMING_STATE_DIR": str(state),
            "OTEL_PYTHON_STREAMING_METRICS": metrics,
            "OTEL_PYTHON_STREAMING_LOGS": "all",
            "OTEL_PYTHON_STREAMING_CHUNK_EVENTS": "8",
            "OTEL_PYTHON_STREAMING_ROUTES": "/fails/*",
        }
        try:
            await start(env)
        finally:
            server.close()
            await asyncio.wait(traffic.handlers, timeout=60)
            traffic.handlers.clear()

    async def watched(env):
        with serve("secretive:app", "secretive", "--no-access-log", env=env) as service:
            await traffic.visit(service.port)
            held = asyncio.ensure_future(traffic.ask(service.port, "open"))
            told = planted["answer"].encode()
            before = traffic.seen.count(told)
            await asyncio.sleep(2)  # the recorder's files are written meanwhile
            os.killpg(service.pid, signal.SIGKILL)
            await held
            assert traffic.seen.count(told) > before
            logs.append(service.log.read_bytes())
        assert recorders(state), "there is a file of the killed process"
        assert leaks(planted | {"caller": CALLER}, recorders(state)) == []
        with serve("secretive:app", "heir", "--no-access-log", env=env | {"OTEL_SERVICE_NAME": "secretive"}) as heir:
            await asyncio.to_thread(heir.wait_until, lambda: b"process_death" in receiver.received, "the report", 60)
            await traffic.ask(heir.port, "whole")
            logs.append(heir.log.read_bytes())

    async def bare(env):
        with serve("secretive:app", "bare", "--no-access-log", env=env, instrument=False) as service:
            await traffic.visit(service.port)
            logs.append(service.log.read_bytes())

    asyncio.run(main(watched))
    asyncio.run(main(bare))
    receiver.close()
    everywhere = traffic.seen + logs[0]
    assert [place for place, secret in planted.items() if secret.encode() not in everywhere] == []
    assert CALLER.encode() in traffic.seen
    for due in ("in_band_error", "producer_error", "http_5xx", "missing_terminal", "connection_lost", "gpt-4o"):
        assert due.encode() in receiver.received, f"{due} was to be exported"
    assert b"websocket" in receiver.received
    assert leaks(planted | {"caller": CALLER}, receiver.received) == []
    assert told_in(planted, logs[0] + logs[1]) == told_in(planted, logs[2]) != set(), "a server's own words, no others"
