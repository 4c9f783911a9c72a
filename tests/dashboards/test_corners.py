"""The dashboards in the corners that the recorded incident leaves out, asked of a real Prometheus."""

import corners
import pytest
from boards import QUERIES
from corners import SERVICES, of

from dashboards.incident.serve import backfill, prometheus_in
from dashboards.render import substitute
from otel_streaming import semconv
from otel_streaming.semconv import Outcome, Phase, Result

pytestmark = pytest.mark.e2e

EXPRS = {(uid.removeprefix("stream-"), query.panel, query.ref): query.expr for uid, query in QUERIES}
SILENT, BAD = {Result.SILENT}, {Result.SILENT, Result.LOUD}
ELIGIBLE, ALL = {*BAD, Result.OK}, set(Result)
NO_TRAFFIC, GONE = -1, -2


def cut(fate):
    return fate.result is Result.SILENT and fate.outcome is Outcome.TRUNCATED


def blank(fate):
    return fate.phase is Phase.BEFORE_FIRST_CHUNK


def stalled(fate):
    return fate.stalled and fate.result in ELIGIBLE


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Evaluate a query of a panel at the end, as Grafana would for "last 15 minutes"."""
    folder = tmp_path_factory.mktemp("corners")
    backfill(folder, corners.samples(), corners.START)
    with prometheus_in(folder) as prometheus:

        def answer(board, panel, ref="A", **chosen):
            expr = substitute(EXPRS[board, panel, ref], range="15m", rate_interval="4m", **chosen)
            return prometheus.query(expr, corners.END)

        yield answer


@pytest.fixture(scope="module")
def show(ask):
    """What a tile shows: its number, or None for no telemetry."""

    def tile(board, title, **chosen):
        samples = ask(board, title, **chosen)
        assert len(samples) <= 1
        return samples[0].value if samples else None

    return tile


TILES = {
    "Failed": (BAD, ELIGIBLE),
    "Hidden share": (SILENT, BAD),
    "Cut short": (cut, ELIGIBLE),
    "Gave up": ({Result.GAVE_UP}, ALL),
}
LIVELY = [name for name, service in SERVICES.items() if name != "flat" and of(service.streams, BAD)]


@pytest.mark.parametrize(("title", "sorts"), TILES.items())
def test_tiles_believe_the_ledger_where_there_is_one(show, title, sorts):
    """Whatever the spans of a service tell, one witness is heard for all of a share, each service by itself."""
    for name in LIVELY:
        assert show("overview", title, service=name) == pytest.approx(corners.share(*sorts, name)), name
    everybody = [name for name in SERVICES if name != "flat"]
    assert show("overview", title) == pytest.approx(corners.share(*sorts, *everybody))


def test_a_ledger_without_failures_is_believed(show):
    """An older release beside it has failed: its spans fill in for no sort of ends that the ledger has never seen."""
    assert show("overview", "Failed", service="blended") == 0
    assert show("overview", "Cut short", service="blended") == 0


def test_the_5xx_panel_is_the_stock_one_of_services_that_stream(show):
    """The other routes of the same service count, services that never stream do not."""
    good, bad = corners.STOCK["healthy"]
    for chosen in ({}, {"service": "healthy"}):
        assert show("overview", "What your 5xx panel says", **chosen) == pytest.approx(bad / (good + bad))


def test_the_5xx_panel_is_ours_where_there_is_no_stock_one(show):
    """A service that the stock metrics do not know is still compared with something."""
    expected = corners.share({Result.LOUD}, ELIGIBLE, "older")
    assert show("overview", "What your 5xx panel says", service="older") == pytest.approx(expected)


@pytest.mark.parametrize("title", ["Failed", "Cut short", "Gave up"])
def test_three_pictures(show, title):
    """No failures is 0, no traffic is -1 (a word), no telemetry is empty (another word)."""
    assert show("overview", title, service="healthy") == 0
    assert show("overview", title, service="flat") == NO_TRAFFIC
    assert show("overview", title, service="nobody") is None


def test_hidden_share_without_failures_is_a_word(show):
    """Nothing is hidden where nothing failed: neither 0 % nor 100 %."""
    assert show("overview", "Hidden share", service="healthy") == NO_TRAFFIC
    assert show("overview", "Hidden share", service="flat") == NO_TRAFFIC
    assert show("overview", "Hidden share", service="nobody") is None


def test_where_readers_only_leave(show):
    """Nothing could end well or badly, so nothing failed; whoever gave up is counted all the same."""
    assert show("overview", "Failed", service="leavers") == NO_TRAFFIC
    assert show("overview", "Gave up", service="leavers") == pytest.approx(1 / 4)
    assert show("slo", "As users saw it", service="leavers") == NO_TRAFFIC
    assert show("slo", "Gave-up counted", service="leavers") == 0


def test_live_tiles(show):
    """As it is now; none stalled is 0 only where open streams are reported, and what was last is not what is."""
    assert show("overview", "Open streams") == 10
    assert show("overview", "Stalled now") == 2
    assert show("overview", "Stalled now", service="healthy") == 0
    for title in ("Open streams", "Stalled now"):
        assert show("overview", title, service="older") == GONE
        assert show("overview", title, service="silenced") == GONE
    assert show("trust", "Processes", service="nobody") == GONE


COLUMNS = {
    "B": (BAD, ELIGIBLE),
    "C": ({Result.LOUD}, ELIGIBLE),
    "D": (cut, ELIGIBLE),
    "E": (stalled, ELIGIBLE),
    "G": ({Result.GAVE_UP}, ALL),
}


@pytest.mark.parametrize("ref", ["A", *COLUMNS])
def test_the_table_has_one_number_per_route(ask, ref):
    """Every column has the numbers of the routes with traffic, and nothing that is not a number."""
    samples = ask("overview", "Routes, worst first", ref)
    found = {one.labels["service_name"]: one.value for one in samples}
    assert len(found) == len(samples)
    lively = {name: service.streams for name, service in SERVICES.items() if name != "flat"}
    if ref == "A":
        assert found == pytest.approx({name: streams.total() for name, streams in lively.items()})
        return
    parts, wholes = COLUMNS[ref]
    expected = {name: corners.share(parts, wholes, name) for name, streams in lively.items() if of(streams, wholes)}
    assert found == pytest.approx(expected)


def told(name, holds):
    """Share of a service's streams that its spans say are of a sort."""
    return of(SERVICES[name].spans, holds) / SERVICES[name].streams.total()


def test_blank_is_a_share_of_all_streams(ask):
    """Only spans know who saw nothing: with ``SPANS=bad`` that is half of them, and one stream in fifty."""
    found = {one.labels["service_name"]: one.value for one in ask("overview", "Routes, worst first", "F")}
    expected = {name: told(name, blank) for name, one in SERVICES.items() if one.spans and name != "flat"}
    assert found == pytest.approx(expected)
    assert found["bad only"] == pytest.approx(10 / 520)


def test_masked_is_a_share_of_all_streams(ask):
    """The same of streams behind a clean end, over time."""
    (sample,) = ask("forensics", "Behind a clean end", service="bad only")
    assert sample.value == pytest.approx(told("bad only", lambda fate: fate.masked))


def test_causes_not_reported(ask):
    """What the ledger of a service counts and its spans do not tell shows in grey; a surplus elsewhere hides none."""
    missing = {"off": 2, "lossy": 10}
    grey = {name: ask("overview", "Failures by cause, on one axis", "C", service=name)[0].value for name in SERVICES}
    assert {name for name, value in grey.items() if value} == missing.keys()
    (alone,) = ask("overview", "Failures by cause, on one axis", "A", service="lossy")
    assert grey["lossy"] == pytest.approx(alone.value)
    (together,) = ask("overview", "Failures by cause, on one axis", "C")
    assert together.value == pytest.approx(sum(grey.values()))


TRUST = {
    "both": (0, 0),
    "bad only": (0, 0),
    "lossy": (0.5, 0),
    "twice": (0, 0.5),
    "blended": (-1, 1),
    "healthy": (-1, -1),
}


@pytest.mark.parametrize(("name", "expected"), [*TRUST.items(), ("off", (-1, -1)), ("inside", (-1, -1))])
def test_witnesses_disagree_in_two_ways(show, name, expected):
    """Failures are lost, or told twice; with spans off, or counted by the process itself, there is one witness only."""
    assert (show("trust", "Lost telemetry", service=name), show("trust", "Told twice", service=name)) == expected


def test_what_is_told_twice_makes_up_for_no_loss(show):
    """Over all services, each disagreement has its own number."""
    heard = [one for name, one in SERVICES.items() if one.ledger and one.spans and name not in {"inside", "flat"}]
    ledger, spans = (
        [of(one, BAD) for one in by] for by in zip(*((one.ledger, one.spans) for one in heard), strict=True)
    )
    pairs = list(zip(ledger, spans, strict=True))
    lost, twice = (sum(max(sign * (one - other), 0) for one, other in pairs) for sign in (1, -1))
    assert show("trust", "Lost telemetry") == pytest.approx(lost / sum(ledger))
    assert show("trust", "Told twice") == pytest.approx(twice / sum(spans))


def test_a_healthy_service_has_a_line_at_zero(ask):
    """Where all is well the graph of failures is drawn and flat, not empty."""
    assert [one.value for one in ask("overview", "Failures by cause, on one axis", "B", service="both")] == [0]


def test_corners_are_of_the_contract():
    """They are made of the words and labels that the incident is made of."""
    series = corners.samples().series
    ours = {name for name, _ in series} - {"http_server_duration_milliseconds_count"}
    assert ours == {one.prometheus for one in (semconv.LEDGER_ENDED, semconv.ENDED, semconv.ACTIVE)}
