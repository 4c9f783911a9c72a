"""Applications that stream for ever."""

import asyncio
import time


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while True:
        await send({"type": "http.response.body", "body": b"data: tick\n\n", "more_body": True})
        await asyncio.sleep(0.05)


def wsgi(environ, start_response):
    start_response("200 OK", [("content-type", "text/event-stream")])
    while True:
        yield b"data: tick\n\n"
        time.sleep(0.05)
