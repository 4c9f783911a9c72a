"""A served stream and the streams that feed it, over real sockets: whom to blame, and what a proxy masks."""

import asyncio
import contextlib
import json
from collections import deque

import anyio
import httpx
import pytest
from hooking import instrumented
from readers import READERS
from serving import serving
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse
from starlette.routing import Route
from test_clients import DONE, INSTRUMENTORS, STOP, TOKENS, WHOLE
from upstream import CUT

from otel_streaming.instrumentor import ASGIStreamingInstrumentor

CLAUDE = [
    b'event: message_start\ndata: {"type":"message_start"}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n',
]


@pytest.fixture(scope="module", autouse=True)
def _hooked():
    with instrumented(ASGIStreamingInstrumentor, *INSTRUMENTORS):
        yield


async def reading(url):
    """The messages of a stream; an end that is an error is one."""
    async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
        async for message in response.aiter_raw():
            yield message


async def drained(url):
    """Read a stream, and let its failures be."""
    with contextlib.suppress(httpx.HTTPError):
        async for _ in reading(url):
            pass


# How the application carries what it reads from one task or thread to another.


async def directly(url):
    async for message in reading(url):
        yield message


def _through_a_queue(spawn):
    async def carried(url):
        queue, over = asyncio.Queue(), object()

        async def pump():
            try:
                async for message in reading(url):
                    await queue.put(message)
            finally:
                await queue.put(over)

        async with spawn(pump):
            while (message := await queue.get()) is not over:
                yield message

    return carried


@contextlib.asynccontextmanager
async def task(pump):
    running = asyncio.create_task(pump())
    yield
    await running


@contextlib.asynccontextmanager
async def group(pump):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump)
        yield


async def in_a_thread(url):
    def all_of_it():
        with httpx.Client() as client, client.stream("GET", url) as response, contextlib.suppress(httpx.HTTPError):
            found.extend(response.iter_raw())

    found = deque()
    yield TOKENS[0]
    await asyncio.to_thread(all_of_it)
    for message in found:
        yield message


CARRIED = {
    "directly": directly,
    "by a task": _through_a_queue(task),
    "by a task group": _through_a_queue(group),
    "by a thread": in_a_thread,
}


def answers(produce, media_type="text/event-stream", background=None):
    """What a client gets of an application that streams what ``produce`` makes; returns the summaries by role."""

    async def endpoint(request):
        return StreamingResponse(produce(), media_type=media_type, background=background)

    with serving(Starlette(routes=[Route("/chat", endpoint)])) as (port, captured):
        asyncio.run(drained_unwatched(port))
    by_role = {"server": [], "client": []}
    for summary in captured:
        by_role[summary.shape.role.value].append(summary)
    [server] = by_role["server"]
    return server, by_role["client"]


async def drained_unwatched(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /chat HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        await reader.read(-1)
    writer.close()


def told(server):
    return server.outcome, server.reason, server.origin, server.masked


MASKED = ("truncated", "upstream_masked", "upstream", True)
ONLY_TOLD = ("completed", "completed", "server", True)
UNTOUCHED = ("completed", "completed", "server", False)


@pytest.mark.parametrize("carried", CARRIED.values(), ids=CARRIED)
@pytest.mark.parametrize(
    ("steps", "reason"),
    [(TOKENS, "missing_terminal"), ([*TOKENS, 0.1, CUT], "connection_lost")],
    ids=["no terminal", "cut"],
)
def test_a_bad_upstream_is_blamed_wherever_it_was_read(upstream, carried, steps, reason):
    """What a task, a task group or a thread read for the request explains how the request's stream ended."""
    url = upstream.answer(*steps)

    async def produce():
        async for message in carried(url):
            yield message

    server, [client] = answers(produce)
    assert (client.reason, client.origin) == (reason, "upstream")
    assert server.bad
    assert (server.origin, server.upstream_reason, server.masked) == ("upstream", reason, False)


@pytest.mark.parametrize("library", ["aiohttp-async", "urllib3", "requests"])
def test_a_bad_upstream_is_blamed_whatever_read_it(upstream, library):
    """The libraries differ in nothing here: what they read for the request explains its end, and what was invented."""
    url = upstream.answer(*[step for token in TOKENS for step in (token, 0.02)])

    async def passed_on():
        async with READERS[library](url) as messages:
            async for message in messages:
                yield message

    async def invented():
        async for message in passed_on():
            yield message
        yield STOP + DONE

    server, _ = answers(passed_on)
    assert (server.origin, server.upstream_reason, server.masked) == ("upstream", "missing_terminal", False)
    assert told(answers(invented)[0]) == MASKED


@pytest.mark.parametrize("carried", CARRIED.values(), ids=CARRIED)
def test_an_invented_end_is_seen_through(upstream, carried):
    """A proxy that writes the terminal itself, whatever its upstream did, has truncated the stream."""
    url = upstream.answer(*[step for token in TOKENS for step in (token, 0.02)])

    async def produce():
        async for message in carried(url):
            yield message
        yield STOP + DONE

    server, _ = answers(produce)
    # What was read as a whole before it was passed on may have been an inner call.
    assert told(server) == (ONLY_TOLD if carried is in_a_thread else MASKED)


def test_an_agents_inner_call_is_no_pass_through(upstream):
    """A call that ended before the agent began to answer fed nothing through; another one made up for it."""
    broken = upstream.answer(*TOKENS)
    whole = upstream.answer(*WHOLE, path="/answer")

    async def alone():
        await drained(broken)
        for message in WHOLE:
            yield message

    async def asked_again():
        yield TOKENS[0]
        await drained(broken)
        async for message in reading(whole):
            yield message

    assert told(answers(alone)[0]) == ONLY_TOLD
    assert told(answers(asked_again)[0]) == UNTOUCHED


def test_a_hedged_request_is_no_pass_through(upstream):
    """Of two attempts at one answer, the one that completed counts."""
    broken = upstream.answer(TOKENS[0], 0.1)
    whole = upstream.answer(*WHOLE, path="/other")

    async def produce():
        yield TOKENS[0]
        hedge = asyncio.create_task(drained(broken))
        async for message in reading(whole):
            yield message
        await hedge

    server, _ = answers(produce)
    assert told(server) == ONLY_TOLD


def test_a_moderation_call_is_no_pass_through(upstream):
    """A side call of another dialect, or of no stream at all, that broke does not make the answer truncated."""
    stream = upstream.answer(*CLAUDE, path="/stream")
    plain = upstream.answer(b'{"flagged":', path="/json", media_type="application/json", length=99)
    whole = upstream.answer(*WHOLE, path="/answer")

    def produce(side):
        async def chat():
            yield TOKENS[0]
            check = asyncio.create_task(drained(side))
            async for message in reading(whole):
                yield message
            await check

        return chat

    server, _ = answers(produce(stream))
    assert told(server) == ONLY_TOLD
    server, clients = answers(produce(plain))
    assert told(server) == UNTOUCHED
    assert {client.shape.kind.value for client in clients} == {"bounded", "other"}


def test_a_retry_that_succeeded_is_no_blame(upstream):
    """What the second attempt delivered is not held against the first."""
    url = upstream.answer(*TOKENS[:1], 0.05, CUT)
    upstream.answer(*WHOLE)

    async def produce():
        yield TOKENS[0]
        with contextlib.suppress(httpx.HTTPError):
            async for message in reading(url):
                yield message
        async for message in reading(url):
            yield message

    server, clients = answers(produce)
    assert told(server) == UNTOUCHED
    assert [client.outcome.value for client in clients] == ["truncated", "completed"]


def test_of_two_upstreams_the_broken_one_is_blamed(upstream):
    """One of two sources broke, and so did what was made of them."""
    broken = upstream.answer(*TOKENS, 0.05, CUT)
    whole = upstream.answer(*WHOLE, path="/whole")

    async def produce():
        both = asyncio.gather(drained(broken), drained(whole))
        yield TOKENS[0]
        await both

    server, _ = answers(produce)
    assert (server.reason, server.origin, server.upstream_reason) == ("missing_terminal", "upstream", "connection_lost")


def test_an_upstream_of_another_request_is_not_blamed(upstream):
    """Two requests at once: each has its own upstream."""
    urls = {"good": upstream.answer(*WHOLE, path="/good"), "bad": upstream.answer(*TOKENS, path="/bad")}

    async def endpoint(request):
        return StreamingResponse(reading(urls[request.path_params["name"]]), media_type="text/event-stream")

    async def both(port):
        async with httpx.AsyncClient() as client:
            await asyncio.gather(*(client.get(f"http://127.0.0.1:{port}/{name}") for name in urls))

    with serving(Starlette(routes=[Route("/{name}", endpoint)])) as (port, captured):
        asyncio.run(both(port))
    ends = [(s.reason.value, s.upstream_reason) for s in captured if s.shape.role == "server"]
    assert sorted(ends, key=str) == [("completed", None), ("missing_terminal", "missing_terminal")]


def test_an_empty_upstream_under_an_invented_end_is_told(upstream):
    """A proxy that got nothing at all and writes its own end: completed on the wire, and said to be masked."""
    url = upstream.answer(b'data: {"object":"chat.completion.chunk","choices":[]}\n\n')

    async def produce():
        await drained(url)
        yield b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": []}).encode() + b"\n\n"
        yield DONE

    server, _ = answers(produce)
    assert told(server) == ONLY_TOLD


def test_what_a_background_task_calls_is_no_upstream(upstream):
    """What is read after the answer has gone has not fed it."""
    url = upstream.answer(*TOKENS, 0.05, CUT)

    async def produce():
        for message in WHOLE:
            yield message

    server, clients = answers(produce, background=BackgroundTask(drained, url))
    assert told(server) == UNTOUCHED
    assert [client.reason.value for client in clients] == ["connection_lost"]
