"""The kinds of panel, in house style, and the one factory of dashboards: all that touches the Grafana SDK."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

from dashboards import queries, words

with warnings.catch_warnings():
    # The SDK recommends its v2 builders from the body of a v1 class; Grafana before 13 needs v1.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import (
        bargauge,
        common,
        heatmap,
        prometheus,
        stat,
        table,
        text,
        timeseries,
    )
    from grafana_foundation_sdk.builders import dashboard as builders
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as c
    from grafana_foundation_sdk.models import dashboard as d
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_streaming.semconv import Reason, State

TAG = "streaming"
DATASOURCE = c.DataSourceRef(type_val="prometheus", uid="$datasource")

Panel = TypeVar("Panel", stat.Panel, timeseries.Panel, table.Panel, bargauge.Panel, heatmap.Panel, text.Panel)
AnyPanel = stat.Panel | timeseries.Panel | table.Panel | bargauge.Panel | heatmap.Panel | text.Panel
Steps = tuple[tuple[float, str], ...]

SHARE = "percentunit"
SECONDS = "s"
COUNT = "short"
PER_MINUTE = "cpm"
WIDE = 12
"""From this width on, a panel has room for its legend as a table."""

FAILURE_STEPS: Steps = ((0, words.GREEN), (0.001, words.ORANGE), (0.01, words.RED))
"""A share of failures: one in a thousand is a warning, one in a hundred is an incident."""
LOST_STEPS: Steps = ((0, words.GREEN), (0.02, words.ORANGE), (0.1, words.RED))
"""A share of what annoys but is nobody's failure (slow, given up): milder."""


@dataclass(frozen=True)
class About:
    """Who a panel is and what it tells: the id is for ever (links name it), the text answers the (i)."""

    id: int
    title: str
    metric: str
    formula: str
    good: str
    action: str

    @property
    def description(self) -> str:
        """The four questions every panel answers."""
        return (
            f"**Metric:** {self.metric}\n\n**Formula:** {self.formula}\n\n"
            f"**Good:** {self.good}\n\n**First action:** {self.action}"
        )


@dataclass(frozen=True)
class Series:
    """One query of a graph; ``name`` is what the legend says, ``{{label}}`` for a label's value."""

    expr: str
    name: str
    colour: str = ""
    exemplars: bool = False


@dataclass(frozen=True)
class Column:
    """One column of numbers in a table; with steps, the cell wears the colour of the judgement."""

    title: str
    expr: str
    unit: str = SHARE
    steps: Steps = ()


@dataclass(frozen=True)
class Link:
    """Where a click leads; the URL may use Grafana's ``${__data.fields.Name}`` of the line clicked on."""

    title: str
    url: str


@dataclass(frozen=True)
class Row:
    """A question in capital letters and the panels that answer it, all of one height."""

    id: int
    title: str
    height: int
    panels: Sequence[AnyPanel]


def _frame(panel: Panel, about: About, width: int) -> Panel:
    return panel.id(about.id).title(about.title).description(about.description).span(width).datasource(DATASOURCE)


def _query(expr: str, ref: int, name: str = "") -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expr).ref_id(chr(ord("A") + ref)).legend_format(name).datasource(DATASOURCE)


def _steps(steps: Steps) -> builders.ThresholdsConfig:
    """Grey below the first step: where there is nothing to judge, nothing is judged."""
    known = [d.Threshold(value=None, color=words.GREY), *(d.Threshold(value, colour) for value, colour in steps)]
    return builders.ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(known)


def _prop(name: str, value: object) -> d.DynamicConfigValue:
    return d.DynamicConfigValue(id_val=name, value=value)


def _fixed(colour: str) -> d.DynamicConfigValue:
    return _prop("color", {"mode": "fixed", "fixedColor": colour})


def _last_value() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def tile(about: About, expr: str, width: int, *, steps: Steps = (), nothing: str = words.NO_TRAFFIC) -> stat.Panel:
    """A share over the whole time range, as one number: an instant query, or it would show the last minute only."""
    decimals = 2 if steps else 0
    mapping = {str(queries.NOTHING_TO_DIVIDE): d.ValueMappingResult(text=nothing, color=words.GREY, index=0)}
    panel = _frame(stat.Panel(), about, width).unit(SHARE).decimals(decimals).with_target(_query(expr, 0).instant())
    return _stat(panel, steps).mappings([d.ValueMap(mapping)]).graph_mode(c.BigValueGraphMode.NONE)


def live_tile(about: About, expr: str, width: int, *, steps: Steps = ()) -> stat.Panel:
    """A count as it is now, with its recent history behind it."""
    panel = _frame(stat.Panel(), about, width).unit(COUNT).decimals(0).with_target(_query(expr, 0).range())
    return _stat(panel, steps).graph_mode(c.BigValueGraphMode.AREA)


def _stat(panel: stat.Panel, steps: Steps) -> stat.Panel:
    """Colour is a judgement: a tile without steps stays neutral."""
    mode = c.BigValueColorMode.BACKGROUND_SOLID if steps else c.BigValueColorMode.NONE
    panel = panel.color_mode(mode).thresholds(_steps(steps)).no_value(words.NO_TELEMETRY)
    return panel.reduce_options(_last_value()).text_mode(c.BigValueTextMode.VALUE)


def graph(about: About, series: Sequence[Series], width: int, *, unit: str, fill: int = 0) -> timeseries.Panel:
    """Lines over time."""
    panel = _frame(timeseries.Panel(), about, width).unit(unit).min(0).no_value(words.NOTHING_TO_SHOW)
    panel = panel.line_width(1).fill_opacity(fill).show_points(c.VisibilityMode.NEVER)
    panel = panel.tooltip(common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI).sort(c.SortOrder.DESCENDING))
    panel = panel.legend(_legend(c.LegendDisplayMode.LIST, c.LegendPlacement.BOTTOM))
    for index, one in enumerate(series):
        panel = panel.with_target(_query(one.expr, index, one.name).range().exemplar(one.exemplars))
        if one.colour:
            panel = panel.override_by_name(one.name, [_fixed(one.colour)])
    return panel


def _legend(mode: c.LegendDisplayMode, placement: c.LegendPlacement, *calcs: str) -> common.VizLegendOptions:
    return common.VizLegendOptions().show_legend(True).display_mode(mode).placement(placement).calcs(list(calcs))


def stack(
    about: About,
    series: Sequence[Series],
    width: int,
    *,
    unit: str,
    codes: Mapping[Reason, words.Word] | Mapping[State, words.Word],
) -> timeseries.Panel:
    """Areas on top of each other; ``codes`` turns what the label says into words, each in its colour."""
    panel = graph(about, series, width, unit=unit, fill=70).line_width(0)
    panel = panel.stacking(common.StackingConfig().mode(c.StackingMode.NORMAL).group("A"))
    if width >= WIDE:
        panel = panel.legend(_legend(c.LegendDisplayMode.TABLE, c.LegendPlacement.RIGHT, "mean", "max"))
    for code, word in codes.items():
        panel = panel.override_by_name(str(code), [_prop("displayName", word.text), _fixed(word.colour)])
    return panel


def gap_between(about: About, upper: Series, lower: Series, width: int) -> timeseries.Panel:
    """Two shares over each other, the area between them filled: that area is what goes unseen."""
    panel = graph(about, (upper, lower), width, unit=SHARE)
    between = [_prop("custom.fillBelowTo", lower.name), _prop("custom.fillOpacity", 30)]
    return panel.override_by_name(upper.name, between)


def routes(about: About, columns: Sequence[Column], width: int, *, sort: str, link: Link) -> table.Panel:
    """One line per service and route, worst first; only routes that the first column counts."""
    values = {f"Value #{chr(ord('A') + index)}": column.title for index, column in enumerate(columns)}
    names = {queries.SERVICE: "Service", queries.ROUTE: "Route", **values}
    order = {name: index for index, name in enumerate(names)}
    panel = _frame(table.Panel(), about, width).no_value(words.NOTHING_TO_SHOW).unit(SHARE).decimals(2).filterable(True)
    for index, column in enumerate(columns):
        panel = panel.with_target(_query(column.expr, index).instant().format(PromQueryFormat.TABLE))
        panel = panel.override_by_name(column.title, _cell(column))
    panel = panel.override_by_name("Route", [_prop("mappings", _NO_ROUTE), _prop("links", [asdict(link)])])
    panel = panel.with_transformation(d.DataTransformerConfig("merge", options={}))
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    panel = panel.with_transformation(d.DataTransformerConfig("organize", options=organize))
    counted = {"fieldName": columns[0].title, "config": {"id": "isNotNull", "options": {}}}
    keep = {"filters": [counted], "type": "include", "match": "all"}
    panel = panel.with_transformation(d.DataTransformerConfig("filterByValue", options=keep))
    worst = {"fields": {}, "sort": [{"field": sort, "desc": True}]}
    return panel.with_transformation(d.DataTransformerConfig("sortBy", options=worst))


_NO_ROUTE = [
    {"type": "special", "options": {"match": match, "result": {"text": words.NO_ROUTE}}} for match in ("null", "empty")
]


def _cell(column: Column) -> list[d.DynamicConfigValue]:
    digits = 0 if column.unit == COUNT else 2
    properties = [_prop("unit", column.unit), _prop("decimals", digits)]
    if column.steps:
        properties.append(_prop("thresholds", _steps(column.steps).build()))
        properties.append(_prop("custom.cellOptions", {"type": "color-background", "mode": "basic"}))
    return properties


def buckets_map(about: About, expr: str, width: int) -> heatmap.Panel:
    """A Prometheus histogram over time, as it is: cells are counts, the axis is seconds."""
    panel = _frame(heatmap.Panel(), about, width).calculate(False).no_value(words.NOTHING_TO_SHOW)
    panel = panel.y_axis(heatmap.YAxisConfig().axis_placement(c.AxisPlacement.LEFT).unit(SECONDS)).cell_values(
        heatmap.CellValues().unit(COUNT)
    )
    panel = panel.unit(COUNT).show_value(c.VisibilityMode.NEVER)
    return panel.with_target(_query(expr, 0, f"{{{{{queries.BUCKET}}}}}").range().format(PromQueryFormat.HEATMAP))


def bars(about: About, series: Sequence[Series], width: int) -> bargauge.Panel:
    """Counts over the whole time range, a bar each, all on one scale."""
    panel = _frame(bargauge.Panel(), about, width).unit(COUNT).decimals(0).min(0).no_value(words.NOTHING_TO_SHOW)
    panel = panel.orientation(c.VizOrientation.HORIZONTAL).display_mode(c.BarGaugeDisplayMode.BASIC)
    panel = panel.reduce_options(_last_value())
    for index, one in enumerate(series):
        panel = panel.with_target(_query(one.expr, index, one.name).instant())
        panel = panel.override_by_name(one.name, [_fixed(one.colour)])
    return panel


def note(id_: int, content: str, height: int, width: int = 24) -> text.Panel:
    """A few sentences on how to read what follows."""
    panel = (
        text.Panel().id(id_).title("How to read this").description("A guide to this dashboard; it asks no data source.")
    )
    return panel.content(content).span(width).height(height).transparent(True)


def dashboard(uid: str, title: str, description: str, guide: text.Panel, rows: Sequence[Row]) -> str:
    """The one factory: variables, links and refresh are the same everywhere. Returns the JSON, a newline at its end."""
    board = builders.Dashboard(title).uid(uid).description(description).tags([TAG]).readonly()
    board = board.time("now-1h", "now").refresh("30s").timezone("browser").tooltip(d.DashboardCursorSync.CROSSHAIR)
    board = board.link(_other_dashboards())
    board = board.with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    for name in queries.VARIABLES:
        board = board.with_variable(_variable(name))
    board = board.with_panel(guide)
    for row in rows:
        board = board.with_row(builders.Row(row.title).id(row.id))
        for panel in row.panels:
            board = board.with_panel(panel.height(row.height))
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _variable(name: str) -> builders.QueryVariable:
    everything = d.VariableOption(selected=True, text=["All"], value=["$__all"])
    variable = builders.QueryVariable(name).label(name.capitalize()).datasource(DATASOURCE)
    variable = variable.query({"query": queries.values_of(name), "refId": name, "qryType": 1})
    variable = variable.multi(True).include_all(True).all_value(".*").current(everything)
    return variable.refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(d.VariableSort.ALPHABETICAL_ASC)


def _other_dashboards() -> builders.DashboardLink:
    link = builders.DashboardLink("Streaming dashboards").type(d.DashboardLinkType.DASHBOARDS).tags([TAG])
    # In the row of the variables: the SDK's default hides it in a menu from Grafana 12 on.
    return link.as_dropdown(True).include_vars(True).keep_time(True).placement("")
