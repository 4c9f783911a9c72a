"""Clients of every library beside contrib's instrumentation: which span the stream hangs on, what is left as it is."""

import asyncio
from typing import NamedTuple

import aiohttp
import httpx
import httpx2
import pytest
import urllib3
from exported import exported
from hooking import instrumented
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind
from readers import READERS, all_of
from test_clients import WHOLE

from otel_streaming.instrumentor import (
    AiohttpStreamingInstrumentor,
    HTTPXStreamingInstrumentor,
    URLLib3StreamingInstrumentor,
)
from otel_streaming.testing import capture


class Library(NamedTuple):
    """Who instruments it, and the classes that ours changes."""

    ours: type
    contrib: type
    classes: tuple[type, ...]


HTTPX = Library(HTTPXStreamingInstrumentor, HTTPXClientInstrumentor, (httpx.Client, httpx.AsyncClient))
HTTPX2 = Library(HTTPXStreamingInstrumentor, HTTPX2ClientInstrumentor, (httpx2.Client, httpx2.AsyncClient))
AIOHTTP_CLASSES = (aiohttp.ClientSession, aiohttp.ClientResponse)
URLLIB3_CLASSES = (urllib3.HTTPConnectionPool, urllib3.HTTPResponse)
URLLIB3 = Library(URLLib3StreamingInstrumentor, URLLib3Instrumentor, URLLIB3_CLASSES)
LIBRARIES = {
    "httpx": HTTPX,
    "httpx-async": HTTPX,
    "httpx2": HTTPX2,
    "httpx2-async": HTTPX2,
    "aiohttp-async": Library(AiohttpStreamingInstrumentor, AioHttpClientInstrumentor, AIOHTTP_CLASSES),
    "urllib3": URLLIB3,
    "requests": URLLIB3,
}
EACH = pytest.mark.parametrize("name", READERS)


@pytest.fixture
def library(name):
    return LIBRARIES[name]


def read(name, url):
    assert asyncio.run(all_of(READERS[name], url)) == b"".join(WHOLE)


@EACH
@pytest.mark.parametrize("order", ["ours first", "contrib first", "ours alone"])
def test_the_parent_is_the_span_that_went_with_the_request(name, library, order, upstream):
    """Under contrib's instrumentation, put in place before or after ours, that is its CLIENT span; else the current."""
    ours, contrib, _ = library
    hooks = {"ours first": [ours, contrib], "contrib first": [contrib, ours], "ours alone": [ours]}[order]
    with exported() as finished, instrumented(*hooks), trace.get_tracer("test").start_as_current_span("caller"):
        read(name, upstream.answer(*WHOLE))
    by_name = {span.name.split(" ")[0]: span for span in finished()}
    stream, caller = by_name["stream"], by_name["caller"]
    assert stream.name == "stream GET 127.0.0.1"
    parent = caller if order == "ours alone" else by_name["GET"]
    assert stream.parent.span_id == parent.context.span_id
    assert order == "ours alone" or parent.kind is SpanKind.CLIENT
    assert len(finished()) == len(by_name) == (2 if order == "ours alone" else 3)


@EACH
def test_a_stream_under_an_unsampled_trace_belongs_to_it(name, library, upstream):
    """Nothing of the caller's is sampled; the stream is, in the same trace."""
    current = trace.get_tracer("test").start_as_current_span
    with exported(sampler=ALWAYS_OFF) as finished, instrumented(*library[:2]), current("caller") as caller:
        read(name, upstream.answer(*WHOLE))
    [stream] = finished()
    assert stream.context.trace_id == caller.get_span_context().trace_id
    assert stream.parent.span_id != caller.get_span_context().span_id  # the CLIENT span's, which is not recorded


@EACH
def test_contribs_span_is_what_it_was(name, library, upstream):
    """Name, attributes and status of the CLIENT span are the same with the plugin and without."""
    url = upstream.answer(*WHOLE)
    seen = []
    for on in (False, True):
        with exported() as finished, instrumented(library.ours, on=on), instrumented(library.contrib):
            read(name, url)
        [span] = [span for span in finished() if span.kind is SpanKind.CLIENT]
        seen.append((span.name, dict(span.attributes), span.status.status_code, span.events))
    assert seen[0] == seen[1]


@EACH
def test_exporters_requests_are_left_alone(name, library, upstream):
    """Where instrumentation is suppressed nothing is watched; no further spans of one request is another matter."""
    url = upstream.answer(*WHOLE)
    with capture() as captured, instrumented(library.ours):
        with suppress_instrumentation():
            read(name, url)
        assert captured == []
        with suppress_http_instrumentation():
            read(name, url)
        assert len(captured) == 1


@EACH
def test_instrumenting_is_undone_without_a_trace(library):
    """After uninstrumenting, the library is as it was."""
    before = {cls: dict(vars(cls)) for cls in library.classes}
    with instrumented(library.ours):
        assert {cls: dict(vars(cls)) for cls in before} != before
    assert {cls: dict(vars(cls)) for cls in before} == before
