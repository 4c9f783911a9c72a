"""Dialects: whose events are inside a stream, and what their last events say. One row a dialect.

Sources: the vendors' API references; WHATWG HTML 9.2 (SSE); for Cohere its OpenAPI description (``message-end``
may carry ``error``), for A2A the specifications 0.3 and 1.0 (which dropped ``final``), for MCP the specifications
2025-11-25 and 2026-07-28 and its Python SDK 2.3, and what is written by langserve 0.3.3 (``api_handler``), langgraphjs'
API server (``runs``: no ``end`` at all), ai 6.0 (``uiMessageChunkSchema``), ag-ui-protocol 1.0 and, for Bedrock, the
service model and ``eventstream`` of botocore 1.44. Values are matched by key,
tolerating white space; text inside JSON strings cannot match, since its quotes are escaped. Where users choose the
keys of nested objects (tools' arguments and results, state), a rule asks for the place in the object as well.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_streaming.semconv import Dialect, Protocol, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from otel_streaming._tail import Event


class Pattern:
    """A regular expression, compiled when first asked for: most processes meet one dialect or two."""

    __slots__ = ("flags", "pattern", "search")
    search: Callable[[bytes], re.Match[bytes] | None]

    def __init__(self, pattern: bytes, flags: int = 0) -> None:
        self.pattern = pattern
        self.flags = flags

    def __getattr__(self, name: str) -> Any:
        if name != "search":
            raise AttributeError(name)
        self.search = re.compile(self.pattern, self.flags).search
        return self.search


def _value(key: str, values: str) -> Pattern:
    """Match ``"key": "value"`` where the value matches the expression ``values`` (captured)."""
    return Pattern(rf'"{key}"\s*:\s*"({values})"'.encode())


def _first(key: str, values: str, more: str = "") -> Pattern:
    """Match the same as the first key of an event's object, and ``more`` after it."""
    return Pattern(rf'\n[ \t]*\{{\s*"{key}"\s*:\s*"(?:{values})"{more}'.encode(), re.DOTALL)


_NEVER = Pattern(rb"\xff(?!)")  # matches nothing; without a first byte to look for it would be tried at every one
_ERROR_OBJECT = Pattern(rb'\A[^\n]*\n\s*\{\s*"error"\s*:\s*[{"]')
_NOTHING_BUT_AN_ERROR = Pattern(
    rb'\Aerror\n|\A[^\n]*\n\s*\{\s*(?:"type"\s*:\s*"error"\s*,\s*)?"error"\s*:\s*(?:\{|"(?:[^"\\]|\\.)*"\s*\}\s*\Z)',
    re.DOTALL,
)
_TOKENS = Pattern(
    rb'"(?:completion_tokens|output_tokens|eval_count|outputTokens|candidatesTokenCount)"\s*:\s*(\d{1,12})'
)
_NAME = r"[\w.:/@+-]{1,128}"  # no words of a text: what else stands under the key is content, and no name
_MODEL = _value("model", _NAME)


class Told(NamedTuple):
    """What events tell beside the end."""

    tokens: str | None = None
    model: str | None = None


_NOTHING = Told()
_STOPPED_EARLY = {
    *("length", "content_filter", "max_tokens", "max_output_tokens", "model_context_window_exceeded", "refusal"),
    *("model_length", "abort"),  # Mistral; vLLM, SGLang
    *("content-filter", "content_filtered", "guardrail_intervened"),  # Vercel; Bedrock
    *("malformed_model_output", "malformed_tool_use"),  # Bedrock
    *("safety", "recitation", "language", "blocklist", "prohibited_content", "spii"),  # Gemini, to the end
    *("image_safety", "image_prohibited_content", "image_recitation", "image_other", "no_image", "malformed_response"),
    *("model_armor", "jailbreak"),
    *("malformed_function_call", "unexpected_tool_call", "too_many_tool_calls", "missing_thought_signature"),
}
"""Finish reasons, in lower case, by which a producer says that it stopped early."""


class Rule(NamedTuple):
    """How one dialect is recognised and how it ends; patterns search an event's ``text``.

    Attributes:
        dialect: Its name.
        sniff: Found in the text of the first events, up to the fourth.
        ends: Found in the event after which the stream is complete.
        protocol: The framing it comes in.
        goes_on: Found in an event that takes an earlier ``ends`` back (several choices in one stream).
        errors: Found in the in-band error event.
        aborts: Found in the event by which the producer says that the consumer stopped it.
        incomplete: Found in an ending event that itself says "stopped early".
        finish: Captures the finish reason.
        tells: Whether model and tokens are told; elsewhere the same words are content.
        model: Captures the model's name.
        optional: Whether some servers leave the end out.
        begun: What the first events have told, of the stream that it was recognised in.
    """

    dialect: Dialect
    sniff: Pattern
    ends: Pattern
    protocol: Protocol = Protocol.SSE
    goes_on: Pattern = _NEVER
    errors: Pattern = _NEVER
    aborts: Pattern = _NEVER
    incomplete: Pattern = _NEVER
    finish: Pattern = _NEVER
    tells: bool = False
    model: Pattern = _MODEL
    optional: bool = False
    begun: Told | None = None


_RESPONSES = Rule(
    Dialect.OPENAI_RESPONSES,
    sniff=_value("type", r"response\.(?:created|queued|in_progress)"),
    ends=_value("type", r"response\.(?:completed|incomplete)"),
    errors=Pattern(rb'\Aerror\n|\n[ \t]*\{\s*"type"\s*:\s*"error"|"type"\s*:\s*"response\.failed"'),
    aborts=_value("type", r"response\.cancelled"),
    incomplete=_value("type", r"response\.incomplete"),
    tells=True,
)
_CLOSED = Pattern(rb"\A\n\]\Z")
_RUN_ID = rb'\Ametadata\n\s*\{\s*"run_id"\s*:.*\n'
_RPC = rb'\n[ \t]*(?:\[\s*)?\{(?=.*"jsonrpc"\s*:\s*"2\.0")'
_ANSWER = _RPC + rb'(?:\s*"(?:jsonrpc|id)"\s*:\s*(?:"[^"]*"|[\w.-]+)\s*,)*\s*"%s"\s*:'
_A2A_ARTIFACT = Pattern(rb'"(?:kind"\s*:\s*"artifact-update"|artifactUpdate"\s*:)')
_MCP = Rule(  # streamable HTTP: requests and notifications, then the answer; an error is an answer
    Dialect.MCP,
    sniff=Pattern(
        _RPC
        + rb'.*"method"\s*:\s*"(?:(?:notifications|sampling|elicitation|roots|tasks)/|ping")|'
        + _ANSWER % b"(?:result|error)",
        re.DOTALL,
    ),
    ends=Pattern(_ANSWER % b"(?:result|error)", re.DOTALL),
)
_MCP_OPEN = Pattern(
    rb'\A(?:\n\n|endpoint\n).*"jsonrpc"\s*:|' + _RPC + rb'.*"method"\s*:\s*"notifications/subscriptions/acknowledged"',
    re.DOTALL,
)
"""An MCP stream that may close unanswered.

After an empty event with an id the client asks again (2025-11-25); subscriptions/listen acknowledges first
(2026-07-28); an ``endpoint`` comes first in the old transport.
"""
_GEMINI = Rule(  # finishReason ends it, or blockReason where the prompt was refused: there is no sentinel
    Dialect.GEMINI,
    sniff=Pattern(
        rb'"candidates"\s*:\s*\[\s*\{.*"(?:content|finishReason)"\s*:|\A(?!.*(?:"invocationId"\s*:'
        rb'|"timestamp"\s*:\s*[\d.]+\s*\}(?:\n|\Z))).*"(?:usageMetadata|promptFeedback)"\s*:\s*\{',
        re.DOTALL,  # an event of Google's ADK (`/run_sse`) tells the usage as well, and a run has no marked end
    ),
    ends=_value("(?:finishReason|blockReason)", r"(?!FINISH_REASON_UNSPECIFIED)[A-Z][A-Z_]{1,63}"),
    goes_on=Pattern(rb'\A(?!.*"finishReason").*"candidates"\s*:', re.DOTALL),
    errors=_ERROR_OBJECT,
    finish=_value("(?:finishReason|blockReason)", "[A-Z][A-Z_]{1,63}"),  # its enum's: a function's arguments are free
    tells=True,
    model=_value("modelVersion", _NAME),  # "model" is a role, and may be an argument of a function
)

RULES: tuple[Rule, ...] = (
    Rule(
        Dialect.OPENAI_CHAT,
        sniff=_value("object", r"chat\.completion\.chunk|text_completion"),  # the older endpoint, /v1/completions
        ends=Pattern(rb'\n\[DONE\]\Z|"finish_reason"\s*:\s*"'),
        goes_on=Pattern(rb'"finish_reason"\s*:\s*null'),
        errors=Pattern(_ERROR_OBJECT.pattern + rb'|"finish_reason"\s*:\s*"(?:error|insufficient_system_resource)"'),
        finish=_value("finish_reason", r"\w{1,64}"),
        tells=True,
    ),
    _RESPONSES,
    _RESPONSES._replace(  # taken up again (`starting_after`) it begins with any event; so may who passes some on
        sniff=Pattern(rb'"type"\s*:\s*"response\.[\w.]{1,64}"\s*,\s*"sequence_number"'), optional=True
    ),
    Rule(
        Dialect.ANTHROPIC_MESSAGES,
        sniff=_value("type", "message_start"),
        ends=_value("type", "message_stop"),
        errors=_first("type", "error"),
        finish=_value("stop_reason", r"\w{1,64}"),
        tells=True,
    ),
    Rule(
        Dialect.OLLAMA,
        protocol=Protocol.NDJSON,
        sniff=Pattern(rb'"model"\s*:.*"done"\s*:\s*(?:true|false)'),
        ends=Pattern(rb'"done"\s*:\s*true(?!.*"done"\s*:)', re.DOTALL),  # a tool's arguments come before
        errors=_ERROR_OBJECT,
        finish=_value("done_reason", r"\w{1,64}"),
        tells=True,
    ),
    _GEMINI,
    _GEMINI._replace(protocol=Protocol.JSON_ARRAY, ends=_CLOSED, goes_on=_NEVER),
    Rule(  # v2: message-end carries the finish reason, and the error if there was one
        Dialect.COHERE,
        sniff=Pattern(rb'\A(?=.*"delta"\s*:\s*\{).*"type"\s*:\s*"message-start"', re.DOTALL),  # others say that as well
        ends=_value("type", "message-end"),
        errors=Pattern(
            rb'"finish_reason"\s*:\s*"(?:ERROR|TIMEOUT)|"type"\s*:\s*"message-end".*"error"\s*:\s*"', re.DOTALL
        ),
        finish=_value("finish_reason", r"\w{1,64}"),
        tells=True,
    ),
    Rule(  # ConverseStream; exceptions are facts of the framing
        Dialect.BEDROCK,
        protocol=Protocol.EVENTSTREAM,
        sniff=Pattern(rb"^messageStart\n", re.MULTILINE),
        ends=Pattern(rb"\AmessageStop\n"),
        finish=_value("stopReason", r"\w{1,64}"),
        tells=True,
    ),
    Rule(  # UI message stream; its parts name their type first, and [DONE] comes after an error or abort as well
        Dialect.VERCEL_AI,
        sniff=_NEVER,  # a response header announces it
        ends=Pattern(rb"\n\[DONE\]\Z|" + _first("type", "finish").pattern),
        errors=Pattern(
            _first("type", "error").pattern
            + b"|"
            + _first("type", "finish", r'\s*,\s*"finishReason"\s*:\s*"error"').pattern
        ),
        aborts=_first("type", "abort"),
        finish=_first("type", "finish", r'\s*,.*"finishReason"\s*:\s*"([\w-]{1,64})"'),
    ),
    Rule(  # its log and its events come without metadata
        Dialect.LANGSERVE,
        sniff=Pattern(
            _RUN_ID + rb'data\n|\Adata\n\s*\{\s*"(?:ops"\s*:\s*\[\s*\{\s*"op"|event"\s*:\s*"on_\w+_start")', re.DOTALL
        ),
        ends=Pattern(rb"\Aend\n"),
        errors=Pattern(rb"\Aerror\n"),
    ),
    Rule(  # its events are named after stream modes, "messages/partial" and "updates|subgraph" among them
        Dialect.LANGGRAPH,
        sniff=Pattern(
            _RUN_ID + rb"(?:values|updates|messages|custom|events|debug|tasks|checkpoints|end|error)(?:[/|-][^\n]*)?\n",
            re.DOTALL,
        ),
        ends=Pattern(rb"\Aend\n"),
        errors=Pattern(rb"\Aerror\n"),
        optional=True,
    ),
    Rule(  # JSON-RPC results that are tasks, messages, updates (0.3 by "kind", 1.0 by key); over REST (1.0) these alone
        Dialect.A2A,
        sniff=Pattern(
            _RPC + rb'.*"(?:kind"\s*:\s*"(?:task|message|status-update|artifact-update)"|state"\s*:\s*"TASK_STATE_'
            rb'|(?:statusUpdate|artifactUpdate)"\s*:\s*\{|contextId".*"(?:history|artifacts|status)"\s*:|messageId".*"parts"\s*:)'
            rb'|\n[ \t]*\{\s*"(?:task|statusUpdate)"\s*:\s*\{.*"state"\s*:\s*"TASK_STATE_',
            re.DOTALL,
        ),
        goes_on=_A2A_ARTIFACT,
        ends=Pattern(
            rb'"final"\s*:\s*true|"state"\s*:\s*"(?:TASK_STATE_)?(?:completed|canceled|input-required|auth-required'
            rb'|COMPLETED|CANCELED|INPUT_REQUIRED|AUTH_REQUIRED)"|"result"\s*:\s*\{\s*"message"\s*:'
            rb'|\A(?!.*"(?:status|artifact)").*"kind"\s*:\s*"message"',
            re.DOTALL,
        ),
        errors=Pattern(
            rb"\A(?!.*"
            + _A2A_ARTIFACT.pattern
            + rb').*"state"\s*:\s*"(?:TASK_STATE_)?(?:failed|rejected|FAILED|REJECTED)"|'
            + _ANSWER % b"error",
            re.DOTALL,
        ),
    ),
    _MCP._replace(sniff=_MCP_OPEN, optional=True),
    _MCP,
    Rule(  # runs may follow one another
        Dialect.AG_UI,
        sniff=_first("type", "RUN_STARTED"),
        ends=_first("type", "RUN_FINISHED"),
        goes_on=_first("type", "RUN_STARTED"),
        errors=_first("type", "RUN_ERROR"),
        aborts=_first("type", "RUN_FINISHED", r'.*"outcome"\s*:\s*\{\s*"type"\s*:\s*"cancelled"'),
    ),
)

_SNIFFS: Mapping[str, Any] = {p: [(rule.sniff.search, rule) for rule in RULES if rule.protocol is p] for p in Protocol}
"""What searches for each, compiled at once: the first stream of a process is not to wait for that."""

ANNOUNCED: Mapping[Dialect, Rule] = {rule.dialect: rule for rule in RULES if rule.sniff is _NEVER}
"""Dialects that a response header announces."""

FRAMING: Mapping[str, Rule] = {
    Protocol.JSON_ARRAY: Rule(Dialect.NONE, sniff=_NEVER, ends=_CLOSED, errors=_ERROR_OBJECT),
    Protocol.MULTIPART: Rule(
        Dialect.NONE,
        sniff=_NEVER,
        ends=Pattern(rb'\A\n--\Z|"hasNext"\s*:\s*false\s*\}\s*\Z|\A\n[^{]*\{\s*"hasNext"\s*:\s*false'),
    ),
}
"""Protocols that themselves say where they end, whoever's events are inside.

GraphQL's incremental delivery says it by a last part with ``hasNext: false`` too, as a key of its top object.
"""


class Declared(NamedTuple):
    """A terminal marker declared by the user.

    ``how`` is ``event`` (an event's name), ``data`` (its whole data), ``json`` (``what`` reads ``key=value``)
    or ``none`` (nothing marks the end).
    """

    how: str
    what: str = ""

    def rule(self) -> Rule | None:
        """Return the rule that looks for the marker; None when nothing marks the end."""
        if self.how == "none":
            return None
        what = re.escape(self.what)
        key, _, value = self.what.partition("=")
        ends = {
            "event": rf"\A{what}\n",
            "data": rf"\A[^\n]*\n{what}\Z",
            "json": rf'"{re.escape(key)}"\s*:\s*"?{re.escape(value)}["\s,}}\]]',
        }[self.how]
        return Rule(Dialect.DECLARED, sniff=_NEVER, ends=Pattern(ends.encode()))


class Ending(NamedTuple):
    """What the last events say.

    ``reason`` is None where no marker was seen; ``cut`` tells that the last event is not whole.
    """

    reason: Reason | None = None
    finish_reason: str | None = None
    output_tokens: int | None = None
    model: str | None = None
    cut: bool = False


def recognise(text: bytes, *, protocol: str) -> Rule | None:
    """Return the rule of the dialect that the text of the first events gives away, else the framing's own.

    Some name the model in their first event only, which is not kept for as long as the last ones.
    """
    found = next((rule for search, rule in _SNIFFS.get(protocol, ()) if search(text)), None)
    if found is None:
        return FRAMING.get(protocol)
    return _begun(found, _told(found, text, _NOTHING)) if found.tells else found


@lru_cache(maxsize=64)
def _begun(rule: Rule, told: Told) -> Rule:
    """Return the rule with what was told, one for all streams that began alike."""
    return rule._replace(begun=told)


def nothing_but_errors(events: Iterable[Event]) -> bool:
    """Tell whether a body of these events says nothing but an error, in a form that several dialects share."""
    said = [event for event in events if event.data != b"[DONE]"]
    return bool(said) and all(event.whole and _NOTHING_BUT_AN_ERROR.search(event.text) for event in said)


def ending(rule: Rule | None, events: Iterable[Event], reason: Reason | None = None) -> Ending:
    """Read the last events by the rule. An error counts more than a marker, whatever their order.

    ``reason`` is what is known without them.
    """
    finish: str | None = None
    told = (rule and rule.begun) or _NOTHING
    cut = False
    for event in events:
        cut = not event.whole
        if rule is None or cut:
            continue
        text = event.text
        reason = _read(rule, text, reason)
        finish = _capture(rule.finish, text) or finish
        if rule.tells:
            told = _told(rule, text, told)
    if reason is Reason.COMPLETED and finish is not None and finish.lower() in _STOPPED_EARLY:
        reason = Reason.INCOMPLETE_DECLARED
    return Ending(reason, finish, int(told.tokens) if told.tokens else None, told.model, cut)


def _told(rule: Rule, text: bytes, before: Told) -> Told:
    return Told(_capture(_TOKENS, text) or before.tokens, _capture(rule.model, text) or before.model)


def _read(rule: Rule, text: bytes, before: Reason | None) -> Reason | None:
    """Return what is known of the end after one more event, given what was known before."""
    if before in _FINAL:
        return before
    if rule.errors.search(text):
        return Reason.IN_BAND_ERROR
    if before is Reason.CONSUMER_STOPPED or rule.aborts.search(text):
        return Reason.CONSUMER_STOPPED
    if rule.goes_on.search(text):
        return None
    if rule.ends.search(text):
        return Reason.INCOMPLETE_DECLARED if rule.incomplete.search(text) else Reason.COMPLETED
    return before


_FINAL = {Reason.IN_BAND_ERROR, Reason.PROTOCOL_ERROR}


def _capture(pattern: Pattern, text: bytes) -> str | None:
    match = pattern.search(text)
    return match.group(1).decode("utf-8", "replace") if match else None


STREAMING_TYPES: Mapping[str, Protocol] = {
    "text/event-stream": Protocol.SSE,
    "application/x-ndjson": Protocol.NDJSON,
    "application/ndjson": Protocol.NDJSON,
    "application/jsonl": Protocol.NDJSON,
    "application/x-jsonlines": Protocol.NDJSON,
    "application/stream+json": Protocol.NDJSON,
    "application/json-seq": Protocol.JSON_SEQ,
    "multipart/x-mixed-replace": Protocol.MULTIPART,
    "multipart/mixed": Protocol.MULTIPART,
    "application/vnd.amazon.eventstream": Protocol.EVENTSTREAM,
}
"""Content types that stream, and their framing."""

KEEPALIVE_STARTS: Mapping[str, bytes] = {Protocol.SSE: b":e\r\n", Protocol.NDJSON: b"\r\n"}
"""Bytes with which a message may begin that holds nothing but keep-alives."""

_LONGEST_KEEPALIVE = 4096
_E = ord("e")
_PING = {b" p", b"pi"}
"""What follows on ``event:`` where a ping does."""
_EOL = rb"(?:\r\n|\n|\r(?!\n))"  # each line end matches in one way only: nothing to backtrack into
_OPEN_PING = rb"event: ?ping" + _EOL + rb"(?:(?:data)?:[^\r\n]*" + _EOL + rb")*"
_KEEPALIVE: Mapping[str, re.Pattern[bytes]] = {
    Protocol.SSE: re.compile(
        rb"(?:(?::[^\r\n]*)?" + _EOL + rb"|" + _OPEN_PING + _EOL + rb")*(?:(:[^\r\n]*)|(" + _OPEN_PING + rb"))?\Z"
    ),
    Protocol.NDJSON: re.compile(rb"\s+\Z"),
}


def keepalive(protocol: str, message: bytes) -> bytes | None:
    """Return None unless a message that begins a line, and is not empty, is only comments, pings or blank lines.

    If it is, what the next message is to be read behind: a comment that has not ended, or a ping whose line has.
    """
    if len(message) > _LONGEST_KEEPALIVE:
        return None
    if message[0] == _E and message[6:8] not in _PING:
        return None  # every message of some dialects begins with "event:"
    pattern = _KEEPALIVE.get(protocol)
    found = pattern.match(message) if pattern is not None else None
    if found is None:
        return None
    return {None: b"", 1: b":", 2: b"event: ping" + message[-1:]}[found.lastindex]
