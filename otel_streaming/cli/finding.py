"""Findings: what each check of `doctor` and each question of `audit` comes to."""

from __future__ import annotations

import functools
from enum import Enum
from typing import NamedTuple


class Verdict(str, Enum):
    """What a finding amounts to: ``OK`` is the doctor's word where all is well, ``PASS`` the audit's."""

    OK = "ok"
    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"  # something is lost, or may be
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


ok, passed, warn, fail, unknown = (functools.partial(Finding, verdict) for verdict in Verdict)
"""Each makes a finding of its verdict, of what was seen and what to do."""
