"""The contract: every name and closed value this project emits, as data.

Nothing else in Python writes these strings. The collector configuration and the dashboards are
tested against this module. Names follow the OpenTelemetry naming rules; the HTTP and GenAI
attributes are the ones of the OpenTelemetry semantic conventions.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Self

SCOPE = "otel_streaming"
"""Instrumentation scope of every span, metric and log record; also the logger's name."""

OTHER = "_OTHER"
"""Stands for any label value outside its closed set (the convention of ``http.request.method``)."""


class _Word(str, Enum):
    """A closed vocabulary: each member *is* the string that goes on the wire."""

    __str__ = str.__str__
    __hash__ = str.__hash__  # equal to its string, and quicker than Enum's, which is written in Python


class Result(_Word):
    """The one-word verdict that service-level objectives read."""

    OK = "ok"
    LOUD = "loud"
    SILENT = "silent"
    RECYCLED = "recycled"
    GAVE_UP = "gave_up"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Outcome(_Word):
    """What became of the stream."""

    COMPLETED = "completed"
    TRUNCATED = "truncated"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Reason(_Word):
    """Why it ended. ``REASON_OUTCOME`` gives the outcome each reason stands for."""

    COMPLETED = "completed"
    INCOMPLETE_DECLARED = "incomplete_declared"
    CLIENT_DISCONNECT = "client_disconnect"
    CONSUMER_STOPPED = "consumer_stopped"
    CLIENT_TIMEOUT = "client_timeout"
    MISSING_TERMINAL = "missing_terminal"
    CONNECTION_LOST = "connection_lost"
    IN_BAND_ERROR = "in_band_error"
    PRODUCER_ERROR = "producer_error"
    IDLE_TIMEOUT = "idle_timeout"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    PROTOCOL_ERROR = "protocol_error"
    INCOMPLETE_RESPONSE = "incomplete_response"
    SERVER_CANCELLED = "server_cancelled"
    DECLARED_ERROR = "declared_error"
    CONNECT_FAILED = "connect_failed"
    SERVER_SHUTDOWN = "server_shutdown"
    PROCESS_DEATH = "process_death"
    UPSTREAM_MASKED = "upstream_masked"
    HTTP_5XX = "http_5xx"
    UNKNOWN = "unknown"


_REASONS_BY_OUTCOME = {
    Outcome.COMPLETED: (Reason.COMPLETED, Reason.INCOMPLETE_DECLARED),
    Outcome.CANCELLED: (Reason.CLIENT_DISCONNECT, Reason.CONSUMER_STOPPED),
    Outcome.TRUNCATED: (
        Reason.MISSING_TERMINAL,
        Reason.CONNECTION_LOST,
        Reason.INCOMPLETE_RESPONSE,
        Reason.PROCESS_DEATH,
        Reason.UPSTREAM_MASKED,
    ),
    Outcome.FAILED: (
        Reason.CLIENT_TIMEOUT,
        Reason.IN_BAND_ERROR,
        Reason.PRODUCER_ERROR,
        Reason.IDLE_TIMEOUT,
        Reason.DEADLINE_EXCEEDED,
        Reason.PROTOCOL_ERROR,
        Reason.SERVER_CANCELLED,
        Reason.DECLARED_ERROR,
        Reason.CONNECT_FAILED,
        Reason.SERVER_SHUTDOWN,
        Reason.HTTP_5XX,
    ),
    Outcome.UNKNOWN: (Reason.UNKNOWN,),
}
REASON_OUTCOME = {reason: outcome for outcome, reasons in _REASONS_BY_OUTCOME.items() for reason in reasons}


class Phase(_Word):
    """How far the stream had come when it ended."""

    BEFORE_HEADERS = "before_headers"
    BEFORE_FIRST_CHUNK = "before_first_chunk"
    MID_STREAM = "mid_stream"
    AFTER_TERMINAL = "after_terminal"


class Origin(_Word):
    """Which side ended it; ``UNKNOWN`` unless there is evidence."""

    CLIENT = "client"
    SERVER = "server"
    UPSTREAM = "upstream"
    INTERMEDIARY = "intermediary"
    UNKNOWN = "unknown"


class Role(_Word):
    """Which end of the stream was watched."""

    SERVER = "server"
    CLIENT = "client"
    TASK = "task"
    PROXY = "proxy"


class Kind(_Word):
    """Whether the stream has a natural end."""

    BOUNDED = "bounded"
    SUBSCRIPTION = "subscription"
    OTHER = "other"


class Protocol(_Word):
    """Framing of the body."""

    SSE = "sse"
    NDJSON = "ndjson"
    JSON_ARRAY = "json_array"
    JSON_SEQ = "json_seq"
    MULTIPART = "multipart"
    EVENTSTREAM = "eventstream"
    WEBSOCKET = "websocket"
    CHUNKED = "chunked"
    FIXED = "fixed"
    ITERABLE = "iterable"


class Dialect(_Word):
    """Whose events are inside the framing."""

    OPENAI_CHAT = "openai.chat"
    OPENAI_RESPONSES = "openai.responses"
    ANTHROPIC_MESSAGES = "anthropic.messages"
    GEMINI = "gemini"
    OLLAMA = "ollama"
    COHERE = "cohere"
    BEDROCK = "bedrock"
    VERCEL_AI = "vercel_ai"
    LANGSERVE = "langserve"
    LANGGRAPH = "langgraph"
    MCP = "mcp"
    A2A = "a2a"
    AG_UI = "ag_ui"
    DECLARED = "declared"
    NONE = "none"


class Terminal(_Word):
    """What is known of the dialect's terminal marker."""

    SEEN = "seen"
    MISSING = "missing"
    NOT_CHECKED = "not_checked"
    NOT_REQUIRED = "not_required"


class State(_Word):
    """State of an open stream, live."""

    WAITING = "waiting"
    FLOWING = "flowing"
    STALLED = "stalled"
    BACKPRESSURED = "backpressured"
    ABANDONED = "abandoned"


class Retry(_Word):
    """Whether this is a further attempt at the same answer."""

    NONE = "none"
    RETRIED = "retried"
    RESUMED = "resumed"


class AttemptBasis(_Word):
    """Why a request that never streamed counts as an attempt at streaming."""

    CONFIGURED = "configured"
    ACCEPT = "accept"
    LEARNED = "learned"


class Cache(_Word):
    """What response headers say about caches on the path."""

    NONE = "none"
    HIT = "hit"
    MISS = "miss"


class Attribute(str):
    """An attribute's name, usable as such, that knows its type, unit, meaning and closed values.

    ``value_type`` is one of ``string``, ``int``, ``double``, ``boolean``, ``int[]``;
    ``values`` is the closed vocabulary, or None where any (bounded) string may stand.
    """

    __slots__ = ("brief", "unit", "value_type", "values")
    value_type: str
    unit: str
    brief: str
    values: type[_Word] | None

    def __new__(cls, name: str, value_type: str, brief: str, unit: str = "", values: type[_Word] | None = None) -> Self:
        """Make the attribute ``name``."""
        self = super().__new__(cls, name)
        self.value_type, self.unit, self.brief, self.values = value_type, unit, brief, values
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Copy and pickle as the plain name."""
        return str, (str(self),)

    @property
    def label(self) -> str:
        """The attribute's name as a Prometheus label."""
        return prometheus_label(self)


A = Attribute
RESULT = A("stream.result", "string", "the one-word verdict", values=Result)
OUTCOME = A("stream.outcome", "string", "what became of the stream", values=Outcome)
REASON = A("stream.reason", "string", "why it ended", values=Reason)
PHASE = A("stream.phase", "string", "how far it had come", values=Phase)
ORIGIN = A("stream.origin", "string", "which side ended it", values=Origin)
ROLE = A("stream.role", "string", "which end was watched", values=Role)
KIND = A("stream.kind", "string", "whether it has a natural end", values=Kind)
PROTOCOL = A("stream.protocol", "string", "framing of the body", values=Protocol)
DIALECT = A("stream.dialect", "string", "whose events are inside", values=Dialect)
TERMINAL = A("stream.terminal", "string", "the terminal marker", values=Terminal)
STATE = A("stream.state", "string", "state of an open stream", values=State)
CHUNK_COUNT = A("stream.chunk.count", "int", "messages with progress", "{chunk}")
KEEPALIVE_COUNT = A("stream.keepalive.count", "int", "messages of keep-alives only", "{message}")
SIZE = A("stream.size", "int", "bytes of body as the hook sees them", "By")
TIME_TO_FIRST_CHUNK = A("stream.time_to_first_chunk", "double", "from request start; absent when no chunk came", "s")
CHUNK_GAP_MAX = A("stream.chunk.gap.max", "double", "longest gap between chunks", "s")
CHUNK_GAP_COUNTS = A("stream.chunk.gap.counts", "int[]", "gaps per bucket of GAP_BOUNDS", "{gap}")
STALL_COUNT = A("stream.stall.count", "int", "gaps over the stall threshold", "{stall}")
STALL_DURATION = A("stream.stall.duration", "double", "sum of the gaps over the threshold", "s")
BACKPRESSURE_DURATION = A("stream.backpressure.duration", "double", "time spent waiting for the reader", "s")
ABANDONED_CHUNK_COUNT = A("stream.abandoned.chunk.count", "int", "chunks made after the client had gone", "{chunk}")
ABANDONED_SIZE = A("stream.abandoned.size", "int", "bytes made after the client had gone", "By")
ABANDONED_DURATION = A("stream.abandoned.duration", "double", "work after the client had gone", "s")
RETRY = A("stream.retry", "string", "whether this is a further attempt", values=Retry)
ATTEMPT_BASIS = A("stream.attempt_basis", "string", "why it counts as an attempt", values=AttemptBasis)
UPSTREAM_OUTCOME = A("stream.upstream.outcome", "string", "of the client stream that fed this one", values=Outcome)
UPSTREAM_REASON = A("stream.upstream.reason", "string", "of the client stream that fed this one", values=Reason)
MASKED = A("stream.masked", "boolean", "complete on the wire although its upstream was not")
CACHE = A("stream.cache", "string", "what caches say, client role", values=Cache)
BUFFERED = A("stream.buffered", "boolean", "paced events arrived in one burst, client role")
FINISH_REASON = A("stream.finish_reason", "string", "as the dialect says")
WEBSOCKET_CLOSE_CODE = A("stream.websocket.close_code", "int", "RFC 6455 section 7.4")
ERROR = A("stream.error", "string", "the application's own words for declared_error")
PROCESS_DEAD = A("stream.process.dead", "boolean", "reported later by the crash recorder")
COUNTED_BY = A("stream.metrics", "string", "sdk: counted in the process already")
PROCESS_ID = A("stream.process.id", "string", "random id of the process, new after fork")
STALLED = A("stream.stalled", "boolean", "stall count of one or more")
MODEL = A("gen_ai.response.model", "string", "where the stream tells")
OUTPUT_TOKENS = A("gen_ai.usage.output_tokens", "int", "where the stream tells", "{token}")
ROUTE = A("http.route", "string", "the framework's full template, never the raw path")
METHOD = A("http.request.method", "string", "HTTP method")
STATUS_CODE = A("http.response.status_code", "int", "HTTP status")
SERVER_ADDRESS = A("server.address", "string", "client role only")
ERROR_TYPE = A("error.type", "string", "the reason, only when truncated or failed")
SERVICE_NAME = A("service.name", "string", "resource attribute")
SERVICE_NAMESPACE = A("service.namespace", "string", "resource attribute")
ENVIRONMENT = A("deployment.environment.name", "string", "resource attribute")

ATTRIBUTES: tuple[Attribute, ...] = tuple(v for v in list(globals().values()) if isinstance(v, Attribute))
"""Every attribute, in the order of the contract."""

GAP_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, in seconds, of the first eleven of the twelve gap buckets (``<=``, as Prometheus)."""


class Event(_Word):
    """Names of span events and of log records."""

    HEADERS = "stream.headers"
    FIRST_CHUNK = "stream.first_chunk"
    STALLED = "stream.stalled"
    RESUMED = "stream.resumed"
    CLIENT_GONE = "stream.client_gone"
    TERMINAL = "stream.terminal"
    CHUNK = "stream.chunk"
    END = "stream.end"
    PROCESS_DEATH = "stream.process_death"


CHUNK_SIZE = A("stream.chunk.size", "int", "bytes of one chunk, on events", "By")
CHUNK_GAP = A("stream.chunk.gap", "double", "gap before one chunk, on events", "s")


class Metric(NamedTuple):
    """One metric: OTel name, instrument, UCUM unit, who computes it, labels beside the service's.

    ``instrument`` is ``counter``, ``gauge`` or ``histogram``; ``source`` is ``process`` or ``collector``.
    ``bounds`` are a histogram's, where the process may record it itself (``METRICS=all``).
    """

    name: str
    instrument: str
    unit: str
    source: str
    labels: tuple[Attribute, ...]
    brief: str
    bounds: tuple[float, ...] = ()

    @property
    def prometheus(self) -> str:
        """Name of the metric (a histogram without ``_bucket``) in Prometheus."""
        return prometheus_name(self)


_UNIT_WORDS = {"s": "_seconds", "By": "_bytes"}


def prometheus_label(name: str) -> str:
    """Return the Prometheus label of an OTel attribute (OTLP translation, underscores)."""
    return name.replace(".", "_")


def prometheus_name(metric: Metric) -> str:
    """Return the Prometheus name of a metric (OTLP translation with suffixes).

    Units in braces are annotations and vanish; a monotonic counter gets ``_total``.
    """
    unit = _UNIT_WORDS.get(metric.unit, "")
    return prometheus_label(metric.name) + unit + ("_total" if metric.instrument == "counter" else "")


_SHAPE = (ROLE, KIND, PROTOCOL, ROUTE)
M = Metric
LEDGER_STARTED = M(
    "stream.ledger.started", "counter", "{stream}", "process", (*_SHAPE, PROCESS_ID), "streams that began"
)
LEDGER_ENDED = M(
    "stream.ledger.ended",
    "counter",
    "{stream}",
    "process",
    (*_SHAPE, RESULT, OUTCOME, STALLED, PROCESS_ID),
    "streams that ended, exact under sampling and outages",
)
ACTIVE = M("stream.active", "gauge", "{stream}", "process", (*_SHAPE, STATE, PROCESS_ID), "open streams by state")
SILENCE_MAX = M("stream.silence.max", "gauge", "s", "process", (ROLE, ROUTE, PROCESS_ID), "longest current silence")
ENDED = M(
    "stream.ended",
    "counter",
    "{stream}",
    "collector",
    (
        *(ROLE, KIND, PROTOCOL, DIALECT, ROUTE, METHOD, STATUS_CODE, RESULT, OUTCOME),
        *(PHASE, REASON, ORIGIN, TERMINAL, STALLED, MASKED, SERVER_ADDRESS),
    ),
    "streams that ended, with every diagnosis",
)
DURATION = M(
    "stream.duration",
    "histogram",
    "s",
    "collector",
    (ROLE, PROTOCOL, ROUTE, OUTCOME),
    "request to real end",
    (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
)
FIRST_CHUNK_TIME = M(
    str(TIME_TO_FIRST_CHUNK),
    "histogram",
    "s",
    "collector",
    (ROLE, PROTOCOL, ROUTE),
    "request to first progress",
    (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
)
GAP = M("stream.chunk.gap", "histogram", "s", "collector", (ROLE, PROTOCOL, ROUTE), "gaps between chunks")
INTERRUPTED_DURATION = M(
    "stream.interrupted.duration",
    "histogram",
    "s",
    "collector",
    (ROLE, ROUTE, OUTCOME, REASON),
    "age at every end after the headers that is not completed",
)
SIZES = M(str(SIZE), "counter", "By", "collector", (ROLE, ROUTE, OUTCOME), "bytes streamed")
CHUNKS = M("stream.chunks", "counter", "{chunk}", "collector", (ROLE, ROUTE, OUTCOME), "chunks streamed")
_WASTE = (ROLE, ROUTE, REASON)
WASTED_SIZE = M("stream.wasted.size", "counter", "By", "collector", _WASTE, "bytes of streams nobody completed")
WASTED_DURATION = M("stream.wasted.duration", "counter", "s", "collector", _WASTE, "seconds nobody profited from")
WASTED_TOKENS = M("stream.wasted.tokens", "counter", "{token}", "collector", _WASTE, "tokens nobody profited from")
RETRIES = M("stream.retries", "counter", "{retry}", "collector", (ROLE, ROUTE, RETRY), "further attempts")
BUFFERED_STREAMS = M("stream.buffered", "counter", "{stream}", "collector", (ROLE, ROUTE, CACHE), "buffered streams")

METRICS: tuple[Metric, ...] = tuple(v for v in list(globals().values()) if isinstance(v, Metric))
"""Every metric of the contract."""

del A, M
