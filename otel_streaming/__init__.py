"""How every stream really ended, as OpenTelemetry spans, metrics and log records."""

from otel_streaming._handle import StreamHandle, carry, current_stream, on_recovered
from otel_streaming._verdict import StreamSummary
from otel_streaming._version import __version__
from otel_streaming.asgi import StreamingMiddleware
from otel_streaming.iterables import observe
from otel_streaming.wsgi import WSGIStreamingMiddleware

__all__ = [
    "StreamHandle",
    "StreamSummary",
    "StreamingMiddleware",
    "WSGIStreamingMiddleware",
    "__version__",
    "carry",
    "current_stream",
    "observe",
    "on_recovered",
]
