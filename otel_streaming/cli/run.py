"""``run``: a command, instrumented and watched in one go."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from otel_streaming.cli.options import AsJson, Forward, Results, Routes, UsageError, wanted

if TYPE_CHECKING:
    from otel_streaming.cli.live.child import Child
    from otel_streaming.cli.live.session import Session

Command = Annotated[list[str] | None, typer.Argument(metavar="COMMAND", help="Such as: uvicorn app:app")]
_ASKED = ("asked to end; Ctrl-C asks again", "asked again; Ctrl-C once more kills it", "killed")
_ELSEWHERE = (
    'nothing goes to OTEL_EXPORTER_OTLP_ENDPOINT now; --forward "$OTEL_EXPORTER_OTLP_ENDPOINT" passes it on there, if '
    "OTLP over HTTP is taken there (usually at port 4318; 4317 is gRPC)"
)
_NOT_HEARD = (
    "no stream was heard of. Was one asked for? The command must run in the Python that otel-streaming[otlp] is "
    "installed in, {}; otel-streaming doctor tells more"
)


def run(
    command: Command = None,
    *,
    route: Routes = None,
    result: Results = None,
    as_json: AsJson = False,
    forward: Forward = None,
) -> None:
    """Start a service instrumented, and show its streams as they go and how each ended: run -- uvicorn app:app."""
    from otel_streaming.cli.live.child import Child, environment, find  # noqa: PLC0415 - slow to import
    from otel_streaming.cli.live.session import Session  # noqa: PLC0415

    if not command:
        raise UsageError("what is to be started? otel-streaming run -- uvicorn app:app")
    title, command[0] = shlex.join(command), find(command[0])
    session = Session(wanted(route, result), port=0, forward=forward, as_json=as_json, title=title, share=0.6)
    with session:
        if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") and not forward:
            session.say(_ELSEWHERE)
        env = environment(os.environ, session.endpoint)
        stdout = sys.stderr if as_json else None  # machines read what is left
        with Child(command, env, captured=session.live, stdout=stdout) as child:
            _attend(session, child)
    raise typer.Exit(child.status)


def _attend(session: Session, child: Child) -> None:
    from otel_streaming.cli.live.session import TICK  # noqa: PLC0415 - slow to import

    interrupts = 0
    while not child.wait(TICK):
        session.tick(child.lines())
        if child.interrupts > interrupts:
            interrupts = child.interrupts
            session.say(_ASKED[min(interrupts, len(_ASKED)) - 1])
    while lines := child.lines(last=True):
        session.tick(lines)
    if not session.heard:
        session.say(_NOT_HEARD.format(sys.prefix))
    if child.status:
        session.say(f"the command ended with status {child.status}")
