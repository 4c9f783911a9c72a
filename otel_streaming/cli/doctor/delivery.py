"""``doctor``'s checks of the way out: exporters, queue, collector, and whether the probe stream came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_streaming.cli.doctor.reach import endpoint, reach, shown
from otel_streaming.cli.finding import Verdict, fail, ok, unknown, warn
from otel_streaming.semconv import ENDED, LEDGER_ENDED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_streaming.cli.doctor.case import Case
    from otel_streaming.cli.doctor.reach import Trouble
    from otel_streaming.cli.finding import Finding


def exporters(environ: Mapping[str, str], signal: str) -> list[str]:
    """Return the exporters that are set for a signal."""
    names = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").lower().split(",")
    return [name.strip() for name in names if name.strip() not in {"", "none"}]


def reached(environ: Mapping[str, str]) -> dict[str, Trouble | None]:
    """Ask the collectors of the signals that are sent over OTLP; return what is wrong with each."""
    return {
        signal: reach(environ, signal)
        for signal in ("traces", "metrics")
        if any(name.startswith("otlp") for name in exporters(environ, signal))
    }


def traces(case: Case) -> Finding:
    """Spans are sent to a collector."""
    return _sent(case, "traces", fail, "no trace, no cause, no derived metric")


def metrics(case: Case) -> Finding:
    """The ledger is sent, or scraped."""
    if "prometheus" in exporters(case.facts.environ, "metrics"):
        return ok("scraped by Prometheus")
    return _sent(case, "metrics", warn, "no ledger, no open streams")


def _sent(case: Case, signal: str, otherwise: Callable[[str, str], Finding], lost: str) -> Finding:
    if signal in case.reached:
        return ok(f"OTEL_{signal.upper()}_EXPORTER=otlp")
    chosen = ",".join(exporters(case.facts.environ, signal)) or "none"
    return otherwise(f"the exporter of {signal} is {chosen}: {lost}", f"OTEL_{signal.upper()}_EXPORTER=otlp")


_QUEUE = 2048
"""The SDK's default."""


def queue(case: Case) -> Finding:
    """The queue of spans holds what is made while the collector is away."""
    text = case.facts.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "").strip() or str(_QUEUE)
    more = "OTEL_BSP_MAX_QUEUE_SIZE=30000; docs/reliability.md has what that saves"
    if not text.isdecimal():
        return fail(f"OTEL_BSP_MAX_QUEUE_SIZE={text[:50]} is no number", more)
    if int(text) < _QUEUE:
        return warn(f"{text} spans of all instrumentations, fewer than by default: a burst loses some", more)
    return ok(f"{text} spans of all instrumentations together, while the collector is away")


_NOWHERE = ("", "")


def collector(signal: str, case: Case) -> Finding:
    """The collector answers."""
    if signal not in case.reached:
        return unknown(f"no {signal} are sent over OTLP")
    where, trouble = shown(endpoint(case.facts.environ, signal)), case.reached[signal]
    return fail(f"{where}: {trouble[0]}", trouble[1]) if trouble else ok(f"{where} answers")


def exported(case: Case) -> Finding:
    """The probe stream left the process by the exporters that are set."""
    facts = case.facts
    if facts.settings["spans"] != "all":
        return unknown("the probe got no span: see above")
    if not facts.records or case.reached.get("traces", _NOWHERE):
        return unknown("no span is sent, or nobody takes it: see above")
    if facts.said:
        return fail(f"OpenTelemetry said: {facts.said[-1]}", "see the collector's findings above, and its log")
    if "traces" not in facts.flushed:
        return fail("the probe's span was not taken in time", "see the collector's findings above, and its log")
    return ok("the probe's span was taken")


def _came_back(metric: str, says: str, otherwise: str, fix: str, case: Case) -> Finding:
    if case.grown is None:
        return unknown("Prometheus was not asked", "--prometheus URL")
    if case.silent:
        return fail(f"Prometheus: {case.silent}", "give its base URL, such as --prometheus http://127.0.0.1:9090")
    if metric in case.grown:
        return ok(says)
    return fail(otherwise, fix)


def derived(case: Case) -> Finding:
    """The probe stream came back as a metric."""
    if case.grown is not None and exported(case).verdict is not Verdict.OK:
        return unknown("the probe's span did not get out: see above")
    return _came_back(
        ENDED.prometheus,
        f"the probe stream came back as {ENDED.prometheus}",
        f"the collector took the probe's span, and no {ENDED.prometheus} came of it",
        "otel-streaming export collector DIR, and start the collector with its config.yaml, or with derive.yaml and "
        "what you have (docs/collector.md); Prometheus needs --web.enable-otlp-receiver",
        case,
    )


def ledger(case: Case) -> Finding:
    """The probe stream was counted by the process, and the count arrived."""
    if case.reached.get("metrics", _NOWHERE):
        return unknown("no metrics are sent over OTLP, or nobody takes them: see above")
    return _came_back(
        LEDGER_ENDED.prometheus,
        f"the probe's count came back as {LEDGER_ENDED.prometheus}",
        f"the process counted the probe, and no {LEDGER_ENDED.prometheus} came of it",
        "pass metrics on to Prometheus, as the derive.yaml of otel-streaming export collector does",
        case,
    )
