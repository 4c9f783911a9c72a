"""Frameworks: where each one's router comes in, and how it tells the route.

The router is the innermost place that every response passes: plain bytes before compression, the producer's
own exception, the server span as current span.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from otel_streaming.asgi import KEY, hooked_router

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from otel_streaming._patches import Patches


def starlette_routing(module: ModuleType, patches: Patches) -> None:
    """Hook Starlette's router, and so FastAPI's, which inherits it; mounts add their part of the route."""

    def template(scope: Any) -> str | None:
        return _template(scope, module.Mount)

    def descend(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def descended(mount: Any, scope: Any, receive: Any, send: Any) -> Any:
            watch = scope.get(KEY)
            if watch is not None:
                watch.descend(scope, mount.path)
            return original(mount, scope, receive, send)

        return descended

    patches.wrap(module.Router, "__call__", lambda original: hooked_router(original, template))
    patches.wrap(module.Mount, "handle", descend)


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
}
"""What is patched when a module is imported by the host; nothing is imported for it."""
