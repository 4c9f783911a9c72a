"""A part of the matrix; ``make conformance`` runs all of it."""

import json
import os

import pytest

from stack import Process, free_ports
from tests.conformance.runner import BIN, CAUSES, SERVERS, SERVICE, clients_of, run_row, wrong

pytestmark = pytest.mark.e2e

ROWS = [
    ("uvicorn-httptools", "starlette", tuple(CAUSES)),
    ("uvicorn-httptools", "fastapi", tuple(CAUSES)),
    *((server, "starlette", ("fin", "sigterm")) for server in SERVERS if server != "uvicorn-httptools"),
]


@pytest.mark.parametrize(
    ("server", "framework", "causes"), ROWS, ids=lambda value: value if str(value) == value else ""
)
def test_row(server, framework, causes, tmp_path):
    """Each cause is told by its name, once, and counted once."""
    assert wrong(run_row(server, framework, tmp_path, causes)) == []


@pytest.mark.parametrize("server", ["granian", "uvicorn-httptools"])
def test_what_a_bare_server_tells(server, tmp_path):
    """Without us, granian tells an application that never listens nothing of a reader who has left; uvicorn does."""
    record, (port,) = tmp_path / "record", free_ports(1)
    env = {"FRAMEWORK": "recorded", "RECORD": str(record), "PYTHONPATH": os.fspath(SERVICE)}
    program, *arguments = SERVERS[server].format(port=port).split()
    log = tmp_path / "bare.log"
    with Process("bare", [BIN / program, *arguments], log, env, SERVICE) as process:
        clients_of(process, port, ("read", "fin"))
        process.wait_until(lambda: record.exists() and len(record.read_text().splitlines()) == 2, "two records", 20)
    recorded = dict(json.loads(line) for line in record.read_text().splitlines())
    assert recorded.keys() == {"read", "fin"}
    assert (recorded["read"] == recorded["fin"]) is (server == "granian")
