"""Spans, log records and metrics, seen through the real OpenTelemetry SDK."""

import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping
from contextvars import copy_context

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from otel_streaming import semconv as sc
from otel_streaming._causes import Cause
from otel_streaming._config import PREFIX, read_settings
from otel_streaming._recorder import Recorder
from otel_streaming._recovery import Dead
from otel_streaming._registry import Registry
from otel_streaming._shape import Shape
from otel_streaming._stream import Stream
from otel_streaming._telemetry import Telemetry
from otel_streaming._verdict import summarise
from otel_streaming.semconv import Kind, Origin, Protocol, Reason, Role

TICK = b"data: tick\n\n"
DELTA = (
    b'data: {"object":"chat.completion.chunk","model":"gpt-4o","choices":[{"delta":{},"finish_reason":"length"}],'
    b'"usage":{"completion_tokens":7}}\n\n'
)
CRASH = Cause(Reason.PRODUCER_ERROR, Origin.SERVER)
SHAPE = Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/chat/{id}")
TRACE, PARENT = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


def words(summary):
    """What the ledger counts a summary by."""
    return summary.result, summary.outcome


def telemetry(registry=None, **values):
    settings, problems = read_settings({PREFIX + name: str(value) for name, value in values.items()})
    assert problems == []
    return Telemetry(settings, registry or Registry())


def played(*chunks, bad=False, left=False, ago=60.0, shape=SHAPE, step=1.0, silence=0.0, **settings):
    """Play a stream that began ``ago`` seconds ago; returns its summary."""
    now = time.monotonic() - ago
    stream = Stream(shape, "POST", now, **settings)
    stream.headers(now + step, 200)
    for chunk in chunks:
        now += step
        if stream.chunk(now + step, chunk):
            stream.idle_since = now + step
    now += step + silence
    if left:
        stream.left(now + step)
        stream.chunk(now + step, TICK)
    elif bad:
        stream.failed(now + step, CRASH)
    else:
        stream.eof(now + step)
    return summarise(stream, now + 2 * step)


def remote(flags=0, state=()):
    context = SpanContext(TRACE, PARENT, is_remote=True, trace_flags=TraceFlags(flags), trace_state=TraceState(state))
    return NonRecordingSpan(context)


TRACEPARENT = f"00-{TRACE:032x}-{PARENT:016x}-00".encode()


# -- the span ------------------------------------------------------------------------------------------------


def test_name_and_kind(sdk):
    """The span is internal and named after method and route; without a route after the method."""
    reporter = telemetry()
    reporter.ended(played(TICK), None, [])
    reporter.ended(played(TICK, shape=SHAPE._replace(route=None)), None, [])
    first, second = sdk.spans.get_finished_spans()
    assert (first.name, second.name) == ("stream POST /chat/{id}", "stream POST")
    assert first.kind is SpanKind.INTERNAL
    assert first.instrumentation_scope.name == "otel_streaming"


def test_a_sampled_parent(sdk):
    """Under a recording parent the span is its child in its trace."""
    with trace.use_span(sdk.tracer.start_span("GET", context=trace.set_span_in_context(remote(1)))) as parent:
        pass
    telemetry().ended(played(TICK), parent, [])
    stream = sdk.spans.get_finished_spans()[-1]
    assert stream.parent.span_id == parent.get_span_context().span_id
    assert stream.context.trace_id == TRACE
    assert stream.context.trace_flags.sampled


def test_an_unsampled_parent(sdk):
    """Under a parent that was not sampled, by a sampler that samples nothing, the span is recorded all the same."""
    parent = sdk.tracer.start_span("GET")
    assert not parent.is_recording()
    telemetry().ended(played(TICK), parent, [])
    assert sdk.span.context.trace_id == parent.get_span_context().trace_id
    assert sdk.span.parent.span_id == parent.get_span_context().span_id
    assert sdk.span.context.trace_flags.sampled


def test_the_incoming_context_is_the_last_resort(sdk):
    """Without a parent span the request's own traceparent is the parent, sampled or not."""
    headers = [(b"TraceParent", TRACEPARENT), (b"host", b"x"), (b"tracestate", b"vendor=1,ot=th:c")]
    telemetry().ended(played(TICK), None, headers)
    assert (sdk.span.context.trace_id, sdk.span.parent.span_id) == (TRACE, PARENT)
    assert dict(sdk.span.context.trace_state) == {"vendor": "1"}


@pytest.mark.parametrize("headers", [[], [(b"traceparent", b"00-zz")], [(b"traceparent", b"\xff")]])
def test_without_a_parent_the_span_is_a_root(sdk, headers):
    """With no parent at all the span is a true root, whatever the sampler."""
    telemetry().ended(played(TICK), None, headers)
    assert sdk.span.parent is None
    assert sdk.span.context.trace_flags.sampled


def test_without_a_sampler_to_set_a_remote_parent_is_made_up(sdk, monkeypatch):
    """Where the tracer's sampler cannot be set, a made-up remote parent has the span sampled."""

    class Wrapped(trace.TracerProvider):
        def get_tracer(self, *args, **kwargs):
            tracer = provider.get_tracer(*args, **kwargs)

            class Wrapper(trace.Tracer):
                start_span = staticmethod(tracer.start_span)
                start_as_current_span = staticmethod(tracer.start_as_current_span)

            return Wrapper()

    provider = trace.get_tracer_provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Wrapped())
    reporter = telemetry()
    reporter.ended(played(TICK), None, [])
    reporter.ended(played(TICK), None, [])
    first, second = sdk.spans.get_finished_spans()
    assert first.parent.is_remote
    assert first.context.trace_id != second.context.trace_id


def test_the_sampling_threshold_is_not_inherited(sdk):
    """The parent's ``ot`` entry, which would multiply what is counted, is removed; others stay in their order."""
    parent = remote(1, [("a", "1"), ("ot", "th:c;rv:9b8233f7e3a151"), ("vendor", "x:y")])
    telemetry().ended(played(TICK), parent, [])
    assert list(sdk.span.context.trace_state.items()) == [("a", "1"), ("vendor", "x:y")]


def test_only_our_tracer_is_always_on(sdk):
    """Setting our tracer's sampler leaves every other tracer's alone."""
    telemetry().ended(played(TICK), None, [])
    assert not sdk.tracer.start_span("GET").is_recording()
    assert not trace.get_tracer("other").start_span("GET").is_recording()


def test_times_are_those_of_the_stream(sdk):
    """The span starts at the request, ends at the stream's end, its events lie where they happened."""
    before = time.time_ns()
    telemetry().ended(played(TICK, TICK, ago=60.0), None, [])
    span = sdk.span
    start = before - 60_000_000_000
    assert abs(span.start_time - start) < 2_000_000_000
    assert abs(span.end_time - span.start_time - 4_000_000_000) < 1000
    offsets = [(event.name, round((event.timestamp - span.start_time) / 1e9, 3)) for event in span.events]
    assert offsets == [("stream.headers", 1.0), ("stream.first_chunk", 2.0), ("stream.end", 4.0)]


def test_attributes_of_a_healthy_stream(sdk):
    """A healthy stream's span carries the contract's attributes, and none that do not apply."""
    telemetry().ended(played(TICK, DELTA), None, [])
    attributes = dict(sdk.span.attributes)
    counts = attributes.pop("stream.chunk.gap.counts")
    assert (len(counts), sum(counts)) == (12, 2)
    assert abs(attributes.pop("stream.time_to_first_chunk") - 2.0) < 0.001
    assert abs(attributes.pop("stream.chunk.gap.max") - 1.0) < 0.001
    assert abs(attributes.pop("stream.backpressure.duration")) < 0.001
    assert attributes == {
        "http.response.status_code": 200,
        "http.request.method": "POST",
        "http.route": "/chat/{id}",
        "stream.retry": "none",
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.response.model": "gpt-4o",
        "stream.finish_reason": "length",
        "stream.stall.duration": 0.0,
        "stream.stall.count": 0,
        "stream.size": len(TICK + DELTA),
        "stream.keepalive.count": 0,
        "stream.chunk.count": 2,
        "stream.terminal": "seen",
        "stream.dialect": "openai.chat",
        "stream.protocol": "sse",
        "stream.kind": "bounded",
        "stream.role": "server",
        "stream.origin": "server",
        "stream.phase": "after_terminal",
        "stream.reason": "incomplete_declared",
        "stream.outcome": "completed",
        "stream.result": "ok",
    }
    assert sdk.span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("how", [{}, {"bad": True}, {"left": True}, {"recent": 3, "silence": 20.0, "bad": True}])
def test_attributes_are_of_the_contract(sdk, how):
    """Every attribute on span and events is one of the contract, of its type and its closed values."""
    telemetry().ended(played(TICK, DELTA, **how), None, [])
    known = {str(a): a for a in (*sc.ATTRIBUTES, sc.CHUNK_SIZE, sc.CHUNK_GAP)}
    types = {"string": str, "int": int, "double": float, "boolean": bool, "int[]": tuple}
    for attributes in (sdk.span.attributes, *(event.attributes for event in sdk.span.events)):
        for name, value in attributes.items():
            attribute = known[name]
            assert type(value) is types[attribute.value_type], name
            assert attribute.values is None or value in {word.value for word in attribute.values}, name
    assert {event.name for event in sdk.span.events} <= {event.value for event in sc.Event}


@pytest.mark.parametrize("how", [{}, {"bad": True}, {"left": True}])
def test_the_verdict_is_set_last(sdk, how):
    """Reason, outcome and result come last, since span limits drop the oldest attributes."""
    telemetry().ended(played(TICK, **how), None, [])
    *_, reason, outcome, result = sdk.span.attributes
    assert {reason, outcome} == {"stream.reason", "stream.outcome"}
    assert result == "stream.result"


def test_only_bad_ends_are_errors(sdk):
    """Status and error.type tell of truncated and failed streams alone; who leaves is no error."""
    reporter = telemetry()
    reporter.ended(played(TICK, bad=True), None, [])
    reporter.ended(played(TICK, left=True), None, [])
    reporter.ended(played(TICK), None, [])
    bad, left, good = sdk.spans.get_finished_spans()
    assert (bad.status.status_code, bad.attributes["error.type"]) == (StatusCode.ERROR, "producer_error")
    for span in (left, good):
        assert span.status.status_code is StatusCode.UNSET
        assert "error.type" not in span.attributes


def test_abandoned_work_is_reported_when_the_reader_left(sdk):
    """Only a stream whose reader left carries what was done after it."""
    reporter = telemetry()
    reporter.ended(played(TICK, left=True), None, [])
    reporter.ended(played(TICK, bad=True), None, [])
    left, stayed = sdk.spans.get_finished_spans()
    assert left.attributes["stream.abandoned.chunk.count"] == 1
    assert left.attributes["stream.abandoned.size"] == len(TICK)
    assert left.attributes["stream.abandoned.duration"] > 0
    assert not [name for name in stayed.attributes if "abandoned" in name]


def test_events_in_their_order(sdk):
    """Headers, first chunk, stall, resumption, departure and end are events in the order of their times."""
    telemetry().ended(played(TICK, left=True, silence=30.0), None, [])
    names = [event.name for event in sdk.span.events]
    assert names == ["stream.headers", "stream.first_chunk", "stream.stalled", "stream.client_gone", "stream.end"]
    stalled, end = sdk.span.events[2], sdk.span.events[-1]
    assert stalled.attributes["stream.stall.duration"] > 30
    assert stalled.attributes["stream.origin"] == "unknown"  # the producer's silence may be that of what it reads from
    assert dict(end.attributes) == {
        "stream.outcome": "cancelled",
        "stream.reason": "client_disconnect",
        "stream.origin": "unknown",
    }
    times = [event.timestamp for event in sdk.span.events]
    assert times == sorted(times)


def test_what_has_no_status_has_no_headers(sdk):
    """A stream that began without a response, of a WebSocket client or an iterable, has no event of its headers."""
    telemetry().ended(played(TICK)._replace(status=None), None, [])
    assert [event.name for event in sdk.span.events] == ["stream.first_chunk", "stream.end"]


def test_a_stall_that_ended_is_resumed(sdk):
    """A stall the producer came out of has its resumption, and the marker its event."""
    telemetry().ended(played(TICK, DELTA, step=20.0, ago=200.0), None, [])
    names = [event.name for event in sdk.span.events]
    assert names == [
        *("stream.headers", "stream.stalled", "stream.first_chunk", "stream.resumed"),
        *("stream.stalled", "stream.resumed", "stream.terminal", "stream.end"),
    ]


def test_chunk_events(sdk):
    """With CHUNK_EVENTS=96 the last 96 chunks are shown beside the other events, within the SDK's limit of 128."""
    telemetry().ended(played(*[TICK] * 200, recent=96, ago=500.0), None, [])
    names = [event.name for event in sdk.span.events]
    assert names == ["stream.headers", "stream.first_chunk", *["stream.chunk"] * 96, "stream.end"]
    assert dict(sdk.span.events[-2].attributes).keys() == {"stream.chunk.size", "stream.chunk.gap"}


# -- settings ------------------------------------------------------------------------------------------------


def test_spans_bad(sdk):
    """With ``SPANS=bad`` only truncated and failed streams have a span."""
    reporter = telemetry(SPANS="bad")
    for how in ({}, {"left": True}, {"bad": True}):
        reporter.ended(played(TICK, **how), None, [])
    assert sdk.span.attributes["stream.outcome"] == "failed"


def test_spans_off(sdk):
    """With ``SPANS=off`` there is no span; a bad end still has its log record."""
    telemetry(SPANS="off").ended(played(TICK, bad=True), None, [])
    assert sdk.spans.get_finished_spans() == ()
    assert len(sdk.records) == 1


def test_spans_sampled(sdk):
    """With ``SPANS=sampled`` the parent's decision is followed."""
    reporter = telemetry(SPANS="sampled")
    reporter.ended(played(TICK), remote(0), [])
    assert sdk.spans.get_finished_spans() == ()
    reporter.ended(played(TICK), remote(1), [])
    assert sdk.span.context.trace_id == TRACE


def test_what_may_be_switched_off(sdk):
    """Model names and finish reasons can be left out."""
    telemetry(MODEL_NAMES="off", CAPTURE_FINISH_REASON="off").ended(played(DELTA), None, [])
    assert "gen_ai.response.model" not in sdk.span.attributes
    assert "stream.finish_reason" not in sdk.span.attributes


def test_model_names_are_capped(sdk):
    """After fifty model names new ones are ``_OTHER``; those known stay."""
    reporter = telemetry()
    for i in (*range(55), 0):
        reporter.ended(played(DELTA.replace(b"gpt-4o", b"model-%d" % i)), None, [])
    models = [span.attributes["gen_ai.response.model"] for span in sdk.spans.get_finished_spans()]
    assert models == [*(f"model-{i}" for i in range(50)), *["_OTHER"] * 5, "model-0"]


# -- bounds --------------------------------------------------------------------------------------------------


def strings(value):
    """Every string in what an exporter gets of one span or record."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from (key, *strings(one))


ANY = st.builds(lambda text, times: text * times, st.text(max_size=20), st.sampled_from([0, 1, 30, 900]))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(ANY, min_size=7, max_size=7), st.sampled_from(["POST", "_OTHER"]))
def test_every_string_is_bounded(sdk, texts, method):
    """Whatever an application, a model or a caller's host is called: no string of a span or a record is long."""
    error, model, finish, host, value, route, identity = texts
    registry = Registry()
    shape = SHAPE._replace(route=registry.cap_route(route))
    told = played(DELTA, shape=shape, recent=3)._replace(
        error=error,
        model=model,
        finish_reason=finish,
        method=method,
        server_address=host or None,
        reason=Reason.DECLARED_ERROR,
        stream_id=identity,
        attributes={"app.value": value},
    )
    telemetry(registry, LOGS="all").ended(told, None, [])
    (span,), (record,) = sdk.spans.get_finished_spans(), sdk.records
    sdk.spans.clear()
    sdk.logs.clear()
    said = [span.name, span.status.description or "", record.body, *strings(span.attributes)]
    said += [*strings(record.attributes), *(text for event in span.events for text in strings(event.attributes))]
    assert max(map(len, said)) <= 512
    assert max(map(len, strings(span.attributes))) <= 256


# -- the parent ----------------------------------------------------------------------------------------------


@pytest.fixture
def recording(sdk):
    """A server span that records."""
    span = sdk.tracer.start_span("GET /chat", context=trace.set_span_in_context(remote(1)), kind=SpanKind.SERVER)
    assert span.is_recording()
    yield span
    span.end()


def test_the_parent_is_marked(recording):
    """A bad end shows on the recording parent, for tools that know nothing of streams."""
    telemetry().mark(recording, played(TICK, bad=True))
    assert recording.status.status_code is StatusCode.ERROR
    marks = {name: recording.attributes[name] for name in ("error.type", sc.OUTCOME, sc.REASON, sc.ORIGIN)}
    assert list(marks.values()) == ["producer_error", "failed", "producer_error", "server"]


def test_the_parent_is_left_alone(recording):
    """The parent is not marked if that is switched off, if it has ended, or if there is none."""
    telemetry(MARK_PARENT="off").mark(recording, played(TICK, bad=True))
    assert recording.status.status_code is StatusCode.UNSET
    recording.end()
    telemetry().mark(recording, played(TICK, bad=True))
    telemetry().mark(None, played(TICK, bad=True))
    telemetry().mark(remote(1), played(TICK, bad=True))
    assert sc.OUTCOME not in recording.attributes


def test_the_current_span(sdk):
    """The parent is the span current now or in a context copied earlier, recording or not; else there is none."""
    assert Telemetry.current(None) is None
    outside = copy_context()
    with trace.use_span(remote(0)) as span:
        inside = copy_context()
        assert Telemetry.current(None) is span
        assert Telemetry.current(outside) is None
    assert Telemetry.current(inside) is span


def test_the_parents_route(recording):
    """The route is read from a recording parent that knows it, and from nothing else."""
    assert Telemetry.route_of(recording) is None
    recording.set_attribute("http.route", "/chat/{id}")
    assert Telemetry.route_of(recording) == "/chat/{id}"
    recording.set_attribute("http.route", 7)
    assert Telemetry.route_of(recording) is None
    assert Telemetry.route_of(None) is None
    assert Telemetry.route_of(remote(1)) is None


# -- log records ---------------------------------------------------------------------------------------------


def test_a_bad_end_is_logged(sdk):
    """A bad end makes one WARN record named ``stream.end`` in the context of the stream's own span."""
    telemetry().ended(played(TICK, bad=True), remote(0), [])
    (record,) = sdk.records
    assert (record.event_name, record.severity_number.name, record.severity_text) == ("stream.end", "WARN", "WARN")
    assert (record.trace_id, record.span_id) == (TRACE, sdk.span.context.span_id)
    assert record.trace_flags.sampled
    assert record.timestamp == pytest.approx(sdk.span.end_time, abs=50_000_000)
    assert dict(record.attributes) == dict(sdk.span.attributes)
    for word in ("POST /chat/{id}", "failed", "producer_error", "mid_stream", "1 chunks"):
        assert word in record.body


@pytest.mark.parametrize(("logs", "count"), [("bad", 1), ("all", 3), ("off", 0)])
def test_which_ends_are_logged(sdk, logs, count):
    """The setting chooses between bad ends, all and none; a healthy one is INFO."""
    reporter = telemetry(LOGS=logs)
    for how in ({"bad": True}, {}, {"left": True}):
        reporter.ended(played(TICK, **how), None, [])
    assert [record.severity_text for record in sdk.records] == ["WARN", "INFO", "INFO"][:count]


def test_log_records_are_limited(sdk):
    """A burst is cut at ten records; the next one tells how many were held back, and spans are not limited."""
    reporter = telemetry()
    started = time.monotonic()
    for _ in range(60):
        reporter.ended(played(TICK, bad=True), None, [])
    allowed = 10 + int((time.monotonic() - started) * 10) + 1
    burst = len(sdk.records)
    assert 10 <= burst <= allowed
    time.sleep(0.25)
    reporter.ended(played(TICK, bad=True), None, [])
    held_back = [
        int(record.body.rpartition("(")[2].split()[0]) for record in sdk.records if "suppressed" in record.body
    ]
    assert len(sdk.records) + sum(held_back) == 61
    assert len(sdk.spans.get_finished_spans()) == 61


def test_threads_share_the_limit(sdk):
    """Threads that all end streams get ten records a second together, however they come in each other's way."""
    reporter, summary = telemetry(SPANS="off"), played(TICK, bad=True)
    started, interval = time.monotonic(), sys.getswitchinterval()

    def work():
        while time.monotonic() < started + 1:
            reporter.ended(summary, None, [])

    threads = [threading.Thread(target=work) for _ in range(8)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert 10 <= len(sdk.records) <= 10 + int((time.monotonic() - started) * 10) + 1


# -- after death ---------------------------------------------------------------------------------------------


def dead(trace_id=TRACE, number=1, sampled=False):
    summary = played(TICK, bad=True)._replace(gap_counts=(), dead=True)
    return [Dead(summary, trace_id, PARENT, sampled)] * number


def test_the_dead_are_reported_in_their_own_trace(sdk):
    """A stream that died with its process has a span below the one it belonged to, and says so."""
    telemetry().died("0123456789abcdef", dead())
    assert (sdk.span.context.trace_id, sdk.span.parent.span_id) == (TRACE, PARENT)
    assert sdk.span.attributes["stream.process.dead"] is True
    assert "stream.chunk.gap.counts" not in sdk.span.attributes
    death, end = sdk.records
    assert (death.event_name, death.severity_text) == ("stream.process_death", "ERROR")
    assert death.attributes == {"stream.process.id": "0123456789abcdef", "stream.process.dead": True}
    assert "1 open streams" in death.body
    assert (end.event_name, end.trace_id) == ("stream.end", TRACE)


def test_one_that_belonged_to_no_trace_begins_its_own(sdk):
    """Where no context was kept the span is a root."""
    telemetry().died("0123456789abcdef", dead(trace_id=0))
    assert sdk.span.parent is None


def test_a_death_without_open_streams_is_no_news(sdk):
    """Where only counts were left there is nothing to log; the instruments are there to report them."""
    registry = Registry()
    registry.adopt({SHAPE: 3})
    telemetry(registry).died("0123456789abcdef", [])
    assert sdk.records == []
    sdk.points("stream.ledger.started")
    assert sdk.points("stream.ledger.started") == {SHAPED: 3}


def test_reports_of_the_dead_are_capped(sdk, monkeypatch):
    """Of very many streams that died at once only so many get a span; logs may be switched off."""
    monkeypatch.setattr("otel_streaming._telemetry._MAX_DEAD", 12)
    telemetry(LOGS="off").died("0123456789abcdef", dead(number=20))
    assert len(sdk.spans.get_finished_spans()) == 12
    assert sdk.records == []


@pytest.mark.parametrize(("collections", "left"), [(0, 2), (1, 2), (2, 0)])
def test_a_series_reported_as_zero_is_not_handed_out(collections, left, sdk, tmp_path):
    """What the first collection got of a series was 0: killed then, its count is left to the next process."""
    registry, heir = Registry(), Registry()
    for one in (registry, heir):
        one.recorder = Recorder(str(tmp_path), one, lambda: "killed")
    registry.recorder.look()
    telemetry(registry).register()
    finish(registry, begin(registry))
    for _ in range(collections):
        sdk.reader.get_metrics_data()
    registry.recorder.reset()  # its lock goes, as at a kill
    heir.recorder.look()
    assert sum(heir.counts().values()) == left
    heir.recorder.reset()


def test_what_tells_one_service_from_another(sdk, monkeypatch):
    """The resource's name, namespace and environment; without an SDK what the environment says of them."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "chat")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=shop,host.name=h")
    resource = Resource.create({"deployment.environment.name": "test"})
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(resource=resource, shutdown_on_exit=False))
    assert Telemetry.service() == "chat\nshop\ntest"
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", trace.NoOpTracerProvider())
    assert Telemetry.service() == "chat\nservice.namespace=shop,host.name=h"


# -- metrics -------------------------------------------------------------------------------------------------


def begin(registry, shape=SHAPE, ago=0.0):
    now = registry.clock() - ago
    stream = Stream(shape, "POST", now)
    stream.headers(now, 200)
    registry.begin(stream)
    return stream


def finish(registry, stream):
    now = registry.clock()
    stream.eof(now)
    registry.end(stream, *words(summarise(stream, now)))


SHAPED = (
    *(("http.route", "/chat/{id}"), ("stream.kind", "bounded")),
    *(("stream.protocol", "sse"), ("stream.role", "server")),
)


def test_nothing_is_exported_before_the_first_stream(sdk):
    """A service that never streams exports nothing of ours."""
    telemetry()
    assert sdk.reader.get_metrics_data() is None


def test_the_ledger_reports_zero_first(sdk):
    """A series' first report is 0 and the next one its count, so that ``increase`` sees a first failure."""
    registry = Registry()
    telemetry(registry).register()
    finish(registry, begin(registry))
    begin(registry)
    assert sdk.points("stream.ledger.started") == {SHAPED: 0}
    assert sdk.points("stream.ledger.started") == {SHAPED: 2}
    ((labels, value),) = sdk.points("stream.ledger.ended").items()
    assert value == 1
    assert dict(labels) == {
        **dict(SHAPED),
        "stream.result": "ok",
        "stream.outcome": "completed",
        "stream.stalled": False,
    }
    finish(registry, begin(registry))
    assert set(sdk.points("stream.ledger.ended").values()) == {2}


def test_a_later_series_reports_zero_first_as_well(sdk):
    """A series that appears later begins with 0 too, while the others go on."""
    registry = Registry()
    telemetry(registry).register()
    finish(registry, begin(registry))
    sdk.points("stream.ledger.ended")
    assert set(sdk.points("stream.ledger.ended").values()) == {1}
    stream = begin(registry)
    stream.failed(registry.clock(), CRASH)
    registry.end(stream, *words(summarise(stream, registry.clock())))
    assert sorted(sdk.points("stream.ledger.ended").values()) == [0, 1]
    assert sorted(sdk.points("stream.ledger.ended").values()) == [1, 1]


def test_a_forked_child_reports_zero_first(sdk):
    """After a reset the same labels under a new process id are new series."""
    registry = Registry()
    telemetry(registry).register()
    for _ in range(2):
        begin(registry)
        assert sdk.points("stream.ledger.started") == {SHAPED: 0}
        assert sdk.points("stream.ledger.started") == {SHAPED: 1}
        registry.reset()


def test_live_gauges(sdk):
    """Open streams by state and the longest silence are reported live."""
    registry = Registry()
    telemetry(registry).register()
    begin(registry, ago=60.0)
    begin(registry).left(registry.clock())
    active = {dict(labels)["stream.state"]: value for labels, value in sdk.points("stream.active").items()}
    assert {state: value for state, value in active.items() if value} == {"stalled": 1, "abandoned": 1}
    ((labels, silence),) = sdk.points("stream.silence.max").items()
    assert dict(labels) == {"stream.role": "server", "http.route": "/chat/{id}"}
    assert silence >= 60


def test_a_stream_without_a_route_has_no_route_label(sdk):
    """Where no route is known the label is absent, not empty."""
    registry = Registry()
    telemetry(registry).register()
    begin(registry, Shape(Role.SERVER, Kind.OTHER, Protocol.CHUNKED, None))
    for name in ("stream.ledger.started", "stream.active", "stream.silence.max"):
        assert all("http.route" not in dict(labels) for labels in sdk.points(name)), name


def test_instruments_equal_the_contract(sdk):
    """Every metric of the process exists once, with the contract's name, unit and labels."""
    registry = Registry()
    reporter = telemetry(registry)
    reporter.register()
    reporter.register()
    finish(registry, begin(registry))
    data = sdk.reader.get_metrics_data()
    (scope,) = data.resource_metrics[0].scope_metrics
    assert scope.scope.name == "otel_streaming"
    found = {metric.name: metric for metric in scope.metrics}
    contract = {metric.name: metric for metric in sc.METRICS if metric.source == "process"}
    assert found.keys() == contract.keys()
    for name, metric in found.items():
        assert metric.unit == contract[name].unit
        labels = {label for point in metric.data.data_points for label in point.attributes}
        assert labels == {str(label) for label in contract[name].labels}
        monotonic = getattr(metric.data, "is_monotonic", False)
        assert monotonic is (contract[name].instrument == "counter")


def test_many_routes_do_not_overflow_the_instruments(sdk):
    """However many routes the settings allow, in whatever states, the SDK folds no series of ours together."""
    allowed = [n for n in (1900, 380, 200) if not read_settings({PREFIX + "MAX_ROUTES": str(n)})[1]]
    registry = Registry(max_routes=allowed[0])
    telemetry(registry).register()
    for state in range(3):
        for i in range(2000):
            stream = begin(
                registry, Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, registry.cap_route(f"/{i}")), ago=20
            )
            if state == 0:
                stream.left(registry.clock())
            elif state == 1 and stream.chunk(registry.clock(), TICK):
                stream.idle_since = registry.clock()
        for name in ("stream.ledger.started", "stream.active", "stream.silence.max"):
            assert not [labels for labels in sdk.points(name) if ("otel.metric.overflow", True) in labels], name


def test_flushing_reports_the_last_counts(sdk, monkeypatch):
    """A flush collects twice: what ended just before it is reported with its count, not with the first 0 alone."""
    exported = []

    class Exporter(MetricExporter):
        def export(self, metrics_data, timeout_millis=0, **_):
            exported.append(metrics_data)
            return MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis=0):
            return True

        def shutdown(self, timeout_millis=0, **_):
            pass

    reader = PeriodicExportingMetricReader(Exporter(), export_interval_millis=3_600_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", provider)
    registry = Registry()
    reporter = telemetry(registry)
    reporter.register()
    finish(registry, begin(registry))
    assert reporter.flush().wait(10)
    provider.shutdown()
    values = [
        point.value
        for data in exported
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "stream.ledger.ended"
        for point in metric.data.data_points
    ]
    assert values[:2] == [0, 1]


def test_a_flush_that_fails_is_done_as_well(sdk, monkeypatch):
    """An exporter that raises at a flush hurts nobody."""

    class Provider(TracerProvider):
        def force_flush(self, timeout_millis=0):
            raise ConnectionError

    provider = Provider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    reporter = telemetry()
    reporter.register()
    assert reporter.flush().wait(10)


def test_a_flush_without_streams_is_done_at_once(sdk):
    """A process that never had a stream is not flushed by us."""
    assert telemetry().flush().is_set()


# -- without an SDK ------------------------------------------------------------------------------------------


def run(code):
    """Run code in a process of its own, without an SDK; returns what it printed."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            "import sys; sys.modules['opentelemetry.sdk'] = None\n" + textwrap.dedent(code),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_without_an_sdk_nothing_raises():
    """With the API alone streams are counted, nothing raises, and one line says why there are no spans."""
    out, err = run("""
        import time
        from otel_streaming._config import Settings
        from otel_streaming._shape import Shape
        from otel_streaming._stream import Stream
        from otel_streaming._verdict import summarise
        from otel_streaming._engine import Engine
        from otel_streaming.semconv import Kind, Protocol, Role

        engine = Engine(Settings(logs="all"))
        for carrier in ([], [(b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")], []):
            stream = Stream(Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/r"), "GET", time.monotonic())
            stream.headers(time.monotonic(), 200)
            engine.telemetry.register()
            engine.registry.begin(stream)
            summary = summarise(stream, time.monotonic())
            engine.registry.end(stream, summary.result, summary.outcome)
            engine.telemetry.mark(engine.telemetry.current(None), summary)
            engine.telemetry.ended(summary, None, carrier)
        assert engine.telemetry.flush().wait(10)
        print(sum(engine.registry.ended().values()))
    """)
    assert out.strip() == "3"
    assert err.count("streams get no spans") == 1


def test_a_provider_that_samples_nothing_is_reported_once(caplog, monkeypatch):
    """A provider whose tracers do not record is reported once, and not at all if spans are switched off."""

    class Deaf(trace.TracerProvider):
        def get_tracer(self, *_args, **_kwargs):
            return trace.NoOpTracer()

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Deaf())
    with caplog.at_level(logging.WARNING, "otel_streaming"):
        telemetry(SPANS="off").ended(played(TICK), None, [])
        assert not caplog.records
        reporter = telemetry()
        for _ in range(3):
            reporter.ended(played(TICK), None, [])
    assert len(caplog.records) == 1
    assert "OTEL_PYTHON_STREAMING_SPANS=off" in caplog.text


def test_a_provider_set_late_is_used(sdk, monkeypatch):
    """An SDK configured after the first stream gets the spans of the next."""
    late = trace.get_tracer_provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    reporter = telemetry()
    reporter.ended(played(TICK), None, [])
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", late)
    reporter.ended(played(TICK), None, [])
    assert sdk.span.parent is None
