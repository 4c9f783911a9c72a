"""The tail: what is needed of a body to know how it ended, in bounded memory.

Events are not bounded (``response.completed`` repeats the whole answer) and chunks cut them anywhere, so
the tail keeps the *heads* of the last few events and the last raw bytes. The first four events are shown to
a function that recognises the dialect, and forgotten.

What is kept is a function of the bytes alone, never of how they were cut into chunks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = 512
"""Bytes kept of an event's beginning: every dialect tells what an event is within them."""
RAW = 128
"""Bytes kept of a long event's end."""
SHORT = 64
"""An event up to this long (``data: [DONE]``) does not use up one of the two places for last events."""
FIRST = 4
"""Events looked at to recognise the dialect: Azure's first chunk names nothing."""
LIMIT = 2048
"""An open event is shortened when it grows beyond this."""
WINDOW = 1 << 18
"""Of a single chunk larger than this only the beginning and the end are read."""
LF = ord("\n")
NEVER = -1
"""No byte."""
_MANY = 32
"""Delimiters looked at, from the end of a long chunk, for its last three events."""

_BOM = b"\xef\xbb\xbf"
_TELLING = (b'"finishReason"', b'"finish_reason"', b'"candidatesTokenCount"')
"""Keys that may stand in the middle of a long event: in Gemini's last one a signature of kilobytes comes before them,
and its sources and the usage after them."""
_TOLD = re.compile(rb'"\w+"[ \t]{0,8}:[ \t]{0,8}(?:"\w{1,64}"|\w{1,12})')  # shorter than RAW: no cut falls into it

_LEADING_COMMENTS = re.compile(rb"(?::[^\n]*\n)*")
_PING = re.compile(rb"^event: ?ping$", re.MULTILINE)
_ONLY_COMMENTS = re.compile(rb"(?:(?::[^\n]*)?\n)*(?::[^\n]*)?\Z")

Found = TypeVar("Found")


class Event(NamedTuple):
    """One event: its name (SSE ``event:``, else empty) and its data, without the middle if it is long.

    ``ended`` tells that its delimiter was seen.
    """

    name: bytes
    data: bytes
    ended: bool = True

    @property
    def text(self) -> bytes:
        """Name, line end, data: what the patterns of the dialects search."""
        return self.name + b"\n" + self.data

    @property
    def whole(self) -> bool:
        """Whether a reader got all of it: delimited, or at least valid JSON or a bare sentinel.

        Of long JSON only both ends are known: they have to match.
        """
        if self.ended or self.data == b"[DONE]":
            return True
        if b"\0" in self.data:
            return (self.data[:1], self.data[-1:]) in {(b"{", b"}"), (b"[", b"]"), (b'"', b'"')}
        return is_json(self.data)


def is_json(data: bytes) -> bool:
    """Tell whether ``data`` is one JSON value."""
    import json  # noqa: PLC0415 - asked of few streams, and only at their end

    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _sse_event(block: bytes, *, ended: bool = True) -> Event:
    """Parse one SSE block (WHATWG HTML 9.2.6: a field is a name, a colon, one optional space, a value)."""
    name, data = b"", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return Event(name, b"\n".join(data), ended)


def _line_event(block: bytes, *, ended: bool = True) -> Event:
    return Event(b"", block.strip(), ended)


def elide(block: bytes, raw: int = RAW) -> bytes:
    """Cut the middle out of a long block but for what it tells; a NUL stands for the rest, lest ends make a line end.

    Comments before the event's first line (padding for old browsers) do not use up its head.
    """
    if len(block) > HEAD + raw and (comments := _LEADING_COMMENTS.match(block)):
        block = block[comments.end() :]
    if len(block) <= HEAD + raw:
        return block
    places = sorted(block.rfind(key, HEAD - RAW, len(block) - raw + len(key)) for key in _TELLING)
    told = [found[0] for at in places if at > 0 and (found := _TOLD.match(block, at))]
    return b"\0".join([block[:HEAD], *told, block[-raw:]])


def clip(chunk: bytes) -> bytes:
    """Return a chunk, or any other buffer, as bytes that nobody will change; of a huge one both ends."""
    return bytes(chunk) if len(chunk) <= WINDOW else bytes(chunk[:LIMIT]) + bytes(chunk[-WINDOW:])


class Tail(Generic[Found]):
    """Bounded memory of one body, fed chunk by chunk.

    ``recognise`` is shown the first event, the first two, and so on to the first four, until it returns
    something, then found as ``found``.
    ``lines`` chooses NDJSON (a line is an event) instead of SSE (a blank line ends an event).

    Most chunks are whole events. Such a chunk needs no copy and no search: once the dialect is ``found`` it may be put
    into ``newest`` as it is, whose value goes into ``middle``, and that one's into ``oldest``. Everything else goes
    through ``feed``.
    """

    # fmt: off
    __slots__ = (
        "_before", "_delimiter", "_recognise",
        "before", "ends", "examined", "found", "middle", "newest", "oldest", "open",
    )
    # fmt: on
    fault = None  # of the framing: text has none
    lost = False

    def __init__(self, recognise: Callable[[bytes], Found | None], *, lines: bool = False) -> None:
        self._recognise = recognise
        self._delimiter = b"\n" if lines else b"\n\n"
        self.ends = NEVER  # the byte with which a chunk ends that is whole events; none does while events are examined
        self.before = -1 if lines else -2  # where that byte stands as well, or a CRLF does
        self.oldest = self.middle = self.newest = b""  # a deque of these would take twenty times as much memory
        self.open = b""
        self.examined = 0  # how many of the first events have been
        self._before = b""  # the text of those
        self.found: Found | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        self.open += clip(chunk)
        if len(self.open) > LIMIT or self.open.endswith(_ENDS[self._delimiter]):
            self._settle()

    @property
    def kept(self) -> bytes:
        """The last events that have ended."""
        return self.oldest + self.middle + self.newest

    def _keep(self, text: bytes) -> None:
        self.oldest, self.middle, self.newest = b"", b"", text

    def last(self) -> list[Event]:
        """Return the last two or three events, and after them the open one (``ended=False``) if there is one."""
        self._settle()
        parse = self._parse
        events = [parse(elide(block)) for block in _last(self._blocks(self.kept)[0])]
        rest = elide(self._blocks(self.open)[1])
        return [*events, parse(rest, ended=False)] if self._is_event(rest) else events

    @property
    def _parse(self) -> Callable[..., Event]:
        return _line_event if self._delimiter == b"\n" else _sse_event

    def _is_event(self, block: bytes) -> bool:
        if self._delimiter == b"\n":
            return bool(block.strip())
        return not (_ONLY_COMMENTS.match(block) or _PING.search(block))

    def _blocks(self, text: bytes) -> tuple[list[bytes], bytes]:
        """Split into events, and the rest that no delimiter ends; of a long text only the last events.

        Blank lines around an event are nobody's: where they end up depends on the side one splits from.
        """
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self.ends == LF and len(text) > LIMIT:  # of many events the last ones will do
            _, *blocks = text.rsplit(self._delimiter, _MANY)
            events = [block.strip(b"\n") for block in blocks[:-1] if block and self._is_event(block)]
            if len(events) >= 3:
                return events, blocks[-1].lstrip(b"\n")
        *blocks, rest = text.split(self._delimiter)
        return [block.strip(b"\n") for block in blocks if block and self._is_event(block)], rest.lstrip(b"\n")

    def _settle(self) -> None:
        """Take what has ended out of ``open``, examine it, and forget what no verdict can need."""
        text = self.open.removeprefix(_BOM) if self.ends == NEVER else self.open  # WHATWG HTML 9.2.5; .NET writes one
        half_crlf = text.endswith(b"\r") and not text.endswith(_ENDS[self._delimiter])
        blocks, rest = self._blocks(text)
        if blocks and self.ends == NEVER:
            self._examine(blocks)
        if blocks and (self.found is not None or self.ends == NEVER):
            known = self._blocks(self.kept)[0]
            kept = _last([elide(block) for block in [*known, *blocks][-3:]])  # without its comments one may be short
            self._keep(self._delimiter.join([*kept, b""]))
        self.open = elide(rest, RAW + 2)  # it may end in half a delimiter
        if half_crlf:
            self.open = self.open[:-1] + b"\r"  # else the "\n" to come would end a second line

    def _examine(self, blocks: list[bytes]) -> None:
        """Show the first events to ``recognise``; without a dialect only an open end will matter."""
        for block in blocks[: FIRST - self.examined]:
            self.examined += 1
            text = self._before + self._parse(elide(block)).text
            self.found = self._recognise(text)
            if self.found is not None:
                break
            self._before = text[:HEAD] + b"\n"
        if self.found is not None or self.examined == FIRST:
            self._before = b""
            self.ends = LF
            if self.found is None:
                self._keep(b"")


_ENDS = {b"\n": (b"\n",), b"\n\n": (b"\n\n", b"\r\n\r\n", b"\r\r")}


def _last(blocks: list[bytes]) -> list[bytes]:
    """Return the last two events, or three when one of them is short."""
    three = blocks[-3:]
    return three if any(len(block) <= SHORT for block in three) else three[-2:]
