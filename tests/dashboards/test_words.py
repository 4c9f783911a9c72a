"""Words on the screen, never codes; one colour for one thing, everywhere."""

import json
import re

import pytest

from dashboards import words
from otel_streaming.semconv import OTHER, Cache, Dialect, Origin, Phase, Protocol, Reason, Retry, State

NAMED_COLOUR = re.compile(r"((super-light|light|semi-dark|dark)-)?(red|orange|yellow|green|blue|purple)")
PROTOCOLS, DIALECTS = {*Protocol, OTHER}, {*Dialect, OTHER}
VOCABULARIES = {
    "stream_reason": (set(Reason), words.REASONS),
    "stream_state": (set(State), words.STATES),
    "stream_origin": (set(Origin), words.ORIGINS),
    "stream_phase": (set(Phase), words.PHASES),
    "stream_retry": (set(Retry) - {Retry.NONE}, words.RETRIES),
    "stream_cache": (set(Cache), words.CACHES),
    "stream_protocol": (PROTOCOLS, words.PROTOCOLS),
    "stream_dialect": (DIALECTS, words.DIALECTS),
}
NAMES = {"service_name", "http_route", "server_address", "le", "__name__"}
"""Labels that are shown as they are."""


def shown(panel):
    """Everything of a panel that is read on the screen or in its (i)."""
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    yield panel["title"]
    yield panel["description"]
    yield panel.get("options", {}).get("content", "")
    yield json.dumps([defaults.get("noValue", ""), defaults.get("mappings", [])])
    for override in panel.get("fieldConfig", {}).get("overrides", ()):
        for one in override["properties"]:
            if one["id"] == "mappings":
                yield from (meaning["text"] for mapping in one["value"] for meaning in meanings(mapping))
            elif one["id"] == "displayName":
                yield one["value"]
    for step in panel.get("transformations", ()):
        yield from step["options"].get("renameByName", {}).values()
    yield from (target.get("legendFormat", "") for target in panel.get("targets", ()))


def meanings(mapping):
    """What a mapping shows instead of a value."""
    return mapping["options"].values() if mapping["type"] == "value" else [mapping["options"]["result"]]


@pytest.mark.parametrize(("codes", "table"), VOCABULARIES.values(), ids=VOCABULARIES)
def test_every_code_has_a_word_and_a_colour_of_its_own(codes, table):
    """A reason added to the contract needs a word before it can appear; no two look alike."""
    assert table.keys() == codes
    assert len({word.text for word in table.values()}) == len(table)
    colours = {word.colour for word in table.values()}
    assert len(colours) == len(table) or colours == {words.PLAIN}


def test_colours_are_what_grafana_knows():
    """An unknown colour is drawn black."""
    used = [word for _, table in VOCABULARIES.values() for word in table.values()]
    for word in (*used, words.STALLED, words.UNEXPLAINED, words.USERS_SAW, words.PANEL_SAYS, words.USERS_AND_LEAVERS):
        assert (
            word.colour == words.PLAIN
            or NAMED_COLOUR.fullmatch(word.colour)
            or re.fullmatch(r"#[0-9a-f]{6}", word.colour)
        ), word


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
            if label in NAMES:
                continue
            named = (one for one in panel["fieldConfig"]["overrides"] if one["matcher"]["id"] == "byName")
            overrides = {one["matcher"]["options"]: one["properties"] for one in named}
            for code, word in VOCABULARIES[label][1].items():
                properties = {one["id"]: one["value"] for one in overrides[code]}
                assert properties["displayName"] == word.text
                plain = word.colour == words.PLAIN
                assert properties.get("color") == (None if plain else {"mode": "fixed", "fixedColor": word.colour})


def test_columns_of_codes_are_in_words(panel):
    """Where a column is a code, every value the contract allows has its word, in the colour it has everywhere."""
    columns = {}
    for step in panel.get("transformations", ()):
        columns |= step["options"].get("renameByName", {})
    columns |= {f"stream.{name.removeprefix('stream_')}": name for name in VOCABULARIES}
    for label in VOCABULARIES:
        spans = f"span.stream.{label.removeprefix('stream_')}"
        asked = any(
            f"select({spans}" in t.get("query", "") or f", {spans}" in t.get("query", "")
            for t in panel.get("targets", ())
        )
        if panel["type"] != "table" or not (label in columns or asked):
            continue
        name = columns[label] if label in columns else f"stream.{label.removeprefix('stream_')}"
        (override,) = (one for one in panel["fieldConfig"]["overrides"] if one["matcher"]["options"] == name)
        (mappings,) = (one["value"] for one in override["properties"] if one["id"] == "mappings")
        expected = {str(code): (word.text, word.colour) for code, word in VOCABULARIES[label][1].items()}
        assert {code: (one["text"], one["color"]) for code, one in mappings[0]["options"].items()} == expected
