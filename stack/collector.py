"""A collector of this project on free ports."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from stack.binaries import find_or_build
from stack.processes import Process, free_ports
from stack.prometheus import answers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

CONFIGURATION = Path(__file__).resolve().parent.parent / "collector"


class Collector(Process):
    """The real collector with files of ``collector/``, merged in their order.

    Args:
        folder: Holds its log and its queue.
        configs: Paths below ``collector/``, whole paths, or ``yaml:KEY::KEY: VALUE`` for one value.
        env: What else the configuration reads from its environment.
        name: What messages, log and queue are called.

    Attributes:
        otlp_endpoint: URL for OTLP over HTTP.
        otlp_grpc: Host and port for OTLP over gRPC.
        metrics: URL of the collector's own metrics.
    """

    def __init__(
        self, folder: Path, configs: Sequence[str | Path], env: Mapping[str, str], name: str = "collector"
    ) -> None:
        grpc, http, health, metrics = free_ports(4)
        self.otlp_grpc = f"127.0.0.1:{grpc}"
        self.otlp_endpoint = f"http://127.0.0.1:{http}"
        self.metrics = f"http://127.0.0.1:{metrics}/metrics"
        self._health = f"http://127.0.0.1:{health}"
        places = [config if str(config).startswith("yaml:") else CONFIGURATION / config for config in configs]
        super().__init__(
            name,
            [find_or_build("otelcol"), *(f"--config={place}" for place in places)],
            folder / f"{name}.log",
            env={
                "COLLECTOR_OTLP_GRPC": self.otlp_grpc,
                "COLLECTOR_OTLP_HTTP": f"127.0.0.1:{http}",
                "COLLECTOR_HEALTH": f"127.0.0.1:{health}",
                "COLLECTOR_METRICS_PORT": str(metrics),
                "COLLECTOR_QUEUE": str(folder / f"{name}-queue"),
                **env,
            },
        )

    def start(self) -> Self:
        """Start it (again, if it has been stopped) and wait until it is ready.

        Raises:
            StackError: It did not become ready.
        """
        super().start()
        self.wait_until(functools.partial(answers, self._health), f"{self.name} to be ready")
        return self
