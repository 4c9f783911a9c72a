import sys
from functools import partial
from pathlib import Path

import pytest

from otel_streaming.asgi import StreamingMiddleware, hooked_router
from otel_streaming.testing import capture

sys.path.insert(0, str(Path(__file__).parent))


def _inner(app):
    async def call(_, scope, receive, send):
        await app(scope, receive, send)

    return partial(hooked_router(call, lambda scope: "/v1/chat"), None)


HOOKS = {
    "outer": StreamingMiddleware,
    "inner": _inner,
    "both": lambda app: StreamingMiddleware(_inner(app)),
    "twice": lambda app: StreamingMiddleware(StreamingMiddleware(_inner(_inner(app)))),
}


@pytest.fixture(params=HOOKS)
def hooks(request):
    """Every way the hooks can stand: each alone, both, both doubled."""
    return HOOKS[request.param]


@pytest.fixture
def both():
    return HOOKS["both"]


@pytest.fixture
def captured():
    """What ended, of a process that at the end of the test has no stream open."""
    with capture() as summaries:
        yield summaries
        assert summaries.engine.registry.open_count == 0


@pytest.fixture
def spans():
    """What returns the spans that have ended."""
    from exported import exported

    with exported() as finished:
        yield finished


@pytest.fixture(scope="module")
def server():
    """One server for a module's tests, which breaks off where it is told to."""
    from upstream import Upstream

    with Upstream() as server:
        yield server


@pytest.fixture
def upstream(server):
    server.answers.clear()
    return server
