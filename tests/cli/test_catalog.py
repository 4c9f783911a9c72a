"""``otel-streaming catalog``: the whole contract, in three forms that say the same; help and completion."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from otel_streaming import semconv
from otel_streaming._config import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMES = [
    *(str(attribute) for attribute in semconv.ATTRIBUTES if attribute.startswith("stream.chunk")),
    *(metric.prometheus for metric in semconv.METRICS),
    *(word.value for attribute in semconv.ATTRIBUTES for word in attribute.values or ()),
    *(label.label for metric in semconv.METRICS for label in metric.labels),
    *(f"OTEL_PYTHON_STREAMING_{setting.name.upper()}" for setting in fields(Settings)),
]


@pytest.mark.parametrize("columns", [80, 240])
def test_the_table_has_every_name(cli, columns):
    """Attributes with their values, metrics, reasons and settings are on screen, no name of them broken in two."""
    shown = cli("catalog", env={"COLUMNS": str(columns)})
    assert shown.returncode == 0
    assert max(map(len, shown.stdout.splitlines())) <= columns
    words = set(shown.stdout.replace(",", " ").split())
    assert [name for name in NAMES if name not in words] == []
    assert "int[]" in words, "no name is taken for markup"


def test_json_has_every_name_once(cli):
    """Machines get the same rows, closed vocabularies as lists."""
    told = json.loads(cli("catalog", "--json").stdout)
    assert [row["Prometheus"] for row in told["metrics"]] == [metric.prometheus for metric in semconv.METRICS]
    assert {row["label"]: row["values"] for row in told["labels"]}["stream_state"] == list(semconv.State)
    assert {row["reason"] for row in told["reasons"]} == set(semconv.Reason)
    assert [row["variable"].rpartition("STREAMING_")[2].lower() for row in told["settings"]] == [
        setting.name for setting in fields(Settings)
    ]
    (result,) = (row for row in told["attributes"] if row["attribute"] == semconv.RESULT)
    assert result["values"] == [word.value for word in semconv.Result]


def test_markdown_is_the_reference(cli):
    """The pages of the documentation and the command's come of one renderer."""
    pages = [(DOCS / name).read_text() for name in ("contract.md", "settings.md")]
    assert cli("catalog", "--markdown").stdout == "\n".join(pages)


def test_two_forms_at_once_are_refused(cli):
    """The message says what to do."""
    refused = cli("catalog", "--json", "--markdown")
    assert refused.returncode == 2
    assert "give one of the two" in refused.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(cli, shell):
    """Each shell gets a script for its completion, and a begun word is completed."""
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # typer would ask what shell the tests run under
    assert f"_OTEL_STREAMING_COMPLETE=complete_{shell}" in cli("--show-completion", shell, env=named).stdout
    asked = {"_OTEL_STREAMING_COMPLETE": "complete_bash", "COMP_WORDS": "otel-streaming cat", "COMP_CWORD": "1"}
    assert cli(env=asked).stdout.split() == ["catalog"]


def test_help_lists_the_commands(cli):
    """Each command stands there with a sentence."""
    shown = cli("--help").stdout
    assert "How every stream really ended." in shown
    assert "List every span attribute, metric, reason and setting." in shown
    alone = cli()
    assert (alone.stdout + alone.stderr).split() == shown.split(), "no command: the help"
