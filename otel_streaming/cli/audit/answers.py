"""What answers to a request for a stream: the stream that begins, or why there is none and what to do."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx

from otel_streaming._config import read_settings
from otel_streaming._shape import announced, kind_of, protocol_of, read_request, read_response, shape_of
from otel_streaming._stream import Stream
from otel_streaming.cli.options import UsageError
from otel_streaming.semconv import Protocol, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_streaming.cli.audit.curl import Asked


class NoStreamError(UsageError):
    """No stream came."""


class RedirectedError(Exception):
    """The answer is somewhere else at the same service."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self.asked = asked


_ASK_FOR_ONE = "ask for one: often by \"stream\": true in the body, or by -H 'Accept: text/event-stream'"
_STATUS = {
    401: "give the credentials as curl would: -H 'Authorization: ...' or -u",
    403: "give the credentials as curl would: -H 'Authorization: ...' or -u",
    404: "look at the path",
    405: "look at the method: curl's -X or -d",
    429: "wait until the service accepts more requests",
}
_CLIENT, _SERVER = "try the same request with curl until it streams", "look into the service's log"


def opened(asked: Asked, response: httpx.Response, started_at: float) -> Stream:
    """Return the stream that the response's headers begin.

    Args:
        asked: The request.
        response: Its response; the body has not been read.
        started_at: When it was asked for, s.

    Raises:
        RedirectedError: It is somewhere else, where it may be asked for.
        NoStreamError: It begins none, or is somewhere else where nobody said it should be asked for.
    """
    if response.next_request is not None:
        raise RedirectedError(_elsewhere(asked, response.next_request))
    status, path = response.status_code, asked.parts.path
    media_type, length, encoded = read_response(response.headers.raw)
    protocol = protocol_of(asked.method, path, status, media_type, length)
    if status >= 300:
        todo = _STATUS.get(status, _CLIENT if status < 500 else _SERVER)
        raise NoStreamError(f"answered {status} in place of a stream: {todo}")
    if protocol in {None, Protocol.FIXED}:
        raise NoStreamError(f"answered {status} with a body of a known length, which is no stream: {_ASK_FOR_ONE}")
    settings, _ = read_settings(os.environ)
    request = read_request(asked.method, path, [(name.encode(), b"") for name, _ in asked.headers])
    kind = kind_of(request, protocol, None, settings, media_type)
    return Stream(
        shape_of(Role.CLIENT, kind, protocol, None),
        asked.method,
        started_at,
        readable=not encoded,
        declared=settings.terminals.get(None, path),
        announced=announced(response.headers.raw),
    )


_DEFAULT_PORT = {"http": 80, "https": 443}


def _elsewhere(asked: Asked, request: httpx.Request) -> Asked:
    """Return what a redirect asks for; only at the same origin, or at the same host by https."""
    here, there = httpx.URL(asked.url), request.url
    origins = [(url.scheme, url.host, url.port or _DEFAULT_PORT.get(url.scheme)) for url in (here, there)]
    upgraded = origins == [("http", here.host, 80), ("https", here.host, 443)]
    if origins[0] != origins[1] and not upgraded:
        raise NoStreamError(
            f"redirects to {there.scheme}://{there.netloc.decode()}, which is another place, and is not followed: "
            "ask there if it is yours"
        )
    body = asked.body if request.method == asked.method else None  # RFC 9110, section 15.4.4
    return replace(asked, url=str(there), method=request.method, body=body)


def refusal(asked: Asked, error: Exception) -> NoStreamError:
    """Return what to say of an error that came in place of an answer; nothing of the request is in it."""
    chain = list(_chain(error))
    for kind, what in _ERRORS:
        found = next((link for link in chain if isinstance(link, kind)), None)
        if found is not None:
            detail = getattr(found, "verify_message", "") or getattr(found, "reason", "")
            return NoStreamError(what.format(host=asked.parts.hostname, origin=asked.origin, detail=detail))
    return NoStreamError(f"no answer from {asked.origin} ({type(error).__name__}): try the same request with curl")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_ERRORS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "the certificate of {origin} is not trusted ({detail}): give its authority by curl's --cacert, or -k",
    ),
    (ssl.SSLError, "no TLS with {origin} ({detail}): is it https at all there?"),
    (
        httpx.RemoteProtocolError,
        "{origin} closed the connection without an answer, or with one that is no HTTP: http or https?",
    ),
    ((socket.gaierror, UnicodeError, httpx.InvalidURL), "the name {host} is not known: is it spelt right?"),
    (httpx.ConnectTimeout, "no connection to {origin} in time: is it reachable from here, or behind a firewall?"),
    (httpx.ConnectError, "no connection to {origin}: is the service running, and on this port?"),
    (httpx.LocalProtocolError, "the request cannot be sent: look for characters in its headers that do not belong"),
    (httpx.ReadError, "{origin} closed the connection without an answer: http or https?"),
)
