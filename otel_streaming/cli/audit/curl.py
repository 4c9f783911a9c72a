"""What is to be asked for: a URL, or a curl command line as people have it at hand; and how it is shown.

No message holds a value of the user's.
"""

from __future__ import annotations

import base64
import getopt
import re
import shlex
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, unquote, urlsplit

from otel_streaming.cli.options import UsageError

HIDDEN = "…"
"""Stands for what is not shown."""
_SECRET = re.compile(r"auth|cookie|credential|key|secret|session|token", re.IGNORECASE)
_ACCEPT = "text/event-stream, application/x-ndjson, */*;q=0.5"
_FRAMING = {"content-length", "transfer-encoding"}
"""Headers that the body decides."""
_FORM = "application/x-www-form-urlencoded"


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
        fields = (field.partition("=")[0] for field in self.parts.query.split("&"))
        return self.method != "GET" or any(map(_SECRET.search, [*fields, *(name for name, _ in self.headers)]))


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


_VALUED = {
    "url": "--url",
    "request": "-X --request",
    "header": "-H --header",
    "data": "-d --data --data-ascii --data-binary --data-raw",
    "json": "--json",
    "user": "-u --user",
    "cookie": "-b --cookie",
    "agent": "-A --user-agent",
    "referer": "-e --referer",
    "cacert": "--cacert",
    "": "-m --max-time --connect-timeout -o --output -w --write-out",
}
"""Options that take a value, by what it is here; those under no name change nothing of the request."""
_FLAGS = {
    "compressed": "--compressed",
    "insecure": "-k --insecure",
    "": "-N --no-buffer -s --silent -S --show-error -i --include -v --verbose -f --fail --fail-with-body -L --location "
    "-g --globoff -# --progress-bar --no-progress-meter --http1.1",
}
OPTIONS = {name: what for table in (_VALUED, _FLAGS) for what, names in table.items() for name in names.split()}
_WITH_VALUE = {name for names in _VALUED.values() for name in names.split()}
_SHORT = "".join(name[1] + ":" * (name in _WITH_VALUE) for name in OPTIONS if not name.startswith("--"))
_LONG = [name[2:] + "=" * (name in _WITH_VALUE) for name in OPTIONS if name.startswith("--")]
_UNREADABLE = "this curl command line cannot be read: an option lacks its value, or a quote its end"


def _parsed(words: list[str]) -> dict[str, list[str]]:
    """Return the values of each option, in order, and the URLs; as curl does, a value may begin with a dash."""
    try:
        pairs, urls = getopt.gnu_getopt(words, _SHORT, _LONG)
    except getopt.GetoptError as error:  # its message may hold values
        name = f"{'-' if len(error.opt) == 1 else '--'}{error.opt}"
        if any(known.startswith(name) for known in OPTIONS):
            raise UsageError(_UNREADABLE) from None
        raise UsageError(
            f"curl's {name} is not known here: take it out if the request is the same without it"
        ) from None
    given: dict[str, list[str]] = {what: [] for what in (*_VALUED, *_FLAGS)}
    for name, value in pairs:
        if _of_a_file(name, value):  # an audit sends nothing that is not on its command line
            raise UsageError(f"curl's {name} with a file is not read here: write what is in the file in its place")
        given[OPTIONS[name]].append(value)
    given["url"] += urls
    return given


def _of_a_file(name: str, value: str) -> bool:
    """Tell whether curl would read an option's value from a file."""
    if OPTIONS[name] == "cookie":
        return "=" not in value
    return OPTIONS[name] in {"data", "json", "header"} and value.startswith("@") and name != "--data-raw"


def from_curl(line: str) -> Asked:
    """Read a command line as it is pasted.

    Raises:
        UsageError: It cannot be read, or asks for what is not done here.
    """
    if re.search(r"""\$'|\^"|\^\r?\n""", line):
        raise UsageError(
            "$'...' and ^ are a shell's to read: give the command to yours without quotes around it, as audit curl ..."
        )
    try:
        words = shlex.split(line.replace("\\\r\n", " ").replace("\\\n", " "))
    except ValueError:
        raise UsageError(_UNREADABLE) from None
    return from_words(words)


def from_words(words: list[str]) -> Asked:
    """Read a command line's words, with or without ``curl`` as the first.

    Raises:
        UsageError: They cannot be read, or ask for what is not done here.
    """
    given = _parsed(words[1:] if words[:1] == ["curl"] else words)
    if len(given["url"]) != 1:
        raise UsageError(f"the curl command line has {len(given['url'])} URLs: give it one")
    asked = replace(from_url(given["url"][0]), verify=_last(given["cacert"]) or not given["insecure"])
    return _with_headers(_with_body(asked, given), given)


def _last(values: list[str]) -> str:
    return values[-1] if values else ""


def _with_body(asked: Asked, given: dict[str, list[str]]) -> Asked:
    data = "".join(given["json"]) or "&".join(given["data"])
    sent = bool(given["json"] or given["data"])
    method = _last(given["request"]) or ("POST" if sent else asked.method)
    if not (method.isascii() and method.isalpha()):
        raise UsageError("curl's -X wants a method, such as POST")
    return replace(asked, method=method.upper(), body=_as_typed(data) if sent else None)


def _with_headers(asked: Asked, given: dict[str, list[str]]) -> Asked:
    """Add the headers: a given one takes the place of a default, and an empty one (``-H 'Accept:'``) removes it."""
    media_type = "application/json" if given["json"] else _FORM
    of_url = dict(asked.headers).get("Authorization", "")
    defaults = {
        "Accept": "application/json" if given["json"] else "*/*",
        "Content-Type": media_type if asked.body is not None else "",
        "Authorization": _basic(_last(given["user"])) if given["user"] else of_url,
        "Cookie": "; ".join(given["cookie"]),
        "User-Agent": _last(given["agent"]),
        "Referer": _last(given["referer"]),
        "Accept-Encoding": "gzip, deflate" if given["compressed"] else "",
    }
    for name, value in defaults.items():
        if not value.isprintable():
            raise UsageError(f"the curl command line gives no text for {name}")
    headers = [_header(text) for text in given["header"]]
    named = _FRAMING.union(name.lower() for name, _ in headers)
    fields = [(name, value) for name, value in defaults.items() if name.lower() not in named]
    fields += [(name, value) for name, value in headers if name.lower() not in _FRAMING]
    return replace(asked, headers=tuple((name, value) for name, value in fields if value))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not value.strip().isprintable():
        raise UsageError("curl's -H wants 'Name: value'")
    return name, value.strip()


def _basic(user: str) -> str:
    if ":" not in user:
        raise UsageError("a user needs a password here: write -u user:password, or user:password@ in the URL")
    return "Basic " + base64.b64encode(_as_typed(user)).decode()


def _as_typed(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # what is not UTF-8 came in as such (PEP 383)
