"""Servers: where each one's application comes in, and when it drains.

What their objects tell of the connection is in ``_peers``.
"""

from __future__ import annotations

import functools
import time
from contextvars import ContextVar
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from wrapt import ObjectProxy

from otel_streaming import wsgi
from otel_streaming._engine import engine
from otel_streaming._patches import after, before
from otel_streaming._stand_in import StandIn
from otel_streaming._watch import Server
from otel_streaming.asgi import HOLD, KEY, StreamingMiddleware, drain, flush
from otel_streaming.semconv import Origin
from otel_streaming.wsgi import WSGIStreamingMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from otel_streaming._patches import Patches, Wrapper


# -- what all of them are hooked by ------------------------------------------------------------------------------


def _takes_application(
    position: int, middleware: Callable[..., Any] = StreamingMiddleware, server: Server | None = None
) -> Wrapper:
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


def _loads_application(name: str, middleware: Callable[..., Any] = StreamingMiddleware) -> Wrapper:
    """Return what takes a method that loads the application into its object's attribute ``name``, and wraps it."""
    return after(lambda _, it, *__: setattr(it, name, middleware(getattr(it, name))))


def _drains(path: str = "", *, yes: bool = True) -> Wrapper:
    """Return what takes a function that a server calls, or gives to call, when it is told to stop, or starts anew.

    A method, if there is a ``path`` from its object to the application.
    """
    return before(lambda *args, **_: drain(_server_of(args[0], path) if path else None, yes=yes))


def _server_of(it: Any, path: str) -> Server | None:
    """Return the server whose object ``it`` is, by our hook around its application, found at ``path``; else None."""
    try:
        application = attrgetter(path)(it)
    except AttributeError:  # not loaded yet, or another version's
        return None
    return application._server if isinstance(application, StandIn) else None  # noqa: SLF001 - not the application's


def _stops(path: str) -> Wrapper:
    """Return what takes the coroutine method by which a server stops: it drains, and flushes at its end.

    Its application may have had no lifespan to flush in.
    """

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def stop(it: Any, *args: Any, **kwargs: Any) -> Any:
            drain(_server_of(it, path), yes=True)
            try:
                return await original(it, *args, **kwargs)
            finally:
                await flush()

        return stop

    return wrapper


def _serves(original: Callable[..., Any]) -> Callable[..., Any]:
    """Take the function that serves, at whose end no event loop runs any more."""

    @functools.wraps(original)
    def serving(*args: Any, **kwargs: Any) -> Any:
        engine().recording()  # looks for those who died before
        try:
            return original(*args, **kwargs)
        finally:
            _flush()

    return serving


def _flush() -> None:
    """Do what ``flush`` does, without an event loop."""
    finished, deadline = engine().finish(), time.monotonic() + HOLD
    while not finished() and time.monotonic() < deadline:
        time.sleep(0.005)


# -- ASGI servers --------------------------------------------------------------------------------------------------


def uvicorn_config(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that uvicorn loads; gunicorn's uvicorn workers come the same way."""
    patches.wrap(module.Config, "load", _loads_application("loaded_app"))


def uvicorn_server(module: ModuleType, patches: Patches) -> None:
    """Learn from uvicorn that it drains: by its signal handler, or by its request limit. Flush at its end."""
    path = "config.loaded_app"
    patches.wrap(module.Server, "startup", _drains(path, yes=False))
    patches.wrap(module.Server, "handle_exit", _drains(path))
    patches.wrap(module.Server, "shutdown", _stops(path))


def uvicorn_bridge(module: ModuleType, patches: Patches) -> None:
    """Leave a WSGI application that uvicorn serves to the hook around the bridge: its threads carry no context."""
    patches.wrap(module, "build_environ", after(lambda environ, *_, **__: environ.setdefault(wsgi.KEY)))


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

    def answers(stream: Any, event: Any) -> None:
        closing = isinstance(event, module.CloseConnection) and stream.state.name == "CONNECTED"
        watch = stream.scope[KEY] if closing else None  # of the application's own it is CLOSED by now
        if watch is not None:
            watch.closed(int(event.code), Origin.CLIENT)

    patches.wrap(module.WSStream, "_send_wsproto_event", before(answers))


def granian_asgi(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that granian serves; its lifespan comes by a door of its own. Flush at its end."""
    server = Server(cuts="2")
    patches.wrap(module, "_callback_wrapper", _takes_application(0, server=server))
    patches.wrap(module.LifespanProtocol, "__init__", _takes_application(1, server=server))
    patches.wrap(module.LifespanProtocol, "startup", _drains("callable", yes=False))
    patches.wrap(module.LifespanProtocol, "shutdown", _stops("callable"))


def granian_signals(module: ModuleType, patches: Patches) -> None:
    """Learn from granian's worker that it drains: by the signal handler that it gives to the loop."""

    class Loop(ObjectProxy):  # type: ignore[type-arg]
        def add_signal_handler(self, number: int, callback: Callable[..., Any], *args: Any) -> None:
            self.__wrapped__.add_signal_handler(number, _drains()(callback), *args)

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
    patches.wrap(module.Server, "__init__", _takes_application(1))
    patches.wrap(module.Server, "kill_all_applications", _drains("application"))
    patches.wrap(module.Server, "run", _serves)


def gunicorn_asgi(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that gunicorn's own ASGI worker loads, and learn that it drains."""
    patches.wrap(module.ASGIWorker, "load_wsgi", _loads_application("asgi"))
    for name in ("handle_exit_signal", "handle_quit_signal", "_shutdown"):  # the last one past its request limit
        patches.wrap(module.ASGIWorker, name, _drains("asgi"))
    patches.wrap(module.ASGIWorker, "_cleanup", _serves)  # where streams are cancelled


# -- WSGI servers --------------------------------------------------------------------------------------------------


def gunicorn_wsgi(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that gunicorn's sync or gthread worker loads, and learn that it drains."""
    worker = getattr(module, "SyncWorker", None) or module.ThreadWorker
    patches.wrap(worker, "load_wsgi", _loads_application("wsgi", WSGIStreamingMiddleware))
    for name in ("handle_exit", "handle_quit"):
        patches.wrap(worker, name, _drains("wsgi"))
    patches.wrap(worker, "run", _serves)


def granian_wsgi(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that granian serves; its worker is a process of multiprocessing's, without atexit."""
    from multiprocessing.util import Finalize  # noqa: PLC0415 - slow, and granian has it

    def served(application: Any, server: Server | None) -> WSGIStreamingMiddleware:
        engine().recording()
        Finalize(None, _flush, exitpriority=0)
        return WSGIStreamingMiddleware(application, server)

    patches.wrap(module, "_callback_wrapper", _takes_application(0, served))


def waitress_server(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that waitress serves; stopped, it waits five seconds and abandons its threads."""
    patches.wrap(module.BaseWSGIServer, "__init__", _takes_application(1, WSGIStreamingMiddleware))
    patches.wrap(module.BaseWSGIServer, "run", _serves)
    patches.wrap(module.MultiSocketServer, "run", _serves)


def werkzeug_serving(module: ModuleType, patches: Patches) -> None:
    """Wrap the application that werkzeug's development server, and so Flask's, serves."""
    patches.wrap(module.BaseWSGIServer, "__init__", _takes_application(3, WSGIStreamingMiddleware))
    patches.wrap(module.BaseWSGIServer, "serve_forever", _serves)


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
