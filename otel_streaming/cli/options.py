"""What `run` and `watch` may be told, and how a command ends that cannot go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from otel_streaming.semconv import Result

if TYPE_CHECKING:
    from otel_streaming.cli.live.streams import Wanted

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


def fail(command: str, message: object, status: int = 1) -> NoReturn:
    """End with a message that says what to do."""
    typer.echo(f"otel-streaming {command}: {message}", err=True)
    raise typer.Exit(status)
