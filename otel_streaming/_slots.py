"""Slots: the crash recorder's file as bytes. A slot is 256 bytes under checksums; what does not hold is nothing.

The first 192 bytes belong to whoever begins and ends a stream, the last 64 to the watchdog, so that no two threads
write the same. Either part may be torn by a dying machine: its checksum tells, and a file of another version, whose
words may stand in another order, fails it as well. Times are wall-clock nanoseconds, since the monotonic clock of
another boot means nothing. No content, header value, query string or address is kept.

Every begin and every end has a number. A row says up to which number it includes them, so that nothing has to be
erased when ends are gathered into their row, and whatever is the last thing written, the sums are right.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_streaming._shape import METHODS, Ended, Shape
from otel_streaming.semconv import OTHER, Kind, Outcome, Protocol, Reason, Result, Retry, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE = 256
PROGRESS_AT = 192
"""Where the watchdog's part begins."""
VERSION = 1
ROUTE_MAX = 127
"""Bytes of a route; a longer one is cut between characters."""


class Header(NamedTuple):
    """The first slot: the last of the dead processes that were adopted, which thereby counts."""

    batch: int
    adopted: int


class End(NamedTuple):
    """A stream that ended, not yet gathered: the numbers of its begin (0: gathered already) and of its end."""

    series: Shape | Ended
    begun: int
    ended: int


class Row(NamedTuple):
    """What is counted of one series up to a number, and how much of it a collection has got."""

    series: Shape | Ended
    amount: int
    upto: int
    handed: int


class Legacy(NamedTuple):
    """What a dead process left of one series; nothing before the header names its batch."""

    series: Shape | Ended
    amount: int
    number: int
    batch: int


class Open(NamedTuple):
    """An open stream as it began."""

    shape: Shape
    method: str
    retry: Retry
    status: int
    number: int
    started_ns: int
    trace_id: int
    span_id: int
    stream_id: int
    sampled: bool


class Progress(NamedTuple):
    """How far an open stream had come when last looked at; durations in seconds."""

    started_ns: int  # whose progress it is
    progress_ns: int
    size: int
    chunks: int
    keepalives: int
    stall_count: int
    first_chunk: float  # from the start; negative before it
    gap_max: float
    stall_duration: float
    backpressure: float
    reason: Reason | None = None  # what it would have ended with, once that is known


_TALLIES: tuple[type[Header | End | Row | Legacy], ...] = (Header, End, Row, Legacy)
_OPENED = len(_TALLIES) + 1
_CHECK = struct.Struct("<I")
_NAME = struct.Struct("<8B")  # what, role, kind, protocol, result, outcome, flags, length of the route
_TALLY = struct.Struct("<3Q")
_OPEN = struct.Struct("<3BHQQ16s8sQ")
_PROGRESS = struct.Struct("<QQQIIIffffB")
_METHODS = (*sorted(METHODS), OTHER)
_REASONS = (None, *Reason)
_RETRIES = tuple(Retry)
_WORDS: Sequence[Sequence[Any]] = (tuple(Role), tuple(Kind), (*Protocol, OTHER), (None, *Result), (None, *Outcome))
_SEED = zlib.crc32(repr((VERSION, _METHODS, _REASONS, _RETRIES, _WORDS)).encode())
FORMAT = f"{_SEED:08x}"
"""Names the layout and its words: a file of another format is another's to read."""
_MAX_INT, _MAX_LONG = 2**32 - 1, 2**64 - 1


@lru_cache(maxsize=4096)
def _name(what: int, series: Shape | Ended) -> tuple[bytes, bytes]:
    """Return a series as its codes and its route."""
    shape, *more = (series, None, None, False) if isinstance(series, Shape) else series
    words = (shape.role, shape.kind, shape.protocol, more[0], more[1])
    route = b"" if shape.route is None else shape.route.encode("utf-8", "replace")[:ROUTE_MAX]
    flags = (shape.route is not None) | bool(more[2]) << 1
    return _NAME.pack(what, *(w.index(word) for w, word in zip(_WORDS, words, strict=True)), flags, len(route)), route


def _read_name(body: bytes, numbers: struct.Struct) -> Any:
    """Return the series that ``_name`` wrote."""
    _, *codes, flags, length = _NAME.unpack_from(body)
    role, kind, protocol, result, outcome = (words[code] for words, code in zip(_WORDS, codes, strict=True))
    text = body[_NAME.size + numbers.size :][:length].decode("utf-8", "ignore")
    shape = Shape(role, kind, protocol, text if flags & 1 else None)
    return shape if result is None else Ended(shape, result, outcome, bool(flags & 2))


_NOBODY = Shape(Role.SERVER, Kind.OTHER, OTHER, None)


def _seal(body: bytes, size: int) -> bytes:
    body = body.ljust(size - _CHECK.size, b"\0")
    return body + _CHECK.pack(zlib.crc32(body, _SEED))


def _sealed(data: bytes, size: int) -> bytes | None:
    body = data[: -_CHECK.size]
    holds = len(data) == size and zlib.crc32(body, _SEED) == _CHECK.unpack(data[-_CHECK.size :])[0]
    return body if holds else None


def encode(slot: Header | End | Row | Legacy | Open | Progress) -> bytes:
    """Return a part of a slot: the first one, or, of progress, the second."""
    if isinstance(slot, Open):
        return _encode_open(slot)
    if isinstance(slot, Progress):
        return _encode_progress(slot)
    series, numbers = (_NOBODY, (*slot, 0)) if isinstance(slot, Header) else (slot[0], slot[1:])
    codes, route = _name(_TALLIES.index(type(slot)) + 1, series)
    three = (*(min(n, _MAX_LONG) for n in numbers), 0)[:3]
    return _seal(codes + _TALLY.pack(*three) + route, PROGRESS_AT)


def _encode_open(slot: Open) -> bytes:
    codes, route = _name(_OPENED, slot.shape)
    method = _METHODS.index(slot.method if slot.method in METHODS else OTHER)
    numbers = _OPEN.pack(
        method,
        _RETRIES.index(slot.retry),
        slot.sampled,
        slot.status & 0xFFFF,
        slot.number,
        slot.started_ns,
        slot.trace_id.to_bytes(16, "big"),
        slot.span_id.to_bytes(8, "big"),
        slot.stream_id,
    )
    return _seal(codes + numbers + route, PROGRESS_AT)


def decode(data: bytes) -> Header | End | Row | Legacy | Open | None:
    """Return what the first part of a slot holds, None where that is nothing."""
    body = _sealed(data, PROGRESS_AT)
    if body is None or not 0 < body[0] <= _OPENED:
        return None
    try:
        if body[0] < _OPENED:
            kind = _TALLIES[body[0] - 1]
            numbers = _TALLY.unpack_from(body, _NAME.size)
            if kind is Header:
                return Header(*numbers[:2])
            return kind(_read_name(body, _TALLY), *numbers[: len(kind._fields) - 1])
        shape = _read_name(body, _OPEN)
        method, retry, sampled, status, number, started, trace, span, key = _OPEN.unpack_from(body, _NAME.size)
        codes = int.from_bytes(trace, "big"), int.from_bytes(span, "big"), key
        return Open(shape, _METHODS[method], _RETRIES[retry], status, number, started, *codes, bool(sampled))
    except IndexError:  # codes that stand for nothing
        return None


def _encode_progress(progress: Progress) -> bytes:
    started, at, size, chunks, keepalives, stalls, *seconds, reason = progress
    counts = min(size, _MAX_LONG), min(chunks, _MAX_INT), min(keepalives, _MAX_INT), min(stalls, _MAX_INT)
    return _seal(_PROGRESS.pack(started, at, *counts, *seconds, _REASONS.index(reason)), SIZE - PROGRESS_AT)


def decode_progress(data: bytes) -> Progress | None:
    """Return what the second part of a slot holds."""
    body = _sealed(data, SIZE - PROGRESS_AT)
    if body is None:
        return None
    *numbers, reason = _PROGRESS.unpack_from(body)
    return Progress._make((*numbers, _REASONS[reason])) if reason < len(_REASONS) else None
