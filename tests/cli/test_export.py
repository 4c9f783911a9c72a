"""``otel-streaming export``: the generated files in a user's folder; every mistake is answered by what to do."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "dashboards": (sorted((ROOT / "dashboards/out").glob("*.json")), "Grafana"),
    "rules": (sorted((ROOT / "dashboards/out/rules").glob("*.yaml")), "rule_files"),
    "sloth": ([ROOT / "dashboards/out/sloth.yaml"], "sloth generate"),
    "collector": (
        [
            *((ROOT / "collector" / name) for name in ("agent.yaml", "config.yaml", "derive.yaml", "prometheus.yml")),
            *sorted((ROOT / "collector/overlays").iterdir()),
        ],
        "--config",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_written_as_it_is(cli, tmp_path, kind):
    """Each file arrives byte for byte, is named, and the next step is said."""
    sources, next_step = KINDS[kind]
    done = cli("export", kind, "deep/down")
    assert done.returncode == 0, done.stderr
    written = {path for path in (tmp_path / "deep/down").rglob("*") if path.is_file()}
    contents = [path.read_bytes() for path in written]
    assert sources
    assert [source for source in sources if source.read_bytes() not in contents] == []
    named, _, last = done.stdout.strip().partition("\n\n")
    assert {(tmp_path / line) for line in named.splitlines()} == written
    assert next_step in last


def test_nothing_is_overwritten_unasked(cli, tmp_path):
    """A file that is there stays, and no other is written; --force replaces it."""
    (tmp_path / "alerts.yaml").write_text("mine")
    refused = cli("export", "rules", ".")
    assert refused.returncode == 1
    assert "alerts.yaml: already there; --force replaces" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["alerts.yaml"]
    assert (tmp_path / "alerts.yaml").read_text() == "mine"
    assert cli("export", "rules", ".", "--force").returncode == 0
    assert (tmp_path / "alerts.yaml").read_text() != "mine"


def test_what_is_no_folder_is_refused(cli, tmp_path):
    """A file in its place, a place where nobody can write, a name that is too long, the files' own: no traceback."""
    (tmp_path / "file").write_text("")
    for where in ("file", "file/below", "/proc/nobody", 300 * "a", str(ROOT / "dashboards/out")):
        refused = cli("export", "sloth", where, "--force")
        assert refused.returncode == 1
        assert len(refused.stderr.splitlines()) == 1
        assert where in refused.stderr
        assert "name" in refused.stderr
        assert "None" not in refused.stderr


def test_an_unknown_kind_is_answered_by_the_known_ones(cli):
    """All four are named."""
    refused = cli("export", "everything", ".")
    assert refused.returncode == 2
    assert all(kind in refused.stderr for kind in KINDS)
