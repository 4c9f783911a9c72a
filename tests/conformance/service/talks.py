"""One WebSocket service, written with each framework as its users write it; FRAMEWORK chooses; nothing of ours in it.

The path's last part is the cause that is to end the stream. Three ticks, then what the cause says; where it is the
client that ends it, the application waits for it by receiving, ``raw-pushes`` alone by sending on.
"""

import asyncio
import json
import os

CLOSES = {"server_1000": 1000, "server_1011": 1011, "server_4000": 4000}


async def end(cause, close):
    """Do what the application does; returns whether it is to wait for the client."""
    if cause in CLOSES:
        await close(CLOSES[cause])
    elif cause == "raises":
        raise ValueError("by the path's wish")
    elif cause == "cancelled":
        asyncio.get_running_loop().call_later(0.05, asyncio.current_task().cancel)
        await asyncio.sleep(10)
    return cause not in {*CLOSES, "returns"}


async def begin(accept, send):
    await accept()
    for _ in range(3):
        await send("tick")


def raw(*, pushes=False):
    async def app(scope, receive, send):
        if scope["type"] != "websocket":
            raise NotImplementedError
        cause = scope["path"].rpartition("/")[2]

        async def tick(text="tick"):
            await send({"type": "websocket.send", "text": text})

        await receive()
        if cause == "denied":
            await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"no"})
            return
        await begin(lambda: send({"type": "websocket.accept"}), tick)
        waits = await end(cause, lambda code: send({"type": "websocket.close", "code": code}))
        for _ in range(200 if waits and pushes else 0):
            await asyncio.sleep(0.02)
            await tick()
        while waits and not pushes and (await receive())["type"] != "websocket.disconnect":
            pass

    return app


def starlette():
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Mount, WebSocketRoute

    async def talk(socket):
        cause = socket.path_params["cause"]
        if cause == "denied":
            await socket.send_denial_response(Response(status_code=503))
            return
        await begin(socket.accept, socket.send_text)
        if await end(cause, socket.close):
            async for _ in socket.iter_text():
                pass

    return Starlette(routes=[Mount("/s", routes=[WebSocketRoute("/{cause}", talk)])])


def fastapi():
    from fastapi import APIRouter, FastAPI, WebSocket

    app, router = FastAPI(), APIRouter(prefix="/s")

    @router.websocket("/{cause}")
    async def talk(socket: WebSocket, cause: str):
        await begin(socket.accept, socket.send_text)
        while await end(cause, socket.close):
            await socket.receive_text()  # a client that has left is an exception that nobody catches

    app.include_router(router)
    return app


def litestar():
    from litestar import Litestar, Router, WebSocket, websocket

    @websocket("/{cause:str}")
    async def talk(socket: WebSocket) -> None:
        await begin(socket.accept, socket.send_text)
        while await end(socket.path_params["cause"], socket.close):
            await socket.receive_text()

    return Litestar([Router("/s", route_handlers=[talk])], openapi_config=None)


def quart():
    from quart import Blueprint, Quart, websocket

    app, blueprint = Quart(__name__), Blueprint("s", __name__, url_prefix="/s")

    @blueprint.websocket("/<cause>")
    async def talk(cause):
        await begin(websocket.accept, websocket.send)
        while await end(cause, websocket.close):
            await websocket.receive()

    app.register_blueprint(blueprint)
    return app


def recorded():
    """``raw``, writing down all that it is told of an end, one line a connection."""
    inner = raw()

    async def app(scope, receive, send):
        told = []

        async def listened():
            told.append(await receive())
            return told[-1]

        await inner(scope, listened, send)
        with open(os.environ["RECORD"], "a") as record:  # noqa: ASYNC230, PTH123 - the last act
            record.write(json.dumps([scope["path"].rpartition("/")[2], told]) + "\n")

    return app


FRAMEWORKS = {
    "raw": raw,
    "recorded": recorded,
    "raw-pushes": lambda: raw(pushes=True),
    "starlette": starlette,
    "fastapi": fastapi,
    "litestar": litestar,
    "quart": quart,
}

app = FRAMEWORKS[os.environ["FRAMEWORK"]]()
