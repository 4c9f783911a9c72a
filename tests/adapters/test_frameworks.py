"""Frameworks beside Starlette: the inner hook of each, its route's template, and what it keeps to itself."""

import asyncio
import gc

import pytest
from driver import ANSWER, Connection, answer, chat, http_scope, script
from hooking import patched

from otel_streaming import StreamingMiddleware
from otel_streaming.frameworks import HOOKS


async def produce(ending):
    for chunk in ANSWER if ending == "healthy" else [chat(0)]:
        yield chunk
    if ending == "raises":
        raise ValueError("by the path's wish")
    if ending == "times-out":
        raise TimeoutError
    if ending == "cancels":
        raise asyncio.CancelledError


def litestar():
    from litestar import Litestar, Router, get
    from litestar.response import Stream

    @get("/{ending:str}")
    async def stream(ending: str) -> Stream:
        return Stream(produce(ending), media_type="text/event-stream")

    return Litestar([Router("/v1", route_handlers=[stream])], openapi_config=None, logging_config=None)


def quart():
    from quart import Blueprint, Quart

    app, blueprint = Quart(__name__), Blueprint("v1", __name__, url_prefix="/v1")

    @blueprint.route("/<ending>")
    async def stream(ending):
        return produce(ending), 200, {"content-type": "text/event-stream"}

    app.register_blueprint(blueprint)
    return app


def django():
    import django
    from django.conf import settings
    from django.http import StreamingHttpResponse
    from django.urls import include, path

    async def stream(request, ending):
        return StreamingHttpResponse(produce(ending), content_type="text/event-stream")

    urls = type("urls", (), {"urlpatterns": [path("v1/", include([path("<str:ending>", stream)]))]})
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)  # noqa: S106
        django.setup()
    settings.ROOT_URLCONF = urls
    from django.core.handlers.asgi import ASGIHandler

    return ASGIHandler()


TEMPLATES = {litestar: "/v1/{ending}", quart: "/v1/<ending>", django: "/v1/<str:ending>"}


@pytest.fixture(params=TEMPLATES, ids=lambda framework: framework.__name__)
def framework(request):
    """Each framework, hooked while it is imported or after."""
    with patched(HOOKS):
        yield request.param


def run(app, path):
    async def main():
        return await Connection().run(app, http_scope(path, "GET"))

    return asyncio.run(main())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Django leaves a request's body open
@pytest.mark.parametrize("outer", [StreamingMiddleware, lambda app: app], ids=["both", "inner"])
@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("healthy", "completed"),
        ("raises", "producer_error"),
        ("times-out", "deadline_exceeded"),
        ("cancels", "server_cancelled"),
        ("short", "missing_terminal"),
    ],
)
def test_endings_and_routes(framework, outer, ending, reason, captured):
    """Each ending is told by its own name, whatever the framework makes of it, on the template of its route."""
    if (framework, ending) == (litestar, "cancels"):
        reason = "incomplete_response"  # anyio's task group takes its child's cancellation for its own
    connection = run(outer(framework()), f"/v1/{ending}")
    assert connection.bodies[0] == chat(0)
    assert [(str(s.reason), s.shape.route) for s in captured] == [(reason, TEMPLATES[framework])]
    assert captured.engine.registry.open_count == 0
    gc.collect()  # what they leave open is theirs, and no later test's


def test_a_request_with_a_scope_of_its_own():
    """What an application calls ``scope`` on its request is its own affair."""
    from otel_streaming.frameworks import _watch_of

    class Request:
        scope = "openid profile"

    assert _watch_of(Request()) is None


@pytest.mark.parametrize("disconnected", [asyncio.Event(), lambda: True, 1, None])
def test_not_every_attribute_of_that_name_is_a_servers(disconnected, captured):
    """Only a plain truth value behind ``send`` is taken for a server's knowledge; a property may raise."""
    from otel_streaming._exchange import UNKNOWN_PEER
    from otel_streaming._peers import peer_of

    class Behind:
        async def send(self, message):
            pass

    class Raising(Behind):
        @property
        def disconnected(self):
            raise RuntimeError

    behind = Behind()
    behind.disconnected = disconnected
    assert peer_of(None, behind.send) is UNKNOWN_PEER
    assert peer_of(None, Raising().send) is UNKNOWN_PEER


@pytest.fixture
def hooked():
    with patched(HOOKS):
        yield


@pytest.fixture(params=[False, True], ids=["as it is", "wrapped"])
def handles(request, monkeypatch):
    """Quart's connection, whose coroutine method another instrumentation has wrapped in a plain function, or not."""
    from quart.asgi import ASGIHTTPConnection

    def plain(connection, *args):
        return original(connection, *args)

    original = ASGIHTTPConnection.handle_request
    if request.param:
        monkeypatch.setattr(ASGIHTTPConnection, "handle_request", plain)


@pytest.mark.parametrize("outer", [StreamingMiddleware, lambda app: app], ids=["both", "inner"])
def test_the_time_out_of_quart(outer, handles, hooked, captured):
    """Quart's own limit for a response (60 s unless set) cuts the stream in silence: a deadline, no cancellation."""
    from quart import Quart

    app = Quart(__name__)
    app.config["RESPONSE_TIMEOUT"] = 0.05

    async def hangs():
        yield chat(0)
        await asyncio.sleep(60)

    @app.route("/v1/hangs")
    async def stream():
        return hangs(), 200, {"content-type": "text/event-stream"}

    run(outer(app), "/v1/hangs")
    assert [(str(s.reason), str(s.origin)) for s in captured] == [("deadline_exceeded", "server")]


@pytest.mark.parametrize(
    ("path", "route"),
    [("/mnt/v1/chat", "/mnt/v1/{name}/"), ("/mnt/sub/v1/chat", "/mnt/sub/v1/{name}/"), ("/raw", "/raw")],
)
def test_what_litestar_mounts(path, route, hooked, captured):
    """The route of an ASGI application that Litestar mounts begins with the mount's part."""
    from litestar import Litestar, asgi
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Mount, Route

    async def endpoint(request):
        return StreamingResponse(produce("healthy"), media_type="text/event-stream")

    routes = [Route("/v1/{name}/", endpoint)]  # Litestar ends a mounted path with a slash
    below = Starlette(routes=[*routes, Mount("/sub", routes=routes)])

    @asgi("/mnt", is_mount=True, copy_scope=True)
    async def mounted(scope, receive, send):
        await below(scope, receive, send)

    @asgi("/raw", is_mount=True, copy_scope=True)
    async def raw(scope, receive, send):
        await script(*answer(*ANSWER))(scope, receive, send)

    for handler in (mounted, raw):
        handler.fn.__annotations__ = {"scope": "Scope", "receive": "Receive", "send": "Send", "return": "None"}
    run(StreamingMiddleware(Litestar([mounted, raw], openapi_config=None, logging_config=None)), path)
    assert [s.shape.route for s in captured] == [route]
