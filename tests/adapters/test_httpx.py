"""httpx, with and without contrib's instrumentation: what the caller has, which span the stream hangs on."""

import asyncio
import contextlib
import gc
from functools import partial

import httpx
import httpx2
import pytest
from hooking import instrumented
from test_clients import TOKENS, WHOLE
from upstream import CUT

from otel_streaming import testing
from otel_streaming.instrumentor import HTTPXStreamingInstrumentor

BOTH = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])


hooked = partial(instrumented, HTTPXStreamingInstrumentor)


async def read(module, url, flavour, **more):
    if flavour == "sync":
        with module.Client(**more) as client, client.stream("POST", url) as response:
            return b"".join(response.iter_raw())
    async with module.AsyncClient(**more) as client, client.stream("POST", url) as response:
        return b"".join([chunk async for chunk in response.aiter_raw()])


def outcome(module, url, flavour, **more):
    """All that a caller can see of an exchange."""
    try:
        body, error = asyncio.run(read(module, url, flavour, **more)), None
    except Exception as raised:  # its request is another object
        body, error = None, (type(raised), raised.args, type(raised.__cause__), type(raised.__context__))
    return body, error


FAULTS = {
    "whole": ([*WHOLE], {}, {}),
    "no terminal": (TOKENS, {}, {}),
    "cut": ([*TOKENS, 0.05, CUT], {}, {}),
    "cut in a message": (TOKENS, {"open_end": True}, {}),
    "time-out": ([*TOKENS, 30], {}, {"timeout": (20, 1, 20, 20)}),
    "plain": ([b"{}"], {"media_type": "application/json"}, {}),
    "error": ([b"no"], {"status": 503}, {}),
}


@BOTH
@pytest.mark.parametrize("flavour", ["sync", "async"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_caller_sees_no_difference(module, flavour, fault, upstream):
    """Bytes and exceptions are the same with the plugin and without."""
    steps, how, options = FAULTS[fault]
    url = upstream.answer(*steps, **how)
    seen = []
    for on in (False, True):
        with hooked(on=on), testing.capture():
            seen.append(outcome(module, url, flavour, **options))
    assert seen[0] == seen[1]


@BOTH
@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_connections_are_reused_as_before(module, flavour, upstream):
    """A stream read to its end gives its connection back, one that is left closes it: with the plugin as without."""
    url = upstream.answer(*WHOLE)

    def left(number):
        return number == 3

    async def many():
        async with module.AsyncClient() as client:
            for number in range(6):
                async with client.stream("GET", url) as response:
                    messages = response.aiter_raw()
                    await anext(messages) if left(number) else [message async for message in messages]

    def in_turn():
        with module.Client() as client:
            for number in range(6):
                with client.stream("GET", url) as response:
                    messages = response.iter_raw()
                    next(messages) if left(number) else list(messages)

    counts = []
    for on in (False, True):
        before = upstream.connections
        with hooked(on=on), testing.capture() as captured:
            in_turn() if flavour == "sync" else asyncio.run(many())
        counts.append(upstream.connections - before)
    assert counts == [2, 2]
    assert [summary.outcome.value for summary in captured].count("completed") == 5


@BOTH
def test_what_the_caller_holds_is_what_it_was(module, upstream):
    """The response, its stream and its attributes are of the library's own kinds."""
    url = upstream.answer(*WHOLE)
    with testing.capture(), hooked(), module.Client() as client:
        with client.stream("GET", url) as response:
            assert isinstance(response.stream, module.SyncByteStream)
            assert response.extensions["http_version"] == b"HTTP/1.1"
            response.read()
        assert response.elapsed.total_seconds() > 0
        assert response.is_closed
        assert response.content == b"".join(WHOLE)


@BOTH
def test_plain_reads_count_as_well(module, upstream):
    """Who asks for the whole answer at once reads a stream all the same."""
    url = upstream.answer(*TOKENS)
    with testing.capture() as captured, hooked():
        assert module.get(url).content == b"".join(TOKENS)
    [summary] = captured
    assert (summary.reason, summary.size) == ("missing_terminal", len(b"".join(TOKENS)))


@BOTH
def test_transports_of_ones_own_are_watched(module):
    """A transport that makes its answers itself, as a whole or as a stream, is one like any other."""

    class Slices(module.SyncByteStream):
        def __iter__(self):
            yield from TOKENS

    def answer(request):
        body = {"stream": Slices()} if request.url.path == "/slices" else {"content": b"".join(WHOLE)}
        return module.Response(200, headers={"content-type": "text/event-stream"}, **body)

    with testing.capture() as captured, hooked(), module.Client(transport=module.MockTransport(answer)) as client:
        assert client.get("http://model/whole").content == b"".join(WHOLE)
        assert client.get("http://model/slices").content == b"".join(TOKENS)
    assert [(s.reason.value, s.server_address) for s in captured] == [
        ("completed", "model"),
        ("missing_terminal", "model"),
    ]


@BOTH
@pytest.mark.parametrize("nonsense", ["no response", "no stream", "a stream of the other kind"])
def test_a_transport_that_answers_nonsense_fails_as_before(module, nonsense):
    """What is no response, or has no body of its kind, is the client's to judge."""

    class Later(module.AsyncByteStream):
        async def __aiter__(self):
            yield b""

    def answer(_):
        bodies = {"no stream": [b""], "a stream of the other kind": Later()}
        return None if nonsense == "no response" else module.Response(200, stream=bodies[nonsense])

    errors = []
    for on in (False, True):
        with testing.capture(), hooked(on=on), module.Client(transport=module.MockTransport(answer)) as client:
            with pytest.raises(Exception) as raised:
                client.get("http://model/")
            errors.append((raised.type, str(raised.value)))
    assert errors[0] == errors[1]


@BOTH
def test_who_leaves_the_block_has_stopped_then(module, upstream):
    """What is closed is told at once, though the reader keeps all it has."""
    url = upstream.answer(*TOKENS, 30)
    with testing.capture() as captured, hooked(), module.Client() as client:
        with client.stream("GET", url) as response:
            messages = response.iter_raw()
            next(messages)
        assert [(s.reason.value, s.origin.value) for s in captured] == [("consumer_stopped", "client")]
        assert response.is_closed
        messages.close()
    assert len(captured) == 1


@BOTH
def test_what_nobody_closed_is_told_when_it_is_collected(module, upstream):
    """A response that is dropped unread is a reader that stopped; the finaliser is the last resort."""
    url = upstream.answer(*TOKENS, 30)
    with testing.capture() as captured, hooked():
        client = module.Client()
        response = client.send(client.build_request("GET", url), stream=True)
        messages = response.iter_raw()
        next(messages)
        assert captured == []
        del response, messages
        gc.collect()
        assert [(s.reason.value, s.origin.value) for s in captured] == [("consumer_stopped", "client")]
        client.close()


@contextlib.asynccontextmanager
async def _reading(module, flavour):
    """A client whose transport reads its answers itself."""

    class Reads(module.HTTPTransport):
        def handle_request(self, request):
            response = super().handle_request(request)
            response.read()
            return response

    class ReadsLater(module.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            response = await super().handle_async_request(request)
            await response.aread()
            return response

    if flavour == "sync":
        with module.Client(transport=Reads(), timeout=2) as client:
            yield client
    else:
        async with module.AsyncClient(transport=ReadsLater(), timeout=2) as client:
            yield client


@BOTH
@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_a_transport_that_reads_its_answers_itself(module, flavour, upstream):
    """What is read already is not read once more, from a connection that others use by now; it is complete."""

    async def get(url):
        async with _reading(module, flavour) as client:
            response = client.get(url)
            return (response if flavour == "sync" else await response).content

    plain = upstream.answer(b"{}", path="/plain", media_type="application/json", length=2)
    with testing.capture() as captured, hooked():
        for url in (plain, upstream.answer(*WHOLE), upstream.answer(*TOKENS, path="/cut")):
            assert asyncio.run(get(url))
    assert [(s.reason.value, s.size) for s in captured] == [
        ("completed", len(b"".join(WHOLE))),
        ("missing_terminal", len(b"".join(TOKENS))),
    ]


@BOTH
@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_who_drops_the_iterator_has_let_the_connection_go(module, flavour, upstream):
    """A response that is kept, not closed and read no further holds no connection, as without the plugin."""
    url = upstream.answer(*TOKENS, 0.1, *TOKENS * 9)
    options = {"limits": module.Limits(max_connections=1), "timeout": 2}

    async def twice():
        async with module.AsyncClient(**options) as client:
            response = await client.send(client.build_request("GET", url), stream=True)
            async for _ in response.aiter_raw():
                break
            assert (await client.get(url)).status_code == 200
            await response.aclose()

    def in_turn():
        with module.Client(**options) as client:
            response = client.send(client.build_request("GET", url), stream=True)
            for _ in response.iter_raw():
                break
            assert client.get(url).status_code == 200
            response.close()

    with testing.capture() as captured, hooked():
        in_turn() if flavour == "sync" else asyncio.run(twice())
    assert [s.reason.value for s in captured] == ["consumer_stopped", "missing_terminal"]
