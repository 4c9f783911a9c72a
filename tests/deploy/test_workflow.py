"""The workflows, and of the one that starts docker-compose.yml that every address and command in it is there."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
[JOB] = WORKFLOWS["compose"]["jobs"].values()
RUN = "\n".join(step.get("run", "") for step in JOB["steps"])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_all_have(name):
    """Every action has a version; a workflow may read and no more, comes to an end, and gives way to its successor."""
    workflow = WORKFLOWS[name]
    [job] = workflow["jobs"].values()
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"]
    assert job["timeout-minutes"] <= 90


def test_what_has_to_pass():
    """One workflow runs what a developer runs."""
    [job] = WORKFLOWS["test"]["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test"]


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
