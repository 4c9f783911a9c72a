"""Dialects: whose events are inside a stream, and what their last events say. One row a dialect.

Sources: the vendors' API references; WHATWG HTML 9.2 (SSE). Values are matched by key, tolerating white
space; text inside JSON strings cannot match, since its quotes are escaped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_streaming.semconv import Dialect, Protocol, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_streaming._tail import Event

Pattern = re.Pattern[bytes]


def _value(key: str, values: str) -> Pattern:
    """Match ``"key": "value"`` where the value matches the expression ``values`` (captured)."""
    return re.compile(rf'"{key}"\s*:\s*"({values})"'.encode())


_NEVER = re.compile(rb"(?!)")
_ERROR_OBJECT = re.compile(rb'\A[^\n]*\n\s*\{\s*"error"\s*:\s*[{"]')
_TOKENS = re.compile(rb'"(?:completion_tokens|output_tokens|eval_count)"\s*:\s*(\d{1,12})')
_MODEL = _value("model", r"[^\"\\]{1,128}")
_STOPPED_EARLY = {"length", "content_filter", "max_tokens", "max_output_tokens"}
"""Finish reasons by which a producer says that it stopped early."""


@dataclass(frozen=True)
class Rule:
    """How one dialect is recognised and how it ends; patterns search an event's ``text``.

    Attributes:
        dialect: Its name.
        sniff: Found in one of the first events.
        ends: Found in the event after which the stream is complete.
        lines: NDJSON instead of SSE.
        goes_on: Found in an event that takes an earlier ``ends`` back (several choices in one stream).
        errors: Found in the in-band error event.
        aborts: Found in the event by which the producer says that the consumer stopped it.
        incomplete: Found in an ending event that itself says "stopped early".
        finish: Captures the finish reason.
    """

    dialect: Dialect
    sniff: Pattern
    ends: Pattern
    lines: bool = False
    goes_on: Pattern = _NEVER
    errors: Pattern = _NEVER
    aborts: Pattern = _NEVER
    incomplete: Pattern = _NEVER
    finish: Pattern = _NEVER


RULES: tuple[Rule, ...] = (
    Rule(
        Dialect.OPENAI_CHAT,
        sniff=_value("object", r"chat\.completion\.chunk"),
        ends=re.compile(rb'\n\[DONE\]\Z|"finish_reason"\s*:\s*"'),
        goes_on=re.compile(rb'"finish_reason"\s*:\s*null'),
        errors=re.compile(_ERROR_OBJECT.pattern + rb'|"finish_reason"\s*:\s*"error"'),
        finish=_value("finish_reason", r"\w{1,64}"),
    ),
    Rule(
        Dialect.OPENAI_RESPONSES,
        sniff=_value("type", r"response\.(?:created|queued|in_progress)"),
        ends=_value("type", r"response\.(?:completed|incomplete)"),
        errors=re.compile(rb'\Aerror\n|\n\s*\{\s*"type"\s*:\s*"error"|"type"\s*:\s*"response\.failed"'),
        aborts=_value("type", r"response\.cancelled"),
        incomplete=_value("type", r"response\.incomplete"),
    ),
    Rule(
        Dialect.ANTHROPIC_MESSAGES,
        sniff=_value("type", "message_start"),
        ends=_value("type", "message_stop"),
        errors=re.compile(rb'\n\s*\{\s*"type"\s*:\s*"error"'),
        finish=_value("stop_reason", r"\w{1,64}"),
    ),
    Rule(
        Dialect.OLLAMA,
        lines=True,
        sniff=re.compile(rb'"model"\s*:.*"done"\s*:\s*(?:true|false)'),
        ends=re.compile(rb'"done"\s*:\s*true(?!.*"done"\s*:)', re.DOTALL),  # a tool's arguments come before
        errors=_ERROR_OBJECT,
        finish=_value("done_reason", r"\w{1,64}"),
    ),
)


@dataclass(frozen=True)
class Declared:
    """A terminal marker declared by the user.

    ``how`` is ``event`` (an event's name), ``data`` (its whole data), ``json`` (``what`` reads ``key=value``)
    or ``none`` (nothing marks the end).
    """

    how: str
    what: str = ""

    def rule(self, *, lines: bool) -> Rule | None:
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
        return Rule(Dialect.DECLARED, sniff=_NEVER, ends=re.compile(ends.encode()), lines=lines)


@dataclass(frozen=True)
class Ending:
    """What the last events say.

    ``reason`` is None where no marker was seen; ``cut`` tells that the last event is not whole.
    """

    reason: Reason | None = None
    finish_reason: str | None = None
    output_tokens: int | None = None
    model: str | None = None
    cut: bool = False


def recognise(event: Event, *, lines: bool) -> Rule | None:
    """Return the rule of the dialect that ``event`` gives away."""
    return next((rule for rule in RULES if rule.lines == lines and rule.sniff.search(event.data)), None)


def ending(rule: Rule | None, events: Iterable[Event]) -> Ending:
    """Read the last events by the rule. An error counts more than a marker, whatever their order."""
    reason: Reason | None = None
    finish: str | None = None
    tokens: str | None = None
    model: str | None = None
    cut = False
    for event in events:
        cut = not event.whole
        if rule is None or cut:
            continue
        text = event.text
        reason = _read(rule, text, reason)
        if rule.dialect is Dialect.DECLARED:  # what these words mean in other people's events, nobody knows
            continue
        finish = _capture(rule.finish, text) or finish
        tokens = _capture(_TOKENS, text) or tokens
        model = _capture(_MODEL, text) or model
    if reason is Reason.COMPLETED and finish in _STOPPED_EARLY:
        reason = Reason.INCOMPLETE_DECLARED
    return Ending(reason, finish, int(tokens) if tokens else None, model, cut)


def _read(rule: Rule, text: bytes, before: Reason | None) -> Reason | None:
    """Return what is known of the end after one more event, given what was known before."""
    if before is Reason.IN_BAND_ERROR or rule.errors.search(text):
        return Reason.IN_BAND_ERROR
    if before is Reason.CONSUMER_STOPPED or rule.aborts.search(text):
        return Reason.CONSUMER_STOPPED
    if rule.goes_on.search(text):
        return None
    if rule.ends.search(text):
        return Reason.INCOMPLETE_DECLARED if rule.incomplete.search(text) else Reason.COMPLETED
    return before


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
_EOL = rb"(?:\r\n|\n|\r(?!\n))"  # each line end matches in one way only: nothing to backtrack into
_KEEPALIVE: Mapping[str, Pattern] = {
    Protocol.SSE: re.compile(
        rb"(?:(?::[^\r\n]*)?" + _EOL + rb"|event: ?ping" + _EOL + rb"(?:data:[^\r\n]*" + _EOL + rb")*)*(?::[^\r\n]*)?\Z"
    ),
    Protocol.NDJSON: re.compile(rb"\s+\Z"),
}


def is_keepalive(protocol: str, message: bytes) -> bool:
    """Tell whether a message that begins a line is nothing but comments, pings or blank lines."""
    if len(message) > _LONGEST_KEEPALIVE:
        return False
    if message[:1] == b"e" and not message.startswith((b"event: ping", b"event:ping")):
        return False  # every message of some dialects begins with "event:"
    pattern = _KEEPALIVE.get(protocol)
    return pattern is not None and pattern.match(message) is not None
