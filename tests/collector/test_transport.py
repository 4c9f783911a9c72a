"""How metrics reach Prometheus, also with the overlays for it."""

import urllib.request
from types import SimpleNamespace

import pytest
from senders import BROKEN, QUICK, Service, complaints, send

from otel_streaming import semconv
from stack import Collector, Process, find_or_build
from stack.collector import CONFIGURATION

pytestmark = pytest.mark.e2e

TOLD = {*BROKEN, semconv.DIALECT, semconv.STALLED, semconv.MASKED}  # the last three have defaults


def exemplars(prometheus, service):
    return prometheus.exemplars(f'stream_ended_total{{service_name="{service}"}}', 0, 4e9)


@pytest.fixture(scope="module")
def written(pulled, tmp_path_factory):
    """A collector that writes to the other one's Prometheus."""
    env = {"REMOTE_WRITE": f"{pulled.prometheus.url}/api/v1/write"}
    configs = ["config.yaml", "overlays/remote-write.yaml", *QUICK]
    with Collector(tmp_path_factory.mktemp("written"), configs, env) as collector:
        yield SimpleNamespace(
            otlp_endpoint=collector.otlp_endpoint,
            wait_until=collector.wait_until,
            log=collector.log,
            prometheus=pulled.prometheus,
        )


@pytest.fixture(params=["pulled", "written"], scope="module")
def way(request):
    """Prometheus scrapes, or is written to; the service named after it has sent five broken streams at once."""
    collector = request.getfixturevalue(request.param)
    collector.service = request.param
    send(collector.otlp_endpoint, request.param, 5)
    return collector


def test_the_same_labels(way):
    """Whichever way the metrics took, they have the names and the labels of the contract."""
    for metric, suffix in ((semconv.ENDED, ""), (semconv.DURATION, "_count"), (semconv.SIZES, "")):
        name = f'{metric.prometheus}{suffix}{{service_name="{way.service}"}}'
        (sample,) = way.wait_until(lambda name=name: way.prometheus.query(f"{name} > 0"), name)
        assert sample.value == (5000 if metric is semconv.SIZES else 5)
        found = {label for label in sample.labels if label.startswith(("stream_", "http_", "otel_"))}
        assert found == {label.label for label in metric.labels if label in TOLD}
        service = {"service_namespace": "tests", "deployment_environment_name": "ci", "job": f"tests/{way.service}"}
        assert sample.labels.items() >= service.items()


def test_first_failure_is_an_increase(way):
    """The very first failures of a series are visible to ``increase``."""
    for name in ("stream_ended_total", "stream_ledger_ended_total"):
        query = f'increase({name}{{service_name="{way.service}"}}[5m])'
        way.wait_until(lambda query=query: (way.prometheus.value(query) or 0) >= 5, query)


def test_start_times_are_scraped(way):
    """A scrape brings start times, from which also the sums get their zero; remote write 1.0 has none."""
    query = f'increase(stream_size_bytes_total{{service_name="{way.service}"}}[5m])'
    if way.service == "pulled":
        way.wait_until(lambda: (way.prometheus.value(query) or 0) >= 5000, query)
    else:
        assert not way.prometheus.value(query)


def test_exemplars(way):
    """A counted stream leads to its trace."""
    found = way.wait_until(lambda: exemplars(way.prometheus, way.service), "exemplars")
    assert {len(exemplar.labels["trace_id"]) for exemplar in found} == {32}


def test_exemplars_in_text(pulled):
    """A scraper that reads text gets exemplars as well."""

    def exposed():
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        with urllib.request.urlopen(urllib.request.Request(pulled.metrics, headers=accept)) as answer:
            return "# {trace_id=" in answer.read().decode()

    send(pulled.otlp_endpoint, "text", 1)
    pulled.wait_until(exposed, "an exemplar")


def test_ledger_has_its_instance(way):
    """The processes' own metrics keep their labels, and who sent them."""
    query = f'stream_ledger_ended_total{{service_name="{way.service}"}} == 5'
    (sample,) = way.wait_until(lambda: way.prometheus.query(query), query)
    own = {"service_instance_id": "1", "instance": "1", "stream_role": "server", "stream_process_id": "abc"}
    assert sample.labels.items() >= own.items()


def test_all_metrics(stack):
    """A collector with nothing but our configuration hands on what else is measured, and the ledger, once each."""
    Service(stack.otlp_endpoint, "alone").ledger(5)
    for query in (
        'stream_ledger_ended_total{service_name="alone"} == 5',
        'shop_orders_total{service_name="alone"} == 1',
    ):
        stack.wait_until(lambda query=query: len(stack.prometheus.query(query)) == 1, query)


def test_nothing_to_complain_about(pulled, written):
    """Neither collector has logged a warning, an error or a "please rewrite"."""
    assert [complaint for one in (pulled, written) for complaint in complaints(one.log)] == []


@pytest.mark.parametrize("order", [1, -1], ids=["forwards", "backwards"])
def test_overlays_together(tmp_path, order):
    """The collector accepts all overlays of `config.yaml` at once, in any order."""
    names = sorted(path.name for path in (CONFIGURATION / "overlays").glob("*.yaml") if path.stem != "kafka-agent")
    paths = [CONFIGURATION / "config.yaml", *(CONFIGURATION / "overlays" / name for name in names[::order])]
    argv = [find_or_build("otelcol"), "validate", *(f"--config={path}" for path in paths)]
    with Process("otelcol", argv, tmp_path / "log", {"BACKEND_TOKEN": "any"}) as collector:
        assert (collector.wait(), collector.log.read_text()) == (0, "")
