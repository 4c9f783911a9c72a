"""What the overlay for GenAI spans makes of them, asserted on what the real Prometheus has scraped."""

import pytest
from opentelemetry.trace import set_span_in_context
from senders import Service

from otel_streaming import semconv

pytestmark = pytest.mark.e2e

ASKED = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.stream": True}
CAME = {"gen_ai.response.id": "c1", "gen_ai.response.model": "m", "gen_ai.response.time_to_first_chunk": 0.25}

OK = "ok completed {} after_terminal server seen"
SILENT = "silent {} mid_stream upstream missing"
UNKNOWN = "unknown unknown unknown {} unknown missing"


def ended(*words):
    return {"gen_ai.response.finish_reasons": words}


def failed(error):
    return {"error.type": error}


CASES = {
    "finished": (CAME | ended("stop"), OK.format("completed")),
    "finished-twice": (CAME | ended("stop", "tool_calls"), OK.format("completed")),
    "finished-json": (CAME | {"gen_ai.response.finish_reasons": '["end_turn"]'}, OK.format("completed")),
    "finished-then-lost": (CAME | ended("stop") | failed("openai.APIConnectionError"), OK.format("completed")),
    "early-stop": (CAME | ended("length"), OK.format("incomplete_declared")),
    "filtered": (CAME | ended("SAFETY"), OK.format("incomplete_declared")),
    "cut-or-left": (CAME, UNKNOWN.format("mid_stream")),
    "no-reasons": (CAME | ended(), UNKNOWN.format("mid_stream")),
    "error-for-none": (CAME | ended("error"), UNKNOWN.format("mid_stream")),
    "blank": ({}, UNKNOWN.format("before_first_chunk")),
    "dropped": (CAME | failed("_OTHER"), UNKNOWN.format("mid_stream")),
    "lost": (CAME | failed("openai.APIConnectionError"), SILENT.format("truncated connection_lost")),
    "reset": (CAME | failed("httpx.RemoteProtocolError"), SILENT.format("truncated connection_lost")),
    "slow": (CAME | failed("openai.APITimeoutError"), SILENT.format("failed idle_timeout")),
    "read-timeout": (CAME | failed("ReadTimeout"), SILENT.format("failed idle_timeout")),
    "error-event": (CAME | failed("openai.APIError"), SILENT.format("failed in_band_error")),
    "cancelled": (CAME | failed("CancelledError"), "cancelled cancelled consumer_stopped mid_stream client missing"),
    "unreachable": (
        failed("openai.APIConnectionError"),
        "loud failed connect_failed before_headers upstream not_checked",
    ),
    "500": (failed("500"), "loud failed http_5xx before_headers upstream not_checked"),
    "500-named": (failed("InternalServerError"), "loud failed http_5xx before_headers upstream not_checked"),
}
LABELS = [semconv.RESULT, semconv.OUTCOME, semconv.REASON, semconv.PHASE, semconv.ORIGIN, semconv.TERMINAL]

NOT_COUNTED = {
    "not-streamed": {"gen_ai.request.stream": False},
    "not-said": {"gen_ai.request.stream": None},
    "embeddings": {"gen_ai.operation.name": "embeddings"},
    "a-tool": {"gen_ai.operation.name": "execute_tool"},
    "no-genai": {"gen_ai.operation.name": None},
    "429": failed("429"),
    "429-named": failed("openai.RateLimitError"),
}
OLDER = {"gen_ai.operation.name": "chat", "gen_ai.is_streaming": True}
SCOPE = "opentelemetry.instrumentation.genai.openai"

OURS = {
    semconv.ROLE: "client",
    semconv.KIND: "bounded",
    semconv.PROTOCOL: "sse",
    semconv.DIALECT: "openai.chat",
    semconv.RESULT: "silent",
    semconv.OUTCOME: "truncated",
    semconv.REASON: "missing_terminal",
    semconv.PHASE: "mid_stream",
    semconv.ORIGIN: "upstream",
    semconv.TERMINAL: "missing",
}


def call(sender, attributes, context=None):
    """Send the span of a model call, with content that nobody may see again."""
    given = {name: value for name, value in (ASKED | attributes).items() if value is not None}
    content = {"gen_ai.input.messages": "secret", "server.address": "llm.example", "gen_ai.usage.output_tokens": 7}
    return sender.stream(given | content, 2.0, scope=SCOPE, context=context)


@pytest.fixture(scope="module")
def calls(pulled):
    """One call of each kind, each of a service of its own; they have all been counted."""
    for name, (attributes, _) in CASES.items():
        with Service(pulled.otlp_endpoint, f"genai-{name}") as sender:
            call(sender, attributes)
    for name, attributes in NOT_COUNTED.items():
        with Service(pulled.otlp_endpoint, f"genai-{name}") as sender:
            call(sender, attributes)
    with Service(pulled.otlp_endpoint, "genai-older") as sender:
        sender.stream(
            OLDER | {"gen_ai.response.id": "c1"} | ended("stop"), scope="opentelemetry.instrumentation.openai.v1"
        )
    with Service(pulled.otlp_endpoint, "genai-caller") as caller, Service(pulled.otlp_endpoint, "genai-model") as model:
        theirs = call(caller, CAME)
        caller.stream(OURS, context=set_span_in_context(theirs))
        call(model, CAME | ended("stop"), context=set_span_in_context(theirs))
    everything = {*CASES, "older", "caller", "model"}
    query = 'count(count by (service_name) (stream_ended_total{service_name=~"genai-.*"} > 0))'
    pulled.wait_until(lambda: pulled.prometheus.value(query) == len(everything), "all to be counted")


def streams(pulled, name):
    """The streams counted of the service, without what does not tell them apart."""
    query = f'sum without (instance, collector_instance_id) (stream_ended_total{{service_name="genai-{name}"}}) > 0'
    return [(sample.labels, sample.value) for sample in pulled.prometheus.query(query)]


@pytest.mark.parametrize("name", CASES)
def test_verdict(pulled, calls, name):
    """A streamed call counts once, as a client's stream, with the verdict that its span gives evidence for."""
    ((labels, count),) = streams(pulled, name)
    assert count == 1
    assert " ".join(labels[label.label] for label in LABELS) == CASES[name][1]
    fixed = {"stream_role": "client", "stream_kind": "bounded", "stream_protocol": "_OTHER", "stream_dialect": "_OTHER"}
    assert labels.items() >= (fixed | {"server_address": "llm.example"}).items()
    assert "secret" not in str(labels)


@pytest.mark.parametrize("verdict", sorted({verdict for _, verdict in CASES.values()}))
def test_words(verdict):
    """Every verdict is made of the contract's words, and the outcome is the one that the reason stands for."""
    words = dict(zip(LABELS, verdict.split(), strict=True))
    assert all(word in set(label.values) for label, word in words.items())
    assert semconv.REASON_OUTCOME[semconv.Reason(words[semconv.REASON])] == words[semconv.OUTCOME]


def test_older_instrumentations(pulled, calls):
    """Those that know only ``gen_ai.is_streaming`` count as well."""
    ((labels, count),) = streams(pulled, "older")
    assert (labels["stream_result"], count) == ("ok", 1)


@pytest.mark.parametrize("name", NOT_COUNTED)
def test_not_counted(pulled, calls, name):
    """What does not stream, does not say so, is no inference, or was refused as 4xx, is no stream."""
    assert streams(pulled, name) == []


def test_ours_counts_alone(pulled, calls):
    """Where our own span tells of the client's stream, the GenAI span of the same call is not counted beside it."""
    ((labels, count),) = streams(pulled, "caller")
    assert (labels["stream_reason"], labels["stream_dialect"], count) == ("missing_terminal", "openai.chat", 1)


def test_other_services_of_the_trace(pulled, calls):
    """Another service's call in that same trace counts: our span is not about it."""
    ((labels, count),) = streams(pulled, "model")
    assert (labels["stream_result"], count) == ("ok", 1)


def test_numbers(pulled, calls):
    """First chunk, tokens nobody profited from, and age at the cut are those of the span."""
    of = '{service_name="genai-lost", stream_role="client"}'

    def value(name):
        return pulled.wait_until(lambda: pulled.prometheus.value(name + of), name)

    assert value("stream_time_to_first_chunk_seconds_sum") == 0.25
    assert value("stream_wasted_tokens_total") == 7
    assert value("stream_interrupted_duration_seconds_sum") == pytest.approx(2)
