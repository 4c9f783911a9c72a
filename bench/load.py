"""What a real uvicorn serves: streams a second, and the processor's time of each."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from bench.pool import Figure, in_turn

if TYPE_CHECKING:
    from bench.pool import Worker

CHUNKS = 100
CONNECTIONS = 8
_ASK = b"GET /chat HTTP/1.1\r\nhost: localhost\r\n\r\n"
_END = b"0\r\n\r\n"
"""The last chunk of a chunked body (RFC 9112 section 7.1)."""


class Served(NamedTuple):
    """Of one server: streams a second, the most of many runs; the processor's seconds that each takes."""

    rate: float
    processor: Figure


async def _ask(port: int, streams: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(streams):
        writer.write(_ASK)
        await reader.readuntil(_END)
    writer.close()
    await writer.wait_closed()


async def _load(port: int, streams: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(_ask(port, streams // CONNECTIONS) for _ in range(CONNECTIONS)))
    return streams / (time.perf_counter() - began)


def served(workers: list[Worker], times: int, streams: int) -> dict[str, Served]:
    """Return by name what each serves, in so many turns of so many streams."""
    sys.stderr.write(f"uvicorn: {len(workers)} x {times}\n")
    ports = {worker.name: worker.ask("serve", chunks=CHUNKS) for worker in workers}
    rates: dict[str, list[float]] = {name: [] for name in ports}
    seconds: dict[str, list[float]] = {name: [] for name in ports}
    for worker in in_turn(workers, times):
        before = worker.ask("processor")
        rates[worker.name].append(asyncio.run(_load(ports[worker.name], streams)))
        seconds[worker.name].append((worker.ask("processor") - before) / streams)
    return {name: Served(max(rates[name]), Figure.of(seconds[name])) for name in ports}
