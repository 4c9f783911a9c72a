"""``doctor``'s checks: a table of small functions, each from a case to one finding; here those of the process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from otel_streaming import frameworks, servers
from otel_streaming.cli.doctor import delivery
from otel_streaming.cli.doctor.inside import SERVERS
from otel_streaming.cli.finding import Verdict, fail, ok, unknown, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from otel_streaming.cli.doctor.case import Case
    from otel_streaming.cli.finding import Finding

_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_MAIN = "otel_streaming_asgi"


def _plugin(case: Case) -> Finding:
    """The plugin is loaded: its entry points were run by whatever instruments the process."""
    ours = {name: works for name, works in case.facts.instrumentors.items() if name.startswith("otel_streaming_")}
    idle = sorted(name for name, works in ours.items() if not works)
    disabled = {name.strip() for name in case.facts.environ.get(_DISABLED, "").split(",")}
    if not idle:
        return ok("loaded: servers, frameworks and clients")
    if case.trouble:
        return fail(
            f"not loaded, since OpenTelemetry could not set itself up: {case.trouble}",
            "install what it asks for, or choose what is installed: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf for the "
            "extra otlp; the default, grpc, needs opentelemetry-exporter-otlp-proto-grpc; or disable what raises",
        )
    if not disabled & {*ours, "*"}:
        return fail(
            "not loaded: nothing instruments this process",
            "begin its command with opentelemetry-instrument, or wrap the application in StreamingMiddleware",
        )
    said = f"{_DISABLED} switches off {', '.join(idle)}"
    return (fail if _MAIN in idle else warn)(said, "take what you want watched out of it")


def _server(case: Case) -> Finding:
    """A server is hooked, and the one that the command starts is one that we know."""
    by_hand = "wrap the application yourself: otel_streaming.StreamingMiddleware, or WSGIStreamingMiddleware"
    none = fail("no server with hooks is installed, or none is hooked", by_hand)
    found = _hooked(case, servers.HOOKS, none, f"update otel-streaming, or {by_hand}")
    if found.verdict is Verdict.OK and case.program and case.program not in SERVERS:
        return warn(f"{case.program} is no server that has hooks ({', '.join(sorted(SERVERS))})", by_hand)
    return found


def _framework(case: Case) -> Finding:
    """A framework is hooked: plain bytes, routes, producers' exceptions."""
    none = warn(
        "none is hooked: no routes, bodies as they are after compression, no exception that a middleware swallows",
        "none is needed for a raw application; docs/servers.md has which are known",
    )
    return _hooked(case, frameworks.HOOKS, none, "update otel-streaming")


def _hooked(case: Case, known: Container[str], none: Finding, update: str) -> Finding:
    """Return what is hooked of the known modules, or that one has moved, or else ``none``."""
    if not case.facts.instrumentors.get(_MAIN):
        return unknown("the plugin is not loaded")
    moved = [name for name in case.facts.unhooked if name in known]
    if moved:
        return fail(f"{', '.join(moved)}: of a version whose names have moved", update)
    hooked = sorted({name.partition(".")[0] for name in case.facts.hooked if name in known})
    return ok(f"hooked when imported: {', '.join(hooked)}") if hooked else none


_OWNERS = ("fastapi", "starlette", "django", "flask", "falcon", "pyramid", "tornado", "quart", "litestar")
"""Instrumentations of others that make the server span."""


def _server_span(case: Case) -> Finding:
    """Somebody makes the server span, whose child a stream's span is."""
    owners = [name for name in _OWNERS if case.facts.instrumentors.get(name)]
    if owners:
        return ok(f"made by opentelemetry-instrumentation-{', -'.join(owners)}, where the service uses it")
    if case.facts.native:
        return ok("made by FastAPI itself, where the service uses it")
    return warn(
        "made by nobody: streams are roots, or children of what called",
        "pip install opentelemetry-instrumentation-fastapi, or your framework's",
    )


def _settings(case: Case) -> Finding:
    """Each setting is one, and has a value that it takes."""
    if case.facts.problems:
        return fail("; ".join(case.facts.problems), "otel-streaming catalog lists the settings")
    return ok("every one is known and readable")


_SPANS = {
    "off": (
        "no stream gets a span: no cause, no histogram, no trace",
        "unset OTEL_PYTHON_STREAMING_SPANS, or count causes in the process: OTEL_PYTHON_STREAMING_METRICS=all",
    ),
    "bad": (
        "only bad ends get a span: shares and histograms of what the collector derives miss the others",
        "unset it",
    ),
    "sampled": ("spans follow the sampler: what the collector derives is a share of what happened", "unset it"),
}


def _spans(case: Case) -> Finding:
    """Every stream gets a span."""
    chosen = case.facts.settings["spans"]
    if chosen in _SPANS:
        seen, fix = _SPANS[chosen]
        return warn(f"OTEL_PYTHON_STREAMING_SPANS={chosen}: {seen}", fix)
    return ok("every stream gets one")


def _sdk(case: Case) -> Finding:
    """The tracer provider records."""
    if case.facts.records:
        return ok(f"{case.facts.provider} records")
    if case.facts.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return fail("OTEL_SDK_DISABLED=true: nothing is recorded or exported", "unset it")
    return fail(
        f"{case.facts.provider} does not record: no SDK is set up by the environment",
        'pip install "otel-streaming[otlp]" and begin the command with opentelemetry-instrument; what an application '
        "sets up itself is not seen from here",
    )


def _versions(case: Case) -> Finding:
    """The SDK is the API's: each version of it asks for its own, and pip warns of others and installs them."""
    installed = case.facts.versions
    told = ", ".join(f"{name} {number}" for name, number in installed.items())
    if len(set(installed.values())) > 1:
        fix = f"pip install opentelemetry-sdk=={installed['opentelemetry-api']}; pip check tells of the others"
        return warn(f"{told}: not made for each other", fix)
    return ok(told)


def _sampler(case: Case) -> Finding:
    """The sampler is no matter of ours, unless it is asked to be."""
    chosen = case.facts.environ.get("OTEL_TRACES_SAMPLER") or "the default one"
    if case.facts.settings["spans"] == "sampled":
        return warn(f"{chosen} decides, by OTEL_PYTHON_STREAMING_SPANS=sampled", "unset it to count all")
    return ok(f"{chosen}: spans of streams are made whatever it decides")


def _service(case: Case) -> Finding:
    """The service has a name."""
    if case.named:
        return ok("the service has a name")
    return warn("the service has no name: it is unknown_service to everybody", "set OTEL_SERVICE_NAME")


_FILESYSTEMS = {
    "overlay": "it lies in the container, and goes with it",
    "tmpfs": "it lies in memory: what is killed is reported, unless the machine or the container goes as well",
    **dict.fromkeys(("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"), "its locks and delays are a network's"),
}


def _recorder(case: Case) -> Finding:
    """The crash recorder has a folder that is fit for it."""
    facts = case.facts
    elsewhere = (
        "set OTEL_PYTHON_STREAMING_STATE_DIR to a folder of this user that outlives the process (docs/recorder.md)"
    )
    if facts.folder is None:
        return ok("switched off")
    if facts.recorder:
        unasked = facts.settings["state_dir"] == "auto"
        return (warn if unasked else fail)(f"{facts.folder}: {facts.recorder}", elsewhere)
    if facts.filesystem in _FILESYSTEMS:
        return warn(f"{facts.folder}: {_FILESYSTEMS[facts.filesystem]} ({facts.filesystem})", elsewhere)
    return ok(f"{facts.folder} is fit")


CHECKS: dict[str, Callable[[Case], Finding]] = {
    "plugin": _plugin,
    "server": _server,
    "framework": _framework,
    "server span": _server_span,
    "settings": _settings,
    "service name": _service,
    "spans": _spans,
    "SDK": _sdk,
    "versions": _versions,
    "sampler": _sampler,
    "traces exporter": delivery.traces,
    "metrics exporter": delivery.metrics,
    "span queue": delivery.queue,
    "collector, traces": functools.partial(delivery.collector, "traces"),
    "collector, metrics": functools.partial(delivery.collector, "metrics"),
    "probe exported": delivery.exported,
    "derived metric": delivery.derived,
    "ledger": delivery.ledger,
    "crash recorder": _recorder,
}
"""In the order in which a stream meets them."""
