"""The kinds of panel that show metrics, in house style; ``traces`` has those of single streams, ``board`` the whole."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from dashboards import budget, queries, words
from dashboards.parts import BUDGET_LEFT, COUNT, FACTOR, GONE, NEUTRAL, NO_TRAFFIC, SECONDS, SHARE

with warnings.catch_warnings():
    # The SDK recommends its v2 builders from the body of a v1 class; Grafana before 13 needs v1.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import (
        bargauge,
        common,
        heatmap,
        logs,
        prometheus,
        stat,
        table,
        text,
        timeseries,
    )
    from grafana_foundation_sdk.builders import dashboard as builders
    from grafana_foundation_sdk.models import common as c
    from grafana_foundation_sdk.models import dashboard as d
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashboards.parts import About, Judgement, Link, Series, Steps, Words

DATASOURCE = c.DataSourceRef(type_val="prometheus", uid="$datasource")

AnyPanel = (
    stat.Panel
    | timeseries.Panel
    | table.Panel
    | bargauge.Panel
    | heatmap.Panel
    | text.Panel
    | logs.Panel
    | builders.Panel
)
Panel = TypeVar(
    "Panel",
    stat.Panel,
    timeseries.Panel,
    table.Panel,
    bargauge.Panel,
    heatmap.Panel,
    text.Panel,
    logs.Panel,
    builders.Panel,
)
WIDE = 12
"""From this width on, a panel has room for its legend as a table."""


def frame(panel: Panel, about: About, width: int, datasource: c.DataSourceRef = DATASOURCE) -> Panel:
    """What every panel has."""
    return panel.id(about.id).title(about.title).description(about.description).span(width).datasource(datasource)


def asked(expr: str, ref: int, name: str = "") -> prometheus.Dataquery:
    """One query of a panel, and what its line is called."""
    return prometheus.Dataquery().expr(expr).ref_id(chr(ord("A") + ref)).legend_format(name).datasource(DATASOURCE)


def thresholds(steps: Steps, below: str = words.GREY) -> builders.ThresholdsConfig:
    """Grey below the first step: where there is nothing to judge, nothing is judged."""
    known = [d.Threshold(value=None, color=below), *(d.Threshold(value, colour) for value, colour in steps)]
    return builders.ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(known)


def prop(name: str, value: object) -> d.DynamicConfigValue:
    """One property of an override."""
    return d.DynamicConfigValue(id_val=name, value=value)


EMPTY_CELL = prop("noValue", words.NOT_TOLD)
"""Of a table's column: Grafana would fill each of its cells that has no value with what the whole panel says then."""


def _fixed(colour: str) -> d.DynamicConfigValue:
    return prop("color", {"mode": "fixed", "fixedColor": colour})


def in_words(codes: Words) -> d.DynamicConfigValue:
    """Mapping of a column: what the code means, in its colour."""
    options = {
        str(code): {"text": word.text, "color": word.colour, "index": index}
        for index, (code, word) in enumerate(codes.items())
    }
    return prop("mappings", [{"type": "value", "options": options}])


def _last_value() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def tile(
    about: About,
    expr: str,
    width: int,
    *,
    unit: str = SHARE,
    steps: Judgement = NEUTRAL,
    nothing: Mapping[int, str] = NO_TRAFFIC,
    missing: str = words.NO_TELEMETRY,
    link: Link | None = None,
) -> stat.Panel:
    """One number over the whole time range: an instant query, or it would show the last minute only."""
    panel = (
        _stat(about, width, unit=unit, steps=steps, nothing=nothing, link=link)
        .no_value(missing)
        .graph_mode(c.BigValueGraphMode.NONE)
    )
    decimals = 2 if steps.steps and unit == SHARE else 0
    return panel.decimals(decimals).with_target(asked(expr, 0).instant())


def budget_tile(about: About, expr: str, width: int, *, link: Link | None = None) -> stat.Panel:
    """What is left of a budget: a tile that may be below zero."""
    nothing = {budget.NO_NUMBER: words.NO_TRAFFIC}
    return tile(about, expr, width, steps=BUDGET_LEFT, nothing=nothing, missing=words.NO_RULES, link=link).decimals(0)


def live_tile(
    about: About,
    expr: str,
    width: int,
    *,
    unit: str = COUNT,
    steps: Judgement = NEUTRAL,
    nothing: Mapping[int, str] = GONE,
    link: Link | None = None,
) -> stat.Panel:
    """A number as it is now, with its recent history behind it; ``expr`` says when it has none any more."""
    panel = _stat(about, width, unit=unit, steps=steps, nothing=nothing, link=link).graph_mode(c.BigValueGraphMode.AREA)
    panel = panel.no_value(nothing[queries.NOBODY_REPORTS]).decimals(1 if unit == FACTOR else 0)
    return panel.with_target(asked(expr, 0).range())


def _stat(
    about: About, width: int, *, unit: str, steps: Judgement, nothing: Mapping[int, str], link: Link | None
) -> stat.Panel:
    """Colour is a judgement: a tile without steps stays neutral."""
    panel = judged(frame(stat.Panel(), about, width).unit(unit), about, {"": (steps, unit)})
    mode = c.BigValueColorMode.BACKGROUND_SOLID if steps.steps else c.BigValueColorMode.NONE
    mapping = {
        str(value): d.ValueMappingResult(text=text, color=words.GREY, index=0) for value, text in nothing.items()
    }
    panel = panel.color_mode(mode).thresholds(thresholds(steps.steps)).mappings([d.ValueMap(mapping)])
    panel = panel.data_links([builders.DashboardLink(link.title).url(link.url)] if link else [])
    return panel.reduce_options(_last_value()).text_mode(c.BigValueTextMode.VALUE)


def judged(panel: Panel, about: About, judgements: Mapping[str, tuple[Judgement, str]]) -> Panel:
    """Say in the description from where on a colour is worn, and why: once for all columns that are judged alike."""
    alike: dict[str, list[str]] = {}
    for title, (steps, unit) in judgements.items():
        if steps.steps:
            alike.setdefault(steps.words(unit), []).append(title)
    said = [f"{', '.join(filter(None, titles))} {colours}".strip() for colours, titles in alike.items()]
    return panel.description(f"{about.description}\n\n**Colours:** {'; '.join(said)}") if said else panel


def graph(
    about: About, series: Sequence[Series], width: int, *, unit: str, fill: int = 0, limits: Steps = ()
) -> timeseries.Panel:
    """Lines over time, from 0 on; ``limits`` are drawn as dashed lines across."""
    panel = frame(timeseries.Panel(), about, width).unit(unit).axis_soft_min(0).no_value(words.NOTHING_TO_SHOW)
    panel = panel.line_width(1).fill_opacity(fill).show_points(c.VisibilityMode.NEVER)
    panel = panel.tooltip(common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI).sort(c.SortOrder.DESCENDING))
    panel = panel.legend(legend())
    if limits:
        style = common.GraphThresholdsStyleConfig().mode(c.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(thresholds(limits, "transparent")).thresholds_style(style)
    for index, one in enumerate(series):
        panel = panel.with_target(asked(one.expr, index, one.name).range().exemplar(one.exemplars))
        if one.colour:
            panel = panel.override_by_name(one.name, [_fixed(one.colour)])
    return panel


def legend(
    mode: c.LegendDisplayMode = c.LegendDisplayMode.LIST,
    placement: c.LegendPlacement = c.LegendPlacement.BOTTOM,
    *calcs: str,
) -> common.VizLegendOptions:
    """What the lines are called: in one line below, unless a table beside them."""
    return common.VizLegendOptions().show_legend(True).display_mode(mode).placement(placement).calcs(list(calcs))


def stack(
    about: About,
    series: Sequence[Series],
    width: int,
    *,
    unit: str,
    codes: Words | None = None,
    link: Link | None = None,
    off: str = "",
) -> timeseries.Panel:
    """Areas on top of each other; ``codes`` turns what the label says into words, each in its colour.

    A click on an area follows the link, which may name the code as ``${__field.labels.LABEL}``. One series may be
    ``off`` until its name in the legend is clicked on.
    """
    panel = graph(about, series, width, unit=unit, fill=70).line_width(0)
    panel = panel.stacking(common.StackingConfig().mode(c.StackingMode.NORMAL).group("A"))
    if width >= WIDE:
        panel = panel.legend(legend(c.LegendDisplayMode.TABLE, c.LegendPlacement.RIGHT, "mean", "max"))
    panel = _named(panel, codes, link)
    shown = [*(codes or {}), *(word.text for word in (codes or {}).values()), *(one.name for one in series)]
    return _all_but(panel, [name for name in shown if name != off]) if off else panel


def _all_but(panel: timeseries.Panel, shown: Sequence[object]) -> timeseries.Panel:
    """What Grafana itself notes where a click in the legend hides a series, so that a click brings it back.

    The builder has no word for its mark.
    """
    config = panel.build().field_config or d.FieldConfigSource()
    names = {"mode": "exclude", "names": list(map(str, shown)), "prefix": "All except:", "readOnly": True}
    hidden = prop("custom.hideFrom", {"legend": False, "tooltip": False, "viz": True})
    mark = d.DashboardFieldConfigSourceOverrides("hideSeriesFrom", d.MatcherConfig("byNames", names), [hidden])
    config.overrides.append(mark)
    return panel


Named = TypeVar("Named", timeseries.Panel, bargauge.Panel)


def _named(panel: Named, codes: Words | None, link: Link | None = None) -> Named:
    for code, word in (codes or {}).items():
        properties = [prop("displayName", word.text)]
        if word.colour != words.PLAIN:
            properties.append(_fixed(word.colour))
        if link:
            properties.append(prop("links", [asdict(link)]))
        panel = panel.override_by_name(str(code), properties)
    return panel


def gap_between(about: About, upper: Series, lower: Series, width: int, *, limits: Steps) -> timeseries.Panel:
    """Two shares over each other, the area between them filled: that area is what goes unseen."""
    panel = graph(about, (upper, lower), width, unit=SHARE, limits=limits)
    between = [prop("custom.fillBelowTo", lower.name), prop("custom.fillOpacity", 30)]
    return panel.override_by_name(upper.name, between)


def buckets_map(about: About, expr: str, width: int, names: Mapping[float, str] | None = None) -> heatmap.Panel:
    """A Prometheus histogram over time, as it is: cells are counts, rows are times in words, dots are traces.

    ``names`` are those of single buckets, by their upper bound. Series are renamed after the data source has put them
    in the order of their bounds.
    """
    panel = frame(heatmap.Panel(), about, width).calculate(False).no_value(words.NOTHING_TO_SHOW)
    panel = panel.y_axis(heatmap.YAxisConfig().axis_placement(c.AxisPlacement.LEFT).unit(SECONDS)).cell_values(
        heatmap.CellValues().unit(COUNT)
    )
    panel = panel.unit(COUNT).show_value(c.VisibilityMode.NEVER).show_legend().exemplars_color("light-blue")
    renamed = {f"{bound:g}".replace(".", "[.]"): name for bound, name in (names or {}).items()}
    for bound, name in {**renamed, "[+]Inf": "longer", "([0-9.]+?)": "up to $1 s"}.items():
        rename = {"regex": f"/^{bound}([.]0)?$/", "renamePattern": name}
        panel = panel.with_transformation(d.DataTransformerConfig("renameByRegex", options=rename))
    query = asked(expr, 0, f"{{{{{queries.BUCKET}}}}}").range().exemplar(True)
    return panel.with_target(query.format(PromQueryFormat.HEATMAP))


def bars(
    about: About, series: Sequence[Series], width: int, *, unit: str = COUNT, codes: Words | None = None
) -> bargauge.Panel:
    """Numbers over the whole time range, a bar each, all on one scale."""
    panel = frame(bargauge.Panel(), about, width).unit(unit).min(0).no_value(words.NOTHING_TO_SHOW)
    panel = panel.orientation(c.VizOrientation.HORIZONTAL).display_mode(c.BarGaugeDisplayMode.BASIC)
    panel = panel.reduce_options(_last_value()).decimals(2 if unit == SHARE else 0)
    for index, one in enumerate(series):
        panel = panel.with_target(asked(one.expr, index, one.name).instant())
        if one.colour:
            panel = panel.override_by_name(one.name, [_fixed(one.colour)])
    return _named(panel, codes)
