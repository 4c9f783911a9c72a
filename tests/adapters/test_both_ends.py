"""One stream watched at both ends, over real sockets: server and client agree on its bytes, its end and the blame."""

import asyncio
import contextlib
import threading

import httpx
import pytest
from hooking import instrumented
from hypercorn.asyncio import serve
from hypercorn.config import Config
from serving import serving, until
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from test_clients import DONE, STOP, TOKENS, WHOLE

from otel_streaming.asgi import StreamingMiddleware
from otel_streaming.instrumentor import ASGIStreamingInstrumentor, HTTPXStreamingInstrumentor
from otel_streaming.testing import capture


@pytest.fixture(scope="module", autouse=True)
def _hooked():
    with instrumented(ASGIStreamingInstrumentor, HTTPXStreamingInstrumentor):
        yield


async def whole():
    for message in WHOLE:
        yield message


async def unfinished():
    for message in TOKENS:
        yield message


async def broken():
    for message in TOKENS:
        yield message
    raise ValueError("of the application")


async def error():
    for message in [*TOKENS, b'data: {"error": {"message": "overloaded"}}\n\n']:
        yield message


async def silent():
    for message in TOKENS:
        yield message
    await asyncio.sleep(30)


async def lingering():
    for message in [*TOKENS, STOP, DONE]:
        yield message
    await asyncio.sleep(30)


def endpoint(produce):
    async def respond(request):
        await request.body()  # hypercorn 0.18 trips over the end of a request that comes after its answer (HTTP/2)
        return StreamingResponse(produce(), media_type="text/event-stream")

    return respond


async def refused(request):
    await request.body()
    return Response("no", 503)


# What is produced, when the reader leaves, what each end says: outcome, reason, origin.
CASES = {
    "whole": (endpoint(whole), {}, ("completed", "completed", "server"), ("completed", "completed", "server")),
    "no terminal": (
        endpoint(unfinished),
        {},
        ("truncated", "missing_terminal", "unknown"),
        ("truncated", "missing_terminal", "upstream"),
    ),
    "raised": (
        endpoint(broken),
        {},
        ("failed", "producer_error", "server"),
        ("truncated", "connection_lost", "upstream"),
    ),
    "error in band": (
        endpoint(error),
        {},
        ("failed", "in_band_error", "unknown"),
        ("failed", "in_band_error", "upstream"),
    ),
    "refused": (refused, {}, ("failed", "http_5xx", "server"), ("failed", "http_5xx", "upstream")),
    "the reader leaves": (
        endpoint(silent),
        {"until": len(b"".join(TOKENS))},
        ("cancelled", "client_disconnect", "unknown"),
        ("cancelled", "consumer_stopped", "client"),
    ),
    "the reader has no patience": (
        endpoint(silent),
        {"timeout": 0.5},
        ("cancelled", "client_disconnect", "unknown"),
        ("failed", "idle_timeout", "upstream"),
    ),
    "the reader leaves after the marker": (
        endpoint(lingering),
        {"until": len(b"".join(WHOLE))},
        ("completed", "completed", "server"),
        ("completed", "completed", "server"),
    ),
}


@contextlib.contextmanager
def over_http2(app):
    """A hypercorn in a thread."""
    stop, bound = asyncio.Event(), threading.Event()
    config = Config()
    config.bind, config.errorlog = ["127.0.0.1:0"], None
    loop = asyncio.new_event_loop()

    async def running(scope, receive, send):
        if scope["type"] == "lifespan":
            await send_lifespan(receive, send)
        else:
            await StreamingMiddleware(app)(scope, receive, send)

    async def send_lifespan(receive, send):
        while (message := await receive())["type"] != "lifespan.shutdown":
            bound.set()
            await send({"type": message["type"] + ".complete"})
        await send({"type": message["type"] + ".complete"})

    sockets = config.create_sockets()
    config.create_sockets = lambda: sockets
    with capture() as captured:
        thread = threading.Thread(
            target=loop.run_until_complete, args=(serve(running, config, shutdown_trigger=stop.wait),)
        )
        thread.start()
        try:
            until(bound.is_set, "hypercorn")
            yield sockets.insecure_sockets[0].getsockname()[1], captured
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(30)
            loop.close()


SERVERS = {"http/1.1": (serving, {}), "http/2": (over_http2, {"http1": False, "http2": True})}


async def read(port, versions, *, until=None, timeout=10):
    async with (
        httpx.AsyncClient(timeout=timeout, headers={"accept": "text/event-stream"}, **versions) as client,
        client.stream("POST", f"http://127.0.0.1:{port}/chat") as response,
    ):
        got = 0
        async for message in response.aiter_raw():
            got += len(message)
            if got == until:
                break


@pytest.mark.parametrize("version", SERVERS)
@pytest.mark.parametrize("case", CASES)
def test_both_ends_agree(version, case):
    """Each end says what it can know; on the bytes, and on whether the stream was good, they agree."""
    respond, how, by_server, by_client = CASES[case]
    run, versions = SERVERS[version]
    with run(Starlette(routes=[Route("/chat", respond, methods=["POST"])])) as (port, captured):
        with contextlib.suppress(httpx.HTTPError):
            asyncio.run(read(port, versions, **how))
        until(lambda: len(captured) == 2, "both ends")
    ends = {summary.shape.role.value: summary for summary in captured}
    server, client = ends["server"], ends["client"]
    assert (server.outcome, server.reason, server.origin) == by_server
    assert (client.outcome, client.reason, client.origin) == by_client
    assert server.size == client.size
    assert server.dialect is client.dialect
    assert server.phase is client.phase
