"""An OpenAI-compatible model server that misbehaves on request: ``python -m demo.upstream PORT [ADDRESS]``.

The ``model`` of a request names the behaviour. HTTP/1.1 is written by hand, so that a response can
break off in the middle of a chunk, which no server framework would do on purpose.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
from typing import Any

PACE = 0.05
"""Seconds between tokens."""
TOKENS = 10
"""Tokens of a whole answer."""
SILENCE = 6.0
"""Seconds without a token in ``stall``, with keep-alives."""
LINGER = 2.0
"""Seconds between ``[DONE]`` and the end of the body in ``linger``."""
HOLD = 120.0
"""Seconds for which ``silent``, ``pings`` and ``held`` go on, unless the reader leaves."""
COMPLETED_SIZE = 20_000
"""Bytes, at least, of the ``response.completed`` event, which repeats the whole answer."""

CLOSE, RESET, SPOIL = "close", "reset", "spoil"
"""How a response breaks off: within a chunk, by FIN or RST, or with a chunk that is none."""
Script = list[bytes | float | str]
"""What a response does, step by step: send an event, pause for seconds, or break off."""


def sse(data: dict[str, Any], event: str = "") -> bytes:
    """Return one server-sent event."""
    return (f"event: {event}\n" if event else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


def chunk(choices: list[dict[str, Any]]) -> bytes:
    """Return one ``chat.completion.chunk``."""
    head = {"id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "demo"}
    return sse({**head, "choices": choices})


def tokens(first: int, last: int, pace: float = PACE) -> Script:
    """Return chunks with the tokens ``first`` to ``last`` of an answer."""
    script: Script = []
    for number in range(first, last + 1):
        script += chunk([{"index": 0, "delta": {"content": f"token-{number} "}, "finish_reason": None}]), pace
    return script


def pings(seconds: float) -> Script:
    """Return nothing but keep-alives."""
    return [PING, 0.25] * int(seconds / 0.25)


def response() -> Script:
    """Return an answer of the Responses API: typed events, the last of which repeats the whole answer."""
    base = {"id": "resp_demo", "object": "response", "model": "demo"}
    script: Script = [sse({"type": "response.created", "response": base}, "response.created")]
    for number in range(1, TOKENS + 1):
        delta = {"type": "response.output_text.delta", "item_id": "msg_demo", "delta": f"token-{number} "}
        script += sse(delta, "response.output_text.delta"), PACE
    text = "all of the answer once more, " * (COMPLETED_SIZE // 28)
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]
    completed = {**base, "status": "completed", "output": output, "usage": {"output_tokens": TOKENS}}
    return [*script, sse({"type": "response.completed", "response": completed}, "response.completed")]


PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
STOP = chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
ERROR = sse({"error": {"message": "The server is overloaded", "type": "server_error", "code": 503}})
NO_CHOICES = chunk([])  # as Azure sends one; some readers trip over it
FLOOD: Script = [sse({"padding": " " * 250_000})]
ALL, HALF, REST = tokens(1, TOKENS), tokens(1, TOKENS // 2), tokens(TOKENS // 2 + 1, TOKENS)

BEHAVIOURS: dict[str, Script] = {
    "healthy": [*ALL, STOP, DONE],
    "slow": [*tokens(1, TOKENS, 4 * PACE), STOP, DONE],
    "linger": [*ALL, STOP, DONE, LINGER],
    "silent": [HOLD],
    "unfinished": HALF,
    "cut": [*HALF, CLOSE],
    "reset": [*HALF, RESET],
    "spoilt": [*HALF, SPOIL],
    "hang": [*HALF, HOLD],
    "in_band_error": [*HALF, ERROR],
    "no_choices": [*HALF, NO_CHOICES, *REST, DONE],
    "pings": pings(HOLD),
    "stall": [*HALF, *pings(SILENCE), *REST, STOP, DONE],
    "flood": FLOOD * 100,
    "flood_cut": [*FLOOD * 40, CLOSE],
    "held": tokens(1, int(HOLD / 0.25), 0.25),
    "responses": response(),
}
OVERLOADED = "overloaded"
"""The behaviour that answers 503 at once."""
UNANSWERED = "unanswered"
"""The behaviour that answers 503 after ``HOLD``, unless the reader leaves."""


def break_off(how: str, writer: asyncio.StreamWriter) -> None:
    """End the response before its end."""
    writer.write(b"size\r\n" if how == SPOIL else b"%x\r\n%b" % (len(STOP), STOP[: len(STOP) // 2]))
    if how == RESET:
        no_linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)


async def respond(model: str, writer: asyncio.StreamWriter) -> None:
    """Write the whole response."""
    if model == UNANSWERED:
        await asyncio.sleep(HOLD)
    if model in {OVERLOADED, UNANSWERED}:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        return
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
    writer.write(b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n")
    for step in BEHAVIOURS[model]:
        if isinstance(step, str):
            break_off(step, writer)
            return
        if isinstance(step, bytes):
            writer.write(b"%x\r\n%b\r\n" % (len(step), step))
            await writer.drain()
        else:
            await asyncio.sleep(step)
    writer.write(b"0\r\n\r\n")


async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one request; stop as soon as the reader of the response has gone, as model servers do."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:-2])
        body = json.loads(await reader.readexactly(int(fields[b"content-length"])))
        answer = asyncio.ensure_future(respond(body["model"], writer))
        gone = asyncio.ensure_future(reader.read())
        _, pending = await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)
    with contextlib.suppress(ConnectionError):
        writer.close()
        await writer.wait_closed()


async def main(port: int, address: str = "127.0.0.1") -> None:
    """Serve until the process is told to end."""
    async with await asyncio.start_server(serve_one, address, port, backlog=1024) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
