"""The real collector and the real Prometheus on free ports, for the demo and the end-to-end tests.

```python
with Stack(folder) as stack, Process("shop", argv, folder / "shop.log", stack.service_env("shop")):
    stack.wait_until(lambda: stack.prometheus.query("stream_ended_total"), "the first stream")
```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stack.binaries import StackError, find_or_build
    from stack.collector import Collector
    from stack.processes import Process, free_ports, listens, wait_until
    from stack.prometheus import Exemplar, Prometheus, PrometheusError, Sample, Series
    from stack.server import PrometheusServer
    from stack.stack import Stack

__all__ = [
    "Collector",
    "Exemplar",
    "Process",
    "Prometheus",
    "PrometheusError",
    "PrometheusServer",
    "Sample",
    "Series",
    "Stack",
    "StackError",
    "find_or_build",
    "free_ports",
    "listens",
    "wait_until",
]


def __getattr__(name: str) -> object:
    # Lazy, or `python -m stack.binaries` would find itself imported already, and runpy would warn.
    if name in __all__:
        for module in ("binaries", "collector", "processes", "prometheus", "server", "stack"):
            home = importlib.import_module(f"stack.{module}")
            if hasattr(home, name):
                return getattr(home, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
