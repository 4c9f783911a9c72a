"""One service, written with each framework as its users write it; FRAMEWORK chooses. Nothing of ours is in it."""

import json
import os
from collections.abc import AsyncIterable

from answers import DONE, before_headers, head_of, produce, produce_in_thread, set_up_django
from seen import seen


def raw():
    """An ASGI application that never listens."""

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError
        cause = scope["path"].rpartition("/")[2]
        await before_headers(cause)
        status, media_type, more = head_of(cause)
        headers = [(b"content-type", media_type.encode()), *((k.encode(), v.encode()) for k, v in more.items())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        async for chunk in produce(cause):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if cause != "no_final":
            await send({"type": "http.response.body", "body": b""})

    return app


def recorded():
    """The same, writing down what every ``send`` comes to and what the server's object says, one line a request."""
    inner = raw()

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError
        behind, seen = send.__self__, []

        async def watched(message):
            outcome = "returned"
            try:
                await send(message)
            except BaseException as exception:
                outcome = repr(exception)
                raise
            finally:
                values = {name: getattr(behind, name, None) for name in dir(behind) if not name.startswith("__")}
                plain = {name: value for name, value in values.items() if isinstance(value, bool | int | str)}
                seen.append([message["type"], outcome, plain])

        await inner(scope, receive, watched)
        with open(os.environ["RECORD"], "a") as record:  # noqa: ASYNC230, PTH123 - the last act
            record.write(json.dumps([scope["path"].rpartition("/")[2], seen]) + "\n")

    return app


def starlette(produce=produce, middleware=None):
    from starlette.applications import Starlette
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import StreamingResponse
    from starlette.routing import Mount, Route

    async def stream(request):
        cause = request.path_params["cause"]
        await before_headers(cause)
        status, media_type, headers = head_of(cause)
        return StreamingResponse(produce(cause), status, headers, media_type)

    async def between(request, call_next):
        return await call_next(request)

    app = Starlette(routes=[Mount("/s", routes=[Route("/{cause}", stream)])])
    if middleware:
        app.add_middleware(BaseHTTPMiddleware, dispatch=between)
    return app


def fastapi():
    from fastapi import APIRouter, FastAPI
    from fastapi.responses import StreamingResponse

    app, router = FastAPI(), APIRouter(prefix="/s")

    @router.api_route("/{cause}", methods=["GET", "HEAD"])
    async def stream(cause: str):
        await before_headers(cause)
        status, media_type, headers = head_of(cause)
        return StreamingResponse(produce(cause), status, headers, media_type)

    app.include_router(router)
    return app


def data(chunk):
    return chunk.decode().removeprefix("data: ").rstrip("\n")


def fastapi_sse():
    from fastapi import Depends, FastAPI
    from fastapi.sse import EventSourceResponse, ServerSentEvent

    app = FastAPI()

    @app.get("/s/{cause}", response_class=EventSourceResponse, dependencies=[Depends(before_headers)])
    async def stream(cause: str) -> AsyncIterable[ServerSentEvent]:
        async for chunk in produce(cause):
            yield ServerSentEvent(raw_data=data(chunk))

    return app


def line(found):
    """Return the same as Ollama says it."""
    if "error" in found:
        return {"error": found["error"]["message"]}
    (choice,) = found["choices"]
    reason = choice["finish_reason"]
    words = {"model": "m", "message": {"role": "assistant", **choice["delta"]}, "done": reason is not None}
    return words if reason is None else {**words, "done_reason": reason}


def fastapi_jsonl():
    from fastapi import Depends, FastAPI

    app = FastAPI()

    @app.get("/s/{cause}", dependencies=[Depends(before_headers)])
    async def stream(cause: str) -> AsyncIterable[dict]:
        async for chunk in produce(cause):
            if chunk != DONE:  # JSON lines have no sentinel
                yield line(json.loads(data(chunk)))

    return app


def starlette_file():
    from starlette.applications import Starlette
    from starlette.responses import FileResponse
    from starlette.routing import Route

    path = os.environ["SEEN"] + ".file"
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"word 0 word 5" + b"x" * 8_000_000)
    os.utime(path, (0, 0))  # alike in its headers

    async def stream(request):
        cause = request.path_params["cause"]
        found = os.stat(path)  # noqa: PTH116
        if cause == "short":  # written anew, and longer, since it was looked at
            found = os.stat_result((*found[:6], found.st_size + 1000, *found[7:]))
        return FileResponse(path, head_of(cause)[0], stat_result=found)

    return Starlette(routes=[Route("/s/{cause}", stream)])


def sse_starlette():
    from sse_starlette import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.routing import Route

    async def stream(request):
        cause = request.path_params["cause"]
        await before_headers(cause)
        events = ({"data": data(chunk)} async for chunk in produce(cause))
        return EventSourceResponse(events, status_code=head_of(cause)[0])

    return Starlette(routes=[Route("/s/{cause}", stream)])


def litestar():
    from litestar import Litestar, Router, get
    from litestar.response import Stream

    @get("/{cause:str}")
    async def stream(cause: str) -> Stream:
        await before_headers(cause)
        status, media_type, headers = head_of(cause)
        return Stream(produce(cause), status_code=status, media_type=media_type, headers=headers)

    return Litestar([Router("/s", route_handlers=[stream])], openapi_config=None)


def quart():
    from quart import Blueprint, Quart

    app, blueprint = Quart(__name__), Blueprint("s", __name__, url_prefix="/s")

    @blueprint.route("/<cause>")
    async def stream(cause):
        await before_headers(cause)
        status, media_type, headers = head_of(cause)
        return produce(cause), status, {"content-type": media_type, **headers}

    app.register_blueprint(blueprint)
    return app


def django(produce=produce):
    from django.http import StreamingHttpResponse

    async def stream(request, cause):
        await before_headers(cause)
        status, media_type, headers = head_of(cause)
        return StreamingHttpResponse(produce(cause), status=status, content_type=media_type, headers=headers)

    set_up_django(stream)
    from django.core.handlers.asgi import ASGIHandler

    return ASGIHandler()


FRAMEWORKS = {
    "raw": raw,
    "recorded": recorded,
    "starlette": starlette,
    "starlette-sync": lambda: starlette(produce_in_thread),
    "starlette-base": lambda: starlette(middleware=True),
    "starlette-file": starlette_file,
    "fastapi": fastapi,
    "fastapi-sse": fastapi_sse,
    "fastapi-jsonl": fastapi_jsonl,
    "sse-starlette": sse_starlette,
    "litestar": litestar,
    "quart": quart,
    "django": django,
    "django-sync": lambda: django(produce_in_thread),
}

app = FRAMEWORKS[os.environ["FRAMEWORK"]]()
if "SEEN" in os.environ:
    app = seen(app)
