"""What a client received, told by every library alike: one server that breaks off anywhere, one table of ends."""

import asyncio
import contextlib
import gc
import json
import weakref
from contextvars import ContextVar, copy_context
from functools import partial

import httpx
import httpx2
import pytest
import requests
import urllib3
from hooking import instrumented
from readers import ASYNC, READERS, all_of
from upstream import CUT

from otel_streaming import testing
from otel_streaming._config import read_settings
from otel_streaming.instrumentor import (
    AiohttpStreamingInstrumentor,
    HTTPXStreamingInstrumentor,
    URLLib3StreamingInstrumentor,
)

INSTRUMENTORS = [HTTPXStreamingInstrumentor, AiohttpStreamingInstrumentor, URLLib3StreamingInstrumentor]


def token(text, finish=None):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    body = {"object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


TOKENS = [token(str(number)) for number in range(4)]
STOP, DONE = token("", "stop"), b"data: [DONE]\n\n"
WHOLE = [*TOKENS, STOP, DONE]


@pytest.fixture(scope="module", autouse=True)
def _hooked():
    with instrumented(*INSTRUMENTORS):
        yield


@pytest.fixture(params=READERS)
def read(request):
    return READERS[request.param]


def only(captured):
    [summary] = captured
    assert summary.shape.role == "client"
    assert summary.server_address == "127.0.0.1"
    return summary


def verdict(summary):
    return summary.outcome, summary.reason, summary.phase, summary.origin


# what the server does, how it is read on, what is told: outcome, reason, phase, origin
ENDS = {
    "whole": (WHOLE, {}, ("completed", "completed", "after_terminal", "server")),
    "no terminal": (TOKENS, {}, ("truncated", "missing_terminal", "mid_stream", "upstream")),
    "nothing at all": ([], {}, ("completed", "completed", "before_first_chunk", "server")),
    "cut between messages": ([*TOKENS, 0.1, CUT], {}, ("truncated", "connection_lost", "mid_stream", "upstream")),
    "cut in a message": (
        [*TOKENS, 0.1],
        {"open_end": True},
        ("truncated", "connection_lost", "mid_stream", "upstream"),
    ),
    "short": ([b"".join(TOKENS)], {"length": 9999}, ("truncated", "connection_lost", "mid_stream", "upstream")),
    "error in band": (
        [*TOKENS, b'data: {"error": {"message": "overloaded"}}\n\n'],
        {},
        ("failed", "in_band_error", "mid_stream", "upstream"),
    ),
    "cut after the marker": ([*WHOLE, 0.1, CUT], {}, ("completed", "completed", "after_terminal", "server")),
}


@pytest.mark.parametrize("end", ENDS)
def test_every_end_of_the_server_is_told(read, upstream, captured, end):
    """However the server ends its stream, the reader's watch says so, and says how much came."""
    steps, how, expected = ENDS[end]
    url = upstream.answer(*steps, **how)
    with contextlib.suppress(Exception):
        asyncio.run(all_of(read, url))
    summary = only(captured)
    size = sum(len(step) for step in steps if isinstance(step, bytes))
    if read is READERS["requests"] and end == "short":  # it keeps the last piece of such a body to itself
        expected, size = (*expected[:2], "before_first_chunk", expected[3]), 0
    assert verdict(summary) == expected
    assert summary.size == size


def test_a_time_out_while_reading(read, upstream, captured):
    """A server that falls silent beyond the reader's patience is an idle time-out."""
    url = upstream.answer(*TOKENS, 30)
    with pytest.raises(Exception) as raised:
        asyncio.run(all_of(read, url, timeout=0.5))
    assert "time" in repr(raised.value).lower()
    assert verdict(only(captured)) == ("failed", "idle_timeout", "mid_stream", "upstream")


@pytest.mark.parametrize("seen", [TOKENS, WHOLE], ids=["before", "after"])
def test_a_reader_that_stops(read, upstream, captured, seen):
    """Who leaves before the terminal marker has cancelled, who leaves after it has got everything."""

    async def some():
        async with read(upstream.answer(*seen, 30)) as messages:
            got = b""
            async for message in messages:
                got += message
                if len(got) == len(b"".join(seen)):
                    break

    asyncio.run(some())
    summary = only(captured)
    done = ("completed", "completed", "after_terminal", "server")
    left = ("cancelled", "consumer_stopped", "mid_stream", "client")
    assert verdict(summary) == (done if seen is WHOLE else left)
    assert summary.result == ("ok" if seen is WHOLE else "cancelled")


@pytest.mark.parametrize("name", ASYNC)
def test_a_task_that_is_cancelled(name, upstream, captured):
    """A cancelled reader has stopped, and is cancelled at once."""

    async def cancelled():
        begun = asyncio.Event()

        async def reading():
            async with READERS[name](upstream.answer(*TOKENS, 30)) as messages:
                async for _ in messages:
                    begun.set()

        task = asyncio.create_task(reading())
        await begun.wait()
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert verdict(only(captured)) == ("cancelled", "consumer_stopped", "mid_stream", "client")


def test_nothing_depends_on_a_collection(read, upstream, captured):
    """What was read to its end is told then, though the reader keeps all it has."""
    kept = []

    async def reading():
        context = read(upstream.answer(*WHOLE))
        messages = await context.__aenter__()
        async for _ in messages:
            pass
        kept.append((context, messages))
        assert only(captured).outcome == "completed"
        await context.__aexit__(None, None, None)

    gc.disable()
    try:
        asyncio.run(reading())
    finally:
        gc.enable()
    assert len(captured) == 1


def test_an_ordinary_answer_is_no_stream(read, upstream, captured):
    """JSON, a page, a redirect, an error page: nothing is told of them."""
    for number, how in enumerate(
        (
            {"media_type": "application/json", "length": 2},
            {"media_type": "text/html"},
            {"status": 404},
            {"status": 500, "media_type": "text/plain"},
        )
    ):
        asyncio.run(all_of(read, upstream.answer(b"{}", path=f"/{number}", **how)))
    assert captured == []


@pytest.mark.parametrize("how", [{"length": 99}, {"open_end": True}], ids=["fixed", "chunked"])
def test_an_ordinary_answer_that_breaks_off_is_told(read, upstream, captured, how):
    """A body of another kind is told only when it ends badly."""
    with contextlib.suppress(Exception):
        asyncio.run(all_of(read, upstream.answer(b'{"half":', media_type="application/json", **how)))
    summary = only(captured)
    assert verdict(summary)[:2] == ("truncated", "connection_lost")
    assert summary.shape.kind == "other"


def test_an_error_instead_of_a_stream(read, upstream, captured):
    """A 5xx is told where a stream was asked for, or has come before; it is loud."""
    url = upstream.answer(b"no", status=503, media_type="text/plain")
    asyncio.run(all_of(read, url))
    asyncio.run(all_of(read, url, headers={"accept": "text/event-stream"}))
    known = upstream.answer(*WHOLE, path="/known")
    upstream.answer(b"no", path="/known", status=500, media_type="text/plain")
    asyncio.run(all_of(read, known))
    asyncio.run(all_of(read, known))
    assert [(s.reason, s.result, s.attempt_basis) for s in captured] == [
        ("http_5xx", "loud", "accept"),
        ("completed", "ok", None),
        ("http_5xx", "loud", "learned"),
    ]
    assert captured[0].origin == "upstream"


def test_no_connection(read, captured):
    """A server that is not there is told where a stream was asked for."""
    for headers in ({"accept": "text/event-stream"}, {}):
        with contextlib.suppress(Exception):
            asyncio.run(all_of(read, "http://127.0.0.1:9/", headers=headers))
    summary = only(captured)
    assert verdict(summary) == ("failed", "connect_failed", "before_headers", "upstream")
    assert summary.result == "loud"


def test_a_slow_reader_is_no_stall(read, upstream):
    """Time that the reader takes is its own, time that the server takes is a gap."""
    settings, _ = read_settings({"OTEL_PYTHON_STREAMING_STALL_THRESHOLD": "0.5"})

    async def slowly(url):
        async with read(url) as messages:
            async for _ in messages:
                await asyncio.sleep(0.7)
                return

    with testing.capture(settings) as captured:
        asyncio.run(slowly(upstream.answer(TOKENS[0], 0.1, *WHOLE)))
        asyncio.run(all_of(read, upstream.answer(TOKENS[0], 0.8, *WHOLE, path="/slow")))
    by_reader, by_server = captured
    assert (by_reader.stall_count, by_server.stall_count) == (0, 1)
    assert by_reader.backpressure >= 0.6
    assert by_server.gap_max >= 0.5


def test_a_reader_that_begins_late_is_no_stall(read, upstream):
    """Before it asks for its first message nothing is late, whatever has come meanwhile, and nothing was held back."""
    settings, _ = read_settings({"OTEL_PYTHON_STREAMING_STALL_THRESHOLD": "0.5"})

    async def late(url):
        async with read(url) as messages:
            await asyncio.sleep(1.2)
            async for _ in messages:
                pass

    with testing.capture(settings) as captured:
        asyncio.run(late(upstream.answer(b"".join(TOKENS * 20 + WHOLE))))
    summary = only(captured)
    assert (summary.stall_count, summary.buffered) == (0, False)
    assert summary.backpressure >= 1.0


def _kept_open(module):
    client = module.Client()
    return lambda url: client.send(client.build_request("GET", url), stream=True)


OPENERS = {
    "httpx": _kept_open(httpx),
    "httpx2": _kept_open(httpx2),
    "urllib3": partial(urllib3.PoolManager().request, "GET", preload_content=False),
    "requests": partial(requests.get, stream=True),
}


@pytest.mark.parametrize("opener", OPENERS)
def test_what_variables_lead_to_is_collected(opener, upstream, captured):
    """A response that nobody has any more is collected, though the variables of the request's context led to it."""
    url, known = upstream.answer(*TOKENS, 30), ContextVar("known")

    class Box:
        pass

    def dropped():
        box = Box()
        known.set(box)
        box.response = OPENERS[opener](url)
        return weakref.ref(box)

    box = copy_context().run(dropped)
    gc.collect()
    assert box() is None
    assert only(captured).reason == "consumer_stopped"


def test_what_caches_say(read, upstream, captured):
    """A stream that a cache played back is told as one."""
    asyncio.run(all_of(read, upstream.answer(*WHOLE, headers="Cache-Status: edge; hit\r\n")))
    assert only(captured).cache == "hit"


def test_a_burst_is_told_as_buffered(read, upstream, captured):
    """Many events at once after a long silence were held back on the way; paced ones were not."""
    asyncio.run(all_of(read, upstream.answer(1.2, b"".join(TOKENS * 20 + WHOLE))))
    asyncio.run(all_of(read, upstream.answer(*[step for one in TOKENS * 15 for step in (one, 0.005)], path="/paced")))
    assert [summary.buffered for summary in captured] == [True, False]


def test_retries_are_told(read, upstream, captured):
    """The SDKs say which attempt it is."""
    url = upstream.answer(*WHOLE)
    for headers in ({"x-stainless-retry-count": "0"}, {"x-stainless-retry-count": "1"}, {"last-event-id": "7"}):
        asyncio.run(all_of(read, url, headers=headers))
    assert [summary.retry for summary in captured] == ["none", "retried", "resumed"]


@pytest.mark.parametrize(("routes", "kinds"), [("/v1/*", []), ("127.0.0.1/v1/*", ["bounded"]), ("*/v1/*", ["bounded"])])
def test_routes_name_host_and_path(routes, kinds, read, upstream):
    """A route of the service itself makes no stream of what it asks another service for by the same path."""
    settings, _ = read_settings({"OTEL_PYTHON_STREAMING_ROUTES": routes})
    with testing.capture(settings) as captured:
        asyncio.run(all_of(read, upstream.answer(b"{}", path="/v1/embeddings", media_type="application/json")))
    assert [summary.shape.kind.value for summary in captured] == kinds


def test_excluded_addresses_are_left_alone(read, upstream):
    """An excluded URL, by host or path, is not watched."""
    settings, _ = read_settings({"OTEL_PYTHON_STREAMING_EXCLUDED_URLS": "^127.0.0.1/health"})
    with testing.capture(settings) as captured:
        asyncio.run(all_of(read, upstream.answer(*WHOLE, path="/health")))
    assert captured == []
