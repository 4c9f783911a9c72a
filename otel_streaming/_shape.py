"""Shapes: which exchanges are streams, of what kind and protocol. Decided here and nowhere else."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from otel_streaming._dialects import STREAMING_TYPES
from otel_streaming.semconv import OTHER, AttemptBasis, Cache, Dialect, Kind, Protocol, Retry, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_streaming._config import Settings
    from otel_streaming.semconv import Outcome, Result

_MIXED_REPLACE = "multipart/x-mixed-replace"
PLAIN = {None, Protocol.FIXED, Protocol.CHUNKED}
"""Framings that make no stream of an error page."""
_MCP = {b"mcp-session-id", b"mcp-protocol-version"}
_FURTHER = {
    b"x-stainless-retry-count": (Retry.RETRIED, re.compile(rb"(?!0\Z).")),  # OpenAI's and Anthropic's SDKs, 0 at first
    b"amz-sdk-request": (Retry.RETRIED, re.compile(rb"attempt=(?!1\b)\d")),  # AWS' SDKs, "attempt=1; max=3" at first
    b"last-event-id": (Retry.RESUMED, re.compile(rb".")),  # WHATWG HTML 9.2.4
}
"""Request headers that tell of an earlier attempt, and how their values begin that do."""
_TYPES_IN_ACCEPT = tuple((name.encode(), protocol) for name, protocol in STREAMING_TYPES.items())
METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}


class Shape(NamedTuple):
    """What is frozen when an exchange qualifies as a stream; the same in ledger, gauges and span.

    ``protocol`` is a ``Protocol``, or ``_OTHER`` where nothing tells it.
    """

    role: Role
    kind: Kind
    protocol: str
    route: str | None


shape_of = lru_cache(maxsize=4096)(Shape)
"""Return the one such shape: thousands of open streams share a few."""


class Ended(NamedTuple):
    """Labels of one series of ended streams."""

    shape: Shape
    result: Result
    outcome: Outcome
    stalled: bool


class Request(NamedTuple):
    """What is read of a request; header values are looked at, never kept."""

    method: str
    path: str
    accepts: Protocol | None
    mcp: bool
    retry: Retry = Retry.NONE


def read_request(method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Request:
    """Read what a request asks for."""
    accepts, mcp, retry = None, False, Retry.NONE
    for name, value in headers:
        lower = name.lower()
        if lower == b"accept":
            accepts = next((p for media_type, p in _TYPES_IN_ACCEPT if media_type in value.lower()), accepts)
        elif lower in _MCP:
            mcp = True
        elif lower in _FURTHER and retry is not Retry.RESUMED:  # which tells more than a number does
            word, tells = _FURTHER[lower]
            retry = word if tells.match(value.strip()) else retry
    return Request(method if method in METHODS else OTHER, path, accepts, mcp, retry)


@lru_cache(maxsize=64)
def _media_type(value: bytes) -> str:
    return value.partition(b";")[0].strip().lower().decode("latin-1")


_ANNOUNCING = {b"x-vercel-ai-ui-message-stream": Dialect.VERCEL_AI}
_READ = {len(name) for name in (b"content-type", b"content-length", b"content-encoding")}
LENGTHS = {*_READ, *map(len, _ANNOUNCING)}
"""Lengths of the names of all response headers that are read: the cheapest question first."""


def read_response(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, int | None, bool]:
    """Return the media type, the content-length and whether the body is encoded, as response headers say."""
    media_type, length, encoded = "", None, False
    for name, value in headers:
        if len(name) not in _READ:
            continue
        lower = name.lower()
        if lower == b"content-type":
            media_type = _media_type(value)
        elif lower == b"content-length":
            length = int(value) if value.isdigit() else None
        elif lower == b"content-encoding":
            encoded = value.strip().lower() not in {b"", b"identity"}
    return media_type, length, encoded


def announced(headers: Iterable[tuple[bytes, bytes]]) -> Dialect | None:
    """Return the dialect that a streaming response's headers announce by their presence."""
    return next((_ANNOUNCING[name.lower()] for name, _ in headers if name.lower() in _ANNOUNCING), None)


def protocol_of(method: str, path: str, status: int, media_type: str, length: int | None) -> Protocol | None:
    """Return the framing of a response's body, None where there is none to watch (HEAD, 1xx, 204, 304, 3xx, 4xx)."""
    if method == "HEAD" or not (200 <= status < 300 or status >= 500) or status == 204:
        return None
    streaming = STREAMING_TYPES.get(media_type) if status != 206 else None  # a range of a file ends anywhere
    if streaming is not None:
        return streaming
    if length is not None:
        return Protocol.FIXED
    if media_type == "application/json" and "streamGenerateContent" in path:
        return Protocol.JSON_ARRAY
    return Protocol.CHUNKED


def kind_of(request: Request, protocol: str, route: str | None, settings: Settings, media_type: str = "") -> Kind:
    """Return whether the stream has a natural end. Never depends on the dialect, which is known too late."""
    if protocol == Protocol.FIXED:
        return Kind.OTHER
    # With the same headers MCP's clients ask for what tells how to authorise: JSON.
    listens = request.mcp and request.method == "GET" and protocol != Protocol.CHUNKED
    endless = listens or media_type == _MIXED_REPLACE
    if endless or protocol == Protocol.WEBSOCKET or settings.subscriptions.match(route, request.path):
        return Kind.SUBSCRIPTION
    if protocol == Protocol.CHUNKED and not settings.routes.match(route, request.path):
        return Kind.OTHER
    return Kind.BOUNDED


def would_have_streamed(
    request: Request, route: str | None, settings: Settings, learned: Mapping[str, str]
) -> tuple[AttemptBasis, str] | None:
    """Tell why a request that got no stream was an attempt at one, and the protocol it would have had."""
    protocol = request.accepts or learned.get(route or "", OTHER)
    if settings.routes.match(route, request.path):
        return AttemptBasis.CONFIGURED, protocol
    if request.accepts is not None:
        return AttemptBasis.ACCEPT, protocol
    return (AttemptBasis.LEARNED, protocol) if route is not None and route in learned else None


_CACHES = tuple(
    (name, re.compile(hit), re.compile(miss))
    for name, hit, miss in (
        (b"cache-status", rb";\s*hit\s*(?:[;,]|$)", rb";\s*fwd="),  # RFC 9211
        (b"cf-cache-status", rb"^(?:hit|stale|updating|revalidated)$", rb"^(?:miss|expired)$"),  # Cloudflare's
        (b"x-cache", rb"hit", rb"miss"),  # CloudFront, Fastly, Varnish: "Hit from cloudfront", "MISS, HIT"
        (b"age", rb"^0*[1-9]", rb"(?!)"),  # RFC 9111 section 5.1; a zero says nothing
    )
)


def cache_of(headers: Iterable[tuple[bytes, bytes]]) -> Cache:
    """Return what response headers say of a cache on the path; the header of the plainest words decides."""
    said = {name.lower(): value.strip().lower() for name, value in headers}
    for name, hit, miss in _CACHES:
        value = said.get(name, b"")
        if hit.search(value):
            return Cache.HIT
        if miss.search(value):
            return Cache.MISS
    return Cache.NONE
