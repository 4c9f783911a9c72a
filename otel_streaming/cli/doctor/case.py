"""What the checks of ``doctor`` know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from otel_streaming.cli.doctor.probe import Facts
    from otel_streaming.cli.doctor.reach import Trouble


@dataclass(frozen=True)
class Case:
    """All that the checks know.

    Attributes:
        facts: What the probe has told.
        program: What the command starts, where that can be told by its name.
        trouble: What OpenTelemetry wrote when it could not set itself up.
        named: Whether the service has a name.
        reached: The signals that are sent over OTLP, with what is wrong with their collector.
        grown: The metrics of the probe that came back, by their Prometheus names; None if nobody was asked.
        silent: What is wrong with Prometheus itself.
    """

    facts: Facts
    program: str
    trouble: str
    named: bool
    reached: Mapping[str, Trouble | None] = field(default_factory=dict)
    grown: Collection[str] | None = None
    silent: str = ""
