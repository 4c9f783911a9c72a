"""One audit from the command line to what it finds: what is asked for, what is agreed to, what is shown meanwhile."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from otel_streaming.cli.audit.curl import from_curl, from_url, from_words
from otel_streaming.cli.audit.inside import Inside
from otel_streaming.cli.audit.run import Run
from otel_streaming.cli.audit.words import counted
from otel_streaming.cli.options import OTLP_PORT, UsageError
from otel_streaming.cli.receiver import Receiver, ReceiverError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_streaming.cli.audit.curl import Asked
    from otel_streaming.cli.audit.evidence import Evidence
    from otel_streaming.cli.audit.run import Bounds


def examine(asked: Asked, bounds: Bounds, port: int | None, *, yes: bool) -> Evidence:
    """Make the audit; what is going on is said on standard error.

    Args:
        asked: What to ask for.
        bounds: How far to go.
        port: Where to listen to the service; 0 for nowhere, None for the usual port if it is free.
        yes: Whether calls are repeated without asking.

    Raises:
        UsageError: There is nothing to judge.
    """
    bounds = _agreed(asked, bounds, yes=yes)
    with _listening(port) as inside, _progress() as tell:
        return anyio.run(Run(asked, bounds, inside, tell).gather)


def request(words: list[str], line: str) -> Asked:
    """Return what is asked for by a URL, by the words of a curl command line, or by such a line in place of them.

    Raises:
        UsageError: By none of them, or by several.
    """
    if bool(words) == bool(line):
        raise UsageError("give a URL, or a curl command line, and one of them only")
    if line:
        return from_curl(line)
    if words[0] == "curl":
        return from_words(words)
    if len(words) > 1:
        raise UsageError("give one URL; what is to be sent with it is written as for curl: audit curl -H ... URL")
    return from_url(words[0])


def _agreed(asked: Asked, bounds: Bounds, *, yes: bool) -> Bounds:
    """Say what is going to be done; ask before a call is repeated that may cost money, or else do not repeat it."""
    _say(f"up to {counted(bounds.requests, 'request')}, {bounds.seconds:.0f} s in all, {bounds.longest:.0f} s each")
    if yes or bounds.requests == 1 or not asked.costs:
        return bounds
    if not sys.stdin.isatty():
        _say("each call may cost money, or change something, and is not repeated: --yes allows for it")
    elif typer.confirm("each call may cost money, or change something; repeat it?", err=True):
        return bounds
    return replace(bounds, requests=1)


def _say(text: str) -> None:
    typer.echo(text, err=True)


@contextlib.contextmanager
def _listening(port: int | None) -> Iterator[Inside | None]:
    """Listen to what the service exports; where nobody has named a port, only if the usual one is free."""
    if port == 0:
        yield None
        return
    inside = Inside()
    with contextlib.ExitStack() as stack:
        receiver = Receiver(
            port=port or OTLP_PORT, on_stream=inside.stream, on_trace=inside.trace, on_export=inside.export
        )
        try:
            stack.enter_context(receiver)
        except ReceiverError as error:
            if port is not None:
                raise UsageError(f"port {port} cannot be listened on: --receive takes another, 0 for none") from error
            _say(f"port {OTLP_PORT} is in use, so the service is not listened to: --receive takes another")
            yield None
        else:
            _say(f"listening on {receiver.endpoint} for what the service exports")
            yield inside


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    """Show what is going on: on a terminal as it changes, elsewhere one line for each thing."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        text = TextColumn("{task.description}, {task.elapsed:.0f} s, {task.completed} pieces")
        with Progress(SpinnerColumn(), text, console=console, transient=True) as shown:
            task = shown.add_task("")

            def update(what: str, pieces: int) -> None:
                if shown.tasks[0].description != what:
                    shown.reset(task, description=what)
                shown.update(task, completed=pieces)

            yield update
        return
    said = set()

    def line(what: str, _: int) -> None:
        if what not in said:
            said.add(what)
            _say(what)

    yield line
