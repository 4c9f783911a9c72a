"""A Prometheus of this project on a free port."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import yaml

from stack.binaries import find_or_build
from stack.processes import Process, free_ports
from stack.prometheus import Prometheus, answers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from typing_extensions import Self


class PrometheusServer(Process):
    """The real Prometheus with the flags that docs and files name.

    Args:
        folder: Holds its configuration, its log and, in ``data``, what it stores; made if need be.
        settings: Its configuration.
        flags: More of its command line.
        port: A free one, unless told otherwise.

    Attributes:
        client: What asks it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *flags: str, port: int = 0) -> None:
        port = port or free_ports(1)[0]
        self.client = Prometheus(f"http://127.0.0.1:{port}")
        self._folder, self._settings = folder, settings
        super().__init__(
            "prometheus",
            [
                find_or_build("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-otlp-receiver",
                "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion",
                *flags,
            ],
            folder / "prometheus.log",
        )

    def start(self) -> Self:
        """Start it (again, if it has been stopped) and wait until it is ready.

        Raises:
            StackError: It did not become ready.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(dict(self._settings)))
        super().start()
        self.wait_until(functools.partial(answers, f"{self.client.url}/-/ready"), f"{self.name} to be ready", 120)
        return self
