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
from otel_streaming._watch import untold
from otel_streaming.asgi import KEY, hooked_router
from otel_streaming.wsgi import hooked_application

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from otel_streaming._patches import Patches


def starlette_routing(module: ModuleType, patches: Patches) -> None:
    """Hook Starlette's router, and so FastAPI's, which inherits it; mounts add their part of the route."""

    def template(scope: Any) -> str | None:
        return _template(scope, module.Mount)

    patches.wrap(module.Router, "__call__", lambda original: hooked_router(original, template))
    patches.wrap(module.Mount, "handle", lambda original: _descends(original, "path"))


def litestar_route(module: ModuleType, patches: Patches) -> None:
    """Hook the end of Litestar's routes, below their middleware and exception handlers."""
    route = getattr(module, "HTTPRoute", None) or module.WebSocketRoute
    patches.wrap(route, "handle", lambda original: hooked_router(original, _litestar_template))


def litestar_mount(module: ModuleType, patches: Patches) -> None:
    """Know the part of the route of an ASGI application that Litestar mounts."""
    patches.wrap(module.ASGIRoute, "handle", lambda original: _descends(original, "path_format"))


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

    def request(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def handle_request(connection: Any, *args: Any, **kwargs: Any) -> None:
            await original(connection, *args, **kwargs)
            watch = connection.scope.get(KEY)
            if watch is not None:
                watch.timed_out()

        return handle_request

    patches.wrap(module.ASGIHTTPConnection, "__call__", call)
    patches.wrap(module.ASGIHTTPConnection, "handle_request", request)
    patches.wrap(module.ASGIWebsocketConnection, "__call__", call)
    patches.wrap(
        module.ASGIHTTPConnection,
        "_send_response",
        lambda original: _breaks(original, lambda connection, *_: connection.scope.get(KEY)),
    )


def quart_app(module: ModuleType, patches: Patches) -> None:
    """See the exception of a WebSocket's handler: Quart logs it and closes with 1000 as if all were well."""

    def watch_of(_: Any, context: Any, *__: Any) -> Any:
        return _watch_of(context.request_websocket)

    patches.wrap(module.Quart, "full_dispatch_websocket", lambda original: _breaks(original, watch_of))


def werkzeug_context(module: ModuleType, patches: Patches) -> None:
    """Learn the route that Flask or Quart has matched."""
    owner = getattr(module, "_BaseRequestWebsocketContext", None) or module.RequestContext

    def match(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def match_request(context: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(context, *args, **kwargs)
            request = getattr(context, "request_websocket", None) or context.request
            watch = _watch_of(request)
            rule = getattr(getattr(request, "url_rule", None), "rule", None)
            if watch is not None and isinstance(rule, str):
                watch.routed(rule)
            return result

        return match_request

    patches.wrap(owner, "match_request", match)


def flask_app(module: ModuleType, patches: Patches) -> None:
    """Hook Flask's application, below what wraps ``app.wsgi_app``."""
    patches.wrap(module.Flask, "wsgi_app", hooked_application)


def django_base(module: ModuleType, patches: Patches) -> None:
    """Learn the route that Django has resolved."""

    def resolve(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def resolve_request(handler: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            match = original(handler, request, *args, **kwargs)
            watch, route = _watch_of(request), getattr(match, "route", None)
            if watch is not None and isinstance(route, str):
                watch.routed(route if route.startswith(("/", "^")) else f"/{route}")
            return match

        return resolve_request

    patches.wrap(module.BaseHandler, "resolve_request", resolve)


def django_asgi(module: ModuleType, patches: Patches) -> None:
    """Hook Django's ASGI handler; its middleware works on the iterator, so its bytes are those after compression.

    It swallows a cancellation of the view's task.
    """

    def answer(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def run_get_response(handler: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            response = await original(handler, request, *args, **kwargs)
            with contextlib.suppress(Exception):  # whatever a view has put in its place
                setattr(response, KEY, _watch_of(request))
            return response

        return run_get_response

    patches.wrap(module.ASGIHandler, "handle", lambda original: hooked_router(original, untold))
    patches.wrap(module.ASGIHandler, "run_get_response", answer)
    patches.wrap(
        module.ASGIHandler,
        "send_response",
        lambda original: _breaks(original, lambda _, response, *__: getattr(response, KEY, None)),
    )


def django_wsgi(module: ModuleType, patches: Patches) -> None:
    """Hook Django's WSGI handler; as under ASGI its bytes are those after compression."""
    patches.wrap(module.WSGIHandler, "__call__", hooked_application)


def _descends(original: Callable[..., Any], template: str) -> Callable[..., Any]:
    """Take what a mount is handled by: the mount's attribute ``template`` is its part of the route."""

    @functools.wraps(original)
    def descended(mount: Any, scope: Any, *args: Any, **kwargs: Any) -> Any:
        watch = scope.get(KEY)
        if watch is not None:
            watch.descend(scope, getattr(mount, template, ""))
        return original(mount, scope, *args, **kwargs)

    return descended


def _breaks(original: Callable[..., Any], watch_of: Callable[..., Any]) -> Callable[..., Any]:
    """Report an exception that a framework keeps from its caller."""

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
