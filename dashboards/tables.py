"""The kind of panel that lists: a line for each service, route or whatever is asked by, worst first."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING

from dashboards import panels as p
from dashboards import words
from dashboards.parts import COUNT, SHARE

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # as in panels
    from grafana_foundation_sdk.builders import table
    from grafana_foundation_sdk.models import dashboard as d
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboards.parts import About, Column, Key


def listing(
    about: About, keys: Sequence[Key], columns: Sequence[Column], width: int, *, sort: str, worst_last: bool = False
) -> table.Panel:
    """One line for each combination of the keys, worst first; only those that the first column counts."""
    values = {f"Value #{chr(ord('A') + index)}": column.title for index, column in enumerate(columns)}
    names = {**{key.label: key.title for key in keys}, **(values if len(columns) > 1 else {"Value": columns[0].title})}
    order = {name: index for index, name in enumerate(names)}
    panel = (
        p.frame(table.Panel(), about, width).no_value(words.NOTHING_TO_SHOW).unit(SHARE).decimals(2).filterable(True)
    )
    for index, column in enumerate(columns):
        panel = panel.with_target(p.asked(column.expr, index).instant().format(PromQueryFormat.TABLE))
        panel = panel.override_by_name(column.title, _cell(column))
    for key in keys:
        panel = panel.override_by_name(key.title, _key(key))
    panel = p.judged(panel, about, {column.title: (column.steps, column.unit) for column in columns})
    panel = panel.with_transformation(d.DataTransformerConfig("merge", options={}))
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    panel = panel.with_transformation(d.DataTransformerConfig("organize", options=organize))
    counted = {"fieldName": columns[0].title, "config": {"id": "isNotNull", "options": {}}}
    keep = {"filters": [counted], "type": "include", "match": "all"}
    panel = panel.with_transformation(d.DataTransformerConfig("filterByValue", options=keep))
    worst = {"fields": {}, "sort": [{"field": sort, "desc": not worst_last}]}
    return panel.with_transformation(d.DataTransformerConfig("sortBy", options=worst))


_NO_VALUE = [
    {"type": "special", "options": {"match": match, "result": {"text": words.NO_ROUTE}}} for match in ("null", "empty")
]


def _key(key: Key) -> list[d.DynamicConfigValue]:
    properties = [p.EMPTY_CELL, p.in_words(key.codes) if key.codes else p.prop("mappings", _NO_VALUE)]
    if key.link:
        properties.append(p.prop("links", [asdict(key.link)]))
    return properties


def _cell(column: Column) -> list[d.DynamicConfigValue]:
    digits = 0 if column.unit == COUNT else 2
    properties = [p.EMPTY_CELL, p.prop("unit", column.unit), p.prop("decimals", digits)]
    if column.steps.steps:
        properties.append(p.prop("thresholds", p.thresholds(column.steps.steps).build()))
        properties.append(p.prop("custom.cellOptions", {"type": "color-background", "mode": "basic"}))
    return properties
