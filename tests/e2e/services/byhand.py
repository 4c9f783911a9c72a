"""The same service with the middleware added by hand, above and below the others."""

from chat import app

from otel_streaming import StreamingMiddleware

app.add_middleware(StreamingMiddleware)
app = StreamingMiddleware(app)
