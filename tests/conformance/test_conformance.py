"""A part of the matrix; ``make conformance`` runs all of it."""

import json
import os

import pytest

from stack import Process, free_ports
from tests.conformance import sockets, wsgi
from tests.conformance.rows import BIN, SERVICE
from tests.conformance.runner import CAUSES, SERVERS, clients_of, run_row, wrong

pytestmark = pytest.mark.e2e

ROWS = [
    ("uvicorn-httptools", "starlette", tuple(CAUSES)),
    ("uvicorn-httptools", "fastapi", tuple(CAUSES)),
    *((server, "starlette", ("fin", "sigterm")) for server in SERVERS if server != "uvicorn-httptools"),
    # Applications that never listen: nothing but the server's own object tells of their readers.
    *((server, "raw", ("fin", "before_headers", "sigterm")) for server in ("hypercorn", "daphne", "gunicorn-asgi")),
    ("daphne", "fastapi-sse", tuple(CAUSES)),
    ("uvicorn-h11", "django-sync", ("sigterm",)),
    # Killed, and the application refuses its lifespan: its successor reports it all the same.
    ("granian", "raw", ("sigterm", "unlimited")),
    ("uvicorn-h11", "starlette-sync", ("healthy", "fin", "raise_later", "sigterm")),
    ("hypercorn-trio", "raw", ("fin", "raise_later", "before_headers", "unlimited")),
]


@pytest.mark.parametrize(
    ("server", "framework", "causes"), ROWS, ids=lambda value: value if str(value) == value else ""
)
def test_row(server, framework, causes, tmp_path):
    """Each cause is told by its name, once, and counted once."""
    assert wrong(run_row(server, framework, tmp_path, causes)) == []


WSGI = [
    ("gunicorn-gthread", "flask", tuple(wsgi.CAUSES)),
    *((server, "django", ("before_headers", "fin", "sigterm")) for server in wsgi.SERVERS),
]


@pytest.mark.parametrize(
    ("server", "framework", "causes"), WSGI, ids=lambda value: value if str(value) == value else ""
)
def test_wsgi(server, framework, causes, tmp_path):
    """Under WSGI each cause is told by its name, once, and counted once."""
    assert wsgi.wrong(wsgi.run_row(server, framework, tmp_path, causes)) == []


AT_THE_ENDS = ("server_1011", "client_1001", "fin", "returns", "sigterm")
SOCKETS = [
    ("uvicorn-sansio", "fastapi", tuple(sockets.CAUSES)),
    ("uvicorn-sansio", "raw-pushes", tuple(sockets.CAUSES)),
    *((server, "starlette", AT_THE_ENDS) for server in sockets.SERVERS),
]


@pytest.mark.parametrize(
    ("server", "framework", "causes"), SOCKETS, ids=lambda value: value if str(value) == value else ""
)
def test_sockets(server, framework, causes, tmp_path):
    """Each end of a WebSocket is told by its name, once, and counted once."""
    assert sockets.wrong(sockets.run_row(server, framework, tmp_path, causes)) == []


@pytest.mark.parametrize("server", ["granian", "uvicorn-httptools"])
def test_what_a_bare_server_tells(server, tmp_path):
    """Without us, granian tells an application that never listens nothing of a reader who has left; uvicorn does."""
    recorded = record(SERVERS[server], clients_of, ("read", "fin"), tmp_path)
    assert (recorded["read"] == recorded["fin"]) is (server == "granian")


@pytest.mark.parametrize("server", wsgi.SERVERS)
def test_wsgi_answers_are_the_same(server, tmp_path):
    """Every byte that a client receives is the same without us, whatever the body is and however it ends."""
    row = wsgi.Row(server, "raw")
    with wsgi.serving(row, wsgi.SERVERS[server], tmp_path) as (process, port, _):
        watched = wsgi.answers(process, port)
    (port,) = free_ports(1)
    program, *arguments = wsgi.SERVERS[server].format(port=port).split()
    env = {"FRAMEWORK": "raw", "PYTHONPATH": os.fspath(SERVICE)}
    with Process("bare", [BIN / program, *arguments], tmp_path / "bare.log", env, SERVICE) as process:
        bare = wsgi.answers(process, port)
    if server == "granian-wsgi":  # without us as well, its abort may overtake what it has sent
        del watched["short"], bare["short"]
    assert watched == bare
    assert all(bare.values())


@pytest.mark.parametrize("server", ["granian-wsgi", "gunicorn-gthread"])
def test_what_a_bare_wsgi_server_tells(server, tmp_path):
    """Without us, granian tells the same of who leaves before and right after the headers; gunicorn has a socket."""
    recorded = record(wsgi.SERVERS[server], wsgi.clients_of, ("before_headers", "after_headers", "healthy"), tmp_path)
    assert recorded["healthy"] != recorded["before_headers"]
    assert (recorded["before_headers"] == recorded["after_headers"]) is (server == "granian-wsgi")


@pytest.mark.parametrize("server", ["granian", "uvicorn-sansio"])
def test_what_a_bare_server_tells_of_sockets(server, tmp_path):
    """Without us, granian tells the same of a close frame without a code, a violation and a lost connection."""
    ends = ("client_none", "fin", "rst", "unmasked", "not_utf8")
    recorded = record(sockets.SERVERS[server], sockets.clients_of, ends, tmp_path)
    told = {json.dumps(messages) for messages in recorded.values()}
    assert len(told) == (1 if server == "granian" else 4)  # fin and rst are alike


@pytest.mark.parametrize("server", ["hypercorn", "daphne", "gunicorn-asgi"])
def test_a_violation_on_a_bare_server(server, tmp_path):
    """Without us, these tell the same of a client's violation as of a lost connection."""
    ends = ("fin", "unmasked", "not_utf8")
    recorded = record(sockets.SERVERS[server], sockets.clients_of, ends, tmp_path)
    assert recorded["fin"] == recorded["unmasked"] == recorded["not_utf8"]


def record(command, clients, causes, folder):
    """Return what a bare server told the application of each cause."""
    path, (port,) = folder / "record", free_ports(1)
    env = {"FRAMEWORK": "recorded", "RECORD": str(path), "PYTHONPATH": os.fspath(SERVICE)}
    program, *arguments = command.format(port=port).split()
    with Process("bare", [BIN / program, *arguments], folder / "bare.log", env, SERVICE) as process:
        clients(process, port, causes)
        every = len(causes)
        process.wait_until(lambda: path.exists() and len(path.read_text().splitlines()) == every, "all records", 20)
    recorded = dict(json.loads(line) for line in path.read_text().splitlines())
    assert recorded.keys() == set(causes)
    return recorded
