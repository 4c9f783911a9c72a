"""An ordinary chat service in front of an OpenAI-compatible model server, with nothing of ours in it.

It serves several products, each under a prefix of its own (``PRODUCTS``), as many a gateway does:
that gives each product its own route in every metric.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

UPSTREAM_URL = os.environ.get("UPSTREAM_URL", "http://127.0.0.1:8001")
PRODUCTS = os.environ.get("PRODUCTS", "assistant").split(",")
FIRST_TOKEN_TIMEOUT = float(os.environ.get("FIRST_TOKEN_TIMEOUT", "30"))

logger = logging.getLogger("chat")
router = APIRouter()
model_server = httpx.AsyncClient(
    base_url=UPSTREAM_URL,
    timeout=httpx.Timeout(10, read=60),
    limits=httpx.Limits(max_connections=None),
)


async def ask(path: str, body: dict[str, Any]) -> httpx.Response:
    """Send the request on and return the model server's response, its body still to come."""
    response = await model_server.send(model_server.build_request("POST", path, json=body), stream=True)
    if response.status_code != httpx.codes.OK:
        await response.aclose()
        raise HTTPException(503, "the model is overloaded, try again later")
    return response


async def relay(response: httpx.Response) -> AsyncIterator[str]:
    """Pass the model's events on, line by line, and collect the answer for the log."""
    answer: list[str] = []
    started = time.monotonic()
    try:
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                if "error" not in event:
                    answer.append(event["choices"][0]["delta"].get("content", ""))
            elif line.startswith(":") and not answer and time.monotonic() - started > FIRST_TOKEN_TIMEOUT:
                message = f"no token from the model in {FIRST_TOKEN_TIMEOUT:g} s"
                raise TimeoutError(message)
            if line:
                yield f"{line}\n\n"
    finally:
        await response.aclose()
        logger.info("answered with %d characters", sum(map(len, answer)))


@router.post("/v1/chat")
async def chat(body: dict[str, Any]) -> StreamingResponse:
    """Stream a chat completion."""
    return StreamingResponse(relay(await ask("/v1/chat/completions", body)), media_type="text/event-stream")


async def insist(events: AsyncIterator[str]) -> AsyncIterator[str]:
    """End with ``[DONE]`` whatever the model server did, as some gateways do."""
    last = ""
    async for last in events:
        yield last
    if "[DONE]" not in last:
        yield "data: [DONE]\n\n"


@router.post("/v1/chat/gateway")
async def gateway(body: dict[str, Any]) -> StreamingResponse:
    """Stream a chat completion that always ends well."""
    events = insist(relay(await ask("/v1/chat/completions", body)))
    return StreamingResponse(events, media_type="text/event-stream")


@router.post("/v1/responses")
async def responses(body: dict[str, Any]) -> StreamingResponse:
    """Stream a response of the Responses API through, bytes as they come."""
    response = await ask("/v1/responses", body)
    return StreamingResponse(
        response.aiter_bytes(), media_type="text/event-stream", background=BackgroundTask(response.aclose)
    )


class Guard(BaseHTTPMiddleware):
    """What many services do to some of their paths: a look at the request, a header on the response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Step in for guarded paths only."""
        guarded = scope.get("path", "").startswith("/guarded")
        await (super().__call__ if guarded else self.app)(scope, receive, send)

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Refuse nothing, but mark what passed."""
        response = await call_next(request)
        response.headers["x-guarded"] = "yes"
        return response


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the connections to the model server at the end."""
    yield
    await model_server.aclose()


app = FastAPI(lifespan=lifespan)
app.add_middleware(Guard)
for product in PRODUCTS:
    app.include_router(router, prefix=f"/{product}")


@app.get("/healthz")
async def health() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}
