"""Frameworks: where each one's router comes in, and how it tells the route.

The router is the innermost place that every response passes: plain bytes before compression, the producer's
own exception, the server span as current span. Where a framework keeps an exception to itself, or has chosen the
route outside the scope, the place where it does so is hooked besides.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

from otel_streaming import wsgi
from otel_streaming._patches import after, before
from otel_streaming._watch import untold
from otel_streaming.asgi import KEY, hooked_router
from otel_streaming.wsgi import hooked_application

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from otel_streaming._patches import Patches, Wrapper


def starlette_routing(module: ModuleType, patches: Patches) -> None:
    """Hook Starlette's router, and so FastAPI's, which inherits it; mounts add their part of the route."""

    def template(scope: Any) -> str | None:
        return _template(scope, module.Mount)

    patches.wrap(module.Router, "__call__", lambda original: hooked_router(original, template))
    patches.wrap(module.Mount, "handle", _descends("path"))


def litestar_route(module: ModuleType, patches: Patches) -> None:
    """Hook the end of Litestar's routes, below their middleware and exception handlers."""
    route = getattr(module, "HTTPRoute", None) or module.WebSocketRoute
    patches.wrap(route, "handle", lambda original: hooked_router(original, _litestar_template))


def litestar_mount(module: ModuleType, patches: Patches) -> None:
    """Know the part of the route of an ASGI application that Litestar mounts."""
    patches.wrap(module.ASGIRoute, "handle", _descends("path_format"))


def quart_asgi(module: ModuleType, patches: Patches) -> None:
    """Hook Quart's connection, which lies below what wraps ``app.asgi_app``.

    It swallows a producer's time-out, and its own (``RESPONSE_TIMEOUT``, 60 s), by which it cancels the producer.
    """

    def call(original: Callable[..., Any]) -> Callable[..., Any]:
        def router(connection: Any, _: Any, receive: Any, send: Any) -> Any:
            return original(connection, receive, send)

        hooked = hooked_router(router, untold)

        @functools.wraps(original)
        async def called(connection: Any, receive: Any, send: Any) -> None:
            await hooked(connection, connection.scope, receive, send)

        return called

    def handled(_: Any, connection: Any, *__: Any) -> None:
        watch = connection.scope.get(KEY)
        if watch is not None:
            watch.timed_out()

    patches.wrap(module.ASGIHTTPConnection, "__call__", call)
    patches.wrap(module.ASGIWebsocketConnection, "__call__", call)
    patches.wrap(module.ASGIHTTPConnection, "handle_request", after(handled))
    patches.wrap(module.ASGIHTTPConnection, "_send_response", _breaks(lambda it, *_: it.scope.get(KEY)))


def quart_app(module: ModuleType, patches: Patches) -> None:
    """See the exception of a WebSocket's handler: Quart logs it and closes with 1000 as if all were well."""
    breaks = _breaks(lambda _, context, *__: _watch_of(context.request_websocket))
    patches.wrap(module.Quart, "full_dispatch_websocket", breaks)


def werkzeug_context(module: ModuleType, patches: Patches) -> None:
    """Learn the route that Flask or Quart has matched."""

    def matched(_: Any, context: Any, *__: Any) -> None:
        request = getattr(context, "request_websocket", None) or context.request
        _routed(request, getattr(request.url_rule, "rule", None))

    owner = getattr(module, "_BaseRequestWebsocketContext", None) or module.RequestContext
    patches.wrap(owner, "match_request", after(matched))


def flask_app(module: ModuleType, patches: Patches) -> None:
    """Hook Flask's application, below what wraps ``app.wsgi_app``."""
    patches.wrap(module.Flask, "wsgi_app", hooked_application)


def django_base(module: ModuleType, patches: Patches) -> None:
    """Learn the route that Django has resolved."""

    def resolved(match: Any, _: Any, request: Any, *__: Any) -> None:
        _routed(request, match.route if match.route.startswith(("/", "^")) else f"/{match.route}")

    patches.wrap(module.BaseHandler, "resolve_request", after(resolved))


def django_asgi(module: ModuleType, patches: Patches) -> None:
    """Hook Django's ASGI handler; its middleware works on the iterator, so its bytes are those after compression.

    It swallows a cancellation of the view's task.
    """

    def answered(response: Any, _: Any, request: Any, *__: Any) -> None:
        setattr(response, KEY, _watch_of(request))  # for what sends it, which has no request

    patches.wrap(module.ASGIHandler, "handle", lambda original: hooked_router(original, untold))
    patches.wrap(module.ASGIHandler, "run_get_response", after(answered))
    patches.wrap(module.ASGIHandler, "send_response", _breaks(lambda _, response, *__: getattr(response, KEY, None)))


def django_wsgi(module: ModuleType, patches: Patches) -> None:
    """Hook Django's WSGI handler; as under ASGI its bytes are those after compression."""
    patches.wrap(module.WSGIHandler, "__call__", hooked_application)


def _descends(template: str) -> Wrapper:
    """Return what takes the method that handles a mount, whose attribute ``template`` is its part of the route."""

    def descends(mount: Any, scope: Any, *_: Any) -> None:
        watch = scope.get(KEY)
        if watch is not None:
            watch.descend(scope, getattr(mount, template, ""))

    return before(descends)


def _breaks(watch_of: Callable[..., Any]) -> Wrapper:
    """Return what takes a coroutine method whose exception a framework keeps from its caller, and reports it."""

    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def sending(*args: Any, **kwargs: Any) -> Any:
            try:
                return await original(*args, **kwargs)
            except BaseException as exception:
                with contextlib.suppress(Exception):  # called in a way we do not know
                    watch = watch_of(*args)
                    if watch is not None:
                        watch.broke(exception)
                raise

        return sending

    return wrapper


def _routed(request: Any, template: Any) -> None:
    watch = _watch_of(request)
    if watch is not None and isinstance(template, str):
        watch.routed(template)


def _watch_of(request: Any) -> Any:
    """Return the watch over a request that keeps its scope or environ, None over others (they may be anything else)."""
    for name, key in (("scope", KEY), ("environ", wsgi.KEY)):
        kept = getattr(request, name, None)
        if isinstance(kept, dict) and key in kept:
            return kept[key]
    return None


def _litestar_template(scope: Any) -> str | None:
    template = scope.get("path_template")
    return template if isinstance(template, str) else None


def _template(scope: Any, mount: type) -> str | None:
    """Return the template of the chosen route, below all mounts; None if none was chosen."""
    route = scope.get("route")
    included = scope.get("fastapi", {}).get("effective_route_context")  # FastAPI >= 0.140: include_router's prefix
    if included is not None and included.original_route is route:
        route = included
    template = None if isinstance(route, mount) else getattr(route, "path_format", None)
    return template if isinstance(template, str) else None


HOOKS = {
    "starlette.routing": starlette_routing,
    "litestar.routes.asgi": litestar_mount,
    "litestar.routes.http": litestar_route,
    "litestar.routes.websocket": litestar_route,
    "quart.app": quart_app,
    "quart.asgi": quart_asgi,
    "quart.ctx": werkzeug_context,
    "flask.app": flask_app,
    "flask.ctx": werkzeug_context,
    "django.core.handlers.base": django_base,
    "django.core.handlers.asgi": django_asgi,
    "django.core.handlers.wsgi": django_wsgi,
}
"""What is patched when a module is imported by the host; nothing is imported for it."""
