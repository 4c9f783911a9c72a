"""WSGI (PEP 3333): how each end is told, wherever the hooks stand; the real servers are in tests/conformance."""

import asyncio
import contextvars
import copy
import errno
import gc
import io
import socket
import struct
import sys
import threading
import time
import uuid
import wsgiref.util
from functools import partial
from wsgiref.validate import validator

import pytest
from driver import ANSWER, DONE, Connection, body, chat, http_scope, script, start
from gateway import SSE, Gateway, GoneError, anew, answer, environ, produce
from hooking import patched
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_streaming import StreamingMiddleware, WSGIStreamingMiddleware
from otel_streaming._config import read_settings
from otel_streaming._peers import peer_behind
from otel_streaming.frameworks import HOOKS as FRAMEWORKS
from otel_streaming.servers import HOOKS as SERVERS
from otel_streaming.testing import capture
from otel_streaming.wsgi import KEY, hooked_application


def inner(app):
    return partial(hooked_application(lambda _, environ, start_response: app(environ, start_response)), None)


def between(app):
    """A middleware of the careless kind: a generator, which closes nothing itself."""

    def careless(environ, start_response):
        yield from app(environ, start_response)

    return careless


HOOKS = {
    "outer": WSGIStreamingMiddleware,
    "inner": inner,
    "both": lambda app: WSGIStreamingMiddleware(inner(app)),
    "twice": lambda app: WSGIStreamingMiddleware(WSGIStreamingMiddleware(inner(inner(app)))),
    "apart": lambda app: WSGIStreamingMiddleware(between(inner(app))),
    "below": lambda app: between(inner(app)),
}


@pytest.fixture(params=HOOKS)
def hooks(request):
    """Every way the hooks can stand: each alone, both, both doubled, a middleware between them."""
    return HOOKS[request.param]


def verdicts(captured):
    return [f"{s.result}/{s.reason}/{s.phase}" for s in captured]


LONG = [chat(n) for n in range(20)]
ENDS = {
    "complete": (answer(*ANSWER), {}, "ok/completed/after_terminal"),
    "empty chunks": (answer(b"", chat(0), b"", DONE, b""), {}, "ok/completed/after_terminal"),
    "no marker": (answer(chat(0), chat(1)), {}, "silent/missing_terminal/mid_stream"),
    "blank": (answer(), {}, "ok/completed/before_first_chunk"),
    "raises": (answer(chat(0), ValueError()), {}, "silent/producer_error/mid_stream"),
    "raises at once": (answer(ValueError()), {}, "loud/http_5xx/before_headers"),
    "times out": (answer(chat(0), TimeoutError()), {}, "silent/deadline_exceeded/mid_stream"),
    "loses its upstream": (answer(chat(0), ConnectionResetError()), {}, "silent/connection_lost/mid_stream"),
    "stopped": (answer(chat(0), SystemExit(1)), {}, "silent/server_cancelled/mid_stream"),
    "gone, raised": (answer(*LONG), {"leave_after": 3}, "cancelled/client_disconnect/mid_stream"),
    "gone, closed": (
        answer(*LONG),
        {"leave_after": 3, "door": "closes"},
        "cancelled/client_disconnect/mid_stream",
    ),
    "reader takes nothing": (
        answer(*LONG),
        {"leave_after": 3, "error": TimeoutError()},
        "silent/client_timeout/mid_stream",
    ),
    "not bytes": (answer(chat(0), "text"), {}, "silent/producer_error/mid_stream"),
    "server error": (answer(*ANSWER, status="503 Busy"), {}, "loud/http_5xx/before_headers"),
    "cut short": (
        answer(b"x" * 40, status="200 OK", headers=[("Content-Length", "100")]),
        {},
        "silent/incomplete_response/mid_stream",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_ends(end, hooks, captured):
    """Each end is told by its name, once, wherever the hooks stand, and nothing stays open."""
    app, client, verdict = ENDS[end]
    Gateway(**client).run(hooks(app))
    assert verdicts(captured) == [verdict]
    registry = captured.engine.registry
    assert (sum(registry.started().values()), sum(registry.ended().values()), registry.open_count) == (1, 1, 0)


def test_names_of_other_servers(captured):
    """Servers that raise an exception of their own for a lost client are known by its name."""
    ClientDisconnected = type("ClientDisconnected", (Exception,), {})  # noqa: N806 - waitress calls it so
    for error in (ClientDisconnected(), GoneError()):
        Gateway(leave_after=2, error=error).run(WSGIStreamingMiddleware(answer(*LONG)))
    assert [str(s.reason) for s in captured] == ["client_disconnect", "producer_error"]


def test_a_drained_server(captured):
    """What a server that drains stops is told as its shutdown."""
    app = WSGIStreamingMiddleware(answer(chat(0), SystemExit(0)))
    app._server.draining = True
    Gateway().run(app)
    assert verdicts(captured) == ["silent/server_shutdown/mid_stream"]


def test_the_write_callable(hooks, captured):
    """What is sent by ``write`` counts as well; an exception out of it says that the reader has gone."""

    def app(environ, start_response):
        write = start_response("200 OK", list(SSE))
        for chunk in ANSWER[:3]:
            write(chunk)
        return produce(ANSWER[3:])

    gateway = Gateway().run(hooks(app))
    Gateway(leave_after=2).run(hooks(app))
    assert gateway.sent == ANSWER
    assert verdicts(captured) == ["ok/completed/after_terminal", "cancelled/client_disconnect/mid_stream"]
    assert captured[0].chunks == len(ANSWER)


def test_a_fixed_body_by_write(captured):
    """A fixed body that is sent by ``write`` does not come short."""

    def app(environ, start_response):
        start_response("200 OK", [("content-length", "10")])(b"0123456789")
        return []

    assert Gateway().run(WSGIStreamingMiddleware(app)).sent == [b"0123456789"]
    assert captured == []


def test_an_application_that_is_a_generator(hooks, captured):
    """Headers may come as late as with the first chunk."""

    def app(environ, start_response):
        start_response("200 OK", list(SSE))
        yield from ANSWER

    Gateway().run(hooks(app))
    assert verdicts(captured) == ["ok/completed/after_terminal"]


def test_an_answer_taken_back(hooks, captured):
    """Before anything is sent, headers may be replaced: what the client is told counts."""

    def app(environ, start_response):
        start_response("200 OK", list(SSE))
        try:
            raise ValueError  # noqa: TRY301 - for its traceback
        except ValueError:
            start_response("500 Sorry", [("content-type", "text/plain")], sys.exc_info())
        return [b"sorry"]

    gateway = Gateway().run(hooks(app))
    assert gateway.sent == [b"sorry"]
    assert verdicts(captured) == ["loud/http_5xx/before_headers"]


def test_an_answer_that_cannot_be_taken_back(hooks, captured):
    """When something has been sent the server raises what was to be explained: the client was told 200."""

    def app(environ, start_response):
        write = start_response("200 OK", list(SSE))
        write(chat(0))
        try:
            raise ValueError  # noqa: TRY301 - for its traceback
        except ValueError:
            start_response("500 Sorry", [("content-type", "text/plain")], exc_info=sys.exc_info())
        return [b"sorry"]

    assert type(Gateway().run(hooks(app)).raised) is ValueError
    assert verdicts(captured) == ["silent/producer_error/mid_stream"]


def test_another_status_by_a_middleware(captured):
    """A status that a middleware makes of another one is what the client was told."""

    def translating(app):
        return lambda environ, start_response: app(environ, lambda _, *args: start_response("503 Later", *args))

    Gateway().run(WSGIStreamingMiddleware(translating(inner(answer(*ANSWER)))))
    assert verdicts(captured) == ["loud/http_5xx/before_headers"]


def test_headers_that_the_server_refuses(hooks, captured):
    """An application that fails for them answers 500."""
    assert type(Gateway().run(hooks(answer(*ANSWER, status="9 no"))).raised) is AssertionError
    Gateway().run(hooks(answer(*ANSWER, headers=[*SSE, ("a",)])))
    assert captured.engine.registry.open_count == 0


def test_an_error_page_by_a_middleware(captured):
    """A debugger that catches the producer's exception and goes on: the innermost hook has seen it."""

    def debugger(app):
        def run(environ, start_response):
            try:
                yield from app(environ, start_response)
            except ValueError:
                yield b"<pre>Traceback"

        return run

    gateway = Gateway().run(WSGIStreamingMiddleware(debugger(inner(answer(chat(0), ValueError())))))
    assert gateway.raised is None
    assert verdicts(captured) == ["silent/producer_error/mid_stream"]


def test_failing_before_the_headers(hooks, captured):
    """A request that would have streamed and raised instead is loud."""

    def app(environ, start_response):
        raise ValueError

    Gateway().run(hooks(app), environ(HTTP_ACCEPT="text/event-stream"))
    assert verdicts(captured) == ["loud/http_5xx/before_headers"]


def test_failing_before_a_page(hooks, captured):
    """The same where it had announced no more than a page without a length."""
    page = answer(ValueError(), headers=[("content-type", "text/plain")])
    Gateway().run(hooks(page), environ(HTTP_ACCEPT="text/event-stream"))
    assert verdicts(captured) == ["loud/http_5xx/before_headers"]


@pytest.mark.parametrize("exhausted", [True, False])
def test_never_closed(exhausted, captured):
    """A body that its server forgets is ended when it is collected: complete, or nobody knows why."""
    body = WSGIStreamingMiddleware(answer(*ANSWER))(environ(), Gateway().start_response)
    for _ in body:
        if not exhausted:
            break
    assert captured.engine.registry.open_count == 1
    del body
    gc.collect()
    assert [str(s.outcome) for s in captured] == ["completed" if exhausted else "unknown"]
    assert captured.engine.registry.open_count == 0


def test_granian(captured):
    """granian sends headers at once, and what it asked for last before it closes has not been sent."""
    app, granian = WSGIStreamingMiddleware(answer(*ANSWER)), {"SERVER_SOFTWARE": "Granian"}
    for leave_after in (0, 3, 4, None):
        Gateway(leave_after=leave_after, door="closes").run(app, environ(**granian))
    Gateway().run(WSGIStreamingMiddleware(answer(ValueError())), environ(**granian))
    assert verdicts(captured) == [
        "gave_up/client_disconnect/before_first_chunk",
        "cancelled/client_disconnect/mid_stream",
        "ok/completed/after_terminal",
        "ok/completed/after_terminal",
        "silent/producer_error/before_first_chunk",
    ]
    assert [s.chunks for s in captured] == [0, 3, 4, 5, 0]
    assert [s.abandoned_chunks for s in captured] == [1, 1, 1, 0, 0]


WHOLE = [
    [chat(0), DONE],
    (chat(0), DONE),
    type("Rows", (list,), {})([chat(0), DONE]),
]


@pytest.mark.parametrize("body", WHOLE, ids=lambda body: type(body).__name__)
def test_whole_bodies(body, hooks, captured):
    """A list goes on as the very list that servers treat in ways of their own, and is counted."""

    def app(environ, start_response):
        start_response("200 OK", list(SSE))
        return body

    seen = []
    watched = hooks(app)

    def look(environ, start_response):
        seen.append(watched(environ, start_response))
        return seen[0]

    Gateway().run(look)
    assert seen[0] is body or hooks in {HOOKS["apart"], HOOKS["below"]}
    assert verdicts(captured) == ["ok/completed/after_terminal"]


@pytest.mark.parametrize("wrapper", [wsgiref.util.FileWrapper, lambda file: file], ids=["class", "function"])
def test_files(wrapper, hooks, captured):
    """What ``wsgi.file_wrapper`` has made goes on as it is, and is complete with that."""

    def app(environ, start_response):
        start_response("200 OK", [("content-length", "5000")])
        return environ["wsgi.file_wrapper"](environ["wsgi.input"])

    env = environ(**{"wsgi.file_wrapper": wrapper})
    body = hooks(app)(env, Gateway().start_response)
    assert type(body) in {wsgiref.util.FileWrapper, io.BytesIO} or hooks in {HOOKS["apart"], HOOKS["below"]}
    assert captured == []


def test_a_pipe_is_no_file(captured):
    """What can be read as well as iterated, but is not for the server to send in its own way, is watched."""

    def app(environ, start_response):
        start_response("200 OK", list(SSE))
        return io.BytesIO(chat(0))

    Gateway().run(WSGIStreamingMiddleware(app))
    assert verdicts(captured) == ["silent/missing_terminal/mid_stream"]


class Sized:
    def __init__(self, *chunks):
        self.chunks = chunks

    def __len__(self):
        return len(self.chunks)

    def __iter__(self):
        return iter(self.chunks)


def test_what_else_a_body_has(captured):
    """A body's length and attributes are found through ours; one without a length has none."""

    def app(body):
        def answers(environ, start_response):
            start_response("200 OK", list(SSE))
            return body

        return WSGIStreamingMiddleware(answers)(environ(), Gateway().start_response)

    sized = app(Sized(*ANSWER))
    assert (len(sized), sized.chunks, list(sized)) == (len(ANSWER), tuple(ANSWER), ANSWER)
    assert not hasattr(app(produce(ANSWER)), "__len__")
    assert next(app(produce(ANSWER))) == ANSWER[0]
    with pytest.raises(TypeError, match="not an iterator"):
        next(app(Sized(*ANSWER)))


@pytest.mark.parametrize("status", ["404 Not Found", "204 No Content", "302 Found"])
def test_what_does_not_stream_is_handed_on(status, captured):
    """A body of which nothing is to be learnt goes on as the object it is."""
    body = produce([b""])

    def app(environ, start_response):
        start_response(status, list(SSE))
        return body

    env = environ()
    assert WSGIStreamingMiddleware(app)(env, Gateway().start_response) is body
    assert KEY not in env
    assert captured == []


def test_excluded(hooks):
    """An excluded URL is not watched, and its environ says so."""
    excluded, _ = read_settings({"OTEL_PYTHON_STREAMING_EXCLUDED_URLS": "health"})
    with capture(excluded) as captured:
        Gateway().run(hooks(answer(*ANSWER)), environ("/health"))
        assert captured == []


def test_what_is_read_of_a_request(hooks):
    """Path and headers are those that ASGI servers tell: the whole path in UTF-8, names with hyphens."""
    routes, _ = read_settings({"OTEL_PYTHON_STREAMING_ROUTES": "/api/gr\u00fc\u00dfe"})
    page = answer(b"x", headers=[("content-type", "text/plain")])
    path = "/gr\u00fc\u00dfe".encode().decode("latin-1")  # as PEP 3333 has it
    with capture(routes) as captured:
        Gateway().run(hooks(page), environ(path, SCRIPT_NAME="/api"))
        Gateway().run(hooks(answer(*ANSWER)), environ(HTTP_MCP_SESSION_ID="1"))
        assert [str(s.shape.kind) for s in captured] == ["bounded", "subscription"]


# -- the host is never changed -----------------------------------------------------------------------------------


class Body:
    """A body that records how it is treated."""

    def __init__(self, steps, calls):
        self.steps, self.calls = iter(steps), calls

    def __iter__(self):
        self.calls.append("iter")
        return self

    def __next__(self):
        self.calls.append("next")
        step = next(self.steps)
        if isinstance(step, BaseException):
            raise anew(step)
        return step

    def close(self):
        self.calls.append("closed")
        if ValueError in self.calls:
            raise ValueError("from close")


def starting(start_response, starts):
    """Call ``start_response`` in one way after another; returns what the last call did."""
    write = None
    for status, headers, error in starts:
        try:
            raise ValueError("theirs")  # noqa: TRY301 - for its traceback
        except ValueError:
            named = {"exc_info": sys.exc_info()} if error == "named" else {}
            positional = (sys.exc_info(),) if error == "positional" else ()
        write = start_response(status, headers, *positional, **named)
    return write


OURS = {
    "__call__",
    "run",
    "entered",
    "start_response",
    "_write",
    "__next__",
    "close",
    "_send",
    "within",
    "write",
    "<lambda>",
}


def frames(exception):
    """Name the functions of a traceback, but for those that both sides have of the same name."""
    traceback = None if exception is None else exception.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_name not in OURS:
            yield traceback.tb_frame.f_code.co_name
        traceback = traceback.tb_next


def play(wrap, starts, early, steps, how, *, method, gateway):
    """All that a server and an application can see of each other, by identity and in order."""
    calls = []

    def app(environ, start_response):
        write = starting(start_response, starts)
        for step in early:
            write(step)
        if how == "raises":
            raise KeyError("theirs")
        return {"body": Body(steps, calls), "list": steps, "sized": Sized(*steps), "generator": produce(steps)}[how]

    with capture() as captured:
        done = Gateway(**gateway).run(wrap(app), environ(method=method))
        assert captured.engine.registry.open_count == 0
        assert len(captured) <= 1
    # That our body can be closed, whatever it stands for, is no news to a server.
    said = [call for call in done.calls if call != "close"]
    return said, calls, [id(chunk) for chunk in done.sent], type(done.raised), str(done.raised), [*frames(done.raised)]


CHUNKS = st.one_of(
    st.sampled_from([*ANSWER, b"", b": ping\n\n", b"data: x\n\n", b"\r", "text", None, 7]),
    st.sampled_from([ValueError("mine"), OSError("mine"), SystemExit(1), GeneratorExit(), StopIteration()]),
)
STARTS = st.tuples(
    st.sampled_from(["200 OK", "404 No", "500 Oh", "204", "", "OK"]),
    st.sampled_from(
        [[*SSE], [("Content-Length", "9")], [("content-length", "x")], [], [("a", "\xff")], None, [("a",)]]
    ),
    st.sampled_from(["", "", "named", "positional"]),
)


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from([name for name in HOOKS if name not in {"apart", "below"}]),
    starts=st.lists(STARTS, min_size=1, max_size=2),
    early=st.lists(st.sampled_from([*ANSWER, b"", "text"]), max_size=2),
    steps=st.lists(CHUNKS, max_size=6),
    how=st.sampled_from(["body", "list", "sized", "generator", "raises"]),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    gateway=st.fixed_dictionaries(
        {"leave_after": st.none() | st.integers(0, 5), "door": st.sampled_from(["raises", "closes"])},
        optional={"error": st.sampled_from([OSError("pipe"), TimeoutError("slow"), GoneError("away")])},
    ),
)
def test_any_application_on_any_server(name, starts, early, steps, how, method, gateway):  # noqa: PLR0917 - hypothesis names them
    """Whatever both sides do, each sees the same calls, objects and exceptions in the same order as without us."""
    bare = play(lambda app: app, starts, early, steps, how, method=method, gateway=gateway)
    assert play(HOOKS[name], starts, early, steps, how, method=method, gateway=gateway) == bare


def test_a_fault_of_ours_costs_the_watch_only(monkeypatch, caplog, hooks, captured):
    """When our own code fails, the exchange goes on, one warning is logged, and nothing is counted as open."""
    from otel_streaming import _exchange
    from otel_streaming._stream import Stream

    monkeypatch.setattr(_exchange._Faults, "logged", False)
    monkeypatch.setattr(Stream, "chunk", lambda *_: 1 / 0)
    assert Gateway().run(hooks(answer(*ANSWER))).sent == ANSWER
    assert captured.engine.registry.open_count == 0
    assert [r.levelname for r in caplog.records if "unwatched" in r.message] == ["WARNING"]


def test_a_close_that_raises(captured):
    """What ``close`` raises reaches the server; the client has got everything before."""
    calls = [ValueError]

    def app(environ, start_response):
        start_response("200 OK", list(SSE))
        return Body(ANSWER, calls)

    assert str(Gateway().run(WSGIStreamingMiddleware(app)).raised) == "from close"
    assert verdicts(captured) == ["ok/completed/after_terminal"]


def test_the_next_request_on_the_thread_is_another_one(captured):
    """No context is left behind."""
    from otel_streaming._engine import watched

    before = watched.get(None)
    Gateway().run(WSGIStreamingMiddleware(answer(*ANSWER)))
    assert watched.get(None) is before
    assert len(captured) == 1


def test_threads(captured):
    """Many threads at once: each stream is counted once."""
    app = WSGIStreamingMiddleware(inner(answer(*LONG, DONE)))
    threads = [threading.Thread(target=lambda: [Gateway().run(app) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(captured) == 400
    assert sum(captured.engine.registry.ended().values()) == 400


# -- frameworks and their server spans ---------------------------------------------------------------------------


def flask():
    from flask import Blueprint, Flask, Response

    app, blueprint = Flask(__name__), Blueprint("v1", __name__, url_prefix="/v1")

    @blueprint.route("/<ending>")
    def stream(ending):
        return Response(produce(STEPS[ending]), content_type="text/event-stream")

    app.register_blueprint(blueprint)
    return app


def django():
    import django
    from django.conf import settings
    from django.http import StreamingHttpResponse
    from django.urls import include, path

    def stream(request, ending):
        return StreamingHttpResponse(produce(STEPS[ending]), content_type="text/event-stream")

    urls = type("urls", (), {"urlpatterns": [path("v1/", include([path("<str:ending>", stream)]))]})
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)  # noqa: S106
        django.setup()
    from django.core.handlers.wsgi import WSGIHandler

    return with_urls(WSGIHandler(), urls)


def with_urls(handler, urls):
    from django.test import override_settings

    def app(environ, start_response):
        with override_settings(ROOT_URLCONF=urls):
            return handler(environ, start_response)

    return app


STEPS = {
    "healthy": ANSWER,
    "raises": [chat(0), ValueError("by the path's wish")],
    "short": [chat(0)],
}
TEMPLATES = {flask: "/v1/<ending>", django: "/v1/<str:ending>"}


@pytest.fixture(params=TEMPLATES, ids=lambda framework: framework.__name__)
def framework(request):
    """Each framework, hooked while it is imported or after."""
    with patched(FRAMEWORKS):
        yield request.param


@pytest.mark.parametrize("outer", [WSGIStreamingMiddleware, lambda app: app], ids=["both", "inner"])
@pytest.mark.parametrize(
    ("ending", "reason"), [("healthy", "completed"), ("raises", "producer_error"), ("short", "missing_terminal")]
)
def test_endings_and_routes(framework, outer, ending, reason, captured):
    """Each ending is told by its own name, on the template of its route."""
    gateway = Gateway().run(outer(framework()), environ(f"/v1/{ending}"))
    assert gateway.sent[0] == chat(0)
    assert [(str(s.reason), s.shape.route) for s in captured] == [(reason, TEMPLATES[framework])]
    assert captured.engine.registry.open_count == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pages_are_no_streams(captured):
    """Ordinary answers, in one message or several, compressed or not, are not counted."""
    from django.http import HttpResponse
    from django.middleware.gzip import GZipMiddleware
    from flask import Flask, jsonify

    app = Flask(__name__)
    app.add_url_rule("/json", view_func=lambda: jsonify(answers=list(range(1000))), endpoint="json")
    app.add_url_rule("/page", view_func=lambda: (line for line in ["<p>\n"] * 1000), endpoint="page")
    with patched(FRAMEWORKS):
        for path in ("/json", "/page", "/missing"):
            assert Gateway().run(WSGIStreamingMiddleware(app), environ(path)).sent

    def page(environ, start_response):
        request = type("Request", (), {"META": {"HTTP_ACCEPT_ENCODING": "gzip"}})()
        response = GZipMiddleware(lambda _: HttpResponse(b"page " * 40_000))(request)
        start_response("200 OK", list(response.items()))
        return response

    django()  # its settings
    assert Gateway().run(WSGIStreamingMiddleware(page)).sent
    assert captured == []
    assert not captured.engine.registry.started()


@pytest.mark.parametrize("make", TEMPLATES, ids=lambda framework: framework.__name__)
def test_valid_on_both_sides(make, captured):
    """The reference validator finds no fault with us, on the server's side nor on the application's."""
    app = validator(WSGIStreamingMiddleware(validator(inner(make()))))
    for ending, leave_after in (("healthy", None), ("raises", None), ("healthy", 2)):
        gateway = Gateway(leave_after=leave_after).run(app, environ(f"/v1/{ending}"))
        assert not isinstance(gateway.raised, AssertionError)
        gc.collect()  # the validator complains of an unclosed body when it is collected
    assert len(captured) == 3


def starlettes(app):
    from starlette.middleware.wsgi import WSGIMiddleware

    return WSGIMiddleware(app)


def uvicorns(app):
    from uvicorn.middleware.wsgi import _WSGIMiddleware

    return _WSGIMiddleware(app)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::starlette.exceptions.StarletteDeprecationWarning")
@pytest.mark.parametrize("bridge", [starlettes, uvicorns])
def test_below_an_asgi_server(bridge, captured):
    """A WSGI application that an ASGI server serves through a bridge is counted once, by the hook outside."""
    with patched({**FRAMEWORKS, **SERVERS}):
        asyncio.run(Connection().run(StreamingMiddleware(bridge(flask())), http_scope("/v1/healthy", "GET")))
    assert verdicts(captured) == ["ok/completed/after_terminal"]


def test_an_application_that_asks_another_one(captured):
    """Requests within a request are not the client's; those after it are."""
    seen = []

    def app(environ, start_response):
        seen.append(Gateway().run(WSGIStreamingMiddleware(answer(chat(0)))).sent)
        return answer(*ANSWER)(environ, start_response)

    for _ in range(2):
        Gateway().run(WSGIStreamingMiddleware(app))
    assert seen == [[chat(0)]] * 2
    assert verdicts(captured) == ["ok/completed/after_terminal"] * 2


def of_contrib(app):
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(app)


def of_a_framework(app):
    """As contrib's Django and Flask do: the server span starts inside and ends before the first chunk."""

    def run(environ, start_response):
        with trace.get_tracer("host").start_as_current_span("GET", kind=SpanKind.SERVER):
            body = app(environ, lambda *_: None)
        start_response("200 OK", list(SSE))
        return body

    return run


@pytest.mark.parametrize("below", [lambda app: app, inner], ids=["outer", "both"])
@pytest.mark.parametrize("instrumented", [of_contrib, of_a_framework])
def test_the_parent(instrumented, below, spans):
    """The stream's span is a child of the server span, wherever that is current."""
    Gateway().run(WSGIStreamingMiddleware(instrumented(below(answer(*ANSWER)))))
    by_kind = {span.kind: span for span in spans()}
    assert by_kind[SpanKind.INTERNAL].parent.span_id == by_kind[SpanKind.SERVER].context.span_id


@pytest.mark.parametrize(("steps", "marked"), [(ANSWER, None), ([chat(0)], "truncated"), ([ValueError()], "failed")])
def test_the_parent_is_marked(steps, marked, spans):
    """A silent failure is shown on the server span while it records: contrib's does, around the whole body."""
    Gateway().run(WSGIStreamingMiddleware(of_contrib(inner(answer(*steps)))))
    [server] = [span for span in spans() if span.kind is SpanKind.SERVER]
    assert server.attributes.get("stream.outcome") == marked


# -- what the kernel knows -----------------------------------------------------------------------------------------


@pytest.fixture
def connection():
    """A TCP connection: the server's end and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with server, client:
        yield server, client


KEYS = {
    "gunicorn.socket": lambda server: server,
    "werkzeug.socket": lambda server: server,
    "waitress.client_disconnected": lambda server: Channel(server).check,
}


class Channel:
    def __init__(self, server):
        self.socket = server

    def check(self):
        raise AssertionError("it knows less than the kernel")


def close(client):
    client.close()


def half_close(client):
    client.shutdown(socket.SHUT_WR)


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a connection's state so")
@pytest.mark.parametrize("leave", [close, half_close, reset])
@pytest.mark.parametrize("key", KEYS)
def test_a_lost_connection_is_seen(key, leave, connection):
    """Of the server's own socket the kernel tells that the client has gone, before anybody writes."""
    server, client = connection
    peer = peer_behind({key: KEYS[key](server)})
    assert peer.disconnected is False
    leave(client)
    server.settimeout(10)
    if leave is not reset:
        assert server.recv(1) == b""  # it has arrived
    else:
        with pytest.raises(ConnectionResetError):
            server.recv(1)
    assert peer.disconnected is True
    server.close()
    assert peer.disconnected is True


def test_what_is_no_tcp_connection_tells_nothing():
    """Of Unix sockets, and of what only bears the name, nothing is known."""
    one, other = socket.socketpair()
    with one, other:
        for value in (one, None, "socket", Channel(None).check):
            peer = peer_behind({"gunicorn.socket": value})
            other.close()
            assert peer.disconnected is False
    assert peer_behind({"waitress.client_disconnected": Channel(None).check}).disconnected is False


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a connection's state so")
@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        (0, "gave_up/client_disconnect/before_headers"),
        (1, "cancelled/client_disconnect/mid_stream"),
        (2, "ok/completed/after_terminal"),
    ],
)
def test_a_reader_who_leaves_in_a_silence(left, verdict, hooks, connection, captured):
    """The socket is looked at before the headers and after a silence: no write need fail to tell."""
    server, client = connection

    def silence(at):
        if at == left:
            client.close()
            server.settimeout(10)
            assert server.recv(1) == b""
            threading.Event().wait(0.02)

    def app(environ, start_response):
        silence(0)
        start_response("200 OK", list(SSE))
        return body()

    def body():
        yield chat(0)
        silence(1)
        yield from (chat(1, "stop"), DONE)
        silence(2)

    Gateway().run(hooks(app), environ(**{"gunicorn.socket": server}))
    assert verdicts(captured) == [verdict]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a connection's state so")
def test_an_application_that_ends_for_a_reader_who_left(hooks, connection, captured):
    """A body that ends by itself because nobody reads it any more is no truncation."""
    server, client = connection

    def app(environ, start_response):
        start_response("200 OK", SSE)
        yield chat(0)
        reset(client)
        time.sleep(0.05)

    Gateway().run(hooks(app), environ(**{"gunicorn.socket": server}))
    assert verdicts(captured) == ["cancelled/client_disconnect/mid_stream"]


def test_headers_that_can_be_read_once(hooks, captured):
    """Servers take any iterable of headers, and get it whole."""

    def app(environ, start_response):
        start_response("200 OK", iter(SSE))
        return iter(ANSWER)

    done = Gateway().run(hooks(app))
    assert list(done.calls[0][2]) == SSE
    assert verdicts(captured) == ["ok/completed/after_terminal"]


@pytest.mark.parametrize("value", [443, uuid.uuid4(), "\u0416", None])
def test_what_middleware_puts_into_the_environ(value, hooks, captured):
    """Nothing that stands there under a header's name costs a stream its watch."""
    Gateway().run(hooks(answer(*ANSWER)), environ(HTTP_X_REQUEST_ID=value))
    assert verdicts(captured) == ["ok/completed/after_terminal"]


def joining(app):
    """A middleware that makes one chunk of a body."""

    def joined(environ, start_response):
        return [b"".join(app(environ, start_response))]

    return joined


def trying_again(app):
    def tries(environ, start_response):
        try:
            return list(app(environ, start_response))
        except ValueError:
            return list(app(environ, start_response))

    return tries


def second_time(*steps):
    attempts = iter([answer(ValueError("the first time")), answer(*steps)])

    def app(environ, start_response):
        return next(attempts)(environ, start_response)

    return app


@pytest.mark.parametrize(
    ("app", "more", "expected"),
    [
        (inner(answer(b"", ValueError())), {}, "silent/producer_error/before_first_chunk"),
        (
            inner(answer(b"", ValueError())),
            {"waitress.client_disconnected": bool},
            "loud/http_5xx/before_headers",
        ),
        (joining(inner(answer(chat(0), ValueError()))), {}, "loud/http_5xx/before_headers"),
    ],
    ids=["an empty chunk first", "the same on waitress", "a middleware that joins"],
)
def test_whether_the_headers_have_gone(app, more, expected, captured):
    """A failure is loud as long as the server has been given nothing: of what is below it, only the outermost knows."""
    Gateway().run(WSGIStreamingMiddleware(app), environ(**more))
    assert verdicts(captured) == [expected]


def test_a_second_attempt(captured):
    """A failure that a middleware has made good before anybody saw it is none."""
    Gateway().run(WSGIStreamingMiddleware(trying_again(inner(second_time(*ANSWER)))))
    assert not captured
    assert [e.result.value for e in captured.engine.registry.ended()] == ["unknown"]


def test_an_error_of_a_middleware_s_own(captured):
    """A middleware's full disk is no reader who has left."""

    def spools(app):
        def spooled(environ, start_response):
            body = app(environ, start_response)
            try:
                for data in body:
                    yield data
                    raise OSError(errno.ENOSPC, "No space left on device")
            finally:
                body.close()

        return spooled

    Gateway().run(WSGIStreamingMiddleware(spools(inner(answer(*ANSWER)))))
    assert verdicts(captured) == ["silent/producer_error/mid_stream"]


def test_an_exception_from_before_the_request(hooks, captured):
    """A server started while an exception is handled, as a fallback may be, does not end its streams by that."""
    try:
        __import__("no_such_module")
    except ImportError:
        Gateway(leave_after=1, door="closes").run(hooks(answer(*LONG)))
    assert verdicts(captured) == ["cancelled/client_disconnect/mid_stream"]


def test_a_body_can_be_copied():
    """As far as a body can be copied at all: without recursing for ever."""
    with capture():
        body = WSGIStreamingMiddleware(answer(*ANSWER))(environ(), Gateway().start_response)
        copied = copy.copy(body)
        assert copied is not body
        blank = type(body).__new__(type(body))
        assert not hasattr(blank, "_body")
        body.close()


def test_below_a_wsgi_server(captured):
    """An ASGI application that a bridge runs on a thread of its own, below a WSGI server, is counted once."""
    done = []

    async def collect(message):
        done.append(message)

    def bridge(environ, start_response):
        start_response("200 OK", SSE)
        app = StreamingMiddleware(script(start(), *(body(d) for d in ANSWER), body(b"", more=False)))
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(asyncio.run, app(http_scope(), None, collect))
        )
        thread.start()
        thread.join()
        yield from (message["body"] for message in done[1:])

    Gateway().run(WSGIStreamingMiddleware(lambda e, s: list(bridge(e, s))))
    assert verdicts(captured) == ["ok/completed/after_terminal"]
