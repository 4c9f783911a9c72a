"""Blame: the streams that fed a served one, and what of its verdict they explain."""

import pytest

from otel_streaming._blame import MAX_FEEDS, Feed, blamed
from otel_streaming._causes import Cause
from otel_streaming._shape import Shape
from otel_streaming._stream import Stream
from otel_streaming._verdict import summarise
from otel_streaming.semconv import Kind, Origin, Protocol, Reason, Role

TOKEN = b'data: {"object":"chat.completion.chunk","choices":[{"finish_reason":null}]}\n\n'
CLAUDE = b'event: message_start\ndata: {"type":"message_start"}\n\n'
DONE = b"data: [DONE]\n\n"

LOST = Cause(Reason.CONNECTION_LOST, Origin.UPSTREAM)
IDLE = Cause(Reason.IDLE_TIMEOUT, Origin.UPSTREAM)
STOPPED = Cause(Reason.CONSUMER_STOPPED, Origin.CLIENT)
GAVE_WAY = Cause(Reason.SERVER_CANCELLED, Origin.SERVER)


def stream(role, begun, chunks, ended, cause=None, *, first=TOKEN, done=True, kind=Kind.BOUNDED):
    """Return the summary of a stream whose chunks come at the times given."""
    one = Stream(Shape(role, kind, Protocol.SSE, None), "POST", begun)
    one.headers(begun, 200)
    for number, at in enumerate(chunks):
        one.chunk(at, first if number == 0 else TOKEN)
        one.idle_since = at
    if cause is None:
        if done:
            one.chunk(ended, DONE)
        one.eof(ended)
    else:
        one.failed(ended, cause)
    return summarise(one, ended)


def served(begun=0, chunks=(2, 3), ended=6, cause=None, **more):
    return stream(Role.SERVER, begun, chunks, ended, cause, **more)


def fed(begun=1, chunks=(1.5, 3), ended=5, cause=None, target="model/chat", **more):
    feed = Feed(target)
    feed.summary = stream(Role.CLIENT, begun, chunks, ended, cause, **more)
    return feed


TRUNCATED = fed(done=False)
SECOND = fed(begun=5.5, chunks=(5.6,), ended=5.8, target="other/chat")


def told(summary):
    return summary.outcome, summary.reason, summary.origin, summary.masked


def test_no_upstream_that_ended_badly_changes_nothing():
    """What completed, was stopped, or is still open explains nothing."""
    own = served()
    assert blamed(own, [fed(), fed(cause=STOPPED), Feed("open")]) is own


@pytest.mark.parametrize("cause", [LOST, None])
def test_a_bad_end_is_the_upstreams(cause):
    """A stream that ended badly after its upstream did has its origin there, and says what happened to it."""
    own = blamed(served(done=False, cause=cause), [fed(cause=IDLE)])
    assert (own.origin, own.upstream_outcome, own.upstream_reason) == ("upstream", "failed", "idle_timeout")
    assert not own.masked


def test_what_no_upstream_causes_stays_the_servers():
    """A cancelled server has its own reason; what happened to its upstream is told beside it."""
    own = blamed(served(cause=GAVE_WAY), [TRUNCATED])
    assert (own.origin, own.reason, own.upstream_reason) == ("server", "server_cancelled", "missing_terminal")


@pytest.mark.parametrize("done", [True, False])
def test_what_began_after_the_end_fed_nothing(done):
    """What a background task calls when all has been said explains nothing, and makes up for nothing."""
    own = served(done=done)
    assert blamed(own, [fed(begun=6.1, chunks=(6.2,), ended=6.3, cause=LOST)]) is own
    assert blamed(own, [TRUNCATED, fed(begun=6.1, chunks=(6.2,), ended=6.3)]).upstream_reason == "missing_terminal"


def test_a_reader_that_left_is_nobodys_blame():
    """A cancelled stream stays what it was."""
    own = served(cause=STOPPED)
    assert blamed(own, [TRUNCATED]) is own


def test_a_pass_through_with_an_invented_end_is_truncated():
    """One upstream of the same dialect at the same time, truncated: the clean end was invented."""
    own = blamed(served(), [TRUNCATED])
    assert told(own) == ("truncated", "upstream_masked", "upstream", True)
    assert (own.result, own.upstream_outcome, own.upstream_reason) == ("silent", "truncated", "missing_terminal")


MASKED_ONLY = {
    "another dialect": [fed(first=CLAUDE, done=False)],
    "failed, not truncated": [fed(cause=IDLE)],
    "a call before the first chunk, as an agent's": [fed(begun=0, chunks=(0.5,), ended=1.5, done=False)],
    "without a chunk": [fed(chunks=(), cause=LOST)],
    "begun after the first chunk": [fed(begun=2.5, chunks=(2.6,), done=False)],
    "a subscription": [fed(kind=Kind.SUBSCRIPTION, cause=LOST)],
    "two at once": [TRUNCATED, fed(target="moderation", cause=STOPPED)],
    "another one still open": [TRUNCATED, Feed("moderation")],
}


@pytest.mark.parametrize("feeds", MASKED_ONLY.values(), ids=MASKED_ONLY)
def test_what_may_be_no_pass_through_stays_completed(feeds):
    """Where anything is ambiguous the stream stays completed, and says what happened upstream."""
    own = blamed(served(), feeds)
    assert told(own) == ("completed", "completed", "server", True)
    assert own.upstream_outcome is not None


def test_a_stream_without_chunks_of_its_own_was_no_pass_through():
    """A stream that sent nothing passed nothing on."""
    own = blamed(served(chunks=(), done=False), [TRUNCATED])
    assert told(own) == ("completed", "completed", "server", True)


def test_the_applications_own_word_stands():
    """Who says that the stream is complete knows of the upstream."""
    assert told(blamed(served(), [TRUNCATED], declared=True)) == ("completed", "completed", "server", True)


@pytest.mark.parametrize(
    "feeds",
    [
        [TRUNCATED, SECOND],
        [TRUNCATED, fed(begun=1, ended=4)],
        [fed(begun=1, ended=4), TRUNCATED],
    ],
    ids=["another one afterwards", "hedged: the same at once", "hedged: the other way round"],
)
def test_what_was_made_up_for_is_no_blame(feeds):
    """A retry, a fallback, or a hedged request that completed leaves nothing to blame."""
    own = served()
    assert blamed(own, feeds) is own


def test_of_two_upstreams_the_bad_one_is_told():
    """A second source that completed at the same time makes up for nothing."""
    own = blamed(served(done=False), [TRUNCATED, fed(begun=1, ended=4, target="another/source")])
    assert (own.origin, own.upstream_reason) == ("upstream", "missing_terminal")


def test_what_completed_before_makes_up_for_nothing():
    """An agent's first call went well, its second, to the same address, broke."""
    own = blamed(served(done=False), [fed(begun=0, chunks=(0.2,), ended=0.5), TRUNCATED])
    assert (own.origin, own.upstream_reason) == ("upstream", "missing_terminal")


def test_of_two_bad_ends_the_last_is_told():
    """The last attempt decides."""
    own = blamed(served(done=False), [TRUNCATED, fed(begun=5.1, ended=5.5, cause=LOST)])
    assert own.upstream_reason == "connection_lost"
    assert MAX_FEEDS > 1
