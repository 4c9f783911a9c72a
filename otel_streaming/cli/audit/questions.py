"""The five questions of the audit, in the order of the report.

Of the rules of a question the first that applies speaks. What the service itself tells comes before what a client can
see, worse before better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_streaming.cli.audit.leaving import CANCEL, DROP
from otel_streaming.cli.audit.path import PATH
from otel_streaming.cli.audit.recording import RECORD
from otel_streaming.cli.audit.timeouts import TIMEOUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_streaming.cli.audit.evidence import Evidence
    from otel_streaming.cli.finding import Finding


@dataclass(frozen=True)
class Question:
    """One question: what it is called, how it is asked, and its rules."""

    name: str
    text: str
    rules: tuple[Callable[[Evidence], Finding | None], ...]

    def answer(self, evidence: Evidence) -> Finding:
        """Return what the first rule says that applies; the last one of each table always does."""
        return next(answer for rule in self.rules if (answer := rule(evidence)) is not None)


QUESTIONS = (
    Question("drop", "A client drops at 50 %: is it noticed?", DROP),
    Question("record", "Is there one record of each stream, with its true end?", RECORD),
    Question("path", "Does anything on the path cache or buffer it?", PATH),
    Question("time-outs", "Which time-outs does it meet?", TIMEOUTS),
    Question("cancel", "Does generation stop when the client leaves?", CANCEL),
)
