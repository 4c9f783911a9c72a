"""Who is measured beside us, each put in place as its own documentation says; what it would send is counted, no more.

Each runs in a process of its own: what it patches it patches there. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import sys
from functools import cache, partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from bench.workloads import Site

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = "otel-streaming"
BARE = "bare"
EXCLUDED = "contrib ASGI, exclude_spans"
COMPARED = (BARE, OURS, EXCLUDED)
"""Whose growth is measured, whose instructions are counted, and who may care for what a stream says."""
API = "OpenTelemetry's own, asyncio"

_EXCLUDE = {"exclude_spans": ["send", "receive"]}


class _Nowhere:
    """Stands where a library sends what it has to tell."""

    taken = 0

    def take(self, *_: Any, **__: Any) -> None:
        """Count it, and drop it."""
        self.taken += 1


_NOWHERE = _Nowhere()


def told() -> float:
    """Return how much the library in place has told so far: spans, transactions, requests that Prometheus would see."""
    registry = resolve_name("prometheus_client:REGISTRY") if "prometheus_client" in sys.modules else None
    samples = [sample for metric in registry.collect() for sample in metric.samples] if registry is not None else []
    requests: float = sum(sample.value for sample in samples if sample.name.endswith("_requests_total"))
    return _NOWHERE.taken + requests


def _processor() -> Any:
    base = resolve_name("opentelemetry.sdk.trace:SpanProcessor")
    return type("Nowhere", (base,), {"on_end": _NOWHERE.take})()


@cache
def providers() -> None:
    """Have the SDK, without an exporter or a reader of metrics."""
    provider = resolve_name("opentelemetry.sdk.trace:TracerProvider")()
    provider.add_span_processor(_processor())
    resolve_name("opentelemetry.trace:set_tracer_provider")(provider)
    resolve_name("opentelemetry.metrics:set_meter_provider")(resolve_name("opentelemetry.sdk.metrics:MeterProvider")())


def fastapi(site: Site, *, native: bool = False) -> Any:
    """Return the site as a FastAPI application, whose own telemetry is on by default."""
    response = resolve_name("starlette.responses:StreamingResponse")
    app = resolve_name("fastapi:FastAPI")(telemetry=dict.fromkeys(("tracing", "metrics", "logs"), native))

    async def page() -> dict[str, str]:
        return {}

    async def stream(path: str) -> Any:
        return response(site.body(f"/{path}"), media_type="text/event-stream")

    app.get("/page")(page)
    app.get("/{path}")(stream)
    return app


# -- plain ASGI -----------------------------------------------------------------------------------------------


def _ours(site: Site, between: Callable[[Any], Any] = lambda app: app) -> Any:
    """Put both hooks around it, which stands for a framework's router, and the path for the route."""
    providers()
    router = resolve_name("otel_streaming.asgi:hooked_router")(Site.asgi, lambda scope: scope["path"])
    return resolve_name("otel_streaming:StreamingMiddleware")(between(partial(router, site)))


def _contrib(app: Any, **settings: Any) -> Any:
    providers()
    return resolve_name("opentelemetry.instrumentation.asgi:OpenTelemetryMiddleware")(app, **settings)


def _sentry() -> None:
    transport = resolve_name("sentry_sdk.transport:Transport")
    nowhere = type("Nowhere", (transport,), {"capture_envelope": _NOWHERE.take})
    resolve_name("sentry_sdk:init")(dsn="http://key@127.0.0.1:1/1", traces_sample_rate=1.0, transport=nowhere)


def _sentry_asgi(site: Site) -> Any:
    _sentry()
    return resolve_name("sentry_sdk.integrations.asgi:SentryAsgiMiddleware")(site.asgi, asgi_version=3)


def _ddtrace(**patched: bool) -> None:
    resolve_name("ddtrace:patch")(**patched)
    trace_filter = resolve_name("ddtrace.trace:TraceFilter")
    nowhere = type("Nowhere", (trace_filter,), {"process_trace": _NOWHERE.take})
    resolve_name("ddtrace.trace:tracer").configure(trace_processors=[nowhere()])


def _ddtrace_asgi(site: Site) -> Any:
    _ddtrace()
    return resolve_name("ddtrace.contrib.asgi:TraceMiddleware")(site.asgi)


_ELASTIC = {
    "service_name": "bench",
    "disable_send": True,
    "central_config": False,
    "cloud_provider": False,
    "metrics_interval": "0s",
}


def _elastic_asgi(site: Site) -> Any:
    app = resolve_name("elasticapm.contrib.asgi:ASGITracingMiddleware")(site.asgi, **_ELASTIC)
    app.client.tracer.queue_func = _NOWHERE.take
    return app


def _logfire() -> Any:
    logfire = resolve_name("logfire")
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[_processor()])
    return logfire


ASGI: dict[str, Callable[[Site], Any]] = {
    BARE: lambda site: site.asgi,
    OURS: _ours,
    EXCLUDED: lambda site: _contrib(site.asgi, **_EXCLUDE),
    f"{OURS} with {EXCLUDED}": lambda site: _ours(site, partial(_contrib, **_EXCLUDE)),
    "contrib ASGI": lambda site: _contrib(site.asgi),
    "sentry-sdk": _sentry_asgi,
    "ddtrace": _ddtrace_asgi,
    "elastic-apm": _elastic_asgi,
    "logfire": lambda site: _logfire().instrument_asgi(site.asgi),
}
"""By name: what makes an instrumented ASGI application of the site."""

# -- FastAPI --------------------------------------------------------------------------------------------------


def _fastapi_ours(site: Site) -> Any:
    providers()
    resolve_name("otel_streaming.instrumentor:ASGIStreamingInstrumentor")().instrument()
    return resolve_name("otel_streaming:StreamingMiddleware")(fastapi(site))  # which a server's entry would do


def _native(site: Site) -> Any:
    providers()
    return fastapi(site, native=True)


def _fastapi_contrib(site: Site, **settings: Any) -> Any:
    providers()
    app = fastapi(site)
    resolve_name("opentelemetry.instrumentation.fastapi:FastAPIInstrumentor").instrument_app(app, **settings)
    return app


def _instrumentator(site: Site) -> Any:
    app = fastapi(site)
    resolve_name("prometheus_fastapi_instrumentator:Instrumentator")().instrument(app)
    return app


def _exporter(site: Site) -> Any:
    app = fastapi(site)
    app.add_middleware(resolve_name("starlette_exporter:PrometheusMiddleware"))
    return app


def _fastapi_sentry(site: Site) -> Any:
    _sentry()
    return fastapi(site)


def _fastapi_ddtrace(site: Site) -> Any:
    _ddtrace(fastapi=True, starlette=True)
    return fastapi(site)


def _fastapi_elastic(site: Site) -> Any:
    client = resolve_name("elasticapm.contrib.starlette:make_apm_client")(**_ELASTIC)
    client.tracer.queue_func = _NOWHERE.take
    app = fastapi(site)
    app.add_middleware(resolve_name("elasticapm.contrib.starlette:ElasticAPM"), client=client)
    return app


def _fastapi_logfire(site: Site) -> Any:
    app = fastapi(site)
    _logfire().instrument_fastapi(app)
    return app


FASTAPI: dict[str, Callable[[Site], Any]] = {
    BARE: fastapi,
    OURS: _fastapi_ours,
    "FastAPI native": _native,
    "contrib FastAPI, exclude_spans": lambda site: _fastapi_contrib(site, **_EXCLUDE),
    "contrib FastAPI": _fastapi_contrib,
    "prometheus-fastapi-instrumentator": _instrumentator,
    "starlette_exporter": _exporter,
    "sentry-sdk": _fastapi_sentry,
    "ddtrace": _fastapi_ddtrace,
    "elastic-apm": _fastapi_elastic,
    "logfire": _fastapi_logfire,
}
"""By name: what makes an instrumented FastAPI application of the site."""

# -- clients --------------------------------------------------------------------------------------------------


def _client_ours() -> None:
    providers()
    resolve_name("otel_streaming.instrumentor:HTTPXStreamingInstrumentor")().instrument()


def _instrument(where: str) -> None:
    providers()
    resolve_name(where)().instrument()


def _one_by_one() -> Callable[[Any], None]:
    """contrib's: in general it instruments the transports of httpx alone, of a client whichever it has."""
    providers()
    instrument: Callable[[Any], None] = resolve_name(
        "opentelemetry.instrumentation.httpx:HTTPXClientInstrumentor.instrument_client"
    )
    return instrument


def _both() -> Callable[[Any], None]:
    _client_ours()
    return _one_by_one()


def _langfuse() -> None:
    """Have the SDK of OpenAI that Langfuse hands out, which is OpenAI's own, wrapped."""
    keys = {"public_key": "pk-lf-none", "secret_key": "sk-lf-none", "base_url": "http://127.0.0.1:1"}
    resolve_name("langfuse:Langfuse")(should_export_span=_NOWHERE.take, **keys)
    resolve_name("langfuse.openai")


HTTPX: dict[str, Callable[[], Callable[[Any], None] | None]] = {
    BARE: lambda: None,
    OURS: _client_ours,
    "contrib httpx": _one_by_one,
    "both": _both,
}
"""By name: what instruments httpx, and returns what instruments each client, if that is needed."""

OPENAI: dict[str, Callable[[], None]] = {
    BARE: lambda: None,
    OURS: _client_ours,
    "contrib GenAI": lambda: _instrument("opentelemetry.instrumentation.genai.openai:OpenAIInstrumentor"),
    "openllmetry": lambda: _instrument("opentelemetry.instrumentation.openai:OpenAIInstrumentor"),
    "openinference": lambda: _instrument("openinference.instrumentation.openai:OpenAIInstrumentor"),
    "sentry-sdk": _sentry,
    "ddtrace": lambda: _ddtrace(openai=True),
    "logfire": lambda: _logfire().instrument_openai(),
    "langfuse": _langfuse,
}
"""By name: what instruments the SDK of OpenAI, or the client below it."""

IMPORTS = {
    OURS: "otel_streaming.instrumentor otel_streaming.asgi otel_streaming._recorder",
    API: "asyncio opentelemetry.metrics opentelemetry._logs opentelemetry.trace "
    "opentelemetry.instrumentation.instrumentor",
}
"""By name: what is imported to have it."""
