"""Findings: what each check of `doctor` and each question of `audit` comes to."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Verdict(str, Enum):
    """What a finding amounts to."""

    OK = "ok"
    PASS = "pass"  # noqa: S105 - no password: what an audit calls it
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "not determined"


STYLES = {
    Verdict.OK: "green",
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.UNKNOWN: "dim",
}


class Finding(NamedTuple):
    """A verdict, what was seen in a sentence, and what to do about it (empty: nothing)."""

    verdict: Verdict
    seen: str
    fix: str = ""


def ok(seen: str) -> Finding:
    """Return that all is well with a setup."""
    return Finding(Verdict.OK, seen)


def passed(seen: str) -> Finding:
    """Return that an endpoint does what it should."""
    return Finding(Verdict.PASS, seen)


def warn(seen: str, fix: str) -> Finding:
    """Return that something is lost, or may be."""
    return Finding(Verdict.WARN, seen, fix)


def fail(seen: str, fix: str) -> Finding:
    """Return that it does not work."""
    return Finding(Verdict.FAIL, seen, fix)


def unknown(seen: str, fix: str = "") -> Finding:
    """Return that it could not be told."""
    return Finding(Verdict.UNKNOWN, seen, fix)
