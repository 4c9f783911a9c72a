"""Telemetry: spans and log records; with the instruments the only module that speaks to the OpenTelemetry API.

A stream's span is made once, at its end, back-dated to the request's start; while it is open nothing of
OpenTelemetry's is held but a reference to the parent span. Our spans are never head-sampled: one a stream is
cheap, and a sampled verdict would be none.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry import _logs, metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from otel_streaming import semconv as sc
from otel_streaming._described import attributes_of, events_of, name_of
from otel_streaming._instruments import Instruments
from otel_streaming._notices import notice, where
from otel_streaming._version import __version__

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otel_streaming._config import Settings
    from otel_streaming._recovery import Dead
    from otel_streaming._registry import Registry
    from otel_streaming._stream import Stream
    from otel_streaming._verdict import StreamSummary

    Carrier = Iterable[tuple[bytes, bytes]]

_LOGS_PER_SECOND = 10
_MODEL_NAMES = 50
_MAX_DEAD = 1000
"""Streams of one dead process that get a span; all are counted."""


class Telemetry:
    """Spans, log records and instruments of one process."""

    _caught_of: ClassVar[trace.TracerProvider | None] = None  # a processor can be added, and never taken away

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        *,
        instruments: bool = True,
        caught: Callable[[Span], None] | None = None,
    ) -> None:
        self._caught = caught
        self._settings = settings
        self._registry = registry
        self._instruments = Instruments(settings, registry) if instruments else None
        self._flushed = False
        self._provider: trace.TracerProvider | None = None
        self._tracer: trace.Tracer | None = None
        self._roots = False  # whether a span without a parent is sure to be sampled
        self._checked = False
        self._models: set[str] = set()
        self._tokens = _TokenBucket(_LOGS_PER_SECOND)

    @staticmethod
    def ready() -> bool:
        """Tell whether an SDK is set up: an application may do so in its startup."""
        return getattr(trace.get_tracer_provider(), "resource", None) is not None

    @staticmethod
    def service() -> str:
        """Return what tells this service from others, as far as its telemetry does."""
        resource = getattr(trace.get_tracer_provider(), "resource", None)
        if resource is None:
            return "\n".join(os.environ.get(name, "") for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"))
        names = (sc.SERVICE_NAME, sc.SERVICE_NAMESPACE, sc.ENVIRONMENT)
        return "\n".join(str(resource.attributes.get(name, "")) for name in names)

    def records(self) -> bool:
        """Tell whether a span of ours would record, as things are set up."""
        tracer = self._get_tracer()
        around = self._around(None, ())
        return around is not None and tracer.start_span("", around).is_recording()  # not ended, so not exported

    def register(self) -> None:
        """Create the instruments, once: a service that never streams exports nothing of ours."""
        if self._instruments is not None:
            self._instruments.register()

    def reset(self) -> None:
        """Begin anew, as a forked child must."""
        if self._instruments is not None:
            self._instruments.reset()

    # -- parents --------------------------------------------------------------------------------------------

    @staticmethod
    def current(context: contextvars.Context | None) -> Span | None:
        """Return the span that is current here, or was in ``context``; None if there is none."""
        span = trace.get_current_span() if context is None else context.run(trace.get_current_span)
        return span if span is not trace.INVALID_SPAN and span.get_span_context().is_valid else None

    def catch(self) -> None:
        """Have ``caught`` called with each SERVER span that starts, where there is an SDK to tell of it.

        Some are current in no place of ours: contrib's below a BaseHTTPMiddleware, and the one for Django.
        """
        provider = trace.get_tracer_provider()
        add = getattr(provider, "add_span_processor", None)
        if add is None or self._caught is None or provider is Telemetry._caught_of:
            return
        caught = self._caught
        Telemetry._caught_of = provider
        from opentelemetry.sdk.trace import SpanProcessor  # noqa: PLC0415 - only where there is an SDK

        class Catcher(SpanProcessor):
            def on_start(self, span: Any, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's
                if span.kind is SpanKind.SERVER:
                    caught(span)

        add(Catcher())

    @staticmethod
    def origin(parent: Span | None, carrier: Carrier) -> SpanContext:
        """Return the context that a stream's span belongs to; not valid where there is none."""
        return parent.get_span_context() if parent is not None else _incoming(carrier)

    @staticmethod
    def route_of(parent: Span | None) -> str | None:
        """Return the route that the parent knows, where its attributes can be read (SDK spans)."""
        route = (getattr(parent, "attributes", None) or {}).get(sc.ROUTE)
        return route if isinstance(route, str) else None

    def mark(self, parent: Span | None, summary: StreamSummary) -> None:
        """Show a silent failure on the server span, for tools that know nothing of streams."""
        if parent is None or not self._settings.mark_parent or not parent.is_recording():
            return
        parent.set_attributes(
            {
                sc.ERROR_TYPE: summary.reason.value,
                sc.ORIGIN: summary.origin.value,
                sc.REASON: summary.reason.value,
                sc.OUTCOME: summary.outcome.value,
            }
        )
        parent.set_status(Status(StatusCode.ERROR, f"stream {summary.outcome}: {summary.reason}"))

    @staticmethod
    def suppressed() -> bool:
        """Tell whether requests are not to be watched here: exporters say so of their own.

        That libraries below are not to make further spans of one request (contrib says so) is no matter of ours.
        """
        from opentelemetry.instrumentation.utils import (  # noqa: PLC0415 - takes longer to import than all of ours
            is_instrumentation_enabled,
        )

        return not is_instrumentation_enabled()

    @staticmethod
    def sent(carrier: Carrier) -> SpanContext:
        """Return the context that went with a request: its CLIENT span's, if somebody made one."""
        return _incoming(carrier)

    # -- the end of a stream --------------------------------------------------------------------------------

    def ended(self, summary: StreamSummary, parent: Span | None, carrier: Carrier) -> None:
        """Report one ended stream: a span, and a log record if it went wrong. What a host raises ends that alone."""
        try:
            self._report(summary, parent, carrier)
        except Exception:  # noqa: BLE001 - whatever a processor raises; no other stream is to suffer for it
            _failed(where())

    def _report(self, summary: StreamSummary, parent: Span | None, carrier: Carrier) -> None:
        self._flushed = False
        attributes = attributes_of(summary, self._settings, model=self._model(summary.model))
        context: Context | None = None
        if self._settings.spans != "off" and (summary.bad or self._settings.spans != "bad"):
            context = self._span(summary, attributes, parent, carrier)
        if self._instruments is not None:
            self._instruments.ended(summary, attributes, context)
        if self._settings.logs == "all" or (summary.bad and self._settings.logs == "bad"):
            if context is None and parent is not None:
                context = set_span_in_context(parent, Context())
            self._record(summary, attributes, context)

    def _span(
        self, summary: StreamSummary, attributes: dict[str, Any], parent: Span | None, carrier: Carrier
    ) -> Context | None:
        tracer = self._get_tracer()
        around = self._around(parent, carrier)
        if around is None:
            return None
        at = _wall_clock()
        span = tracer.start_span(
            name_of(summary),
            context=around,
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            start_time=at(summary.started_at),
        )
        self._check(span)
        for when, name, values in events_of(summary):
            span.add_event(name, values, at(when))
        if summary.bad:
            span.set_status(Status(StatusCode.ERROR, str(summary.reason)))
        span.end(at(summary.ended_at))
        return set_span_in_context(span, Context())

    def _around(self, parent: Span | None, carrier: Carrier) -> Context | None:
        """Return the context a span is made in, so that it is sampled whatever was decided for its parent.

        None where the settings follow the parent's decision and it was not to sample.
        """
        context = self.origin(parent, carrier)
        if context.is_valid:
            if self._settings.spans == "sampled" and not context.trace_flags.sampled:
                return None
        elif self._roots or self._settings.spans == "sampled":
            return Context()
        else:  # a made-up remote parent is the one way to be sampled without touching the sampler
            trace_id, span_id = (int.from_bytes(os.urandom(size), "big") or 1 for size in (16, 8))
            context = SpanContext(trace_id, span_id, is_remote=True)
        # "ot" holds consistent-sampling thresholds: they would multiply what is counted from this span.
        state = TraceState([(key, value) for key, value in context.trace_state.items() if key != "ot"])
        flags = TraceFlags(context.trace_flags | TraceFlags.SAMPLED)
        remote = SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=flags, trace_state=state)
        return set_span_in_context(NonRecordingSpan(remote), Context())

    def _get_tracer(self) -> trace.Tracer:
        provider = trace.get_tracer_provider()
        if self._tracer is None or provider is not self._provider:
            self._provider = provider
            self.catch()
            self._tracer = provider.get_tracer(sc.SCOPE, __version__)
            if hasattr(self._tracer, "sampler") and self._settings.spans != "sampled":  # an SDK tracer, ours alone
                from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415 - only where there is an SDK

                self._tracer.sampler = ALWAYS_ON
                self._roots = True
        return self._tracer

    def _check(self, span: Span) -> None:
        """Say once if spans do not record; the ledger and the log records go on working."""
        if not self._checked:
            self._checked = True
            if not span.is_recording() and self._settings.spans != "sampled":
                notice(
                    "streams get no spans: the tracer provider does not record. Install and configure the "
                    "OpenTelemetry SDK, or set OTEL_PYTHON_STREAMING_SPANS=off to silence this."
                )

    def _model(self, name: str | None) -> str | None:
        if name is None or not self._settings.model_names:
            return None
        if name not in self._models and len(self._models) >= _MODEL_NAMES:
            return sc.OTHER
        self._models.add(name)
        return name

    def _record(self, s: StreamSummary, attributes: Mapping[str, Any], context: Context | None) -> None:
        text = f"{name_of(s)} {s.outcome}: {s.reason}, {s.phase}, after {s.chunks} chunks"
        self._emit(sc.Event.END, s.ended_at, text, attributes, context, severity="WARN" if s.bad else "INFO")

    def stalled(self, stream: Stream, state: sc.State, since: float, parent: Span | None) -> None:
        """Report a silence that has become a stall and lasts: whom it waits for, since when."""
        if self._settings.logs == "off":
            return
        shape, silence = stream.shape, time.monotonic() - since
        whom = "reader" if state is sc.State.BACKPRESSURED else "producer"
        attributes: dict[str, Any] = {
            sc.METHOD: stream.method,
            sc.STALL_DURATION: silence,
            sc.SIZE: stream.size,
            sc.CHUNK_COUNT: stream.chunks,
            sc.STATE: state.value,
            sc.PROTOCOL: str(shape.protocol),
            sc.KIND: shape.kind.value,
            sc.ROLE: shape.role.value,
            sc.ORIGIN: (sc.Origin.CLIENT if whom == "reader" else sc.Origin.UNKNOWN).value,
        }
        if shape.route is not None:
            attributes[sc.ROUTE] = shape.route
        text = f"stream {stream.method} {shape.route or ''} waits for its {whom} since {silence:.0f} s"
        context = None if parent is None else set_span_in_context(parent, Context())
        self._emit(sc.Event.STALLED, since + silence, text, attributes, context)

    def died(self, process_id: str, streams: Sequence[Dead]) -> None:
        """Report a process that died, and the streams that it took along."""
        self.register()
        if not streams:
            return
        attributes: dict[str, Any] = {sc.PROCESS_ID: process_id, sc.PROCESS_DEAD: True}
        last = max(dead.summary.ended_at for dead in streams)
        if self._settings.logs != "off":
            text = f"a process died with {len(streams)} open streams"
            self._emit(sc.Event.PROCESS_DEATH, last, text, attributes, None, severity="ERROR")
        for number, (summary, trace_id, span_id, sampled) in enumerate(streams[:_MAX_DEAD]):
            if number % 10 == 0:
                time.sleep(0.001)  # other threads are let in
            flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
            around = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags))
            self.ended(summary, around if trace_id else None, ())

    def _emit(
        self,
        event: sc.Event,
        at: float,
        text: str,
        attributes: Mapping[str, Any],
        context: Context | None,
        *,
        severity: str = "WARN",
    ) -> None:
        with self._registry.lock:  # event loops, threads and the watchdog
            suppressed = self._tokens.take()
        if suppressed is None:
            return
        if suppressed:
            text += f" ({suppressed} records suppressed)"
        _logs.get_logger(sc.SCOPE, __version__).emit(
            timestamp=_wall_clock()(at),
            severity_number=_logs.SeverityNumber[severity],
            severity_text=severity,
            body=text,
            attributes=dict(attributes),
            event_name=event.value,
            context=context or Context(),
        )

    # -- shutdown -------------------------------------------------------------------------------------------

    def flush(self) -> threading.Event:
        """Hand over what has not been exported, in a daemon thread; returns the event that tells it is done.

        The caller bounds the wait: a flush to a black hole takes half a minute whatever time-out it is given.
        Metrics are collected twice, since a series' first report is 0. A process that never had a stream, or none
        since the last flush, is left alone: whether it flushes is its own affair.
        """
        done = threading.Event()
        if self._flushed or self._instruments is None or not self._instruments.registered:
            done.set()
            return done
        self._flushed = True

        def work() -> None:
            try:
                for provider, times in (
                    (metrics.get_meter_provider(), 2),
                    (trace.get_tracer_provider(), 1),
                    (_logs.get_logger_provider(), 1),
                ):
                    for _ in range(times):
                        getattr(provider, "force_flush", bool)()
            except Exception:  # noqa: BLE001 - a host's exporter may fail as it likes
                notice("an exporter failed to flush", level=logging.DEBUG)
            finally:
                done.set()

        try:
            threading.Thread(target=work, name="otel-streaming-flush", daemon=True).start()
        except RuntimeError:  # no thread is to be had: the interpreter exits, or a limit
            done.set()
        return done


@functools.lru_cache
def _failed(place: str) -> None:
    notice("a stream's span or log record has failed, others may as well: %s", place)


class _TokenBucket:
    """So many records a second; counts what it holds back."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._tokens = float(rate)
        self._at = time.monotonic()
        self._held_back = 0

    def take(self) -> int | None:
        """Return how many records were held back before this one, None if it is to be held back as well."""
        now = time.monotonic()
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            self._held_back += 1
            return None
        self._tokens -= 1
        held_back, self._held_back = self._held_back, 0
        return held_back


def _wall_clock() -> Any:
    """Return a function from the monotonic clock (s) to the wall clock (ns)."""
    offset = time.time_ns() - int(time.monotonic() * 1e9)
    return lambda monotonic: offset + int(monotonic * 1e9)


def _incoming(carrier: Carrier) -> SpanContext:
    """Return the context the request's headers carry."""
    headers = {}
    for name, value in carrier:
        if name.lower() in {b"traceparent", b"tracestate"}:
            headers[name.lower().decode("latin-1")] = value.decode("latin-1")
    context = propagate.extract(headers, Context()) if headers else Context()
    return trace.get_current_span(context).get_span_context()
