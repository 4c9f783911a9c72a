"""The workflow that starts docker-compose.yml: every address, file and command in it is there."""

import importlib.util
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / ".github/workflows/compose.yml").read_text()
[JOB] = yaml.safe_load(TEXT)["jobs"].values()
RUN = "\n".join(step.get("run", "") for step in JOB["steps"])


def test_actions_are_pinned():
    """Every action has a version."""
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in JOB["steps"] if "uses" in step)


def test_addresses_are_published():
    """What is asked is what docker-compose.yml publishes by default, and all of it is waited for."""
    compose = (ROOT / "docker-compose.yml").read_text()
    published = dict(re.findall(r"\$\{([A-Z]+)_PORT:-(\d+)\}", compose))
    del published["OTLP"]
    assert JOB["env"] == {name: f"http://127.0.0.1:{port}" for name, port in published.items()}
    [waiting] = [step["run"] for step in JOB["steps"] if "stack.ready" in step.get("run", "")]
    assert set(re.findall(r"\$([A-Z]+)/", waiting)) == JOB["env"].keys()


def test_commands_exist():
    """Every module that is run can be, and the data source that is asked is provisioned."""
    modules = re.findall(r"python -m ([\w.]+)", RUN)
    assert modules
    assert all(importlib.util.find_spec(module) for module in modules)
    [uid] = re.findall(r"datasources/proxy/uid/(\w+)", RUN)
    assert f"uid: {uid}\n" in (ROOT / "collector/grafana/datasources/streaming.yaml").read_text()


def test_waits_for_data():
    """What takes its time to come through is asked for more than once."""
    assert RUN.count("curl ") == RUN.count("do found && exit; sleep 5; done; exit 1") == 2


def test_cleans_up():
    """Whatever fails, the logs are shown and everything is stopped."""
    assert [step["if"] for step in JOB["steps"] if "if" in step] == ["failure()", "always()"]
    assert JOB["timeout-minutes"] <= 30
