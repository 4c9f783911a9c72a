"""What a dashboard costs where there are thousands of routes: Prometheus, and the browser that draws it."""

import promql_parser
import pytest
from boards import PANELS
from test_promql import RANGE, RATE_INTERVAL, nodes

from dashboards.render import substitute

GRAPHED = {
    f"{uid} {panel['title']} {target['refId']}": (panel, target)
    for uid, panel in PANELS
    for target in panel.get("targets", ())
    if target.get("range") and "expr" in target
}


@pytest.fixture(params=GRAPHED.values(), ids=GRAPHED)
def graphed(request):
    return request.param


def test_a_point_of_a_graph_reads_a_few_samples_of_each_series(graphed):
    """A window of days is read for every point anew, unless it is the same for all of them or a sum of the series."""
    _, target = graphed
    tree = promql_parser.parse(substitute(target["expr"], range="17m", rate_interval="3m"))
    for matrix in nodes(tree, promql_parser.MatrixSelector):
        assert matrix.range == RATE_INTERVAL or (matrix.range == RANGE and matrix.vector_selector.at is not None)
    for window in nodes(tree, promql_parser.SubqueryExpr):
        assert isinstance(window.expr, promql_parser.AggregateExpr)
        assert not window.expr.modifier


def test_a_graph_has_so_many_lines_as_can_be_read(graphed):
    """Of routes there may be thousands: a graph has the worst of them."""
    panel, target = graphed
    if "{{http_route}}" in target["legendFormat"]:
        assert "topk(20, " in target["expr"]
    if "{{__name__}}" in target["legendFormat"]:  # a point is a count of all series
        assert panel["maxDataPoints"] <= 60
