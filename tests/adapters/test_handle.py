"""The handle of the current stream: what an application says of it, and what it is told."""

import asyncio
import gc
import logging
import sys
import threading
import time

import pytest
from driver import ANSWER, Connection, answer, body, chat, http_scope, script, start
from gateway import Gateway, environ
from serving import until

from otel_streaming import WSGIStreamingMiddleware, carry, current_stream, on_recovered
from otel_streaming._callbacks import Callbacks, Recovered, recovered
from otel_streaming._config import read_settings
from otel_streaming._described import attributes_of
from otel_streaming._engine import watched
from otel_streaming.asgi import HOLD, StreamingMiddleware, _until, all_ended, flush


def until_idle(callbacks):
    until(lambda: not callbacks.running, "callbacks to be idle")


def run(app, connection=None, **scope):
    return asyncio.run((connection or Connection()).run(app, http_scope(**scope)))


def told(summary):
    return str(summary.result), str(summary.reason), str(summary.phase), str(summary.origin)


def complete():
    current_stream().complete()


def fail():
    current_stream().fail("out of words")


OPEN, END = [start(), body(chat(0))], body(b"", more=False)
OK = ("ok", "completed", "after_terminal", "server")
FAILED = ("silent", "declared_error", "mid_stream", "server")
SAYINGS = {
    "complete, no marker": ([*OPEN, complete, END], OK),
    "complete, then raises": ([*OPEN, complete, ValueError("x")], OK),
    "complete, then returns": ([*OPEN, complete], OK),
    "complete before the headers": ([complete, *OPEN, END], OK),
    "fails, a clean end": ([*OPEN, fail, END], FAILED),
    "fails, then raises": ([*OPEN, fail, ValueError("x")], FAILED),
    "fails before the headers": ([fail, *OPEN, END], FAILED),
    "fails after all": ([*OPEN, complete, fail, END], FAILED),
    "fails after the end": ([*answer(*ANSWER), fail], OK),
}


@pytest.mark.parametrize("saying", SAYINGS)
def test_the_application_knows_best(saying, hooks, captured):
    """What it says before the end outranks what bytes and end look like; its last word counts."""
    steps, expected = SAYINGS[saying]
    run(hooks(script(*steps)))
    assert [told(s) for s in captured] == [expected]
    assert [s.error for s in captured] == (["out of words"] if expected is FAILED else [None])


def test_the_client_leaves_first(both, captured):
    """What is said after the client has left changes nothing."""
    run(both(script(*OPEN, body(chat(1)), body(chat(2)), complete, END)), Connection(leave_after=1, door="flag"))
    assert [str(s.reason) for s in captured] == ["client_disconnect"]


def test_what_it_speaks_of_is_a_stream(hooks, captured):
    """A plain body that its application speaks of is a stream; an error in its place an attempt at one."""
    plain = [start(200, b"text/plain"), body(b"some"), END]
    run(hooks(script(*plain)))
    assert not captured
    run(hooks(script(*plain[:2], complete, END)))
    run(hooks(script(complete, *plain)))
    run(hooks(script(complete, ValueError("x"))))
    assert [told(s)[:2] for s in captured] == [("ok", "completed")] * 2 + [("loud", "http_5xx")]
    assert str(captured[2].attempt_basis) in {"configured", "learned"}


def test_attributes(both, captured):
    """Attributes and words reach span and log record, bounded, and never in place of ours."""

    def say():
        handle = current_stream()
        handle.set_attribute("app.tenant", "blue" * 100)
        handle.set_attribute("app.tier", 1)
        handle.set_attribute("app.tier", 2)
        handle.set_attribute("stream.reason", "completed")
        handle.set_attribute("app.list", [1])
        for n in range(40):
            handle.set_attribute(f"app.{n}", n)
        handle.fail("x" * 1000)

    run(both(script(*OPEN, say, END)))
    (summary,) = captured
    attributes = attributes_of(summary, read_settings({})[0], model=None)
    assert attributes["app.tenant"] == ("blue" * 100)[:256]
    assert attributes["app.tier"] == 2
    assert attributes["stream.reason"] == "declared_error"
    assert attributes["stream.error"] == "x" * 256
    assert len(summary.attributes) == 32
    assert "app.list" not in attributes


def test_outside_of_a_stream(captured, caplog):
    """Where no stream is, and after its end, all is in vain and nothing raises."""
    kept, called = [], []
    run(StreamingMiddleware(script(*OPEN, lambda: kept.append(current_stream()), END)))
    for handle in (current_stream(), *kept):
        handle.complete()
        handle.fail("x")
        handle.set_attribute("a", 1)
        handle.on_end(called.append)
        assert handle.client_gone is False
    assert [told(s)[1] for s in captured] == ["missing_terminal"]
    assert not called
    assert not caplog.records


class Rude:
    def __str__(self):
        raise RuntimeError


def test_what_cannot_be_understood(both, captured, caplog):
    """A wrong argument is logged, with what is right, and goes no further."""

    def say():
        current_stream().on_end(None)
        current_stream().set_attribute(5, 5)
        current_stream().fail(Rude())

    with caplog.at_level(logging.WARNING):
        run(both(script(*OPEN, say, *answer(*ANSWER)[1:])))
    assert [told(s)[1] for s in captured] == ["completed"]
    assert [r.message.partition(":")[0] for r in caplog.records] == ["current_stream()"] * 3


@pytest.mark.parametrize(
    "steps",
    [
        [*OPEN, END],
        [*OPEN, ValueError("x")],
        [*OPEN, asyncio.CancelledError()],
        [*OPEN],
        [ValueError("x")],
        [start(503, b"text/plain"), body(b"sorry", more=False)],
    ],
)
def test_on_end(steps, hooks, captured):
    """However the stream ends its callback is called, once, with the summary that everybody gets."""
    called = []
    run(hooks(script(lambda: current_stream().on_end(called.append), *steps)))
    assert called == list(captured)
    assert len(called) == 1


def test_callbacks_that_fail(both, captured, caplog):
    """A callback's exception is logged; other callbacks, the stream and the application know nothing of it."""
    called = []

    def fails(_):
        raise ValueError("the callback's")

    async def fails_later(_):
        raise ValueError("the callback's")

    async def later(summary):
        await asyncio.sleep(0)
        called.append(summary)

    def say():
        for callback in (fails, fails_later, later, called.append):
            current_stream().on_end(callback)

    async def main():
        connection = await Connection().run(both(script(*OPEN, say, END)), http_scope())
        await all_ended()
        return connection

    assert asyncio.run(main()).raised is None
    assert called == list(captured) * 2
    assert [r.message.partition("on_end")[1] for r in caplog.records] == ["on_end"] * 2
    assert not captured.engine.callbacks.running


def test_arguments_by_name(captured, caplog):
    """Arguments can be given by name, in a stream and outside of one."""
    called = []

    def say():
        handle = current_stream()
        handle.on_end(callback=called.append)
        handle.set_attribute(key="app.tier", value=1)
        handle.fail(message="out of words")

    say()
    run(StreamingMiddleware(script(*OPEN, say, END)))
    assert [(s.error, s.attributes) for s in called] == [("out of words", {"app.tier": 1})]
    assert not caplog.records


def test_callbacks_that_do_strange_things(both, captured, caplog):
    """One that asks to be called again is not, and one that lets a cancellation out reaches nobody."""
    called = []

    def again(_):
        called.append(1)
        current_stream().on_end(again)

    def cancelled(_):
        raise asyncio.CancelledError

    def say():
        for callback in (cancelled, again):
            current_stream().on_end(callback)

    assert run(both(script(*OPEN, say, END))).raised is None
    assert called == [1]
    assert len(caplog.records) == 1


async def cancelled(_):
    raise asyncio.CancelledError


def exits(_):
    sys.exit(1)


@pytest.mark.parametrize(("how", "callback"), [("call", cancelled), ("later", cancelled), ("later", exits)])
def test_callbacks_that_end_their_thread(how, callback, caplog):
    """One that exits, or lets a cancellation out, on the thread for callbacks is logged; the next one is called."""
    callbacks, called = Callbacks(), []
    getattr(callbacks, how)(callback, None)
    until_idle(callbacks)
    callbacks.later(called.append, None)
    until_idle(callbacks)
    assert called == [None]
    assert len(caplog.records) == 1


def test_a_log_that_raises(both, captured):
    """What a host's log handler raises reaches neither the application nor other callbacks."""
    called, raised = [], []

    class Raising(logging.Handler):
        def emit(self, record):
            raised.append(record)
            raise RuntimeError

    def say():
        on_recovered(None)
        current_stream().on_end(None)
        current_stream().fail(Rude())
        for callback in (fails, fails_later, called.append):
            current_stream().on_end(callback)

    def fails(_):
        raise ValueError

    async def fails_later(_):
        raise ValueError

    async def main():
        connection = await Connection().run(both(script(*OPEN, say, END)), http_scope())
        await all_ended()
        return connection

    logging.getLogger("otel_streaming").addHandler(handler := Raising())
    try:
        assert asyncio.run(main()).raised is None
        captured.engine.callbacks.later(fails, None)
        captured.engine.callbacks.later(called.append, None)
        until_idle(captured.engine.callbacks)
    finally:
        logging.getLogger("otel_streaming").removeHandler(handler)
    assert called == [*captured, None]
    assert len(raised) == 6


def test_a_hold_ends_by_the_clock():
    """A server that stops is held no longer where its event loop has much to do, and each wait takes long."""
    asked = []

    async def main():
        async def busy():
            while True:
                time.sleep(0.05)  # noqa: ASYNC251 - the loop has no time for others
                await asyncio.sleep(0)

        task = asyncio.ensure_future(busy())
        await _until(lambda: asked.append(1))
        task.cancel()

    asyncio.run(main())
    assert len(asked) <= HOLD / 0.05 + 2


def test_the_end_of_a_server_waits_for_callbacks(both, captured):
    """Where no lifespan waits for what a stream's end has started, the server's own end does, for a moment."""
    called = []

    async def later(_):
        await asyncio.sleep(0.05)
        called.append(1)

    async def main():
        await Connection().run(both(script(*OPEN, lambda: current_stream().on_end(later), END)), http_scope())
        await flush()

    asyncio.run(main())
    assert called == [1]


def test_no_more_callbacks_than_allowed(both, captured, caplog):
    """The number of callbacks is bounded, and the first ones count."""
    called = []

    def say():
        for n in range(40):
            current_stream().on_end(lambda _, n=n: called.append(n))

    run(both(script(*OPEN, say, END)))
    assert called == list(range(32))
    assert len(caplog.records) == 8


async def of_task(say):
    async def work():
        say()

    await asyncio.create_task(work())


async def of_group(say):
    async with asyncio.TaskGroup() as group:
        group.create_task(of_task(say))


async def of_anyio(say):
    import anyio

    async with anyio.create_task_group() as group:
        group.start_soon(of_task, say)


async def of_thread(say):
    await asyncio.to_thread(say)


async def of_anyio_thread(say):
    import anyio.to_thread

    await anyio.to_thread.run_sync(say)


async def of_executor(say):
    await asyncio.get_running_loop().run_in_executor(None, say)


async def of_own_thread(say):
    thread = threading.Thread(target=say)
    thread.start()
    await asyncio.to_thread(thread.join)


CARRIED = [of_task, of_group, of_anyio, of_thread, of_anyio_thread]
NOT_CARRIED = [of_executor, of_own_thread]


@pytest.mark.parametrize("by_hand", [False, True], ids=["", "carry"])
@pytest.mark.parametrize("way", CARRIED + NOT_CARRIED)
def test_where_it_is_known(way, by_hand, both, captured):
    """Tasks, groups and ``to_thread`` know the stream by themselves, executors and threads by ``carry``."""

    async def app(scope, receive, send):
        await send(OPEN[0])
        await way(carry(fail) if by_hand else fail)
        await send(END)

    run(both(app))
    expected = "declared_error" if by_hand or way in CARRIED else "completed"
    assert [told(s)[1] for s in captured] == [expected]


def test_a_request_within_a_request(both, captured):
    """An application that serves itself in process has its own stream back afterwards."""
    inner = both(script(*OPEN, fail, END))

    async def app(scope, receive, send):
        await send(OPEN[0])
        await Connection().run(inner, http_scope("/inner"))
        complete()
        await send(END)

    run(both(app))
    assert [told(s)[1] for s in captured] == ["declared_error", "completed"]


def test_client_gone(both, captured):
    """An application that never calls ``receive`` can ask whether anybody reads."""
    seen = []
    look = lambda: seen.append(current_stream().client_gone)  # noqa: E731 - a step
    run(both(script(*OPEN, look, body(chat(1)), body(chat(2)), look)), Connection(leave_after=1, door="flag"))
    assert seen == [False, True]


def test_what_dead_processes_left(captured, caplog):
    """Each callback is told of each stream once, whichever is first; a forked child tells nothing of the parent's."""
    run(StreamingMiddleware(script(*OPEN, END)))
    run(StreamingMiddleware(script(*OPEN, END)))
    one, other = captured
    early, late, forked = [], [], []
    finder = Recovered()

    async def slowly(summary):
        await asyncio.sleep(0.01)
        threads.add(threading.current_thread())
        late.append(summary)

    threads = set()
    finder.add(early.append)
    finder.tell([one])
    finder.add(slowly)
    finder.tell(iter([other] * 5))
    until_idle(finder)
    assert early == late == [one, *[other] * 5]
    assert len(threads) == 1
    assert threading.current_thread() not in threads
    finder.reset()
    finder.add(forked.append)
    until_idle(finder)
    assert not forked
    on_recovered(None)
    assert ["wants a function" in r.message for r in caplog.records] == [True]


def test_its_name(hooks, captured):
    """A stream's id is the same to its handler, its generator and its callbacks, and another one's is another."""
    ids = []
    note = lambda: ids.append(current_stream().id)  # noqa: E731 - a step
    assert current_stream().id is None
    for _ in range(2):
        run(hooks(script(note, *OPEN, note, END)))
    assert ids == [captured[0].stream_id] * 2 + [captured[1].stream_id] * 2
    assert len(set(ids)) == 2
    assert all(len(name) == 16 for name in ids)


def test_a_wsgi_application(captured):
    """A handler and its generator know the stream, on one thread after the other's; afterwards nobody does."""
    called = []

    async def later(summary):
        called.append(summary)

    def app(environ, start_response):
        current_stream().on_end(later)

        def produce():
            yield chat(0)
            current_stream().complete()

        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return produce()

    for _ in range(2):
        Gateway().run(WSGIStreamingMiddleware(app))
        assert watched.get(None) is None
    assert [told(s) for s in captured] == [OK] * 2
    until_idle(captured.engine.callbacks)  # on a thread: there is no event loop
    assert sorted(map(id, called)) == sorted(map(id, captured))


def test_threads_that_speak_first_at_once(captured):
    """Threads that ask for the id of one stream at once are told the same, whatever moment its headers come."""
    threads, rounds = 4, 200
    ids, barrier = [set() for _ in range(rounds)], threading.Barrier(threads + 1)

    def speaks():
        for found in ids:
            barrier.wait(60)
            found.add(carried[0]().id)
            barrier.wait(60)

    def app(environ, start_response):
        carried[:] = [carry(current_stream)]
        barrier.wait(60)
        start_response("200 OK", [("content-type", "text/event-stream")])
        barrier.wait(60)
        yield b"data: x\n\n"

    carried, others = [None], [threading.Thread(target=speaks) for _ in range(threads)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in others:
            thread.start()
        for _ in range(rounds):
            Gateway().run(WSGIStreamingMiddleware(app))
        for thread in others:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert [len(found) for found in ids] == [1] * rounds
    assert [{s.stream_id} for s in captured] == ids
    assert sum(captured.engine.registry.started().values()) == rounds


LOCKS = {
    "registry": lambda engine: engine.registry.lock,
    "callbacks": lambda engine: engine.callbacks._lock,
    "recovered": lambda _: recovered._lock,
    "the host's": lambda _: threading.Lock(),
}


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("kind", ["function", "coroutine function"])
def test_callbacks_of_what_the_collector_ends(kind, lock, captured):
    """An exchange that the garbage collector ends, within any lock: its callback is called by another thread."""
    called = []
    note = lambda _: called.append(threading.current_thread().name)  # noqa: E731 - one of two

    async def noting(summary):
        note(summary)

    def app(environ, start_response):
        current_stream().on_end(note if kind == "function" else noting)
        start_response("200 OK", [("content-type", "text/event-stream")])
        yield chat(0)
        yield chat(1)

    def abandons():
        body = iter(WSGIStreamingMiddleware(app)(environ(), Gateway().start_response))
        next(body)
        cycle = [body]
        cycle.append(cycle)
        del body
        with LOCKS[lock](captured.engine):
            del cycle
            gc.collect()

    thread = threading.Thread(target=abandons, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits for itself"
    until_idle(captured.engine.callbacks)
    assert called == ["otel-streaming-callbacks"]
