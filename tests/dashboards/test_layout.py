"""What is where: on the screen, held without a Grafana, and in the code that makes it."""

import re
from pathlib import Path

import pytest

import dashboards
from dashboards import parts

DECISIONS = "How does it feel?"
FIRST_SCREEN = 28


def test_title_fits(panel):
    """No title is cut off on a screen of 1080p: a column is 78 pixels, a letter about 8, the (i) 24."""
    assert 8 * len(panel["title"]) + 24 <= 78 * panel["gridPos"]["w"] - 24


def test_nothing_overlaps_and_rows_are_full(board):
    """Every line of the grid is used, once, from edge to edge."""
    covered = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        for y in range(at["y"], at["y"] + at["h"]):
            for x in range(at["x"], at["x"] + at["w"]):
                assert (x, y) not in covered, f"{panel['title']} lies on {covered[x, y]}"
                covered[x, y] = panel["title"]
    bottom = max(y for _, y in covered) + 1
    assert covered.keys() == {(x, y) for x in range(24) for y in range(bottom)}


def test_decisions_fit_on_the_first_screen(board):
    """Whether, what and where: without scrolling."""
    if board["uid"] == parts.OVERVIEW:
        below = next(panel for panel in board["panels"] if panel["title"] == DECISIONS)
        assert below["gridPos"]["y"] <= FIRST_SCREEN


SOURCES = {path.stem: path.read_text() for path in Path(dashboards.__file__).parent.glob("*.py")}
LAYERS = {
    "words": set(),
    "queries": set(),
    "measures": {"queries"},
    "render": set(),
    "budget": {"queries"},
    "health": {"queries", "measures"},
    "traceql": {"queries"},
    "parts": {"words", "queries", "budget"},
    "panels": {"words", "queries", "budget", "parts"},
    "tables": {"words", "parts", "panels"},
    "traces": {"words", "parts", "panels"},
    "board": {"words", "queries", "budget", "health", "panels"},
}
BELOW_A_DASHBOARD = {*LAYERS, "ages"}
WITH_GRAFANA = {"panels", "tables", "traces", "board"}


@pytest.mark.parametrize("name", [*LAYERS, "ages", "overview", "slo", "flow", "forensics", "trust"])
def test_imports_point_one_way(name):
    """Contract, queries, panels, dashboards: nothing reaches back, and only four modules know Grafana's SDK."""
    imported = re.findall(r"^\s*from dashboards(?:\.(\w+))? import ([\w, ]+)", SOURCES[name], re.MULTILINE)
    modules = {one for module, attributes in imported for one in ([module] if module else attributes.split(", "))}
    assert {one.partition(" as ")[0] for one in modules} <= LAYERS.get(name, BELOW_A_DASHBOARD)
    assert ("grafana_foundation_sdk" in SOURCES[name]) == (name in WITH_GRAFANA)


@pytest.mark.parametrize("name", SOURCES)
def test_names_of_the_contract_are_never_retyped(name):
    """A metric or label of ours stands in semconv alone."""
    assert not re.search(r"\bstream_[a-z]", SOURCES[name])
