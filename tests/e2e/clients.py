"""Clients over raw sockets: they see every byte of an answer and leave when they like."""

import asyncio
import contextlib
import re


async def fetch(port, path, *, leave_on=None, headers="", on_data=None):
    """Return the raw response; leave (by closing) as soon as ``leave_on`` has been received.

    ``on_data`` is called with all that was received whenever something is.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode())
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            received += data
            if on_data is not None:
                on_data(received)
            if leave_on is not None and leave_on in received:
                break
    writer.close()
    return received


async def fetch_all(port, jobs, *, at_once=50, headers=""):
    """Fetch many paths, ``(path, leave_on)`` each, some at a time; returns the raw responses in order."""
    gate = asyncio.Semaphore(at_once)

    async def one(path, leave_on):
        async with gate:
            return await asyncio.wait_for(fetch(port, path, leave_on=leave_on, headers=headers), 120)

    return await asyncio.gather(*(one(path, leave_on) for path, leave_on in jobs))


def status(raw):
    """Return the status of a raw response, 0 if there was none."""
    match = re.match(rb"HTTP/1.1 (\d{3})", raw)
    return int(match.group(1)) if match else 0


def undated(raw):
    """Return a raw response without its date."""
    return re.sub(rb"\r\ndate: [^\r]*", b"", raw)
