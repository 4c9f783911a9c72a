"""Write ``collector.yaml``, which carries ``collector/config.yaml``.

``python deploy/kubernetes/write_collector.py [--check]``. The operator wants the configuration inside its
resource, and reads addresses from it to open ports: those are put in, everything else stays as it is, its environment
variables too.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "collector" / "config.yaml"
OUT = HERE / "collector.yaml"
FIXED = {
    "COLLECTOR_OTLP_GRPC": "0.0.0.0:4317",
    "COLLECTOR_OTLP_HTTP": "0.0.0.0:4318",
    "COLLECTOR_HEALTH": "0.0.0.0:13133",
    "COLLECTOR_METRICS_HOST": "0.0.0.0",  # noqa: S104 reachable inside the cluster
    "COLLECTOR_METRICS_PORT": "8888",
    "COLLECTOR_QUEUE": "/var/lib/otelcol/queue",
    "TRACES_EXPORTER": "otlp_http/traces",
    "LOGS_EXPORTER": "otlp_http/logs",
}
"""What a pod listens on and writes to."""
YOURS = {
    "PROMETHEUS_OTLP": "http://prometheus:9090/api/v1/otlp",
    "TRACES_OTLP": "http://tempo:4318",
    "LOGS_OTLP": "http://loki:3100/otlp",
}
"""Where backends are: to be changed in the resource."""
HEAD = """\
# The collector for the OpenTelemetry operator; `env` says where your backends are.
# Written by deploy/kubernetes/write_collector.py from collector/config.yaml, which has the comments.
"""


class _Plain(yaml.SafeDumper):
    """Every alias written out: not everything that reads a resource knows them."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def _no_null(value: Any) -> Any:
    """Empty objects for nulls, which the API server drops together with their key."""
    if isinstance(value, dict):
        return {key: {} if inner is None else _no_null(inner) for key, inner in value.items()}
    return value


def config() -> dict[str, Any]:
    """Return the collector's configuration as it is in a pod."""
    text = CONFIG.read_text(encoding="utf-8")
    for name, value in FIXED.items():
        text = re.sub(rf"\$\{{env:{name}:-[^}}]*\}}", value, text)
    found: dict[str, Any] = _no_null(yaml.safe_load(text))
    return found


def resource() -> str:
    """Return the file."""
    spec = {
        "mode": "deployment",
        "replicas": 1,
        "image": "otel/opentelemetry-collector-contrib:0.156.0",
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "terminationGracePeriodSeconds": 60,
        "podSecurityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "env": [{"name": name, "value": value} for name, value in YOURS.items()],
        "volumes": [{"name": "queue", "emptyDir": {"sizeLimit": "256Mi"}}],
        "volumeMounts": [{"name": "queue", "mountPath": "/var/lib/otelcol"}],
        "config": config(),
    }
    kind = {"apiVersion": "opentelemetry.io/v1beta1", "kind": "OpenTelemetryCollector", "metadata": {"name": "streams"}}
    return HEAD + yaml.dump({**kind, "spec": spec}, Dumper=_Plain, sort_keys=False, width=120)


def main() -> int:
    """Write the file or, with ``--check``, return 1 when it is out of date."""
    parser = argparse.ArgumentParser(description="Write the operator's resource of the collector.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is out of date")
    if not parser.parse_args().check:
        OUT.write_text(resource(), encoding="utf-8")
    elif not OUT.exists() or OUT.read_text(encoding="utf-8") != resource():
        print(f"{OUT}: out of date, run {Path(__file__).name}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
