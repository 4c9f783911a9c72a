"""The same streams by ASGI, by WSGI and by generators in threads; their first event says which process they are of.

The path says what happens after it: nothing (``ends``), an exception (``raises``), a long silence (``hangs``), or a
child is forked that lives on for a while (``forks``).
"""

import asyncio
import multiprocessing
import os
import time

from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from otel_streaming import WSGIStreamingMiddleware

SILENCE = 3.0


def steps(path):
    """Yield each event, and for how long nothing follows."""
    yield b"data: process %d\n\n" % os.getpid(), SILENCE if path == "/hangs" else 0
    if path == "/raises":
        raise ValueError("by the path's wish")
    if path == "/forks":
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(SILENCE,)).start()
    yield b"data: last\n\n", 0


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for data, pause in steps(scope["path"]):
        await send({"type": "http.response.body", "body": data, "more_body": True})
        await asyncio.sleep(pause)
    await send({"type": "http.response.body", "body": b""})


def blocking(path):
    for data, pause in steps(path):
        yield data
        time.sleep(pause)


def wsgi(environ, start_response):
    start_response("200 OK", [("content-type", "text/event-stream")])
    return blocking(environ["PATH_INFO"])


async def in_threads(request):
    return StreamingResponse(blocking(request.url.path), media_type="text/event-stream")


threads = Starlette(routes=[Route("/{path}", in_threads)])

if "WARM_UP" in os.environ:  # a master that has streamed itself before it forks: one more that ends well
    body = WSGIStreamingMiddleware(wsgi)({"REQUEST_METHOD": "GET", "PATH_INFO": "/ends"}, lambda *_: None)
    list(body)
    body.close()
