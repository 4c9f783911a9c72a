"""The one factory of dashboards: variables, links, annotations and refresh are the same everywhere."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dashboards import budget, health, queries, words
from dashboards.panels import DATASOURCE, AnyPanel

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # as in panels
    from grafana_foundation_sdk.builders import dashboard as builders
    from grafana_foundation_sdk.builders import text
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as c
    from grafana_foundation_sdk.models import dashboard as d

if TYPE_CHECKING:
    from collections.abc import Sequence

TAG = "streaming"
GRAFANA = c.DataSourceRef(type_val="grafana", uid="-- Grafana --")


@dataclass(frozen=True)
class Row:
    """A question and the panels that answer it, all of one height (those below the first 24 columns, too)."""

    id: int
    title: str
    height: int
    panels: Sequence[AnyPanel]


def dashboard(
    uid: str,
    title: str,
    description: str,
    guide: str,
    rows: Sequence[Row],
    *,
    since: str = "now-1h",
    refresh: str = "30s",
    more: Sequence[builders.DatasourceVariable | builders.QueryVariable | builders.TextBoxVariable] = (),
) -> str:
    """Return the JSON, a newline at its end: a guide of a few sentences, then one row for each question."""
    board = builders.Dashboard(title).uid(uid).description(description).tags([TAG]).readonly()
    board = board.time(since, "now").refresh(refresh).timezone("browser").tooltip(d.DashboardCursorSync.CROSSHAIR)
    board = board.link(_other_dashboards())
    for annotation in _annotations():
        board = board.annotation(annotation)
    sources = [source("datasource", "Data source", "prometheus")]
    for variable in (*sources, *(choice(name, queries.values_of(name)) for name in queries.VARIABLES), *more):
        board = board.with_variable(variable)
    board = board.with_panel(_note(guide))
    for row in rows:
        board = board.with_row(builders.Row(row.title).id(row.id))
        for panel in row.panels:
            board = board.with_panel(panel.height(row.height))
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _note(content: str) -> text.Panel:
    panel = (
        text.Panel().id(1).title("How to read this").description("A guide to this dashboard; it asks no data source.")
    )
    return panel.content(content).span(24).height(3).transparent(True)


def source(name: str, label: str, kind: str) -> builders.DatasourceVariable:
    """Variable: which of the data sources of a kind."""
    return builders.DatasourceVariable(name).label(label).type(kind)


def choice(name: str, values: str) -> builders.QueryVariable:
    """Variable: some or all of these values."""
    everything = d.VariableOption(selected=True, text=["All"], value=["$__all"])
    variable = builders.QueryVariable(name).label(name.capitalize()).datasource(DATASOURCE)
    variable = variable.query({"query": values, "refId": name, "qryType": 1})
    variable = variable.multi(True).include_all(True).all_value(".*").current(everything)
    return variable.refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(d.VariableSort.ALPHABETICAL_ASC)


def typed(name: str, label: str) -> builders.TextBoxVariable:
    """Variable: whatever is typed, or comes with a link."""
    return builders.TextBoxVariable(name).label(label).default_value("")


def _other_dashboards() -> builders.DashboardLink:
    link = builders.DashboardLink("Streaming dashboards").type(d.DashboardLinkType.DASHBOARDS).tags([TAG])
    # In the row of the variables: the SDK's default hides it in a menu from Grafana 12 on.
    return link.as_dropdown(True).include_vars(True).keep_time(True).placement("")


def _annotations() -> list[builders.AnnotationQuery]:
    """What else happened: deployments as somebody has noted them, processes that began, alerts that fired."""
    noted: Any = builders.AnnotationTarget().type("tags").tags(["deploy"]).match_any(True).limit(100)
    return [
        _annotation("Deployments", words.BLUE).datasource(GRAFANA).target(noted),
        _asked("Processes that began", words.GREY, health.processes_that_began(), f"{{{{{queries.SERVICE}}}}} began"),
        _asked("Alerts", words.RED, budget.firing_alerts(), f"{{{{alertname}}}} {{{{{queries.ROUTE}}}}}"),
    ]


def _annotation(name: str, colour: str) -> builders.AnnotationQuery:
    return builders.AnnotationQuery().name(name).enable(True).hide(False).icon_color(colour).placement("")


def _asked(name: str, colour: str, expr: str, title: str) -> builders.AnnotationQuery:
    return _annotation(name, colour).datasource(DATASOURCE).expr(expr).title_format(title).step("60s")
