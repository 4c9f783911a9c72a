"""The commands, in the order in which ``otel-streaming --help`` lists them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import typer

from otel_streaming._version import __version__
from otel_streaming.cli.audit.command import AuditCommand, audit
from otel_streaming.cli.catalog import catalog
from otel_streaming.cli.doctor.command import doctor
from otel_streaming.cli.export import export
from otel_streaming.cli.options import StopError
from otel_streaming.cli.run import run
from otel_streaming.cli.watch import watch

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="otel-streaming",
    help="How every stream really ended.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _options(*, version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _stopped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that tells what it cannot go on for, and exits with that status."""

    @functools.wraps(command)
    def stopped(**options: Any) -> None:
        try:
            command(**options)
        except StopError as error:
            typer.echo(f"otel-streaming {command.__name__}: {error}", err=True)
            raise typer.Exit(error.status) from error

    return stopped


_OF_A_COMMAND = {"context_settings": {"allow_interspersed_args": False}}  # what follows it is its own
_COMMANDS: dict[Callable[..., None], dict[str, Any]] = {
    run: _OF_A_COMMAND,
    watch: {},
    audit: {"cls": AuditCommand},
    catalog: {},
    export: {},
    doctor: _OF_A_COMMAND,
}
for function, settings in _COMMANDS.items():
    app.command(**settings)(_stopped(function))
