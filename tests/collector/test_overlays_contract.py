"""The overlays against the contract and against what they say of themselves, without running anything."""

import re
from pathlib import Path

import pytest
import yaml

from otel_streaming import semconv

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    path.stem: path for path in [*sorted((ROOT / "collector/overlays").glob("*.yaml")), ROOT / "collector/agent.yaml"]
}
TEXTS = {name: path.read_text() for name, path in FILES.items()}
BASE_TEXT = (ROOT / "collector/config.yaml").read_text()
BASE = yaml.safe_load(BASE_TEXT)

every_file = pytest.mark.parametrize("name", FILES)


@every_file
def test_environment_is_documented(name):
    """The table at the top names every variable, with the default that the file has."""
    documented = dict(re.findall(r"^#   ([A-Z][A-Z_]+) +(\S+)", TEXTS[name], re.MULTILINE))
    used = re.findall(r"\$\{env:([A-Z_]+)(?::-([^}]+))?\}", TEXTS[name])
    own = {variable: default or "(none)" for variable, default in used}
    own = {
        variable: default for variable, default in own.items() if variable in documented or variable not in BASE_TEXT
    }
    assert documented == own


@every_file
def test_command_is_told(name):
    """The file says with which command it is used, and the files in that command exist."""
    command = re.search(r"(otelcol(?: --config \S+)+)", TEXTS[name])
    assert str(FILES[name].relative_to(ROOT)) in command[1]
    assert all((ROOT / path).exists() for path in re.findall(r"--config (\S+)", command[1]))


@every_file
def test_user_guide(name):
    """A page for users tells of it."""
    assert any(FILES[name].name in page.read_text() for page in (ROOT / "docs").glob("*.md"))


@every_file
def test_attributes_are_known(name):
    """Every ``stream.`` attribute is the contract's, and every word compared with or set is one that it can have."""
    names = set(re.findall(r'attributes\["(stream\.[^"]+)"\]', TEXTS[name]))
    assert names <= set(semconv.ATTRIBUTES)
    words = re.findall(r'attributes\["(stream\.[^"]+)"\](?: [!=]= |, )"([a-z_]\w*)"', TEXTS[name])
    alternatives = re.findall(r'IsMatch\(span\.attributes\["(stream\.[^"]+)"\], "\^\(([^)]+)\)', TEXTS[name])
    words += [(attribute, word) for attribute, several in alternatives for word in several.split("|")]
    vocabulary = {str(attribute): attribute.values for attribute in semconv.ATTRIBUTES if attribute.values}
    for attribute, word in words:
        assert word == semconv.OTHER or word in set(vocabulary[attribute]), attribute


@pytest.mark.parametrize("name", [*FILES, "derive"])
def test_every_component_is_named(name):
    """What is merged with somebody's own configuration shares no name with it, but those two that are to be shared."""
    config = yaml.safe_load((ROOT / "collector/derive.yaml").read_text() if name == "derive" else TEXTS[name])
    kinds = ("receivers", "processors", "connectors", "exporters", "extensions")
    unnamed = {one for kind in kinds for one in config.get(kind, ()) if "/" not in one}
    assert unnamed <= {"otlp", "memory_limiter"} | ({"health_check"} if name == "agent" else set())


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"agent", "kafka-agent"}))
def test_pipelines_that_must_not_change(name):
    """An overlay adds pipelines, says where metrics go, and gives others new ends: it changes nothing in between."""
    for pipeline, steps in yaml.safe_load(TEXTS[name])["service"]["pipelines"].items():
        if pipeline == "metrics/out":
            assert "receivers" not in steps
        elif pipeline in BASE["service"]["pipelines"]:
            assert "processors" not in steps
        if pipeline == "traces/derive":
            assert "otlp" in steps["receivers"]


@pytest.mark.parametrize("name", ["config", "derive", *FILES])
def test_what_waits_is_bounded(name):
    """What waits for whoever is away is bounded: on a disk by less than half of it, in memory by some 200 MB."""
    compose, chart = ((ROOT / file).read_text() for file in ("docker-compose.yml", "deploy/kubernetes/values.yaml"))
    disks = re.findall(r"/otelcol:.*size=(\d+)m", compose) + re.findall(r"sizeLimit: (\d+)Mi", chart)
    disk = min(map(int, disks)) * 2**20
    text = TEXTS[name] if name in FILES else (ROOT / f"collector/{name}.yaml").read_text()
    exporters = yaml.safe_load(text).get("exporters", {})
    for exporter, settings in exporters.items():
        kind = exporter.partition("/")[0]
        if kind == "prometheus_remote_write":  # it can count messages only
            assert settings["remote_write_queue"]["queue_size"] <= 20
        elif kind not in {"debug", "file", "prometheus"} and settings["sending_queue"].get("enabled", True):
            queue = settings["sending_queue"]
            most = {"bytes": disk / 2} if "storage" in queue else {"bytes": 25_000_000, "items": 20_000}
            assert queue["queue_size"] <= most[queue["sizer"]]


def test_every_metric_goes_one_way():
    """What is derived, the ledger and all other metrics, each by one pipeline, meet in the one that hands them on."""
    pipelines = BASE["service"]["pipelines"]
    others = {name: steps for name, steps in pipelines.items() if name.startswith("metrics") and name != "metrics/out"}
    assert all(steps["exporters"] == pipelines["metrics/out"]["receivers"] for steps in others.values())
    (ours,), (theirs,) = (BASE["processors"][f"filter/{name}"]["metrics"]["metric"] for name in ("ledger", "others"))
    assert ours == f'instrumentation_scope.name != "{semconv.SCOPE}"'
    assert theirs == ours.replace("!=", "==")


def test_sampling_has_one_opinion():
    """What goes the short way is what is taken out of the long one, and what keeps a trace."""
    processors = yaml.safe_load(TEXTS["tail-sampling"])["processors"]
    (telling,) = processors["filter/telling"]["traces"]["span"]
    (others,) = processors["filter/not_telling"]["traces"]["span"]
    assert others == f"not ({telling})"
    assert processors["tail_sampling/streams"]["policies"][0]["ottl_condition"]["span"] == [telling]


def test_kafka_halves_meet():
    """Both halves leave topics and encodings to the defaults, which agree, and name the broker the same way."""
    agent = yaml.safe_load(TEXTS["kafka-agent"])["exporters"]["kafka/streams"]
    gateway = yaml.safe_load(TEXTS["kafka-gateway"])["receivers"]["kafka/streams"]
    assert agent["brokers"] == gateway["brokers"]
    assert not {"traces", "metrics", "logs"} & (agent.keys() | gateway.keys())
