"""The collector and Prometheus of this project, started together on free ports."""

from __future__ import annotations

import contextlib
import urllib.parse
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from stack import recorded
from stack.collector import CONFIGURATION, Collector
from stack.processes import free_ports, wait_until
from stack.server import PrometheusServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

_T = TypeVar("_T")
SIGNALS = ("traces", "logs", "metrics")


class Stack:
    """The real collector and the real Prometheus with this project's own configuration; a context manager.

    Nothing is left running when the start fails, the block ends, or this process dies.

    Args:
        folder: Holds configuration, data and logs of both; made if need be, never removed.
        record: The collector also writes what it receives to ``spans_file``, ``logs_file`` and ``metrics_file``.

    Attributes:
        otlp_endpoint: URL for OTLP over HTTP.
        otlp_grpc: Host and port for OTLP over gRPC.
        prometheus: Client of the Prometheus.
        collector_metrics: URL of the collector's own metrics.
        collector, prometheus_process: The two processes; `Process.stop` and `Process.start` make an outage.
    """

    def __init__(self, folder: Path, *, record: bool = False) -> None:
        self.folder = folder.resolve()
        self.spans_file, self.logs_file, self.metrics_file = (self.folder / f"{signal}.jsonl" for signal in SIGNALS)
        (port,) = free_ports(1)
        self.collector = Collector(
            self.folder,
            ["config.yaml", *(["overlays/record.yaml"] if record else [])],
            {"RECORD_FOLDER": str(self.folder), "PROMETHEUS_OTLP": f"http://127.0.0.1:{port}/api/v1/otlp"},
        )
        self.otlp_grpc = self.collector.otlp_grpc
        self.otlp_endpoint = self.collector.otlp_endpoint
        self.collector_metrics = self.collector.metrics
        self.prometheus_process = PrometheusServer(self.folder, _settings(self.collector_metrics), port=port)
        self.prometheus = self.prometheus_process.client

    def start(self) -> Self:
        """Start both and wait until they are ready.

        Raises:
            StackError: One of them did not become ready; neither is left running.
        """
        with contextlib.ExitStack() as undo:
            for process in (self.prometheus_process, self.collector):
                undo.callback(process.stop)
                process.start()
            undo.pop_all()
        return self

    def stop(self) -> None:
        """Stop both; the collector first, so that what it still holds reaches Prometheus."""
        self.collector.stop()
        self.prometheus_process.stop()

    def wait_until(self, predicate: Callable[[], _T], what: str, timeout: float = 60.0) -> _T:
        """Poll until ``predicate`` returns something true; fail at once when one of the two dies."""
        return wait_until(predicate, what, timeout, (self.collector, self.prometheus_process))

    def service_env(self, name: str, **extra: str) -> dict[str, str]:
        """Return the ``OTEL_`` environment of an instrumented service that reports to this collector."""
        return {
            "OTEL_SERVICE_NAME": name,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            **{f"OTEL_{signal.upper()}_EXPORTER": "otlp" for signal in SIGNALS},
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "OTEL_BLRP_SCHEDULE_DELAY": "500",
            "OTEL_PYTHON_STREAMING_STATE_DIR": "off",  # no service's dead are another's, unless it asks for them
            **extra,
        }

    def addresses(self) -> dict[str, str]:
        """Return what to print: a name and an address for everything one may want to look at."""
        return {
            "OTLP over HTTP": self.otlp_endpoint,
            "OTLP over gRPC": self.otlp_grpc,
            "Prometheus": self.prometheus.url,
            "collector's metrics": self.collector_metrics,
            "logs and data": str(self.folder),
        }

    def recorded_spans(self) -> list[dict[str, Any]]:
        """Return the spans received so far, flat, with ``scope`` and ``resource``; attributes as plain dicts."""
        return list(recorded.read(self.spans_file, "Spans", "spans"))

    def recorded_logs(self) -> list[dict[str, Any]]:
        """Return the log records received so far, flat, with ``scope`` and ``resource``."""
        return list(recorded.read(self.logs_file, "Logs", "logRecords"))

    def recorded_metrics(self) -> list[dict[str, Any]]:
        """Return the metrics received so far, one dict each time one was exported."""
        return list(recorded.read(self.metrics_file, "Metrics", "metrics"))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _settings(collector_metrics: str) -> dict[str, Any]:
    """Return the project's own file with our port, absolute paths, and everything done every second."""
    settings: dict[str, Any] = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(CONFIGURATION / pattern) for pattern in settings["rule_files"]]
    for job in settings["scrape_configs"]:
        del job["file_sd_configs"]
        job["static_configs"] = [{"targets": [urllib.parse.urlsplit(collector_metrics).netloc]}]
    return settings
