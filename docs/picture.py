"""Draw docs/img/run.svg: what ``otel-streaming run`` shows of the demo's service, of streams that were really served.

``python docs/picture.py`` takes some ten seconds, and prints the picture as well; it is one run's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from demo.clients import Client
from demo.faults import ROUTES
from otel_streaming.cli.live.child import environment
from otel_streaming.cli.live.streams import Streams
from otel_streaming.cli.live.view import screen
from otel_streaming.cli.receiver import Receiver
from otel_streaming.semconv import Role, State
from stack import Process, free_ports, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

PICTURE = Path(__file__).parent / "img" / "run.svg"
ROOT = Path(__file__).parents[1]
COLUMNS, LINES, SECONDS = 100, 24, 8
COMMAND = "otel-streaming run -- uvicorn demo.service:app"
ENDED = ("healthy", "unfinished", "healthy", "cut", "in_band_error", "overloaded", "healthy")
OPEN = ("hang", "held", "held")
"""What the model server does in the streams that end, one after the other, and in those still open in the picture."""
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # would be fetched from elsewhere


def record(streams: Streams, lock: threading.Lock) -> None:
    """Run the demo's service until the picture is complete, and draw it."""

    def locked(take: Callable[..., object], *values: object) -> None:
        with lock:
            take(*values)

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        receiver = stack.enter_context(
            Receiver(
                on_stream=lambda stream: locked(streams.ended, stream),
                on_reading=lambda reading: locked(streams.read, reading, time.monotonic()),
            )
        )
        model, port = free_ports(2)
        stack.enter_context(
            Process("model", [sys.executable, "-m", "demo.upstream", str(model)], folder / "model", cwd=ROOT)
        )
        env = environment(os.environ, receiver.endpoint) | {
            "UPSTREAM_URL": f"http://127.0.0.1:{model}",
            "OTEL_PYTHON_STREAMING_ROUTES": ",".join(ROUTES),
            "OTEL_PYTHON_STREAMING_STALL_THRESHOLD": "1",
            "OTEL_PYTHON_STREAMING_STATE_DIR": "off",
        }
        command = [sys.executable, "-m", "uvicorn", "demo.service:app", "--port", str(port)]
        service = stack.enter_context(Process("service", command, folder / "service", env, ROOT))
        service.wait_until(lambda: "Uvicorn running" in service.log.read_text(), "its start")
        asyncio.run(visit(port, streams, lock))


async def visit(port: int, streams: Streams, lock: threading.Lock) -> None:
    """Ask for every stream."""
    clients = [Client(port, "/assistant/v1/chat", model) for model in (*ENDED, *OPEN)]
    for client in clients[: len(ENDED)]:
        await client.run()
    began = time.monotonic()
    held = [asyncio.ensure_future(client.run()) for client in clients[len(ENDED) :]]

    def complete() -> bool:
        now = time.monotonic()
        with lock:
            if now - began > len(streams.silences):  # every second
                streams.sample(now)
            return streams.open(Role.SERVER, now).get(State.STALLED) == 1 and len(streams.silences) == SECONDS

    await asyncio.to_thread(wait_until, complete, "all of the picture")
    with lock:
        draw(streams, time.monotonic())
    for task in held:
        task.cancel()


def draw(streams: Streams, now: float) -> None:
    """Write the picture, and print it."""
    console = Console(record=True, width=COLUMNS, force_terminal=True, color_system="truecolor")
    console.print(screen(streams, COMMAND, COLUMNS, LINES, now))
    PICTURE.write_text(_FONTS.sub("", console.export_svg(title=COMMAND)))


if __name__ == "__main__":
    record(Streams(), threading.Lock())
