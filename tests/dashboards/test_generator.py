"""``python -m dashboards``: what it writes, what it finds out of date, what it says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dashboards.__main__ import DASHBOARDS, OUT, main

ROOT = Path(__file__).resolve().parents[2]


def test_what_is_committed_is_what_the_code_generates(capsys):
    """Nobody edits the JSON, nobody forgets to generate it."""
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_one_file_per_dashboard():
    """No dashboard lies in the folder that no module makes."""
    assert sorted(path.name for path in OUT.glob("*.json")) == sorted(f"{module.UID}.json" for module in DASHBOARDS)


def test_the_same_in_every_process(tmp_path):
    """The output depends on nothing but the code, not on hash seeds either."""
    for seed in ("1", "2"):
        argv = [sys.executable, "-m", "dashboards", "--out", tmp_path / seed]
        subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
    first, second = (sorted(path for path in (tmp_path / seed).rglob("*.*")) for seed in ("1", "2"))
    assert first
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_files_are_sorted_json_with_a_newline_at_the_end(tmp_path):
    """Diffs stay small and readable."""
    main(["--out", str(tmp_path)])
    for path in tmp_path.glob("*.json"):
        text = path.read_text()
        assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("harmed", ["stream-overview.json", "rules/alerts.yaml"])
@pytest.mark.parametrize("harm", ["edit", "remove", "add"])
def test_check_names_each_file_and_the_remedy(tmp_path, capsys, harm, harmed):
    """Whoever meets the gate is told which file is wrong and what to run; doing so opens the gate."""
    main(["--out", str(tmp_path)])
    victim = tmp_path / harmed
    if harm == "add":
        victim = victim.with_stem("old")
    victim.unlink() if harm == "remove" else victim.write_text("{}")
    assert main(["--check", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert str(victim) in said
    assert "python -m dashboards" in said
    assert main(["--out", str(tmp_path)]) == 0
    assert main(["--check", "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize("argv", [["--chek"], ["stream-overview"], ["--out"], ["--out", __file__]])
def test_bad_arguments_are_explained(capsys, argv):
    """A typing error ends with usage and reason, not with a traceback or a half-done job."""
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2
    assert "usage: python -m dashboards" in capsys.readouterr().err
