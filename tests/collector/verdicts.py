"""What is to be said of a proxy's stream, and what Prometheus has of it."""

import contextlib

from otel_streaming import semconv
from otel_streaming.semconv import Origin, Outcome, Phase, Reason, Result
from stack import StackError

SERVICE_LABELS = {"job", "service_name", "collector_instance_id"}
COMMON = {
    semconv.ROLE: "proxy",
    semconv.KIND: "bounded",
    semconv.PROTOCOL: "sse",
    semconv.DIALECT: "none",
    semconv.METHOD: "POST",
    semconv.STATUS_CODE: 200,
    semconv.TERMINAL: "not_checked",
    semconv.STALLED: "false",
    semconv.MASKED: "false",
}
_VERDICT = (semconv.RESULT, semconv.OUTCOME, semconv.REASON, semconv.PHASE, semconv.ORIGIN)

OK = (Result.OK, Outcome.COMPLETED, Reason.COMPLETED, Phase.MID_STREAM, Origin.SERVER)
LOST = (Result.SILENT, Outcome.TRUNCATED, Reason.CONNECTION_LOST, Phase.MID_STREAM, Origin.UPSTREAM)
SPOILT = (Result.SILENT, Outcome.FAILED, Reason.PROTOCOL_ERROR, Phase.MID_STREAM, Origin.UNKNOWN)
HUNG = (Result.SILENT, Outcome.FAILED, Reason.IDLE_TIMEOUT, Phase.MID_STREAM, Origin.UPSTREAM)
BLANK = (Result.SILENT, Outcome.FAILED, Reason.IDLE_TIMEOUT, Phase.BEFORE_FIRST_CHUNK, Origin.UPSTREAM)
EXPIRED = (Result.SILENT, Outcome.FAILED, Reason.DEADLINE_EXCEEDED, Phase.MID_STREAM, Origin.INTERMEDIARY)
UNREAD = (Result.SILENT, Outcome.FAILED, Reason.CLIENT_TIMEOUT, Phase.MID_STREAM, Origin.CLIENT)
LEFT = (Result.CANCELLED, Outcome.CANCELLED, Reason.CLIENT_DISCONNECT, Phase.MID_STREAM, Origin.CLIENT)
BLANK_LEFT = (Result.CANCELLED, Outcome.CANCELLED, Reason.CLIENT_DISCONNECT, Phase.BEFORE_FIRST_CHUNK, Origin.CLIENT)
GAVE_UP = (Result.GAVE_UP, Outcome.CANCELLED, Reason.CLIENT_DISCONNECT, Phase.BEFORE_FIRST_CHUNK, Origin.CLIENT)
IMPATIENT = (Result.GAVE_UP, Outcome.CANCELLED, Reason.CLIENT_DISCONNECT, Phase.BEFORE_HEADERS, Origin.CLIENT)
LOUD = (Result.LOUD, Outcome.FAILED, Reason.HTTP_5XX, Phase.BEFORE_HEADERS, Origin.UPSTREAM)
REJECTED = (Result.LOUD, Outcome.FAILED, Reason.HTTP_5XX, Phase.BEFORE_HEADERS, Origin.INTERMEDIARY)


def labels(verdict, route=None, **more):
    """The labels of one series, in Prometheus' words; what is None is not there."""
    named = {getattr(semconv, name): value for name, value in more.items()}
    found = {**COMMON, **dict(zip(_VERDICT, verdict, strict=True)), semconv.ROUTE: route, **named}
    return frozenset((name.label, str(value)) for name, value in found.items() if value is not None)


def ended(stack, service, **matchers):
    """Every series of `stream_ended_total`: its labels beside the service's, and its value."""
    selector = ", ".join(f'{name}="{value}"' for name, value in {"service_name": service, **matchers}.items())
    return {
        frozenset((name, value) for name, value in sample.labels.items() if name not in SERVICE_LABELS): sample.value
        for sample in stack.prometheus.query(f"max_over_time(stream_ended_total{{{selector}}}[1h])")
    }


def assert_ended(stack, service, route, wanted):
    """These are the series of the route, and their values, within reasonable time."""

    def found():
        return ended(stack, service, http_route=route)

    with contextlib.suppress(StackError):  # the assertion shows the difference better
        stack.wait_until(lambda: found() == wanted, f"{route} of {service}")
    assert found() == wanted
