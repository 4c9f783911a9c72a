"""Open streams and the ledger."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from otel_streaming._registry import MAX_SERIES, Ended, Registry
from otel_streaming._shape import Shape
from otel_streaming._stream import Stream
from otel_streaming._verdict import summarise
from otel_streaming.semconv import OTHER, Kind, Outcome, Protocol, Result, Role, State

SHAPE = Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/r")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def open_stream(registry, shape=SHAPE, now=0.0):
    stream = Stream(shape, "GET", now)
    stream.headers(now, 200)
    registry.begin(stream)
    return stream


def finish(registry, stream, now=1.0):
    stream.eof(now)
    summary = summarise(stream, now)
    return registry.end(stream, summary.result, summary.outcome)


def test_streams_are_counted_at_their_begin_and_end():
    """A stream is counted once when it begins and once when it ends."""
    registry = Registry()
    streams = [open_stream(registry) for _ in range(3)]
    assert registry.open_count == 3
    assert registry.started() == {SHAPE: 3}
    assert registry.ended() == {}
    assert finish(registry, streams[0])
    assert registry.open_count == 2
    assert registry.ended() == {Ended(SHAPE, Result.OK, Outcome.COMPLETED, stalled=False): 1}


def test_a_stream_ends_once():
    """A second end of the same stream counts nothing."""
    registry = Registry()
    stream = open_stream(registry)
    assert finish(registry, stream)
    assert not finish(registry, stream)
    assert sum(registry.ended().values()) == 1


def test_stalled_streams_have_their_own_series():
    """A stream that stalled is counted as stalled."""
    registry = Registry()
    stream = open_stream(registry)
    stream.chunk(30.0, b"data: x\n\n")
    stream.idle_since = 30.0
    finish(registry, stream, 31.0)
    assert registry.ended() == {Ended(SHAPE, Result.OK, Outcome.COMPLETED, stalled=True): 1}


def test_an_attempt_begins_and_ends_at_once():
    """What qualifies only by its end is counted in both, and was never open."""
    registry = Registry()
    stream = Stream(SHAPE, "POST", 0.0)
    stream.status = 503
    summary = summarise(stream, 1.0)
    registry.attempt(stream, summary.result, summary.outcome)
    assert registry.open_count == 0
    assert registry.started() == {SHAPE: 1}
    assert registry.ended() == {Ended(SHAPE, Result.LOUD, Outcome.FAILED, stalled=False): 1}


def test_a_stream_nobody_will_see_the_end_of():
    """A stream given up is counted as ended with outcome unknown, so that started and ended agree."""
    registry = Registry()
    stream = open_stream(registry)
    assert registry.end(stream, Result.UNKNOWN, Outcome.UNKNOWN)
    assert not registry.end(stream, Result.UNKNOWN, Outcome.UNKNOWN)
    assert registry.ended() == {Ended(SHAPE, Result.UNKNOWN, Outcome.UNKNOWN, stalled=False): 1}
    assert registry.open_count == 0


def test_routes_are_capped():
    """Beyond the limit new routes become ``_OTHER``; those known stay, and no route is no route."""
    registry = Registry(max_routes=2)
    assert [registry.cap_route(route) for route in ("/a", "/b", "/c", "/a", None)] == ["/a", "/b", OTHER, "/a", None]


def test_a_long_route_is_cut():
    """What is longer than any template is cut, before it becomes a label."""
    registry = Registry()
    assert registry.cap_route("/" + "a" * 300) == "/" + "a" * 255
    assert registry.cap_route("") == ""


def test_series_are_capped():
    """Before the SDK would fold series together, new routes become ``_OTHER``."""
    registry = Registry(max_routes=1900)
    assert registry.cap_route("/early") == "/early"
    for i in range(MAX_SERIES):
        finish(registry, open_stream(registry, Shape(Role.SERVER, Kind.BOUNDED, f"p{i}", None)))
    assert registry.cap_route("/late") == OTHER
    assert registry.cap_route("/early") == "/early"


def test_routes_that_streamed_are_learned():
    """A route that streamed is remembered with its protocol, up to the limit."""
    registry = Registry(max_routes=2)
    for route in ("/a", "/b", "/c", None):
        open_stream(registry, Shape(Role.SERVER, Kind.BOUNDED, Protocol.NDJSON, route))
    assert registry.learned[Role.SERVER] == {"/a": "ndjson", "/b": "ndjson"}


def test_live_states_of_open_streams():
    """Open streams are counted by state; a shape once seen keeps reporting zero."""
    clock = Clock()
    registry = Registry(clock)
    other = Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/other")
    waiting, flowing, gone = (open_stream(registry) for _ in range(3))
    stalled = open_stream(registry, other)
    flowing.chunk(0.5, b"data: x\n\n")
    flowing.idle_since = 8.0
    gone.left(1.0)
    clock.now = 11.0
    live = {key: count for key, count in registry.live().items() if count}
    assert live == {
        (SHAPE, State.STALLED): 1,
        (SHAPE, State.FLOWING): 1,
        (SHAPE, State.ABANDONED): 1,
        (other, State.STALLED): 1,
    }
    assert registry.silence() == {SHAPE: 11.0, other: 11.0}
    for stream in (waiting, flowing, gone, stalled):
        finish(registry, stream, 12.0)
    assert set(registry.live().values()) == {0}
    assert registry.silence() == {SHAPE: 0.0, other: 0.0}


def test_many_open_streams_are_all_scanned():
    """More open streams than one slice are all counted."""
    registry = Registry(Clock())
    for _ in range(1234):
        open_stream(registry)
    assert sum(registry.live().values()) == 1234


def test_reset_forgets_the_streams_of_the_parent_process():
    """After a fork the child has no streams, no counts and an id of its own; the parent's ends are not its."""
    registry = Registry()
    stream = open_stream(registry)
    finish(registry, open_stream(registry))
    registry.draining = True
    before = registry.process_id
    registry.reset()
    assert (registry.started(), registry.ended(), registry.open_count) == ({}, {}, 0)
    assert (registry.draining, registry.learned[Role.SERVER]) == (False, {})
    assert registry.process_id != before
    assert not finish(registry, stream)
    assert registry.ended() == {}


def test_a_fork_resets_the_engine_in_use():
    """A forked child starts its own ledger under its own process id, even if a lock was held at the fork."""
    code = """if True:
        import os, time
        from otel_streaming._config import Settings
        from otel_streaming._shape import Shape
        from otel_streaming._stream import Stream
        from otel_streaming._verdict import summarise
        from otel_streaming._engine import Engine, use
        from otel_streaming.semconv import Kind, Protocol, Role

        engine = Engine(Settings(spans="off", logs="off"))
        use(engine)
        registry = engine.registry
        stream = Stream(Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/r"), "GET", 0.0)
        registry.begin(stream)
        before = registry.process_id
        with registry.lock:  # as another thread might hold it
            child = os.fork()
            if child == 0:
                fresh = registry.started() == {} and registry.process_id != before
                mine = registry.end(stream, summarise(stream, 1.0).result, summarise(stream, 1.0).outcome)
                os._exit(0 if fresh and not mine and registry.ended() == {} else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert registry.process_id == before
        assert registry.end(stream, summarise(stream, 1.0).result, summarise(stream, 1.0).outcome)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_threads_lose_no_count():
    """Streams begun, ended and read in many threads at once are counted exactly."""
    registry = Registry()
    threads, rounds = 8, 300
    barrier = threading.Barrier(threads + 1)

    def work(number):
        barrier.wait()
        shape = Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, registry.cap_route(f"/{number % 3}"))
        for i in range(rounds):
            stream = open_stream(registry, shape)
            if i % 10:
                finish(registry, stream)
            else:
                registry.end(stream, Result.UNKNOWN, Outcome.UNKNOWN)

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, number) for number in range(threads)]
        barrier.wait()
        while not all(future.done() for future in futures):
            assert sum(registry.ended().values()) <= sum(registry.started().values())
            registry.live()
        for future in futures:
            future.result()
    assert sum(registry.started().values()) == sum(registry.ended().values()) == threads * rounds
    assert registry.open_count == 0
