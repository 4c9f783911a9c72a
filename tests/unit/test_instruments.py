"""METRICS=all: the process counts every end by its diagnosis itself, with a real SDK behind it."""

import time
from pathlib import Path

import pytest
import yaml

from otel_streaming import semconv as sc
from otel_streaming._config import PREFIX, read_settings
from otel_streaming._registry import MAX_SERIES, Registry
from otel_streaming._shape import Shape
from otel_streaming._stream import Stream
from otel_streaming._telemetry import Telemetry
from otel_streaming._verdict import summarise
from otel_streaming.semconv import Kind, Protocol, Role

TOKEN = b'data: {"object":"chat.completion.chunk","choices":[]}\n\n'


def telemetry(metrics="all"):
    settings, problems = read_settings({PREFIX + "METRICS": metrics})
    assert problems == []
    made = Telemetry(settings, Registry())
    made.register()
    return made


def summary(route="/chat", **changes):
    now = time.monotonic()
    stream = Stream(Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, route), "POST", now - 3)
    stream.headers(now - 3, 200)
    stream.chunk(now - 1, TOKEN)
    stream.eof(now)
    return summarise(stream, now)._replace(**changes)


def points(sdk, metric):
    """Collect once; return the points of one metric."""
    data = sdk.reader.get_metrics_data()
    found = [
        m
        for r in (data.resource_metrics if data else ())
        for s in r.scope_metrics
        for m in s.metrics
        if m.name == metric.name
    ]
    return list(found[0].data.data_points) if found else []


def test_every_end_is_counted_with_every_diagnosis(sdk):
    """Labels are the contract's, and the process's; first a zero, then the count."""
    reporter = telemetry()
    for _ in range(3):
        reporter.ended(summary(), None, ())
    assert [point.value for point in points(sdk, sc.ENDED)] == [0]
    [point] = points(sdk, sc.ENDED)
    labels = dict(point.attributes)
    assert point.value == 3
    assert labels.pop("stream.process.id")
    assert labels == {
        "stream.role": "server",
        "stream.kind": "bounded",
        "stream.protocol": "sse",
        "http.route": "/chat",
        "stream.dialect": "openai.chat",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "stream.result": "silent",
        "stream.outcome": "truncated",
        "stream.phase": "mid_stream",
        "stream.reason": "missing_terminal",
        "stream.origin": "unknown",
        "stream.terminal": "missing",
        "stream.stalled": False,
        "stream.masked": False,
    }


@pytest.mark.parametrize(("metric", "seconds"), [(sc.DURATION, 3), (sc.FIRST_CHUNK_TIME, 2)])
def test_times_are_histograms_with_exemplars(sdk, metric, seconds):
    """Duration and first chunk, under the contract's labels, each with the trace of its span."""
    telemetry().ended(summary(), None, ())
    [point] = points(sdk, metric)
    assert point.sum == pytest.approx(seconds, abs=0.5)
    assert point.explicit_bounds == metric.bounds
    assert set(point.attributes) == {*map(str, metric.labels), "stream.process.id"}
    [exemplar] = point.exemplars
    assert exemplar.trace_id == sdk.span.context.trace_id


def test_no_chunk_has_no_first_one(sdk):
    """What never came has no time."""
    telemetry().ended(summary(first_chunk_at=None), None, ())
    assert points(sdk, sc.FIRST_CHUNK_TIME) == []


@pytest.mark.parametrize(("metrics", "told"), [("all", "sdk"), ("ledger", None)])
def test_the_span_says_who_counted(sdk, metrics, told):
    """The collector leaves alone what the process has counted."""
    telemetry(metrics).ended(summary(), None, ())
    assert sdk.span.attributes.get("stream.metrics") == told


def test_by_default_nothing_of_it_is_recorded(sdk):
    """The ledger alone."""
    telemetry("ledger").ended(summary(), None, ())
    for metric in (sc.ENDED, sc.DURATION, sc.FIRST_CHUNK_TIME):
        assert points(sdk, metric) == []


def test_open_labels_are_folded_before_the_sdk_folds_all(sdk):
    """Routes beyond what the SDK can tell apart become ``_OTHER``: none loses its diagnosis."""
    reporter = telemetry()
    for number in range(MAX_SERIES + 500):
        reporter.ended(summary(route=f"/{number}", server_address="a" if number % 2 else None), None, ())
    points(sdk, sc.ENDED)
    found = points(sdk, sc.ENDED)
    assert not [point for point in found if "otel.metric.overflow" in point.attributes]
    assert sum(point.value for point in found) == MAX_SERIES + 500
    assert sum(point.value for point in found if point.attributes["http.route"] == "_OTHER") == 500


def test_a_forked_child_begins_anew(sdk):
    """What the parent counted is not the child's."""
    reporter = telemetry()
    reporter.ended(summary(), None, ())
    reporter.reset()
    assert points(sdk, sc.ENDED) == []


def test_bounds_are_those_that_the_collector_has():
    """A dashboard reads one histogram, whoever has made it."""
    config = yaml.safe_load((Path(__file__).parents[2] / "collector/config.yaml").read_text())
    connectors = config["connectors"]
    by_span = connectors["span_metrics/streams"]["histogram"]["explicit"]["buckets"]
    seconds = [float(b.removesuffix("ms")) / 1000 if b.endswith("ms") else float(b.removesuffix("s")) for b in by_span]
    assert tuple(seconds) == sc.DURATION.bounds
    [first] = [
        sum_["histogram"]["buckets"]
        for sum_ in connectors["signal_to_metrics/streams"]["spans"]
        if sum_["name"] == sc.FIRST_CHUNK_TIME.name
    ]
    assert tuple(first) == sc.FIRST_CHUNK_TIME.bounds
