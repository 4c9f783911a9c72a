"""``otel-streaming doctor``: what keeps a service's streams from being seen, and what to do about it."""
