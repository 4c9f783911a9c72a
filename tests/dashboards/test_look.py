"""The workflow that looks at the dashboards in real Grafanas: what can be held of it without one."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from dashboards import incident, words

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parent / "look.mjs"
LOOK = SCRIPT.read_text()
[JOB] = yaml.safe_load((ROOT / ".github/workflows/grafana.yml").read_text())["jobs"].values()
RUN = "\n".join(step.get("run", "") for step in JOB["steps"])


def test_every_grafana_that_is_promised():
    """From the oldest to the newest that docs/dashboards.md names, and the one of docker-compose.yml; pinned."""
    versions = JOB["strategy"]["matrix"]["grafana"]
    assert [version.rpartition(".")[0] for version in versions] == ["10.4", "11.6", "12.4", "13.0"]
    assert re.search(r"grafana/grafana:([\d.]+)", (ROOT / "docker-compose.yml").read_text())[1] in versions
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in JOB["steps"] if "uses" in step)


def test_what_it_runs_is_there():
    """Modules and files exist, the provisioning is given every variable it reads, pictures are kept in any case."""
    modules = re.findall(r"python -m ([\w.]+)", RUN)
    assert modules
    assert all(importlib.util.find_spec(module) for module in modules)
    assert (ROOT / re.search(r"node (\S+)", RUN)[1]) == SCRIPT
    files = (ROOT / "collector/grafana").rglob("*.yaml")
    read = {name for file in files for name in re.findall(r"(?<!\$)\$\{([A-Z_]+)\}", file.read_text())}
    assert read <= set(re.findall(r"--env ([A-Z_]+)=", RUN))
    [kept] = [step for step in JOB["steps"] if "upload-artifact" in step.get("uses", "")]
    assert kept["if"] == "always()"
    assert f" {kept['with']['path']}" in RUN


@pytest.mark.skipif(not shutil.which("node"), reason="the script is for node, which is not here")
def test_node_reads_the_script():
    """A typing error in it is found here."""
    subprocess.run(["node", "--check", SCRIPT], check=True)


def test_it_knows_nothing_when_it_sees_it():
    """Every way in which a panel says that it has nothing is a complaint; the incident fits into the time looked at."""
    nothing = re.compile(re.search(r"NOTHING = /(.*)/i", LOOK)[1], re.IGNORECASE)
    for said in ("No data", words.NOTHING_TO_SHOW, words.NO_TELEMETRY, words.NO_RULES):
        assert nothing.search(said)
    for shown in (*words.REASONS.values(), words.LEFT, words.NONE, words.UNEXPLAINED):
        assert not nothing.search(shown.text)
    hours = int(re.search(r"HOURS = (\d+)", LOOK)[1])
    assert hours - 1 < (incident.END - incident.START) / 3600 <= hours
