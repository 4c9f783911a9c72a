"""A stream's parent is the server span, wherever the instrumentation that makes it stands."""

import asyncio
from contextlib import contextmanager

import pytest
from driver import Connection, answer, chat, http_scope, script
from hooking import instrumented
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from starlette.routing import Route

from otel_streaming.asgi import StreamingMiddleware

SILENT = answer(chat(0))


def starlette(*middleware):
    async def endpoint(request):
        return StreamingResponse(iter([chat(0)]), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat", endpoint)], middleware=middleware)


async def through(request, call_next):
    return await call_next(request)


def contrib(app):
    return OpenTelemetryMiddleware(app, exclude_spans=["receive", "send"])


@contextmanager
def django():
    from django.conf import settings
    from django.core.handlers.asgi import ASGIHandler
    from django.http import StreamingHttpResponse
    from django.test import override_settings
    from django.urls import path

    async def endpoint(request):
        return StreamingHttpResponse(iter([chat(0)]), content_type="text/event-stream")

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)  # noqa: S106 - nobody's
    urls = type("urls", (), {"urlpatterns": [path("v1/chat", endpoint)]})
    with override_settings(ROOT_URLCONF=urls, MIDDLEWARE=[]), instrumented(DjangoInstrumentor):
        yield ASGIHandler()


@contextmanager
def plain(app):
    yield app


ABOVE, BELOW = Middleware(BaseHTTPMiddleware, through), Middleware(contrib)
SETUPS = {
    "contrib over raw": lambda: plain(contrib(script(*SILENT))),
    "contrib over Starlette": lambda: plain(contrib(starlette())),
    "contrib below a BaseHTTPMiddleware": lambda: plain(starlette(ABOVE, BELOW)),
    "contrib for Django": django,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::Warning:django")
@pytest.mark.parametrize("setup", SETUPS)
def test_the_parent_is_the_server_span(setup, spans):
    """Whoever makes the server span, and wherever: the stream is its child, and shows its failure while it records."""
    with SETUPS[setup]() as app:
        asyncio.run(Connection().run(StreamingMiddleware(app), http_scope(method="GET")))
    (server,) = (span for span in spans() if span.kind is SpanKind.SERVER)
    (stream,) = (span for span in spans() if span.kind is SpanKind.INTERNAL)
    assert stream.parent.span_id == server.context.span_id
    assert stream.attributes["stream.reason"] == "missing_terminal"
    if setup != "contrib for Django":  # which has ended before the first byte
        assert server.attributes["stream.reason"] == "missing_terminal"


def test_server_spans_of_other_requests(spans):
    """The first server span is this exchange's; one that starts after the exchange is nobody's."""
    tracer, tasks = trace.get_tracer("host"), []

    async def app(scope, receive, send):
        tracer.start_span("inner", kind=SpanKind.SERVER).end()
        await script(*SILENT)(scope, receive, send)

        async def afterwards():
            await asyncio.sleep(0.01)
            tracer.start_span("late", kind=SpanKind.SERVER).end()

        tasks.append(asyncio.ensure_future(afterwards()))

    async def main():
        await Connection().run(StreamingMiddleware(contrib(app)), http_scope())
        await tasks[0]

    asyncio.run(main())
    (stream,) = (span for span in spans() if span.name.startswith("stream"))
    inner, server, _ = (span for span in spans() if span.kind is SpanKind.SERVER)
    assert inner.name == "inner"
    assert stream.parent.span_id == server.context.span_id
