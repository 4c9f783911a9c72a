"""The report of an audit: for a terminal, as JSON, as Markdown. All it shows of a request is its shown URL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from otel_streaming._version import __version__
from otel_streaming._words import REASONS
from otel_streaming.cli.audit.questions import QUESTIONS
from otel_streaming.cli.audit.words import counted, seconds
from otel_streaming.cli.finding import STYLES, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_streaming.cli.audit.evidence import Evidence, Read
    from otel_streaming.cli.audit.questions import Question
    from otel_streaming.cli.finding import Finding


class Report(NamedTuple):
    """What was asked for, as it may be shown; what was found; what it answers."""

    asked: str
    evidence: Evidence

    @property
    def answers(self) -> list[tuple[Question, Finding]]:
        """The questions, each with its answer."""
        return [(question, question.answer(self.evidence)) for question in QUESTIONS]

    @property
    def failed(self) -> bool:
        """Whether there is a failure among the answers."""
        return any(answer.verdict is Verdict.FAIL for _, answer in self.answers)

    @property
    def inside(self) -> str:
        """What was heard from the service."""
        e = self.evidence
        told = sum(map(len, e.records.values()))
        return f"the service told of {told} of {len(e.reads)} streams" if e.heard else "nothing heard from the service"


_FACTS: dict[str, Callable[[Read], object]] = {
    "way": lambda read: read.way.value,
    "trace_id": lambda read: read.trace_id,
    "status": lambda read: read.summary.status,
    "seconds": lambda read: round(read.seconds, 3),
    "first_chunk_seconds": lambda read: None if read.first is None else round(read.first, 3),
    "longest_silence_seconds": lambda read: round(max(read.silences), 3),
    "events": lambda read: read.events,
    "keepalives": lambda read: read.summary.keepalives,
    "bytes": lambda read: read.summary.size,
    "dialect": lambda read: read.summary.dialect.value,
    "terminal": lambda read: read.summary.terminal.value,
    "left_after_seconds": lambda read: None if read.leaving is None else round(read.leaving.at, 3),
    "outcome": lambda read: read.summary.outcome.value,
    "reason": lambda read: read.summary.reason.value,
}
"""What is told of each read, by the names of the JSON report; ``null`` where it is not known."""


def as_json(found: Report) -> str:
    """Return it for machines."""
    e = found.evidence
    return json.dumps(
        {
            "version": __version__,
            "request": found.asked,
            "heard_from_service": e.heard,
            "answers": [
                {
                    "question": question.name,
                    "text": question.text,
                    "verdict": answer.verdict.value,
                    "evidence": answer.seen,
                    "advice": answer.fix,
                }
                for question, answer in found.answers
            ],
            "reads": [{name: fact(read) for name, fact in _FACTS.items()} for read in e.reads.values()],
            "not_read": {way.value: why for way, why in e.missing.items()},
            "records": {trace: [record._asdict() for record in records] for trace, records in e.records.items()},
        },
        indent=2,
        ensure_ascii=False,
    )


def as_markdown(found: Report) -> str:
    """Return it as a page or a comment."""
    lines = [
        f"## Streaming audit: `{found.asked}`",
        "",
        f"{counted(len(found.evidence.reads), 'read')}; {found.inside}.",
        "",
    ]
    lines += ["| question | verdict | evidence | what to do |", "|---|---|---|---|"]
    for question, answer in found.answers:
        lines.append(_row(question.text, f"**{answer.verdict.value}**", answer.seen, answer.fix))
    lines += ["", "| read | status | seconds | events | bytes | end | trace |", "|---|---|---|---|---|---|---|"]
    for read in found.evidence.reads.values():
        s = read.summary
        cells = (read.way.value, str(s.status or "none"), seconds(read.seconds), str(read.events), str(s.size))
        lines.append(_row(*cells, _end(read), f"`{read.trace_id}`"))
    return "\n".join(lines)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _end(read: Read) -> str:
    if read.leaving is not None:
        return f"left after {seconds(read.leaving.at)}"
    return "its time was up" if read.over else REASONS[read.summary.reason]


def as_text(found: Report) -> Group:
    """Return it for a terminal."""
    answers = Table.grid(padding=(0, 2))
    answers.add_column(no_wrap=True)
    answers.add_column(ratio=1)
    for question, answer in found.answers:
        told = Text.assemble((question.text, "bold"), "\n", answer.seen)
        if answer.fix:
            told.append(f"\n-> {answer.fix}", style="cyan")
        answers.add_row(Text(answer.verdict.value, style=STYLES[answer.verdict]), told)
        answers.add_row()
    reads = Table("read", "seconds", "events", "end", box=None, pad_edge=False, header_style="dim", style="dim")
    reads.add_column("trace", no_wrap=True)
    for read in found.evidence.reads.values():
        reads.add_row(read.way.value, seconds(read.seconds), str(read.events), _end(read), read.trace_id)
    return Group(Text(found.asked, style="bold"), Text(found.inside, style="dim"), Text(), answers, reads)


def write(found: Report, form: str) -> None:
    """Write it to standard output: as ``text``, as ``json`` or as ``markdown``."""
    if form == "text":
        Console(highlight=False).print(as_text(found))
    else:
        typer.echo(as_json(found) if form == "json" else as_markdown(found))
