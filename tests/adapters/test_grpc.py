"""Response streams of gRPC, watched by hand: a real server, both clients, each status that ends a call early."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from otel_streaming import observe
from otel_streaming.testing import capture

ITEMS = [b"one", b"two"]
ABORTS = {"unavailable": grpc.StatusCode.UNAVAILABLE, "internal": grpc.StatusCode.INTERNAL}


class Server(grpc.GenericRpcHandler):
    """Sends two messages, then does as the method's name says."""

    def service(self, details):
        return grpc.unary_stream_rpc_method_handler(lambda _, context: self.answer(details.method[1:], context))

    def answer(self, how, context):
        yield from ITEMS
        if how in ABORTS:
            context.abort(ABORTS[how], "as told")
        while how == "wait" and context.is_active():
            time.sleep(0.02)

    def __enter__(self):
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=[self])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait(30)


def read(address, how, stop, timeout):
    with grpc.insecure_channel(address) as channel:
        call = observe(channel.unary_stream(f"/{how}")(b"", timeout=timeout), "feed")
        for count, _ in enumerate(call, 1):
            if count == stop:
                return call.cancel() and call.cancelled()
        return call.code()


async def read_later(address, how, stop, timeout):
    async with grpc.aio.insecure_channel(address) as channel:
        call = observe(channel.unary_stream(f"/{how}")(b"", timeout=timeout), "feed")
        count = 0
        async for _ in call:
            count += 1
            if count == stop:
                return call.cancel() and call.cancelled()
        return await call.code()


CLIENTS = {"sync": read, "asyncio": lambda *args: asyncio.run(read_later(*args))}
ENDS = {
    # how it ends, after how many messages its reader stops, its time-out: outcome, reason, origin
    "whole": ("end", None, 30, ("completed", "completed", "server")),
    "unavailable": ("unavailable", None, 30, ("truncated", "connection_lost", "upstream")),
    "internal": ("internal", None, 30, ("failed", "producer_error", "upstream")),
    "deadline": ("wait", None, 1, ("failed", "deadline_exceeded", "upstream")),
    "cancel": ("wait", 2, 30, ("cancelled", "consumer_stopped", "client")),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("end", ENDS)
def test_every_end_of_a_call(end, client):
    """The call's status says how its stream ended; what the call can do, it can do through the watch."""
    how, stop, timeout, expected = ENDS[end]
    with Server() as server, capture() as captured:
        if how in ABORTS or end == "deadline":
            with pytest.raises(grpc.RpcError) as raised:
                CLIENTS[client](server.address, how, stop, timeout)
            assert raised.value.code() is ABORTS.get(how, grpc.StatusCode.DEADLINE_EXCEEDED)
        else:
            assert CLIENTS[client](server.address, how, stop, timeout) in {True, grpc.StatusCode.OK}
    [summary] = captured
    assert tuple(map(str, (summary.outcome, summary.reason, summary.origin))) == expected
    assert (summary.chunks, summary.size, summary.shape.route) == (2, 6, "feed")
    assert captured.engine.registry.open_count == 0
