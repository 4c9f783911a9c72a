"""A uvicorn in a thread of the test's own process, so that what it captures is at hand."""

import contextlib
import socket
import threading
import time

import uvicorn

from otel_streaming import StreamingMiddleware
from otel_streaming._config import PREFIX, read_settings
from otel_streaming.testing import capture


def until(done, what):
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@contextlib.contextmanager
def serving(app, ws="auto", *, uvicorns=(), **settings):
    """A uvicorn in a thread, with options of its own; yields its port and what is captured."""
    values, problems = read_settings({PREFIX + name: value for name, value in settings.items()})
    assert problems == []
    with capture(values) as captured, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        options = {"ws": ws, "log_level": "critical", "lifespan": "off", **dict(uvicorns)}
        server = uvicorn.Server(uvicorn.Config(StreamingMiddleware(app), **options))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            until(lambda: server.started, "uvicorn")
            yield listener.getsockname()[1], captured
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
