"""The command itself: its options, and where curl's begin."""

from __future__ import annotations

from itertools import takewhile
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from otel_streaming.cli.audit.curl import OPTIONS
from otel_streaming.cli.options import OTLP_PORT, form_of


class AuditCommand(TyperCommand):
    """A command whose words from ``curl`` on are curl's, options too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the mark before ``curl`` after which no word is an option of ours."""
        if "curl" in args and "--" not in args:
            at = args.index("curl")
            args = [*args[:at], "--", *args[at:]]
        ours = {option for parameter in self.params for option in parameter.opts}
        for word in takewhile("--".__ne__, args):
            if word in OPTIONS.keys() - ours:
                raise typer.BadParameter(
                    f"{word} is curl's: write it after the word curl, as audit curl {word} ... URL"
                )
        return super().parse_args(ctx, args)


def audit(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="URL | curl ...", help="What to ask for: a URL, or a curl command line as it is."),
    ] = None,
    *,
    curl: Annotated[str, typer.Option("--curl", metavar="LINE", help="The same, a command line in quotes.")] = "",
    receive: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help=f"Where to listen on 127.0.0.1 for what the service exports (OTLP/HTTP); 0 for nowhere, "
            f"{OTLP_PORT} if nothing is said and it is free.",
        ),
    ] = None,
    max_requests: Annotated[int, typer.Option(min=1, help="Send no more requests.")] = 4,
    max_seconds: Annotated[float, typer.Option(min=1, help="Take no longer, in all.")] = 300,
    long: Annotated[float, typer.Option(min=1, help="Read a stream for no longer, in seconds.")] = 75,
    silence: Annotated[float, typer.Option(min=0.1, help="Warn of silences longer than this, in seconds.")] = 15,
    wait: Annotated[float, typer.Option(min=0, help="Wait so long for the service's records, in seconds.")] = 10,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Repeat calls that may cost money without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As a page.")] = False,
) -> None:
    """Ask a running endpoint what it does with streams: drops, records, buffers, time-outs, cancellation.

    Ends with 0 if no answer is a failure, 1 if one is, 2 if the endpoint cannot be asked.
    """
    from otel_streaming.cli.audit.report import Report, write  # noqa: PLC0415 - slow to import
    from otel_streaming.cli.audit.run import Bounds  # noqa: PLC0415
    from otel_streaming.cli.audit.session import examine, request  # noqa: PLC0415

    written = form_of(as_json=as_json, as_markdown=as_markdown)
    bounds = Bounds(max_requests, max_seconds, long, silence, wait)
    asked = request(words or [], curl)
    found = Report(asked.shown, examine(asked, bounds, receive, yes=yes))
    write(found, written)
    raise typer.Exit(int(found.failed))
