"""Words on the screen, never codes; one colour for one thing, everywhere."""

import json
import re

import pytest

from dashboards import words
from otel_streaming.semconv import Reason, State

NAMED_COLOUR = re.compile(r"((super-light|light|semi-dark|dark)-)?(red|orange|yellow|green|blue|purple)")
VOCABULARIES = {"stream_reason": (Reason, words.REASONS), "stream_state": (State, words.STATES)}


def shown(panel):
    """Everything of a panel that is read on the screen or in its (i)."""
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    yield panel["title"]
    yield panel["description"]
    yield panel.get("options", {}).get("content", "")
    yield json.dumps([defaults.get("noValue", ""), defaults.get("mappings", [])])
    for override in panel.get("fieldConfig", {}).get("overrides", ()):
        yield from (str(one["value"]) for one in override["properties"] if one["id"] in {"displayName", "mappings"})
    for step in panel.get("transformations", ()):
        yield from step["options"].get("renameByName", {}).values()
    yield from (target.get("legendFormat", "") for target in panel.get("targets", ()))


@pytest.mark.parametrize(("codes", "table"), VOCABULARIES.values(), ids=VOCABULARIES)
def test_every_code_has_a_word_and_a_colour_of_its_own(codes, table):
    """A reason added to the contract needs a word before it can appear; no two look alike."""
    assert table.keys() == set(codes)
    assert len({word.text for word in table.values()}) == len(table)
    assert len({word.colour for word in table.values()}) == len(table)


def test_colours_are_what_grafana_knows():
    """An unknown colour is drawn black."""
    used = [*words.REASONS.values(), *words.STATES.values(), words.STALLED, words.UNEXPLAINED]
    for word in used:
        assert NAMED_COLOUR.fullmatch(word.colour) or re.fullmatch(r"#[0-9a-f]{6}", word.colour), word


def test_stalled_is_one_colour():
    """A stall looks the same while it lasts and afterwards."""
    assert words.STATES[State.STALLED].colour == words.STALLED.colour
    assert words.STALLED.colour not in {word.colour for word in words.REASONS.values()}


def test_no_reason_code_on_the_screen(panel):
    """Whoever is on call need not know our vocabulary."""
    codes = [code for code in (*Reason, *State) if "_" in code]
    assert not [code for text in shown(panel) for code in codes if code in text]


def test_series_named_by_a_code_are_renamed(panel):
    """Where a legend is a label's value, every value the contract allows has its word and its colour."""
    for target in panel.get("targets", ()):
        for label in re.findall(r"{{(\w+)}}", target.get("legendFormat", "")):
            if label == "le":
                continue
            overrides = {one["matcher"]["options"]: one["properties"] for one in panel["fieldConfig"]["overrides"]}
            for code, word in VOCABULARIES[label][1].items():
                properties = {one["id"]: one["value"] for one in overrides[code]}
                assert properties["displayName"] == word.text
                assert properties["color"] == {"mode": "fixed", "fixedColor": word.colour}
