"""Records as the receiver gives them, made by hand."""

from otel_streaming import semconv as sc
from otel_streaming.cli.records import EndedStream, Reading


def ended(result="ok", reason="completed", role="server", route="/chat", **more):
    outcome = sc.REASON_OUTCOME[sc.Reason(reason)].value if reason in set(sc.Reason) else "other"
    attributes = {sc.ROLE: role, sc.ROUTE: route, sc.RESULT: result, sc.REASON: reason, sc.OUTCOME: outcome}
    return EndedStream("ab" * 16, "cd" * 8, "shop", 1.0, 2.0, {**attributes, sc.ORIGIN: "server", **more})


def reading(metric, value, at=1.0, process="p", route="/chat", **labels):
    named = {getattr(sc, name.upper()): value for name, value in labels.items()}
    return Reading(metric.name, at, value, {sc.ROLE: "server", sc.ROUTE: route, sc.PROCESS_ID: process, **named})
