"""Tiles and their colours: what is judged, from where on, and what a tile shows where there is no number."""

import re

import pytest
from boards import BOARDS, judges

from dashboards import parts, words
from dashboards.render import panels

NOTHINGS = {
    words.NO_TRAFFIC,
    words.NO_FAILURES,
    words.NOT_COMPARED,
    words.NO_TELEMETRY,
    words.NO_RULES,
    words.NO_SUBSCRIPTIONS,
}


def test_colours_are_explained(panel):
    """Every step of a colour stands in the (i) with its number and a reason: a red cell is no riddle."""
    if panel["type"] == "stat" and judges(panel):
        said = panel["description"].partition("**Colours:** ")[2]
        _, _, *steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        percent = panel["fieldConfig"]["defaults"]["unit"] == "percentunit"
        for step in steps:
            number = f"{100 * step['value']:.6g} %" if percent else f"{step['value']:g}"
            assert f"{step['color']} from {number}" in said
        assert re.search(r"\(.+\)$", said)


def colour(panel, value):
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [step["color"] for step in steps if step["value"] is None or step["value"] <= value][-1]


@pytest.mark.parametrize(
    ("value", "expected"), [(-50, "orange"), (-1, "green"), (0, "green"), (1, "orange"), (10, "red")]
)
def test_what_vanished_is_fine_near_zero_only(value, expected):
    """More ends than beginnings are no good news: something is not counted."""
    (panel,) = (one for one in panels(BOARDS[parts.TRUST]) if one["title"] == "Vanished")
    assert colour(panel, value) == expected


def test_a_budget_spent_many_times_is_red():
    """Nothing that a budget can be reads as "no traffic", even if one stream in a million may fail."""
    (panel,) = (one for one in panels(BOARDS[parts.OVERVIEW]) if one["title"] == "Budget left")
    ((stands_for, _),) = panel["fieldConfig"]["defaults"]["mappings"][0]["options"].items()
    for budget in (0.01, 0.001, 1e-6):
        assert 1 - 1 / budget > float(stands_for)
        assert colour(panel, 1 - 1 / budget) == "red"


def test_tiles_over_the_range_are_asked_once(panel):
    """A tile with a window of one step looks green an hour after the incident; a live one has a history instead."""
    if panel["type"] == "stat":
        (target,) = panel["targets"]
        over_range = "$__range" in target["expr"] or "[30d]" in target["expr"]
        assert (target.get("instant", False), target.get("range", False)) == (over_range, not over_range)
        assert panel["options"]["graphMode"] == ("none" if over_range else "area")


def test_live_tiles_say_that_telemetry_is_gone(panel):
    """Grafana goes on showing the last number: so a live tile is told a number that stands for none, in grey words."""
    if panel["type"] == "stat" and panel["options"]["graphMode"] == "area":
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["targets"][0]["expr"].endswith("or vector(-2)")
        assert defaults["mappings"][0]["options"]["-2"] == {
            "text": defaults["noValue"],
            "color": words.GREY,
            "index": 0,
        }


def test_judging_tiles_are_grey_below(panel):
    """Where a number only stands for something (no traffic), it is below every step, and has a word."""
    if panel["type"] == "stat":
        base, *steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert base == {"value": None, "color": words.GREY}
        assert (panel["options"]["colorMode"] == "none") == (not steps)
        mappings = panel["fieldConfig"]["defaults"].get("mappings") or [{"options": {}}]
        for number, meaning in mappings[0]["options"].items():
            assert meaning["text"] in NOTHINGS
            assert not steps or float(number) < steps[0]["value"]
            assert f"{int(number):+d}" in panel["targets"][0]["expr"].replace(" ", "")
