"""``otel-streaming audit``: the five questions of an architecture audit, asked of a running endpoint."""
