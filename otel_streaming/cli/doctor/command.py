"""``doctor``: looks at a service's setup from inside such a process, and says what to do about what it finds."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from otel_streaming.cli.doctor import inside
from otel_streaming.cli.finding import STYLES, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_streaming.cli.doctor.case import Case
    from otel_streaming.cli.finding import Finding


def doctor(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="What starts the service, after a --.")
    ] = None,
    *,
    prometheus: Annotated[str, typer.Option(metavar="URL", help="Ask there whether the probe stream came back.")] = "",
    wait: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="For how long to ask it.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: a list of findings.")] = False,
) -> None:
    """Tell what keeps a service's streams from being seen, and what to do.

    Run it in the service's environment. The application is not started.
    One stream of a service otel-streaming-doctor goes through the pipeline.
    Ends with 0 if no finding is a failure, 1 if one is, 2 if the service's Python cannot be looked at.
    """
    from otel_streaming.cli.doctor.checks import CHECKS  # noqa: PLC0415 - slow to import

    case = _examine(command or [], prometheus, wait)
    findings = {name: check(case) for name, check in CHECKS.items()}
    (_print_json if as_json else _print)(findings)
    if any(finding.verdict is Verdict.FAIL for finding in findings.values()):
        raise typer.Exit(1)


_POLL = 0.3


def _examine(command: list[str], prometheus: str, wait: float) -> Case:
    """Run the probe, see what became of its stream, and put together what the checks know."""
    from otel_streaming.cli.doctor.came_back import METRICS, ask  # noqa: PLC0415 - slow to import
    from otel_streaming.cli.doctor.delivery import reached  # noqa: PLC0415

    before, silent = ask(prometheus) if prometheus else ({}, "")
    case = inside.look(command)
    takers = reached(case.facts.environ)
    due = {metric for signal, metric in METRICS.items() if takers.get(signal, True) is None}
    grown, deadline = set[str](), time.monotonic() + wait
    while prometheus and not silent and due - grown and time.monotonic() < deadline:
        time.sleep(_POLL)
        after, silent = ask(prometheus)
        grown = {series[0] for series, value in after.items() if value > before.get(series, 0)}
    return replace(case, reached=takers, grown=grown if prometheus else None, silent=silent)


def _print_json(findings: Mapping[str, Finding]) -> None:
    print(json.dumps([{"check": name, **found._asdict()} for name, found in findings.items()], indent=2))


def _print(findings: Mapping[str, Finding]) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.table import Column, Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table.grid("", "", Column(overflow="fold"), padding=(0, 2))
    for name, found in findings.items():
        grid.add_row(Text(found.verdict.value, STYLES[found.verdict]), Text(name), Text(found.seen))
        if found.fix:
            grid.add_row("", "", Text(f"-> {found.fix}", "cyan"))
    Console().print(grid)
