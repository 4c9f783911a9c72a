"""What is built is what works: wheel and sdist, installed where nothing else is, far from the tree."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from stack import Process, free_ports
from stack.prometheus import open_local

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
[LINES] = re.findall(r"## Your own service\n\n```console\n(.*?)```", README, re.DOTALL)
INSTALL, EXPORT, START = (line.removeprefix("$ ") for line in LINES.splitlines())
APP = """
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/released")
async def released():
    async def generate():
        yield 'data: {"object":"chat.completion.chunk",'
        yield '"choices":[{"index":0,"delta":{"content":"half"},"finish_reason":null}]}\\n\\n'

    return StreamingResponse(generate(), media_type="text/event-stream")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist of this tree, and the wheel of that sdist."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel], [sdist] = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


class Environment:
    """An environment of its own in a folder that has nothing to do with the tree."""

    def __init__(self, folder):
        self.folder = folder
        venv.create(folder / "venv", with_pip=True)
        self.bin = folder / "venv/bin"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        self.env = {**clean, "PATH": path, "XDG_STATE_HOME": str(folder / "state"), "NO_PROXY": "*", "COLUMNS": "200"}

    def run(self, *command, status=0):
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def pip(self, *what):
        quiet = ("--quiet", "--disable-pip-version-check", "--root-user-action=ignore")
        self.run(self.bin / "pip", "install", *quiet, "-c", ROOT / "constraints.txt", *what)


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory):
    """What a service has, and what the README's first line installs."""
    made = Environment(tmp_path_factory.mktemp("far"))
    words = INSTALL.replace('"', "").split()
    assert words[:2] == ["pip", "install"]
    made.pip(*(word.replace("otel-streaming", str(built[0])) for word in words[2:]), "fastapi", "uvicorn")
    return made


@pytest.fixture(scope="module")
def with_cli(environment, built):
    """The same with the extra of the command line."""
    environment.pip(f"{built[0]}[cli]")
    return environment


def exports(stack):
    """The README's second line, for a collector elsewhere."""
    assert "http://localhost:4318" in EXPORT
    return EXPORT.replace("http://localhost:4318", stack.otlp_endpoint)


def test_what_is_in_them(built):
    """The wheel: the package, its types, licence and what ``export`` writes, and no more; the sdist also the tests."""
    wheel, sdist = built
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "otel_streaming",
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info",
    }
    tracked = subprocess.run(
        ["git", "ls-files", "otel_streaming"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {name for name in names if name.startswith("otel_streaming/") and "/_pack/" not in name} >= set(
        tracked.stdout.split()
    )
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    with tarfile.open(sdist) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "tests/release/test_wheel.py", "dashboards/slo.py"} <= members


def test_it_is_imported_from_the_wheel(environment):
    """Every module but those of the extra; the file with the types is there; the version is the wheel's."""
    code = """if True:
        import importlib, pkgutil, sys
        from importlib.metadata import version
        import otel_streaming
        for module in pkgutil.walk_packages(otel_streaming.__path__, "otel_streaming."):
            if ".cli" not in module.name and module.name.rpartition(".")[2] not in {"__main__"}:
                importlib.import_module(module.name)
        assert otel_streaming.__version__ == version("otel-streaming")
        print(otel_streaming.__path__[0])
    """
    where = environment.run(environment.bin / "python", "-W", "error", "-c", code).strip()
    assert Path(where).is_relative_to(environment.folder)
    assert Path(where, "py.typed").exists()
    said = environment.run(environment.bin / "otel-streaming", "--version", status=2)
    assert 'pip install "otel-streaming[cli]"' in said


def test_its_types_are_seen(environment, tmp_path):
    """A strict type checker takes the types of the installed package: those the tree's own test asserts."""
    shutil.copy(ROOT / "tests/typing/api.py", tmp_path / "api.py")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "--python-executable"]
    checked = subprocess.run(
        [*command, environment.bin / "python", "api.py"],
        cwd=tmp_path,
        env=environment.env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_three_lines_of_the_readme(environment, stack):
    """An ordinary service, started as the README says: its stream's span arrives at a real collector."""
    (environment.folder / "app.py").write_text(APP)
    [port] = free_ports(1)
    script = f"{exports(stack)}\nexec {START} --port {port}"
    log = environment.folder / "service.log"

    def answer():
        with open_local(f"http://127.0.0.1:{port}/released") as got:
            return got.read()

    def ours():
        return [s for s in stack.recorded_spans() if s["attributes"].get("http.route") == "/released"]

    with Process("released", ["sh", "-c", script], log, environment.env, environment.folder) as service:
        assert b"half" in service.wait_until(answer, "an answer", 120)
    spans = stack.wait_until(lambda: [s for s in ours() if s["scope"] == "otel_streaming"], "its span")
    assert spans[0]["resource"]["service.name"] == "chat"
    assert spans[0]["attributes"]["stream.reason"] == "missing_terminal"
    assert spans[0]["parentSpanId"] in {s["spanId"] for s in ours() if s["scope"] != "otel_streaming"}


def test_the_commands(with_cli):
    """``--version``, ``catalog`` and ``export`` work where there is no tree to read from."""
    script = with_cli.bin / "otel-streaming"
    assert re.fullmatch(r"\d+\.\d+\.\S+\n", with_cli.run(script, "--version"))
    assert json.loads(with_cli.run(script, "catalog", "--json"))["metrics"]
    sources = {
        "dashboards": ROOT / "dashboards/out/stream-overview.json",
        "rules": ROOT / "dashboards/out/rules/alerts.yaml",
        "collector": ROOT / "collector/overlays/nginx.yaml",
        "sloth": ROOT / "dashboards/out/sloth.yaml",
    }
    for kind, source in sources.items():
        with_cli.run(script, "export", kind, f"out/{kind}")
        [written] = (with_cli.folder / "out" / kind).rglob(source.name)
        assert written.read_bytes() == source.read_bytes()


def test_the_doctor_finds_nothing(with_cli, stack):
    """Where all is as the README says, its stream comes back and nothing is wrong."""
    ask = f"otel-streaming doctor --json --prometheus {stack.prometheus.url} --wait 60"
    told = json.loads(with_cli.run("sh", "-c", f"{exports(stack)}\n{ask} -- {START}"))
    assert [row for row in told if row["verdict"] != "ok"] == []
    assert "uvicorn" in next(row["seen"] for row in told if row["check"] == "server")
