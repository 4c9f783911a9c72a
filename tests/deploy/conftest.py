"""What reads docker-compose.yml as ``docker compose config`` does, without a container engine."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from stack import binaries

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = binaries.Product(
    name="compose-spec",
    source=Path(__file__).parent / "compose-spec",
    inputs=("go.mod", "go.sum"),
    on_path={},
    minimum=(),
    recipe='cd "$SOURCE" && go build -o "$OUT/compose-spec" github.com/compose-spec/compose-go/v2/cmd',
)


@pytest.fixture(scope="session")
def compose():
    """Read a file of Compose, strictly and with no variable set; return the model, or the complaint as a string."""
    program = COMPOSE.folder / "compose-spec"
    if not program.exists():
        if not shutil.which("go"):
            pytest.skip("no Go to build what reads it")
        binaries._build(COMPOSE)

    def read(file, **env):
        command = [program, "--format=json", file]
        answer = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        return answer.stdout + answer.stderr if answer.returncode else json.loads(answer.stdout)

    return read
