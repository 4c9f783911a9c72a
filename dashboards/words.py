"""The words and the colours on the screen: one of each per code of the contract, the same in every panel.

Codes are for queries; whoever is on call at night reads words. Colours are Grafana's palette names,
by family: purple is cut short, orange and yellow failed, red a 5xx, blue the reader's doing, green fine.
"""

from __future__ import annotations

from typing import NamedTuple

from otel_streaming.semconv import OTHER, Cache, Dialect, Origin, Protocol, Reason, Retry, State


class Word(NamedTuple):
    """How one code appears on the screen."""

    text: str
    colour: str


GREEN, ORANGE, RED, PURPLE, BLUE = "green", "orange", "red", "purple", "blue"
DARK_RED = "dark-red"
GREY = "#6c7079"
"""No judgement: nothing was measured, or there was nothing to measure."""

NO_TELEMETRY = "no telemetry"
NO_TRAFFIC = "no traffic"
NO_FAILURES = "no failures"
NOT_COMPARED = "nothing to compare"
NOTHING_TO_SHOW = "nothing to show: no stream ended, or no telemetry"
NO_ROUTE = "(no route)"
NO_RULES = "no rules"
NO_TRACES = "nothing to show: no such stream, or no traces"

USERS_SAW = Word("what users saw", PURPLE)
USERS_AND_LEAVERS = Word("the same, and readers who gave up", BLUE)
PANEL_SAYS = Word("what your 5xx panel says", RED)

STALLED = Word("completed, but stalled", "super-light-yellow")
NONE = Word("none of these", GREY)
ALL = Word("all together", "text")
UNEXPLAINED = Word("cause not reported", GREY)

REASONS = {
    Reason.HTTP_5XX: Word("5xx instead of a stream", RED),
    Reason.MISSING_TERMINAL: Word("cut short: no end marker", PURPLE),
    Reason.CONNECTION_LOST: Word("cut short: connection lost", "light-purple"),
    Reason.INCOMPLETE_RESPONSE: Word("cut short: answer left unfinished", "semi-dark-purple"),
    Reason.PROCESS_DEATH: Word("cut short: process died", "dark-purple"),
    Reason.UPSTREAM_MASKED: Word("cut short: upstream, behind a clean end", "super-light-purple"),
    Reason.PRODUCER_ERROR: Word("failed: exception in the code", ORANGE),
    Reason.IN_BAND_ERROR: Word("failed: error event in the stream", "light-orange"),
    Reason.SERVER_CANCELLED: Word("failed: cancelled by the server", "semi-dark-orange"),
    Reason.PROTOCOL_ERROR: Word("failed: broken framing", "dark-orange"),
    Reason.DECLARED_ERROR: Word("failed: declared by the application", "super-light-orange"),
    Reason.IDLE_TIMEOUT: Word("failed: upstream went silent", "yellow"),
    Reason.DEADLINE_EXCEEDED: Word("failed: deadline passed", "semi-dark-yellow"),
    Reason.SERVER_SHUTDOWN: Word("failed: server shut down", "dark-yellow"),
    Reason.CLIENT_TIMEOUT: Word("failed: reader stopped reading", "light-yellow"),
    Reason.CONNECT_FAILED: Word("failed: upstream not reached", "dark-red"),
    Reason.CLIENT_DISCONNECT: Word("reader left", BLUE),
    Reason.CONSUMER_STOPPED: Word("reader had enough", "light-blue"),
    Reason.COMPLETED: Word("complete", GREEN),
    Reason.INCOMPLETE_DECLARED: Word("complete: stopped at a declared limit", "light-green"),
    Reason.UNKNOWN: Word("unknown", "#9fa4ad"),
}

STATES = {
    State.FLOWING: Word("flowing", GREEN),
    State.WAITING: Word("waiting for the first chunk", BLUE),
    State.BACKPRESSURED: Word("reader is slow", "light-orange"),
    State.STALLED: Word("stalled", STALLED.colour),
    State.ABANDONED: Word("reader gone, still working", "dark-purple"),
}

ORIGINS = {
    Origin.UPSTREAM: Word("the upstream", PURPLE),
    Origin.SERVER: Word("this service", ORANGE),
    Origin.INTERMEDIARY: Word("something in between", "yellow"),
    Origin.CLIENT: Word("the reader", BLUE),
    Origin.UNKNOWN: Word("not known", REASONS[Reason.UNKNOWN].colour),
}
"""Who ended it."""

RETRIES = {
    Retry.RETRIED: Word("begun again", ORANGE),
    Retry.RESUMED: Word("taken up again", GREEN),
}

CACHES = {
    Cache.NONE: Word("no cache on the way", GREY),
    Cache.MISS: Word("a cache on the way, not used", "yellow"),
    Cache.HIT: Word("out of a cache", ORANGE),
}

WINDOWS = {"5m": RED, "1h": ORANGE, "6h": "yellow", "3d": BLUE}
"""Burn rates: the shorter, the hotter."""

PLAIN = "text"
PROTOCOLS = {
    protocol: Word(text, PLAIN)
    for protocol, text in {
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
    }.items()
}
DIALECTS = {
    dialect: Word(text, PLAIN)
    for dialect, text in {
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
    }.items()
}
