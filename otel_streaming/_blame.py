"""Blame: what a stream's own verdict becomes in the light of the streams that fed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_streaming.semconv import Dialect, Kind, Origin, Outcome, Reason, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_streaming._verdict import StreamSummary

_OWN = {Reason.CLIENT_TIMEOUT, Reason.SERVER_SHUTDOWN, Reason.SERVER_CANCELLED, Reason.PROCESS_DEATH}
"""Failures that no upstream causes."""
MAX_FEEDS = 32
"""Client streams of one exchange that are kept in mind: the last ones."""


class Feed:
    """A client stream within a served exchange: whom it asked (host and path, never told), how it ended."""

    __slots__ = ("summary", "target")

    def __init__(self, target: str) -> None:
        self.target = target
        self.summary: StreamSummary | None = None  # None while it is open


def blamed(own: StreamSummary, feeds: Sequence[Feed], *, declared: bool = False) -> StreamSummary:
    """Return the verdict with what is known of the upstream that ended badly, if one did and none made up for it.

    Args:
        own: The verdict over the served stream.
        feeds: The client streams of its exchange, in the order they began.
        declared: Whether the application itself said how its stream ended: it knows of its upstream.
    """
    feeds = [
        feed for feed in feeds if feed.summary is None or feed.summary.started_at <= own.ended_at
    ]  # others fed none
    bad = _unanswered(feeds)
    if bad is None or own.outcome in {Outcome.CANCELLED, Outcome.UNKNOWN}:
        return own
    told = own._replace(upstream_outcome=bad.outcome, upstream_reason=bad.reason)
    if own.bad:
        return told if own.reason in _OWN else told._replace(origin=Origin.UPSTREAM)
    if declared or len(feeds) > 1 or not _passed_through(own, bad):
        return told._replace(masked=True)
    return told._replace(
        masked=True,
        result=Result.SILENT,
        outcome=Outcome.TRUNCATED,
        reason=Reason.UPSTREAM_MASKED,
        origin=Origin.UPSTREAM,
    )


def _unanswered(feeds: Sequence[Feed]) -> StreamSummary | None:
    """Return the last one that ended badly and that none made up for."""
    ended = [(feed.target, feed.summary) for feed in feeds if feed.summary is not None]
    good = [(target, summary) for target, summary in ended if summary.outcome is Outcome.COMPLETED]
    for target, bad in reversed(ended):
        if bad.bad and not any(_makes_up(s, bad, same=other == target) for other, s in good):
            return bad
    return None


def _makes_up(good: StreamSummary, bad: StreamSummary, *, same: bool) -> bool:
    """Tell whether a stream that completed was asked for in place of a bad one: the same at that time, any later."""
    return good.started_at >= bad.ended_at or (same and good.ended_at > bad.started_at)


def _passed_through(own: StreamSummary, feed: StreamSummary) -> bool:
    """Tell whether the stream was that of its upstream, whose end was invented: one dialect, and chunks at one time."""
    same = own.dialect is feed.dialect is not Dialect.NONE and own.shape.kind is feed.shape.kind is Kind.BOUNDED
    if not same or feed.outcome is not Outcome.TRUNCATED or feed.first_chunk_at is None or own.first_chunk_at is None:
        return False
    return feed.first_chunk_at <= own.first_chunk_at <= feed.ended_at <= own.ended_at
