"""``watch``: a receiver for services that run anyhow."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from otel_streaming.cli.options import OTLP_PORT, AsJson, Forward, Results, Routes, stop, wanted

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
    from otel_streaming.cli.live.forward import ForwardError  # noqa: PLC0415 - slow to import
    from otel_streaming.cli.live.session import TICK, Session  # noqa: PLC0415
    from otel_streaming.cli.receiver import ReceiverError  # noqa: PLC0415

    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    try:
        session = Session(
            wanted(route, result), port=port, forward=forward, as_json=as_json, title="otel-streaming watch", share=1.0
        )
        with session:
            session.say(_HOW.format(session.endpoint))
            while not (over.wait(TICK) or session.gone):
                session.tick()
    except (ForwardError, ReceiverError) as error:
        stop("watch", error)
