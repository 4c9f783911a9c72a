"""Which exchanges are streams, of what kind and protocol."""

import pytest

from otel_streaming._config import PREFIX, Settings, read_settings
from otel_streaming._shape import (
    announced,
    cache_of,
    kind_of,
    protocol_of,
    read_request,
    read_response,
    would_have_streamed,
)
from otel_streaming.semconv import OTHER, AttemptBasis, Dialect, Kind, Protocol, Retry

SSE = [(b"content-type", b"text/event-stream")]


def settings(**values):
    return read_settings({PREFIX + name: value for name, value in values.items()})[0]


def protocol(headers, method="POST", path="/chat", status=200):
    media_type, length, _ = read_response(headers)
    return protocol_of(method, path, status, media_type, length)


def request(method="POST", path="/chat", *headers):
    return read_request(method, path, headers)


TYPES = [
    (b"text/event-stream", Protocol.SSE),
    (b"text/event-stream; charset=utf-8", Protocol.SSE),
    (b"Text/Event-Stream;charset=UTF-8", Protocol.SSE),
    (b"application/x-ndjson", Protocol.NDJSON),
    (b"application/ndjson", Protocol.NDJSON),
    (b"application/jsonl", Protocol.NDJSON),
    (b"application/x-jsonlines", Protocol.NDJSON),
    (b"application/stream+json", Protocol.NDJSON),
    (b"application/json-seq", Protocol.JSON_SEQ),
    (b"multipart/x-mixed-replace; boundary=frame", Protocol.MULTIPART),
    (b"multipart/mixed;boundary=x", Protocol.MULTIPART),
    (b"application/vnd.amazon.eventstream", Protocol.EVENTSTREAM),
    (b"application/json", Protocol.CHUNKED),
    (b"text/html", Protocol.CHUNKED),
    (b"\xff\xfe", Protocol.CHUNKED),
    (b"", Protocol.CHUNKED),
]


@pytest.mark.parametrize(("value", "expected"), TYPES)
def test_content_types(value, expected):
    """The media type decides the protocol, parameters and case aside; any other open body is chunked."""
    assert protocol([(b"Content-Type", value)]) is expected
    assert protocol([(b"x-content-typo", b"1"), (b"content-type", value), (b"x", b"y")]) is expected


def test_a_body_of_known_length_is_fixed():
    """A content-length makes a body fixed, unless its type streams."""
    length = (b"content-length", b"12")
    assert protocol([length]) is Protocol.FIXED
    assert protocol([length, (b"content-type", b"text/event-stream")]) is Protocol.SSE


@pytest.mark.parametrize("value", [b"", b"abc", b"-1", b"1.5", "²".encode("latin-1")])
def test_an_unreadable_length_is_none(value):
    """A content-length that is no number is as good as absent."""
    assert read_response([(b"content-length", value)])[1] is None


@pytest.mark.parametrize(
    ("value", "encoded"), [(b"gzip", True), (b"br", True), (b"identity", False), (b" Identity ", False), (b"", False)]
)
def test_content_encoding(value, encoded):
    """An encoded body's plain bytes are not seen."""
    assert read_response([(b"Content-Encoding", value)])[2] is encoded


def test_gemini_arrays():
    """Gemini's JSON array is known by the request's path, on an open body of JSON only."""
    path = "/v1beta/models/gemini-pro:streamGenerateContent"
    json, html = [(b"content-type", b"application/json; charset=UTF-8")], [(b"content-type", b"text/html")]
    assert protocol(json, path=path) is Protocol.JSON_ARRAY
    assert protocol(html, path=path) is Protocol.CHUNKED
    assert protocol(json, path="/v1beta/models/gemini-pro:generateContent") is Protocol.CHUNKED
    assert protocol([*json, (b"content-length", b"9")], path=path) is Protocol.FIXED


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", 200), *(("GET", status) for status in (100, 101, 103, 204, 301, 304, 307, 400, 404, 429, 499))],
)
def test_nothing_to_watch(method, status):
    """HEAD, 1xx, 204, redirects, 304 and 4xx are no streams, whatever their content type."""
    assert protocol(SSE, method, status=status) is None


@pytest.mark.parametrize("status", [200, 201, 299, 500, 502, 599])
def test_bodies_to_watch(status):
    """Answers of 2xx and 5xx are watched: an error may be streamed too."""
    assert protocol(SSE, status=status) is Protocol.SSE


def test_a_range_of_a_file_has_no_terminal():
    """206 answers a range: wherever it ends, that is no truncation of a dialect."""
    assert protocol(SSE, status=206) is Protocol.CHUNKED


KINDS = [
    ("POST", [], Protocol.SSE, {}, Kind.BOUNDED),
    ("POST", [], Protocol.JSON_ARRAY, {}, Kind.BOUNDED),
    ("POST", [], OTHER, {}, Kind.BOUNDED),
    ("GET", [], Protocol.WEBSOCKET, {}, Kind.SUBSCRIPTION),
    ("GET", [(b"Mcp-Session-Id", b"1")], Protocol.SSE, {}, Kind.SUBSCRIPTION),
    ("GET", [(b"mcp-protocol-version", b"")], Protocol.SSE, {}, Kind.SUBSCRIPTION),
    ("POST", [(b"mcp-session-id", b"1")], Protocol.SSE, {}, Kind.BOUNDED),
    ("POST", [], Protocol.SSE, {"SUBSCRIPTIONS": "/chat"}, Kind.SUBSCRIPTION),
    ("POST", [], Protocol.FIXED, {}, Kind.OTHER),
    ("POST", [], Protocol.FIXED, {"ROUTES": "/chat"}, Kind.OTHER),
    ("GET", [(b"mcp-protocol-version", b"")], Protocol.FIXED, {"SUBSCRIPTIONS": "/chat"}, Kind.OTHER),
    ("GET", [(b"mcp-protocol-version", b"")], Protocol.CHUNKED, {}, Kind.OTHER),
    ("POST", [], Protocol.CHUNKED, {}, Kind.OTHER),
    ("POST", [], Protocol.CHUNKED, {"ROUTES": "/chat"}, Kind.BOUNDED),
    ("POST", [], Protocol.CHUNKED, {"SUBSCRIPTIONS": "/chat"}, Kind.SUBSCRIPTION),
]


@pytest.mark.parametrize(("method", "headers", "framing", "values", "kind"), KINDS)
def test_kinds(method, headers, framing, values, kind):
    """The kind follows from request, protocol and settings, never from the dialect."""
    assert kind_of(request(method, "/chat", *headers), framing, None, settings(**values)) is kind


def test_mixed_replace_is_a_subscription():
    """A camera's stream has no end."""
    assert kind_of(request("GET"), Protocol.MULTIPART, None, Settings(), "multipart/x-mixed-replace") is (
        Kind.SUBSCRIPTION
    )
    assert kind_of(request("GET"), Protocol.MULTIPART, None, Settings(), "multipart/mixed") is Kind.BOUNDED


def test_globs_match_route_or_path():
    """A setting may name the route's template or the path."""
    for glob in ("/r/{id}", "/r/7"):
        kind = kind_of(request("GET", "/r/7"), Protocol.SSE, "/r/{id}", settings(SUBSCRIPTIONS=glob))
        assert kind is Kind.SUBSCRIPTION


ACCEPTS = [
    (b"text/event-stream", Protocol.SSE),
    (b"application/json, text/event-stream", Protocol.SSE),
    (b"Application/X-NDJSON;q=0.9", Protocol.NDJSON),
    (b"application/json-seq", Protocol.JSON_SEQ),
    (b"application/json", None),
    (b"*/*", None),
    (b"", None),
]


@pytest.mark.parametrize(("value", "expected"), ACCEPTS)
def test_accept(value, expected):
    """A request asks for a stream when its Accept names a type that streams."""
    assert request("POST", "/", (b"Accept", value)).accepts is expected


def test_other_request_headers_tell_nothing():
    """Headers that say nothing of streams leave a request as it is, before and after those that do."""
    headers = [(b"host", b"x"), (b"ACCEPT", b"text/event-stream"), (b"user-agent", b"x")]
    assert read_request("POST", "/", headers) == ("POST", "/", Protocol.SSE, False, Retry.NONE)
    assert read_request("POST", "/", headers[::2]) == ("POST", "/", None, False, Retry.NONE)


FIRST, AGAIN = (b"X-Stainless-Retry-Count", b"0"), (b"x-stainless-retry-count", b" 2 ")
RESUMES, STARTS = (b"Last-Event-ID", b"0"), (b"last-event-id", b"")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Retry.NONE),
        ([FIRST], Retry.NONE),
        ([AGAIN], Retry.RETRIED),
        ([(b"amz-sdk-request", b"attempt=1; max=3")], Retry.NONE),
        ([(b"amz-sdk-request", b"attempt=2; max=3")], Retry.RETRIED),
        ([(b"Amz-Sdk-Request", b"attempt=10; max=20")], Retry.RETRIED),
        ([RESUMES], Retry.RESUMED),
        ([STARTS], Retry.NONE),
        ([AGAIN, RESUMES], Retry.RESUMED),
        ([RESUMES, AGAIN], Retry.RESUMED),
        ([AGAIN, STARTS], Retry.RETRIED),
    ],
)
def test_further_attempts(headers, expected):
    """A count above 0 tells of a retry, an event's id (0 is one) of a resumption, which tells more."""
    assert request("POST", "/", *headers).retry is expected


def test_an_attempt_by_configuration():
    """A configured route was an attempt, of the protocol asked for or learned."""
    configured = settings(ROUTES="/chat")
    assert would_have_streamed(request(), None, configured, {}) == (AttemptBasis.CONFIGURED, OTHER)
    asks = request("POST", "/chat", (b"accept", b"text/event-stream"))
    assert would_have_streamed(asks, None, configured, {}) == (AttemptBasis.CONFIGURED, Protocol.SSE)


def test_an_attempt_by_accept():
    """A request that asks for a stream was an attempt on any route."""
    asks = request("POST", "/x", (b"accept", b"application/x-ndjson"))
    assert would_have_streamed(asks, "/x", Settings(), {"/x": "sse"}) == (AttemptBasis.ACCEPT, Protocol.NDJSON)


def test_an_attempt_by_learning():
    """A route that has streamed before was an attempt, of the protocol it had then."""
    assert would_have_streamed(request(), "/chat", Settings(), {"/chat": "sse"}) == (AttemptBasis.LEARNED, "sse")


def test_no_attempt():
    """Any other request was none; without a route nothing can have been learned."""
    assert would_have_streamed(request(), "/chat", Settings(), {"/other": "sse"}) is None
    assert would_have_streamed(request(), None, Settings(), {"": "sse"}) is None


def test_announced_dialects():
    """A header announces its dialect by its presence, whatever its case and value; other headers announce none."""
    name = b"X-Vercel-AI-UI-Message-Stream"
    assert announced([(b"content-type", b"text/event-stream"), (name, b"v1")]) is Dialect.VERCEL_AI
    assert announced([(name.lower(), b"")]) is Dialect.VERCEL_AI
    assert announced([(b"content-type", b"text/event-stream"), (b"x-vercel-id", b"v1")]) is None


@pytest.mark.parametrize(
    ("headers", "cache"),
    [
        ({}, "none"),
        ({"Cache-Status": "origin; fwd=miss, edge; hit; ttl=30"}, "hit"),
        ({"cache-status": "edge; fwd=uri-miss; stored"}, "miss"),
        ({"cache-status": "edge; detail=hitlist"}, "none"),
        ({"cf-cache-status": "HIT", "age": "0"}, "hit"),
        ({"cf-cache-status": "DYNAMIC"}, "none"),
        ({"cf-cache-status": "EXPIRED"}, "miss"),
        ({"x-cache": "Miss from cloudfront"}, "miss"),
        ({"x-cache": "MISS, HIT"}, "hit"),
        ({"age": "12"}, "hit"),
        ({"age": "0"}, "none"),
        ({"cache-status": "edge; fwd=miss", "age": "12"}, "miss"),
    ],
)
def test_what_headers_say_of_caches(headers, cache):
    """The header that says it most plainly decides (RFC 9211 before vendors' own, RFC 9111 last)."""
    assert cache_of([(name.encode(), value.encode()) for name, value in headers.items()]) == cache
