"""Whether a collector can be reached: one empty request to where the SDK's exporters send theirs."""

from __future__ import annotations

import contextlib
import functools
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
from opentelemetry.util.re import parse_env_headers

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_TIMEOUT = 5.0
_OTLP = "OTEL_EXPORTER_OTLP_"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # RFC 9113 section 3.4: SETTINGS
_SETTINGS = 4
_ALERT = b"\x15"  # RFC 8446 section 5.1: what a server of TLS answers to what is none

Trouble = tuple[str, str]
"""What was seen, and what to do about it."""


def setting(environ: Mapping[str, str], signal: str, name: str) -> str:
    """Return an exporter's setting: the signal's own, else that of all signals."""
    own = environ.get(f"{_OTLP}{signal.upper()}_{name}", "").strip()
    return own or environ.get(f"{_OTLP}{name}", "").strip()


def _over_grpc(environ: Mapping[str, str], signal: str) -> bool:
    """Tell whether a signal goes over gRPC: by the exporter's whole name, else by the protocol."""
    chosen = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    return "_grpc" in chosen if "otlp_" in chosen else setting(environ, signal, "PROTOCOL") == "grpc"


def endpoint(environ: Mapping[str, str], signal: str) -> str:
    """Return where a signal is sent to, by the OTLP exporter specification: a base URL gets the signal's path."""
    own = environ.get(f"{_OTLP}{signal.upper()}_ENDPOINT", "").strip()
    base = environ.get(f"{_OTLP}ENDPOINT", "").strip()
    if _over_grpc(environ, signal):
        return own or base or "http://localhost:4317"
    return own or f"{(base or 'http://localhost:4318').rstrip('/')}/v1/{signal}"


def shown(url: str) -> str:
    """Return a URL, or what was meant as one, as it may be shown: nobody's password, no query."""
    return re.split("[?#]", re.sub(r"(?s)^(\w+://)?.*@", r"\1", url))[0]


def reach(environ: Mapping[str, str], signal: str) -> Trouble | None:
    """Ask the collector that ``signal`` goes to; returns what is wrong, None if it answers as it should."""
    url, get = endpoint(environ, signal), functools.partial(setting, environ, signal)
    try:
        trusted = httpx.create_ssl_context()
        if get("CERTIFICATE"):
            trusted.load_verify_locations(get("CERTIFICATE"))
        if get("CLIENT_CERTIFICATE"):
            trusted.load_cert_chain(get("CLIENT_CERTIFICATE"), get("CLIENT_KEY") or None)
    except OSError as error:
        return f"a certificate or key that is set cannot be used: {error}", _CERTIFICATES
    try:
        if _over_grpc(environ, signal):
            return _reach_grpc(url, trusted)
        return _reach_http(url, parse_env_headers(get("HEADERS"), liberal=True), trusted)
    except (httpx.HTTPError, OSError, ValueError, ImportError) as error:  # a proxy's protocol may want a package
        return _unreachable(error)


_SPEAKS_GRPC = (
    "what listens there does not speak HTTP/1.1: by custom OTLP comes over gRPC at 4317, over HTTP at 4318",
    "set OTEL_EXPORTER_OTLP_ENDPOINT to the port for HTTP, or install the exporter for gRPC and choose it",
)
_SPEAKS_HTTP = (
    "what listens there does not speak HTTP/2: by custom OTLP comes over gRPC at 4317, over HTTP at 4318",
    "set OTEL_EXPORTER_OTLP_ENDPOINT to the port for gRPC, or OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
)
_NO_URL = (
    "it is no URL",
    "begin OTEL_EXPORTER_OTLP_ENDPOINT with http:// or https://; a / or # of a password is written %2F or %23",
)
_WANTS_TLS = ("it does not take what is not encrypted", "try https:// in OTEL_EXPORTER_OTLP_ENDPOINT")
_STATUSES = {
    400: _WANTS_TLS,  # an empty request has nothing else to be wrong
    401: ("it refuses who asks (401)", "set OTEL_EXPORTER_OTLP_HEADERS to what it asks for"),
    403: ("it refuses who asks (403)", "set OTEL_EXPORTER_OTLP_HEADERS to what it asks for"),
    404: (
        "it knows no such path (404): no receiver of OTLP listens there, or the path is wrong",
        "OTEL_EXPORTER_OTLP_ENDPOINT has no path, since /v1/traces is put behind it; ..._TRACES_ENDPOINT is whole",
    ),
}


def _reach_http(url: str, headers: Mapping[str, str], trusted: ssl.SSLContext) -> Trouble | None:
    headers = {**headers, "Content-Type": "application/x-protobuf"}
    try:  # a request of no spans, as protobuf writes it
        answer = httpx.post(url, content=b"", headers=headers, timeout=_TIMEOUT, verify=trusted)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        return _NO_URL
    except (httpx.RemoteProtocolError, httpx.ReadError) as error:
        return _unreachable(error) if "SSL" in str(error) else _SPEAKS_GRPC
    if answer.is_success:
        return None
    return _STATUSES.get(answer.status_code, (f"it answers {answer.status_code}", "look into the collector's log"))


def _reach_grpc(url: str, trusted: ssl.SSLContext) -> Trouble | None:
    try:
        split = urlsplit(url if "//" in url else f"http://{url}")
        place = split.hostname or "localhost", split.port or 4317
    except ValueError:  # whose text may be half a password
        return _NO_URL
    trusted.set_alpn_protocols(["h2"])
    with contextlib.ExitStack() as opened:
        connection = opened.enter_context(socket.create_connection(place, _TIMEOUT))
        if split.scheme == "https":
            connection = opened.enter_context(trusted.wrap_socket(connection, server_hostname=place[0]))
        connection.sendall(_PREFACE)
        head = connection.recv(9)
    if head[:1] in {b"", _ALERT}:
        return _WANTS_TLS
    return None if len(head) > 3 and head[3] == _SETTINGS else _SPEAKS_HTTP


_CERTIFICATES = (
    "set OTEL_EXPORTER_OTLP_CERTIFICATE, ..._CLIENT_CERTIFICATE and ..._CLIENT_KEY, and SSL_CERT_FILE, to files of PEM"
)
_FIXES = {
    "CERTIFICATE_VERIFY": "set OTEL_EXPORTER_OTLP_CERTIFICATE to the file of the authority that signed its certificate",
    "CERTIFICATE_REQUIRED": "set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "SSL": "what listens there speaks no TLS, or another: begin OTEL_EXPORTER_OTLP_ENDPOINT with http://",
    "SOCKS": "install it, or set NO_PROXY to the collector's host",
    "": "start the collector, or set OTEL_EXPORTER_OTLP_ENDPOINT to where it listens",
}
"""By what the complaint contains; the first that fits."""


def _unreachable(error: Exception) -> Trouble:
    why = str(error) or type(error).__name__
    return f"it cannot be reached: {why}", next(fix for word, fix in _FIXES.items() if word in why)
