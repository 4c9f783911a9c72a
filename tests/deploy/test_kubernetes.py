"""The files for Kubernetes, as far as they can be held without a cluster.

The operator's and the chart's own schemas are not to be had here: what is known of them, for the keys that are used,
stands in the tables below.
"""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from otel_streaming._config import PREFIX, Settings
from stack import find_or_build

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy" / "kubernetes"
COLLECTOR, INSTRUMENTATION, SERVICE, VALUES = (
    yaml.safe_load((HERE / f"{name}.yaml").read_text())
    for name in ("collector", "instrumentation", "service", "values")
)
CONTAINER = SERVICE["spec"]["template"]["spec"]["containers"][0]
GRACE = SERVICE["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

ENV = [{"name": str, "value": str}]
RESOURCES = {"requests": {"cpu": str, "memory": str}, "limits": {"memory": str}}
CONFINED = {"allowPrivilegeEscalation": bool, "readOnlyRootFilesystem": bool, "capabilities": {"drop": [str]}}
POD = {"runAsNonRoot": bool, "runAsUser": int, "fsGroup": int}
VOLUMES = [{"name": str, "emptyDir": {"sizeLimit": str}}]
MOUNTS = [{"name": str, "mountPath": str}]
CRD_COLLECTOR = {
    "apiVersion": "opentelemetry.io/v1beta1",
    "kind": "OpenTelemetryCollector",
    "metadata": {"name": str},
    "spec": {
        "mode": {"daemonset", "deployment", "sidecar", "statefulset"},
        "replicas": int,
        "image": str,
        "resources": RESOURCES,
        "terminationGracePeriodSeconds": int,
        "podSecurityContext": POD,
        "securityContext": CONFINED,
        "env": ENV,
        "volumes": VOLUMES,
        "volumeMounts": MOUNTS,
        "config": dict.fromkeys(("receivers", "processors", "connectors", "exporters", "extensions", "service"), dict),
    },
}
CRD_INSTRUMENTATION = {
    "apiVersion": "opentelemetry.io/v1alpha1",
    "kind": "Instrumentation",
    "metadata": {"name": str},
    "spec": {
        "exporter": {"endpoint": str},
        "propagators": [{"tracecontext", "baggage", "b3", "b3multi", "jaeger", "xray", "ottrace", "none"}],
        "python": {"image": str, "env": ENV, "resourceRequirements": RESOURCES},
    },
}
CHART = {
    "mode": {"daemonset", "deployment", "statefulset"},
    "replicaCount": int,
    "image": {"repository": str, "tag": str},
    "configMap": {"create": bool, "existingName": str},
    "extraEnvs": ENV,
    "extraVolumes": VOLUMES,
    "extraVolumeMounts": MOUNTS,
    "ports": {
        name: {"enabled": bool} for name in ("metrics", "jaeger-compact", "jaeger-thrift", "jaeger-grpc", "zipkin")
    },
    "resources": RESOURCES,
    "podSecurityContext": POD,
    "securityContext": CONFINED,
}


def faults(value, known, path=""):
    """Where a value is not what is known of it."""
    match known:
        case type():
            return [] if type(value) is known else [path]
        case set():
            return [] if value in known else [path]
        case [item]:
            return [fault for n, one in enumerate(value) for fault in faults(one, item, f"{path}[{n}]")]
        case dict():
            strange = [f"{path}.{key}" for key in value.keys() - known.keys()]
            return strange + [
                f for key in value.keys() & known.keys() for f in faults(value[key], known[key], f"{path}.{key}")
            ]
        case _:
            return [] if value == known else [path]


@pytest.mark.parametrize(
    ("file", "known"), [(COLLECTOR, CRD_COLLECTOR), (INSTRUMENTATION, CRD_INSTRUMENTATION), (VALUES, CHART)]
)
def test_keys(file, known):
    """Only keys that are known, of the right type."""
    assert not faults(file, known)


def test_keys_are_looked_at():
    """A key that is not known, and a value of the wrong type, are found."""
    wrong = {**VALUES, "mod": "deployment", "replicaCount": "1", "mode": "pod"}
    assert sorted(faults(wrong, CHART)) == [".mod", ".mode", ".replicaCount"]


def test_collector_takes_it(tmp_path):
    """The real collector takes what is in the resource; there is no null in it, which the API server would drop."""
    assert "null" not in re.findall(r": *(\S+)$", (HERE / "collector.yaml").read_text(), re.MULTILINE)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(COLLECTOR["spec"]["config"]))
    command = [find_or_build("otelcol"), "validate", f"--config={tmp_path / 'config.yaml'}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_both_ways_are_alike():
    """Chart and operator run one image with one environment, the operator's put in where it reads it."""
    assert f"{VALUES['image']['repository']}:{VALUES['image']['tag']}" == COLLECTOR["spec"]["image"]
    generated = (ROOT / "collector/write.py").read_text()
    for variable in VALUES["extraEnvs"]:
        assert f'"{variable["name"]}": "{variable["value"]}"' in generated
    assert VALUES["resources"] == COLLECTOR["spec"]["resources"]


def test_endpoint():
    """Services send to the service that the operator makes of the collector."""
    assert INSTRUMENTATION["spec"]["exporter"]["endpoint"] == f"http://{COLLECTOR['metadata']['name']}-collector:4318"
    annotations = SERVICE["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"instrumentation.opentelemetry.io/inject-python": INSTRUMENTATION["metadata"]["name"]}


def test_grace():
    """A pod is killed only after the server has given up on its last stream, and the last export has gone out."""
    server = int(CONTAINER["args"][CONTAINER["args"].index("--timeout-graceful-shutdown") + 1])
    assert CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"] + server + 5 < GRACE


def test_settings():
    """The settings are ours, and the recorder's folder is a volume of the pod."""
    own = {PREFIX + name.upper() for name in Settings.__dataclass_fields__}
    set_here = {one["name"]: one["value"] for one in CONTAINER["env"]}
    assert set_here.keys() <= own
    mounts = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in SERVICE["spec"]["template"]["spec"]["volumes"]}
    assert "emptyDir" in volumes[mounts[set_here[f"{PREFIX}STATE_DIR"]]]


@pytest.mark.parametrize("file", ["demo/Dockerfile", "deploy/kubernetes/Dockerfile"])
def test_dockerfile(file):
    """What an image is made of exists and is not ignored; it has a version; nothing runs as root."""
    text = (ROOT / file).read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored
    assert all(":" in image for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    pinned = (ROOT / "constraints.txt").read_text().lower()
    [packages] = re.findall(r"-c constraints.txt '.\[otlp\]' ([^&]+)", text)
    assert all(f"\n{name}==" in pinned for name in packages.replace("\\\n", "").split())
    assert f"-f {file} " in text


def test_injected_where_the_operator_copies_from():
    """The image has the packages in the folder that the operator copies, and something to copy with."""
    text = (HERE / "Dockerfile").read_text()
    assert "--target /autoinstrumentation" in text
    assert re.search(
        r"^FROM busybox:\S+\nCOPY --from=build /autoinstrumentation /autoinstrumentation\nRUN ln -s .*-musl$",
        text,
        re.MULTILINE,
    )
