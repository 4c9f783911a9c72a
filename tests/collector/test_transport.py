"""How metrics reach Prometheus with the overlays for it, and from several collectors at once."""

import re
import urllib.request
from types import SimpleNamespace

import pytest
import yaml
from senders import BROKEN, QUICK, Service, complaints, send

from otel_streaming import semconv
from stack import Collector, Process, StackError, find_or_build, recorded
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


YOURS = {
    "usual": {"suffix": "", "processors": {"batch": None}, "overlays": ["tail-sampling"]},
    "odd": {
        "suffix": "/prod",
        "processors": {
            "batch": {"send_batch_size": 1, "send_batch_max_size": 1},
            "deltatocumulative": {"max_streams": 1},
        },
        "overlays": [],
    },
}
"""Configurations such as people have: what their pipelines are called, what is in them, and what is added to them."""
REDACTED = {"trace_statements": ['delete_key(span.attributes, "secret")']}


def yours(folder, suffix, processors, **_):
    """Write a configuration that knows nothing of ours."""
    signals = ("traces", "metrics", "logs")
    own = {"traces": ["transform/redact"], "metrics": [name for name in processors if name != "batch"], "logs": []}
    pipelines = {
        f"{signal}{suffix}": {
            "receivers": ["otlp"],
            "processors": [*own[signal], "batch"],
            "exporters": [f"file/{signal}"],
        }
        for signal in signals
    }
    pull = {"exporter": {"prometheus": {"host": "127.0.0.1", "port": "${env:COLLECTOR_METRICS_PORT}"}}}
    config = {
        "extensions": {"health_check": {"endpoint": "${env:COLLECTOR_HEALTH}"}},
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": "${env:COLLECTOR_OTLP_HTTP}"}}}},
        "processors": {**processors, "transform/redact": REDACTED},
        "exporters": {f"file/{signal}": {"path": str(folder / f"{signal}.jsonl")} for signal in signals},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"metrics": {"readers": [{"pull": pull}]}},
            "pipelines": pipelines,
        },
    }
    path = folder / "yours.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module", params=YOURS)
def second(request, stack, tmp_path_factory):
    """A second collector that derives, out of somebody's own configuration, for the same Prometheus."""
    folder, own = tmp_path_factory.mktemp("second"), YOURS[request.param]
    env = {
        "PROMETHEUS_OTLP": f"{stack.prometheus.url}/api/v1/otlp",
        "COLLECTOR_QUEUE": "/proc/nowhere",  # not to be written to, by root neither
        "AFTER_ROOT": "1s",
        "SAMPLE_PERCENT": "100",
    }
    overlays = [f"overlays/{name}.yaml" for name in own["overlays"]]
    with Collector(folder, ["derive.yaml", yours(folder, **own), *overlays], env) as collector:
        collector.folder, collector.service = folder, request.param
        yield collector


def test_side_by_side(stack, second):
    """Two collectors that get a service's streams in turn add up to all of them."""
    service = f"shared by {second.service}"
    senders = [Service(collector.otlp_endpoint, service) for collector in (stack, second)]
    for turn in range(101):
        senders[turn % 2].stream(BROKEN, 2.0)
        if turn % 10 == 0:
            senders[turn % 2].flush()
    for sender in senders:
        sender.provider.shutdown()
    by_collector = {
        "stream_ended_total": [51, 50],
        "stream_duration_seconds_count": [51, 50],
        "stream_size_bytes_total": [51000, 50000],
        "stream_interrupted_duration_seconds_sum": [102, 100],
    }
    for name, values in by_collector.items():
        query = f'sum by (collector_instance_id) (max_over_time({name}{{service_name="{service}"}}[1h]))'

        def found(query=query):
            return sorted((sample.value for sample in stack.prometheus.query(query)), reverse=True)

        second.wait_until(lambda values=values, found=found: found() == pytest.approx(values), query)


def test_one_behind_another_shows(stack, second):
    """The guide's query tells a service whose every stream passes two collectors that derive from one that is sound."""
    guide = (CONFIGURATION.parent / "docs/collector.md").read_text()
    (query,) = re.findall(r"`(sum by \(service_name\) [^`]+)`", guide)
    services = {f"twice, {second.service}": (stack, second), f"once, {second.service}": (second,)}
    for service, collectors in services.items():
        for collector in collectors:
            with Service(collector.otlp_endpoint, service) as sender:
                for _ in range(50):
                    sender.stream(BROKEN, 2.0)
        sender.ledger(50)

    def ratio():
        found = {sample.labels["service_name"]: sample.value for sample in stack.prometheus.query(query)}
        return [found.get(service) for service in services]

    second.wait_until(lambda: None not in ratio() and ratio() == pytest.approx([2, 1], rel=0.2), query)


def received(collector, file, items):
    """What has come out of somebody's own pipeline, of the service called as the configuration."""
    path = collector.folder / f"{file}.jsonl"
    read = recorded.read(path, *items) if path.exists() else ()
    return [item for item in read if item["resource"]["service.name"] == collector.service]


def test_your_own_pipelines(second):
    """Whatever the own configuration does with spans goes on; nothing is taken from it or put in."""
    with Service(second.otlp_endpoint, second.service) as sender:
        sent = sender.stream(BROKEN)
        sender.stream({"any": "thing", "secret": "word"}, scope="another")

    def spans():
        return received(second, "traces", ("Spans", "spans"))

    second.wait_until(lambda: len(spans()) == 2, "both spans")
    by_scope = {span["scope"]: span["attributes"] for span in spans()}
    assert by_scope == {semconv.SCOPE: dict(sent.attributes), "another": {"any": "thing"}}


def test_ledger_beside_your_metrics(stack, second):
    """The ledger reaches Prometheus, wherever the own metrics go, which do not come along."""
    Service(second.otlp_endpoint, second.service).ledger(5)
    ledger = f'stream_ledger_ended_total{{service_name="{second.service}"}}'
    stack.wait_until(lambda: stack.prometheus.value(ledger) == 5, ledger)

    def own():
        return {metric["name"] for metric in received(second, "metrics", ("Metrics", "metrics"))}

    second.wait_until(lambda: "shop.orders" in own(), "the own metrics")
    assert not stack.prometheus.query(f'shop_orders_total{{service_name="{second.service}"}}')


def test_all_metrics_without_yours(stack):
    """A collector with nothing but our configuration hands on what else is measured, and the ledger, once each."""
    Service(stack.otlp_endpoint, "alone").ledger(5)
    for query in (
        'stream_ledger_ended_total{service_name="alone"} == 5',
        'shop_orders_total{service_name="alone"} == 1',
    ):
        stack.wait_until(lambda query=query: len(stack.prometheus.query(query)) == 1, query)


@pytest.mark.parametrize("name", ["nginx", "envoy"])
def test_extension_left_out(tmp_path, name):
    """Whose own list of extensions lacks the one that an overlay writes with is told so, in the words of the guide."""
    configs = ["derive.yaml", f"overlays/{name}.yaml", yours(tmp_path, **YOURS["usual"])]
    with pytest.raises(StackError, match="storage") as told:
        Collector(tmp_path, configs, {}).start()
    said = "file_storage/queue"
    assert said in str(told.value)
    assert said in (CONFIGURATION.parent / "docs/collector.md").read_text()


def test_nothing_to_complain_about(pulled, written, second):
    """No collector has logged a warning, an error or a "please rewrite"."""
    assert [complaint for one in (pulled, written, second) for complaint in complaints(one.log)] == []


@pytest.mark.parametrize("order", [1, -1], ids=["forwards", "backwards"])
def test_overlays_together(tmp_path, order):
    """The collector accepts all overlays of `config.yaml` at once, in any order."""
    names = sorted(path.name for path in (CONFIGURATION / "overlays").glob("*.yaml") if path.stem != "kafka-agent")
    paths = [CONFIGURATION / "config.yaml", *(CONFIGURATION / "overlays" / name for name in names[::order])]
    argv = [find_or_build("otelcol"), "validate", *(f"--config={path}" for path in paths)]
    with Process("otelcol", argv, tmp_path / "log", {"BACKEND_TOKEN": "any"}) as collector:
        assert (collector.wait(), collector.log.read_text()) == (0, "")
