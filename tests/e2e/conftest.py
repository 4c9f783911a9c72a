import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack import Process, free_ports, listens

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
sys.path.insert(0, str(HERE))


@pytest.fixture
def serve(tmp_path, stack):
    """Start a service of tests/e2e/services under ``opentelemetry-instrument``; gives its port and process."""

    @contextmanager
    def start(app, name, *arguments, server="uvicorn", env=None, instrument=True, ready="startup complete"):
        (port,) = free_ports(1)
        where = ["--bind", f"127.0.0.1:{port}"] if server == "gunicorn" else ["--port", str(port)]
        command = [*([BIN / "opentelemetry-instrument"] if instrument else []), BIN / server, app, *where, *arguments]
        log = tmp_path / f"{name}.log"
        with Process(name, command, log, stack.service_env(name, **(env or {})), HERE / "services") as process:
            process.wait_until(lambda: listens(port) and ready in log.read_text(), "its port", 120)
            process.port = port
            yield process

    return start
