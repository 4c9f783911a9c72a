"""What cases of alerts are made of: series as promtool writes them, and the words that arrive."""

from dataclasses import dataclass, field

from otel_streaming import semconv as sc
from otel_streaming.semconv import Kind, Outcome, Phase, Result, Role

WHO = {sc.SERVICE_NAME: "chat", sc.ROUTE: "/v1/chat", sc.ROLE: Role.SERVER}
HERE = "/v1/chat on chat: "


@dataclass(frozen=True)
class Case:
    """``fires`` maps each label set that tells alerts of one name apart to the description that arrives."""

    alert: str
    name: str
    series: list
    fires: dict = field(default_factory=dict)
    at: int = 60
    where: dict = field(default_factory=lambda: WHO)


def series(metric, values, suffix="", **more):
    """A series of the contract as promtool writes it; ``values`` are its samples, one a minute."""
    known = {
        attribute.label: value for attribute, value in WHO.items() if attribute in {*metric.labels, sc.SERVICE_NAME}
    }
    labels = ",".join(f'{label}="{value}"' for label, value in (known | more).items() if value is not None)
    return {"series": f"{metric.prometheus}{suffix}{{{labels}}}", "values": values}


def ledger(result, values, kind=Kind.BOUNDED, process="1", **more):
    outcome = Outcome.COMPLETED if result is Result.OK else Outcome.TRUNCATED
    own = {"stream_result": result, "stream_outcome": outcome, "stream_kind": kind, "stream_process_id": process}
    return series(sc.LEDGER_ENDED, values, **own, **more)


def spans(result, values, phase=Phase.MID_STREAM, masked="false", **more):
    own = {"stream_result": result, "stream_kind": Kind.BOUNDED, "stream_phase": phase, "stream_masked": masked}
    return series(sc.ENDED, values, **own | more)


def steadily(per_minute):
    return f"0+{per_minute}x400"


def failing(bad, good, source=ledger):
    """So many streams a minute end badly, so many well."""
    return [source(Result.OK, steadily(good)), source(Result.SILENT, steadily(bad))]


WARNING = (("severity", "warning"),)


def fires(words):
    return {WARNING: HERE + words}
