"""Write what follows from ``config.yaml``: ``python collector/write.py [--check]``.

``derive.yaml`` stands in front of a configuration that somebody has: the part of it that derives. The operator's
resource carries all of it. The operator reads addresses from it to open ports: those are put in, everything else stays
as it is, its environment variables too.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
CONFIG = HERE / "config.yaml"
DERIVE = HERE / "derive.yaml"
OPERATOR = HERE.parent / "deploy" / "kubernetes" / "collector.yaml"

DERIVE_HEAD = """\
# What derives the metrics of streams, to stand in front of the configuration of a collector that you have:
#   otelcol --config collector/derive.yaml --config yours.yaml
# Your receiver is called `otlp`; nothing that you have is touched. docs/collector.md has the rest.
# Written by collector/write.py: collector/config.yaml without what a collector has anyway.
#
# Environment (all optional):
#   COLLECTOR_QUEUE   ./otelcol-queue                     used only where `service: extensions` has file_storage/queue
#   PROMETHEUS_OTLP   http://127.0.0.1:9090/api/v1/otlp   a Prometheus with the flags and settings of prometheus.yml

"""
ALONE = {
    ("extensions", "health_check"),
    ("receivers",),
    ("exporters", "debug"),
    ("exporters", "otlp_http/traces"),
    ("exporters", "otlp_http/logs"),
    ("exporters", "otlp_http/prometheus", "sending_queue", "storage"),
    ("service", "extensions"),
    ("service", "telemetry"),
    ("service", "pipelines", "traces"),
    ("service", "pipelines", "metrics"),
    ("service", "pipelines", "logs"),
}
"""Keys of what only a collector needs that has no other configuration."""
IN_MEMORY = ("queue_size: 100000000", "queue_size: 25000000 # as sent: some 100 MB of memory, for want of `storage`")
"""What waits on disk there waits in memory here, where it takes four times the bytes that are counted."""

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
OPERATOR_HEAD = """\
# The collector for the OpenTelemetry operator; `env` says where your backends are.
# Written by collector/write.py from collector/config.yaml, which has the comments.
"""


def derive() -> str:
    """Return the configuration without its head and `ALONE`, comments and all, its queue `IN_MEMORY`."""
    kept: list[str] = []
    path: list[str] = []
    cut: int | None = None
    text = CONFIG.read_text(encoding="utf-8")
    for line in text[text.index("extensions:") :].splitlines():
        indent = len(line) - len(line.lstrip())
        if cut is not None and (not line or indent > cut):
            continue
        cut = None
        if key := re.match(r" *([\w/]+):", line):
            path[indent // 2 :] = [key[1]]
            cut = indent if tuple(path) in ALONE else None
        if cut is None:
            kept.append(line)
    return DERIVE_HEAD + "\n".join(kept).replace(*IN_MEMORY) + "\n"


class _Plain(yaml.SafeDumper):
    """Every alias written out: not everything that reads a resource knows them."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def _no_null(value: Any) -> Any:
    """Empty objects for nulls, which the API server drops together with their key."""
    if isinstance(value, dict):
        return {key: {} if inner is None else _no_null(inner) for key, inner in value.items()}
    return value


def _config() -> dict[str, Any]:
    """Return the collector's configuration as it is in a pod."""
    text = CONFIG.read_text(encoding="utf-8")
    for name, value in FIXED.items():
        text = re.sub(rf"\$\{{env:{name}:-[^}}]*\}}", value, text)
    found: dict[str, Any] = _no_null(yaml.safe_load(text))
    return found


def operator() -> str:
    """Return the operator's resource."""
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
        "config": _config(),
    }
    kind = {"apiVersion": "opentelemetry.io/v1beta1", "kind": "OpenTelemetryCollector", "metadata": {"name": "streams"}}
    return OPERATOR_HEAD + yaml.dump({**kind, "spec": spec}, Dumper=_Plain, sort_keys=False, width=120)


WRITTEN = {DERIVE: derive, OPERATOR: operator}


def main() -> int:
    """Write the files or, with ``--check``, return 1 when one is out of date."""
    parser = argparse.ArgumentParser(description="Write what follows from collector/config.yaml.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    if not parser.parse_args().check:
        for path, text in WRITTEN.items():
            path.write_text(text(), encoding="utf-8")
        return 0
    stale = [path for path, text in WRITTEN.items() if not path.exists() or path.read_text(encoding="utf-8") != text()]
    for path in stale:
        print(f"{path}: out of date, run make collector", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
