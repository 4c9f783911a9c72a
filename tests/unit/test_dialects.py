"""Samples of each dialect as its servers send them: complete, cut anywhere, failed, disguised."""

import json
from dataclasses import dataclass, field
from itertools import islice, pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_streaming._dialects import RULES, Declared, Pattern, keepalive
from otel_streaming._verdict import summarise
from otel_streaming.semconv import Dialect, Kind, Phase, Protocol, Reason, Result, Terminal

SEPARATORS = {"compact": (",", ":"), "spaced": (", ", ": "), "odd": (" ,\t", "\t: ")}


def dump(value, style="compact"):
    return json.dumps(value, separators=SEPARATORS[style]).encode()


def sse(data, name="", style="compact"):
    prefix = f"event: {name}\n".encode() if name else b""
    return prefix + b"data: " + (data if isinstance(data, bytes) else dump(data, style)) + b"\n\n"


def line(data, style="compact"):
    return dump(data, style) + b"\n"


def chat(delta=None, finish=None, index=0, **more):
    choice = {"index": index, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1741570283, "model": "gpt-4o-mini"}
    return {**head, "system_fingerprint": "fp_1", "choices": [choice], **more}


def chat_usage():
    return chat() | {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}}


def response(kind, number, **more):
    return {"type": f"response.{kind}", "sequence_number": number, **more}


def response_object(status, text="", **more):
    message = {"id": "msg_1", "type": "message", "status": status, "role": "assistant"}
    content = [{"type": "output_text", "annotations": [], "text": text}]
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1741290958,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": "gpt-4.1",
        "output": [{**message, "content": content}],
        "metadata": {},
        "usage": {"input_tokens": 37, "output_tokens": 11, "total_tokens": 48},
        **more,
    }


def gemini(text, finish=None, **more):
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    finished = {"finishReason": finish} if finish else {}
    usage = {"promptTokenCount": 4, "candidatesTokenCount": 31, "totalTokenCount": 35}
    head = {"candidates": [candidate | finished], "usageMetadata": usage}
    return {**head, "modelVersion": "gemini-2.5-flash", "responseId": "r1", **more}


def cohere(kind, style="compact", **more):
    return sse({"type": kind, **more}, kind, style)


def part(kind, style="compact", **more):
    return sse({"type": kind, **more}, style=style)


def rpc(style="compact", **more):
    return sse({"jsonrpc": "2.0", **more}, "message", style)


def a2a(style="compact", **result):
    return sse({"id": "req-1", "jsonrpc": "2.0", "result": {"contextId": "c1", **result}}, style=style)


def a2a_status(state, style="compact", *, final=False, text="on it"):
    message = {"kind": "message", "messageId": "m1", "parts": [{"kind": "text", "text": text}], "role": "agent"}
    status = {"message": message, "state": state, "timestamp": "2026-01-01T00:00:00Z"}
    return a2a(style, final=final, kind="status-update", status=status, taskId="t1")


def a2a_artifact(style="compact", **part):
    artifact = {"artifactId": "a1", "parts": [part or {"kind": "text", "text": "Hello"}]}
    return a2a(style, append=True, artifact=artifact, kind="artifact-update", lastChunk=False, taskId="t1")


def agents(style="compact"):
    """Return one complete body a dialect of agents and their user interfaces."""
    run = dump({"run_id": "1ef6a1bc-3d2e-6f7a-8b9c-0d1e2f3a4b5c"}, style)
    ids = {"threadId": "t1", "runId": "r1"}
    return {
        "vercel_ai": Sample(
            Dialect.VERCEL_AI,
            (
                part("start", style, messageId="msg_1"),
                part("start-step", style),
                part("text-start", style, id="txt-0"),
                *(part("text-delta", style, id="txt-0", delta=word) for word in ("Hello", " there", "!")),
                part("text-end", style, id="txt-0"),
                part("finish-step", style),
                part("finish", style),
                b"data: [DONE]\n\n",
            ),
            known=0,
            settings={"announced": Dialect.VERCEL_AI},
            done=-2,
        ),
        "langserve": Sample(
            Dialect.LANGSERVE,
            (
                sse(run, "metadata"),
                *(sse({"content": word, "type": "AIMessageChunk"}, "data", style) for word in ("", "Hi", " you", "!")),
                b"event: end\n\n",
            ),
            known=2,
        ),
        "langgraph": Sample(
            Dialect.LANGGRAPH,
            (
                sse(run, "metadata"),
                *(sse({"messages": [{"content": "x"}]}, name, style) for name in ("values", "updates|sub", "values")),
                sse(b"null", "end"),
            ),
            known=2,
        ),
        "mcp": Sample(
            Dialect.MCP,
            (
                rpc(style, method="notifications/progress", params={"progressToken": 1, "progress": 10}),
                rpc(style, method="notifications/message", params={"level": "info", "data": {"result": 1}}),
                rpc(style, id=7, method="sampling/createMessage", params={"messages": []}),
                rpc(style, method="notifications/progress", params={"progressToken": 1, "progress": 90}),
                rpc(style, id=1, result={"content": [{"type": "text", "text": "18 degrees"}], "isError": False}),
            ),
        ),
        "a2a": Sample(
            Dialect.A2A,
            (
                a2a(style, history=[], id="t1", kind="task", status={"state": "submitted"}),
                a2a_status("working", style),
                *(a2a_artifact(style) for _ in range(3)),
                a2a_status("completed", style, final=True),
            ),
        ),
        "a2a 1.0": Sample(
            Dialect.A2A,
            (
                a2a(style, task={"id": "t1", "contextId": "c1", "status": {"state": "TASK_STATE_SUBMITTED"}}),
                a2a(style, statusUpdate={"taskId": "t1", "status": {"state": "TASK_STATE_WORKING"}}),
                *(a2a(style, artifactUpdate={"taskId": "t1", "artifact": {"parts": []}}) for _ in range(3)),
                a2a(style, statusUpdate={"taskId": "t1", "status": {"state": "TASK_STATE_INPUT_REQUIRED"}}),
            ),
        ),
        "ag_ui": Sample(
            Dialect.AG_UI,
            (
                part("RUN_STARTED", style, **ids),
                part("TEXT_MESSAGE_START", style, messageId="m1", role="assistant"),
                *(part("TEXT_MESSAGE_CONTENT", style, messageId="m1", delta=word) for word in ("a", "b", "c")),
                part("TEXT_MESSAGE_END", style, messageId="m1"),
                part("RUN_FINISHED", style, **ids),
            ),
        ),
    }


AZURE = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": [{"prompt_index": 0}],
}


@dataclass(frozen=True)
class Sample:
    """One dialect's body, event by event."""

    dialect: Dialect
    events: tuple[bytes, ...]
    protocol: Protocol = Protocol.SSE
    known: int = 1  # events after which the dialect is recognised
    settings: dict = field(default_factory=dict)  # of the stream
    done: int = -1  # index of the first event after which the stream is complete

    @property
    def complete_after(self):
        return self.done % len(self.events) + 1


def samples(style="compact"):
    """Return one complete body a dialect, JSON in the given white space."""
    return {
        "openai.chat": Sample(
            Dialect.OPENAI_CHAT,
            (
                sse(chat({"role": "assistant", "content": ""}), style=style),
                *(sse(chat({"content": word}), style=style) for word in ("Hello", " there", "!", " \u00fc\U0001f600")),
                sse(chat(finish="stop"), style=style),
                sse(chat_usage(), style=style),
                b"data: [DONE]\n\n",
            ),
            done=-3,
        ),
        "azure": Sample(
            Dialect.OPENAI_CHAT,
            (
                sse(AZURE, style=style),
                *(sse(chat({"content": "w"}), style=style) for _ in range(12)),
                sse(chat(finish="stop"), style=style),
                b"data: [DONE]\n\n",
            ),
            known=2,
            done=-2,
        ),
        "openai.responses": Sample(
            Dialect.OPENAI_RESPONSES,
            (
                sse(response("created", 0, response=response_object("in_progress")), "response.created", style),
                sse(response("in_progress", 1, response=response_object("in_progress")), "response.in_progress", style),
                sse(response("output_item.added", 2, output_index=0, item={}), "response.output_item.added", style),
                *(
                    sse(response("output_text.delta", n, item_id="m", delta="Hi"), "response.output_text.delta", style)
                    for n in range(3, 9)
                ),
                sse(response("output_text.done", 9, text="Hi" * 6), "response.output_text.done", style),
                sse(response("completed", 10, response=response_object("completed")), "response.completed", style),
            ),
        ),
        "anthropic.messages": Sample(
            Dialect.ANTHROPIC_MESSAGES,
            (
                sse(
                    {
                        "type": "message_start",
                        "message": {
                            "id": "msg_1",
                            "type": "message",
                            "role": "assistant",
                            "content": [],
                            "model": "claude-sonnet-4",
                            "stop_reason": None,
                            "stop_sequence": None,
                            "usage": {"input_tokens": 25, "output_tokens": 1},
                        },
                    },
                    "message_start",
                    style,
                ),
                sse({"type": "content_block_start", "index": 0, "content_block": {}}, "content_block_start", style),
                sse({"type": "ping"}, "ping", style),
                *(
                    sse(
                        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
                        "content_block_delta",
                        style,
                    )
                    for _ in range(6)
                ),
                sse({"type": "content_block_stop", "index": 0}, "content_block_stop", style),
                sse(
                    {
                        "type": "message_delta",
                        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                        "usage": {"output_tokens": 15},
                    },
                    "message_delta",
                    style,
                ),
                sse({"type": "message_stop"}, "message_stop", style),
            ),
        ),
        "ollama": Sample(
            Dialect.OLLAMA,
            (
                *(
                    line({"model": "llama3.2", "created_at": "2024-08-04", "response": w, "done": False}, style)
                    for w in ("The", " sky", " is", " \u00fc")
                ),
                line(
                    {
                        "model": "llama3.2",
                        "created_at": "2024-08-04",
                        "response": "",
                        "done": True,
                        "done_reason": "stop",
                        "context": list(range(3000)),
                        "total_duration": 10706818083,
                        "eval_count": 282,
                        "eval_duration": 4232710000,
                    },
                    style,
                ),
            ),
            Protocol.NDJSON,
        ),
        "gemini": Sample(
            Dialect.GEMINI,
            (
                *(sse(gemini(word), style=style) for word in ("The", " sky", " is", " \u00fc")),
                sse(gemini("", "STOP"), style=style),
            ),
        ),
        "cohere": Sample(
            Dialect.COHERE,
            (
                cohere("message-start", style, id="c1", delta={"message": {"role": "assistant", "content": []}}),
                cohere("content-start", style, index=0, delta={"message": {"content": {"type": "text", "text": ""}}}),
                *(
                    cohere("content-delta", style, index=0, delta={"message": {"content": {"text": word}}})
                    for word in ("Hello", " you", "!")
                ),
                cohere("content-end", style, index=0),
                cohere("message-end", style, delta={"finish_reason": "COMPLETE", "usage": {"output_tokens": 9}}),
            ),
        ),
        **agents(style),
    }


STYLES = [(name, style) for name in samples() for style in SEPARATORS]
NAMES = [name for name in samples() if name != "langgraph"]  # whose end some versions leave out


@pytest.mark.parametrize(("name", "style"), STYLES)
def test_complete_bodies(play, name, style):
    """A complete body is completed, its marker seen, its dialect known, whatever the white space in its JSON."""
    sample = samples(style)[name]
    s = play(sample.events, sample.protocol, **sample.settings)
    assert (s.result, s.reason, s.terminal, s.phase) == (
        *(Result.OK, Reason.COMPLETED),
        *(Terminal.SEEN, Phase.AFTER_TERMINAL),
    )
    assert s.dialect is sample.dialect


LINE_ENDS = [
    (name, eol)
    for name, sample in samples().items()
    if name in NAMES
    for eol in (b"\r\n", b"\r")[: 1 + (sample.protocol is Protocol.SSE)]
]


@pytest.mark.parametrize(("name", "eol"), LINE_ENDS)
def test_other_line_ends(play, name, eol):
    """CR LF ends lines and events as LF does; so does CR alone in SSE."""
    sample = samples()[name]
    events = [event.replace(b"\n", eol) for event in sample.events]
    assert play(events, sample.protocol, **sample.settings).reason is Reason.COMPLETED
    cut = play(events[: sample.complete_after - 1], sample.protocol, **sample.settings)
    assert cut.reason is Reason.MISSING_TERMINAL


@pytest.mark.parametrize("name", samples())
def test_a_byte_order_mark(play, name):
    """A byte order mark before the first event, which .NET may write, belongs to no field (WHATWG HTML 9.2.5)."""
    sample = samples()[name]
    first, *others = sample.events
    for events in ([b"\xef\xbb\xbf" + first, *others], [b"\xef\xbb", b"\xbf", first, *others]):
        s = play(events, sample.protocol, **sample.settings)
        assert (s.reason, s.dialect) == (Reason.COMPLETED, sample.dialect)


def test_text_completions_are_chat(play):
    """The endpoint before chat, which model servers still have, ends as chat does."""
    events = [sse(chat(finish=finish) | {"object": "text_completion"}) for finish in (None, None, "length")]
    assert play([*events[:2]]).reason is Reason.MISSING_TERMINAL
    s = play([*events, b"data: [DONE]\n\n"])
    assert (s.reason, s.dialect) == (Reason.INCOMPLETE_DECLARED, Dialect.OPENAI_CHAT)


@pytest.mark.parametrize("name", NAMES)
def test_cut_at_every_event(play, name):
    """Cut between two events a body is truncated until its marker; before the dialect is known nothing is guessed."""
    sample = samples()[name]
    for kept in range(len(sample.events) + 1):
        s = play(sample.events[:kept], sample.protocol, **sample.settings)
        if kept < sample.known:
            expected = (Reason.COMPLETED, Terminal.NOT_CHECKED, Dialect.NONE)
        elif kept < sample.complete_after:
            expected = (Reason.MISSING_TERMINAL, Terminal.MISSING, sample.dialect)
        else:
            expected = (Reason.COMPLETED, Terminal.SEEN, sample.dialect)
        assert (s.reason, s.terminal, s.dialect) == expected, kept


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("last", [1, 2])
def test_cut_at_every_byte_of_the_last_events(play, name, last):
    """Cut inside one of its last two events a body is complete only if that event's data came whole."""
    sample = samples()[name]
    before, event = sample.events[:-last], sample.events[-last]
    done_before = len(before) >= sample.complete_after
    for at in range(1, len(event)):
        if 20 < at < len(event) - 700 and at % 53:  # of long events every byte at both ends
            continue
        whole = b"data:" in event or sample.protocol is Protocol.NDJSON  # else the blank line alone tells
        whole = whole and not event[at:].strip() and len(before) + 1 >= sample.complete_after
        s = play([*before, event[:at]], sample.protocol, **sample.settings)
        expected = Reason.COMPLETED if whole or done_before else Reason.MISSING_TERMINAL
        assert s.reason is expected, event[max(0, at - 40) : at]


@pytest.mark.parametrize("name", NAMES)
def test_a_marker_split_at_every_byte(play, name):
    """The marker is seen wherever a message boundary divides it, also when the rest comes byte by byte."""
    sample = samples()[name]
    *before, event = sample.events
    points = sorted({*range(1, min(len(event), 700)), *range(max(1, len(event) - 200), len(event))})
    for at in points:
        s = play([*before, event[:at], event[at:]], sample.protocol, **sample.settings)
        assert (s.reason, s.terminal) == (Reason.COMPLETED, Terminal.SEEN), at
    bytewise = [event[i : i + 1] for i in range(len(event))]
    assert play([*before, *bytewise], sample.protocol, **sample.settings).reason is Reason.COMPLETED


def facts(summary):
    """Return what a verdict reads from the body."""
    names = ("result", "reason", "terminal", "dialect", "finish_reason", "output_tokens", "model")
    return {name: getattr(summary, name) for name in names}


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(NAMES), points=st.lists(st.integers(0, 1 << 16), max_size=30), cut=st.booleans())
def test_cuts_between_messages_do_not_matter(play, name, points, cut):
    """Everything a verdict says of a body is the same however it is cut into messages."""
    sample = samples()[name]
    body = b"".join(sample.events[: -1 if cut else None])
    bounds = [0, *sorted(point % len(body) for point in points), len(body)]
    pieces = [body[a:b] for a, b in pairwise(bounds) if a < b]
    assert facts(play(pieces, sample.protocol, **sample.settings)) == facts(
        play([body], sample.protocol, **sample.settings)
    )


POOL = (
    *(sse(chat({"content": "w" * n})) for n in (1, 300, 700, 3000)),
    *(sse(chat(finish=finish)) for finish in ("stop", "length")),
    sse(chat_usage()),
    b"data: [DONE]\n\n",
    b": ping\n\n",
    b"\n",
    b"retry: 3000\n\n",
    b"event: ping\ndata: {}\n\n",
    b'event: x\ndata: {"a":\ndata: 1}\n\n',
    sse({"error": {"message": "no"}}),
)


@settings(max_examples=200, deadline=None)
@given(
    events=st.lists(st.sampled_from(POOL), min_size=1, max_size=30),
    joins=st.lists(st.integers(1, 6), max_size=30),
    points=st.lists(st.integers(0, 1 << 16), max_size=20),
    eol=st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]),
)
def test_events_alone_or_together_do_not_matter(play, events, joins, points, eol):
    """A message an event, several events a message, events cut anywhere: the verdict is the same."""
    events = [sse(chat({"content": ""})), *events]
    events = [event.replace(b"\n", eol) for event in events]
    body = b"".join(events)
    bounds = [0, *sorted(point % len(body) for point in points), len(body)]
    rest = iter(events)
    together = [b"".join(islice(rest, n)) for n in [*joins, len(events)]]
    ways = (events, [piece for piece in together if piece], [body[a:b] for a, b in pairwise(bounds) if a < b])
    one = facts(play([body]))
    for way in ways:
        assert facts(play(way)) == one


KEEPALIVES = {Protocol.SSE: (b": ping\n\n", b":\n\n", b"event: ping\ndata: {}\n\n"), Protocol.NDJSON: (b"\n", b"\r\n")}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("joined", [False, True])
def test_keepalives_change_nothing(play, name, joined):
    """Comments and pings between the events and after the last one change no verdict, in their messages or apart."""
    sample = samples()[name]
    for alive in KEEPALIVES[sample.protocol]:
        with_alive = [piece for event in sample.events for piece in (event, alive * 2)]
        if joined:
            with_alive = [alive + event + alive for event in sample.events]
        s = play(with_alive, sample.protocol, **sample.settings)
        assert (s.reason, s.terminal, s.dialect) == (Reason.COMPLETED, Terminal.SEEN, sample.dialect)
        early = with_alive[: (sample.complete_after - 1) * (1 if joined else 2)]
        assert play(early, sample.protocol, **sample.settings).reason is Reason.MISSING_TERMINAL


@pytest.mark.parametrize("name", NAMES)
def test_unknown_events_change_nothing(play, name):
    """Events nobody knows, between the known ones and after the last, change no verdict."""
    sample = samples()[name]
    extra = line({"x": 1}) if sample.protocol is Protocol.NDJSON else sse({"x": 1}, "x.vendor")
    first, *rest = sample.events
    spread = [first, *(piece for event in rest for piece in (event, extra))]
    assert play(spread, sample.protocol, **sample.settings).reason is Reason.COMPLETED
    assert (
        play([*spread[: (sample.complete_after - 2) * 2], extra], sample.protocol, **sample.settings).reason
        is Reason.MISSING_TERMINAL
    )


TEXT = (
    'data: [DONE] "finish_reason":"stop" "type":"response.completed" "type": "message_stop" "done":true '
    '{"error":{"message":"no"}} {"type":"error"} \n\ndata: [DONE]\n\nevent: message_stop\n\nevent: error\n\n '
    '"stop_reason":"max_tokens" "type":"response.failed"'
)
DISGUISED = {
    "openai.chat": sse(chat({"content": TEXT})),
    "azure": sse(chat({"tool_calls": [{"function": {"arguments": dump({"finish_reason": "stop"}).decode()}}]})),
    "openai.responses": sse(response("output_text.delta", 5, delta=TEXT), "response.output_text.delta"),
    "anthropic.messages": sse(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
        "content_block_delta",
    ),
    "ollama": line({"model": "llama3.2", "response": TEXT, "done": False}),
    "gemini": sse(gemini(TEXT + '"finishReason":"STOP"')),
    "cohere": cohere("content-delta", delta={"message": {"content": {"text": TEXT}}}),
    "vercel_ai": part("data-weather", id="d", data={"type": "finish", "errors": {"type": "error"}}),
    "langserve": sse({"content": TEXT + "\n\nevent: end\n\n", "event": "end"}, "data"),
    "mcp": rpc(method="notifications/message", params={"data": {"result": {}, "error": {}, "id": 1}}),
    "a2a": a2a_artifact(kind="data", data={"state": "completed", "final": True, "kind": "message", "s": "failed"}),
    "a2a 1.0": a2a(artifactUpdate={"artifact": {"parts": [{"data": {"state": "TASK_STATE_FAILED"}}]}}),
    "ag_ui": part("RAW", event={"type": "RUN_FINISHED", "inner": {"type": "RUN_ERROR"}}),
}


@pytest.mark.parametrize("name", NAMES)
def test_markers_inside_text_are_none(play, name):
    """Text that quotes markers and errors is text: the body is truncated without its own marker, complete with it."""
    sample = samples()[name]
    body = list(sample.events[: sample.complete_after - 1])
    assert play([*body, DISGUISED[name]], sample.protocol, **sample.settings).reason is Reason.MISSING_TERMINAL
    rest = sample.events[sample.complete_after - 1 :]
    assert play([*body, DISGUISED[name], *rest], sample.protocol, **sample.settings).reason is Reason.COMPLETED


def test_markers_inside_nested_objects_are_none(play):
    """Keys and values that users choose, in nested objects, are no markers."""
    created = samples()["openai.responses"].events[0]
    tagged = response_object("completed", metadata={"type": "error", "done": "true"})
    s = play([created, sse(response("completed", 9, response=tagged), "response.completed")])
    assert s.reason is Reason.COMPLETED
    call = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments": {"done": True}}}],
    }
    lines = [line({"model": "llama3.2", "message": call, "done": False}) for _ in range(2)]
    assert play(lines, Protocol.NDJSON).reason is Reason.MISSING_TERMINAL
    arguments = {"pad": "x" * 700, "finishReason": "because", "more": "x" * 700}  # in the middle of a long event
    s = play([sse(gemini("a")), sse(gemini("", functionCall={"args": arguments}))])
    assert (s.reason, s.finish_reason) == (Reason.MISSING_TERMINAL, None)


ERRORS = {
    "openai.chat": ({"error": {"message": "The server had an error", "type": "server_error", "code": None}}, ""),
    "azure": ({"error": "overloaded"}, ""),
    "openai.responses": ({"type": "error", "code": "server_error", "message": "x", "sequence_number": 9}, "error"),
    "anthropic.messages": ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error"),
    "ollama": ({"error": "an error was encountered while running the model: unexpected EOF"}, ""),
    "gemini": ({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}, ""),
    "cohere": ({"type": "message-end", "delta": {"error": "x", "finish_reason": "ERROR"}}, "message-end"),
    "vercel_ai": ({"type": "error", "errorText": "An error occurred."}, ""),
    "langserve": ({"status_code": 500, "message": "Internal Server Error"}, "error"),
    "a2a": ({"jsonrpc": "2.0", "id": "req-1", "error": {"code": -32603, "message": "Internal error"}}, ""),
    "a2a 1.0": (
        {"jsonrpc": "2.0", "id": 1, "result": {"statusUpdate": {"status": {"state": "TASK_STATE_FAILED"}}}},
        "",
    ),
    "ag_ui": ({"type": "RUN_ERROR", "message": "the agent failed", "code": "E1"}, ""),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("style", SEPARATORS)
def test_in_band_errors(play, name, marked, style):
    """An error event is a failure, though the wire is clean and the marker may follow it."""
    sample = samples(style)[name]
    data, event = ERRORS[name]
    error = line(data, style) if sample.protocol is Protocol.NDJSON else sse(data, event, style)
    s = play(
        [*sample.events[: sample.complete_after - 1], error, *sample.events[-1:] * marked],
        sample.protocol,
        **sample.settings,
    )
    assert (s.result, s.reason, s.terminal) == (Result.SILENT, Reason.IN_BAND_ERROR, Terminal.MISSING)
    assert s.bad


def test_a_failed_response_is_an_in_band_error(play):
    """response.failed is the Responses API's way to end in failure, however long it is."""
    created = samples()["openai.responses"].events[0]
    failed = response_object("failed", "t" * 20_000, error={"code": "server_error", "message": "The model failed"})
    s = play([created, sse(response("failed", 1, response=failed), "response.failed")])
    assert s.reason is Reason.IN_BAND_ERROR


def test_a_cancelled_response_was_stopped_by_its_consumer(play):
    """response.cancelled says that the consumer stopped it."""
    created = samples()["openai.responses"].events[0]
    cancelled = response("cancelled", 1, response=response_object("cancelled"))
    s = play([created, sse(cancelled, "response.cancelled")])
    assert (s.outcome, s.reason, s.origin) == ("cancelled", Reason.CONSUMER_STOPPED, "client")


@pytest.mark.parametrize("said", ["error", "insufficient_system_resource"])
def test_an_error_as_finish_reason(play, said):
    """Gateways that end a chat with finish_reason "error", and DeepSeek with another word, report a failure."""
    assert play([sse(chat({"content": "a"})), sse(chat(finish=said))]).reason is Reason.IN_BAND_ERROR


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("ending", ["finish", "done", "usage", "comment"])
@pytest.mark.parametrize("style", SEPARATORS)
def test_chat_that_stopped_early_stays_so(play, reason, ending, style):
    """A chat that stopped early is complete and says so, also with usage, comments and [DONE] after it."""
    tail = {
        "finish": [],
        "done": [b"data: [DONE]\n\n"],
        "usage": [sse(chat_usage(), style=style), b"data: [DONE]\n\n"],
        "comment": [b": cost\n\n" + sse(chat_usage(), style=style) + b": bye\n\ndata: [DONE]\n\n: end\n\n"],
    }[ending]
    body = [*(sse(chat({"content": "w"}), style=style) for _ in range(30)), sse(chat(finish=reason), style=style)]
    for messages in ([*body, *tail], [b"".join([*body, *tail])]):
        s = play(messages)
        assert (s.result, s.reason, s.terminal) == (Result.OK, Reason.INCOMPLETE_DECLARED, Terminal.SEEN)
        assert s.finish_reason == reason


EARLY = {
    "anthropic.messages": [
        sse({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 4}}),
        sse({"type": "message_stop"}, "message_stop"),
    ],
    "ollama": [line({"model": "llama3.2", "done": True, "done_reason": "length", "context": list(range(2000))})],
    "gemini": [sse(gemini("", "MAX_TOKENS"))],
    "cohere": [cohere("message-end", delta={"finish_reason": "MAX_TOKENS", "usage": {}})],
    "vercel_ai": [part("finish", messageMetadata={"a": 1}, finishReason="length"), b"data: [DONE]\n\n"],
    "openai.responses": [
        sse(
            response("incomplete", 9, response=response_object("incomplete", "t" * 30_000)),
            "response.incomplete",
        )
    ],
}


@pytest.mark.parametrize("name", EARLY)
def test_others_that_stopped_early(play, name):
    """Each dialect's way to say that it stopped early makes a completed stream that says so."""
    sample = samples()[name]
    s = play([*sample.events[:-2], *EARLY[name]], sample.protocol, **sample.settings)
    assert (s.result, s.reason, s.terminal) == (Result.OK, Reason.INCOMPLETE_DECLARED, Terminal.SEEN)


@pytest.mark.parametrize("said", ["abort", "model_length"])
def test_model_servers_that_stopped_early(play, said):
    """vLLM and SGLang abort, Mistral meets the end of its context: what they say is not how an answer ends."""
    assert play([*samples()["openai.chat"].events[:3], sse(chat(finish=said))]).reason is Reason.INCOMPLETE_DECLARED


def test_a_response_that_is_taken_up_again(play):
    """From ``starting_after`` on a response is known by its numbered events; who sends some may leave the end out."""
    events = samples()["openai.responses"].events[4:]
    s = play(events)
    assert (s.reason, s.dialect, s.terminal) == (Reason.COMPLETED, Dialect.OPENAI_RESPONSES, Terminal.SEEN)
    assert play(events[:-1]).terminal is Terminal.NOT_CHECKED
    assert play([*events[:-1], part("response.failed", sequence_number=9)]).reason is Reason.IN_BAND_ERROR
    assert play([part("response.mine", text="x")]).dialect is Dialect.NONE


REST_ENDS = {"COMPLETED": Reason.COMPLETED, "AUTH_REQUIRED": Reason.COMPLETED, "FAILED": Reason.IN_BAND_ERROR}


@pytest.mark.parametrize("state", REST_ENDS)
def test_a2a_over_rest(play, state):
    """Over HTTP+JSON (A2A 1.0, section 11.7) each event is a task or an update, in no envelope of JSON-RPC."""
    task = sse({"task": {"id": "t1", "contextId": "c1", "status": {"state": "TASK_STATE_WORKING"}}})
    more = [sse({"artifactUpdate": {"taskId": "t1", "artifact": {"parts": [{"text": "x"}]}}})] * 3
    end = sse({"statusUpdate": {"taskId": "t1", "status": {"state": f"TASK_STATE_{state}"}}})
    s = play([task, *more, end])
    assert (s.dialect, s.reason) == (Dialect.A2A, REST_ENDS[state])
    assert play([task, *more]).reason is Reason.MISSING_TERMINAL


LONG = "Ein \u00fcberlanger Satz. " * 2300
LONG_EVENTS = {
    "openai.chat": sse(chat({"content": LONG})),
    "azure": sse(chat({"content": LONG})),
    "openai.responses": sse(response("output_text.delta", 5, delta=LONG), "response.output_text.delta"),
    "anthropic.messages": sse(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": LONG}},
        "content_block_delta",
    ),
    "ollama": line({"model": "llama3.2", "response": LONG, "done": False}),
    "gemini": sse(gemini(LONG)),
    "cohere": cohere("content-delta", index=0, delta={"message": {"content": {"text": LONG}}}),
    "vercel_ai": part("tool-output-available", toolCallId="c", output={"text": LONG}),
    "langserve": sse({"content": LONG}, "data"),
    "mcp": rpc(method="notifications/message", params={"data": LONG}),
    "a2a": a2a_artifact(kind="text", text=LONG),
    "a2a 1.0": a2a(artifactUpdate={"artifact": {"parts": [{"text": LONG}]}}),
    "ag_ui": part("STATE_SNAPSHOT", snapshot={"text": LONG}),
}
SIGNED = {"parts": [{"text": "", "thoughtSignature": "A" * 3000}], "role": "model"}
LONG_ENDS = {
    "gemini": sse(gemini("", "STOP", groundingMetadata={"text": LONG})),
    "gemini in one event": sse(gemini(LONG, "STOP")),
    "gemini of a thinking model": sse(
        {"candidates": [{"content": SIGNED, "finishReason": "STOP", "groundingMetadata": {"text": LONG}}]}
    ),
    "vercel_ai": part("finish", messageMetadata={"text": LONG}),
    "mcp": rpc(id=1, result={"content": [{"type": "text", "text": LONG}]}),
    "mcp in TypeScript": sse({"result": {"content": [{"text": LONG}]}, "jsonrpc": "2.0", "id": 1}, "message"),
    "a2a": a2a_status("completed", final=True, text=LONG),
    "a2a 1.0": a2a(statusUpdate={"status": {"message": {"parts": [LONG]}, "state": "TASK_STATE_COMPLETED"}}),
    "ag_ui": part("RUN_FINISHED", threadId="t", runId="r", result=LONG),
}


@pytest.mark.parametrize("name", LONG_EVENTS)
def test_events_of_50_kb(play, name):
    """Events of 50 KB on the way hide no marker and make none, whole or cut into packets."""
    sample = samples()[name]
    body = [*sample.events[: sample.complete_after - 1], LONG_EVENTS[name]]
    ways = [body, [b"".join(body)[i : i + 1000] for i in range(0, len(b"".join(body)), 1000)]]
    for way in ways:
        s = play(way, sample.protocol, **sample.settings)
        assert (s.reason, s.dialect) == (Reason.MISSING_TERMINAL, sample.dialect)
        s = play([*way, *sample.events[sample.complete_after - 1 :]], sample.protocol, **sample.settings)
        assert s.reason is Reason.COMPLETED


@pytest.mark.parametrize("name", LONG_ENDS)
def test_ends_of_50_kb(play, name):
    """An end that carries 50 KB is seen; cut inside it is not."""
    sample = samples()[name.split(" in ")[0].split(" of ")[0]]
    body = b"".join([*sample.events[: sample.complete_after - 1], LONG_ENDS[name]])
    packets = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    assert play(packets, **sample.settings).reason is Reason.COMPLETED
    assert play(packets[:-3], **sample.settings).reason is Reason.MISSING_TERMINAL


@pytest.mark.parametrize("name", LONG_ENDS)
def test_a_long_first_event_is_recognised(play, name):
    """A body whose only event is a long answer is of its dialect."""
    sample = samples()[name.split(" in ")[0].split(" of ")[0]]
    if name != "ag_ui":
        assert play([LONG_ENDS[name]], **sample.settings).dialect is sample.dialect


@pytest.mark.parametrize("size", [700, 20_000, 50_000])
@pytest.mark.parametrize("chunk", [1000, 65536])
def test_long_final_events(play, size, chunk):
    """A response.completed that repeats an answer of 50 KB is seen, whole or cut into packets; cut short it is not."""
    text = "Ein \u00fcberlanger Satz. " * (size // 22)
    final = sse(response("completed", 99, response=response_object("completed", text)), "response.completed")
    body = b"".join([*samples()["openai.responses"].events[:-1], final])
    pieces = [body[i : i + chunk] for i in range(0, len(body), chunk)]
    s = play(pieces)
    assert (s.reason, s.terminal, s.output_tokens) == (Reason.COMPLETED, Terminal.SEEN, 11)
    short = b"".join(pieces)[: -len(final) // 2]
    assert play([short[i : i + chunk] for i in range(0, len(short), chunk)]).reason is Reason.MISSING_TERMINAL


@pytest.mark.parametrize("size", [100, 550, 700, 5000])
@pytest.mark.parametrize("chunk", [100, 1000, 65536])
def test_what_stands_in_the_middle_of_a_long_end(play, size, chunk):
    """Gemini's last event tells its finish reason and tokens between a long text and what the SDKs need besides."""
    usage = {
        "promptTokenCount": 4,
        "candidatesTokenCount": 5678,
        "details": [{"modality": "TEXT", "tokenCount": 4}] * 4,
    }
    end = gemini("x" * size, "MAX_TOKENS", usageMetadata=usage)
    body = sse(gemini("Hello")) + sse(end)
    s = play([body[i : i + chunk] for i in range(0, len(body), chunk)])
    assert (s.reason, s.finish_reason, s.output_tokens) == (Reason.INCOMPLETE_DECLARED, "MAX_TOKENS", 5678)
    assert play([sse(gemini("Hello", "STOP")), sse(gemini("x" * size))]).reason is Reason.MISSING_TERMINAL


CHOICES = [
    ([("stop", 0), ("stop", 1)], Reason.COMPLETED),
    ([("stop", 0)], Reason.COMPLETED),
    ([("stop", 0), (None, 1)], Reason.MISSING_TERMINAL),
    ([("stop", 1), (None, 0), (None, 0)], Reason.MISSING_TERMINAL),
    ([("stop", 0), (None, 1), ("length", 1)], Reason.INCOMPLETE_DECLARED),
]


@pytest.mark.parametrize(("ends", "reason"), CHOICES)
def test_several_choices_without_a_sentinel(play, ends, reason):
    """Of several choices the last event with choices decides where [DONE] does not come."""
    body = [sse(chat({"content": "w"}, index=i % 2)) for i in range(8)]
    body += [sse(chat(finish=finish, index=index)) for finish, index in ends]
    assert play(body).reason is reason


def test_several_choices_with_a_sentinel(play):
    """Of several choices [DONE] completes all."""
    body = [sse(chat({"content": "w"}, index=i % 2)) for i in range(8)]
    done = [sse(chat(finish="stop", index=0)), sse(chat({"content": "x"}, index=1)), b"data: [DONE]\n\n"]
    assert play(body + done).reason is Reason.COMPLETED


def test_several_choices_in_one_event(play):
    """An event in which one choice ends and another goes on does not end the stream."""
    both = chat(finish="stop")
    both["choices"].append({"index": 1, "delta": {"content": "x"}, "finish_reason": None})
    assert play([sse(chat({"content": "w"})), sse(both)]).reason is Reason.MISSING_TERMINAL


@pytest.mark.parametrize(
    ("name", "finish", "tokens", "model"),
    [
        ("openai.chat", "stop", 12, "gpt-4o-mini"),
        ("azure", "stop", None, "gpt-4o-mini"),
        ("openai.responses", None, 11, "gpt-4.1"),
        ("anthropic.messages", "end_turn", 15, "claude-sonnet-4"),
        ("ollama", "stop", 282, "llama3.2"),
        ("gemini", "STOP", 31, "gemini-2.5-flash"),
        ("cohere", "COMPLETE", 9, None),
        ("a2a", None, None, None),
    ],
)
def test_what_the_events_tell(play, name, finish, tokens, model):
    """Finish reason, tokens and model are read where the first or last events tell them."""
    sample = samples()[name]
    s = play(sample.events, sample.protocol, **sample.settings)
    assert (s.finish_reason, s.output_tokens, s.model) == (finish, tokens, model)


@pytest.mark.parametrize(
    ("name", "tokens", "model"), [("anthropic.messages", 1, "claude-sonnet-4"), ("openai.responses", 11, "gpt-4.1")]
)
def test_what_a_cut_stream_has_told(play, name, tokens, model):
    """A stream that names its model in its first event only has named it, however far it came."""
    sample = samples()[name]
    s = play([sample.events[0], *sample.events[1:2] * 40], sample.protocol, **sample.settings)
    assert (s.reason, s.output_tokens, s.model) == (Reason.MISSING_TERMINAL, tokens, model)


@pytest.mark.parametrize("said", ["my car is a Beetle", "x" * 129, "a\nb", "caf\u00e9", "", "{}"])
def test_what_is_no_name_is_no_model(play, said):
    """Words of a text under the key of the model are content, and are not told."""
    assert play([sse(chat(finish="stop") | {"model": said})]).model is None


@pytest.mark.parametrize(
    "said", ["x" * 128, "ft:gpt-4o:acme::B1", "meta-llama/Llama-3.1+q4@r1", "us.anthropic.claude:0"]
)
def test_names_of_models(play, said):
    """A fine-tune's, a repository's and a region's names are names."""
    assert play([sse(chat(finish="stop") | {"model": said})]).model == said


def test_arguments_of_a_function_are_no_model(play):
    """Of Gemini's events only ``modelVersion`` names the model: a function's arguments come before it."""
    called = {"functionCall": {"name": "sell", "args": {"model": "Beetle"}}}
    event = gemini("w", "STOP")
    event["candidates"][0]["content"]["parts"] = [called]
    assert play([sse(event)]).model == "gemini-2.5-flash"
    del event["modelVersion"]
    assert play([sse(event)]).model is None


DECLARED = [
    (Declared("event", "done"), b"event: done\ndata: {}\n\n", b"event: donee\ndata: done\n\n"),
    (Declared("event", "a.b"), b"data: x\nevent: a.b\n\n", b"event: aXb\ndata: a.b\n\n"),
    (Declared("data", "[END]"), b"data: [END]\n\n", b"data: [END] not yet\n\n"),
    (Declared("data", "[END]"), b"event: x\ndata:[END]\n\n", b"data: E\n\n"),
    (Declared("json", "status=done"), b'data: {"status": "done"}\n\n', b'data: {"status": "done-ish"}\n\n'),
    (Declared("json", "final=true"), b'data: {"a":1,"final" : true}\n\n', b'data: {"final":false,"x":"true"}\n\n'),
    (Declared("json", "n=3"), b'data: {"n":3}\n\n', b'data: {"n":33}\n\n'),
]


@pytest.mark.parametrize(("declared", "marker", "other"), DECLARED, ids=str)
def test_declared_markers(play, declared, marker, other):
    """A marker declared by the user ends the stream; what merely resembles it does not."""
    s = play([b'data: {"i":1}\n\n', other, marker], declared=declared)
    assert (s.reason, s.terminal, s.dialect) == (Reason.COMPLETED, Terminal.SEEN, Dialect.DECLARED)
    s = play([b'data: {"i":1}\n\n', other], declared=declared)
    assert (s.reason, s.terminal, s.dialect) == (Reason.MISSING_TERMINAL, Terminal.MISSING, Dialect.DECLARED)


@pytest.mark.parametrize("count", [1, 3, 4, 5, *range(40, 120)])
def test_a_declared_marker_is_found_after_any_number_of_events(play, count):
    """A declared marker is found however much came before it, and after however long an event."""
    body = [b'data: {"n":%d}\n\n' % i for i in range(count)]
    for marker in (b'data: {"status":"done"}\n\n', b'data: {"status":"done","a":"%s"}\n\n' % (b"y" * 3000)):
        assert play([*body, marker], declared=Declared("json", "status=done")).reason is Reason.COMPLETED
        joined = b"".join([*body, marker])
        assert play([joined], declared=Declared("json", "status=done")).reason is Reason.COMPLETED


def test_a_declared_marker_in_ndjson(play):
    """A declared marker is read from NDJSON lines as well."""
    lines = [b'{"n":1}\n'] * 9
    declared = Declared("json", "type=end")
    assert play([*lines, b'{"type":"end"}\n'], Protocol.NDJSON, declared=declared).reason is Reason.COMPLETED
    assert play(lines, Protocol.NDJSON, declared=declared).reason is Reason.MISSING_TERMINAL


@pytest.mark.parametrize("name", NAMES)
def test_a_declaration_wins_over_the_dialect(play, name):
    """An explicit declaration wins: the dialect's own marker neither suffices nor is it asked for."""
    sample = samples()[name]
    s = play(sample.events, sample.protocol, **sample.settings, declared=Declared("json", "never=1"))
    assert (s.reason, s.dialect) == (Reason.MISSING_TERMINAL, Dialect.DECLARED)
    s = play(sample.events[:2], sample.protocol, **sample.settings, declared=Declared("none"))
    assert (s.reason, s.terminal) == (Reason.COMPLETED, Terminal.NOT_REQUIRED)


@pytest.mark.parametrize("declared", [None, Declared("data", "END"), Declared("json", "a=b")])
@pytest.mark.parametrize("protocol", [Protocol.SSE, Protocol.CHUNKED])
def test_unreadable_bodies_are_not_checked(play, declared, protocol):
    """Where the plain bytes are not seen, or the protocol has no events, no marker is missed."""
    s = play([b"\x1f\x8b\x08data"], protocol, readable=False, declared=declared)
    assert (s.reason, s.terminal, s.dialect) == (Reason.COMPLETED, Terminal.NOT_CHECKED, Dialect.NONE)


@pytest.mark.parametrize(
    ("protocol", "last", "reason"),
    [
        (Protocol.SSE, b"data: hello\n\n", Reason.COMPLETED),
        (Protocol.SSE, b"data: hello", Reason.MISSING_TERMINAL),
        (Protocol.SSE, b'data: {"a":', Reason.MISSING_TERMINAL),
        (Protocol.SSE, b": bye", Reason.COMPLETED),
        (Protocol.NDJSON, b'{"a":1}\n', Reason.COMPLETED),
        (Protocol.NDJSON, b'{"a":1}', Reason.COMPLETED),
        (Protocol.NDJSON, b'{"a":', Reason.MISSING_TERMINAL),
        (Protocol.NDJSON, b" \n", Reason.COMPLETED),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 4, 50])
def test_unknown_dialects(play, protocol, last, reason, count):
    """Without a dialect nothing is checked but that the last event or line is whole."""
    event = b"data: tick\n\n" if protocol is Protocol.SSE else b'{"tick":1}\n'
    s = play([*[event] * count, last], protocol)
    assert (s.reason, s.dialect) == (reason, Dialect.NONE)


def test_long_last_lines_without_a_line_end(play):
    """A complete last line of NDJSON, however long, needs no line end."""
    for count in (5, 50, 500):
        body = dump({"items": [{"id": i, "tags": ["a", "b"]} for i in range(count)], "sum": {"total": count}})
        assert play([b'{"a":1}\n', body], Protocol.NDJSON).reason is Reason.COMPLETED
        assert play([b'{"a":1}\n', body[:-4]], Protocol.NDJSON).reason is Reason.MISSING_TERMINAL


SSE_KEEPALIVES = [
    *(b": ping\n\n", b":\n\n", b":\n", b": a\n: b\n\n", b"\n", b"\r\n", b"\n\n", b": x\r\n\r\n", b": x\r\r", b": half"),
    *(b"event: ping\ndata: {}\n\n", b"event:ping\ndata:1\ndata:2\n\n", b"event: ping\r\ndata: x\r\n\r\n"),
    b": a\n\nevent: ping\ndata: {}\n\n: b\n\n",
]
SSE_PROGRESS = [
    *(b"data: x\n\n", b": a\n\ndata: x\n\n", b"event: pingback\ndata: x\n\n", b"event: x\n\n", b"x", b" : a\n"),
    b"event: ping\nid: 1\ndata: {}\n\nevent: a\n\n",
]


@pytest.mark.parametrize("message", SSE_KEEPALIVES)
def test_keepalives_of_sse(message):
    """Comments, pings and blank lines are keep-alives."""
    assert keepalive(Protocol.SSE, message) is not None


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
def test_what_a_keepalive_leaves_open(eol):
    """A comment or a ping without its end is what the next message is read behind; a whole one leaves nothing."""
    open_ping = {b"event: ping\n", b"event:ping\n", b": c\nevent: ping\ndata: {}\n", b"event: ping\n: c\ndata:\n"}
    for message in open_ping:
        assert keepalive(Protocol.SSE, message.replace(b"\n", eol)) == b"event: ping" + eol[-1:]
    for message in (b": half", b"event: ping\n\n: half", b":"):
        assert keepalive(Protocol.SSE, message.replace(b"\n", eol)) == b":"
    for message in (b": c\n", b"\n", b": event: ping\n", b"event: ping\ndata: {}\n\n"):
        assert keepalive(Protocol.SSE, message.replace(b"\n", eol)) == b""


@pytest.mark.parametrize("message", SSE_PROGRESS)
def test_progress_of_sse(message):
    """A message with any data of the application is progress."""
    assert keepalive(Protocol.SSE, message) is None


def test_keepalives_of_other_protocols():
    """White space keeps NDJSON alive; protocols without a convention know no keep-alives."""
    assert keepalive(Protocol.NDJSON, b" \r\n\n") is not None
    assert keepalive(Protocol.NDJSON, b'\n{"a":1}') is None
    assert keepalive(Protocol.CHUNKED, b"\n") is None


@pytest.mark.parametrize(
    "filler", [b":", b":\n", b"\n", b"\r", b"event: ping\n", b"event: ping\ndata: x\n", b": x\r\n", b"data: x\n"]
)
def test_adversarial_keepalives_are_judged_in_linear_time(filler):
    """A megabyte, or as much as is looked at, and almost a keep-alive: who backtracks would not come back."""
    for size, begin in product((4000, 1 << 20), (b"", b"event: ping\n", b": ")):
        assert keepalive(Protocol.SSE, begin + filler * (size // len(filler)) + b"\nx") is None


def test_every_rule_is_sampled():
    """Each dialect of text events that there is a rule for has a sample here."""
    assert {rule.dialect for rule in RULES if rule.protocol in KEEPALIVES} == {
        sample.dialect for sample in samples().values()
    }


def test_langgraph_may_leave_its_end_out(play):
    """A LangGraph stream without its end was not checked, with it the end was seen; an error is one."""
    events = samples()["langgraph"].events
    s = play(events)
    assert (s.reason, s.terminal, s.dialect) == (Reason.COMPLETED, Terminal.SEEN, Dialect.LANGGRAPH)
    for kept in (2, 3, 4):
        s = play(events[:kept])
        assert (s.reason, s.terminal, s.dialect) == (Reason.COMPLETED, Terminal.NOT_CHECKED, Dialect.LANGGRAPH)
    assert play([*events[:3], b"event: values\ndata: {"]).reason is Reason.MISSING_TERMINAL
    assert play([*events[:3], sse({"error": "GraphRecursionError"}, "error")]).reason is Reason.IN_BAND_ERROR


def test_a_langserve_stream_begins_with_metadata(play):
    """Events named data alone, or after other metadata, are nobody's."""
    run = sse({"run_id": "r"}, "metadata")
    for body in ([sse({"a": 1}, "data")] * 3, [sse({"title": "x"}, "metadata"), sse({"a": 1}, "data")], [run]):
        s = play(body)
        assert (s.reason, s.terminal, s.dialect) == (Reason.COMPLETED, Terminal.NOT_CHECKED, Dialect.NONE)
    assert play([run, sse({"x": 1}, "x"), sse({"a": 1}, "data")]).dialect is Dialect.LANGSERVE


def test_vercel_needs_its_header(play):
    """Without the header a UI message stream is nobody's; with it an empty one is truncated."""
    s = play(samples()["vercel_ai"].events[:4])
    assert (s.reason, s.dialect) == (Reason.COMPLETED, Dialect.NONE)
    s = play([], announced=Dialect.VERCEL_AI)
    assert (s.reason, s.terminal, s.dialect) == (Reason.MISSING_TERMINAL, Terminal.MISSING, Dialect.VERCEL_AI)
    s = play([], announced=Dialect.VERCEL_AI, declared=Declared("none"))
    assert (s.reason, s.terminal, s.dialect) == (Reason.COMPLETED, Terminal.NOT_REQUIRED, Dialect.NONE)


@pytest.mark.parametrize("more", [[], [b"data: [DONE]\n\n"]])
def test_vercel_abort(play, more):
    """An abort part says that the consumer stopped the stream, though [DONE] follows."""
    s = play([*samples()["vercel_ai"].events[:5], part("abort", reason="user"), *more], announced=Dialect.VERCEL_AI)
    assert (s.outcome, s.reason, s.origin) == ("cancelled", Reason.CONSUMER_STOPPED, "client")


def test_vercel_without_a_finish_part(play):
    """[DONE] alone completes a stream of one's own parts."""
    events = samples()["vercel_ai"].events
    assert play([*events[:4], events[-1]], announced=Dialect.VERCEL_AI).reason is Reason.COMPLETED


def test_an_error_is_an_answer_in_mcp(play):
    """A JSON-RPC error completes the request it answers."""
    error = rpc(id=1, error={"code": -32602, "message": "Unknown tool"})
    for body in ([error], [*samples()["mcp"].events[:3], error], [b"id: 0\ndata: \n\n", error]):
        s = play(body)
        assert (s.result, s.reason, s.dialect) == (Result.OK, Reason.COMPLETED, Dialect.MCP)


@pytest.mark.parametrize("name", ["mcp", "openai.chat"])
def test_a_subscription_needs_no_marker(begin, name):
    """A subscription (an MCP GET stream) has no end to miss, whoever's events it carries; a declared one has."""
    for declared, reason in ((None, Reason.COMPLETED), (Declared("event", "bye"), Reason.MISSING_TERMINAL)):
        stream = begin(kind=Kind.SUBSCRIPTION, declared=declared)
        stream.headers(0.1, 200)
        for event in samples()[name].events[:2]:
            stream.chunk(0.2, event)
        stream.eof(0.3)
        s = summarise(stream, 0.3)
        assert s.reason is reason
        assert s.terminal is (Terminal.NOT_REQUIRED if declared is None else Terminal.MISSING)


def test_an_a2a_message_is_a_whole_answer(play):
    """An agent may answer with one message and no task, in both versions; a rejection is an error."""
    message = {"messageId": "m", "parts": [{"kind": "text", "text": "hi"}], "role": "agent"}
    for event in (
        a2a(kind="message", **message),
        sse({"jsonrpc": "2.0", "id": 1, "result": {"message": message | {"contextId": "c"}}}),
    ):
        s = play([event])
        assert (s.reason, s.dialect) == (Reason.COMPLETED, Dialect.A2A)
    assert play([samples()["a2a"].events[0], a2a_status("rejected", final=True)]).reason is Reason.IN_BAND_ERROR


def test_runs_of_ag_ui_may_follow_one_another(play):
    """A second run has to finish as well."""
    events = samples()["ag_ui"].events
    assert play([*events, *events]).reason is Reason.COMPLETED
    assert play([*events, events[0]]).reason is Reason.MISSING_TERMINAL


@pytest.mark.parametrize("reason", ["SAFETY", "PROHIBITED_CONTENT", "SPII"])
def test_what_gemini_refused(play, reason):
    """An answer or a prompt that Gemini's filters stopped is complete and says so."""
    blocked = sse({"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 4}})
    for body in ([blocked], [sse(gemini("a")), sse(gemini("", reason))]):
        s = play(body)
        assert (s.reason, s.finish_reason, s.dialect) == (Reason.INCOMPLETE_DECLARED, reason, Dialect.GEMINI)


def test_a_message_that_starts_is_not_coheres_alone(play):
    """What begins with ``message-start``, and has no delta that is an object, is another protocol's."""
    body = [part("message-start", messageId="m1"), part("text-delta", delta="Hi"), part("message-finish")]
    assert play(body).dialect is Dialect.NONE


@pytest.mark.parametrize("text", ["Hi", "x" * 2000])
def test_events_of_adk_are_not_geminis(play, text):
    """A run of Google's Agent Development Kit tells the usage in Gemini's words, and nothing marks where it ends."""
    usage = {"candidatesTokenCount": 3, "promptTokenCount": 4}
    event = {"modelVersion": "gemini-2.5-flash", "content": {"parts": [{"text": text}]}, "usageMetadata": usage}
    actions = {"stateDelta": {}, "artifactDelta": {}, "requestedAuthConfigs": {}, "requestedToolConfirmations": {}}
    ids = {"invocationId": "e-7f445caa", "author": "root_agent", "actions": actions, "id": "i", "timestamp": 1764574.51}
    s = play([sse(event | ids)] * 3)
    assert (s.dialect, s.reason, s.terminal) == (Dialect.NONE, Reason.COMPLETED, Terminal.NOT_CHECKED)
    assert play([sse(event)]).dialect is Dialect.GEMINI


def test_gemini_goes_on_after_an_early_finish(play):
    """A candidate that goes on takes back what another one, or a translating gateway, said of the end."""
    early, more = sse(gemini("", "STOP")), sse(gemini("b"))
    assert play([early, more]).reason is Reason.MISSING_TERMINAL
    assert play([early, more, early]).reason is Reason.COMPLETED


ONLY_ERRORS = [
    sse({"error": {"message": "quota", "type": "insufficient_quota", "code": None}}),
    sse({"error": {"message": "stack " * 400, "type": "server_error"}}),
    sse({"error": "overloaded"}),
    sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "error"),
    sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    sse(b"Internal Server Error", "error"),
]
DATA_WITH_ERRORS = [
    sse({"error": None, "n": 1}),
    sse({"error": "timeout", "job": 5}),
    sse({"n": 1, "error": {"message": "x"}}),
    sse({"type": "error", "level": 3}),
    sse({"n": 1}) + ONLY_ERRORS[0],
    ONLY_ERRORS[0] + sse({"n": 1}),
    sse({"n": 1}) * 4 + ONLY_ERRORS[0],
    ONLY_ERRORS[0] * 3 + sse({"n": 1}) * 3,
    b"data: [DONE]\n\n",
]


@pytest.mark.parametrize("body", ONLY_ERRORS)
@pytest.mark.parametrize("more", [b"", b": bye\n\n", b"data: [DONE]\n\n"])
def test_a_body_that_says_nothing_but_an_error(play, body, more):
    """Whose error it is cannot be known, that it is one can: a body with no other event has failed."""
    for chunks in ([body + more], [body[:9], body[9:] + more], [body, *([more] if more else [])]):
        s = play(chunks)
        assert (s.reason, s.terminal, s.dialect) == (Reason.IN_BAND_ERROR, Terminal.NOT_CHECKED, Dialect.NONE)
    assert play([body], declared=Declared("none")).reason is Reason.COMPLETED


@pytest.mark.parametrize("body", DATA_WITH_ERRORS)
def test_errors_among_other_events_are_not_judged(play, body):
    """Where no dialect is known, an error among other events, or a row of data that has one, proves nothing."""
    s = play([body])
    assert (s.reason, s.terminal, s.dialect) == (Reason.COMPLETED, Terminal.NOT_CHECKED, Dialect.NONE)


def test_an_ndjson_error_alone(play):
    """So it is in NDJSON: a model server's only line may be its error."""
    assert play([line({"error": "model not found"})], Protocol.NDJSON).reason is Reason.IN_BAND_ERROR
    assert play([line({"error": "timeout", "job": 5})], Protocol.NDJSON).reason is Reason.COMPLETED


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.dialect.value)
def test_adversarial_events_do_not_make_rules_backtrack(rule):
    """No text of the length that is kept of events makes a rule's patterns backtrack: else this would not end."""
    pieces = (b"\n", b" ", b"\n{", b'"id":1,', b'"contextId"', b'"candidates":[{', b'\n{"jsonrpc":"2.0",')
    texts = [(b"x\n" + a * 300 + b * 300)[:1280] + b'"jsonrpc":"2.0"' for a in pieces for b in pieces]
    for text in texts:
        for pattern in (rule.sniff, rule.ends, rule.errors, rule.goes_on, rule.aborts, rule.finish):
            assert not pattern.search(text) or pattern.search(text).end() <= len(text)


@pytest.mark.parametrize(
    "first",
    [
        b"id: 7\ndata: \n\n",
        b"id: 7\nretry: 500\ndata:\n\n",
        b"event: endpoint\ndata: /messages?session=1\n\n",
        rpc(method="notifications/subscriptions/acknowledged", params={"notifications": {}}),
    ],
)
def test_mcp_streams_that_may_close_unanswered(play, first):
    """Primed for another connection, subscribed, or of the old transport, an MCP stream may close without an answer."""
    notified = rpc(method="notifications/progress", params={"progress": 1})
    s = play([first, notified])
    assert (s.reason, s.terminal, s.dialect) == (Reason.COMPLETED, Terminal.NOT_CHECKED, Dialect.MCP)
    assert play([first, notified, rpc(id=1, result={})]).terminal is Terminal.SEEN
    assert play([first, notified, b"data: {"]).reason is Reason.MISSING_TERMINAL
    assert play([notified]).reason is Reason.MISSING_TERMINAL


@pytest.mark.parametrize(
    "first",
    [
        sse({"ops": [{"op": "replace", "path": "", "value": {"id": "r", "streamed_output": []}}]}, "data"),
        sse({"event": "on_chain_start", "data": {"input": "x"}, "name": "chain", "run_id": "r"}, "data"),
    ],
)
def test_logs_and_events_of_langserve(play, first):
    """LangServe's other two endpoints send no metadata, but end as the first does."""
    assert play([first, b"event: end\n\n"]).terminal is Terminal.SEEN
    s = play([first])
    assert (s.reason, s.dialect) == (Reason.MISSING_TERMINAL, Dialect.LANGSERVE)


def test_a_cancelled_run_of_ag_ui(play):
    """A run that whoever was running it stopped was stopped by its consumer; one that waits for an answer ended."""
    events = samples()["ag_ui"].events[:-1]
    finished = {"threadId": "t1", "runId": "r1"}
    s = play([*events, part("RUN_FINISHED", **finished, outcome={"type": "cancelled"})])
    assert (s.outcome, s.reason) == ("cancelled", Reason.CONSUMER_STOPPED)
    waits = {"type": "interrupt", "interrupts": [{"id": "i", "reason": "x"}]}
    assert play([*events, part("RUN_FINISHED", **finished, outcome=waits)]).reason is Reason.COMPLETED


def test_a_finish_part_may_tell_an_error(play):
    """A UI message stream that finishes by an error has failed."""
    events = samples()["vercel_ai"].events
    s = play([*events[:-2], part("finish", finishReason="error"), events[-1]], announced=Dialect.VERCEL_AI)
    assert s.reason is Reason.IN_BAND_ERROR


ELSEWHERE = {
    "langgraph": {"errors", "disguised", "long events"},  # its end may be missing: tests of its own
    "mcp": {"errors"},  # an error is an answer
}


def test_every_dialect_has_every_sample():
    """A dialect without an error, a disguise or a long event here fails, so that a new one brings them."""
    for name in samples():
        missing = {
            kind
            for kind, table in {"errors": ERRORS, "disguised": DISGUISED, "long events": LONG_EVENTS}.items()
            if name not in table
        }
        assert missing <= ELSEWHERE.get(name, set()), name


@pytest.mark.parametrize(
    ("declared", "marker"),
    [
        (Declared("data", '{"end":1}'), b'{"end":1}'),
        (Declared("json", "status=done"), b'{"status": "done", "n": [1]}'),
        (Declared("event", "bye"), None),
        (Declared("none"), b'{"x":1}'),
    ],
    ids=str,
)
@pytest.mark.parametrize("protocol", [Protocol.SSE, Protocol.NDJSON])
@pytest.mark.parametrize("count", [0, 2, 9])
def test_declared_markers_cut_at_every_byte(play, declared, marker, protocol, count):
    """Each form of declaration is seen once its event is whole, at no byte before, in SSE and NDJSON alike."""
    if protocol is Protocol.SSE:
        body, end = [b'data: {"n":1}\n\n'] * count, b"event: bye\ndata: " + (marker or b"{}") + b"\n\n"
    elif marker is None:
        return  # lines have no names
    else:
        body, end = [b'{"n":1}\n'] * count, marker + b"\n"
    for at in range(1, len(end) + 1):
        s = play([*body, end[:at]], protocol, declared=declared)
        comments = protocol is Protocol.SSE and not end[:at].strip()
        whole = not end[at:].strip() or comments
        assert s.reason is (Reason.COMPLETED if whole else Reason.MISSING_TERMINAL), end[:at]
        if declared.how != "none":
            assert s.terminal is (Terminal.SEEN if whole else Terminal.MISSING)


def test_a_pattern_has_what_it_is_asked_for_and_no_more():
    """Compiled once, by the first search; what asks it for anything else is told that it has none."""
    pattern = Pattern(b"a+")
    first = pattern.search
    assert first(b"baa")[0] == b"aa"
    assert pattern.search is first
    assert not hasattr(Pattern(b"("), "match")
