"""What several commands may be told, and how one ends that cannot go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from otel_streaming.semconv import Result

if TYPE_CHECKING:
    from otel_streaming.cli.live.streams import Wanted

OTLP_PORT = 4318
"""Of OTLP over HTTP."""

Routes = Annotated[
    list[str] | None,
    typer.Option("--route", metavar="GLOB", help="Only streams of this route, or read from this host; repeatable."),
]
Results = Annotated[list[Result] | None, typer.Option("--result", help="Show only what ended so; repeatable.")]
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
        typer.BadParameter: Both are asked for.
    """
    if as_json and as_markdown:
        raise typer.BadParameter("--json and --markdown: give one of the two")
    return "json" if as_json else "markdown" if as_markdown else "text"


def stop(command: str, message: object, status: int = 1) -> NoReturn:
    """End with a message that says what to do."""
    typer.echo(f"otel-streaming {command}: {message}", err=True)
    raise typer.Exit(status)
