"""How every stream really ended, as OpenTelemetry spans, metrics and log records."""

from otel_streaming._version import __version__
from otel_streaming.asgi import StreamingMiddleware

__all__ = ["StreamingMiddleware", "__version__"]
