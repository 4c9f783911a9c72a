"""The contract's names."""

import copy
import pickle
import re

import pytest

from otel_streaming import semconv as sc

PROMETHEUS = {
    "stream.ledger.started": "stream_ledger_started_total",
    "stream.ledger.ended": "stream_ledger_ended_total",
    "stream.active": "stream_active",
    "stream.silence.max": "stream_silence_max_seconds",
    "stream.ended": "stream_ended_total",
    "stream.duration": "stream_duration_seconds",
    "stream.time_to_first_chunk": "stream_time_to_first_chunk_seconds",
    "stream.chunk.gap": "stream_chunk_gap_seconds",
    "stream.interrupted.duration": "stream_interrupted_duration_seconds",
    "stream.size": "stream_size_bytes_total",
    "stream.chunks": "stream_chunks_total",
    "stream.wasted.size": "stream_wasted_size_bytes_total",
    "stream.wasted.duration": "stream_wasted_duration_seconds_total",
    "stream.wasted.tokens": "stream_wasted_tokens_total",
    "stream.retries": "stream_retries_total",
    "stream.buffered": "stream_buffered_total",
}

SHAPE = "stream_role stream_kind stream_protocol http_route"
LABELS = {
    "stream.ledger.started": f"{SHAPE} stream_process_id",
    "stream.ledger.ended": f"{SHAPE} stream_result stream_outcome stream_stalled stream_process_id",
    "stream.active": f"{SHAPE} stream_state stream_process_id",
    "stream.silence.max": "stream_role http_route stream_process_id",
    "stream.ended": (
        f"{SHAPE} stream_dialect http_request_method http_response_status_code stream_result stream_outcome "
        "stream_phase stream_reason stream_origin stream_terminal stream_stalled stream_masked server_address"
    ),
    "stream.duration": "stream_role stream_protocol http_route stream_outcome",
    "stream.time_to_first_chunk": "stream_role stream_protocol http_route",
    "stream.chunk.gap": "stream_role stream_protocol http_route",
    "stream.interrupted.duration": "stream_role http_route stream_outcome stream_reason",
    "stream.size": "stream_role http_route stream_outcome",
    "stream.chunks": "stream_role http_route stream_outcome",
    "stream.wasted.size": "stream_role http_route stream_reason",
    "stream.wasted.duration": "stream_role http_route stream_reason",
    "stream.wasted.tokens": "stream_role http_route stream_reason",
    "stream.retries": "stream_role http_route stream_retry",
    "stream.buffered": "stream_role http_route stream_cache",
}

OUTCOMES = {
    "completed": "completed incomplete_declared",
    "cancelled": "client_disconnect consumer_stopped",
    "truncated": "missing_terminal connection_lost incomplete_response process_death upstream_masked",
    "failed": (
        "client_timeout in_band_error producer_error idle_timeout deadline_exceeded protocol_error "
        "server_cancelled declared_error connect_failed server_shutdown http_5xx"
    ),
    "unknown": "unknown",
}

WORDS = {
    sc.Result: "ok loud silent recycled gave_up cancelled unknown",
    sc.Phase: "before_headers before_first_chunk mid_stream after_terminal",
    sc.Origin: "client server upstream intermediary unknown",
    sc.Role: "server client task proxy",
    sc.Kind: "bounded subscription other",
    sc.Protocol: "sse ndjson json_array json_seq multipart eventstream websocket chunked fixed iterable",
    sc.Dialect: (
        "openai.chat openai.responses anthropic.messages gemini ollama cohere bedrock vercel_ai langserve "
        "langgraph mcp a2a ag_ui declared none"
    ),
    sc.Terminal: "seen missing not_checked not_required",
    sc.State: "waiting flowing stalled backpressured abandoned",
    sc.Retry: "none retried resumed",
    sc.AttemptBasis: "configured accept learned",
    sc.Cache: "none hit miss",
}


def test_every_reason_stands_for_one_outcome():
    """Each reason has exactly the outcome that the vocabulary gives it, and no reason is left out."""
    expected = {reason: outcome for outcome, reasons in OUTCOMES.items() for reason in reasons.split()}
    assert {reason.value: outcome.value for reason, outcome in sc.REASON_OUTCOME.items()} == expected
    assert set(sc.REASON_OUTCOME) == set(sc.Reason)


@pytest.mark.parametrize(("words", "expected"), WORDS.items(), ids=lambda v: getattr(v, "__name__", ""))
def test_vocabularies_are_closed(words, expected):
    """A vocabulary holds the words of the contract and no other."""
    assert sorted(word.value for word in words) == sorted(expected.split())


def test_words_are_their_wire_values():
    """A word formats as the bare string that goes on the wire."""
    assert (str(sc.Outcome.TRUNCATED), f"{sc.Reason.HTTP_5XX}", sc.Result.OK) == ("truncated", "http_5xx", "ok")


def test_prometheus_names_equal_the_contract():
    """Each metric has the Prometheus name that dashboards and alerts use."""
    assert {metric.name: metric.prometheus for metric in sc.METRICS} == PROMETHEUS


def test_metric_labels_equal_the_contract():
    """Each metric has the labels of the contract, as Prometheus writes them."""
    labels = {metric.name: {label.label for label in metric.labels} for metric in sc.METRICS}
    assert labels == {name: set(text.split()) for name, text in LABELS.items()}


def test_attribute_names_are_unique_and_make_valid_labels():
    """No attribute is declared twice, and each is a valid Prometheus label."""
    assert len(set(sc.ATTRIBUTES)) == len(sc.ATTRIBUTES)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", attribute.label) for attribute in sc.ATTRIBUTES)


def test_attributes_know_their_type():
    """An attribute has one of the known types, and a closed vocabulary only if it is a string."""
    for attribute in sc.ATTRIBUTES:
        assert attribute.value_type in {"string", "int", "double", "boolean", "int[]"}
        assert attribute.values is None or attribute.value_type == "string"


@pytest.mark.parametrize(
    "clone",
    [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],  # noqa: S301 - our own bytes
)
def test_attributes_are_copied_as_plain_strings(clone):
    """Exporters may copy or pickle attribute keys: the copy is the plain name."""
    copied = clone({sc.RESULT: 1})
    ((key, value),) = copied.items()
    assert (key, value) == ("stream.result", 1)
    assert clone(sc.RESULT) == "stream.result"
    assert clone is copy.copy or type(key) is str


def test_gap_bounds_ascend():
    """Eleven ascending bounds make twelve buckets."""
    assert len(sc.GAP_BOUNDS) == 11
    assert list(sc.GAP_BOUNDS) == sorted(set(sc.GAP_BOUNDS))
