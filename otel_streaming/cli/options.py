"""What several commands may be told, and what one says that cannot go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from otel_streaming.semconv import Result

if TYPE_CHECKING:
    from otel_streaming.cli.live.streams import Wanted

OTLP_PORT = 4318
"""Of OTLP over HTTP."""
VARIABLES_FIRST = "set variables before otel-streaming, or put env before them"
"""What to do with ``NAME=value`` where a command has to begin."""

Routes = Annotated[
    list[str] | None,
    typer.Option("--route", metavar="GLOB", help="Only streams of this route, or read from this host; repeatable."),
]
Results = Annotated[
    list[Result] | None,
    typer.Option("--result", metavar="RESULT", help=f"Show only what ended so: {', '.join(Result)}; repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: a line of JSON for each stream that ended.")]
Forward = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Pass everything on to another OTLP/HTTP endpoint: http://HOST:4318."),
]


def wanted(routes: list[str] | None, results: list[Result] | None) -> Wanted:
    """Return what is looked at."""
    from otel_streaming._config import Globs  # noqa: PLC0415 - commands that need none of it start faster
    from otel_streaming.cli.live.streams import Wanted  # noqa: PLC0415

    return Wanted(Globs(*(routes or ())), tuple(results or ()))


def form_of(*, as_json: bool, as_markdown: bool) -> str:
    """Return in which form to write: ``json``, ``markdown``, else ``text``.

    Raises:
        UsageError: Both are asked for.
    """
    if as_json and as_markdown:
        raise UsageError("--json and --markdown: give one of the two")
    return "json" if as_json else "markdown" if as_markdown else "text"


class StopError(Exception):
    """A command cannot go on: the message says why, and what to do. ``status`` is what it exits with."""

    status = 1


class UsageError(StopError):
    """What was asked for cannot be meant."""

    status = 2
