"""What somebody has whose collector derives beside what it did already, with one file in front of the configuration."""

import re

import pytest
import yaml
from senders import BROKEN, QUICK, Service, complaints

from otel_streaming import semconv
from stack import Collector, StackError, free_ports, recorded
from stack.collector import CONFIGURATION

pytestmark = pytest.mark.e2e

YOURS = {
    "usual": {"processors": {"batch": None}, "overlays": ["tail-sampling"]},
    "odd": {
        "receiver": "otlp/yours",
        "suffix": "/prod",
        "processors": {
            "memory_limiter": {"check_interval": "2s", "limit_mib": 400, "spike_limit_mib": 100},
            "batch": {"send_batch_size": 1, "send_batch_max_size": 1},
            "deltatocumulative": {"max_streams": 1},
        },
        "follows": {
            "exporters": {"otlp_http/prometheus": {"sending_queue": {"storage": "file_storage/queue"}}},
            "service": {
                "extensions": ["health_check", "file_storage/queue"],
                "pipelines": {name: {"receivers": ["otlp/yours"]} for name in ("traces/derive", "metrics/ledger")},
            },
        },
    },
    "elsewhere": {
        "processors": {"batch": None},
        "follows": {
            "service": {
                "pipelines": {"metrics/out": {"processors": ["transform/service"], "exporters": ["file/metrics"]}}
            }
        },
    },
}
"""Configurations such as people have: what is called otherwise in them, and what they do that the guide says."""
REDACTED = {"trace_statements": ['delete_key(span.attributes, "secret")']}


def yours(folder, *, processors, receiver="otlp", suffix="", overlays=(), follows=None):
    """Write a configuration that knows nothing of ours, and return what is to come after our file."""
    signals = ("traces", "metrics", "logs")
    own = {
        "traces": ["transform/redact"],
        "metrics": [name for name in processors if name == "deltatocumulative"],
        "logs": [],
    }
    pipelines = {
        f"{signal}{suffix}": {
            "receivers": [receiver],
            "processors": [*own[signal], "batch"],
            "exporters": [f"file/{signal}"],
        }
        for signal in signals
    }
    pull = {"exporter": {"prometheus": {"host": "127.0.0.1", "port": "${env:COLLECTOR_METRICS_PORT}"}}}
    config = {
        "extensions": {"health_check": {"endpoint": "${env:COLLECTOR_HEALTH}"}},
        "receivers": {receiver: {"protocols": {"http": {"endpoint": "${env:COLLECTOR_OTLP_HTTP}"}}}},
        "processors": {**processors, "transform/redact": REDACTED},
        "exporters": {f"file/{signal}": {"path": str(folder / f"{signal}.jsonl")} for signal in signals},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {"metrics": {"readers": [{"pull": pull}]}},
            "pipelines": pipelines,
        },
    }
    (folder / "yours.yaml").write_text(yaml.safe_dump(config))
    (folder / "follows.yaml").write_text(yaml.safe_dump(follows or {}))
    return [folder / "yours.yaml", folder / "follows.yaml", *(f"overlays/{name}.yaml" for name in overlays)]


@pytest.fixture(scope="module", params=["usual", "odd"])
def second(request, stack, tmp_path_factory):
    """A second collector that derives, out of somebody's own configuration, for the same Prometheus."""
    folder, own = tmp_path_factory.mktemp("second"), YOURS[request.param]
    # By default nothing is written to a disk, here one on which nobody can.
    queue = str(folder / "queue") if "follows" in own else "/proc/nowhere"
    env = {"PROMETHEUS_OTLP": f"{stack.prometheus.url}/api/v1/otlp", "COLLECTOR_QUEUE": queue}
    env |= {"AFTER_ROOT": "1s", "SAMPLE_PERCENT": "100"}
    configs = yours(folder, **own)
    configs.insert(0 if "follows" in own else len(configs), "derive.yaml")  # the guide's order, and a chart's
    with Collector(folder, configs, env) as collector:
        collector.folder, collector.service = folder, request.param
        yield collector
    assert queue == "/proc/nowhere" or list((folder / "queue").iterdir())


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


def test_metrics_elsewhere(tmp_path):
    """Whose own exporter takes the metrics gets what is derived and the ledger, of a service that labels name."""
    with Collector(tmp_path, ["derive.yaml", *yours(tmp_path, **YOURS["elsewhere"]), *QUICK], {}) as collector:
        collector.folder, collector.service = tmp_path, "elsewhere"
        with Service(collector.otlp_endpoint, collector.service) as sender:
            sender.stream(BROKEN)
            sender.ledger(1)

        def named():
            metrics = received(collector, "metrics", ("Metrics", "metrics"))
            points = [(metric["name"], metric["sum"]["dataPoints"][-1]) for metric in metrics if "sum" in metric]
            service = {"key": semconv.SERVICE_NAME, "value": {"stringValue": "elsewhere"}}
            return {name for name, point in points if service in point.get("attributes", ())}

        wanted = {semconv.ENDED.name, semconv.SIZES.name, semconv.LEDGER_ENDED.name}
        collector.wait_until(lambda: named() >= wanted, wanted)


@pytest.mark.parametrize("queue", [True, False])
def test_what_is_refused_is_sent_again(tmp_path, monkeypatch, queue):
    """A pipeline beside ours that hands back an error makes a stream count again; one with a queue does not."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2")  # seconds: enough for one repetition
    (nobody,) = free_ports(1)
    dead = {"endpoint": f"http://127.0.0.1:{nobody}", "sending_queue": {"enabled": queue}}
    traces = {"processors": [], "exporters": ["otlp_http/dead"]}
    follows = {
        "exporters": {"otlp_http/dead": dead | {"retry_on_failure": {"enabled": queue}}},
        "service": {"pipelines": {"traces": traces, "metrics/out": {"exporters": ["file/metrics"]}}},
    }
    own = yours(tmp_path, processors={"batch": None}, follows=follows)
    with Collector(tmp_path, ["derive.yaml", *own, *QUICK], {}) as collector:
        collector.folder, collector.service = tmp_path, "refused"
        with Service(collector.otlp_endpoint, collector.service) as sender:
            sender.stream(BROKEN)
            sender.flush()
            sender.stream(BROKEN | {semconv.ROUTE: "/last"})

        def counted():
            metrics = received(collector, "metrics", ("Metrics", "metrics"))
            points = [
                p for metric in metrics if metric["name"] == semconv.ENDED.name for p in metric["sum"]["dataPoints"]
            ]
            return {str(point["attributes"]): int(point["asInt"]) for point in points}

        times = collector.wait_until(lambda: len(counted()) == 2 and min(counted().values()) and counted(), "both")
        assert (set(times.values()) == {1}) is queue


@pytest.mark.parametrize("name", ["nginx", "envoy"])
def test_extension_left_out(tmp_path, name):
    """Whose own list of extensions lacks the one that an overlay writes with is told so, in the words of the guide."""
    configs = ["derive.yaml", f"overlays/{name}.yaml", *yours(tmp_path, **YOURS["usual"])]
    with pytest.raises(StackError, match="storage") as told:
        Collector(tmp_path, configs, {}).start()
    said = "file_storage/queue"
    assert said in str(told.value)
    assert said in (CONFIGURATION.parent / "docs/collector.md").read_text()


def test_nothing_to_complain_about(second):
    """It has logged no warning, error or "please rewrite"."""
    assert complaints(second.log) == []
