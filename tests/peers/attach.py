"""Who is asked beside us: each put in place as its own documentation says, and read where it would send what it has.

A function puts one in place and returns how to ask what it has told so far; it forgets it by that. Nothing is imported
before it is asked for, since what these libraries patch, they patch in the whole process.
"""

from collections import Counter
from pkgutil import resolve_name

RED = "ERROR"


def kept():
    """Return an exporter that keeps spans here, and what hands it each."""
    exporter = resolve_name("opentelemetry.sdk.trace.export.in_memory_span_exporter:InMemorySpanExporter")()
    return exporter, resolve_name("opentelemetry.sdk.trace.export:SimpleSpanProcessor")(exporter)


def providers():
    """Have OpenTelemetry's SDK."""
    exporter, processor = kept()
    provider = resolve_name("opentelemetry.sdk.trace:TracerProvider")()
    provider.add_span_processor(processor)
    resolve_name("opentelemetry.trace:set_tracer_provider")(provider)
    return exporter


def ends(exporter, wanted):
    """Tell what the wanted spans say of an end: status, error, exceptions."""

    def told():
        spans = [span for span in exporter.get_finished_spans() if wanted(span)]
        if spans:
            exporter.clear()
        return [" ".join(_of_span(span)) for span in spans]

    return told


def _of_span(span):
    attributes = span.attributes or {}
    ours = span.instrumentation_scope.name == "otel_streaming"
    if ours:
        yield f"{attributes['stream.result']}: {attributes['stream.reason']}"
        return
    status = attributes.get("http.response.status_code", attributes.get("http.status_code"))
    red = span.status.status_code.name == RED
    if status is not None or not red:
        yield str(status or "no error")
    if red:
        yield RED
    kinds = [attributes.get("error.type"), *((event.attributes or {}).get("exception.type") for event in span.events)]
    yield from sorted({str(kind).rpartition(".")[2] for kind in kinds if kind and kind != str(status)})


def _is_server(span):
    return span.kind.name == "SERVER"


# -- servers ----------------------------------------------------------------------------------------------------


def ours(_):
    exporter = providers()
    resolve_name("otel_streaming.instrumentor:ASGIStreamingInstrumentor")().instrument()
    return ends(exporter, lambda span: span.instrumentation_scope.name == "otel_streaming")


def contrib(app):
    exporter = providers()
    resolve_name("opentelemetry.instrumentation.fastapi:FastAPIInstrumentor").instrument_app(app)
    return ends(exporter, _is_server)


def _logfire():
    module, (exporter, processor) = resolve_name("logfire"), kept()
    module.configure(send_to_logfire=False, console=False, additional_span_processors=[processor])
    return module, exporter


def logfire(app):
    module, exporter = _logfire()
    module.instrument_fastapi(app)
    return ends(exporter, _is_server)


def _prometheus(metric, label):
    """Tell which of a metric's counters have grown, by a label's values."""
    registry, before = resolve_name("prometheus_client:REGISTRY"), Counter()

    def told():
        nonlocal before
        now = Counter()
        for sample in (s for m in registry.collect() for s in m.samples if s.name == metric):
            now[sample.labels[label]] += sample.value
        grown, before = list(now - before), now
        return grown

    return told


def instrumentator(app):
    resolve_name("prometheus_fastapi_instrumentator:Instrumentator")(should_group_status_codes=False).instrument(app)
    return _prometheus("http_requests_total", "status")


def exporter(app):
    app.add_middleware(resolve_name("starlette_exporter:PrometheusMiddleware"))
    return _prometheus("starlette_requests_total", "status_code")


def sentry(_):
    heard = []
    base = resolve_name("sentry_sdk.transport:Transport")
    transport = type("Here", (base,), {"capture_envelope": lambda _, envelope: heard.append(envelope)})
    resolve_name("sentry_sdk:init")(dsn="http://key@127.0.0.1:1/1", traces_sample_rate=1.0, transport=transport)

    def told():
        envelopes, heard[:] = list(heard), []
        items = [item.payload.json for envelope in envelopes for item in envelope.items if item.payload.json]
        return [words for item in items if (words := _of_sentry(item))]

    return told


def _of_sentry(item):
    if item.get("exception"):
        return f"issue {item['exception']['values'][-1]['type']}"
    if item.get("type") == "transaction":
        trace = item["contexts"]["trace"]
        return (
            f"{item['contexts'].get('response', {}).get('status_code', '')} {trace.get('status', 'no status')}".strip()
        )
    return ""


def ddtrace(_):
    heard = []
    base = resolve_name("ddtrace.trace:TraceFilter")
    keep = type("Here", (base,), {"process_trace": lambda _, trace: heard.extend(trace)})
    resolve_name("ddtrace:patch")(fastapi=True, starlette=True, openai=True)
    resolve_name("ddtrace.trace:tracer").configure(trace_processors=[keep()])

    def told():
        spans, heard[:] = [s for s in heard if s.span_type in {"web", "llm"} or s.name.startswith("openai")], []
        return [" ".join(_of_ddtrace(span)) for span in spans]

    return told


def _of_ddtrace(span):
    status = span.get_tag("http.status_code")
    if status is not None or not span.error:
        yield status or "no error"
    if span.error:
        yield RED
        yield from filter(None, (span.get_tag("error.type") or "").split(".")[-1:])


def elastic(app):
    make = resolve_name("elasticapm.contrib.starlette:make_apm_client")
    client = make(service_name="peer", disable_send=True, central_config=False, cloud_provider=False)
    heard = []
    client.queue = client.tracer.queue_func = lambda kind, data, **_: heard.append((kind, data))
    app.add_middleware(resolve_name("elasticapm.contrib.starlette:ElasticAPM"), client=client)

    def told():
        events, heard[:] = list(heard), []
        words = {
            "transaction": lambda data: f"{data.get('result')} {data.get('outcome')}",
            "error": lambda data: f"error {data['exception']['type']}",
        }
        return [words[kind](data) for kind, data in events if kind in words]

    return told


SERVERS = {
    "otel-streaming": ours,
    "contrib FastAPI": contrib,
    "FastAPI's own": lambda _: ends(providers(), _is_server),
    "logfire": logfire,
    "prometheus-fastapi-instrumentator": instrumentator,
    "starlette_exporter": exporter,
    "sentry-sdk": sentry,
    "ddtrace": ddtrace,
    "elastic-apm": elastic,
}

# -- the SDK of OpenAI -------------------------------------------------------------------------------------------


def _instrumented(where):
    def attach(_):
        found = providers()
        resolve_name(where)().instrument()
        return ends(found, lambda _: True)

    return attach


def _logfire_openai(_):
    module, exporter = _logfire()
    module.instrument_openai()
    return ends(exporter, lambda span: not span.name.endswith("(pending)"))


def _langfuse(_):
    """Have the SDK of OpenAI that Langfuse hands out, which is OpenAI's own, wrapped."""
    found = providers()
    provider = resolve_name("opentelemetry.trace:get_tracer_provider")()
    keys = {"public_key": "pk-lf-none", "secret_key": "sk-lf-none", "base_url": "http://127.0.0.1:1"}
    resolve_name("langfuse:Langfuse")(tracer_provider=provider, **keys)
    resolve_name("langfuse.openai")
    return ends(found, lambda _: True)


CLIENTS = {
    "otel-streaming": _instrumented("otel_streaming.instrumentor:HTTPXStreamingInstrumentor"),
    "OpenTelemetry's own": _instrumented("opentelemetry.instrumentation.genai.openai:OpenAIInstrumentor"),
    "OpenLLMetry": _instrumented("opentelemetry.instrumentation.openai:OpenAIInstrumentor"),
    "OpenInference": _instrumented("openinference.instrumentation.openai:OpenAIInstrumentor"),
    "Langfuse": _langfuse,
    "logfire": _logfire_openai,
    "sentry-sdk": sentry,
    "ddtrace": ddtrace,
}
