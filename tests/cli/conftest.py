import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack import free_ports

SCRIPT = Path(sys.executable).parent / "otel-streaming"


@pytest.fixture
def port():
    """A port that nobody has."""
    (port,) = free_ports(1)
    return port


@pytest.fixture
def cli(tmp_path):
    """Run ``otel-streaming`` as a user does, in an empty folder; an environment given as ``env`` comes on top."""

    def run(*arguments, env=None, timeout=120):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "_TYPER"))}
        clean |= {"COLUMNS": "120", "TERM": "dumb", "NO_PROXY": "*", "OTEL_PYTHON_STREAMING_STATE_DIR": "off"}
        return subprocess.run(
            [SCRIPT, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=tmp_path,
            env=clean | (env or {}),
        )

    return run
