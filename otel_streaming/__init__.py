"""How every stream really ended, as OpenTelemetry spans, metrics and log records."""

from otel_streaming._version import __version__
from otel_streaming.asgi import StreamingMiddleware
from otel_streaming.wsgi import WSGIStreamingMiddleware

__all__ = ["StreamingMiddleware", "WSGIStreamingMiddleware", "__version__"]
