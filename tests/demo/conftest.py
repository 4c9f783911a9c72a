"""The demo's own upstream and service as real processes, without any instrumentation."""

import sys

import pytest

from demo.faults import FAULTS, FIRST_TOKEN_TIMEOUT, KILL
from stack import Process, free_ports, listens


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Start a module that listens on the port given; end all of them at the end of the session."""
    processes = []

    def start_one(port, *argv, **env):
        process = Process(argv[0], [sys.executable, "-m", *argv], tmp_path_factory.mktemp("logs") / "log", env)
        processes.append(process.start())
        process.wait_until(lambda: listens(port), "its port")
        return port

    yield start_one
    for process in reversed(processes):
        process.stop()


@pytest.fixture(scope="session")
def model_port(start):
    (port,) = free_ports(1)
    return start(port, "demo.upstream", str(port))


@pytest.fixture(scope="session")
def service_port(start, model_port):
    (port,) = free_ports(1)
    return start(
        port,
        *("uvicorn", "demo.service:app", "--port", str(port), "--log-level", "critical"),
        UPSTREAM_URL=f"http://127.0.0.1:{model_port}",
        PRODUCTS=",".join(fault.product for fault in (*FAULTS, KILL)),
        FIRST_TOKEN_TIMEOUT=str(FIRST_TOKEN_TIMEOUT),
    )
