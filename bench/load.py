"""What a stream takes of a processor that a real uvicorn serves."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from bench.pool import Figure, in_turn

if TYPE_CHECKING:
    from bench.pool import Worker

CHUNKS = 100
CONNECTIONS = 8
_ASK = b"GET /chat HTTP/1.1\r\nhost: localhost\r\n\r\n"
_END = b"0\r\n\r\n"
"""The last chunk of a chunked body (RFC 9112 section 7.1)."""


async def _ask(port: int, streams: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(streams):
        writer.write(_ASK)
        await reader.readuntil(_END)
    writer.close()
    await writer.wait_closed()


async def _load(port: int, streams: int) -> None:
    await asyncio.gather(*(_ask(port, streams // CONNECTIONS) for _ in range(CONNECTIONS)))


def served(workers: list[Worker], times: int, streams: int) -> dict[str, Figure]:
    """Return by name the processor's seconds that each stream takes, in so many turns of so many streams."""
    sys.stderr.write(f"uvicorn: {len(workers)} x {times}\n")
    ports = {worker.name: worker.ask("serve", chunks=CHUNKS) for worker in workers}
    seconds: dict[str, list[float]] = {name: [] for name in ports}
    for worker in in_turn(workers, times):
        before = worker.ask("processor")
        asyncio.run(_load(ports[worker.name], streams))
        seconds[worker.name].append((worker.ask("processor") - before) / streams)
    return {name: Figure.of(taken) for name, taken in seconds.items()}
