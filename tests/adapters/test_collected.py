"""What nobody ended, and the garbage collector finds: it runs anywhere, also within locks that are not ours."""

import gc
import itertools
import threading

import httpx
import pytest
import urllib3
from driver import Connection, http_scope, start
from gateway import Gateway, environ
from hooking import instrumented
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from serving import until
from test_clients import TOKENS
from upstream import Upstream

from otel_streaming import StreamingMiddleware, WSGIStreamingMiddleware, observe
from otel_streaming._config import read_settings
from otel_streaming.instrumentor import HTTPXStreamingInstrumentor, URLLib3StreamingInstrumentor
from otel_streaming.testing import capture


class Locked(SpanProcessor):
    """One within whose lock the collector runs, as it may within the SDK's own; none of them is reentrant."""

    def __init__(self):
        self.names, self._lock = [], threading.Lock()

    def on_end(self, span):
        with self._lock:
            self.names.append(span.name)
            gc.collect()


class _Forever:
    def __await__(self):
        yield


async def _hanging(scope, receive, send):
    await send(start())
    await _Forever()


def _asgi(_):
    connection = Connection()
    coroutine = StreamingMiddleware(_hanging)(http_scope(), connection.receive, connection.send)
    coroutine.send(None)
    return coroutine


def _endless(environ, start_response):
    start_response("200 OK", [("content-type", "text/event-stream")])
    return itertools.repeat(b"data: x\n\n")


def _wsgi(_):
    body = iter(WSGIStreamingMiddleware(_endless)(environ(), Gateway().start_response))
    next(body)
    return body


def _observed(_):
    observed = observe(itertools.count(), "numbers")
    next(observed)
    return observed


def _httpx(url):
    client = httpx.Client()
    return client.send(client.build_request("GET", url), stream=True)


def _urllib3(url):
    return urllib3.PoolManager().request("GET", url, preload_content=False)


@pytest.fixture
def url():
    with instrumented(HTTPXStreamingInstrumentor, URLLib3StreamingInstrumentor), Upstream() as upstream:
        yield upstream.answer(*TOKENS, 30)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of sockets that nobody has closed
@pytest.mark.parametrize("begin", [_asgi, _wsgi, _observed, _httpx, _urllib3])
def test_within_a_lock_of_the_sdk(begin, url, monkeypatch):
    """A stream found in the middle of another span's end is counted at once, and its span made elsewhere."""
    provider, locked = TracerProvider(shutdown_on_exit=False), Locked()
    provider.add_span_processor(locked)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    def lose_one():
        lost = [begin(url)]
        lost.append(lost)

    def host():
        lose_one()
        provider.get_tracer("host").start_span("host").end()

    gc.disable()
    try:
        with capture(read_settings({})[0]) as captured:
            thread = threading.Thread(target=host, daemon=True)
            thread.start()
            thread.join(20)
            assert not thread.is_alive(), "it waits for itself"
            assert (captured.engine.registry.open_count, len(captured)) == (0, 1)
            until(lambda: len(locked.names) == 2, "the stream's span")
    finally:
        gc.enable()
    assert [name.split(" ")[0] for name in locked.names] == ["host", "stream"]
