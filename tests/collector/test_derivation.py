"""What the real collector derives from spans, asserted on what the real Prometheus then answers."""

import contextlib
import random
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context
from senders import HEALTHY, complaints

from dashboards import health
from otel_streaming import semconv
from otel_streaming.semconv import Outcome, Reason
from stack import StackError

pytestmark = pytest.mark.e2e

DERIVED = [metric for metric in semconv.METRICS if metric.source == "collector"]
SERVICE_LABELS = {"job", "service_name", "service_namespace", "deployment_environment_name", "collector_instance_id"}
BROKEN = (Outcome.TRUNCATED, Outcome.FAILED)

ONE_CHUNK = HEALTHY | {semconv.CHUNK_COUNT: 1}


def some_labels(rng):
    """Everything that becomes a label, of any stream that the contract allows and some more."""
    reason = rng.choice(list(Reason))
    closed = (
        *(semconv.RESULT, semconv.ROLE, semconv.KIND, semconv.PROTOCOL, semconv.PHASE, semconv.ORIGIN),
        *(semconv.TERMINAL, semconv.RETRY),
    )
    optional = {
        semconv.ROUTE: rng.choice(["/chat", "/search"]),
        semconv.METHOD: rng.choice(["GET", "POST"]),
        semconv.STATUS_CODE: rng.choice([200, 503]),
        semconv.SERVER_ADDRESS: rng.choice(["llm.example", "search.example"]),
        semconv.DIALECT: str(rng.choice(list(semconv.Dialect))),
        semconv.CACHE: str(rng.choice(list(semconv.Cache))),
        semconv.MASKED: rng.random() < 0.2,
        semconv.BUFFERED: rng.random() < 0.2,
        semconv.STALL_COUNT: rng.choice([0, 3]),
    }
    return {
        semconv.REASON: str(reason),
        semconv.OUTCOME: str(semconv.REASON_OUTCOME[reason]),
        **{name: str(rng.choice(list(name.values))) for name in closed},
        **{name: value for name, value in optional.items() if rng.random() < 0.9},
    }


def some_numbers(rng):
    """Everything that is added up or observed."""
    optional = {
        semconv.CHUNK_GAP_COUNTS: [rng.randrange(40) for _ in range(len(semconv.GAP_BOUNDS) + 1)],
        semconv.SIZE: rng.randrange(1_000_000),
        semconv.CHUNK_COUNT: rng.randrange(1000),
        semconv.ABANDONED_SIZE: rng.randrange(1000),
        semconv.ABANDONED_DURATION: rng.choice([0.0, 2.5]),
        semconv.OUTPUT_TOKENS: rng.randrange(1000),
        semconv.TIME_TO_FIRST_CHUNK: rng.choice([0.0625, 0.25, 3.5, 90.0]),
    }
    return {name: value for name, value in optional.items() if rng.random() < 0.9}


def some_streams(rng, count):
    """Streams with their ages; few enough combinations of labels that each series adds up many."""
    kinds = [some_labels(rng) for _ in range(200)]
    ages = [0.125, 14.5, 15.0, 30.25, 60.0, 61.5, 900.0, 4000.0]  # exact in binary, so sums are too
    return [(rng.choice(kinds) | some_numbers(rng), rng.choice(ages)) for _ in range(count)]


def counted(metric, stream, seconds):
    """What one stream adds to a counter of the contract; None where it does not touch it."""
    outcome = stream[semconv.OUTCOME]
    broken, cancelled = outcome in BROKEN, outcome == Outcome.CANCELLED

    def wasted(whole, part):
        return whole if broken else stream.get(part) if cancelled else None

    return {
        semconv.ENDED: 1,
        semconv.SIZES: stream.get(semconv.SIZE),
        semconv.CHUNKS: stream.get(semconv.CHUNK_COUNT),
        semconv.WASTED_SIZE: wasted(stream.get(semconv.SIZE), semconv.ABANDONED_SIZE),
        semconv.WASTED_DURATION: wasted(seconds, semconv.ABANDONED_DURATION),
        semconv.WASTED_TOKENS: stream.get(semconv.OUTPUT_TOKENS) if broken else None,
        semconv.RETRIES: 1 if stream.get(semconv.RETRY, "none") != "none" else None,
        semconv.BUFFERED_STREAMS: 1 if stream.get(semconv.BUFFERED) else None,
    }[metric]


def observed(metric, stream, seconds):
    """What one stream adds to a histogram of the contract: the values observed, how often each."""
    cut = stream[semconv.OUTCOME] != Outcome.COMPLETED and stream[semconv.PHASE] != semconv.Phase.BEFORE_HEADERS
    return {
        semconv.DURATION: {seconds: 1},
        semconv.FIRST_CHUNK_TIME: {stream[semconv.TIME_TO_FIRST_CHUNK]: 1}
        if semconv.TIME_TO_FIRST_CHUNK in stream
        else {},
        semconv.INTERRUPTED_DURATION: {seconds: 1} if cut else {},
        semconv.GAP: dict(
            zip((*semconv.GAP_BOUNDS, 1e9), stream.get(semconv.CHUNK_GAP_COUNTS, ()), strict=False),
        ),
    }[metric]


def labels(metric, stream):
    """The labels that the contract gives the metric, in Prometheus' words."""
    known = {semconv.DIALECT: "none", semconv.MASKED: False, semconv.STALLED: stream.get(semconv.STALL_COUNT, 0) > 0}
    known |= stream
    return frozenset(
        (name.label, str(known[name]).lower() if isinstance(known[name], bool) else str(known[name]))
        for name in metric.labels
        if name in known
    )


def expected(metric, streams, bounds):
    """Every series of the metric with its value, as ``(suffix, labels)``."""
    series = Counter()
    for stream, seconds in streams:
        at = labels(metric, stream)
        if metric.instrument == "counter":
            if (value := counted(metric, stream, seconds)) is not None:
                series["", at] += value
            continue
        for value, times in observed(metric, stream, seconds).items():
            series["_count", at] += times
            for bound in bounds[bisect_left(bounds, value) :]:
                series["_bucket", at | {("le", bound)}] += times
            if metric is not semconv.GAP:  # only its counts are exact
                series["_sum", at] += value * times
    return {key: value for key, value in series.items() if value}


def measured(stack, metric, service):
    """Every series of the metric of a service, as ``(suffix, labels)``, and the bounds of its buckets."""
    series, bounds = defaultdict(float), set()
    suffixes = [""] if metric.instrument == "counter" else ["_count", "_bucket", "_sum"]
    for suffix in suffixes:
        if (metric, suffix) == (semconv.GAP, "_sum"):
            continue
        for sample in stack.prometheus.query(
            f'max_over_time({metric.prometheus}{suffix}{{service_name="{service}"}}[1h])'
        ):
            assert sample.labels.keys() >= SERVICE_LABELS
            found = {name: value for name, value in sample.labels.items() if name not in SERVICE_LABELS}
            if "le" in found:
                bounds.add(float(found["le"]))
                found["le"] = float(found["le"])
            series[suffix, frozenset(found.items())] += sample.value
    return {key: value for key, value in series.items() if value}, sorted(bounds)


def assert_measured(stack, metric, service, streams):
    """Prometheus knows these streams: every series, its labels and its value, and no other."""

    def both():
        found, bounds = measured(stack, metric, service)
        return found, expected(metric, streams, bounds)

    with contextlib.suppress(StackError):  # the assertion shows the difference better
        stack.wait_until(lambda: both()[0] == both()[1], metric.name)
    found, wanted = both()
    assert found == wanted


@pytest.fixture(scope="module")
def many(process):
    """Six thousand streams of the service "many", sent by two of its processes at once."""
    streams = some_streams(random.Random(20), 6000)
    halves = streams[:3000], streams[3000:]

    def send(half, instance):
        with process("many", instance) as sender:
            for attributes, seconds in half:
                sender.stream(attributes, seconds)

    threads = [threading.Thread(target=send, args=(half, str(number))) for number, half in enumerate(halves)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return streams


@pytest.mark.parametrize("metric", DERIVED, ids=lambda metric: metric.name)
def test_every_series_is_exact(stack, many, metric):
    """Each derived metric has the contract's labels, no other, and exact values, however the senders alternate."""
    assert_measured(stack, metric, "many", many)


def test_gap_bounds(stack, many):
    """The gap histogram's buckets are those in which the span counts."""
    _, bounds = measured(stack, semconv.GAP, "many")
    assert bounds == [*semconv.GAP_BOUNDS, float("inf")]


OTHERS = {
    "other-scope": ({}, "opentelemetry.instrumentation.asgi"),
    "no-outcome": ({semconv.OUTCOME: None}, semconv.SCOPE),
}


@pytest.mark.parametrize("service", OTHERS)
def test_not_derived(stack, process, service):
    """Spans of other scopes, and spans that are no ended streams, add nothing."""
    different, scope = OTHERS[service]
    other = {name: value for name, value in (ONE_CHUNK | different).items() if value is not None}
    with process(service) as sender:
        sender.stream(other, scope=scope)
        sender.stream(ONE_CHUNK)
    for metric in (semconv.ENDED, semconv.CHUNKS):
        assert_measured(stack, metric, service, [(ONE_CHUNK, 1.0)])


def test_what_the_process_has_counted_is_not_counted_again(stack, process):
    """Of such a stream the collector derives what the process does not: gaps, sizes and the like."""
    stream = ONE_CHUNK | {semconv.TIME_TO_FIRST_CHUNK: 0.5, semconv.CHUNK_GAP_COUNTS: [1] + [0] * 11}
    counted = stream | {semconv.COUNTED_BY: "sdk"}
    with process("counted") as sender:
        sender.stream(counted)
        sender.stream(stream)
    for metric in (semconv.ENDED, semconv.DURATION, semconv.FIRST_CHUNK_TIME):
        assert_measured(stack, metric, "counted", [(stream, 1.0)])
    for metric in (semconv.CHUNKS, semconv.GAP):
        assert_measured(stack, metric, "counted", [(stream, 1.0), (stream, 1.0)])


def test_sampling_of_a_caller_does_not_multiply(stack, process):
    """A caller's ``ot=th:c`` says that it kept one trace in four; our span still counts once."""
    state, flags = TraceState([("ot", "th:c")]), TraceFlags(TraceFlags.SAMPLED)
    caller = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=flags, trace_state=state))
    with process("sampled") as sender:
        span = sender.stream(ONE_CHUNK, context=set_span_in_context(caller))
    assert span.get_span_context().trace_state.get("ot") == "th:c"
    for metric in (semconv.ENDED, semconv.DURATION, semconv.CHUNKS):
        assert_measured(stack, metric, "sampled", [(ONE_CHUNK, 1.0)])


def test_first_failure_is_an_increase(stack, process):
    """The very first failure of its kind is visible to ``increase``: there is a zero before it."""
    failed = {
        semconv.RESULT: "silent",
        semconv.OUTCOME: "truncated",
        semconv.REASON: "connection_lost",
        semconv.SIZE: 1,
    }
    with process("first") as sender:
        sender.stream(ONE_CHUNK | failed)
    for metric in (semconv.ENDED, semconv.WASTED_SIZE, semconv.INTERRUPTED_DURATION):
        name = metric.prometheus + ("" if metric.instrument == "counter" else "_count")
        query = f'increase({name}{{service_name="first", stream_reason="connection_lost"}}[5m])'
        stack.wait_until(lambda query=query: (stack.prometheus.value(query) or 0) >= 1, query)


def test_exemplars(stack, process):
    """A counted stream leads to its trace."""
    now = time.time()
    with process("exemplar") as sender:
        trace_id = f"{sender.stream(ONE_CHUNK).get_span_context().trace_id:032x}"
    for name in (semconv.ENDED.prometheus, f"{semconv.DURATION.prometheus}_bucket"):
        query = f'{name}{{service_name="exemplar"}}'
        found = stack.wait_until(lambda query=query: stack.prometheus.exemplars(query, now - 60, now + 600), query)
        assert {exemplar.labels["trace_id"] for exemplar in found} == {trace_id}


def test_metrics_of_processes_pass(stack, process):
    """What the processes count themselves arrives unchanged, with their own labels."""
    sender = process("ledger")
    exporter = OTLPMetricExporter(endpoint=f"{stack.otlp_endpoint}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    provider = MeterProvider([reader], sender.resource, shutdown_on_exit=False)
    attributes = dict.fromkeys(map(str, semconv.LEDGER_ENDED.labels), "x")
    meter = provider.get_meter(semconv.SCOPE)
    counter = meter.create_counter(semconv.LEDGER_ENDED.name, semconv.LEDGER_ENDED.unit)
    gauge = meter.create_gauge(semconv.SILENCE_MAX.name, semconv.SILENCE_MAX.unit)
    counter.add(7, attributes)
    gauge.set(2.5, {semconv.ROLE: "server"})
    provider.shutdown()
    sender.provider.shutdown()

    def sample(metric):
        query = f'last_over_time({metric.prometheus}{{service_name="ledger"}}[1h])'
        return stack.wait_until(lambda: stack.prometheus.query(query), query)[0]

    own = {"instance": "1", "service_instance_id": "1"}
    service = {"job": "tests/ledger", "service_name": "ledger", "service_namespace": "tests"}
    common = own | service | {"deployment_environment_name": "ci"}
    ended, silence = sample(semconv.LEDGER_ENDED), sample(semconv.SILENCE_MAX)
    ended.labels.pop("__name__", None)
    silence.labels.pop("__name__", None)
    assert (ended.value, silence.value) == (7, 2.5)
    assert ended.labels == common | {name.label: "x" for name in semconv.LEDGER_ENDED.labels}
    assert silence.labels == common | {"stream_role": "server"}


def test_collector_is_scraped(stack, many):
    """Prometheus has the collector's own metrics, which tell what was lost on the way, as the dashboards call them."""
    only_after_a_failure = {health.COLLECTOR[how] for how in ("failed", "dropped")}
    for name in {*health.COLLECTOR.values()} - only_after_a_failure:
        query = f'{name}{{job="otel-collector"}}'
        stack.wait_until(lambda query=query: stack.prometheus.query(query), query)


def test_nothing_to_complain_about(stack, many):
    """The collector has logged no warning, no error and no "please rewrite"."""
    assert complaints(stack.collector.log) == []
