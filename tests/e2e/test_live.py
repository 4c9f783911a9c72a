"""What is seen of a stream while it is open, in a real Prometheus: that it hangs, that it works for nobody."""

import asyncio
import contextlib

import pytest
from clients import fetch

pytestmark = pytest.mark.e2e

THRESHOLD = 0.5
STALLED, RESUMED = "stream.stalled", "stream.resumed"


class Seen:
    """What of one service has reached Prometheus, and the files of the collector."""

    def __init__(self, stack, service):
        self._stack, self._service = stack, service

    async def until(self, predicate, what):
        await asyncio.to_thread(self._stack.wait_until, predicate, what)

    def value(self, metric, **labels):
        labels = ",".join(f'{name}="{value}"' for name, value in {"service_name": self._service, **labels}.items())
        return self._stack.prometheus.value(f"sum({metric}{{{labels}}})") or 0

    def active(self, state):
        return self.value("stream_active", stream_state=state)

    def of_ours(self, items):
        return [i for i in items if (i["resource"]["service.name"], i["scope"]) == (self._service, "otel_streaming")]

    def spans(self):
        return [span["attributes"] | {"events": span["events"]} for span in self.of_ours(self._stack.recorded_spans())]

    def records(self, event):
        logs = self.of_ours(self._stack.recorded_logs())
        return [record["attributes"] for record in logs if record["eventName"] == event]


@contextlib.asynccontextmanager
async def told(port):
    """Give what tells the open streams what to do; at the end, whatever went wrong, they are told to end."""

    async def tell(what):
        await fetch(port, f"/tell/{what}")

    try:
        yield tell
    finally:
        await tell("ends")


def test_a_stall_is_seen_while_it_lasts(stack, serve):
    """A stream that sends nothing but keep-alives is stalled in Prometheus until it resumes, and logged at once."""
    seen, received = Seen(stack, "stalls"), bytearray()

    def pings(data):
        received[:] = data

    async def hangs():
        await seen.until(lambda: seen.active("stalled") == 1, "the stalled stream")
        await seen.until(lambda: seen.value("stream_silence_max_seconds") > 2 * THRESHOLD, "its silence")
        await seen.until(lambda: seen.records(STALLED), "the record of it")
        before = received.count(b": ping")
        await seen.until(lambda: received.count(b": ping") > before + 10, "keep-alives, all the time")
        assert (seen.active("flowing"), seen.active("waiting")) == (0, 0)
        await seen.until(lambda: seen.value("stream_ledger_started_total") == 1, "its begin in the ledger")
        assert (seen.value("stream_ledger_ended_total"), seen.spans()) == (0, [])

    async def flows():
        await seen.until(lambda: seen.active("stalled") == 0, "no stalled stream")
        await seen.until(lambda: seen.active("flowing") == 1, "the flowing stream")
        await seen.until(lambda: seen.value("stream_silence_max_seconds") < THRESHOLD, "its silence")

    async def main(port):
        async with told(port) as tell:
            client = asyncio.ensure_future(fetch(port, "/hangs", on_data=pings))
            await hangs()
            await tell("talks")
            await flows()
        await client
        await seen.until(seen.spans, "the span")
        await seen.until(lambda: seen.active("flowing") == 0, "no open stream")

    env = {"OTEL_PYTHON_STREAMING_STALL_THRESHOLD": str(THRESHOLD)}
    with serve("live:app", "stalls", "--no-access-log", env=env) as service:
        asyncio.run(main(service.port))
    (span,), (record,) = seen.spans(), seen.records(STALLED)
    assert (record["stream.state"], record["stream.chunk.count"]) == ("stalled", 1)
    assert THRESHOLD < record["stream.stall.duration"] < span["stream.stall.duration"]
    assert (span["stream.outcome"], span["stream.stall.count"]) == ("completed", 1)
    assert span["stream.keepalive.count"] == received.count(b": ping")
    assert span["stream.chunk.count"] == received.count(b"data: word")
    assert [event["name"] for event in span["events"] if event["name"] in {STALLED, RESUMED}] == [STALLED, RESUMED]


def test_work_for_nobody_is_seen_while_it_lasts(stack, serve):
    """Clients leave an application that never asks for them: abandoned until it ends, then what it did is summed up."""
    seen = Seen(stack, "works")
    names = ("chunk.count", "size", "duration")

    async def main(port):
        async with told(port):
            for path in ("/talks", "/thinks"):
                await fetch(port, path, leave_on=b"data: word")
            await seen.until(lambda: seen.active("abandoned") == 2, "the abandoned streams")
            assert (seen.active("flowing"), seen.active("stalled")) == (0, 0)
            assert (seen.value("stream_ledger_ended_total"), seen.spans()) == (0, [])
        await seen.until(lambda: len(seen.spans()) == 2, "the spans")
        await seen.until(lambda: seen.active("abandoned") == 0, "no open stream")
        await seen.until(lambda: seen.value("stream_ledger_ended_total") == 2, "the ledger")
        await seen.until(lambda: wasted("duration_seconds") > 0, "the derived sums")

    def wasted(what):
        return seen.value(f"stream_wasted_{what}_total", stream_reason="client_disconnect")

    with serve("live:app", "works", "--no-access-log") as service:
        asyncio.run(main(service.port))
    assert {span["stream.reason"] for span in seen.spans()} == {"client_disconnect"}
    chunks, sizes, durations = zip(
        *([span[f"stream.abandoned.{name}"] for name in names] for span in seen.spans()), strict=True
    )
    assert sorted(n > 0 for n in chunks) == [False, True]
    assert sum(sizes) == sum(chunks) * len(b"data: word\n\n")
    assert min(durations) > 0
    assert wasted("size_bytes") == sum(sizes)
    assert wasted("duration_seconds") == pytest.approx(sum(durations))
