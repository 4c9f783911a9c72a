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


def test_pipelines_that_must_not_change():
    """No overlay touches how our own spans are derived, but for further receivers."""
    for text in TEXTS.values():
        config = yaml.safe_load(text)
        derive = config["service"]["pipelines"].get("traces/derive", {})
        assert derive.keys() <= {"receivers"}
        assert "otlp" in derive.get("receivers", ["otlp"])


@pytest.mark.parametrize("name", ["scrape", "remote-write", "otlp-backend"])
def test_processors_are_the_base_s(name):
    """Where an overlay names the processors of a pipeline anew, they are the base's, in its order, and its own."""
    for pipeline, config in yaml.safe_load(TEXTS[name])["service"]["pipelines"].items():
        base = BASE["service"]["pipelines"][pipeline]["processors"]
        assert config.get("processors", base)[: len(base)] == base


def test_sampling_has_one_opinion():
    """What goes the short way is what is taken out of the long one, and what keeps a trace."""
    processors = yaml.safe_load(TEXTS["tail-sampling"])["processors"]
    (telling,) = processors["filter/telling"]["traces"]["span"]
    (others,) = processors["filter/not_telling"]["traces"]["span"]
    assert others == f"not ({telling})"
    assert processors["tail_sampling"]["policies"][0]["ottl_condition"]["span"] == [telling]


def test_kafka_halves_meet():
    """Both halves leave topics and encodings to the defaults, which agree, and name the broker the same way."""
    agent = yaml.safe_load(TEXTS["kafka-agent"])["exporters"]["kafka"]
    gateway = yaml.safe_load(TEXTS["kafka-gateway"])["receivers"]["kafka"]
    assert agent["brokers"] == gateway["brokers"]
    assert not {"traces", "metrics", "logs"} & (agent.keys() | gateway.keys())
