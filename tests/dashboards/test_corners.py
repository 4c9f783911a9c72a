"""The overview in the corners that the recorded incident leaves out, asked of a real Prometheus."""

import subprocess
import urllib.request

import corners
import pytest
from boards import BOARDS

from dashboards.render import panel_queries, substitute
from stack import Process, Prometheus, find_or_build, free_ports

pytestmark = pytest.mark.e2e

CHAT = [key for key in corners.STREAMS if key[0] == "chat"]
OVERVIEW = panel_queries(BOARDS["stream-overview"])
TABLE = [
    target
    for panel in BOARDS["stream-overview"]["panels"]
    for target in panel.get("targets", ())
    if panel["id"] == 301 and target["refId"] in "ABCDEFG"
]
EXACT = {"rel": 1e-9}
EXTRAPOLATED = {"rel": 0.05}
"""What Prometheus' ``increase`` may be off where counts come from spans."""


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Evaluate a query of a dashboard at the incident's end, as Grafana would for "last 15 minutes"."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "corners.txt").write_text("\n".join(corners.openmetrics()))
    (folder / "prometheus.yml").write_text("")
    create = ["tsdb", "create-blocks-from", "openmetrics", "--quiet", folder / "corners.txt", folder / "data"]
    subprocess.run([find_or_build("promtool"), *create], check=True)
    (port,) = free_ports(1)
    argv = [
        find_or_build("prometheus"),
        *(f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
    ]
    client = Prometheus(f"http://127.0.0.1:{port}")
    with Process("prometheus", argv, folder / "log") as process:
        process.wait_until(lambda: urllib.request.urlopen(f"{client.url}/-/ready").close() is None, "it to be ready")
        yield lambda expr, **chosen: client.query(
            substitute(expr, range="15m", rate_interval="4m", **chosen), corners.END
        )


@pytest.fixture(scope="module")
def show(ask):
    """What a tile shows: its number, or None for no telemetry."""

    def tile(title, **chosen):
        (expr,) = (query.expr for query in OVERVIEW if query.panel == title)
        samples = ask(expr, **chosen)
        assert len(samples) <= 1
        return samples[0].value if samples else None

    return tile


TILES = {
    "Failed": (corners.SILENT + corners.LOUD, corners.ELIGIBLE),
    "Hidden share": (corners.SILENT, corners.SILENT + corners.LOUD),
    "Cut short": (("cut", "blank"), corners.ELIGIBLE),
    "Gave up": (("gave up",), tuple(corners.FATES)),
}


@pytest.mark.parametrize(("title", "sorts"), TILES.items())
def test_tiles_show_what_happened(show, title, sorts):
    """Over services with a ledger, with spans, with both: each stream counts once."""
    assert show(title) == pytest.approx(corners.share(*sorts), **EXTRAPOLATED)


@pytest.mark.parametrize(("title", "sorts"), TILES.items())
def test_tiles_are_exact_where_there_is_a_ledger(show, title, sorts):
    """A burst of failures in the last minutes, three processes, one killed: not one stream too many or too few."""
    assert show(title, service="chat") == pytest.approx(corners.share(*sorts, CHAT), **EXACT)
    route = ("chat", "/v1/agents/{id}/run")
    assert show(title, route="/v1/agents.*") == pytest.approx(corners.share(*sorts, [route]), **EXACT)


def test_the_5xx_panel_is_the_stock_one_of_services_that_stream(show):
    """The other routes of the same service count, services that never stream do not."""
    good, bad = corners.STOCK["chat"]
    expected = pytest.approx(bad / (good + bad), **EXTRAPOLATED)
    assert show("What your 5xx panel says") == expected
    assert show("What your 5xx panel says", service="chat") == expected


def test_the_5xx_panel_is_ours_where_there_is_no_stock_one(show):
    """A service (or a route) that the stock metrics do not know is still compared with something."""
    expected = corners.share(corners.LOUD, corners.ELIGIBLE, [("search", "/answer")])
    assert show("What your 5xx panel says", service="search") == pytest.approx(expected, **EXTRAPOLATED)
    expected = corners.share(corners.LOUD, corners.ELIGIBLE, [("chat", "/v1/agents/{id}/run")])
    assert show("What your 5xx panel says", route="/v1/agents.*") == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("title", ["Failed", "What your 5xx panel says", "Cut short", "Gave up"])
def test_three_pictures(show, title):
    """No failures is 0, no traffic is -1 (a word), no telemetry is empty (another word)."""
    assert show(title, service="export") == 0
    assert show(title, service="quiet") == -1
    assert show(title, service="nobody") is None


def test_hidden_share_without_failures_is_a_word(show):
    """Nothing is hidden where nothing failed: neither 0 % nor 100 %."""
    assert show("Hidden share", service="export") == -1
    assert show("Hidden share", service="quiet") == -1
    assert show("Hidden share", service="nobody") is None


def test_only_readers_who_left_is_no_missing_telemetry(show):
    """Where nothing could end well or badly, there is no share of failures, but there is telemetry."""
    assert show("Failed", service="moody") == -1
    assert show("Gave up", service="moody") == pytest.approx(1 / 4, **EXACT)


def test_live_tiles(show):
    """Open and stalled streams as they are now; none stalled is 0 only where open streams are reported."""
    assert show("Open streams") == 10
    assert show("Stalled now") == 2
    assert show("Stalled now", service="export") == 0
    assert show("Stalled now", service="search") is None


COLUMNS = {
    "B": (corners.SILENT + corners.LOUD, corners.ELIGIBLE),
    "C": (corners.LOUD, corners.ELIGIBLE),
    "D": (("cut", "blank"), corners.ELIGIBLE),
    "E": (("stalled",), corners.ELIGIBLE),
    "F": (("blank", "gave up"), tuple(corners.FATES)),
    "G": (("gave up",), tuple(corners.FATES)),
}


@pytest.mark.parametrize("target", TABLE, ids=lambda target: target["refId"])
def test_the_table_has_one_number_per_route(ask, target):
    """Every column has the numbers of the routes with traffic, and nothing that is not a number."""
    found = {(one.labels["service_name"], one.labels["http_route"]): one.value for one in ask(target["expr"])}
    assert len(found) == len(ask(target["expr"]))
    if target["refId"] == "A":
        counts = {key: sum(fates.values()) for key, fates in corners.STREAMS.items() if fates}
        assert found == pytest.approx(counts, **EXTRAPOLATED)
        assert all(found[key] == counts[key] for key in counts if key[0] in corners.LEDGER)
    else:
        parts, wholes = COLUMNS[target["refId"]]
        known = corners.SPANS if target["refId"] == "F" else corners.LEDGER | corners.SPANS
        having = [key for key, fates in corners.STREAMS.items() if key[0] in known and set(wholes) & set(fates)]
        assert found == pytest.approx({key: corners.share(parts, wholes, [key]) for key in having}, **EXTRAPOLATED)


def test_causes_not_reported_are_those_without_spans(ask):
    """A service whose spans are switched off shows its failures all the same, in grey."""
    (expr,) = (query.expr for query in OVERVIEW if query.panel.startswith("Failures") and query.ref == "C")
    assert ask(expr, service="batch")[0].value > 0
    assert [sample.value for sample in ask(expr, service="chat")] == [0]


def test_spans_that_are_switched_off_are_not_lost(ask):
    """Where one witness is silent on purpose there is nothing to compare, whatever failed."""
    (expr,) = (query.expr for query in panel_queries(BOARDS["stream-trust"]) if query.panel == "Lost telemetry")
    assert [sample.value for sample in ask(expr, service="batch")] == [-1]
    assert [sample.value for sample in ask(expr, service="chat")] == [0]
    assert ask(expr, service="nobody") == []


def test_a_healthy_service_has_a_line_at_zero(ask):
    """Where all is well the graph of failures is drawn and flat, not empty."""
    (expr,) = (query.expr for query in OVERVIEW if query.panel.startswith("Failures") and query.ref == "B")
    assert [sample.value for sample in ask(expr, service="export")] == [0]
