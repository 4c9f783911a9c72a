"""One SDK reads what a server sends, once for each fault: ``python read.py SDK MODE URL FAULT...``.

Prints a JSON line for each: what the SDK told its caller, and the spans that tell of the same streams.
"""

import asyncio
import contextlib
import gc
import inspect
import json
import sys
import time

from apis import ASYNC, SYNC
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_streaming._engine import engine

PATIENCE = {"stall": 1.0}
"""Seconds that a reader waits for more; 20 where nothing is said."""
WAIT = 5
"""Seconds for which what was opened may stay open beyond its call."""
LEAVING = {"break", "close", "collected", "cancel"}
TRACER = trace.get_tracer("application")


def block(stream, kind="__enter__"):
    """Return the ``with`` block of a stream, where it has one."""
    return stream if hasattr(stream, kind) else contextlib.nullcontext(stream)


def read(open_stream, fault):
    stream = open_stream()
    if fault == "break":
        with block(stream) as messages:
            for _ in messages:
                return "left"
    messages = iter(stream)
    if fault not in LEAVING:
        for _ in messages:
            pass
        return "completed"
    next(messages)
    if fault == "close":
        stream.close()
    return "left"


async def read_async(open_stream, fault):
    if fault == "cancel":
        return await cancelled(open_stream)
    stream = open_stream()
    stream = await stream if inspect.isawaitable(stream) else stream
    if fault == "break":
        async with block(stream, "__aenter__") as messages:
            async for _ in messages:
                return "left"
    messages = aiter(stream)
    if fault not in LEAVING:
        async for _ in messages:
            pass
        return "completed"
    await anext(messages)
    if fault == "close":
        closed = (getattr(stream, "aclose", None) or stream.close)()
        if inspect.isawaitable(closed):
            await closed
    return "left"


async def cancelled(open_stream):
    """Cancel a task that waits for more."""
    begun = asyncio.Event()

    async def wait():
        stream = open_stream()
        stream = await stream if inspect.isawaitable(stream) else stream
        async with block(stream, "__aenter__") as messages:
            async for _ in messages:
                begun.set()

    task = asyncio.create_task(wait())
    await begun.wait()
    await asyncio.sleep(0.2)
    task.cancel()
    await task


def told(exception):
    """Name an exception as its caller would catch it."""
    kind = type(exception)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


class Case:
    """One fault, from the call to what is said of it when all that was opened has ended."""

    def __init__(self, fault, spans):
        self.fault, self.spans = fault, spans
        self.patience = PATIENCE.get(fault, 20)
        self.before = engine().registry.open_count
        self.until = time.monotonic() + WAIT
        self.said = None

    @property
    def open(self):
        return engine().registry.open_count - self.before

    def waits(self):
        """Tell whether to wait; a cycle of an SDK's own keeps a stream until a collection."""
        if self.open:
            gc.collect()
        return self.open and time.monotonic() < self.until

    @contextlib.contextmanager
    def calling(self):
        """Be the application's own span, and take what its call raises."""
        with TRACER.start_as_current_span("application"):
            try:
                yield
            except (Exception, asyncio.CancelledError) as exception:
                self.said = told(exception)

    def report(self):
        """Print what was said, to the caller and by the spans of its trace."""
        engine().tell()  # of what the garbage collector has ended
        time.sleep(0.1)  # the watchdog may be telling of it at this moment
        spans = self.spans.get_finished_spans()
        (own,) = [span for span in spans if span.instrumentation_scope.name == "application"]
        ours = [span for span in spans if span.instrumentation_scope.name == "otel_streaming"]
        ours = [span for span in ours if span.context.trace_id == own.context.trace_id]
        self.spans.clear()
        line = {
            "fault": self.fault,
            "told": self.said,
            "spans": [dict(span.attributes) for span in ours],
            "parents": len({span.parent and span.parent.span_id for span in ours}),
            "open": self.open,
        }
        print(json.dumps(line), flush=True)  # noqa: T201


def run(sdk, url, fault, spans):
    case = Case(fault, spans)
    with case.calling():
        case.said = read(lambda: SYNC[sdk](f"{url}/{fault}", case.patience), fault)
    while case.waits():
        time.sleep(0.02)
    case.report()


async def run_async(sdk, url, faults, spans):
    for fault in faults:
        case = Case(fault, spans)
        with case.calling():
            case.said = await read_async(lambda at=f"{url}/{fault}", case=case: ASYNC[sdk](at, case.patience), fault)
        while case.waits():  # noqa: ASYNC110 - nothing tells of a collection
            await asyncio.sleep(0.02)
        case.report()


def main(sdk, mode, url, *faults):
    spans = InMemorySpanExporter()
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(spans))
    if mode == "sync":
        for fault in faults:
            run(sdk, url, fault, spans)
    else:
        asyncio.run(run_async(sdk, url, faults, spans))


if __name__ == "__main__":
    main(*sys.argv[1:])
