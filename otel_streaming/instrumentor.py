"""Entry points of ``opentelemetry-instrument``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from otel_streaming import frameworks, servers
from otel_streaming._patches import Patches

if TYPE_CHECKING:
    from collections.abc import Collection


class ASGIStreamingInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Hook servers' entries and frameworks' routers when the host imports them."""

    _patches = Patches()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no dependency: what is not installed is never imported, and so never hooked."""
        return ()

    def _instrument(self, **_: Any) -> None:
        self._patches.apply({**servers.HOOKS, **frameworks.HOOKS})

    def _uninstrument(self, **_: Any) -> None:
        self._patches.undo()
