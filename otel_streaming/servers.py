"""Servers: where each one's application comes in, and when it drains.

What their objects tell of the connection is in ``_peers``.
"""

from __future__ import annotations

import contextlib
import functools
import time
from contextvars import ContextVar
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from wrapt import ObjectProxy

from otel_streaming import wsgi
from otel_streaming._engine import engine
from otel_streaming._watch import Server
from otel_streaming.asgi import HOLD, KEY, StreamingMiddleware, drain, flush
from otel_streaming.semconv import Origin
from otel_streaming.wsgi import WSGIStreamingMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from otel_streaming._patches import Patches


def _server_of(it: Any, path: str) -> Server | None:
    """Return the server whose object ``it`` is, by our hook around its application, found at ``path``; else None."""
    try:
        application = attrgetter(path)(it)
    except AttributeError:  # not loaded yet, or another version's
        return None
    return application.server if isinstance(application, StreamingMiddleware | WSGIStreamingMiddleware) else None


def _flushes_at_its_end(original: Callable[..., Any]) -> Callable[..., Any]:
    """Take the function that serves, at whose end no event loop runs any more."""

    @functools.wraps(original)
    def serving(*args: Any, **kwargs: Any) -> Any:
        engine().recording()  # looks for those who died before
        try:
            return original(*args, **kwargs)
        finally:
            finished, deadline = engine().finish(), time.monotonic() + HOLD
            while not finished() and time.monotonic() < deadline:
                time.sleep(0.005)

    return serving


def _drains(original: Callable[..., Any], path: str = "") -> Callable[..., Any]:
    """Take the function that a server calls, or gives to call, when it is told to stop; a method, if with ``path``."""

    @functools.wraps(original)
    def draining(*args: Any, **kwargs: Any) -> Any:
        drain(_server_of(args[0], path) if path else None, yes=True)
        return original(*args, **kwargs)

    return draining


def _takes_application(
    position: int, server: Server | None = None, middleware: Callable[..., Any] = StreamingMiddleware
) -> Callable[..., Any]:
    """Return what wraps the application in a call: the argument called ``application``, or at ``position``.

    ``server`` is given where its application comes in by several doors.
    """

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def takes(*args: Any, **kwargs: Any) -> Any:
            for name in _APPLICATION & kwargs.keys():
                kwargs[name] = middleware(kwargs[name], server)
            if len(args) > position:
                args = (*args[:position], middleware(args[position], server), *args[position + 1 :])
            return original(*args, **kwargs)

        return takes

    return wrapper


_APPLICATION = {"app", "application", "callback", "callable"}
"""What servers call that argument."""


def uvicorn_config(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that uvicorn loads; gunicorn's uvicorn workers come the same way."""

    def load(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def loaded(config: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(config, *args, **kwargs)
            config.loaded_app = StreamingMiddleware(config.loaded_app)
            return result

        return loaded

    patches.wrap(module.Config, "load", load)


_UVICORN = "config.loaded_app"


def uvicorn_server(module: ModuleType, patches: Patches) -> None:
    """Learn from uvicorn that it drains: by its signal handler, or by its request limit. Flush at its end."""

    def starts(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def startup(server: Any, *args: Any, **kwargs: Any) -> Any:
            drain(_server_of(server, _UVICORN), yes=False)
            return await original(server, *args, **kwargs)

        return startup

    def stops(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def shutdown(server: Any, *args: Any, **kwargs: Any) -> Any:
            drain(_server_of(server, _UVICORN), yes=True)
            try:
                return await original(server, *args, **kwargs)
            finally:
                await flush()  # where the application had no lifespan to do it in

        return shutdown

    patches.wrap(module.Server, "startup", starts)
    patches.wrap(module.Server, "handle_exit", functools.partial(_drains, path=_UVICORN))
    patches.wrap(module.Server, "shutdown", stops)


def uvicorn_bridge(module: ModuleType, patches: Patches) -> None:
    """Leave a WSGI application that uvicorn serves to the hook around the bridge: its threads carry no context."""

    def builds(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def build_environ(*args: Any, **kwargs: Any) -> Any:
            return {**original(*args, **kwargs), wsgi.KEY: None}

        return build_environ

    patches.wrap(module, "build_environ", builds)


def hypercorn_application(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that hypercorn serves, loaded or handed over."""
    patches.wrap(module.ASGIWrapper, "__init__", _takes_application(1))


_serving: ContextVar[Server | None] = ContextVar("otel_streaming_serving", default=None)


def hypercorn_run(module: ModuleType, patches: Patches) -> None:
    """Learn from hypercorn, on asyncio or trio, that it drains: told to, or past its request limit.

    Flush at its end, where the application had no lifespan to do it in.
    """

    def serves(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def worker_serve(app: Any, *args: Any, **kwargs: Any) -> Any:
            server = _server_of(app, "app")
            _serving.set(server)  # for the tasks it starts
            drain(server, yes=False)
            try:
                return await original(app, *args, **kwargs)
            finally:
                await flush()

        return worker_serve

    def shuts_down(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def raise_shutdown(shutdown_event: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            async def told() -> None:
                await shutdown_event()
                drain(_serving.get(), yes=True)

            return await original(told, *args, **kwargs)

        return raise_shutdown

    patches.wrap(module, "raise_shutdown", shuts_down)
    patches.wrap(module, "worker_serve", serves)


def hypercorn_websocket(module: ModuleType, patches: Patches) -> None:
    """Take the code of a client's close frame where hypercorn answers it: its application is told 1006 of all."""

    def answers(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def _send_wsproto_event(stream: Any, event: Any) -> None:
            with contextlib.suppress(Exception):  # another version's
                closing = isinstance(event, module.CloseConnection) and stream.state.name == "CONNECTED"
                watch = stream.scope[KEY] if closing else None  # of the application's own it is CLOSED by now
                if watch is not None:
                    watch.closed(int(event.code), Origin.CLIENT)
            await original(stream, event)

        return _send_wsproto_event

    patches.wrap(module.WSStream, "_send_wsproto_event", answers)


def granian_asgi(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that granian serves; its lifespan comes by a door of its own. Flush at its end."""
    server = Server(cuts="2")

    def stops(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def shutdown(*args: Any, **kwargs: Any) -> Any:
            try:
                return await original(*args, **kwargs)
            finally:
                await flush()  # also of an application that has refused its lifespan

        return shutdown

    patches.wrap(module, "_callback_wrapper", _takes_application(0, server))
    patches.wrap(module.LifespanProtocol, "__init__", _takes_application(1, server))
    patches.wrap(module.LifespanProtocol, "shutdown", stops)


def granian_signals(module: ModuleType, patches: Patches) -> None:
    """Learn from granian's worker that it drains: by the signal handler that it gives to the loop."""

    class Loop(ObjectProxy):  # type: ignore[type-arg]
        def add_signal_handler(self, number: int, callback: Callable[..., Any], *args: Any) -> None:
            self.__wrapped__.add_signal_handler(number, _drains(callback), *args)

    def sets(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def set_loop_signals(loop: Any, *args: Any, **kwargs: Any) -> Any:
            return original(Loop(loop), *args, **kwargs)

        return set_loop_signals

    patches.wrap(module, "set_loop_signals", sets)


def daphne_server(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that daphne serves, which has no lifespan; stopping, it kills what is open.

    It waits for the first of the killed only; what it leaves open is ended when it is at its end. To hold its stop back
    for the others, as a lifespan's is, crashed the interpreter at its exit (below Django, CPython 3.11).
    """

    def kills(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def kill_all_applications(server: Any, *args: Any, **kwargs: Any) -> Any:
            drain(_server_of(server, "application"), yes=True)
            return original(server, *args, **kwargs)

        return kill_all_applications

    patches.wrap(module.Server, "__init__", _takes_application(1))
    patches.wrap(module.Server, "kill_all_applications", kills)
    patches.wrap(module.Server, "run", _flushes_at_its_end)


def _loads(name: str, middleware: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes gunicorn's ``load_wsgi`` and wraps the application that it loads into ``name``."""

    def load(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def load_wsgi(worker: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(worker, *args, **kwargs)
            setattr(worker, name, middleware(getattr(worker, name)))
            return result

        return load_wsgi

    return load


def gunicorn_asgi(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that gunicorn's own ASGI worker loads, and learn that it drains."""
    drains = functools.partial(_drains, path="asgi")
    patches.wrap(module.ASGIWorker, "load_wsgi", _loads("asgi", StreamingMiddleware))
    patches.wrap(module.ASGIWorker, "handle_exit_signal", drains)
    patches.wrap(module.ASGIWorker, "handle_quit_signal", drains)
    patches.wrap(module.ASGIWorker, "_shutdown", drains)  # past its request limit
    patches.wrap(module.ASGIWorker, "_cleanup", _flushes_at_its_end)  # where streams are cancelled


def gunicorn_wsgi(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that gunicorn's sync or gthread worker loads, and learn that it drains."""
    worker = getattr(module, "SyncWorker", None) or module.ThreadWorker
    drains = functools.partial(_drains, path="wsgi")
    patches.wrap(worker, "load_wsgi", _loads("wsgi", WSGIStreamingMiddleware))
    patches.wrap(worker, "handle_exit", drains)
    patches.wrap(worker, "handle_quit", drains)
    patches.wrap(worker, "run", _flushes_at_its_end)


def granian_wsgi(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that granian serves; its worker is a process of multiprocessing's, without atexit."""
    from multiprocessing.util import Finalize  # noqa: PLC0415 - slow, and granian has it

    def loads(original: Callable[..., Any]) -> Callable[..., Any]:
        takes = _takes_application(0, None, WSGIStreamingMiddleware)(original)

        @functools.wraps(original)
        def _callback_wrapper(*args: Any, **kwargs: Any) -> Any:
            engine()
            Finalize(None, _flushes_at_its_end(bool), exitpriority=0)
            return takes(*args, **kwargs)

        return _callback_wrapper

    patches.wrap(module, "_callback_wrapper", loads)


def waitress_server(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that waitress serves; stopped, it waits five seconds and abandons its threads."""
    patches.wrap(module.BaseWSGIServer, "__init__", _takes_application(1, None, WSGIStreamingMiddleware))
    patches.wrap(module.BaseWSGIServer, "run", _flushes_at_its_end)
    patches.wrap(module.MultiSocketServer, "run", _flushes_at_its_end)


def werkzeug_serving(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that werkzeug's development server, and so Flask's, serves."""
    patches.wrap(module.BaseWSGIServer, "__init__", _takes_application(3, None, WSGIStreamingMiddleware))
    patches.wrap(module.BaseWSGIServer, "serve_forever", _flushes_at_its_end)


HOOKS = {
    "uvicorn.config": uvicorn_config,
    "uvicorn.server": uvicorn_server,
    "uvicorn.middleware.wsgi": uvicorn_bridge,
    "hypercorn.app_wrappers": hypercorn_application,
    "hypercorn.asyncio.run": hypercorn_run,
    "hypercorn.trio.run": hypercorn_run,
    "hypercorn.protocol.ws_stream": hypercorn_websocket,
    "granian.asgi": granian_asgi,
    "granian._signals": granian_signals,
    "daphne.server": daphne_server,
    "gunicorn.workers.gasgi": gunicorn_asgi,
    "gunicorn.workers.sync": gunicorn_wsgi,
    "gunicorn.workers.gthread": gunicorn_wsgi,
    "granian.wsgi": granian_wsgi,
    "waitress.server": waitress_server,
    "werkzeug.serving": werkzeug_serving,
}
"""What is patched when a module is imported by the host; nothing is imported for it."""
