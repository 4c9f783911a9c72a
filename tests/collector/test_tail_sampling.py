"""Which traces the overlay for tail sampling keeps, as the real collector decides."""

import time

import pytest
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from senders import HEALTHY, Service

from otel_streaming import semconv

pytestmark = pytest.mark.e2e

SMOOTH = HEALTHY | {semconv.STALL_COUNT: 0, semconv.TIME_TO_FIRST_CHUNK: 0.5}
TELLING = {
    "truncated": {semconv.OUTCOME: "truncated"},
    "failed": {semconv.OUTCOME: "failed"},
    "cancelled": {semconv.OUTCOME: "cancelled"},
    "unknown": {semconv.OUTCOME: "unknown"},
    "stalled": {semconv.STALL_COUNT: 1},
    "masked": {semconv.MASKED: True},
    "slow": {semconv.TIME_TO_FIRST_CHUNK: 5.0},
}
ORDINARY = 400
LATE = 10


class Trace:
    """A request: its root span, two child spans, and the span of its stream."""

    def __init__(self, sender, name, seconds=1.0):
        self.sender, self.name = sender, name
        self.tracer = sender.provider.get_tracer("tests")
        self.start = time.time_ns() - int(seconds * 1e9)
        self.root = self.tracer.start_span(name, kind=SpanKind.SERVER, start_time=self.start)
        self.context = set_span_in_context(self.root)

    def children(self):
        for child in ("db", "cache"):
            self.tracer.start_span(child, context=self.context, start_time=self.start).end()

    def stream(self, different):
        seconds = (time.time_ns() - self.start) / 1e9
        self.sender.stream(SMOOTH | different, seconds, context=self.context)

    def whole(self, different):
        self.children()
        self.stream(different)
        self.root.end()

    def kept(self, spans):
        mine = f"{self.root.get_span_context().trace_id:032x}"
        return sorted(span["name"] for span in spans if span["traceId"] == mine)


WHOLE = ["cache", "db", "stream GET /chat"]


@pytest.fixture(scope="module")
def traces(pulled):
    """Every kind of trace; all of them have been decided upon."""
    with Service(pulled.otlp_endpoint, "sampled") as sender:
        known = {name: Trace(sender, name) for name in (*TELLING, "long", "error")}
        late = [Trace(sender, "late") for _ in range(LATE)]
        ordinary = [Trace(sender, "ordinary", seconds=900.0) for _ in range(ORDINARY)]
        for name, different in TELLING.items():
            known[name].whole(different)
        for trace in ordinary:
            trace.whole({})
        # Ten minutes, and what it called in its first second arrives minutes before its end.
        known["long"] = long = Trace(sender, "long", seconds=600.0)
        long.children()
        # A framework that ends the root span before the body.
        for trace in late:
            trace.children()
            trace.root.end()
        # No stream at all; once it is there, its contemporaries have been decided upon.
        known["error"].root.set_status(Status(StatusCode.ERROR))
        known["error"].children()
        known["error"].root.end()
        sender.flush()
        pulled.wait_until(lambda: known["error"].kept(pulled.kept()), "the first decisions")
        long.stream({semconv.OUTCOME: "truncated"})
        long.root.end()
        for trace in late:
            trace.stream({semconv.OUTCOME: "truncated"})
        sender.flush()
        pulled.wait_until(lambda: len(long.kept(pulled.kept())) == 4, "the long one")
        pulled.wait_until(lambda: all(trace.kept(pulled.kept()) for trace in late), "the late ones")
    return known | {"ordinary": ordinary, "late": late}


@pytest.mark.parametrize("name", [*TELLING, "long"])
def test_kept_whole(pulled, traces, name):
    """The trace of a bad, stalled, masked or slow stream is kept with all its spans, each once; however long it was."""
    assert traces[name].kept(pulled.kept()) == sorted([*WHOLE, name])


def test_errors(pulled, traces):
    """So is a trace with an error and no stream."""
    assert traces["error"].kept(pulled.kept()) == ["cache", "db", "error"]


def test_ended_early(pulled, traces):
    """Where the root span ends before the stream, and all is decided, a bad stream's own span is there, once."""
    spans = pulled.kept()
    kept = [trace.kept(spans) for trace in traces["late"]]
    assert [found.count("stream GET /chat") for found in kept] == [1] * LATE
    assert ["stream GET /chat"] in kept  # without the rest, unless that is among the few


def test_a_few_of_the_rest(pulled, traces):
    """Of ordinary streams, long ones too, about the share asked for is kept, whole."""
    spans = pulled.kept()
    kept = [found for trace in traces["ordinary"] if (found := trace.kept(spans))]
    assert 10 <= len(kept) <= 80  # a tenth, give or take five standard deviations
    assert kept == [sorted([*WHOLE, "ordinary"])] * len(kept)


def test_metrics_know_all(pulled, traces):
    """The metrics count every stream, sampled or not."""
    query = 'sum by (stream_outcome) (stream_ended_total{service_name="sampled"})'
    wanted = {"completed": ORDINARY + 3, "truncated": 2 + LATE, "failed": 1, "cancelled": 1, "unknown": 1}

    def counted():
        return {sample.labels["stream_outcome"]: sample.value for sample in pulled.prometheus.query(query)}

    pulled.wait_until(lambda: counted() == wanted, f"{wanted} to be counted")
