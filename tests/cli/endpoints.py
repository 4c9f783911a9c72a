"""Endpoints that stream well or badly, as their query says, for the audit to find out; served by a real uvicorn."""

import asyncio
import json
import sys
import time
import uuid
from urllib.parse import parse_qsl

import otel_streaming

DEFAULTS = {
    "events": 20,
    "gap": 0.05,  # s before each event
    "first": 0.0,  # s before the first one more
    "silent_at": -1,  # before this event
    "silence": 0.0,  # s of silence
    "alive": 0.0,  # s between keep-alives in it; 0: none
    "cut": 0.0,  # s after which the connection breaks; 0: never
    "marker": 1,
    "fails": 0,  # with an error event before the end
    "lies": 0,  # declares the end complete
    "listens": 1,  # to the departure of the client
    "held": 0,  # all is written at the end
    "replays": 0,  # what has been answered before is, at once
    "control": "no-store",
    "age": "",
    "status": 200,
    "type": "text/event-stream",
    "length": 0,
    "to": "",
    "padding": 0,  # bytes in each event
    "deadline": 0.0,  # s after which the work is given up, sending too; 0: never
}
answered = {}
"""What has been answered, by query: a cache."""


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    given = dict(parse_qsl(scope["query_string"].decode()))
    how = {name: type(default)(given.get(name, default)) for name, default in DEFAULTS.items()}
    await send({"type": "http.response.start", "status": how["status"], "headers": headers(how)})
    if how["length"] or how["status"] != 200:
        await send({"type": "http.response.body", "body": b"x" * how["length"]})
        return
    response = respond(how, scope["query_string"], send)
    work = asyncio.create_task(asyncio.wait_for(response, how["deadline"] or None))
    if how["listens"]:
        gone = asyncio.create_task(departure(receive))
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
            return
        gone.cancel()
    await work


def headers(how):
    fields = {
        "content-type": how["type"],
        "cache-control": how["control"],
        "age": how["age"],
        "location": how["to"],
        "content-length": str(how["length"] or ""),
        "set-cookie": "session=response-cookie-secret",
    }
    return [(name.encode(), value.encode()) for name, value in fields.items() if value]


async def departure(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def respond(how, query, send):
    if how["replays"] and query in answered:
        await send({"type": "http.response.body", "body": answered[query]})
        return
    parts = []
    async for part in events(how):
        parts.append(part)
        if not how["held"]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    answered[query] = b"".join(parts)
    for part in parts if how["held"] else ():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    if how["lies"]:
        otel_streaming.current_stream().complete()
    await send({"type": "http.response.body", "body": b""})


async def events(how):
    began, name = time.monotonic(), uuid.uuid4().hex
    for number in range(how["events"]):
        await asyncio.sleep(how["gap"] + (0 if number else how["first"]))
        if number == how["silent_at"]:
            async for comment in silence(how):
                yield comment
        if how["cut"] and time.monotonic() - began >= how["cut"]:
            raise RuntimeError("cut")
        piece = {
            "id": name,
            "object": "chat.completion.chunk",
            "choices": [{"delta": {"content": "word " + "x" * how["padding"]}}],
        }
        yield f"data: {json.dumps(piece)}\n\n".encode()
    if how["fails"]:
        yield b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'
    if how["marker"]:
        yield b"data: [DONE]\n\n"


async def silence(how):
    until = time.monotonic() + how["silence"]
    while time.monotonic() < until:
        await asyncio.sleep(how["alive"] or how["silence"])
        if how["alive"]:
            yield b": alive\n\n"


if __name__ == "__main__":
    import uvicorn

    if sys.argv[2:] == ["blind"]:  # traced, and told of no stream's end
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        app = OpenTelemetryMiddleware(app)
    uvicorn.run(app, port=int(sys.argv[1]), log_level="critical", http="h11")  # which knows HTTP/1.0, nginx's default
