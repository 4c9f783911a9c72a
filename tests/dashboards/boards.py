"""Every dashboard, panel and query as the modules generate them."""

import json

from dashboards.__main__ import generate
from dashboards.render import PanelQuery, panel_queries, panels

BOARDS = {
    name.removesuffix(".json"): json.loads(content) for name, content in generate().items() if name.endswith(".json")
}
PANELS = [(uid, panel) for uid, board in BOARDS.items() for panel in panels(board)]
QUERIES = [(uid, query) for uid, board in BOARDS.items() for query in panel_queries(board)]
ANNOTATIONS = [
    PanelQuery(one["name"], "A", one["expr"]) for one in next(iter(BOARDS.values()))["annotations"]["list"][1:]
]


def judges(panel):
    """Whether a panel colours its numbers by steps."""
    cells = [one["id"] for override in panel["fieldConfig"]["overrides"] or () for one in override["properties"]]
    return panel.get("options", {}).get("colorMode") == "background_solid" or "thresholds" in cells
