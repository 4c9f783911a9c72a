"""Endless traffic for a service that runs elsewhere: ``python -m demo.traffic HOST PORT``.

Healthy streams and, one in five, a fault, as the dashboards are meant to be looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import sys

from demo.faults import FAULTS, Fault

PER_SECOND = 4.0
"""Streams begun in a second, on average."""
FAULTY = 0.2
"""The share of those that have a fault."""
OPEN_AT_ONCE = 200
PATIENCE = 60.0

_HEALTHY, *_FAULTY = FAULTS


def choose(rng: random.Random) -> Fault:
    """What the next stream is to be."""
    return rng.choice(_FAULTY) if rng.random() < FAULTY else _HEALTHY


async def visit(host: str, port: int, fault: Fault) -> None:
    """Ask for one stream; a service that is not there is asked again by the next visitor."""
    client = dataclasses.replace(fault.client(port), host=host)
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(client.run(), PATIENCE)


async def main(host: str, port: int, rng: random.Random) -> None:
    """Begin streams at random moments, until told to end."""
    gate = asyncio.Semaphore(OPEN_AT_ONCE)
    visits: set[asyncio.Task[None]] = set()

    def over(task: asyncio.Task[None]) -> None:
        visits.discard(task)
        gate.release()

    while True:
        await gate.acquire()
        task = asyncio.ensure_future(visit(host, port, choose(rng)))
        visits.add(task)
        task.add_done_callback(over)
        await asyncio.sleep(rng.expovariate(PER_SECOND))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), random.Random()))
