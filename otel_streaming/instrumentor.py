"""Entry points of ``opentelemetry-instrument``: what each patches when the host imports it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from otel_streaming import aiohttp, frameworks, httpx, servers, urllib3, websockets
from otel_streaming._patches import Patches

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from otel_streaming._patches import Hook


class _Instrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Hook libraries when the host imports them."""

    hooks: Mapping[str, Hook]
    _patches: Patches

    @property
    def unknown(self) -> Collection[str]:
        """Modules that the host has imported and that are not watched: their versions are not known."""
        return self._patches.unknown

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no dependency: what is not installed is never imported, and so never hooked."""
        return ()

    def _instrument(self, **_: Any) -> None:
        self._patches.apply(self.hooks)

    def _uninstrument(self, **_: Any) -> None:
        self._patches.undo()


class ASGIStreamingInstrumentor(_Instrumentor):
    """Servers' entries and frameworks' routers, WSGI's too."""

    hooks = MappingProxyType({**servers.HOOKS, **frameworks.HOOKS})
    _patches = Patches()


class HTTPXStreamingInstrumentor(_Instrumentor):
    """The clients of httpx and httpx2."""

    hooks = httpx.HOOKS
    _patches = Patches()


class AiohttpStreamingInstrumentor(_Instrumentor):
    """The client of aiohttp."""

    hooks = aiohttp.HOOKS
    _patches = Patches()


class URLLib3StreamingInstrumentor(_Instrumentor):
    """The client of urllib3, and so requests and botocore."""

    hooks = urllib3.HOOKS
    _patches = Patches()


class WebsocketsStreamingInstrumentor(_Instrumentor):
    """The clients of websockets."""

    hooks = websockets.HOOKS
    _patches = Patches()
