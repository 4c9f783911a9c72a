"""What each vendor's server says, message by message, in the dialect of its API reference: whole, or with an error.

Every answer is of ``MODEL``, ends with ``FINISH`` of its dialect, and says that it was ``TOKENS`` tokens long.
"""

import json
import struct
import zlib
from dataclasses import dataclass

MODEL = "model-7"
TOKENS = 5
WORDS = [f"word {number} " for number in range(TOKENS)]
SSE = "text/event-stream"


@dataclass
class Dialect:
    """An answer: how it begins, a message for each of ``WORDS``, how it ends; and the error that may come instead."""

    name: str
    path: str
    begin: list
    words: list
    end: list
    error: bytes
    finish: str | None
    media_type: str = SSE
    model: str | None = MODEL
    meanwhile: int | None = None  # the tokens that are told before the end

    @property
    def whole(self):
        return [*self.begin, *self.words, *self.end]

    @property
    def unfinished(self):
        return [*self.begin, *self.words]


def dump(data):
    return json.dumps(data, separators=(",", ":"))


def sse(data, *, named=False):
    name = f"event: {data['type']}\n" if named else ""
    return f"{name}data: {dump(data)}\n\n".encode()


def line(data):
    return dump(data).encode() + b"\n"


# -- OpenAI, and who is compatible with it --------------------------------------------------------------------


def chat_chunk(choices, **more):
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": MODEL}
    return sse({**head, "choices": choices, **more})


def choice(content, finish=None):
    delta = {} if content is None else {"role": "assistant", "content": content}
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]


CHAT = Dialect(
    "openai.chat",
    "/v1/chat/completions",
    begin=[chat_chunk(choice(""))],
    words=[chat_chunk(choice(word)) for word in WORDS],
    end=[
        chat_chunk(choice(None, "stop")),
        chat_chunk([], usage={"prompt_tokens": 3, "completion_tokens": TOKENS, "total_tokens": TOKENS + 3}),
        b"data: [DONE]\n\n",
    ],
    error=sse({"error": {"message": "The server is overloaded", "type": "server_error", "param": None, "code": None}}),
    finish="stop",
)


def response(status, **more):
    """Return the object of a response, its keys in the order of the service's."""
    given = {"error": None, "incomplete_details": None, "instructions": None, "max_output_tokens": None}
    usage = {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": TOKENS + 3,
    }
    settings = {"parallel_tool_calls": True, "temperature": 1.0, "text": {"format": {"type": "text"}}}
    settings |= {"tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled"}
    told = {"usage": usage if status == "completed" else None, "user": None, "metadata": {}}
    head = {"id": "resp_1", "object": "response", "created_at": 1_700_000_000, "status": status}
    return head | given | {"model": MODEL, "output": []} | settings | told | more


def item(status, text):
    content = [{"type": "output_text", "text": text, "annotations": []}] if text else []
    return {"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": content}


def typed(first, *events):
    """Number the events, as the Responses API does."""
    numbered = enumerate(events, first)
    return [sse({"type": event.pop("type"), "sequence_number": n, **event}, named=True) for n, event in numbered]


TEXT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
ALL = "".join(WORDS) * 200  # what is repeated at the end may be long
RESPONSES = Dialect(
    "openai.responses",
    "/v1/responses",
    begin=typed(
        0,
        {"type": "response.created", "response": response("in_progress")},
        {"type": "response.in_progress", "response": response("in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": item("in_progress", "")},
        {"type": "response.content_part.added", **TEXT, "part": {"type": "output_text", "text": "", "annotations": []}},
    ),
    words=typed(4, *({"type": "response.output_text.delta", **TEXT, "delta": word, "logprobs": []} for word in WORDS)),
    end=typed(
        4 + len(WORDS),
        {"type": "response.output_text.done", **TEXT, "text": ALL, "logprobs": []},
        {"type": "response.output_item.done", "output_index": 0, "item": item("completed", ALL)},
        {"type": "response.completed", "response": response("completed", output=[item("completed", ALL)])},
    ),
    error=typed(9, {"type": "error", "code": "server_error", "message": "The server is overloaded", "param": None})[0],
    finish=None,
)

# -- the others ---------------------------------------------------------------------------------------------


def delta(text):
    return sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}, named=True)


MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": []}
ANTHROPIC = Dialect(
    "anthropic.messages",
    "/v1/messages",
    begin=[
        sse(
            {
                "type": "message_start",
                "message": {
                    **MESSAGE,
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": {"input_tokens": 3, "output_tokens": 1},
                },
            },
            named=True,
        ),
        sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, named=True),
        sse({"type": "ping"}, named=True),
    ],
    words=[delta(word) for word in WORDS],
    end=[
        sse({"type": "content_block_stop", "index": 0}, named=True),
        sse(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": TOKENS},
            },
            named=True,
        ),
        sse({"type": "message_stop"}, named=True),
    ],
    error=sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, named=True),
    finish="end_turn",
    meanwhile=1,
)


def candidate(text, tokens, **more):
    parts = {"content": {"parts": [{"text": text}], "role": "model"}, **more, "index": 0}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": tokens, "totalTokenCount": tokens + 3}
    return sse({"candidates": [parts], "usageMetadata": usage, "modelVersion": MODEL, "responseId": "r1"})


GEMINI = Dialect(
    "gemini",
    f"/v1/models/{MODEL}:streamGenerateContent",
    begin=[],
    words=[candidate(word, number) for number, word in enumerate(WORDS, 1)],
    end=[candidate("", TOKENS, finishReason="STOP")],
    error=sse({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}),
    finish="STOP",
    meanwhile=TOKENS,
)


def spoken(content, **more):
    message = {"role": "assistant", "content": content}
    return line({"model": MODEL, "created_at": "2026-01-01T00:00:00.000000Z", "message": message, **more})


OLLAMA = Dialect(
    "ollama",
    "/api/chat",
    begin=[],
    words=[spoken(word, done=False) for word in WORDS],
    end=[
        spoken(
            "",
            done_reason="stop",
            done=True,
            total_duration=9,
            eval_count=TOKENS,
            eval_duration=7,
        )
    ],
    error=line({"error": "an error was encountered while running the model"}),
    finish="stop",
    media_type="application/x-ndjson",
)


def of_cohere(kind, **more):
    return sse({"type": kind, **more}, named=True)


NO_MESSAGE = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
USED = {"input_tokens": 3, "output_tokens": TOKENS}
COHERE = Dialect(
    "cohere",
    "/v2/chat",
    begin=[
        of_cohere("message-start", id="1", delta={"message": NO_MESSAGE}),
        of_cohere("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}}),
    ],
    words=[of_cohere("content-delta", index=0, delta={"message": {"content": {"text": word}}}) for word in WORDS],
    end=[
        of_cohere("content-end", index=0),
        of_cohere("message-end", delta={"finish_reason": "COMPLETE", "usage": {"billed_units": USED, "tokens": USED}}),
    ],
    error=of_cohere("message-end", delta={"error": "The model timed out", "finish_reason": "ERROR"}),
    finish="COMPLETE",
    model=None,
)


def frame(kind, payload, message_type="event"):
    """Encode one message of an AWS event stream."""
    name = {"event": ":event-type", "exception": ":exception-type"}[message_type]
    fields = ((name, kind), (":content-type", "application/json"), (":message-type", message_type))
    headers = b"".join(
        struct.pack(f">B{len(key)}sBH", len(key), key.encode(), 7, len(value)) + value.encode() for key, value in fields
    )
    body = dump(payload).encode()
    prelude = struct.pack(">II", len(headers) + len(body) + 16, len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


BEDROCK = Dialect(
    "bedrock",
    f"/model/{MODEL}/converse-stream",
    begin=[frame("messageStart", {"role": "assistant"})],
    words=[frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}}) for word in WORDS],
    end=[
        frame("contentBlockStop", {"contentBlockIndex": 0}),
        frame("messageStop", {"stopReason": "end_turn"}),
        frame("metadata", {"usage": {"inputTokens": 3, "outputTokens": TOKENS, "totalTokens": TOKENS + 3}}),
    ],
    error=frame("modelStreamErrorException", {"message": "The model is overloaded"}, "exception"),
    finish="end_turn",
    media_type="application/vnd.amazon.eventstream",
    model=None,
)
