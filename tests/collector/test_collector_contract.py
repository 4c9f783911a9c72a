"""The collector's configuration against the contract in `otel_streaming.semconv`, without running anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from senders import QUICK

from otel_streaming import semconv
from tests.chaos.scenarios import OFTEN

COLLECTOR = Path(__file__).resolve().parents[2] / "collector"
TEXT = (COLLECTOR / "config.yaml").read_text()
CONFIG = yaml.safe_load(TEXT)
SPAN_METRICS = CONFIG["connectors"]["span_metrics/streams"]
SIGNAL_TO_METRICS = CONFIG["connectors"]["signal_to_metrics/streams"]["spans"]
DERIVED = {metric.name: metric for metric in semconv.METRICS if metric.source == "collector"}
OWN = ("derived.", "collector.instance.id", "service.instance.id", "signal_to_metrics.service.instance.id")
INSTRUMENTS = {"sum": "counter", "histogram": "histogram"}
RESOURCE = [semconv.SERVICE_NAME, semconv.SERVICE_NAMESPACE, semconv.ENVIRONMENT]


def test_generated_files_are_up_to_date():
    """What stands in front of somebody's own, and the operator's resource, carry the configuration as it is today."""
    command = [sys.executable, COLLECTOR / "write.py", "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def test_what_stands_in_front():
    """It has all that derives, by the pipelines of the one file, and nothing that listens, writes or reports."""
    derive = yaml.safe_load((COLLECTOR / "derive.yaml").read_text())
    assert {kind: derive[kind] for kind in ("processors", "connectors")} == {
        kind: CONFIG[kind] for kind in ("processors", "connectors")
    }
    assert "receivers" not in derive
    assert derive["exporters"].keys() == {"otlp_http/prometheus"}
    assert derive["service"] == {
        "pipelines": {name: steps for name, steps in CONFIG["service"]["pipelines"].items() if "/" in name}
    }


def keys(entries, key="key"):
    return [entry[key] for entry in entries]


def test_every_metric_is_derived():
    """Whatever the contract says comes from the collector is there, and nothing else."""
    assert {*keys(SIGNAL_TO_METRICS, "name"), "stream.ended", "stream.duration"} == DERIVED.keys()
    assert (SPAN_METRICS["namespace"], SPAN_METRICS["histogram"]["unit"]) == ("stream", "s")


@pytest.mark.parametrize("definition", SIGNAL_TO_METRICS, ids=lambda definition: definition["name"])
def test_definition(definition):
    """Instrument, unit and labels are the contract's; a sum without ``monotonic`` would lose its ``_total``."""
    metric = DERIVED[definition["name"]]
    (instrument,) = INSTRUMENTS.keys() & definition.keys()
    assert (INSTRUMENTS[instrument], definition["unit"]) == (metric.instrument, metric.unit)
    assert set(keys(definition["attributes"])) == set(metric.labels)
    assert keys(definition["include_resource_attributes"]) == RESOURCE
    if instrument == "sum":
        assert definition["sum"]["monotonic"] is True


def test_span_metrics_labels():
    """The histogram has the contract's labels, the counter those and its own."""
    both = keys(SPAN_METRICS["dimensions"], "name")
    counter = keys(SPAN_METRICS["calls_dimensions"], "name")
    assert set(both) == set(semconv.DURATION.labels)
    assert {*both, *counter} == set(semconv.ENDED.labels)
    assert SPAN_METRICS["resource_metrics_key_attributes"] == RESOURCE


def test_gap_histogram():
    """Twelve definitions, one per count of the span, each with a value that falls into that count's bucket."""
    gaps = [definition["histogram"] for definition in SIGNAL_TO_METRICS if definition["name"] == semconv.GAP.name]
    edges = [0.0, *semconv.GAP_BOUNDS, float("inf")]
    assert len(gaps) == len(edges) - 1
    for index, (gap, low, high) in enumerate(zip(gaps, edges[:-1], edges[1:], strict=True)):
        assert gap["buckets"] == list(semconv.GAP_BOUNDS)
        assert gap["count"] == f'Int(span.attributes["{semconv.CHUNK_GAP_COUNTS}"][{index}])'
        assert low < float(gap["value"]) <= high


def test_attributes_are_known():
    """Every attribute in a statement or condition is in the contract, or the configuration's own."""
    names = set(re.findall(r'attributes\["([^"]+)"\]', TEXT))
    assert {name for name in names if not name.startswith(OWN)} <= set(semconv.ATTRIBUTES)


def test_compared_words_are_known():
    """Every word that a condition compares with is one that the attribute can have."""
    compared = re.findall(r'attributes\["(stream\.[^"]+)"\] [!=]= "([^"]+)"', TEXT)
    vocabulary = {str(name): name.values for name in semconv.ATTRIBUTES if name.values}
    vocabulary[semconv.COUNTED_BY] = ["sdk"]
    assert compared
    for name, word in compared:
        assert word in set(vocabulary[name]), name


@pytest.mark.parametrize("setting", [*(one.removeprefix("yaml:") for one in QUICK), *OFTEN])
def test_settings_of_tests_are_there(setting):
    """What tests set otherwise is set: one under another name would be taken, and do nothing."""
    kind, component, key = setting.rpartition(": ")[0].split("::")
    assert key in CONFIG[kind][component]


def test_scope():
    """The scope that is derived is ours."""
    assert f'instrumentation_scope.name != "{semconv.SCOPE}"' in TEXT


def test_environment_is_documented():
    """The table at the top names every variable, with the default that the configuration has."""
    documented = dict(re.findall(r"^#   ([A-Z][A-Z_]+) +(\S+)", TEXT, re.MULTILINE))
    assert documented == dict(re.findall(r"\$\{env:([A-Z_]+):-([^}]+)\}", TEXT))


def test_listens_on_loopback_only():
    """By default nothing is reachable from outside."""
    defaults = dict(re.findall(r"\$\{env:(COLLECTOR_(?:OTLP_\w+|HEALTH|METRICS_HOST)):-([^}]+)\}", TEXT))
    assert len(defaults) == 4
    assert all(default.startswith("127.0.0.1") for default in defaults.values())


def test_where_it_refuses():
    """The pages say at what share of its memory a collector refuses: what is left for spikes below the limit."""
    limiter = CONFIG["processors"]["memory_limiter"]
    share = f"{limiter['limit_percentage'] - limiter['spike_limit_percentage']} %"
    assert all(share in (COLLECTOR.parent / f"docs/{page}.md").read_text() for page in ("deploy", "load"))


def test_prometheus_labels():
    """Prometheus makes labels of the resource attributes that the connectors keep, and translates as semconv does."""
    otlp = yaml.safe_load((COLLECTOR / "prometheus.yml").read_text())["otlp"]
    assert otlp["translation_strategy"] == "UnderscoreEscapingWithSuffixes"
    assert set(otlp["promote_resource_attributes"]) == {*RESOURCE, "service.instance.id"}
