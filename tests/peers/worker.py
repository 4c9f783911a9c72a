"""``python -m tests.peers.worker server|client NAME``: a process that has one library in place, asked as in bench."""

import asyncio
import json
import sys
import threading
import time

from bench.worker import main
from tests.peers import attach

CHUNK = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "word "}}]}
EVENT = f"data: {json.dumps(CHUNK)}\n\n"
DONE = "data: [DONE]\n\n"


async def body(ending):
    """What a request for an ending is answered with."""
    for _ in range(3):
        yield EVENT
        await asyncio.sleep(0.05)
    if ending == "raises":
        raise RuntimeError("the model has failed")
    if ending == "left":
        await asyncio.sleep(0.5)
        yield EVENT
    if ending != "cut":
        yield DONE


def service(*, native):
    """The service, without anybody's telemetry but, if it is the one that is asked, FastAPI's own."""
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import StreamingResponse
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.routing import Route

    async def stream(request):
        ending = request.path_params["ending"]
        if ending == "status":
            raise HTTPException(503)
        return StreamingResponse(body(ending), media_type="text/event-stream")

    async def passes(request, call_next):
        return await call_next(request)

    app = FastAPI(telemetry=dict.fromkeys(("tracing", "metrics", "logs"), native))
    behind = [Middleware(BaseHTTPMiddleware, dispatch=passes)]
    app.mount("/behind", Starlette(routes=[Route("/{ending}", stream)], middleware=behind))
    app.router.routes.append(Route("/{ending}", stream))
    return app


def answer(told, **more):
    """Return what has been told, once it has been: spans come a moment after the end."""
    words, until = [], time.monotonic() + 3
    while time.monotonic() < until:
        if new := told():
            words += new
            until = min(until, time.monotonic() + 0.5)
        time.sleep(0.05)
    return {"told": words, **more}


class Server:
    """Serves."""

    def __init__(self, name):
        import uvicorn

        app = service(native=name == "FastAPI's own")
        self._told = attach.SERVERS[name](app)
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
        threading.Thread(target=self._server.run, daemon=True).start()

    def port(self):
        while not self._server.started:
            time.sleep(0.05)
        return self._server.servers[0].sockets[0].getsockname()[1]

    def heard(self):
        return answer(self._told)


class Client:
    """Reads by OpenAI's SDK."""

    def __init__(self, name):
        self._told = attach.CLIENTS[name](None)

    def read(self, base):
        import openai

        client = openai.OpenAI(base_url=base, api_key="none", max_retries=0)
        caller = "completed"
        try:
            messages = [{"role": "user", "content": "hello"}]
            for _ in client.chat.completions.create(model="m", messages=messages, stream=True):
                pass
        except Exception as error:
            caller = type(error).__name__
        return answer(self._told, caller=caller)


if __name__ == "__main__":
    main({"server": Server, "client": Client}, *sys.argv[1:])
