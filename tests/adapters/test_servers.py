"""Servers: what is read from their objects, how their entries are wrapped, when they drain; on doubles of them.

The real ones are in tests/conformance.
"""

import asyncio
import copy
import pickle
from functools import partial
from types import SimpleNamespace

import granian.asgi
import pytest
from driver import Connection, body, chat, http_scope, start
from hooking import patched

from otel_streaming import StreamingMiddleware, frameworks, servers
from otel_streaming._patches import Patches
from otel_streaming._peers import peer_of


class Objects:
    """What stands behind ``receive`` and ``send`` in each server that knows its client."""

    def __init__(self):
        self.closed = self._closed = False
        self.protocol = self.transport = self
        self.connections = {"protocol": {"connected": 1.0}}

    async def receive(self):
        raise AssertionError

    async def send(self, message):
        raise AssertionError

    async def handle_reply(self, protocol, message):
        raise AssertionError

    async def websocket_send(self, message):
        raise AssertionError

    def is_closing(self):
        return self._closed

    send.__module__ = "hypercorn.protocol.http_stream"
    websocket_send.__module__ = "gunicorn.asgi.websocket"
    handle_reply.__module__ = "daphne.server"

    def gunicorn_send(self):
        async def send(message):
            raise AssertionError(self)

        send.__module__ = "gunicorn.asgi.protocol"
        return send

    def leave(self):
        self.closed = self._closed = True
        self.connections["protocol"]["disconnected"] = 2.0


async def closure():
    raise AssertionError


PEERS = {
    "hypercorn": lambda objects: (objects.receive, objects.send),
    "daphne": lambda objects: (closure, partial(objects.handle_reply, "protocol")),
    "gunicorn": lambda objects: (objects.receive, objects.gunicorn_send()),
    "gunicorn 25.0, HTTP/2": lambda objects: (closure, objects.gunicorn_send()),
    "gunicorn, WebSocket": lambda objects: (objects.receive, objects.websocket_send),
}


def test_a_failed_write_of_gunicorn_s():
    """uvloop closes the transport, and the next write raises, before gunicorn is told of it."""
    objects = Objects()
    peer = peer_of(*PEERS["gunicorn, WebSocket"](objects))
    objects._closed = True
    assert not objects.closed
    assert peer.disconnected


@pytest.mark.parametrize("server", PEERS)
def test_what_a_server_knows(server):
    """A lost connection is seen in the server's own object."""
    objects = Objects()
    peer = peer_of(*PEERS[server](objects))
    assert not peer.disconnected
    objects.leave()
    assert peer.disconnected


def test_what_a_server_does_not_know():
    """Objects of another version, closures of another protocol, and strangers tell nothing."""
    objects = Objects()
    del objects.closed
    gone = partial(objects.handle_reply, "another")
    for receive, send in (
        (objects.receive, objects.send),
        (closure, gone),
        (closure, closure),
        (closure, print),
    ):
        assert not peer_of(receive, send).disconnected


@pytest.mark.parametrize(("draining", "reason"), [(False, "client_disconnect"), (True, "server_shutdown")])
def test_a_reader_gone_in_a_silence(draining, reason, hooks, captured):
    """A cancellation is looked into: the server may know of a reader who left, unless it drains itself."""

    async def app(scope, receive, send):
        await send(start())
        await send(body(chat(0)))
        connection.disconnected = True
        captured.engine.registry.draining = draining
        raise asyncio.CancelledError

    async def main():
        await connection.run(hooks(app), http_scope())

    connection = Connection()
    asyncio.run(main())
    assert [str(s.reason) for s in captured] == [reason]


@pytest.fixture
def apply():
    """Apply a hook to a double of a server's module."""
    patches = Patches()
    yield lambda hook, **names: [module := SimpleNamespace(**names), hook(module, patches)][0]
    patches.undo()


async def app(scope, receive, send):
    raise AssertionError


def test_the_application_is_wrapped(apply):
    """However a server takes the application, by position or by name, it gets ours around it."""

    def double():
        class Takes:
            def __init__(self, app=None, application=None):
                self.got = app or application

            run = kill_all_applications = startup = shutdown = None

        return Takes

    for hook, name in ((servers.hypercorn_application, "ASGIWrapper"), (servers.daphne_server, "Server")):
        apply(hook, **{name: (takes := double())})
        for made in (takes(app), takes(app=app), takes(application=app)):
            assert isinstance(made.got, StreamingMiddleware)
            assert made.got.app is app
    module = apply(
        servers.granian_asgi, _callback_wrapper=lambda callback, scope_opts: callback, LifespanProtocol=double()
    )
    assert module._callback_wrapper(app, {}).app is app


def test_hypercorn_drains(apply, captured):
    """hypercorn drains once its shutdown event has come, not when waiting for it is cancelled; then all is flushed."""
    states, other = [], StreamingMiddleware(app)
    wrapper = SimpleNamespace(app=StreamingMiddleware(app))

    async def raise_shutdown(shutdown_event):
        await shutdown_event()

    async def worker_serve(application):
        states.append(wrapper.app._server.draining)
        waiting = asyncio.ensure_future(module.raise_shutdown(asyncio.Event().wait))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        states.append(wrapper.app._server.draining)
        await module.raise_shutdown(partial(asyncio.sleep, 0))
        states.append(wrapper.app._server.draining)

    wrapper.app._server.draining = True
    module = apply(servers.hypercorn_run, raise_shutdown=raise_shutdown, worker_serve=worker_serve)
    asyncio.run(module.worker_serve(wrapper))
    assert states == [False, False, True]
    assert not other._server.draining


def test_granian_drains(apply, captured):
    """granian's worker drains when the signal handler runs that it gave to the loop."""
    handlers, told = {}, []
    loop = SimpleNamespace(add_signal_handler=lambda number, handler, *args: handlers.update({number: (handler, args)}))

    def set_loop_signals(loop):
        loop.add_signal_handler(15, lambda *args: told.append(args), 15, None)
        return "event"

    module = apply(servers.granian_signals, set_loop_signals=set_loop_signals)
    assert module.set_loop_signals(loop) == "event"
    assert not captured.engine.registry.draining
    handler, args = handlers[15]
    handler(*args)
    assert captured.engine.registry.draining
    assert told == [(15, None)]


def test_granian_started_anew_drains_no_more(captured):
    """Embedded, granian may be started again in its process, with an application that refuses its lifespan."""

    async def refuses(scope, receive, send):
        raise ValueError

    async def serving():
        lifespan = granian.asgi.LifespanProtocol(refuses)
        await lifespan.startup()
        before = lifespan.callable._server.draining
        await lifespan.shutdown()
        return before, lifespan.callable._server.draining

    with patched({"granian.asgi": servers.granian_asgi}):
        assert [asyncio.run(serving()) for _ in range(2)] == [(False, True)] * 2


def test_gunicorns_worker_drains(apply, captured):
    """gunicorn's own ASGI worker drains by signal and by its request limit, and flushes when it has cleaned up."""
    called = []

    class ASGIWorker:
        def load_wsgi(self):
            self.asgi = app

        def handle_exit_signal(self):
            called.append("exit")

        def _cleanup(self):
            called.append("cleanup")

        handle_quit_signal = _shutdown = handle_exit_signal

    apply(servers.gunicorn_asgi, ASGIWorker=ASGIWorker)
    worker = ASGIWorker()
    worker.load_wsgi()
    assert worker.asgi.app is app
    for name in ("handle_exit_signal", "handle_quit_signal", "_shutdown"):
        worker.asgi._server.draining = False
        getattr(worker, name)()
        assert worker.asgi._server.draining
    assert not captured.engine.registry.draining
    worker._cleanup()
    assert called == ["exit"] * 3 + ["cleanup"]


WORKERS = {"asgi": (servers.gunicorn_asgi, "ASGIWorker"), "wsgi": (servers.gunicorn_wsgi, "SyncWorker")}


@pytest.mark.parametrize("name", WORKERS)
def test_what_a_worker_hands_out_is_used_as_the_application(name, apply):
    """gunicorn's ``post_worker_init`` is given a worker, whose application's attributes are there as without us."""
    application, (hook, cls) = SimpleNamespace(config={"DEBUG": True}, server="its own"), WORKERS[name]

    class Worker:
        def load_wsgi(self):
            setattr(self, name, application)

        run = handle_exit = handle_quit = load_wsgi
        handle_exit_signal = handle_quit_signal = _shutdown = _cleanup = load_wsgi

    apply(hook, **{cls: Worker})
    worker = Worker()
    worker.load_wsgi()
    served = getattr(worker, name)
    assert served.app is application
    assert served.config is application.config
    assert not hasattr(served, "no_such_name")
    assert copy.copy(served).config is application.config
    assert copy.deepcopy(served).config == application.config
    assert pickle.loads(pickle.dumps(served)).config == application.config  # noqa: S301 - our own
    assert served.server == "its own"
    served.ready = True
    assert application.ready
    del served.server, served.ready
    assert vars(application) == {"config": {"DEBUG": True}}
    served.app = SimpleNamespace(app="what it wraps")
    assert served.app == "what it wraps"
    served.app = "wrapped anew"
    assert served._application.app == "wrapped anew"


def test_a_class_derived_from_a_middleware_keeps_its_own_attributes():
    """What it sets on itself replaces nothing of the application's."""

    class Derived(StreamingMiddleware):
        def __init__(self, app):
            super().__init__(app)
            self.config = "its own"

    derived = Derived(application := SimpleNamespace(config="the application's"))
    assert (derived.config, application.config) == ("its own", "the application's")
    del derived.config
    assert derived.config == "the application's"


def test_what_a_hook_puts_around_an_application_is_called(captured):
    """gunicorn's ``post_worker_init`` may wrap what Flask calls, as Flask's documentation has it."""
    from flask import Flask, request
    from gunicorn.workers.sync import SyncWorker
    from werkzeug.middleware.proxy_fix import ProxyFix
    from werkzeug.test import create_environ, run_wsgi_app

    flask = Flask(__name__)
    flask.add_url_rule("/", view_func=lambda: request.remote_addr, endpoint="index")
    with patched({"gunicorn.workers.sync": servers.gunicorn_wsgi}):
        worker = object.__new__(SyncWorker)
        worker.app = SimpleNamespace(wsgi=lambda: flask)
        worker.load_wsgi()
        worker.wsgi.wsgi_app = ProxyFix(worker.wsgi.wsgi_app)
        environ = create_environ(headers={"X-Forwarded-For": "192.0.2.9"}, environ_base={"REMOTE_ADDR": "192.0.2.1"})
        assert list(run_wsgi_app(worker.wsgi, environ)[0]) == [b"192.0.2.9"]


def test_what_another_version_keeps_elsewhere(apply):
    """A server or framework in which we do not find what we look for goes on as without us, called or awaited."""

    class Double:
        def load(self):
            return "loaded"

        def startup(self, sockets=None):
            return sockets

        handle_exit = shutdown = resolve_request = handle = send_response = startup

        async def run_get_response(self, request):
            return request

    apply(servers.uvicorn_config, Config=Double)
    apply(servers.uvicorn_server, Server=Double)
    apply(frameworks.django_base, BaseHandler=Double)
    apply(frameworks.django_asgi, ASGIHandler=Double)
    double = Double()
    assert (double.load(), double.startup(1), double.resolve_request(2)) == ("loaded", 1, 2)
    assert asyncio.run(double.run_get_response(3)) == 3
