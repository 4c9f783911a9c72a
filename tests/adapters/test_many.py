"""Many open streams: what each of them holds, and that a look at all of them lets others in."""

import asyncio
import gc
import itertools
import tracemalloc
from types import SimpleNamespace

import pytest
from driver import body, chat, http_scope, start

from otel_streaming import _registry
from otel_streaming._registry import Registry
from otel_streaming._shape import Shape
from otel_streaming._stream import Stream
from otel_streaming.semconv import Kind, Protocol, Role

STREAMS = 1000
KIB = 1024
BODIES = {
    "dialect": (chat, 4.0),
    "none": (lambda n: b"data: tick %d\n\n" % n, 3.5),
}
"""What the streams say, and the most that one may hold, KiB."""


class Client:
    """A server's side of one exchange; it keeps nothing of what is sent."""

    disconnected = False

    async def receive(self):
        raise AssertionError

    async def send(self, message):
        pass


async def opened(app):
    """Open the streams; returns their tasks, and what was allocated for them, bytes."""
    before = tracemalloc.get_traced_memory()[0]
    tasks = []
    for _ in range(STREAMS):
        client = Client()
        tasks.append(asyncio.ensure_future(app(http_scope(), client.receive, client.send)))
        await asyncio.sleep(0)
    gc.collect()
    return tasks, tracemalloc.get_traced_memory()[0] - before


@pytest.mark.parametrize("chunks", [5, 50])
@pytest.mark.parametrize("says", BODIES)
def test_what_an_open_stream_holds(says, chunks, both, captured):
    """A thousand open streams hold no more than they may, however much they have sent, and nothing once they ended."""
    data, most = BODIES[says]

    async def main():
        end = asyncio.Event()

        async def app(scope, receive, send):
            await send(start())
            for n in range(chunks):
                await send(body(data(n)))
            await end.wait()
            await send(body(b"", more=False))

        async def routed(scope, receive, send):  # as by the router that the inner hook stands at
            await app(scope, receive, send)

        async def held(app):
            end.clear()
            tasks, allocated = await opened(app)
            end.set()
            await asyncio.gather(*tasks)
            return allocated

        watched = both(app)
        await held(watched)  # what is made once is made
        captured.clear()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        allocated = await held(watched) - await held(routed)
        assert len(captured) == STREAMS
        captured.clear()
        gc.collect()
        return allocated, tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        allocated, left = asyncio.run(main())
    finally:
        tracemalloc.stop()
    assert allocated / STREAMS / KIB <= most
    assert left / STREAMS / KIB <= 0.1


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


COST = 1e-5
"""Seconds that somebody takes for one stream: ten times as long as a look."""


def test_a_look_at_all_lets_others_in(monkeypatch):
    """Whatever is done with each of many streams, no more than a millisecond of it is done at a time."""
    clock, paused = Clock(), []
    monkeypatch.setattr(_registry, "time", SimpleNamespace(sleep=lambda _: paused.append(clock.now)))
    registry = Registry(clock)
    streams = [Stream(Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/r"), "GET", 0.0) for _ in range(STREAMS)]
    for stream in streams:
        registry.begin(stream)
    seen = []
    for stream, _, _ in registry.scan():
        seen.append(stream)
        clock.now += COST
    assert sorted(map(id, seen)) == sorted(map(id, streams))
    times = [0.0, *paused, clock.now]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 0.001


def test_turns_share_the_streams():
    """Each stream has its turn, and one only, also where there are more turns than parts."""
    registry = Registry()
    for _ in range(STREAMS):
        registry.begin(Stream(Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/r"), "GET", 0.0))
    for turns in (1, 3, 200):
        seen = [id(stream) for turn in range(turns) for stream, _, _ in registry.scan(turn, turns)]
        assert len(seen) == len(set(seen)) == STREAMS
