"""One stream: a pure state machine. No I/O, no clock (time comes as an argument), no OpenTelemetry.

``TRANSITIONS`` governs its life; the path of a chunk is a method with a handful of assignments, since it runs
for every token. The verdict is formed from it elsewhere, when the application has returned.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from otel_streaming._dialects import (
    ANNOUNCED,
    FRAMING,
    KEEPALIVE_STARTS,
    Ending,
    Rule,
    ending,
    keepalive,
    nothing_but_errors,
    recognise,
)
from otel_streaming._frames import FRAMES, Framed
from otel_streaming._life import TRANSITIONS, Life, Signal
from otel_streaming._tail import HEAD, LF, Tail, clip
from otel_streaming.semconv import GAP_BOUNDS, Dialect, Kind, Protocol, Reason, Retry, State, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_streaming._causes import Cause
    from otel_streaming._dialects import Declared
    from otel_streaming._shape import Shape
    from otel_streaming.semconv import AttemptBasis

    AttributeValue = str | bool | int | float


_COMPLETE = {Life.FINISHED, Life.CLOSED}
"""Ends in their own framing: no gap stands before them."""
_OVER = {*_COMPLETE, Life.GONE, Life.BROKEN}

_SHORTEST = GAP_BOUNDS[0]
_CRLF_CRLF = b"\r\n\r\n"
_UNREAD = b"\0"
"""Stands for a message of which only the size is known."""
_KEPT_STALLS = 14
"""Stalls kept for span events (two events each): the first two and the last ones."""


class Notes:
    """What the application says of its own stream."""

    __slots__ = ("attributes", "error", "reason", "stream_id")

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.reason: Reason | None = None
        self.error: str | None = None
        self.attributes: dict[str, AttributeValue] = {}


class Stream:
    """The state of one exchange that streams, or would have."""

    # fmt: off
    __slots__ = (  # noqa: RUF023 - by meaning
        # what it is
        "shape", "method", "retry", "status", "basis", "threshold", "life",
        # when
        "started_at", "headers_at", "first_chunk_at", "progress_at", "idle_since", "gone_at", "ended_at",
        "lost_at", "warned_of",  # written by the watchdog
        # how much
        "keepalives", "size", "first_chunk_size", "gap_max", "gap_counts", "backpressure", "recent",
        "stalls", "stall_count", "stall_duration", "abandoned_chunks", "abandoned_size",
        # why
        "cause", "close_code", "notes", "marker", "endless", "_rule", "_tail", "_ending",
        # for the path of a chunk
        "_alive", "_odd", "_begun", "_notable", "_end_gap",
    )
    # fmt: on

    def __init__(
        self,
        shape: Shape,
        method: str,
        started_at: float,
        *,
        threshold: float = 10.0,
        readable: bool = True,
        declared: Declared | None = None,
        announced: Dialect | None = None,
        recent: int = 0,
    ) -> None:
        """Begin a stream.

        Args:
            shape: Role, kind, protocol and route.
            method: HTTP method, or empty.
            started_at: When the request began, s.
            threshold: Silence that is a stall, s; infinite for none.
            readable: False where the body's plain bytes are not seen (content-encoding).
            declared: The user's declaration of the terminal marker.
            announced: The dialect that the response's headers announce.
            recent: How many of the last chunks are kept one by one.
        """
        self.shape = shape
        self.method = method
        self.retry = Retry.NONE
        self.status: int | None = None
        self.basis: AttemptBasis | None = None
        self.threshold = threshold
        self.life = Life.ASKED
        self.started_at = self.progress_at = self.idle_since = started_at
        self.headers_at: float | None = None
        self.first_chunk_at: float | None = None
        self.gone_at: float | None = None
        self.ended_at: float | None = None
        self.lost_at: float | None = None
        self.warned_of: float | None = None  # since when the silence lasts that has been warned of
        self.keepalives = self.size = self.first_chunk_size = 0
        self.gap_max = self.backpressure = self.stall_duration = 0.0
        self.gap_counts = [0] * (len(GAP_BOUNDS) + 1)
        self.stalls: tuple[tuple[float, float, float], ...] = ()
        self.stall_count = self.abandoned_chunks = self.abandoned_size = 0
        self.recent: deque[tuple[float, int, float]] | None = deque(maxlen=recent) if recent else None
        self.endless = declared is not None and declared.how == "none"
        rule = ANNOUNCED.get(announced or Dialect.NONE) if declared is None else declared.rule()
        known = rule is not None or declared is not None
        self._rule = rule if known else FRAMING.get(shape.protocol)
        self._tail = _tail(shape, (lambda _: rule) if known else None) if readable else None
        self._alive = KEEPALIVE_STARTS.get(shape.protocol, b"") if readable else b""
        self._begun = b""  # a comment, or a ping, in the midst of which the body stands
        self._odd = bool(recent)  # the next chunk wants more than the short path
        self._notable = -1.0  # gaps above this want more than to be counted
        self._end_gap = 0  # 1 when the gap before the end, which no chunk closed, has been counted
        self.cause: Cause | None = None
        self.close_code: int | None = None
        self.notes: Notes | None = None
        self.marker: Terminal | None = None  # MISSING or SEEN, where whoever reads it looks for one
        self._ending: Ending | None = None

    @property
    def chunks(self) -> int:
        """Messages with progress: each has closed one gap."""
        return sum(self.gap_counts) - self._end_gap

    # -- what happens, in the order of a life ---------------------------------------------------------------

    def headers(self, now: float, status: int | None) -> None:
        """Record that the response headers have been sent, or whatever else begins it."""
        self._move(Signal.HEADERS)
        self.status = status
        if self.headers_at is None:
            self.headers_at = self.progress_at = self.idle_since = now

    def chunk(self, now: float, body: bytes | int) -> bool:
        """A message of the body is about to be sent; returns whether it is progress (else a keep-alive).

        When the send of progress has returned, ``idle_since`` is to be set to the time. ``body`` is not empty; it is
        the size alone where there is nothing to read in it.
        """
        if type(body) is bytes:
            size = len(body)
        elif isinstance(body, int):
            size, body = body, _UNREAD
        else:  # ASGI servers take whatever has a buffer, and it may change afterwards
            size = len(body)
            body = bytes(body) if isinstance(self._tail, Framed) else clip(body)
        if (self._odd or body[0] in self._alive) and self._set_aside(now, body, size):
            return False
        self.size += size
        idle_since = self.idle_since
        self.backpressure += idle_since - self.progress_at
        gap = now - idle_since
        # The search is half of the price of a gap, and fast streams pay most often.
        self.gap_counts[0 if gap <= _SHORTEST else bisect_left(GAP_BOUNDS, gap)] += 1
        if gap > self._notable:
            self._note_gap(now, gap, size)
        self.progress_at = now
        tail = self._tail
        if tail is not None:
            if (  # not whole events; by single bytes, since ``endswith`` takes as long as all the rest of this block
                tail.open
                or size > HEAD
                or body[-1] != tail.ends
                or (body[tail.before] != LF and body[-4:] != _CRLF_CRLF)
            ):
                tail.feed(body)
            elif tail.found is not None:
                tail.oldest = tail.middle
                tail.middle = tail.newest
                tail.newest = body
        return True

    def eof(self, now: float) -> None:
        """The final message is about to be sent."""
        self._end(Signal.EOF, now)

    def left(self, now: float) -> None:
        """The reader is known to have gone."""
        now = self._noticed(now)
        if self._end(Signal.LEFT, now) is Life.GONE and self.gone_at is None:
            self.gone_at = now

    def failed(self, now: float, cause: Cause) -> None:
        """A failure was seen on the producer's side."""
        if self._end(Signal.FAILED, now) is not Life.BROKEN:
            return
        if self.cause is None or self.cause.reason is Reason.SERVER_CANCELLED:  # cancelled because of what comes now
            self.cause = cause

    def closed(self, now: float, cause: Cause, code: int | None) -> None:
        """A close frame passed, of either side; the first one counts."""
        if self._end(Signal.CLOSED, self._noticed(now)) is Life.CLOSED and self.cause is None:
            self.cause = cause
        if self.close_code is None:
            self.close_code = code

    def live_state(self, now: float) -> State:
        """Return the state of the open stream at ``now``."""
        if self.life in _COMPLETE:
            return State.FLOWING
        if self.life is Life.GONE or self.lost_at is not None:
            return State.ABANDONED
        if self.progress_at > self.idle_since:
            return State.BACKPRESSURED
        if now - self.idle_since > self.threshold:
            return State.STALLED
        return State.FLOWING if self.chunks else State.WAITING

    def silence(self, now: float) -> float:
        """Return for how long the producer has been silent at ``now``, s; 0 while nothing is due from it."""
        waits = self.life in {Life.OPEN, Life.FLOWING} and self.progress_at <= self.idle_since and self.lost_at is None
        return max(0.0, now - self.idle_since) if waits and self.threshold != float("inf") else 0.0

    # -- what verdicts are formed from ------------------------------------------------------------------------

    def rule(self) -> Rule | None:
        """Return the rule the body is read by, None where there is none."""
        return None if self._tail is None else self._tail.found or self._rule

    def marker_due(self) -> bool:
        """Tell whether a terminal marker has to come."""
        if self.marker is Terminal.MISSING:
            return True
        rule = self.rule()
        if rule is None or rule.optional or (self._tail is not None and self._tail.lost):
            return False
        return self.shape.kind is not Kind.SUBSCRIPTION or rule.dialect is Dialect.DECLARED

    def said(self) -> Ending:
        """Return what the last events say; read once when nothing more can come."""
        said = self._read() if self._ending is None else self._ending
        if self.declared is not None:  # who makes the stream knows best
            said = said._replace(reason=self.declared)
        return said

    @property
    def declared(self) -> Reason | None:
        """Return what the application has said of its end."""
        if self.marker is Terminal.SEEN:
            return Reason.COMPLETED
        return None if self.notes is None else self.notes.reason

    def _read(self) -> Ending:
        tail = self._tail
        if tail is None:
            return Ending()
        events = tail.last()  # may recognise the dialect
        rule, reason = self.rule(), tail.fault
        if rule is None and not self.endless and tail.examined == sum(event.ended for event in events):
            reason = Reason.IN_BAND_ERROR if nothing_but_errors(events) else reason
        return ending(rule, events, reason)

    def end(self) -> None:
        """The application has returned: nothing more will happen."""
        self._move(Signal.RETURNED)

    # -- the rare paths -------------------------------------------------------------------------------------

    def _noticed(self, now: float) -> float:
        """Return when the reader, known to have gone by ``now``, was found to have: perhaps before, in a silence."""
        return now if self.lost_at is None else min(now, max(self.lost_at, self.idle_since, self.progress_at))

    def _move(self, signal: Signal) -> Life:
        self.life = TRANSITIONS[self.life, signal]
        return self.life

    def _end(self, signal: Signal, now: float) -> Life:
        """Take evidence of an end; the first one sets the time."""
        life = self._move(signal)
        if self.ended_at is None and life in _OVER:
            if life not in _COMPLETE and self.headers_at is not None and self.progress_at <= self.idle_since:
                gap = now - self.idle_since
                self.gap_counts[bisect_left(GAP_BOUNDS, gap)] += 1
                self._end_gap = 1
                self._note_gap(now, gap, None)
            self._ending = self._read()  # nothing that follows is read; the watchdog may ask from now on
            self.ended_at = now
            self._odd = True
        return life

    def _note_gap(self, now: float, gap: float, size: int | None) -> None:
        """Take a gap that is the first, the longest, or a stall; no size: it is the one before the end."""
        if self.first_chunk_at is None and size is not None:
            self._move(Signal.PROGRESS)
            self.first_chunk_at = now
            self.first_chunk_size = size
        self.gap_max = max(self.gap_max, gap)
        self._notable = min(self.gap_max, self.threshold)
        if gap > self.threshold:
            self.stall_count += 1
            self.stall_duration += gap
            kept = (*self.stalls, (self.idle_since + self.threshold, now, gap))
            self.stalls = kept if len(kept) <= _KEPT_STALLS else kept[:2] + kept[3:]

    def _set_aside(self, now: float, body: bytes, size: int) -> bool:
        """Take a message that is no progress: after the end, or keep-alives only. Returns whether it was one."""
        if self.ended_at is not None:
            if self.life is Life.GONE:
                self.abandoned_chunks += 1
                self.abandoned_size += size
            return True
        begun, tail = self._begun, self._tail
        rest = keepalive(self.shape.protocol, begun + body)
        # While an event is open, a comment or a blank line is a part of it.
        if rest is not None and (begun or tail is None or not tail.open):
            self.size += size
            self.keepalives += 1
            self._begun, self._odd = rest, bool(rest) or self.recent is not None
            return True
        if begun and tail is not None:
            tail.feed(begun)  # this message begins with what follows on it
            self._begun, self._odd = b"", self.recent is not None
        if self.recent is not None:
            self.recent.append((now, size, now - self.idle_since))
        return False


_RECOGNISE = {protocol: partial(recognise, protocol=protocol) for protocol in Protocol}


def _tail(shape: Shape, recognises: Callable[[bytes], Rule | None] | None) -> Tail[Rule] | Framed[Rule] | None:
    """Return the memory a body needs, None where its protocol has no events or no end."""
    protocol = Protocol(shape.protocol) if shape.protocol in _EVENTS else None
    if protocol is None or (protocol is Protocol.MULTIPART and shape.kind is Kind.SUBSCRIPTION):
        return None
    frames, lines = FRAMES.get(protocol, (None, protocol is Protocol.NDJSON))
    tail = Tail(recognises or _RECOGNISE[protocol], lines=lines)
    return tail if frames is None else Framed(frames(), tail)


_EVENTS = {Protocol.SSE, Protocol.NDJSON, *FRAMES}
