"""What is watched by hand: every kind of iterable alike, every way it can end, and nothing of it changed."""

import asyncio
import contextlib
import gc
import queue
import time
from types import SimpleNamespace

import httpx
import openai
import pytest
from opentelemetry import trace
from test_clients import DONE, STOP, TOKENS, WHOLE
from upstream import CUT, Upstream

from otel_streaming import iterables, observe
from otel_streaming._config import read_settings
from otel_streaming.testing import capture

ITEMS = [b"bytes", "\N{SNOWMAN}", {"an": "object"}, b"", bytearray(3)]
SIZE = 5 + 3 + 3


def produce(*steps):
    """A generator of the steps that raises those which are exceptions, and knows whether it was closed."""
    for step in steps:
        if isinstance(step, BaseException):
            raise step
        yield step


async def produce_later(*steps):
    for step in produce(*steps):
        await asyncio.sleep(0)
        yield step


def take(observed, count=None):
    """Read so many items, or all; the iterator is dropped afterwards."""
    items = []
    for item in observed if count != 0 else ():
        items.append(item)
        if len(items) == count:
            break
    return items


async def take_later(observed, count=None):
    items = []
    async for item in observed:
        items.append(item)
        if len(items) == count:
            break
    return items


KINDS = {
    "sync": SimpleNamespace(produce=produce, take=take, closing=contextlib.closing),
    "async": SimpleNamespace(
        produce=produce_later, take=lambda *args: asyncio.run(take_later(*args)), closing=contextlib.aclosing
    ),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def only(captured):
    [summary] = captured
    assert (summary.shape.role, summary.shape.protocol) == ("task", "iterable")
    return summary


def verdict(captured):
    summary = only(captured)
    return tuple(map(str, (summary.outcome, summary.reason, summary.phase, summary.origin)))


def test_everything_is_passed_on_and_counted(kind, captured):
    """The reader gets the very items, each is a chunk, and bytes and strings count with their size."""
    got = kind.take(observe(kind.produce(*ITEMS)))
    assert all(item is given for item, given in zip(got, ITEMS, strict=True))
    summary = only(captured)
    assert (summary.chunks, summary.size, summary.first_chunk_size) == (len(ITEMS), SIZE, 5)
    assert verdict(captured) == ("completed", "completed", "mid_stream", "server")
    assert (summary.terminal, summary.result, summary.shape.kind) == ("not_checked", "ok", "bounded")


MID = "mid_stream"
RAISED = {
    "own": (ValueError("bug"), ("failed", "producer_error", MID, "server")),
    "time-out": (TimeoutError(), ("failed", "deadline_exceeded", MID, "server")),
    "upstream lost": (httpx.ReadError("reset"), ("truncated", "connection_lost", MID, "upstream")),
    "upstream silent": (httpx.ReadTimeout("t"), ("failed", "idle_timeout", MID, "upstream")),
    "cancelled": (asyncio.CancelledError(), ("cancelled", "consumer_stopped", MID, "client")),
    "interrupted": (KeyboardInterrupt(), ("cancelled", "consumer_stopped", MID, "client")),
}


@pytest.mark.parametrize("name", RAISED)
def test_what_the_source_raises(name, kind, captured):
    """An exception out of the source reaches the reader as it is, and says why the stream ended."""
    error, expected = RAISED[name]
    with pytest.raises(type(error)) as raised:
        kind.take(observe(kind.produce(b"x", error)))
    assert raised.value is error or name in {"cancelled", "interrupted"}  # which asyncio makes anew
    assert verdict(captured) == expected


@pytest.mark.parametrize("count", [0, 1])
def test_a_reader_that_leaves(count, kind, captured):
    """Who breaks off has stopped: at once, when nothing holds the iterator any more."""
    observed = observe(kind.produce(b"x", b"y"))
    if count:
        kind.take(observed, count)
    assert captured == []
    del observed
    gc.collect()
    phase = MID if count else "before_first_chunk"
    assert verdict(captured) == ("cancelled", "consumer_stopped", phase, "client")
    assert captured[0].result == ("cancelled" if count else "gave_up")


def test_a_source_that_is_closed(captured):
    """Closing ends it, and closes the source."""
    source = produce(b"x", b"y")
    with contextlib.closing(observe(source)) as observed:
        assert next(observed) == b"x"
    assert verdict(captured) == ("cancelled", "consumer_stopped", MID, "client")
    assert list(source) == []

    async def closed():
        source = produce_later(b"x", b"y")
        async with contextlib.aclosing(observe(source)) as observed:
            assert await anext(observed) == b"x"
        assert [item async for item in source] == []

    captured.clear()
    asyncio.run(closed())
    assert verdict(captured) == ("cancelled", "consumer_stopped", MID, "client")


class Endless:
    """An asynchronous iterator that cannot be closed."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        return b"x"


@pytest.mark.parametrize("source", [[b"x"], map(bytes, [b"x"]), Endless()], ids=lambda source: type(source).__name__)
def test_a_source_that_cannot_be_closed(source, captured):
    """Servers close what has a ``close``: of what the source has not, nothing is there."""
    assert not any(hasattr(observe(source), name) for name in ("close", "aclose"))
    gc.collect()


def test_a_task_that_is_cancelled(captured):
    """A reader cancelled while it waits has stopped."""

    async def cancelled():
        waits, waiting = asyncio.Queue(), asyncio.Event()

        async def pull():
            yield b"x"
            waiting.set()
            yield await waits.get()

        task = asyncio.create_task(take_later(observe(pull())))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert verdict(captured) == ("cancelled", "consumer_stopped", MID, "client")


def test_a_list_and_a_queue(captured):
    """Whatever can be iterated over can be observed, with or without a ``for``."""
    assert list(observe([1, 2])) == [1, 2]
    assert next(observe([1])) == 1
    waiting = queue.Queue()
    for item in (b"x", b"y", None):
        waiting.put(item)
    assert list(observe(iter(waiting.get, None))) == [b"x", b"y"]
    assert [str(summary.reason) for summary in captured] == ["completed", "consumer_stopped", "completed"]


def is_done(item):
    return item == "done"


def test_a_terminal_item(kind, captured):
    """With the last item seen it is complete, however it ends."""
    kind.take(observe(kind.produce("x", "done"), terminal=is_done))
    kind.take(observe(kind.produce("x", "done", "y"), terminal=is_done), 2)
    with pytest.raises(ValueError, match="late"):
        kind.take(observe(kind.produce("x", "done", ValueError("late")), terminal=is_done))
    gc.collect()
    told = {(str(s.outcome), str(s.reason), str(s.phase), str(s.terminal)) for s in captured}
    assert told == {("completed", "completed", "after_terminal", "seen")}
    assert len(captured) == 3


def test_a_terminal_item_that_is_missing(kind, captured):
    """A clean end without it is a truncation; a reader that leaves before it has cancelled."""
    kind.take(observe(kind.produce("x"), terminal=is_done))
    kind.take(observe(kind.produce("x", "done"), terminal=is_done), 1)
    gc.collect()
    truncated, left = captured
    assert (truncated.reason, truncated.result, truncated.terminal) == ("missing_terminal", "silent", "missing")
    assert (left.reason, left.terminal) == ("consumer_stopped", "missing")


def test_a_predicate_that_raises(kind, captured, caplog):
    """It harms nobody, is asked no more, and is said once; the stream's end goes unchecked."""
    iterables._say.cache_clear()
    asked = []

    def broken(item):
        asked.append(item)
        raise LookupError("secret")

    for _ in range(2):
        assert kind.take(observe(kind.produce("x", "y"), terminal=broken)) == ["x", "y"]
    assert [(s.reason, s.terminal) for s in captured] == [("completed", "not_checked")] * 2
    assert len(asked) == 2
    [record] = caplog.records
    assert "LookupError" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_names():
    """A name stands where a route does: in settings, and bounded in number."""
    settings, problems = read_settings(
        {
            "OTEL_PYTHON_STREAMING_SUBSCRIPTIONS": "feed*",
            "OTEL_PYTHON_STREAMING_STALL_THRESHOLD": "slow=0.01,10",
            "OTEL_PYTHON_STREAMING_MAX_ROUTES": "2",
            "OTEL_PYTHON_STREAMING_SPANS": "off",
        }
    )
    assert problems == []

    def slowly():
        time.sleep(0.05)
        yield 1

    with capture(settings) as captured:
        for name in ("feed-a", "slow", "third", None):
            list(observe(slowly(), name))
    assert [(s.shape.route, str(s.shape.kind), s.stall_count) for s in captured] == [
        ("feed-a", "subscription", 0),
        ("slow", "bounded", 1),
        ("_OTHER", "bounded", 0),
        (None, "bounded", 0),
    ]


def test_time_that_the_reader_takes():
    """A slow reader is no stall, a slow source is one."""
    settings, _ = read_settings({"OTEL_PYTHON_STREAMING_STALL_THRESHOLD": "0.2"})

    async def slow_source():
        yield 1
        await asyncio.sleep(0.4)
        yield 2

    async def slow_reader():
        async for _ in observe(produce_later(1, 2)):
            await asyncio.sleep(0.4)

    with capture(settings) as captured:
        asyncio.run(slow_reader())
        asyncio.run(take_later(observe(slow_source())))
    assert [summary.stall_count for summary in captured] == [0, 1]


class Managed:
    """An iterable that is a context manager, and has what callers may ask for."""

    response = "response"

    def __init__(self):
        self.calls = []

    def __iter__(self):
        return produce(b"x", b"y")

    def __enter__(self):
        self.calls.append("enter")
        return self

    def __exit__(self, *exc):
        self.calls.append("exit")
        return exc[0] is ZeroDivisionError

    def cancel(self, why):
        self.calls.append(why)
        return "cancelled"


def test_the_source_is_had_through_it(captured):
    """Attributes are the source's, a context manager stays one, and what it swallows is swallowed."""
    source = Managed()
    with observe(source) as observed:
        assert (observed.response, hasattr(observed, "request")) == ("response", False)
        assert take(observed, 1) == [b"x"]
        raise ZeroDivisionError
    assert source.calls == ["enter", "exit"]
    assert verdict(captured) == ("cancelled", "consumer_stopped", MID, "client")


def test_a_source_that_is_told_to_cancel(captured):
    """Who cancels the source has stopped, whatever comes of it."""
    source = Managed()
    observed = observe(source)
    next(observed)
    assert observed.cancel("enough") == "cancelled"
    assert source.calls == ["enough"]
    assert verdict(captured) == ("cancelled", "consumer_stopped", MID, "client")
    assert list(observed) == [b"x", b"y"]
    assert len(captured) == 1


def test_what_is_no_iterable(captured):
    """Is returned as it is: whoever reads it will be told."""
    assert observe(None) is None
    assert captured == []


def test_a_fault_of_ours(kind, captured, caplog):
    """Costs the watch, not the items."""

    class Unnamed:
        def __str__(self):
            raise ValueError

    assert kind.take(observe(kind.produce(b"x"), Unnamed())) == [b"x"]
    assert captured == []


def test_its_span(spans):
    """One span, a child of the one current at the call, named by what it was given."""
    with trace.get_tracer("t").start_as_current_span("job") as job:
        observed = observe(produce("x"), "tokens")
    list(observed)
    _, span = spans()
    assert (span.name, span.parent.span_id) == ("stream tokens", job.get_span_context().span_id)
    assert (span.attributes["http.route"], span.attributes["stream.role"]) == ("tokens", "task")
    assert [event.name for event in span.events] == ["stream.first_chunk", "stream.end"]


def finished(chunk):
    return any(choice.finish_reason for choice in chunk.choices)


SDK = {
    "whole": (WHOLE, ("completed", "completed", "after_terminal", "server")),
    "short": ([*TOKENS, DONE], ("truncated", "missing_terminal", MID, "unknown")),
    "cut": ([*TOKENS, 0.1, CUT], ("truncated", "connection_lost", MID, "upstream")),
}


@pytest.mark.parametrize("end", SDK)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["Stream", "AsyncStream"])
def test_a_stream_of_an_sdk(end, asynchronous, captured):
    """The objects of an SDK are chunks, and its client library's exceptions are known through it."""
    steps, expected = SDK[end]
    asked = {"model": "m", "messages": [], "stream": True}

    async def later(url):
        async with (
            openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client,
            observe(await client.chat.completions.create(**asked), terminal=finished) as stream,
        ):
            assert stream.response.status_code == 200
            await take_later(stream)

    def now(url):
        with (
            openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client,
            observe(client.chat.completions.create(**asked), terminal=finished) as stream,
        ):
            assert stream.response.status_code == 200
            take(stream)

    with Upstream() as upstream, contextlib.suppress(httpx.HTTPError, openai.APIError):
        upstream.answer(*steps, path="/chat/completions")
        asyncio.run(later(upstream.url)) if asynchronous else now(upstream.url)
    assert verdict(captured) == expected
    assert captured[0].chunks == len([step for step in steps if step in {*TOKENS, STOP}])


def test_a_reader_that_begins_late_is_no_stall():
    """Before it asks for its first item nothing is late."""
    settings, _ = read_settings({"OTEL_PYTHON_STREAMING_STALL_THRESHOLD": "0.1"})
    with capture(settings) as captured:
        observed = observe(produce(*ITEMS))
        time.sleep(0.3)
        assert take(observed) == ITEMS
    [summary] = captured
    assert summary.stall_count == 0
    assert summary.backpressure >= 0.2
