"""Servers: where each one's application comes in, and what its objects tell of connection and draining."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from otel_streaming._watch import engine
from otel_streaming.asgi import StreamingMiddleware, flush

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from otel_streaming._patches import Patches


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


def uvicorn_server(module: ModuleType, patches: Patches) -> None:
    """Learn from uvicorn that it drains: by its signal handler, or by its request limit. Flush at its end."""

    def starts(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def startup(*args: Any, **kwargs: Any) -> Any:
            engine().registry.draining = False
            return await original(*args, **kwargs)

        return startup

    def signalled(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def handle_exit(*args: Any, **kwargs: Any) -> Any:
            engine().registry.draining = True
            return original(*args, **kwargs)

        return handle_exit

    def stops(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def shutdown(*args: Any, **kwargs: Any) -> Any:
            engine().registry.draining = True
            try:
                return await original(*args, **kwargs)
            finally:
                await flush()  # where the application had no lifespan to do it in

        return shutdown

    patches.wrap(module.Server, "startup", starts)
    patches.wrap(module.Server, "handle_exit", signalled)
    patches.wrap(module.Server, "shutdown", stops)


HOOKS = {
    "uvicorn.config": uvicorn_config,
    "uvicorn.server": uvicorn_server,
}
"""What is patched when a module is imported by the host; nothing is imported for it."""
