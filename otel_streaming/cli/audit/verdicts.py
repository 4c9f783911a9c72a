"""What an answer is: a verdict, its evidence, what to do; and how a question comes to one. Pure, as the questions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from otel_streaming._words import REASONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_streaming.cli.audit.evidence import Evidence


class Verdict(str, Enum):
    """What an answer amounts to."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"
    NOT_DETERMINED = "not determined"

    __str__ = str.__str__


class Answer(NamedTuple):
    """A verdict, the evidence for it in a sentence, and what to do (empty: nothing)."""

    verdict: Verdict
    evidence: str
    advice: str = ""


@dataclass(frozen=True)
class Question:
    """One question: what it is called, how it is asked, and its rules."""

    name: str
    text: str
    rules: tuple[Callable[[Evidence], Answer | None], ...]

    def answer(self, evidence: Evidence) -> Answer:
        """Return what the first rule says that applies; the last one of each table always does."""
        return next(answer for rule in self.rules if (answer := rule(evidence)) is not None)


PASS, WARN, FAIL, UNKNOWN = Verdict
EXPORT_HERE = "let the service export to the receiver of this audit"


def seconds(value: float) -> str:
    """Return a time in words."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def in_words(reason: str) -> str:
    """Return a reason as people read it, in quotes."""
    return f'"{REASONS.get(reason, reason)}"'  # type: ignore[call-overload]  # a Reason is a str


def counted(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"
