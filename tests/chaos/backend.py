"""Stands between the collector and Prometheus: passes on, or answers as a backend in trouble does."""

import contextlib
import os
import socket
import struct
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stack.prometheus import open_local


class Backend:
    """One HTTP server; `answers` is one of ``passes``, ``503``, ``hangs`` and ``resets``."""

    def __init__(self, prometheus):
        self._how, self._changed = "passes", threading.Condition()
        self.seen = 0  # requests that were not passed on
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = backend.treat(self, body, prometheus)
                if status:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                self.close_connection = status != 200

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answers(self, how):
        """From now on, answer so; what hangs is let go unanswered."""
        with self._changed:
            self._how = how
            self._changed.notify_all()

    def treat(self, handler, body, prometheus):
        """Return the status to answer with, None for no answer at all."""
        how = self._how
        if how == "passes":
            names = ("content-type", "content-encoding")
            headers = {name: handler.headers[name] for name in names if handler.headers[name]}
            request = urllib.request.Request(prometheus + handler.path, body, headers)
            try:
                with open_local(request) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                error.close()
                return error.code
        self.seen += 1
        if how == "503":
            return 503
        if how == "hangs":
            with self._changed:
                self._changed.wait_for(lambda: self._how != "hangs", 120)
        with contextlib.suppress(OSError):  # a close without a farewell
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(handler.connection.detach())
        return None

    def close(self):
        self.answers("passes")
        self._server.shutdown()
        self._server.server_close()
