"""aiohttp: every way of reading and of leaving, with and without contrib's instrumentation."""

import asyncio
import contextlib
import gc
import gzip
import logging
from functools import partial

import aiohttp
import httpx
import pytest
from hooking import instrumented
from test_clients import DONE, TOKENS, WHOLE
from upstream import CUT

from otel_streaming import testing
from otel_streaming.instrumentor import AiohttpStreamingInstrumentor, HTTPXStreamingInstrumentor

BODY, ALL = b"".join(TOKENS), b"".join(WHOLE)


hooked = partial(instrumented, AiohttpStreamingInstrumentor)


@pytest.fixture
def captured(captured):
    with hooked():
        yield captured
        if captured.engine.registry.open_count:
            gc.collect()


async def till_empty(read):
    got = b""
    while body := await read():
        got += body
    return got


async def in_chunks(response):
    got = b""
    while (body := await response.content.readchunk()) != (b"", False):
        got += body[0]
    return got


async def at_once(response):
    got = b""
    while not response.content.at_eof():
        if not (body := response.content.read_nowait()):
            body = await response.content.read(1)
        got += body
    return got


async def joined(iterable):
    return b"".join([body async for body in iterable])


async def pairs(response):
    return b"".join([body async for body, _ in response.content.iter_chunks()])


async def as_text(response):
    return (await response.text()).encode()


WAYS = {
    "response.read": lambda response: response.read(),
    "response.text": as_text,
    "read": lambda response: response.content.read(),
    "read(n)": lambda response: till_empty(lambda: response.content.read(16)),
    "readany": lambda response: till_empty(response.content.readany),
    "readline": lambda response: till_empty(response.content.readline),
    "readuntil": lambda response: till_empty(lambda: response.content.readuntil(b"\n\n")),
    "readexactly": lambda response: response.content.readexactly(len(BODY)),
    "readchunk": in_chunks,
    "read_nowait": at_once,
    "async for": lambda response: joined(response.content),
    "iter_any": lambda response: joined(response.content.iter_any()),
    "iter_chunked": lambda response: joined(response.content.iter_chunked(32)),
    "iter_chunks": pairs,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_reading(way, upstream, captured):
    """However the content is read, all of it is seen, and its end as soon as the reader has come to it."""
    url = upstream.answer(TOKENS[0], 0.2, *TOKENS[1:])

    async def reading():
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert await WAYS[way](response) == BODY
            if way == "readexactly":  # the end has not been read; it comes, and who leaves then has had everything
                await asyncio.wait_for(response.content.wait_eof(), 10)
                return
            assert len(captured) == 1

    asyncio.run(reading())
    [summary] = captured
    assert (summary.reason.value, summary.size) == ("missing_terminal", len(BODY))
    assert summary.chunks >= 2
    assert summary.size == sum(map(len, TOKENS))


async def outcome(url, way, *, after=None, **more):
    """All that a caller can see of an exchange."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url, **more) as response:
            if after is not None:
                await asyncio.sleep(after)
            read, content = await WAYS[way](response), response.content
            words = repr(content).replace(" eof", "")  # whoever reads no further may be told before it comes
            return read, response.status, content.total_bytes, words
    except Exception as raised:
        return type(raised), str(raised), type(raised.__cause__), type(raised.__context__), raised.__suppress_context__


FAULTS = {
    "no terminal": (TOKENS, {}, {}, "missing_terminal"),
    "cut": ([*TOKENS[:2], 0.02, CUT], {}, {}, "connection_lost"),
    "cut before it is read": ([*TOKENS[:2], CUT], {}, {"after": 0.05}, "connection_lost"),
    "cut in a message": (TOKENS, {"open_end": True}, {}, "connection_lost"),
    "silence": ([*TOKENS[:2], 30], {}, {"timeout": aiohttp.ClientTimeout(sock_read=1)}, "idle_timeout"),
    "too long": ([*TOKENS[:2], 30], {}, {"timeout": aiohttp.ClientTimeout(total=2)}, "deadline_exceeded"),
    "no gzip": (TOKENS, {"headers": "content-encoding: gzip\r\n"}, {}, "protocol_error"),
}


SLOW = {"silence", "too long"}
CASES = [
    (way, fault)
    for fault in FAULTS
    for way in (("response.read", "readany", "readline", "iter_chunks") if fault in SLOW else WAYS)
]


@pytest.mark.parametrize(("way", "fault"), CASES)
def test_the_caller_sees_no_difference(way, fault, upstream):
    """Bytes and exceptions are the same with the plugin and without, and what went wrong is told."""
    steps, how, options, reason = FAULTS[fault]
    url = upstream.answer(*steps, **how)
    seen = []
    for on in (False, True):
        with hooked(on=on), testing.capture() as captured:
            seen.append(asyncio.run(outcome(url, way, **options)))
    assert seen[0] == seen[1]
    if way != "readexactly" or fault not in {"no terminal", "cut in a message"}:  # who reads no further sees no end
        assert [summary.reason.value for summary in captured] == [reason]


def test_a_limit_for_the_whole_is_the_readers_own(upstream, captured):
    """The `total` of a ClientTimeout, five minutes unless set, is the client's deadline, no silence of the server."""
    url = upstream.answer(*TOKENS, 30)
    asyncio.run(outcome(url, "iter_any", timeout=aiohttp.ClientTimeout(total=0.5)))
    [summary] = captured
    assert (summary.outcome.value, summary.origin.value, summary.result.value) == ("failed", "client", "silent")


@pytest.mark.parametrize("way", ["readline", "readuntil", "async for"])
def test_a_line_without_an_end(way, upstream, captured):
    """What is longer than aiohttp takes for a line breaks the protocol, and its reader."""
    error, *_ = asyncio.run(outcome(upstream.answer(*[b"x" * 2**16] * 10), way))
    assert error is aiohttp.http_exceptions.LineTooLong
    assert [summary.reason.value for summary in captured] == ["protocol_error"]


def test_who_waits_with_patience_reads_on(upstream, captured):
    """A reading that is cancelled, by a time-out of the application's own, ends nothing."""

    async def patiently():
        got, cancelled = b"", 0
        async with aiohttp.ClientSession() as session, session.get(upstream.answer(*TOKENS, 1, DONE)) as response:
            while not got.endswith(DONE):
                with contextlib.suppress(asyncio.TimeoutError):
                    got += await asyncio.wait_for(response.content.readany(), 0.1)
                    continue
                cancelled += 1
        return cancelled

    assert asyncio.run(patiently())
    [summary] = captured
    assert (summary.reason.value, summary.terminal.value) == ("completed", "seen")
    assert summary.gap_max > 0.1


def test_misuse_ends_nothing(upstream, captured):
    """Two readings at once, or one of no number of bytes, are refused; the stream goes on."""

    async def badly():
        url = upstream.answer(*TOKENS, 1, DONE)
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            await response.content.readexactly(len(BODY))
            first = asyncio.create_task(response.content.readany())
            await asyncio.sleep(0.05)
            for refused in (response.content.readany, lambda: response.content.read("many")):
                with pytest.raises((RuntimeError, TypeError)):
                    await refused()
            assert await first == DONE

    asyncio.run(badly())
    assert [summary.reason.value for summary in captured] == ["completed"]


class Lines(aiohttp.ClientResponse):
    """A response class of an application's own."""


class Sealed(aiohttp.ClientResponse):
    """One whose content nobody can replace."""

    @property
    def content(self):
        return self.__dict__.get("sealed")

    @content.setter
    def content(self, content):
        if content is not None and "sealed" in self.__dict__:
            raise AttributeError("content")
        self.__dict__["sealed"] = content


async def leave_by(leave, url, **more):
    async with aiohttp.ClientSession(**more) as session:
        response = await session.get(url)
        assert await response.content.readexactly(len(BODY)) == BODY
        await leave(session, response)


async def by_close(session, response):
    response.close()


async def by_release(session, response):
    response.release()


async def by_leaving(session, response):
    async with response:
        pass


async def by_raising(session, response):
    with contextlib.suppress(KeyError):
        async with response:
            raise KeyError


async def by_closing_the_session(session, response):
    await session.close()
    with contextlib.suppress(Exception):
        await asyncio.wait_for(response.content.readany(), 0.2)
    response.close()


async def by_another_task(session, response):
    reading = asyncio.create_task(response.content.readany())
    await asyncio.sleep(0.05)
    response.close()
    with pytest.raises(aiohttp.ClientConnectionError):
        await reading


async def by_cancelling(session, response):
    task = asyncio.create_task(response.read())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


LEAVING = [
    *(by_close, by_release, by_leaving, by_raising),
    *(by_closing_the_session, by_another_task, by_cancelling),
]


@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
@pytest.mark.parametrize("response_class", [aiohttp.ClientResponse, Lines])
def test_every_way_of_leaving(leave, response_class, upstream, captured):
    """Who leaves a stream that goes on has stopped, and is told to at once."""

    async def leaving(session, response):
        await leave(session, response)
        assert len(captured) == 1

    asyncio.run(leave_by(leaving, upstream.answer(*TOKENS, 30), response_class=response_class))
    assert [(s.reason.value, s.phase.value) for s in captured] == [("consumer_stopped", "mid_stream")]


def test_what_nobody_closed_is_told_with_its_connection(upstream, captured):
    """A response that is dropped is kept by its connection; with that it ends, and its reader has stopped."""

    async def dropping():
        async with aiohttp.ClientSession() as session:
            response = await session.get(upstream.answer(*TOKENS, 30))
            await response.content.readany()
            del response
            gc.collect()
            assert captured == []
        await asyncio.sleep(0.01)
        gc.collect()

    asyncio.run(dropping())
    assert [summary.reason.value for summary in captured] == ["consumer_stopped"]


def test_a_response_that_cannot_be_watched_is_the_callers_all_the_same(upstream, captured):
    """A response class that keeps its content to itself costs the watch, and nothing else."""

    async def reading():
        url = upstream.answer(*WHOLE)
        async with aiohttp.ClientSession(response_class=Sealed) as session, session.get(url) as response:
            return await response.read()

    assert asyncio.run(reading()) == ALL
    assert captured == []


class Upper(aiohttp.StreamReader):
    """A content of the application's own: it hands out another body."""

    def __init__(self, inner):
        self.inner = inner

    async def readany(self):
        return (await self.inner.readany()).upper()

    def at_eof(self):
        return self.inner.at_eof()


class Foreign:
    """One of no class of the library's."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)


@pytest.mark.parametrize("content", [Upper, Foreign])
def test_a_content_of_the_applications_own_reads_as_before(content, upstream, captured):
    """What is put into a response in place of the library's content is read by its own methods, and not watched."""

    class Response(aiohttp.ClientResponse):
        async def start(self, connection):
            await super().start(connection)
            self.content, self.inner = content(self.content), self.content
            return self

    async def reading():
        async with aiohttp.ClientSession(response_class=Response) as session, session.get(url) as response:
            got = await response.content.readany()
            response.content = response.inner
            return got, type(response.content)

    url = upstream.answer(TOKENS[0])
    expected = TOKENS[0].upper() if content is Upper else TOKENS[0]
    assert asyncio.run(reading()) == (expected, aiohttp.StreamReader)
    assert captured == []


class Bare:
    """One that can be read, and nothing else."""

    def __init__(self, inner):
        self.read = inner.read


@pytest.mark.parametrize("media_type", ["text/plain", "text/event-stream"])
@pytest.mark.parametrize("content", [Upper, Foreign, Bare])
def test_an_error_whose_content_is_the_applications_own(content, media_type, upstream, captured, caplog):
    """A 5xx where a stream was due is told whatever the content is; of another answer nothing is, nor opened."""

    class Response(aiohttp.ClientResponse):
        async def start(self, connection):
            await super().start(connection)
            self.content, self.inner = content(self.content), self.content
            return self

        def close(self):
            self.content = self.inner
            super().close()

        release = close

    async def asking(url):
        accept = {"accept": "text/event-stream"}
        async with aiohttp.ClientSession(response_class=Response) as session, session.get(url, headers=accept) as got:
            assert type(got.content) is content
            assert captured.engine.registry.open_count == 0

    asyncio.run(asking(upstream.answer(b"no", status=503, media_type=media_type)))
    asyncio.run(asking(upstream.answer(b"yes", path="/yes", media_type=media_type)))
    assert [summary.reason.value for summary in captured] == ["http_5xx"]
    assert "report this fault" not in caplog.text


@pytest.mark.parametrize("told_by", ["session", "request"])
@pytest.mark.parametrize("decodes", [True, False], ids=["decompressed", "as it comes"])
def test_compressed_bodies(decodes, told_by, upstream, captured):
    """What aiohttp has decompressed is read as it is; what it hands out compressed says nothing but its size."""
    body = gzip.compress(ALL)
    for number, length in enumerate((len(body), None)):
        url = upstream.answer(body, headers="content-encoding: gzip\r\n", length=length, path=f"/{number}")
        options = {"session": {}, "request": {}, told_by: {"auto_decompress": decodes}}

        async def reading(url, session, request):
            async with aiohttp.ClientSession(**session) as opened, opened.get(url, **request) as response:
                return await response.read()

        assert asyncio.run(reading(url, **options)) == (ALL if decodes else body)
    expected = ("completed", "after_terminal", len(ALL)) if decodes else ("completed", "mid_stream", len(body))
    assert [(s.reason.value, s.phase.value, s.size) for s in captured] == [expected] * 2


def test_a_body_of_another_kind_that_is_decompressed_is_not_too_short_or_too_long(upstream, captured):
    """The length of a compressed body is not that of the bytes that its reader gets."""
    for number, text in enumerate((b"a" * 2000, b"a")):
        body = gzip.compress(text)
        head = {"headers": "content-encoding: gzip\r\n", "length": len(body), "media_type": "text/plain"}
        assert asyncio.run(outcome(upstream.answer(body, path=f"/{number}", **head), "response.read"))[0] == text
    assert captured == []


def test_a_stream_without_a_body_is_over_at_once(upstream, captured):
    """Nothing is to be read of it, and nobody has to."""

    async def asking():
        async with aiohttp.ClientSession() as session, session.get(upstream.answer(length=0)):
            assert [summary.outcome.value for summary in captured] == ["completed"]

    asyncio.run(asking())
    assert len(captured) == 1


def test_content_is_what_it_was(upstream, captured):
    """The content is of aiohttp's own kind, can be sent on as it is, and be given callbacks."""
    url, sink = upstream.answer(*WHOLE), upstream.answer(b"{}", path="/sink", media_type="application/json", length=2)

    async def using():
        ended = []
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            content = response.content
            assert isinstance(content, aiohttp.StreamReader)
            assert type(content).__name__ == "StreamReader"
            assert content.exception() is None
            content.on_eof(lambda: ended.append(True))
            content.set_read_chunk_size(2**20)
            assert content.get_read_buffer_limits() == (2**20, 2**21)
            content._low_water = 1
            assert content._source._low_water == 1
            request = aiohttp.payload.PAYLOAD_REGISTRY.get(content)
            assert isinstance(request, aiohttp.payload.StreamReaderPayload)
            assert await till_empty(content.readany) == ALL
            assert ended == [True]
            assert not isinstance(content, aiohttp.ClientResponse)
        async with session.get(sink) as response:
            assert await response.json() == {}

    with contextlib.suppress(RuntimeError):
        asyncio.run(using())
    assert len(captured) == 1


def test_connections_are_reused_as_before(upstream):
    """A stream read to its end gives its connection back, one that is left closes it: with the plugin as without."""
    url, endless = upstream.answer(*WHOLE), upstream.answer(*WHOLE, 30, path="/endless")

    async def many():
        async with aiohttp.ClientSession() as session:
            for number in range(6):
                async with session.get(endless if number == 3 else url) as response:
                    await (response.content.readline() if number == 3 else response.read())

    counts = []
    for on in (False, True):
        before = upstream.connections
        with hooked(on=on), testing.capture() as captured:
            asyncio.run(many())
        counts.append(upstream.connections - before)
    assert counts == [2, 2]
    assert [summary.reason.value for summary in captured] == [
        *["completed"] * 3,
        "consumer_stopped",
        *["completed"] * 2,
    ]


def test_each_attempt_is_a_call(upstream, captured):
    """Redirects, middlewares of the application's own and a retry of aiohttp's: the caller's stream is told once."""
    upstream.answer(status=307, headers="location: /stream\r\n", path="/moved")
    refused = upstream.answer(b"no", status=503, media_type="text/plain", path="/refused")
    upstream.answer(*WHOLE, path="/refused")
    upstream.answer(*WHOLE)

    async def again(request, handler):
        response = await handler(request)
        if response.status == 503:
            response.release()
            response = await handler(request)
        request.headers["seen"] = "yes"
        return response

    async def asking():
        async with aiohttp.ClientSession(middlewares=(again,)) as session:
            for url in (f"{upstream.url}/moved", refused):
                async with session.get(url, headers={"accept": "text/event-stream"}) as response:
                    assert await response.read() == ALL
            async with session.get(refused, middlewares=()) as response:
                assert await response.read() == ALL

    asyncio.run(asking())
    assert [summary.reason.value for summary in captured] == ["completed", "http_5xx", "completed", "completed"]


def test_what_is_no_middleware_is_refused_as_before(upstream):
    """A wrong argument is aiohttp's to judge."""
    seen = []
    for on in (False, True):
        with hooked(on=on), testing.capture():
            seen.append(asyncio.run(outcome(upstream.answer(*WHOLE), "read", middlewares=5)))
    assert seen[0] == seen[1]
    assert seen[0][0] is TypeError


def test_subclassed_sessions_are_watched(upstream, captured):
    """A session class of the application's own is one like any other."""
    with pytest.warns(DeprecationWarning, match="discouraged"):

        class Session(aiohttp.ClientSession):
            async def _request(self, *args, **kwargs):
                return await super()._request(*args, **kwargs)

    async def reading():
        async with Session() as session, session.get(upstream.answer(*WHOLE)) as response:
            return await response.read()

    assert asyncio.run(reading()) == ALL
    assert [summary.reason.value for summary in captured] == ["completed"]


class ByAiohttp(httpx.AsyncBaseTransport):
    """An httpx transport, and its stream, that asks by aiohttp."""

    async def handle_async_request(self, request):
        async with aiohttp.ClientSession() as session, session.get(f"{request.url}-aside") as response:
            await response.read()
        self.session = aiohttp.ClientSession()
        self.response = await self.session.get(str(request.url), headers=dict(request.headers))
        return httpx.Response(self.response.status, headers=self.response.raw_headers, stream=self.Stream(self))

    class Stream(httpx.AsyncByteStream):
        def __init__(self, transport):
            self.transport = transport

        async def __aiter__(self):
            async for chunk in self.transport.response.content.iter_any():
                yield chunk

        async def aclose(self):
            await self.transport.session.close()


def test_a_library_that_asks_by_another_is_one_call(upstream, captured):
    """What httpx asks by aiohttp is one stream; whatever else its transport asks meanwhile is another."""
    url = upstream.answer(*WHOLE)
    upstream.answer(*TOKENS, path="/stream-aside")

    async def reading():
        async with httpx.AsyncClient(transport=ByAiohttp()) as client, client.stream("GET", url) as response:
            return b"".join([chunk async for chunk in response.aiter_raw()])

    with instrumented(HTTPXStreamingInstrumentor):
        assert asyncio.run(reading()) == ALL
    assert asyncio.run(outcome(url, "read"))[0] == ALL
    assert [summary.reason.value for summary in captured] == ["missing_terminal", "completed", "completed"]


def test_another_version_is_left_alone(upstream, monkeypatch, caplog):
    """Where a name has moved nothing is watched, and it is said once; requests go on."""
    AiohttpStreamingInstrumentor._patches._registered.add("aiohttp")
    monkeypatch.delattr(aiohttp, "ClientMiddlewareType")
    with testing.capture() as captured, caplog.at_level(logging.WARNING), hooked():
        assert asyncio.run(outcome(upstream.answer(*WHOLE), "read"))[0] == ALL
    assert captured == []
    assert [record.name for record in caplog.records] == ["otel_streaming"]
