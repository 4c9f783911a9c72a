"""What must fire and what must not where the telemetry itself is in question."""

from alert_series import WARNING, Case, failing, ledger, series, spans, steadily

from otel_streaming import semconv as sc
from otel_streaming.semconv import Kind, Result, Role

NEVER_ARRIVED = (
    "of the failures of the last 30 minutes were counted by the service and never arrived as spans: "
    "their causes are unknown."
)
DERIVED_TWICE = (
    "of the failures of the last 30 minutes were told by spans and not counted by the service: "
    "they are derived twice, or sent twice."
)
FOLDED = {sc.ROLE.label: None, sc.ROUTE.label: None, "otel_metric_overflow": "true"}
LOST, TWICE = ((*WARNING, ("spans", which)) for which in ("missing", "surplus"))
LOSSY = [
    Case(
        "StreamTelemetryLossy",
        "three of ten lost",
        [ledger(Result.SILENT, steadily(10)), spans(Result.SILENT, steadily(7))],
        {LOST: f"chat: 30% {NEVER_ARRIVED}"},
    ),
    Case(
        "StreamTelemetryLossy",
        "no failure arrives at all",
        [ledger(Result.SILENT, steadily(10)), spans(Result.OK, steadily(50))],
        {LOST: f"chat: 100% {NEVER_ARRIVED}"},
    ),
    Case(
        "StreamTelemetryLossy",
        "a service that begins when the collector has no series left",
        [ledger(Result.SILENT, steadily(10)), series(sc.ENDED, steadily(10), **FOLDED)],
        {LOST: f"chat: 100% {NEVER_ARRIVED}"},
    ),
    Case(
        "StreamTelemetryLossy",
        "bad ones only (SPANS=bad)",
        [ledger(Result.SILENT, "0+10x99"), ledger(Result.OK, "0+90x99"), spans(Result.SILENT, "0+10x99")],
    ),
    Case(
        "StreamTelemetryLossy",
        "two collectors derive, one behind another",
        [ledger(Result.SILENT, steadily(10)), spans(Result.SILENT, steadily(20))],
        {TWICE: f"chat: 50% {DERIVED_TWICE}"},
    ),
    Case(
        "StreamTelemetryLossy",
        "an older release without a ledger runs beside",
        [ledger(Result.OK, steadily(10)), spans(Result.SILENT, steadily(10))],
        {TWICE: f"chat: 100% {DERIVED_TWICE}"},
    ),
    Case(
        "StreamTelemetryLossy",
        "what the process counts itself is no second witness (METRICS=all)",
        [ledger(Result.SILENT, steadily(10)), spans(Result.SILENT, steadily(7), stream_process_id="1")],
    ),
    Case(
        "StreamTelemetryLossy",
        "model calls that only spans of another instrumentation tell of",
        [ledger(Result.OK, steadily(10)), spans(Result.SILENT, steadily(10), stream_role=Role.CLIENT)],
    ),
    Case(
        "StreamTelemetryLossy",
        "of subscriptions, too",
        [
            ledger(Result.SILENT, steadily(10), kind=Kind.SUBSCRIPTION),
            spans(Result.SILENT, steadily(7), stream_kind=Kind.SUBSCRIPTION),
        ],
        {LOST: f"chat: 30% {NEVER_ARRIVED}"},
    ),
    Case("StreamTelemetryLossy", "no spans at all (SPANS=off)", failing(10, 90)),
    Case("StreamTelemetryLossy", "few failures", [ledger(Result.SILENT, "0+0.5x99"), spans(Result.OK, "0+9x99")]),
]


def started(values, process="1"):
    return series(sc.LEDGER_STARTED, values, stream_process_id=process)


GONE = {WARNING: "chat: reported its streams until lately and does not now; no dashboard can tell whether they fail."}
MISSING = [
    Case("StreamTelemetryMissing", "a service goes silent", [started("0+1x400")], GONE, at=425),
    Case("StreamTelemetryMissing", "a night later it is not forgotten", [started("0+1x400")], GONE, at=1120),
    Case("StreamTelemetryMissing", "one without a ledger goes silent", [spans(Result.OK, "0+1x400")], GONE, at=425),
    Case(
        "StreamTelemetryMissing", "its process is replaced", [started("0+1x400"), started("_x400 0+1x99", "2")], at=425
    ),
    Case("StreamTelemetryMissing", "it has no traffic", [started("5x500")], at=425),
    Case("StreamTelemetryMissing", "a job of a few hours", [started("0+1x300")], at=325),
    Case("StreamTelemetryMissing", "it was taken away for good", [started("0+1x400")], at=1600),
    Case(
        "StreamTelemetryMissing",
        "a new collector has not heard of it yet",
        [spans(Result.OK, "0+1x400"), spans(Result.OK, "0+1x500", service_name="other")],
        at=425,
    ),
    Case(
        "StreamTelemetryMissing",
        "its spans are gone, its ledger goes on",
        [spans(Result.OK, "0+1x400"), started("0+1x500")],
        at=425,
    ),
]
