"""The commands, in the order in which ``otel-streaming --help`` lists them."""

from __future__ import annotations

import typer

from otel_streaming._version import __version__
from otel_streaming.cli.audit.command import AuditCommand, audit
from otel_streaming.cli.catalog import catalog
from otel_streaming.cli.doctor.command import doctor
from otel_streaming.cli.export import export
from otel_streaming.cli.run import run
from otel_streaming.cli.watch import watch

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


_OF_A_COMMAND = {"allow_interspersed_args": False}  # what follows it is its own

app.command(context_settings=_OF_A_COMMAND)(run)
app.command()(watch)
app.command(cls=AuditCommand)(audit)
app.command()(catalog)
app.command()(export)
app.command(context_settings=_OF_A_COMMAND)(doctor)
