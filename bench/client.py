"""What the hooks add to a client: a chunk read, and a request that does not stream, beside contrib's for httpx.

A transport that answers at once stands for the network, so that nothing but httpx and the hooks is measured.
"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from bench.workloads import DONE, EVENT
from otel_streaming.instrumentor import HTTPXStreamingInstrumentor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Hook = Callable[[httpx.Client], AbstractContextManager[None]]

CHUNKS = 2000
REQUESTS = 200
REPEATS = 40


class Body(httpx.SyncByteStream):
    """A stream of many chunks."""

    def __init__(self, chunks: int) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        """Give them."""
        for _ in range(self._chunks):
            yield EVENT
        yield DONE


class Model(httpx.BaseTransport):
    """A model server that answers at once, by a stream of so many chunks or by a small JSON body."""

    def __init__(self, chunks: int = 1) -> None:
        self._chunks = chunks

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        if request.url.path == "/chat":
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(self._chunks))
        return httpx.Response(200, headers={"content-type": "application/json"}, content=b"{}")


def streaming(client: httpx.Client) -> None:
    """Read a stream, as an SDK does."""
    with client.stream("POST", "http://model/chat") as response:
        for _ in response.iter_raw():
            pass


def plain(client: httpx.Client, requests: int = REQUESTS) -> None:
    """Ask for JSON."""
    for _ in range(requests):
        client.post("http://model/json")


@contextmanager
def ours(_: httpx.Client) -> Iterator[None]:
    """Put our hook in place."""
    HTTPXStreamingInstrumentor().instrument()
    try:
        yield
    finally:
        HTTPXStreamingInstrumentor().uninstrument()


@contextmanager
def contrib(client: httpx.Client) -> Iterator[None]:
    """Put contrib's in place."""
    HTTPXClientInstrumentor.instrument_client(client)
    yield


VARIANTS: dict[str, tuple[Hook, ...]] = {
    "bare": (),
    "ours": (ours,),
    "contrib httpx": (contrib,),
    "both": (contrib, ours),
}


def added(work: Callable[[httpx.Client], None], per: int) -> dict[str, tuple[float, float, float]]:
    """Return for each variant the microseconds of one step, what it adds to the bare one, and the spread."""
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for repeat in range(REPEATS):
        sys.stderr.write(f"\rclient, {work.__name__}: {repeat + 1} of {REPEATS} ")
        for name, hooks in VARIANTS.items():
            with ExitStack() as stack, httpx.Client(transport=Model(CHUNKS)) as client:
                for hook in hooks:
                    stack.enter_context(hook(client))
                began = time.perf_counter()
                work(client)
                seconds[name].append((time.perf_counter() - began) / per * 1e6)
    sys.stderr.write("\n")
    bare = min(seconds["bare"])
    return {name: (min(runs), min(runs) - bare, statistics.median(runs) - min(runs)) for name, runs in seconds.items()}


def table() -> list[str]:
    """Measure; return the lines of the page."""
    chunk, request = added(streaming, CHUNKS), added(plain, REQUESTS)
    rows = [
        f"| {name} | {chunk[name][0]:.2f} | {chunk[name][1]:.2f} (+{chunk[name][2]:.2f}) "
        f"| {request[name][0]:.0f} | {request[name][1]:.1f} (+{request[name][2]:.1f}) |"
        for name in VARIANTS
    ]
    ratio = chunk["ours"][0] / chunk["bare"][0]
    return [
        "## A client: httpx, synchronous",
        "",
        "| | us a chunk | added | us a request that does not stream | added |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"A chunk read through our hook takes {ratio:.1f} times what it takes without; contrib's looks at no chunk.",
        "",
    ]
