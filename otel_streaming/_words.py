"""The words people read instead of codes: one for each value of the contract, the same in panels and terminals."""

from __future__ import annotations

from otel_streaming.semconv import OTHER, Cache, Dialect, Origin, Phase, Protocol, Reason, Result, Retry, State

RESULTS = {
    Result.OK: "fine",
    Result.SILENT: "silent failure",
    Result.LOUD: "loud failure",
    Result.RECYCLED: "ended by a restart",
    Result.GAVE_UP: "reader gave up",
    Result.CANCELLED: "reader left",
    Result.UNKNOWN: "not known",
}

REASONS = {
    Reason.HTTP_5XX: "5xx instead of a stream",
    Reason.MISSING_TERMINAL: "cut short: no end marker",
    Reason.CONNECTION_LOST: "cut short: connection lost",
    Reason.INCOMPLETE_RESPONSE: "cut short: answer left unfinished",
    Reason.PROCESS_DEATH: "cut short: process died",
    Reason.UPSTREAM_MASKED: "cut short: upstream, behind a clean end",
    Reason.PRODUCER_ERROR: "failed: exception in the code",
    Reason.IN_BAND_ERROR: "failed: error event in the stream",
    Reason.SERVER_CANCELLED: "failed: cancelled by the server",
    Reason.PROTOCOL_ERROR: "failed: broken framing",
    Reason.DECLARED_ERROR: "failed: declared by the application",
    Reason.IDLE_TIMEOUT: "failed: upstream went silent",
    Reason.DEADLINE_EXCEEDED: "failed: deadline passed",
    Reason.SERVER_SHUTDOWN: "failed: server shut down",
    Reason.CLIENT_TIMEOUT: "failed: reader stopped reading",
    Reason.CONNECT_FAILED: "failed: upstream not reached",
    Reason.CLIENT_DISCONNECT: "reader left",
    Reason.CONSUMER_STOPPED: "reader had enough",
    Reason.COMPLETED: "complete",
    Reason.INCOMPLETE_DECLARED: "complete: stopped at a declared limit",
    Reason.UNKNOWN: "unknown",
}

STALLED = "completed, but stalled"
MASKED = "completed, its upstream did not"
"""Of streams that ended well, and yet."""

STATES = {
    State.FLOWING: "flowing",
    State.WAITING: "waiting for the first chunk",
    State.BACKPRESSURED: "reader is slow",
    State.STALLED: "stalled",
    State.ABANDONED: "reader gone, still working",
}

PHASES = {
    Phase.BEFORE_HEADERS: "no headers yet",
    Phase.BEFORE_FIRST_CHUNK: "headers only",
    Phase.MID_STREAM: "the middle",
    Phase.AFTER_TERMINAL: "its end marker",
}
"""How far it had come."""

ORIGINS = {
    Origin.UPSTREAM: "the upstream",
    Origin.SERVER: "this service",
    Origin.INTERMEDIARY: "something in between",
    Origin.CLIENT: "the reader",
    Origin.UNKNOWN: "not known",
}
"""Who ended it."""

RETRIES = {
    Retry.RETRIED: "begun again",
    Retry.RESUMED: "taken up again",
}

CACHES = {
    Cache.NONE: "no cache on the way",
    Cache.MISS: "a cache on the way, not used",
    Cache.HIT: "out of a cache",
}

PROTOCOLS = {
    Protocol.SSE: "Server-sent events",
    Protocol.NDJSON: "JSON lines",
    Protocol.JSON_ARRAY: "JSON array",
    Protocol.JSON_SEQ: "JSON text sequence",
    Protocol.MULTIPART: "Multipart",
    Protocol.EVENTSTREAM: "AWS event stream",
    Protocol.WEBSOCKET: "WebSocket",
    Protocol.CHUNKED: "Chunked body",
    Protocol.FIXED: "Body of known length",
    Protocol.ITERABLE: "Items, not bytes",
    OTHER: "not known",
}

DIALECTS = {
    Dialect.OPENAI_CHAT: "OpenAI chat completions",
    Dialect.OPENAI_RESPONSES: "OpenAI Responses",
    Dialect.ANTHROPIC_MESSAGES: "Anthropic Messages",
    Dialect.GEMINI: "Gemini",
    Dialect.OLLAMA: "Ollama",
    Dialect.COHERE: "Cohere",
    Dialect.BEDROCK: "Bedrock",
    Dialect.VERCEL_AI: "Vercel AI",
    Dialect.LANGSERVE: "LangServe",
    Dialect.LANGGRAPH: "LangGraph",
    Dialect.MCP: "MCP",
    Dialect.A2A: "A2A",
    Dialect.AG_UI: "AG-UI",
    Dialect.DECLARED: "your own marker",
    Dialect.NONE: "none: no end marker to look for",
    OTHER: "not known",
}
