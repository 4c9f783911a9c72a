"""Framings that are no text events: their bodies are turned into SSE events or NDJSON lines for the tail.

One class a framing. ``plain`` takes the next bytes and returns what they say as such text; ``partial`` tells
that the body stands inside something that a reader cannot use yet; ``fault`` is what the framing itself
reports. Like the tail they keep bounded memory, and say the same however the bytes are cut.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from otel_streaming import semconv
from otel_streaming._tail import LIMIT, NEVER, RAW, WINDOW, Event, elide
from otel_streaming.semconv import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_streaming._tail import Tail

Found = TypeVar("Found")


class Frames(Protocol):
    """What a framing has to do."""

    @property
    def fault(self) -> Reason | None:
        """What the framing itself reports."""

    @property
    def lost(self) -> bool:
        """Whether a message was too dense to be followed: nothing is known of what came after, nor looked at."""

    @property
    def partial(self) -> bool:
        """Whether the body stands inside something that a reader cannot use yet."""

    def plain(self, chunk: bytes) -> bytes:
        """Take the next bytes of the body; return them as events or lines."""


class Framed(Generic[Found]):
    """A tail behind a framing; the same to its stream as a tail."""

    __slots__ = ("_frames", "_tail")
    ends = NEVER  # no chunk may pass the framing by
    before = -1
    open = b""
    oldest: bytes  # so these are not there
    middle: bytes
    newest: bytes

    def __init__(self, frames: Frames, tail: Tail[Found]) -> None:
        self._frames = frames
        self._tail = tail

    @property
    def found(self) -> Found | None:
        """The dialect, once recognised."""
        return self._tail.found

    @property
    def examined(self) -> int:
        """How many of the first events have been examined."""
        return self._tail.examined

    @property
    def fault(self) -> Reason | None:
        """What the framing itself reports."""
        return self._frames.fault

    @property
    def lost(self) -> bool:
        """Whether what came last is not known."""
        return self._frames.lost

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body, in slices that even doubled pass the tail uncut."""
        for at in range(0, len(chunk), WINDOW // 2):
            self._tail.feed(self._frames.plain(chunk[at : at + WINDOW // 2]))

    def last(self) -> list[Event]:
        """Return the last events; what is partial, as one that has not ended."""
        events = self._tail.last()
        if not (self._frames.partial or self.lost):
            return events
        ended = [event for event in events if event.ended]
        return ended if self.lost else [*ended, Event(b"", b"", ended=False)]


class JsonSeq:
    """JSON text sequences (RFC 7464): a record separator before each element, a line feed after it.

    A last element that is no valid JSON was truncated; so may have been a number or a literal that no white
    space follows (section 2.4), since a part of it is valid as well.
    """

    __slots__ = ("_first", "_spaced")
    fault = None
    lost = False

    def __init__(self) -> None:
        self._first = b""  # the first byte of the last element
        self._spaced = True

    @property
    def partial(self) -> bool:
        """Whether the last element is one that cannot be told from a part of it."""
        return self._first not in b'{["' and not self._spaced

    def plain(self, chunk: bytes) -> bytes:
        """Return a line an element."""
        _, separator, rest = chunk.rpartition(b"\x1e")
        self._first = (b"" if separator else self._first) or rest.lstrip()[:1]
        self._spaced = chunk[-1:].isspace()
        return chunk.translate(_AS_LINES)


_AS_LINES = bytes.maketrans(b"\x1e\n\r", b"\n  ")


class JsonArray:
    """One JSON value, an array as a rule: a line an element, and a line ``]`` when the value is over."""

    __slots__ = ("_depth", "_over", "_string", "lost")
    fault = None

    def __init__(self) -> None:
        self.lost = False
        self._depth = 0
        self._over: int | None = None  # the depth at which the value is over; unknown before its first byte
        self._string = b""  # how the string begins that the last bytes left open

    @property
    def partial(self) -> bool:
        """Whether brackets are open."""
        return self._over is not None and self._depth > self._over

    def plain(self, chunk: bytes) -> bytes:
        """Return the elements that the bytes hold, cut where the bytes are."""
        text = self._string + chunk
        since = len(self._string)  # of an open string the beginning has been returned before
        out, self._string = [], b""
        for count, found in enumerate(_TO_BRACKET.finditer(text)):
            self.lost = self.lost or count > BRACKETS
            if self.lost or self._depth == self._over:
                break
            if found[1] is not None:
                self._string = b'"' + found[1]
            before = self._depth
            self._count(found[2])
            if before < self._depth == 2:
                since = found.start(2)
            elif before > self._depth == 1:
                out.append(text[since : found.end()].translate(None, b"\r\n") + b"\n")
            if before > self._depth == self._over:
                out.append(b"]\n")
        if self.partial and self._depth > 1 and not self.lost:
            out.append(text[since:].translate(None, b"\r\n"))
        return b"".join(out)

    def _count(self, bracket: bytes) -> None:
        if bracket not in _OPENING:
            self._depth -= len(bracket)
            return
        if self._over is None:  # an object in place of the array is taken for the array's only element
            self._over = self._depth = 0 if bracket == b"[" else 1
        self._depth += 1


BRACKETS = WINDOW // 2 // 16
"""Brackets followed in one slice of a message, about 7 ms of work; Gemini writes one in 20 bytes.

They have to be counted one by one. Beyond this, not one more byte of the body is read.
"""
_OPENING = {b"[", b"{"}
_TO_BRACKET = re.compile(rb'[^"\[\]{}]*(?:"[^"\\]*(?:\\.[^"\\]*)*(?:"|(\\?)\Z)[^"\[\]{}]*)*([\[\]{}]|\Z)', re.DOTALL)
"""Up to the next bracket that stands in no string; captures how an open string ends: half an escape, or nothing."""


class Multipart:
    """Multipart bodies (RFC 2046 section 5.1): a line a part, and a line ``--`` for the close delimiter.

    The boundary is that of the first line which looks like one; so the header need not be read.
    """

    __slots__ = ("_closed", "_delimiter", "_open")
    fault = None
    lost = partial = False

    def __init__(self) -> None:
        self._open = b"\n"
        self._delimiter = b""
        self._closed = False

    def plain(self, chunk: bytes) -> bytes:
        """Return the parts that have been delimited."""
        text = self._open + chunk
        self._open = b""
        if self._closed:
            return b""
        if not self._delimiter:
            first = _FIRST_BOUNDARY.search(text)
            if first is None:
                self._open = text[-RAW:]
                return b""
            self._delimiter = b"\n" + first[1].rstrip()
            text = text[first.end(1) :]
        lines: list[bytes] = []
        *parts, self._open = text.split(self._delimiter)
        for part in (*parts, self._open):
            self._closed = part.startswith(b"--")
            if self._closed:
                return b"".join([*lines, b"--\n"])
            lines.append(elide(part).translate(None, b"\r\n") + b"\n")
        self._open = elide(self._open)
        return b"".join(lines[:-1])


_FIRST_BOUNDARY = re.compile(rb"\n(--[^\r\n]{1,80})\r?\n")


class EventStream:
    """AWS event stream: big-endian prelude (total length, headers' length, CRC), headers, payload, CRC.

    From https://smithy.io/2.0/aws/amazon-eventstream.html. An event is named by its ``:event-type``, an
    exception (``:message-type``) ends the stream with an error, whosever events they are.
    """

    __slots__ = ("_crc", "_event", "_fails", "_headers", "_left", "_open", "_part", "fault", "lost")

    def __init__(self) -> None:
        self.fault: Reason | None = None
        self.lost = False
        self._open = bytearray()  # of the part that is being read
        self._part: Callable[[EventStream, bytes], bytes] = EventStream._prelude
        self._left = 12  # bytes of it still to come
        self._headers = self._crc = 0
        self._event = b""
        self._fails = False

    @property
    def partial(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._open) or self._part is not EventStream._prelude

    def plain(self, chunk: bytes) -> bytes:
        """Return an SSE event a frame."""
        at, out = 0, []
        while self.fault is None and not self.lost:
            piece = chunk[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            self._open += piece
            if self._part is not EventStream._checksum:
                self._crc = zlib.crc32(piece, self._crc)
            if self._left:
                break
            part = elide(bytes(self._open))
            self._open.clear()
            out.append(self._part(self, part))
            self.lost = len(out) > 3 * FRAMES_FOLLOWED
        if len(self._open) > LIMIT:
            self._open = bytearray(elide(bytes(self._open)))
        return b"".join(out)

    def _prelude(self, part: bytes) -> bytes:
        total, self._headers, crc = struct.unpack(">III", part)
        self._part, self._left = EventStream._body, total - 16
        if zlib.crc32(part[:8]) != crc or self._left < self._headers:
            self.fault = Reason.PROTOCOL_ERROR
        return b""

    def _body(self, part: bytes) -> bytes:
        headers, payload = part[: self._headers], part[self._headers :]
        name = _FRAME_NAME.search(headers)
        value = headers[name.end() :][: name[1][0]] if name else b""
        self._event = b"event: %s\ndata: %s\n\n" % (value.translate(_ONE_LINE), payload.translate(_ONE_LINE))
        self._fails = _FRAME_FAILS.search(headers) is not None
        self._part, self._left = EventStream._checksum, 4
        return b""

    def _checksum(self, part: bytes) -> bytes:
        if part != self._crc.to_bytes(4, "big"):
            self.fault = Reason.PROTOCOL_ERROR
            return b""
        if self._fails:
            self.fault = Reason.IN_BAND_ERROR
        self._part, self._left, self._crc = EventStream._prelude, 12, 0
        return self._event


FRAMES_FOLLOWED = WINDOW // 2 // 64
"""Frames read in one slice of a message, about 10 ms of work, as for brackets; Bedrock's are longer than 100 bytes."""
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_FRAME_NAME = re.compile(rb":event-type\x07\x00(.)", re.DOTALL)  # 7: a string, its length in two bytes
_FRAME_FAILS = re.compile(rb":message-type\x07\x00(?:\x09exception|\x05error)")

FRAMES: Mapping[str, tuple[Callable[[], Frames], bool]] = {
    semconv.Protocol.JSON_SEQ: (JsonSeq, True),
    semconv.Protocol.JSON_ARRAY: (JsonArray, True),
    semconv.Protocol.MULTIPART: (Multipart, True),
    semconv.Protocol.EVENTSTREAM: (EventStream, False),
}
"""Protocols that need a framing before the tail, and whether it yields lines (else SSE events)."""
