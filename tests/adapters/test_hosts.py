"""Hosts that do unusual things: nothing breaks, nothing leaks, the verdict stays right."""

import asyncio
import copy
import gc
import inspect
import logging
import pickle
import sys
import threading
import weakref
from functools import partial
from types import ModuleType

import pytest
from driver import ANSWER, DONE, Connection, answer, body, chat, http_scope, script, start
from hooking import patched
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, Router

from otel_streaming import StreamingMiddleware, current_stream
from otel_streaming._config import read_settings
from otel_streaming._engine import use, watched
from otel_streaming._instruments import Instruments
from otel_streaming._patches import Patches
from otel_streaming._recovery import Dead
from otel_streaming._watchdog import look
from otel_streaming.asgi import KEY, hooked_router
from otel_streaming.frameworks import HOOKS
from otel_streaming.testing import capture

SSE = (b"accept", b"text/event-stream")


@pytest.fixture
def hooked():
    with patched(HOOKS):
        yield


def run(app, path="/v1/chat", headers=(), **connection):
    async def main():
        return await Connection(**connection).run(StreamingMiddleware(app), http_scope(path, "GET", headers))

    return asyncio.run(main())


def verdicts(captured):
    return [(str(s.result), str(s.reason)) for s in captured]


def streams(*datas):
    async def endpoint(request):
        async def generate():
            for data in datas:
                yield data

        return StreamingResponse(generate(), media_type="text/event-stream")

    return endpoint


def test_a_bare_router_stays_asgi_3(hooked):
    """Servers tell ASGI 3 from ASGI 2 by the coroutine function that ``__call__`` is."""
    assert inspect.iscoroutinefunction(Router().__call__)


def test_send_is_taken_for_a_coroutine_function(captured):
    """Bridges from sync code ask whether ``send`` is one, and warn if not."""
    seen = []

    async def app(scope, receive, send):
        seen.append(ask(send))

    ask = inspect.iscoroutinefunction if sys.version_info >= (3, 12) else asyncio.iscoroutinefunction
    run(app)
    assert seen == [True]


def test_a_library_of_an_unknown_version_is_left_alone(caplog):
    """A name that a library no longer has costs all of the hook, with one warning, not the host's import."""

    def hook(module, patches):
        patches.wrap(module, "s", lambda original: None)
        patches.wrap(module, "no_such_name", lambda original: original)

    with patched({"this": hook}):
        import this

        assert this.s
        assert "this is not watched" in caplog.text


def test_a_hook_that_fails_takes_back_nothing_of_another_thread_s():
    """Two threads import two libraries, one of an unknown version: the other one is watched."""
    known, unknown = ModuleType("known"), ModuleType("unknown")
    known.name = "theirs"

    def hook(module, patches):
        patches.wrap(module, "name", lambda original: "ours")

    def fails(module, patches):
        other = threading.Thread(target=both._run, args=(hook, known))
        other.start()
        other.join()
        raise AttributeError

    both = Patches()
    both.apply({})
    both._run(fails, unknown)
    assert (known.name, both.unknown) == ("ours", {"unknown"})
    both.undo()
    assert known.name == "theirs"


def test_an_error_page_is_no_chunk(hooks, captured):
    """The page that comes with a 5xx has no first chunk, no size, and is counted once however long it lasts."""
    now = iter(range(1000))
    captured.engine.registry.clock = lambda: float(next(now))
    page = [start(503, b"text/html"), *[body(b"sorry")] * 5, body(b"", more=False)]

    async def main():
        await Connection().run(hooks(script(*page)), http_scope(headers=[SSE]))

    asyncio.run(main())
    (summary,) = captured
    assert (summary.chunks, summary.size, summary.first_chunk_at, summary.headers_at) == (0, 0, None, None)
    assert sum(captured.engine.registry.started().values()) == 1
    assert captured.engine.registry.open_count == 0


FALLBACKS = {
    "stream": (StreamingResponse(iter(ANSWER), media_type="text/event-stream"), [("ok", "completed")]),
    "page": (JSONResponse({"sorry": True}), []),
}


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_a_middleware_answers_for_a_router_that_failed(fallback, hooked, captured):
    """What is sent from outside the router, after the router was left, is counted there."""
    response, expected = FALLBACKS[fallback]

    def fail(request):
        raise ValueError("before the headers")

    router = Router([Route("/v1/chat", fail)])

    async def app(scope, receive, send):
        try:
            await router(scope, receive, send)
        except ValueError:
            await response(scope, receive, send)

    run(app)
    assert verdicts(captured) == expected


def test_a_router_entered_twice(hooked, captured):
    """A middleware that tries again after a failure before the headers: the second try is counted, once."""
    tries = []

    async def endpoint(request):
        tries.append(request)
        if len(tries) == 1:
            raise ValueError("the first time")
        return StreamingResponse(iter(ANSWER), media_type="text/event-stream")

    router = Router([Mount("/v{version}", routes=[Route("/chat", endpoint)])])

    async def app(scope, receive, send):
        try:
            await router(dict(scope), receive, send)
        except ValueError:
            await router(dict(scope), receive, send)

    run(app)
    assert verdicts(captured) == [("ok", "completed")]
    assert captured[0].shape.route == "/v{version}/chat"


def test_a_mounted_application_with_its_own_gzip(hooked, captured):
    """The innermost router counts: a mounted application's own compression hides nothing."""
    sub = Starlette(routes=[Route("/chat", streams(*ANSWER[:3]))])
    app = Starlette(routes=[Mount("/v1", GZipMiddleware(sub, minimum_size=1))])
    run(app, headers=[(b"accept-encoding", b"gzip")])
    assert verdicts(captured) == [("silent", "missing_terminal")]
    assert captured[0].shape.route == "/v1/chat"


def test_an_application_that_asks_itself(hooked, captured):
    """Requests that an endpoint sends to its own router with a copied scope are not the client's request."""
    inner_answers = []

    async def batch(request):
        async def collect(message):
            inner_answers.append(message)

        await router({**request.scope, "path": "/m/one", "raw_path": b"/m/one"}, request.receive, collect)
        return StreamingResponse(iter(ANSWER), media_type="text/event-stream")

    router = Router(
        [
            Route("/v1/chat", batch),
            Mount("/m", routes=[Route("/one", streams(chat(0)))]),
        ]
    )
    run(router)
    assert inner_answers
    assert [(s.shape.route, str(s.result), s.chunks) for s in captured] == [("/v1/chat", "ok", len(ANSWER))]


def test_headers_after_the_application_has_returned(captured):
    """What a forgotten task sends too late opens no stream."""

    async def app(scope, receive, send):
        async def late():
            await asyncio.sleep(0)
            await send(start())
            await send(body(chat(0)))

        tasks.append(asyncio.ensure_future(late()))

    tasks = []

    async def main():
        await Connection().run(StreamingMiddleware(app), http_scope())
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert captured == []
    assert captured.engine.registry.open_count == 0
    assert not captured.engine.registry.started()


def test_draining_ends_with_a_new_start(captured):
    """Lifespans come and go in tests and reloads: a new start is not draining."""
    stream = script(start(), body(chat(0)))
    inbox = []

    async def receive():
        return {"type": inbox.pop(0)}

    async def nothing(message):
        pass

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await stream(scope, receive, send)
        while inbox:
            await receive()

    async def lifespan(*kinds):
        inbox.extend(kinds)
        await served({"type": "lifespan"}, receive, nothing)

    served = StreamingMiddleware(app)
    for kinds in (("lifespan.startup", "lifespan.shutdown"), ("lifespan.startup",)):
        asyncio.run(lifespan(*kinds))
        asyncio.run(Connection().run(served, http_scope()))
    assert verdicts(captured) == [("silent", "server_shutdown"), ("silent", "incomplete_response")]


class RateLimitError(Exception):
    status_code = 429


def test_a_client_librarys_error_is_a_500(hooked, captured):
    """An exception with a ``status_code`` of its own library's is a 500 to the client."""

    def fail(request):
        raise RateLimitError

    run(Router([Route("/v1/chat", fail)]), headers=[SSE])
    assert verdicts(captured) == [("loud", "http_5xx")]


def test_a_handled_http_exception_is_no_attempt(hooked, captured):
    """404 and its like, raised and handled inside the application, are no attempts."""
    run(Starlette(routes=[Route("/other", streams(chat(0)))]), headers=[SSE])
    assert captured == []


def test_scopes_can_be_copied_and_pickled(captured):
    """Whatever an application does with its scope, our entry does not stand in the way."""
    seen = []

    async def app(scope, receive, send):
        seen.append(copy.deepcopy(scope)[KEY] is scope[KEY])
        seen.append(pickle.loads(pickle.dumps({KEY: scope[KEY]})) == {KEY: None})  # noqa: S301 - our own bytes
        await script(*answer(*ANSWER))(scope, receive, send)

    run(app)
    assert seen == [True, True]
    assert verdicts(captured) == [("ok", "completed")]


def test_a_method_of_its_own(captured):
    """Methods are a closed list: a client cannot make labels."""

    async def main():
        await Connection().run(StreamingMiddleware(script(*answer(*ANSWER))), http_scope(method="FOO1"))

    asyncio.run(main())
    assert captured[0].method == "_OTHER"


def thrown_away(first, instead):
    """An application whose middleware swallows what its router ``first`` answers, and sends ``instead``."""

    async def call(_, scope, receive, send):
        await first(scope, receive, send)

    router = partial(hooked_router(call, lambda scope: None), None)

    async def app(scope, receive, send):
        async def swallow(message):
            pass

        await router(scope, receive, swallow)
        await instead(scope, receive, send)

    return app


def test_an_answer_thrown_away_by_a_middleware(captured):
    """A stream that a middleware replaced by a refusal reached nobody: its end is unknown."""

    app = thrown_away(script(*answer(*ANSWER)), PlainTextResponse("no", 403))
    run(app)
    assert captured == []
    assert [str(ended.outcome) for ended in captured.engine.registry.ended()] == ["unknown"]
    assert captured.engine.registry.open_count == 0


def test_a_client_gone_before_the_headers_is_known_by_the_server(captured):
    """Headers that nobody was there for: the client gave up before them."""

    async def app(scope, receive, send):
        connection.disconnected = True
        await script(*answer(*ANSWER))(scope, receive, send)

    async def main():
        await connection.run(StreamingMiddleware(app), http_scope())

    connection = Connection(leave_after=-1, door="flag")
    asyncio.run(main())
    (summary,) = captured
    assert (str(summary.result), str(summary.phase)) == ("gave_up", "before_headers")


def test_abandoned_exchanges_closed_by_the_garbage_collector(captured):
    """A coroutine that is never finished is closed wherever the collector runs, even inside the registry's lock."""
    registry = captured.engine.registry

    async def hanging(scope, receive, send):
        await send(start())
        await Forever()

    class Forever:
        def __await__(self):
            yield

    connection = Connection()
    coroutine = StreamingMiddleware(hanging)(http_scope(), connection.receive, connection.send)
    coroutine.send(None)
    assert registry.open_count == 1
    cycle = [coroutine]
    cycle.append(cycle)
    with registry.lock:  # as while the counts are copied
        del coroutine, cycle
        gc.collect()
    assert registry.open_count == 0
    assert [(str(s.outcome), str(s.origin)) for s in captured] == [("unknown", "unknown")]


def test_nothing_is_left_to_the_cyclic_collector(captured):
    """A request leaves no reference cycle behind: the collector has nothing to do for us."""

    async def main():
        app = StreamingMiddleware(script(*answer(*ANSWER)))
        await Connection().run(app, http_scope())
        gc.collect()
        gc.disable()
        try:
            before = len(gc.get_objects())
            for _ in range(50):
                await Connection().run(app, http_scope())
            captured.clear()
            return len(gc.get_objects()) - before
        finally:
            gc.enable()

    assert asyncio.run(main()) < 50


def test_marker_after_keepalives(hooks, captured):
    """Keep-alives before, between and after the events change nothing."""
    steps = [b": ping\n\n", chat(0), b": ping\n\n", chat(1, "stop"), DONE, b": ping\n\n"]

    async def main():
        await Connection().run(hooks(script(*answer(*steps))))

    asyncio.run(main())
    assert verdicts(captured) == [("ok", "completed")]
    assert (captured[0].chunks, captured[0].keepalives) == (3, 3)


def test_a_reader_that_takes_nothing(hooks, captured):
    """A send that runs into the application's own time limit: the reader stopped reading."""

    async def app(scope, receive, send):
        await send(start())
        await send(body(chat(0)))
        await send(body(chat(1)))

    class Full(Connection):
        async def send(self, message):
            if len(self.sent) == 2:
                raise TimeoutError
            await super().send(message)

    async def main():
        await Full().run(hooks(app))

    asyncio.run(main())
    assert [(str(s.outcome), str(s.reason), str(s.origin)) for s in captured] == [
        ("failed", "client_timeout", "client")
    ]


def test_cancelled_because_of_an_error(captured):
    """A task group cancels the producer because of the error that it raises afterwards: the error counts."""

    async def call(_, scope, receive, send):
        await send(start())
        await send(body(chat(0)))
        raise asyncio.CancelledError

    router = partial(hooked_router(call, lambda scope: None), None)

    async def app(scope, receive, send):
        try:
            await router(scope, receive, send)
        except asyncio.CancelledError:
            raise ValueError("why") from None

    run(app)
    assert verdicts(captured) == [("silent", "producer_error")]


def test_our_faults_tell_nothing_of_the_application(monkeypatch, caplog):
    """The warning about a fault of ours names its place, never a text of the application's."""
    from otel_streaming import _exchange
    from otel_streaming._stream import Stream
    from otel_streaming.testing import capture

    monkeypatch.setattr(_exchange._Faults, "logged", False)
    monkeypatch.setattr(Stream, "failed", lambda *_: 1 / 0)
    with capture():
        run(script(start(), body(chat(0)), ValueError("prompt: my secret")))
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text


def test_a_timeout_around_the_router(hooked, captured):
    """A middleware that answers while the router is still at work: its answer counts, the late one does not."""
    tasks = []

    async def slow(request):
        await asyncio.sleep(0.05)
        return StreamingResponse(iter(ANSWER[:2]), media_type="text/event-stream")

    router = Router([Route("/v1/chat", slow)])

    async def app(scope, receive, send):
        async def swallow(message):
            pass

        tasks.append(asyncio.ensure_future(router(scope, receive, swallow)))
        await asyncio.sleep(0)
        await StreamingResponse(iter(ANSWER), media_type="text/event-stream")(scope, receive, send)
        await tasks[0]

    run(app)
    assert verdicts(captured) == [("ok", "completed")]


def test_a_page_for_a_reader_who_has_gone(captured):
    """An ordinary chunked page is no stream, gone reader or not."""

    async def app(scope, receive, send):
        await receive()
        await receive()
        await script(start(200, b"text/html"), body(b"<html>"), body(b"</html>", more=False))(scope, receive, send)

    async def main():
        connection = Connection()
        connection.gone.set()
        await connection.run(StreamingMiddleware(app), http_scope())

    asyncio.run(main())
    assert captured == []


def test_a_fixed_answer_replaced_by_an_error(captured):
    """What is still due of an answer that a middleware threw away is due to nobody."""

    head = start(200, b"text/plain", (b"content-length", b"10"))
    app = thrown_away(script(head), PlainTextResponse("no", 500))
    run(app)
    assert captured == []


def test_a_file_sent_by_its_name(hooks, captured):
    """What the server sends from a file has its end when it is handed over."""
    whole = {"type": "http.response.pathsend", "path": "/x"}

    async def main():
        await Connection().run(hooks(script(start(200, b"application/x-ndjson"), whole)))

    asyncio.run(main())
    assert [(str(s.outcome), str(s.terminal)) for s in captured] == [("completed", "not_checked")]


def test_the_route_without_a_hook(captured):
    """By hand, without auto-instrumentation, the route is what Starlette's router left in the scope."""
    run(Starlette(routes=[Route("/v1/{what}", streams(*ANSWER))]))
    assert [s.shape.route for s in captured] == ["/v1/{what}"]


def test_a_client_gone_in_the_last_silence(hooks, captured):
    """Gone between the last chunk and the final message, and only the server's object knows it."""

    async def app(scope, receive, send):
        await send(start())
        await send(body(chat(0)))
        connection.disconnected = True
        await send(body(b"", more=False))

    connection = Connection(leave_after=99, door="flag")
    connection.send = Connection.send.__get__(connection)

    async def main():
        await connection.run(hooks(app))

    asyncio.run(main())
    assert verdicts(captured) == [("cancelled", "client_disconnect")]


def test_what_goes_on_holds_nothing_of_the_request(captured):
    """A task or a pooled connection opened by a handler keeps its context, and by it not the server's request."""

    class Cycle(Connection):
        pass

    async def main():
        tasks, cycles = [], []

        async def app(scope, receive, send):
            tasks.append(asyncio.ensure_future(asyncio.Event().wait()))
            await script(*answer(*ANSWER))(scope, receive, send)

        async def one():
            cycle = Cycle()
            cycles.append(weakref.ref(cycle))
            await cycle.run(StreamingMiddleware(app), http_scope())

        await one()
        gc.collect()
        alive = [cycle() for cycle in cycles]
        tasks[0].cancel()
        return alive

    assert asyncio.run(main()) == [None]


def test_no_thread_to_be_had(monkeypatch):
    """At a limit of threads, or in an interpreter that exits, a flush is left out and the server stops as ever."""

    def start(_):
        raise RuntimeError("can't start new thread")

    with capture(read_settings({})[0]) as captured:
        run(script(*answer(*ANSWER)))
        instruments = Instruments(read_settings({})[0], captured.engine.registry)
        instruments.registered = True
        monkeypatch.setattr(captured.engine.telemetry, "_instruments", instruments)
        monkeypatch.setattr(threading.Thread, "start", start)
        assert captured.engine.close().is_set()


class RaisingProcessor(SpanProcessor):
    ended = 0

    def on_end(self, span):
        self.ended += 1
        raise ValueError("the host's")


def test_a_span_processor_that_raises(caplog, monkeypatch):
    """What a host's own raises costs the span, no callback, none of the other dead; nor is it a fault of ours."""
    provider, processor, called = TracerProvider(shutdown_on_exit=False), RaisingProcessor(), []
    provider.add_span_processor(processor)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with capture(read_settings({})[0]) as captured:
        for _ in range(3):
            run(script(lambda: current_stream().on_end(called.append), *answer(*ANSWER)))
    assert len(called) == 3
    assert called == list(captured)
    captured.engine.telemetry.died("ab", [Dead(summary, 0, 0, sampled=False) for summary in called])
    assert processor.ended == 6
    assert caplog.text.count("a stream's span or log record has failed, others may as well: ValueError in on_end") == 1
    assert "report this fault" not in caplog.text


def test_a_listener_that_raises(captured, caplog):
    """What is called at each end and raises costs a report, not the count, and the watch lets go."""
    watches = []

    def listener(_):
        raise ValueError("the host's")

    captured.engine.listener = listener
    run(script(lambda: watches.append(watched.get()), *answer(*ANSWER)))
    assert sum(captured.engine.registry.ended().values()) == 1
    assert captured.engine.registry.open_count == 0
    assert watches[0].over


def test_a_peer_that_raises(captured):
    """An object of a server's that fails to tell costs no other stream its look."""
    looks = []

    class Fails(Connection):
        @property
        def disconnected(self):
            if looks:
                raise RuntimeError("another version's")
            return False

        @disconnected.setter
        def disconnected(self, value):
            pass

    async def main():
        async def app(scope, receive, send):
            await send(start())
            await asyncio.sleep(0)
            watches.append(watched.get())
            await asyncio.Event().wait()

        watches, others = [], [Fails(), Connection()]
        tasks = [asyncio.ensure_future(c.run(StreamingMiddleware(app), http_scope())) for c in others]
        for _ in range(10):
            await asyncio.sleep(0)
        looks.append(others[1].__setattr__("disconnected", True))
        look(captured.engine.registry, captured.engine.telemetry)
        lost = [watch.stream.lost_at is not None for watch in watches]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return lost

    assert asyncio.run(main()) == [False, True]


UNREADABLE = {
    "a log that raises": {"SPANS": "nonsense"},
    "too many times": {"EXCLUDED_URLS": "a{99999999999}"},
    "too deep": {"EXCLUDED_URLS": "(" * 5000 + ")" * 5000},
}


class Raising(logging.Handler):
    def emit(self, record):
        raise RuntimeError


@pytest.mark.parametrize("how", UNREADABLE)
def test_settings_that_cannot_be_read_stop_no_startup(how, monkeypatch):
    """Whatever is wrong with the environment, and with the log that is told so, an application's lifespan begins."""
    for name, value in {"STATE_DIR": "off", **UNREADABLE[how]}.items():
        monkeypatch.setenv(f"OTEL_PYTHON_STREAMING_{name}", value)
    handler, before, received = Raising(), use(None), []

    async def app(scope, receive, send):
        received.append(await receive())

    async def startup():
        return {"type": "lifespan.startup"}

    logging.getLogger("otel_streaming").addHandler(handler)
    try:
        asyncio.run(StreamingMiddleware(app)({"type": "lifespan"}, startup, None))
    finally:
        logging.getLogger("otel_streaming").removeHandler(handler)
        use(before)
    assert received == [{"type": "lifespan.startup"}]
