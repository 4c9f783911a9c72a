"""The collectors that several files of tests share."""

from types import SimpleNamespace

import pytest
import yaml
from senders import QUICK, Service

from stack import Collector, PrometheusServer, free_ports, recorded
from stack.collector import CONFIGURATION


@pytest.fixture(scope="session")
def process(stack):
    """Make a `Service` of the name, which sends to the stack's collector."""
    return lambda service, instance="1": Service(stack.otlp_endpoint, service, instance)


@pytest.fixture(scope="session")
def pulled(tmp_path_factory):
    """A collector that samples, reads GenAI spans and is scraped, by a Prometheus that also takes remote write."""
    folder = tmp_path_factory.mktemp("pulled")
    (scraped,) = free_ports(1)
    settings = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s"}
    targets = [{"targets": [f"127.0.0.1:{scraped}"]}]
    settings["scrape_configs"] = [{"job_name": "streams", "honor_labels": True, "static_configs": targets}]
    configs = ["config.yaml", *(f"overlays/{name}.yaml" for name in ("tail-sampling", "genai", "scrape")), QUICK[0]]
    kept = "yaml:exporters::file/kept"
    configs += [f"{kept}::path: {folder / 'kept.jsonl'}", f"{kept}::flush_interval: 100ms"]
    env = {
        "SCRAPE_ENDPOINT": f"127.0.0.1:{scraped}",
        "SCRAPE_INTERVAL": "2s",
        "GENAI_WAIT": "1s",
        "LONGEST_STREAM": "60s",
        "AFTER_ROOT": "1s",
        "SAMPLE_PERCENT": "10",
        "TRACES_EXPORTER": "file/kept",
    }
    collector = Collector(folder, configs, env)
    prometheus = PrometheusServer(folder, settings, "--web.enable-remote-write-receiver")
    both = SimpleNamespace(
        otlp_endpoint=collector.otlp_endpoint,
        metrics=f"http://127.0.0.1:{scraped}/metrics",
        wait_until=collector.wait_until,
        log=collector.log,
        prometheus=prometheus.client,
        kept=lambda: list(recorded.read(folder / "kept.jsonl", "Spans", "spans")),
    )
    with prometheus, collector:
        prometheus.wait_until(lambda: both.prometheus.value("up") == 1, "the first scrape")
        yield both
