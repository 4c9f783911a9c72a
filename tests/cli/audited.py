"""What is audited: endpoints that stream as told, a real nginx before them, and a server that only writes."""

import http.server
import sys
import threading
import time
from pathlib import Path

from nginx import configured

from stack import Process

BIN = Path(sys.executable).parent
ENDPOINTS = Path(__file__).with_name("endpoints.py")

NGINX = """
    proxy_cache_path {folder}/cache keys_zone=kept:1m;
    access_log off;
    proxy_http_version 1.0;
"""
SERVER = """
    server {{
        listen 127.0.0.1:{port};
        location /open/ {{ proxy_http_version 1.1; proxy_buffering off; proxy_pass http://127.0.0.1:{behind}/; }}
        location /buffering/ {{ proxy_pass http://127.0.0.1:{behind}/; }}
        location /deaf/ {{ proxy_ignore_client_abort on; proxy_pass http://127.0.0.1:{behind}/; }}
        location /limited/ {{
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout 2s;
            proxy_pass http://127.0.0.1:{behind}/;
        }}
        location /zipping/ {{
            proxy_http_version 1.1;
            gzip on;
            gzip_types text/event-stream;
            gzip_min_length 0;
            proxy_pass http://127.0.0.1:{behind}/;
        }}
        location /caching/ {{
            proxy_cache kept;
            proxy_cache_key {port}$request_uri;
            proxy_cache_valid 200 1m;
            proxy_ignore_headers Set-Cookie Cache-Control;
            proxy_pass http://127.0.0.1:{behind}/;
        }}
    }}
"""


def nginx(folder, pairs):
    """Return an nginx that listens on the first port of each pair, before the second."""
    servers = [SERVER.format(port=port, behind=behind) for port, behind in pairs]
    return configured(folder, NGINX.format(folder=folder) + "".join(servers))


def endpoints(folder, name, port, receiver=None, *mode):
    """Return the endpoints as a process; where a receiver's port is given, instrumented and exporting to it."""
    command = [sys.executable, ENDPOINTS, port, *mode]
    env = {
        "OTEL_SERVICE_NAME": name,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_PYTHON_STREAMING_STATE_DIR": "off",
    }
    if mode:
        env["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "otel_streaming_asgi"
    if receiver is None:
        return Process(name, command, folder / f"{name}.log")
    return Process(name, [BIN / "opentelemetry-instrument", *command], folder / f"{name}.log", env)


class Writer(http.server.ThreadingHTTPServer):
    """A server that writes, and never reads while it does; ``asked`` holds the headers of each request."""

    daemon_threads = True
    pieces, pause, status, fields, moves = 12, 0.05, 200, {}, {}
    halves, end, greeting = False, b"\n", 0.0  # each event in two pieces; line end; s before a TLS handshake

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Writing)
        self.asked = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/stream"

    def handle_error(self, request, client_address):
        """Its client has gone: nothing to say."""

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Writing(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        time.sleep(self.server.greeting)
        super().setup()

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): ", ".join(self.headers.get_all(name)) for name in self.headers}
        self.server.asked.append((self.command, self.path, headers, body))
        moved = self.server.moves.get(self.path)
        self.send_response(307 if moved else self.server.status)
        fields = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", **self.server.fields}
        fields |= {"Content-Length": "0", "Location": moved} if moved else {}
        if "Content-Length" not in fields:
            fields["Transfer-Encoding"] = "chunked"
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        for _ in range(self.server.pieces if "Content-Length" not in fields else 0):
            time.sleep(self.server.pause)
            self._event(b'data: {"object": "chat.completion.chunk", "choices": []}')
        if "Content-Length" not in fields:
            self._event(b"data: [DONE]")
            self._chunk(b"")

    do_POST = do_GET  # noqa: N815 - the library's name

    def _event(self, data):
        for piece in (data + self.server.end, self.server.end) if self.server.halves else (data + 2 * self.server.end,):
            self._chunk(piece)

    def _chunk(self, piece):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.flush()

    def log_message(self, *_):
        """Keep quiet."""
