"""The dashboards as Grafana reads them: whatever it does not know, it leaves out without a word."""

import copy
from pathlib import Path

import jsonschema
import pytest
import yaml
from boards import BOARDS

SCHEMA = yaml.safe_load((Path(__file__).parent / "schema.yaml").read_text())
CHECK = jsonschema.Draft202012Validator(SCHEMA)


def complaints(board):
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in CHECK.iter_errors(board)]


def test_the_schema_is_one():
    """A misspelt keyword of JSON Schema would allow everything."""
    CHECK.check_schema(SCHEMA)


def test_every_dashboard_keeps_the_schema(board):
    """Keys, types and closed words, down to the single override."""
    assert complaints(board) == []


def panel_of(board, kind):
    return next(panel for panel in board["panels"] if panel["type"] == kind)


HARMS = {
    "an unknown key": lambda board: board.update(pannels=[]),
    "a kind of panel that is no more": lambda board: panel_of(board, "stat").update(type="graph"),
    "a width as text": lambda board: panel_of(board, "stat")["gridPos"].update(w="4"),
    "a panel without its query": lambda board: panel_of(board, "timeseries").pop("targets"),
    "thresholds without a base": lambda board: panel_of(board, "stat")["fieldConfig"]["defaults"]["thresholds"][
        "steps"
    ].pop(0),
    "a mapping without words": lambda board: panel_of(board, "stat")["fieldConfig"]["defaults"]["mappings"][0][
        "options"
    ].update({"-1": {"colour": "green"}}),
    "an override of nothing": lambda board: panel_of(board, "table")["fieldConfig"]["overrides"][0].update(
        properties=[]
    ),
    "a link to another place": lambda board: panel_of(board, "stat")["fieldConfig"]["defaults"]["links"][0].update(
        url="stream-slo"
    ),
    "an unknown transformation": lambda board: panel_of(board, "table")["transformations"][0].update(id="join"),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_the_schema_tells(harm):
    """A mistake is found, or keeping the schema proves nothing."""
    board = copy.deepcopy(BOARDS["stream-overview"])
    harm(board)
    assert complaints(board)
