"""``watch``: a receiver for services that run anyhow."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from otel_streaming.cli.options import OTLP_PORT, AsJson, Forward, Results, Routes, wanted

Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Where to listen, on 127.0.0.1; 0 for any port that is free.")
]
_HOW = (
    "start your service with OTEL_EXPORTER_OTLP_ENDPOINT={} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf "
    "OTEL_METRIC_EXPORT_INTERVAL=1000 opentelemetry-instrument COMMAND (Ctrl-C ends this)"
)


def watch(
    *,
    port: Port = OTLP_PORT,
    route: Routes = None,
    result: Results = None,
    as_json: AsJson = False,
    forward: Forward = None,
) -> None:
    """Receive what services export: their streams as they go, and how each ended."""
    from otel_streaming.cli.live.session import TICK, Session  # noqa: PLC0415 - slow to import

    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    title, looked_at = "otel-streaming watch", wanted(route, result)
    with Session(looked_at, port=port, forward=forward, as_json=as_json, title=title, share=1.0) as session:
        session.say(_HOW.format(session.endpoint))
        while not (over.wait(TICK) or session.gone):
            session.tick()
