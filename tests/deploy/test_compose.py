"""docker-compose.yml, as far as it can be held without a container engine."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from demo.faults import FAULTS, FIRST_TOKEN_TIMEOUT, ROUTES, STALL_THRESHOLD
from stack import find_or_build

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
TEXT = FILE.read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
BUILT = [service["image"] for service in SERVICES.values() if "build" in service]

every_service = pytest.mark.parametrize("name", SERVICES)


def mounts(service):
    """Source, target and mode of what is mounted."""
    return [volume.split(":") for volume in service.get("volumes", ())]


def test_compose_reads_it(compose):
    """The reader of ``docker compose`` takes the file, with no variable set and no warning, as what it says."""
    model = compose(FILE)
    assert not isinstance(model, str), model
    assert model["services"].keys() == SERVICES.keys()


def test_compose_is_strict(compose, tmp_path):
    """What is misspelt does not pass."""
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(TEXT.replace("read_only", "readonly"))
    assert "readonly" in compose(wrong)


def test_environment_is_documented():
    """The table at the top names every variable, with the default that the file has."""
    documented = dict(re.findall(r"^#   ([A-Z][A-Z_]+) +(\S+)", TEXT, re.MULTILINE))
    assert documented == dict(re.findall(r"\$\{([A-Z_]+):-(\w+)\}", TEXT))
    assert len(documented) == TEXT.count("${")


@every_service
def test_published_ports(name):
    """Nothing is published beyond this machine."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@every_service
def test_image_is_pinned(name):
    """Every image has a version, or is built here."""
    image = SERVICES[name]["image"]
    assert re.search(r":v?\d+\.\d+\.\d+$", image) or image in BUILT


def test_built_here():
    """What is built here is built once (Compose builds all at a time), looked for nowhere else, and stops when told."""
    own = [service for service in SERVICES.values() if service["image"] in BUILT]
    assert len(BUILT) == 1 < len(own)
    assert all((service["pull_policy"], service["init"]) == ("never", True) for service in own)


def test_versions_agree():
    """The collector is the one of which the distribution is built; Prometheus likewise."""
    collector = (ROOT / "collector/distribution/builder.yaml").read_text()
    assert f"version: {SERVICES['collector']['image'].partition(':')[2]}," in collector
    prometheus = (ROOT / "collector/distribution/prometheus/go.mod").read_text()
    _, minor, patch = SERVICES["prometheus"]["image"].partition(":v")[2].split(".")
    assert f"github.com/prometheus/prometheus v0.{int(minor) + 300}.{patch}" in prometheus


@every_service
def test_kept_small(name):
    """Every container is limited, cannot write but where it must, gains no privilege, and is started again."""
    service = SERVICES[name]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("no" if name == "ready" else "unless-stopped")


@every_service
def test_files_exist(name):
    """Every file and folder that is mounted exists, and is not written to."""
    for source, _, *mode in mounts(SERVICES[name]):
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert mode == ["ro"]


@every_service
def test_waits_for_health(name):
    """A service waits for the health of what it needs; without a check of its own, its health is what `ready` asks."""
    asked = " ".join(SERVICES["ready"]["command"])
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        if "healthcheck" in SERVICES[needed]:
            assert how == {"condition": "service_healthy"}
        elif needed == "ready":
            assert how == {"condition": "service_completed_successfully"}
        else:
            assert f"http://{needed}:" in asked
    assert "healthcheck" in SERVICES[name] or name in {"ready", "traffic"} or f"http://{name}:" in asked


def test_addresses():
    """Every address in a setting is that of a service."""
    hosts = set(re.findall(r"http://([a-z]+)[:/]", TEXT))
    assert hosts <= SERVICES.keys()


def test_collector_environment():
    """Every variable set for the collector is one that its configuration reads."""
    assert set(SERVICES["collector"]["environment"]) <= set(
        re.findall(r"\$\{env:([A-Z_]+)", (ROOT / "collector/config.yaml").read_text())
    )


def test_collector_memory():
    """What lies in a tmpfs is charged to the container: a full one leaves room for what the limiter lets in."""
    limiter = yaml.safe_load((ROOT / "collector/config.yaml").read_text())["processors"]["memory_limiter"]
    share = (limiter["limit_percentage"] - limiter["spike_limit_percentage"]) / 100
    service = SERVICES["collector"]
    (tmpfs,) = (int(size) for mount in service["tmpfs"] for size in re.findall(r"size=(\d+)m", mount))
    limit = service["deploy"]["resources"]["limits"]["memory"]
    memory = int(limit[:-1]) * {"M": 1, "G": 1024}[limit[-1]]
    assert tmpfs + share * memory < 0.9 * memory


def test_grafana_environment():
    """The provisioning reads exactly what is set for it, and documents it; the rest is Grafana's own."""
    files = sorted((ROOT / "collector/grafana").glob("*/*.yaml"))
    texts = [file.read_text() for file in files]
    used = {name for text in texts for name in re.findall(r"(?<!\$)\$\{([A-Z_]+)\}", text)}
    documented = {name for text in texts for name in re.findall(r"^#   ([A-Z_]+) ", text, re.MULTILINE)}
    environment = SERVICES["grafana"]["environment"]
    assert used == documented == {name for name in environment if not name.startswith("GF_")}
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] != "Admin"


def test_grafana_mounts():
    """What is provisioned lies where Grafana looks, and the dashboards where the provisioning says."""
    targets = {target: source for source, target, *_ in mounts(SERVICES["grafana"])}
    for kind in ("datasources", "dashboards"):
        assert targets[f"/etc/grafana/provisioning/{kind}"] == f"./collector/grafana/{kind}"
    environment = SERVICES["grafana"]["environment"]
    assert targets[environment["DASHBOARDS"]] == "./dashboards/out"
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / "dashboards/out" / home.relative_to(environment["DASHBOARDS"])).exists()


def test_ways_between_data_sources():
    """Exemplars, spans and log records lead to a data source that is there, of the right type."""
    file = ROOT / "collector/grafana/datasources/streaming.yaml"
    sources = {source["uid"]: source for source in yaml.safe_load(file.read_text())["datasources"]}
    assert {uid: source["type"] for uid, source in sources.items()} == {uid: uid for uid in sources}
    data = {uid: source["jsonData"] for uid, source in sources.items()}
    assert [one["datasourceUid"] for one in data["prometheus"]["exemplarTraceIdDestinations"]] == ["tempo"]
    assert [one["datasourceUid"] for one in data["loki"]["derivedFields"]] == ["tempo"]
    assert data["tempo"]["tracesToLogsV2"]["datasourceUid"] == "loki"
    assert data["tempo"]["tracesToMetrics"]["datasourceUid"] == "prometheus"


def test_prometheus_finds_its_files():
    """What prometheus.yml names beside itself is mounted beside it, and exists without containers too."""
    folder = ROOT / "collector"
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    [pattern] = config["rule_files"]
    [targets] = config["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert list(folder.glob(pattern))
    assert (folder / targets).exists()
    mounted = {target for _, target, *_ in mounts(SERVICES["prometheus"])}
    assert {f"/etc/streams/collector/{name}" for name in ("prometheus.yml", targets)} <= mounted
    assert "/etc/streams/" + str(Path(pattern).parent).removeprefix("../") in mounted


def test_prometheus_takes_its_files():
    """The real promtool takes prometheus.yml as it is, with the rules and targets that it names."""
    command = [find_or_build("promtool"), "check", "config", ROOT / "collector/prometheus.yml"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("rules found") == len(list((ROOT / "dashboards/out/rules").glob("*.yaml")))


def test_demo_is_told_what_the_traffic_does():
    """The service has a product for every fault, the demo's routes and its patience."""
    environment = SERVICES["chat"]["environment"]
    assert environment["PRODUCTS"] == ",".join(fault.product for fault in FAULTS)
    assert environment["OTEL_PYTHON_STREAMING_ROUTES"] == ",".join(ROUTES)
    assert float(environment["OTEL_PYTHON_STREAMING_STALL_THRESHOLD"]) == STALL_THRESHOLD
    assert float(environment["FIRST_TOKEN_TIMEOUT"]) == FIRST_TOKEN_TIMEOUT
