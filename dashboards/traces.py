"""The kinds of panel that show single streams: from traces and from logs."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dashboards import panels as p
from dashboards import parts, words

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # as in panels
    from grafana_foundation_sdk.builders import dashboard as builders
    from grafana_foundation_sdk.builders import logs, loki, table, tempo, timeseries
    from grafana_foundation_sdk.models import common as c
    from grafana_foundation_sdk.models.tempo import MetricsQueryType, SearchTableType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_streaming.semconv import Attribute

TEMPO = c.DataSourceRef(type_val="tempo", uid="$tempo")
LOKI = c.DataSourceRef(type_val="loki", uid="$loki")
TRACE = "traceId"
"""The variable that says which trace is shown."""
_HOW_MANY = 20
SOURCES = ("tempo", "loki")
_OPEN = parts.to(
    parts.FORENSICS,
    "Show its trace below",
    (*parts.EVERYWHERE, *SOURCES, "reason"),
    **{TRACE: "${__data.fields.traceIdHidden}"},
)


@dataclass(frozen=True)
class Shown:
    """An attribute as a column: what it is called, in words where it is a code."""

    attribute: Attribute
    title: str
    codes: parts.Words | None = None
    unit: str = parts.COUNT


def _query(query: str) -> tempo.Dataquery:
    return tempo.Dataquery().ref_id("A").query_type("traceql").query(query).datasource(TEMPO)


def newest(about: parts.About, query: str, shown: Sequence[Shown], width: int) -> table.Panel:
    """The newest streams of a sort, a line each; a click shows the trace."""
    panel = p.frame(table.Panel(), about, width, TEMPO).no_value(words.NO_TRACES).unit(parts.COUNT)
    panel = panel.with_target(_query(query).limit(_HOW_MANY).spss(1).table_type(SearchTableType.SPANS))
    panel = panel.override_by_name("spanID", [p.prop("displayName", "Trace"), p.prop("links", [asdict(_OPEN)])])
    panel = panel.override_by_name("traceService", [p.prop("displayName", "Came in at")])
    for hidden in ("traceName", "name"):
        # The one is how Grafana before 12.2 hides a column, the other is how it does since.
        panel = panel.override_by_name(
            hidden, [p.prop("custom.hidden", True), p.prop("custom.hideFrom", {"viz": True})]
        )
    for one in shown:
        properties = [p.EMPTY_CELL, p.prop("displayName", one.title), p.prop("unit", one.unit)]
        if one.codes:
            properties.append(p.in_words(one.codes))
        panel = panel.override_by_name(str(one.attribute), properties)
    return panel


def spans_graph(about: parts.About, query: str, width: int) -> timeseries.Panel:
    """Spans per second, by what only traces know: to compare, not to count."""
    panel = p.frame(timeseries.Panel(), about, width, TEMPO).unit(parts.PER_SECOND).min(0).no_value(words.NO_TRACES)
    panel = panel.line_width(1).fill_opacity(20).show_points(c.VisibilityMode.AUTO).legend(p.legend())
    return panel.with_target(_query(query).metrics_query_type(MetricsQueryType.RANGE))


def waterfall(about: parts.About, width: int) -> builders.Panel:
    """One trace, from its beginning to its end."""
    panel = p.frame(builders.Panel(), about, width, TEMPO).type("traces").unit(parts.SECONDS).no_value(words.NO_TRACES)
    return panel.with_target(_query(f"${{{TRACE}}}"))


def records(about: parts.About, expr: str, width: int) -> logs.Panel:
    """Log records, newest first."""
    panel = p.frame(logs.Panel(), about, width, LOKI).unit(parts.COUNT).no_value(words.NO_TRACES)
    panel = panel.show_time(True).wrap_log_message(True).enable_log_details(True)
    return panel.with_target(
        loki.Dataquery().ref_id("A").expr(expr).datasource(LOKI).query_type("range").max_lines(200)
    )
