"""One audit from the command line to its report: what is asked for, what is agreed to, what is shown meanwhile."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from otel_streaming.cli.audit import report
from otel_streaming.cli.audit.bounds import DEFAULT_PORT
from otel_streaming.cli.audit.curl import UsageError, from_curl, from_url, from_words
from otel_streaming.cli.audit.run import Inside, Run
from otel_streaming.cli.receiver import Receiver, ReceiverError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_streaming.cli.audit.bounds import Bounds
    from otel_streaming.cli.audit.curl import Asked


@dataclass(frozen=True)
class Session:
    """How the audit is to be made.

    Attributes:
        bounds: How far it goes.
        port: Where to listen to the service; 0 for nowhere, None for the usual port if it is free.
        form: Of the report: ``text``, ``json`` or ``markdown``.
        yes: Whether calls are repeated without asking.
    """

    bounds: Bounds
    port: int | None = None
    form: str = "text"
    yes: bool = False

    def run(self, words: list[str], line: str) -> int:
        """Make the audit and write its report.

        Args:
            words: A URL, or the words of a curl command line.
            line: A curl command line, in place of them.

        Returns:
            The exit status: 0 without a failure, 1 with one, 2 where there was nothing to judge.
        """
        try:
            asked = _asked(words, line)
            found = self._audit(asked, self._agreed(asked))
        except UsageError as error:
            _say(f"otel-streaming audit: {error}")
            return 2
        if self.form == "text":
            Console(highlight=False).print(report.as_text(found))
        else:
            typer.echo(report.as_json(found) if self.form == "json" else report.as_markdown(found))
        return int(found.failed)

    def _agreed(self, asked: Asked) -> Bounds:
        """Say what is going to be done; ask before a call is repeated that may cost money, or else do not repeat it."""
        b = self.bounds
        _say(f"up to {b.requests} requests, {b.seconds:.0f} s in all, {b.longest:.0f} s each")
        if self.yes or b.requests == 1 or not asked.costs:
            return b
        if sys.stdin is None or not sys.stdin.isatty():
            _say("each call may cost money, or change something, and is not repeated: --yes allows for it")
        elif typer.confirm("each call may cost money, or change something; repeat it?", err=True):
            return b
        return replace(b, requests=1)

    def _audit(self, asked: Asked, bounds: Bounds) -> report.Report:
        with _listening(self.port) as inside, _progress() as tell:
            return report.report(asked.shown, anyio.run(Run(asked, bounds, inside, tell).gather))


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _asked(words: list[str], line: str) -> Asked:
    if bool(words) == bool(line):
        raise UsageError("give a URL, or a curl command line, and one of them only")
    if line:
        return from_curl(line)
    if words[0] == "curl":
        return from_words(words)
    if len(words) > 1:
        raise UsageError("give one URL; what is to be sent with it is written as for curl: audit curl -H ... URL")
    return from_url(words[0])


@contextlib.contextmanager
def _listening(port: int | None) -> Iterator[Inside | None]:
    """Listen to what the service exports; where nobody has named a port, only if the usual one is free."""
    if port == 0:
        yield None
        return
    inside = Inside()
    with contextlib.ExitStack() as stack:
        receiver = Receiver(
            port=port or DEFAULT_PORT, on_stream=inside.stream, on_trace=inside.trace, on_export=inside.export
        )
        try:
            stack.enter_context(receiver)
        except ReceiverError as error:
            if port is not None:
                raise UsageError(f"port {port} cannot be listened on: --receive takes another, 0 for none") from error
            _say(f"port {DEFAULT_PORT} is in use, so the service is not listened to: --receive takes another")
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
