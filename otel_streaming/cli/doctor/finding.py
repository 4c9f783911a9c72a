"""Findings of ``doctor``, and what its checks make them of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from otel_streaming.cli.doctor.probe import Facts
    from otel_streaming.cli.doctor.reach import Trouble


class Verdict(str, Enum):
    """What a check comes to."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "not determined"


@dataclass(frozen=True)
class Finding:
    """One check's: what was seen, and what to do about it."""

    verdict: Verdict
    seen: str
    fix: str = ""


@dataclass(frozen=True)
class Case:
    """All that the checks know.

    ``program`` is what the command that was given starts, None without one; ``trouble`` what OpenTelemetry wrote when
    it could not set itself up; ``named`` whether the service has a name; ``reached`` the signals that are sent over
    OTLP, with what is wrong with their collector; ``grown`` the metrics of the probe that came back, by their
    Prometheus names, None if nobody was asked; ``silent`` what is wrong with Prometheus itself.
    """

    facts: Facts
    program: str | None
    trouble: str
    named: bool
    reached: Mapping[str, Trouble | None]
    grown: Collection[str] | None
    silent: str


def ok(seen: str) -> Finding:
    """Return that all is well."""
    return Finding(Verdict.OK, seen)


def warn(seen: str, fix: str) -> Finding:
    """Return that something is lost, or may be."""
    return Finding(Verdict.WARN, seen, fix)


def fail(seen: str, fix: str) -> Finding:
    """Return that it does not work."""
    return Finding(Verdict.FAIL, seen, fix)


def unknown(seen: str, fix: str = "") -> Finding:
    """Return that it could not be told."""
    return Finding(Verdict.UNKNOWN, seen, fix)
