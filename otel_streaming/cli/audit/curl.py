"""What is to be asked for: a URL, or a curl command line as people have it at hand; and how it is shown."""

from __future__ import annotations

import argparse
import base64
import re
import shlex
from dataclasses import dataclass, replace
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

HIDDEN = "…"
"""Stands for what is not shown."""
_SECRET = re.compile(r"auth|cookie|credential|key|secret|session|token", re.IGNORECASE)
_ACCEPT = "text/event-stream, application/x-ndjson, */*;q=0.5"
_FORM = "application/x-www-form-urlencoded"


class UsageError(Exception):
    """What was asked for cannot be done; the message says why, and what to do. It holds no value of the user's."""


@dataclass(frozen=True)
class Asked:
    """One request, as it will be sent again and again.

    Attributes:
        method: HTTP method.
        url: The whole URL, its query too; who asks is in the headers.
        headers: Names and values, as given.
        body: The body, if there is one.
        verify: Whether the server's certificate is checked; the path of a file of authorities to check it by.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    verify: bool | str = True

    @property
    def parts(self) -> SplitResult:
        """The parts of the URL."""
        return urlsplit(self.url)

    @property
    def origin(self) -> str:
        """Scheme, host and port (RFC 6454)."""
        return f"{self.parts.scheme}://{self.parts.netloc.rpartition('@')[2]}"

    @property
    def shown(self) -> str:
        """Method and URL for a report, without any value of the query."""
        query = "&".join(_hide(field) for field in self.parts.query.split("&") if field)
        return f"{self.method} {self.origin}{self.parts.path}{'?' if query else ''}{query}"

    @property
    def costs(self) -> bool:
        """Whether a repeated call may cost money, or change something: anything but GET, or with credentials."""
        return self.method != "GET" or any(_SECRET.search(name) for name, _ in self.headers)


def _hide(field: str) -> str:
    name, equals, _ = field.partition("=")
    return f"{name}={HIDDEN}" if equals else HIDDEN


def from_url(url: str) -> Asked:
    """Return a GET of ``url`` that asks for a stream.

    Raises:
        UsageError: It is no URL of HTTP.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url:
        raise UsageError("this is no URL: write it with scheme and host, such as http://127.0.0.1:8000/chat")
    user, at, host = parts.netloc.rpartition("@")
    credentials = (("Authorization", _basic(unquote(user))),) if at else ()
    return Asked("GET", parts._replace(netloc=host).geturl(), (("Accept", _ACCEPT), *credentials))


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are ours; what it says may hold values, so none of it is passed on."""

    def error(self, message: str) -> NoReturn:  # noqa: ARG002
        raise UsageError("this curl command line cannot be read: an option lacks its value, or a quote its end")


def _parser() -> _Parser:
    """Return the parser of the options that matter here; a few that change nothing are read and ignored."""
    parser = _Parser(prog="curl", add_help=False, allow_abbrev=False)
    parser.add_argument("urls", nargs="*")
    parser.add_argument("--url", dest="more", action="append", default=[])
    parser.add_argument("-X", "--request")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data", "--data-ascii", "--data-binary", dest="data", action="append", default=[])
    parser.add_argument("--data-raw", action="append", default=[])
    parser.add_argument("--json", action="append", default=[])
    parser.add_argument("-u", "--user")
    parser.add_argument("-b", "--cookie", action="append", default=[])
    parser.add_argument("-A", "--user-agent")
    parser.add_argument("--compressed", action="store_true")
    parser.add_argument("-k", "--insecure", action="store_true")
    parser.add_argument("--cacert")
    for flags in _WITHOUT_EFFECT:
        parser.add_argument(*flags, action="store_true")
    parser.add_argument("-m", "--max-time", "--connect-timeout", "-o", "--output", dest="ignored")
    return parser


_WITHOUT_EFFECT = (
    ("-N", "--no-buffer"),
    ("-s", "--silent"),
    ("-S", "--show-error"),
    ("-i", "--include"),
    ("-v", "--verbose"),
    ("-f", "--fail"),
    ("-L", "--location"),
    ("--http1.1",),
)


def from_curl(line: str) -> Asked:
    """Read a command line as it is pasted.

    Raises:
        UsageError: It cannot be read, or asks for what is not done here.
    """
    if "$'" in line:
        raise UsageError("$'...' is a shell's to read: give the command without quotes around it, as audit curl ...")
    try:
        words = shlex.split(line.replace("\\\r\n", " ").replace("\\\n", " "))
    except ValueError:
        raise UsageError("this curl command line cannot be read: a quote has no end") from None
    return from_words(words)


def from_words(words: list[str]) -> Asked:
    """Read a command line's words, with or without ``curl`` as the first.

    Raises:
        UsageError: They cannot be read, or ask for what is not done here.
    """
    given, rest = _parser().parse_known_intermixed_args(words[1:] if words[:1] == ["curl"] else words)
    unknown = [word.partition("=")[0] for word in rest if word.startswith("-")]
    if unknown:
        what = unknown[0] if unknown[0].startswith("--") else unknown[0][:2]
        raise UsageError(f"curl's {what} is not known here: take it out if the request is the same without it")
    urls = [*given.urls, *given.more, *rest]
    if len(urls) != 1:
        raise UsageError(f"the curl command line has {len(urls)} URLs: give it one")
    asked = replace(from_url(urls[0]), verify=given.cacert or not given.insecure)
    _refuse_files(given)
    return _with_headers(_with_body(asked, given), given)


def _refuse_files(given: argparse.Namespace) -> None:
    """Refuse what curl would read from a file: an audit sends nothing that is not on its command line."""
    files = (
        ("-d", any(value.startswith("@") for value in [*given.data, *given.json])),
        ("-H", any(value.startswith("@") for value in given.header)),
        ("-b", any("=" not in value for value in given.cookie)),
    )
    for option, found in files:
        if found:
            raise UsageError(f"curl's {option} with a file is not read here: write what is in the file in its place")


def _with_body(asked: Asked, given: argparse.Namespace) -> Asked:
    data = "".join(given.json) or "&".join([*given.data, *given.data_raw])
    sent = bool(given.json or given.data or given.data_raw)
    method = given.request or ("POST" if sent else asked.method)
    if not method.isalpha():
        raise UsageError("curl's -X wants a method, such as POST")
    return replace(asked, method=method.upper(), body=data.encode() if sent else None)


def _with_headers(asked: Asked, given: argparse.Namespace) -> Asked:
    """Add the headers; a given one takes the place of a default, and an empty one (``-H 'Accept:'``) removes it."""
    media_type = "application/json" if given.json else _FORM
    of_url = dict(asked.headers).get("Authorization", "")
    fields = {
        "accept": ("Accept", "application/json" if given.json else "*/*"),
        "content-type": ("Content-Type", media_type if asked.body is not None else ""),
        "authorization": ("Authorization", _basic(given.user) if given.user is not None else of_url),
        "cookie": ("Cookie", "; ".join(given.cookie)),
        "user-agent": ("User-Agent", given.user_agent or ""),
        "accept-encoding": ("Accept-Encoding", "gzip, deflate" if given.compressed else ""),
    }
    for header in given.header:
        name, colon, value = header.partition(":")
        if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not value.strip().isprintable():
            raise UsageError("curl's -H wants 'Name: value'")
        fields[name.lower()] = (name, value.strip())
    return replace(asked, headers=tuple((name, value) for name, value in fields.values() if value))


def _basic(user: str) -> str:
    if ":" not in user:
        raise UsageError("a user needs a password here: write -u user:password, or user:password@ in the URL")
    return "Basic " + base64.b64encode(user.encode()).decode()
