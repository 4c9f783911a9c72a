"""The workflow that tests the wheel: on each Python that it is for, and never the tree's own package."""

import re
from pathlib import Path

import tomllib
import yaml

ROOT = Path(__file__).resolve().parents[2]
[JOB] = yaml.safe_load((ROOT / ".github/workflows/package.yml").read_text())["jobs"].values()
ROWS = JOB["strategy"]["matrix"]["include"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_python():
    """All from the oldest that is allowed to 3.14, and those that the package says it is for."""
    oldest = int(PROJECT["requires-python"].removeprefix(">=3."))
    tried = [f"3.{minor}" for minor in range(oldest, 15)]
    assert [row["python"] for row in ROWS] == tried
    assert [c.rpartition(" :: ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c] == tried


def test_what_is_named_is_there():
    """Extras, constraints and folders of tests exist; every action has a version."""
    for row in ROWS:
        extras = re.match(r"\[([\w,]+)\]", row["install"])[1].split(",")
        assert set(extras) <= PROJECT["optional-dependencies"].keys()
        assert all((ROOT / folder).is_dir() for folder in row["tests"].split())
        assert "-c constraints.txt" in row["install"] or row["python"] == "3.10"
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in JOB["steps"] if "uses" in step)


def test_the_tree_is_out_of_the_way():
    """The package is removed after the wheel has been built and installed, and before anything is tested."""
    runs = [step["run"] for step in JOB["steps"] if "run" in step]
    at = {
        word: next(at for at, run in enumerate(runs) if word in run)
        for word in ("-m build", "dist/", "rm -r", "pytest")
    }
    assert list(at) == sorted(at, key=at.get)
    assert runs[at["rm -r"]].split("#")[0].split() == ["rm", "-r", "otel_streaming"]
