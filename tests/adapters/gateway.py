"""A small WSGI server's side, written by hand after PEP 3333: it records what the application does, for one client."""

import io
import sys
from dataclasses import dataclass, field


def environ(path="/v1/chat", method="GET", **more):
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **more,
    }


class GoneError(Exception):
    """What a server may raise in place of an OSError."""


@dataclass
class Gateway:
    """One exchange; the client leaves after ``leave_after`` chunks.

    ``door`` is how the server takes it: it ``raises``, or ``closes`` the body without a word.
    """

    leave_after: int | None = None
    door: str = "raises"
    error: BaseException = field(default_factory=BrokenPipeError)
    closes: bool = True  # whether it calls close(), as it must
    calls: list = field(default_factory=list)
    sent: list = field(default_factory=list)
    raised: BaseException | None = None

    def start_response(self, status, headers, exc_info=None):
        self.calls.append(("start", status, headers, exc_info is not None))
        if exc_info is not None and self.sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if not isinstance(status, str) or status[:1] not in "12345":
            raise AssertionError("not a status")
        return self.write

    def write(self, data):
        if not isinstance(data, bytes):
            raise TypeError("not bytes")
        if self.leave_after is not None and len(self.sent) >= self.leave_after:
            raise anew(self.error)
        if data:
            self.sent.append(data)

    def run(self, app, env=None):
        """Serve as servers do: what the application raises is caught and kept."""
        try:
            body = app(env or environ(), self.start_response)
            self.body = type(body)
            try:
                self._send(body)
            finally:
                if self.closes and hasattr(body, "close"):
                    self.calls.append("close")
                    body.close()
        except BaseException as exception:
            self.raised = exception
        return self

    def _send(self, body):
        for data in body:
            full = self.leave_after is not None and len(self.sent) >= self.leave_after
            if full and data and self.door == "closes":
                return
            self.write(data)
        self.calls.append("exhausted")


SSE = [("content-type", "text/event-stream")]


def answer(*steps, status="200 OK", headers=SSE):
    """An application that answers by a generator, and raises where a step says so."""

    def app(environ, start_response):
        start_response(status, list(headers))
        return produce(steps)

    return app


def produce(steps):
    for step in steps:
        if isinstance(step, BaseException):
            raise anew(step)
        yield step


def anew(exception):
    """The same exception without the traceback of an earlier use."""
    return type(exception)(*exception.args)
