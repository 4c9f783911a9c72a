"""The queries of a generated dashboard as Prometheus takes them: for tests, the demo and the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::\w+)?\}|(?P<plain>\w+))")


class PanelQuery(NamedTuple):
    """One query of one panel, as it stands in the dashboard's JSON."""

    panel: str
    ref: str
    expr: str


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel of a dashboard in screen order, rows left out, those folded into a row included."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def panel_queries(dashboard: dict[str, Any]) -> list[PanelQuery]:
    """Every Prometheus query of a dashboard, in screen order."""
    return [
        PanelQuery(panel["title"], target["refId"], target["expr"])
        for panel in panels(dashboard)
        for target in panel.get("targets", ())
        if target["datasource"]["type"] == "prometheus"
    ]


def substitute(
    expr: str,
    *,
    range: str = "15m",  # noqa: A002 - named after $__range
    rate_interval: str = "1m",
    **variables: str,
) -> str:
    """Replace Grafana's variables: everything is chosen (``.*``) unless said otherwise.

    Raises:
        ValueError: the query holds a variable that nobody gave a value.
    """
    values = {"service": ".*", "route": ".*", "protocol": ".*"} | variables
    values |= {"__range": range, "__rate_interval": rate_interval}

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        if name not in values:
            message = f"no value for ${name} in {expr}"
            raise ValueError(message)
        return values[name]

    return _VARIABLE.sub(value, expr)
