"""The way from an agent by a gateway to a backend, over TLS and with a token; and what there is for Kafka."""

import ssl
import urllib.error
import urllib.request

import pytest
import yaml
from certificates import certificate
from senders import QUICK, complaints, send

from otel_streaming import semconv
from stack import Collector, Process, find_or_build, recorded, wait_until
from stack.collector import CONFIGURATION

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    """A backend as one buys it: OTLP over TLS for who has a token; it writes down what it gets."""
    folder = tmp_path_factory.mktemp("backend")
    certificate(folder)
    protocol = {
        "endpoint": "${env:COLLECTOR_OTLP_HTTP}",
        "tls": {"cert_file": str(folder / "cert.pem"), "key_file": str(folder / "key.pem")},
        "auth": {"authenticator": "bearertokenauth"},
    }
    config = {
        "extensions": {
            "health_check": {"endpoint": "${env:COLLECTOR_HEALTH}"},
            "bearertokenauth": {"token": "right", "header": "x-api-key", "scheme": ""},
        },
        "receivers": {"otlp": {"protocols": {"http": protocol}}},
        "service": {"extensions": ["health_check", "bearertokenauth"]},
    }
    (folder / "backend.yaml").write_text(yaml.safe_dump(config))
    configs = [folder / "backend.yaml", "overlays/record.yaml"]
    with Collector(folder, configs, {"RECORD_FOLDER": str(folder)}, "backend") as collector:
        collector.folder = folder
        collector.url = collector.otlp_endpoint.replace("http:", "https:")
        yield collector


def gateway(folder, backend, token):
    env = {
        "BACKEND_OTLP": backend.url,
        "BACKEND_CA": str(backend.folder / "cert.pem"),
        "BACKEND_TOKEN": token,
        "BACKEND_HEADER": "x-api-key",
        "BACKEND_SCHEME": "",
    }
    return Collector(folder, ["config.yaml", "overlays/otlp-backend.yaml", *QUICK], env, f"gateway-{token}")


@pytest.fixture(scope="module")
def agent(backend, tmp_path_factory):
    """An agent that hands over to a gateway that derives for the backend."""
    folder = tmp_path_factory.mktemp("node")
    with gateway(folder, backend, "right") as deriving:
        env = {"GATEWAY_OTLP": deriving.otlp_endpoint}
        with Collector(folder, ["agent.yaml", QUICK[0]], env, "agent") as collector:
            yield collector


def test_agent_gateway_backend(agent, backend):
    """What a service sends to its agent reaches the backend, all three signals; the gateway has derived its metrics."""
    send(agent.otlp_endpoint, "far", 7)

    def received(file, items, what):
        def of_service():
            read = recorded.read(backend.folder / f"{file}.jsonl", *items)
            return [item for item in read if item["resource"].get("service.name") == "far" and what(item)]

        return wait_until(of_service, f"{file} at the backend", processes=(agent, backend))

    def seven(name, points):
        def so_far(item):
            return item["name"] == name and int(item["sum"]["dataPoints"][-1]["asInt"]) == points

        return so_far

    spans = received("traces", ("Spans", "spans"), lambda span: span["attributes"].get(semconv.OUTCOME) == "truncated")
    assert {span["scope"] for span in spans} == {semconv.SCOPE}
    received("logs", ("Logs", "logRecords"), lambda record: record["eventName"] == "stream.end")
    received("metrics", ("Metrics", "metrics"), seven(semconv.LEDGER_ENDED.name, 7))
    received("metrics", ("Metrics", "metrics"), seven(semconv.ENDED.name, 7))
    received("metrics", ("Metrics", "metrics"), seven(semconv.SIZES.name, 7000))


def test_nothing_to_complain_about(agent, backend):
    """Neither agent, gateway nor backend has logged a warning or an error."""
    logs = [backend.log, *agent.log.parent.glob("*.log")]
    assert len(logs) == 3
    assert [complaint for log in logs for complaint in complaints(log)] == []


def test_backend_wants_a_token(backend, tmp_path):
    """The backend refuses who has no token or another one; the collector then says so."""
    trusted = ssl.create_default_context(cafile=backend.folder / "cert.pem")
    request = urllib.request.Request(f"{backend.url}/v1/traces", b"{}", {"content-type": "application/json"})
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(request, context=trusted)
    refused.value.close()
    with gateway(tmp_path, backend, "wrong") as collector:
        send(collector.otlp_endpoint, "refused", 1)
        collector.wait_until(lambda: "401" in collector.log.read_text(), "the refusal in its log")
    text = (backend.folder / "traces.jsonl").read_text() if (backend.folder / "traces.jsonl").exists() else ""
    assert "refused" not in text


def test_no_token_no_start(tmp_path):
    """Without a token the collector says what is missing instead of sending without."""
    configs = [f"--config={CONFIGURATION / name}" for name in ("config.yaml", "overlays/otlp-backend.yaml")]
    with Process("otelcol", [find_or_build("otelcol"), "validate", *configs], tmp_path / "log") as collector:
        assert collector.wait() == 1
    assert "no bearer token provided" in collector.log.read_text()


@pytest.mark.parametrize("half", [("agent.yaml", "kafka-agent.yaml"), ("config.yaml", "kafka-gateway.yaml")])
def test_kafka_is_accepted(half, tmp_path):
    """The collector accepts both halves of the way through Kafka, and knows every key in them."""
    base, overlay = half
    configs = [CONFIGURATION / base, CONFIGURATION / "overlays" / overlay]

    def validate(*more):
        argv = [find_or_build("otelcol"), "validate", *(f"--config={config}" for config in (*configs, *more))]
        with Process("otelcol", argv, tmp_path / "log") as collector:
            return collector.wait(), collector.log.read_text()

    assert validate() == (0, "")
    kind = "exporters" if "agent" in overlay else "receivers"
    code, said = validate(f"yaml:{kind}::kafka/streams::broker: typo")
    assert (code, "invalid keys: broker" in said) == (1, True), said
