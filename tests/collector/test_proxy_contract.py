"""The configuration for proxies' logs against the contract, without running anything."""

import json
import re

import pytest
import yaml

from otel_streaming import semconv
from otel_streaming._dialects import STREAMING_TYPES
from otel_streaming._shape import METHODS
from otel_streaming.semconv import Kind, Origin, Outcome, Reason, Result
from stack.collector import CONFIGURATION

BASE = yaml.safe_load((CONFIGURATION / "config.yaml").read_text())
STATEMENTS = BASE["processors"]["transform/proxy"]["log_statements"][0]["statements"]
DEFINITIONS = {one["name"]: one for one in BASE["connectors"]["signal_to_metrics/streams"]["logs"]}
SHIPPED = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml"}
OVERLAYS = {name: (CONFIGURATION / "overlays" / f"{name}.yaml").read_text() for name in SHIPPED}
RESOURCE = [semconv.SERVICE_NAME, semconv.SERVICE_NAMESPACE, semconv.ENVIRONMENT]
VARIABLES = {
    # Whatever else there is may hold a path, a query, a header or an address.
    "nginx": (
        r"\$(\w+)",
        {"connection", "request_method", "status", "request_time", "body_bytes_sent", "request_completion"}
        | {"upstream_status", "stream_media_type", "stream_asked", "stream_route", "stream_kind"},
    ),
    "haproxy": (
        r"%(\w+|\[[^]]+\])",
        {"HM", "ST", "Ta", "ts", "[var(txn.stream_media_type),json]", "[var(txn.stream_asked)]"}
        | {"[var(txn.stream_route),json]", "[var(txn.stream_kind)]"},
    ),
    "envoy": (
        r"%([^%]+)%",
        {"REQ(:METHOD)", "RESPONSE_CODE", "RESP(CONTENT-TYPE)", "DURATION", "BYTES_SENT", "RESPONSE_FLAGS"}
        | {"METADATA(ROUTE:otel_streaming:route)", "METADATA(ROUTE:otel_streaming:kind)"},
    ),
}


def shipped(name):
    return (CONFIGURATION / "proxies" / SHIPPED[name]).read_text()


def log_format(name):
    """What is logged of each response."""
    return re.split(r"log_format streams|log-format|json_format:", shipped(name))[1]


def table(name):
    """A table of the configuration; a map of OTTL reads as JSON."""
    (found,) = (match for text in STATEMENTS if (match := re.fullmatch(rf'set\(log.cache\["{name}"\], (.+)\)', text)))
    return json.loads(found[1])


def reasons():
    """Every reason that an overlay, or what follows it, can give."""
    text = "".join(OVERLAYS.values()) + "".join(STATEMENTS)
    said = set(re.findall(r'"stream\.reason"\], "(\w+)"\)', text))
    (states,) = re.findall(r'cache\["reason"\], (\{.+?\})', OVERLAYS["haproxy"], re.DOTALL)
    return said | set(json.loads(states).values())


@pytest.mark.parametrize("name", DEFINITIONS)
def test_definition(name):
    """Instrument, unit and labels are the contract's, without the address that only a client's stream has."""
    metric, definition = next(metric for metric in semconv.METRICS if metric.name == name), DEFINITIONS[name]
    assert (definition["unit"], metric.source) == (metric.unit, "collector")
    assert {one["key"] for one in definition["attributes"]} == set(metric.labels) - {semconv.SERVER_ADDRESS}
    assert [one["key"] for one in definition["include_resource_attributes"]] == RESOURCE
    assert definition.get("sum", {}).get("monotonic", False) is (metric.instrument == "counter")


def test_metrics():
    """A proxy's stream is counted when it has ended, and aged when it was cut: by the bounds of every other stream."""
    assert DEFINITIONS.keys() == {semconv.ENDED.name, semconv.INTERRUPTED_DURATION.name}
    spans = BASE["connectors"]["signal_to_metrics/streams"]["spans"]
    (bounds,) = (one["histogram"]["buckets"] for one in spans if one["name"] == semconv.INTERRUPTED_DURATION.name)
    assert DEFINITIONS[semconv.INTERRUPTED_DURATION.name]["histogram"]["buckets"] == bounds


def test_tables():
    """Each reason that can be given has the contract's outcome, and an origin; each outcome a result."""
    assert table("outcome") == {str(reason): str(semconv.REASON_OUTCOME[Reason(reason)]) for reason in reasons()}
    assert table("origin").keys() == reasons()
    assert set(table("origin").values()) <= set(Origin)
    assert table("result").keys() == set(Outcome)
    assert set(table("result").values()) <= set(Result)


def test_protocols_and_methods():
    """What streams is what streams elsewhere, and so are the methods."""
    assert table("protocol") == {media_type: str(protocol) for media_type, protocol in STREAMING_TYPES.items()}
    (methods,) = re.findall(r'body\["method"\], "\^\(([A-Z|]+)\)\$\$"', "".join(STATEMENTS))
    assert set(methods.split("|")) == METHODS


def test_words():
    """What follows the overlays says it in the contract's words."""
    text = "".join(STATEMENTS)
    said = re.findall(r'set\(log.attributes\["(stream\.\w+)"\], "(\w+)"', text)
    vocabulary = {str(attribute): attribute.values for attribute in semconv.ATTRIBUTES if attribute.values}
    assert {attribute for attribute, _ in said} >= {semconv.ROLE, semconv.KIND, semconv.PHASE, semconv.TERMINAL}
    for attribute, word in said:
        assert word in set(vocabulary[attribute]), attribute
    assert re.findall(r"\^\((\w+)\|(\w+)\)", text) == [(Kind.SUBSCRIPTION, Kind.OTHER)]


@pytest.mark.parametrize("name", SHIPPED)
def test_facts(name):
    """Whatever is read of a line, the format that we ship writes; and that names nothing but what it must."""
    written = set(re.findall(r'"(\w+)":"|^ +(\w+): "%', log_format(name), re.MULTILINE))
    read = set(re.findall(r'log\.body\["(\w+)"\]', OVERLAYS[name]))
    assert read - {"seconds"} <= {key for pair in written for key in pair}
    pattern, allowed = VARIABLES[name]
    assert set(re.findall(pattern, log_format(name))) == allowed


@pytest.mark.parametrize("name", SHIPPED)
def test_log(name):
    """By default the overlay reads what the proxy writes, on the same machine."""
    (log,) = re.findall(r"\$\{env:[A-Z]+_LOG:-([^}]+)\}", OVERLAYS[name])
    assert log in shipped(name)
    assert log.startswith(("/var/log/", "127.0.0.1:"))


@pytest.mark.parametrize("name", SHIPPED)
def test_pipeline(name):
    """What an overlay adds is a pipeline and its parts under its own name, so that several overlays go together."""
    overlay = yaml.safe_load(OVERLAYS[name])
    ((pipeline, steps),) = overlay["service"]["pipelines"].items()
    assert pipeline == f"logs/{name}"
    parts = [*overlay["receivers"], *overlay["processors"]]
    assert all(part.endswith(f"/{name}") for part in parts)
    assert steps["processors"][-3:] == [f"transform/{name}", "transform/proxy", "filter/proxy"]
