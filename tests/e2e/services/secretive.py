"""A service full of secrets: what it gets it passes on to its upstream, and what it gets from there to its client."""

import os

import httpx
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute

UPSTREAM = os.environ["UPSTREAM_URL"]
EXCEPTION = os.environ["EXCEPTION"]
upstream = httpx.AsyncClient(timeout=60)


async def chat(request):
    """Pass on body, headers, query, path and the caller's address; ``ending`` says what goes wrong here."""
    headers = {name: request.headers[name] for name in ("x-api-key", "x-forwarded-for")}
    headers["x-from"] = request.client.host
    url = f"{UPSTREAM}{request.url.path}?{request.url.query}"
    sent = upstream.build_request("POST", url, headers=headers, content=await request.body())
    answer = await upstream.send(sent, stream=True)

    async def relay():
        try:
            async for part in answer.aiter_raw():
                yield part
                if request.path_params["ending"] == "raises":
                    raise ValueError(EXCEPTION)
        finally:
            await answer.aclose()

    if request.path_params["ending"] == "fails":
        await answer.aclose()
        raise RuntimeError(EXCEPTION)
    passed = {"set-cookie": answer.headers["set-cookie"]}
    return StreamingResponse(relay(), headers=passed, media_type=answer.headers["content-type"])


async def socket(websocket):
    """Say what was asked for, and how; repeat what is said, and close with what it was."""
    await websocket.accept()
    asked = f"{websocket.url.query} {websocket.path_params['id']} {websocket.headers['authorization']}"
    await websocket.send_text(asked)
    said = await websocket.receive_text()
    await websocket.send_text(said)
    await websocket.close(1011, said)


app = Starlette(
    routes=[Route("/{ending}/{id}", chat, methods=["POST"]), WebSocketRoute("/socket/{id}", socket)],
)
