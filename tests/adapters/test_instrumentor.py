"""The entry point: hooks appear when the host imports a library, and vanish without a trace."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from otel_streaming import instrumentor

SCRIPT = """
import sys
from otel_streaming.instrumentor import ASGIStreamingInstrumentor

def loaded():
    hosts = {"uvicorn", "hypercorn", "granian", "daphne", "gunicorn", "starlette", "fastapi", "litestar", "quart"}
    return sorted({name.split(".")[0] for name in sys.modules} & {*hosts, "django", "flask", "waitress", "werkzeug"})

instrumentor = ASGIStreamingInstrumentor()
instrumentor.instrument()
instrumentor.uninstrument()
instrumentor.instrument()
assert loaded() == [], loaded()

import starlette.routing, uvicorn.config, uvicorn.server, hypercorn.app_wrappers, hypercorn.asyncio.run
import granian.asgi, granian._signals, daphne.server, gunicorn.workers.gasgi
import gunicorn.workers.sync, gunicorn.workers.gthread, granian.wsgi, waitress.server, werkzeug.serving
import flask.app, flask.ctx, django.core.handlers.wsgi
import litestar.routes.http, quart.asgi, quart.ctx, django.core.handlers.asgi, django.core.handlers.base
places = [
    (starlette.routing.Router, "__call__"),
    (starlette.routing.Mount, "handle"),
    (uvicorn.config.Config, "load"),
    (uvicorn.server.Server, "handle_exit"),
    (uvicorn.server.Server, "shutdown"),
    (hypercorn.app_wrappers.ASGIWrapper, "__init__"),
    (hypercorn.asyncio.run, "raise_shutdown"),
    (hypercorn.asyncio.run, "worker_serve"),
    (granian.asgi, "_callback_wrapper"),
    (granian.asgi.LifespanProtocol, "__init__"),
    (granian._signals, "set_loop_signals"),
    (daphne.server.Server, "__init__"),
    (daphne.server.Server, "kill_all_applications"),
    (daphne.server.Server, "run"),
    (gunicorn.workers.gasgi.ASGIWorker, "load_wsgi"),
    (gunicorn.workers.gasgi.ASGIWorker, "_shutdown"),
    (gunicorn.workers.sync.SyncWorker, "load_wsgi"),
    (gunicorn.workers.sync.SyncWorker, "handle_quit"),
    (gunicorn.workers.gthread.ThreadWorker, "load_wsgi"),
    (gunicorn.workers.gthread.ThreadWorker, "run"),
    (granian.wsgi, "_callback_wrapper"),
    (waitress.server.BaseWSGIServer, "__init__"),
    (waitress.server.MultiSocketServer, "run"),
    (werkzeug.serving.BaseWSGIServer, "__init__"),
    (werkzeug.serving.BaseWSGIServer, "serve_forever"),
    (flask.app.Flask, "wsgi_app"),
    (flask.ctx.RequestContext, "match_request"),
    (django.core.handlers.wsgi.WSGIHandler, "__call__"),
    (litestar.routes.http.HTTPRoute, "handle"),
    (quart.asgi.ASGIHTTPConnection, "__call__"),
    (quart.asgi.ASGIHTTPConnection, "_send_response"),
    (quart.ctx._BaseRequestWebsocketContext, "match_request"),
    (django.core.handlers.base.BaseHandler, "resolve_request"),
    (django.core.handlers.asgi.ASGIHandler, "handle"),
    (django.core.handlers.asgi.ASGIHandler, "send_response"),
]
hooked = [getattr(owner, name) for owner, name in places]
assert all(hasattr(function, "__wrapped__") for function in hooked), hooked
assert not hasattr(starlette.routing.Route.handle, "__wrapped__")
originals = [function.__wrapped__ for function in hooked]
assert not any(hasattr(function, "__wrapped__") for function in originals), "hooked twice"

instrumentor.instrument()  # twice is once
assert [getattr(owner, name) for owner, name in places] == hooked

instrumentor.uninstrument()
assert [getattr(owner, name) for owner, name in places] == originals

instrumentor.instrument()
assert all(hasattr(getattr(owner, name), "__wrapped__") for owner, name in places)
instrumentor.uninstrument()
assert [getattr(owner, name) for owner, name in places] == originals

import fastapi  # after uninstrumenting: no hook is left behind that would fire
assert not hasattr(fastapi.routing.APIRouter.__call__, "__wrapped__")
"""


def test_hooks_come_and_go():
    """Instrumenting imports nothing; uninstrumenting restores the very objects; both can be repeated."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["ASGI", "HTTPX", "Aiohttp", "URLLib3", "Websockets"])
def test_entry_points(name):
    """``opentelemetry-instrument`` finds each instrumentor by its entry point."""
    (point,) = entry_points(group="opentelemetry_instrumentor", name=f"otel_streaming_{name.lower()}")
    assert point.load() is getattr(instrumentor, f"{name}StreamingInstrumentor")
