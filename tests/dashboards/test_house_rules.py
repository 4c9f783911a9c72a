"""The house rules of dashboards, and the rules of grafana/dashboard-linter that apply.

Three of the linter's rules do not: every panel has a data source of its own kind, and job and instance say
nothing about a stream (target-job, target-instance and their template rules).
"""

import re
from pathlib import Path

import pytest

import dashboards
from dashboards import words
from dashboards.render import panels

DATASOURCE = {"type": "prometheus", "uid": "$datasource"}
IDS = {
    "stream-overview": {
        1: "How to read this",
        100: "Is it broken?",
        101: "Failed",
        102: "What your 5xx panel says",
        103: "Hidden share",
        104: "Cut short",
        105: "Gave up",
        106: "Stalled now",
        107: "Open streams",
        200: "What is failing?",
        201: "Failures by cause, on one axis",
        202: "What users saw, and what your 5xx panel says",
        300: "Where?",
        301: "Routes, worst first",
        400: "How does it feel?",
        401: "Time to first chunk",
        402: "Gaps and longest silence",
        403: "Open streams by state",
        404: "Duration",
        500: "When do streams die?",
        501: "Age of streams when they are interrupted",
        502: "Interrupted at a usual limit",
    }
}
DECISIONS = "How does it feel?"
FIRST_SCREEN = 28


def test_ids_are_for_ever(board):
    """Links to a panel carry its id: an id never moves to another panel."""
    assert [(panel["id"], panel["title"]) for panel in board["panels"]] == list(IDS[board["uid"]].items())


def test_identity(board):
    """The uid is stable, the tag joins the dashboards, the schema is what Grafana 10.4 to 13 take."""
    assert board["uid"] in IDS
    assert board["tags"] == ["streaming"]
    assert board["schemaVersion"] == 42
    assert board["title"]
    assert board["description"]


def test_links_to_the_others_keep_time_and_choices(board):
    """Going on to another dashboard does not lose the thread."""
    (link,) = board["links"]
    assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == (
        "dashboards",
        ["streaming"],
        True,
        True,
    )


def test_variables(board):
    """Data source first, then from wide to narrow; a change of the time range reloads them (four linter rules)."""
    datasource, *choices = board["templating"]["list"]
    assert (datasource["name"], datasource["type"], datasource["query"]) == ("datasource", "datasource", "prometheus")
    assert datasource["label"] == "Data source"
    assert [choice["name"] for choice in choices] == ["service", "route", "protocol"]
    for choice in choices:
        assert choice["datasource"] == DATASOURCE
        assert (choice["multi"], choice["includeAll"], choice["allValue"], choice["refresh"]) == (True, True, ".*", 2)
        assert choice["current"]["value"] == ["$__all"]


def test_nobody_edits_it_in_the_browser(board):
    """What is generated is changed in the code (linter: uneditable-dashboard-rule)."""
    assert board["editable"] is False


def test_title_and_description(panel):
    """The (i) of each panel says what is measured, how, what is good and what to do first."""
    assert panel["title"]
    if panel["type"] == "text":
        assert panel["description"]
        return
    parts = re.findall(r"\*\*(\w[\w ]*):\*\* (\S)", panel["description"])
    assert [name for name, _ in parts] == ["Metric", "Formula", "Good", "First action"]


def test_unit(panel):
    """A number without a unit is read wrongly at night (linter: panel-units-rule)."""
    if panel["type"] != "text":
        assert panel["fieldConfig"]["defaults"]["unit"] in {"percentunit", "short", "s", "cpm"}


def test_datasource_is_the_variable(panel):
    """The same file serves everybody's Prometheus (linter: panel-datasource-rule, panel-no-targets-rule)."""
    if panel["type"] != "text":
        assert panel["datasource"] == DATASOURCE
        assert panel["targets"]
        assert all(target["datasource"] == DATASOURCE for target in panel["targets"])
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_says_so_when_there_is_nothing(panel):
    """An empty answer is no good news: it has words, and on a tile they are grey."""
    if panel["type"] != "text":
        word = words.NO_TELEMETRY if panel["type"] == "stat" else words.NOTHING_TO_SHOW
        assert panel["fieldConfig"]["defaults"]["noValue"] == word


def test_tiles_over_the_range_are_asked_once(panel):
    """A tile with a window of one step looks green an hour after the incident; a live one has a history instead."""
    if panel["type"] == "stat":
        (target,) = panel["targets"]
        over_range = "$__range" in target["expr"]
        assert (target.get("instant", False), target.get("range", False)) == (over_range, not over_range)
        assert panel["options"]["graphMode"] == ("none" if over_range else "area")


def test_judging_tiles_are_grey_below_zero(panel):
    """No traffic is the value -1: it has a word, and no colour of a judgement."""
    if panel["type"] == "stat":
        base, *steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert base == {"value": None, "color": words.GREY}
        assert not steps or steps[0] == {"value": 0, "color": "green"}
        assert (panel["options"]["colorMode"] == "none") == (not steps)
    if panel["type"] == "stat" and panel["targets"][0].get("instant"):
        (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
        assert mapping["options"]["-1"]["text"] in {words.NO_TRAFFIC, words.NO_FAILURES}


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
    if board["uid"] == "stream-overview":
        below = next(panel for panel in board["panels"] if panel["title"] == DECISIONS)
        assert below["gridPos"]["y"] <= FIRST_SCREEN


def test_table_shows_what_it_asks(board):
    """Each query of a table becomes a named column, and the order is worst first."""
    for panel in (panel for panel in panels(board) if panel["type"] == "table"):
        steps = {step["id"]: step["options"] for step in panel["transformations"]}
        names = steps["organize"]["renameByName"]
        assert {f"Value #{target['refId']}" for target in panel["targets"]} == {
            n for n in names if n.startswith("Value")
        }
        assert all(target["format"] == "table" and target["instant"] for target in panel["targets"])
        (sort,) = steps["sortBy"]["sort"]
        assert sort["desc"]
        assert sort["field"] in names.values()


@pytest.mark.parametrize("kind", ["stat", "timeseries", "table", "bargauge", "heatmap"])
def test_named_overrides_hit_something(board, kind):
    """An override on a series that does not exist (any more) does nothing, silently."""
    for panel in (panel for panel in panels(board) if panel["type"] == kind):
        legends = [target.get("legendFormat", "") for target in panel["targets"]]
        columns = [
            name
            for step in panel.get("transformations", ())
            if step["id"] == "organize"
            for name in step["options"]["renameByName"].values()
        ]
        dynamic = any("{{" in legend for legend in legends)
        for override in panel["fieldConfig"].get("overrides", ()):
            assert override["matcher"]["id"] == "byName"
            assert dynamic or override["matcher"]["options"] in {*legends, *columns}


SOURCES = {path.stem: path.read_text() for path in Path(dashboards.__file__).parent.glob("*.py")}
LAYERS = {
    "words": set(),
    "queries": set(),
    "render": set(),
    "panels": {"words", "queries"},
    "overview": {"words", "queries", "panels"},
}


@pytest.mark.parametrize(("name", "allowed"), LAYERS.items(), ids=LAYERS)
def test_imports_point_one_way(name, allowed):
    """Contract, queries, panels, dashboards: nothing reaches back, and only the panels know Grafana's SDK."""
    imported = re.findall(r"^\s*from dashboards(?:\.(\w+))? import (\w+)", SOURCES[name], re.MULTILINE)
    assert {module or attribute for module, attribute in imported} <= allowed
    assert ("grafana_foundation_sdk" in SOURCES[name]) == (name == "panels")


@pytest.mark.parametrize("name", SOURCES)
def test_names_of_the_contract_are_never_retyped(name):
    """A metric or label of ours stands in semconv alone."""
    assert not re.search(r"\bstream_[a-z]", SOURCES[name])
