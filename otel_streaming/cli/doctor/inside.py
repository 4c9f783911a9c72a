"""The probe, run as the service would be: by its Python, under what instruments it, in its environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_streaming.cli.doctor.case import Case
from otel_streaming.cli.doctor.probe import Facts
from otel_streaming.cli.options import VARIABLES_FIRST, StopError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "otel-streaming-doctor"
"""What the probe reports as: no service's numbers get a stream that was none of its own."""
_INSTRUMENT = "opentelemetry-instrument"
_INSTRUMENTED = ("-c", "from opentelemetry.instrumentation.auto_instrumentation import run; run()")
SERVERS = {
    *("uvicorn", "hypercorn", "granian", "daphne", "gunicorn", "waitress-serve", "waitress", "werkzeug"),
    *("fastapi", "litestar", "quart", "flask"),
}
"""Programs that start a server with hooks."""
_STARTS = 120.0
"""Seconds for the probe to be through."""


class ProbeError(StopError):
    """The probe could not tell anything: no finding, good or bad."""

    status = 2


def look(command: list[str]) -> Case:
    """Run the probe in the place of the program that ``command`` starts, and return what it has told.

    Without a command it is run as the README has it.

    Raises:
        UsageError: There is no such program, or it is none of Python.
        ProbeError: The probe could not tell anything.
    """
    argv, program = _probe(command)
    told, wrote = _run(argv)
    facts = Facts(**told)
    named = facts.environ.get("OTEL_SERVICE_NAME") != SERVICE or _named(os.environ)
    return Case(facts, program, _trouble(wrote), named)


def _named(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("OTEL_SERVICE_NAME")) or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")


def _probe(command: list[str]) -> tuple[list[str], str]:
    """Return the command with the probe in its program's place, run by the same Python; and the program's name.

    What a script or a module of one's own starts its name does not tell: it has none here.

    Raises:
        UsageError: There is no such program, or it is none of Python.
    """
    module = ["-m", "otel_streaming.cli.doctor.probe"]
    if not command:
        return [sys.executable, *_INSTRUMENTED, sys.executable, *module], ""
    at = _position(command)
    found = shutil.which(command[at])
    if found is None and at == 0:
        raise UsageError(f"{command[0]}: no such program; give the command that starts the service")
    program, python = Path(command[at]).name, _python_of(found) if found else "python"
    if python is None and program not in SERVERS:
        raise UsageError(f"{program} is no Python program; give the command that it starts")
    if program.startswith("python") or program.endswith(".py"):
        run = command[command.index("-m", at) + 1] if "-m" in command[at:-1] else ""
        program = run if run in SERVERS else ""
    return [*command[:at], python or sys.executable, *module], program


def _position(command: list[str]) -> int:
    """Return where the program stands, behind what runs it: ``opentelemetry-instrument``, ``poetry run``."""
    names = [Path(word).name for word in command]
    known = (at for at, name in enumerate(names) if name in SERVERS or name.startswith("python"))
    behind = (at for at, word in enumerate(command) if at and names[0] == _INSTRUMENT and shutil.which(word))
    return next(known, next(behind, 0))


def _python_of(program: str) -> str | None:
    """Return the Python that runs a program: itself, or the one in its first lines (pip writes two kinds)."""
    if Path(program).name.startswith("python"):
        return program
    with Path(program).open("rb") as script:
        named = re.search(rb"(?:#!(?:/usr/bin/env )?|''' ?\")([^\s\"]*python[0-9.]*)", script.read(300))
    return named[1].decode() if named else None


def _run(argv: list[str]) -> tuple[dict[str, Any], str]:
    """Run the probe; return what it told, and what it wrote.

    Raises:
        ProbeError: It could not tell anything.
    """
    with tempfile.TemporaryDirectory(prefix="otel-streaming-") as folder:
        told = Path(folder, "facts.json")
        try:
            done = subprocess.run(  # noqa: S603 - the user's own command, without what it starts
                [*argv, str(told)],
                env=os.environ | {"OTEL_SERVICE_NAME": SERVICE},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_STARTS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = getattr(error, "strerror", None) or error
            todo = "give the command that starts the service, by its whole path"
            if "=" in argv[0]:
                todo = VARIABLES_FIRST
            raise ProbeError(f"the probe did not run: {argv[0]}: {why}; {todo}") from error
        if not told.exists():
            last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
            where = f"pip install otel-streaming where the service runs ({' '.join(argv[:-2])})"
            raise ProbeError(f"the probe did not run: {last}; {where}")
        return json.loads(told.read_text(encoding="utf-8")), done.stderr


def _trouble(wrote: str) -> str:
    """Return the last exception in what OpenTelemetry wrote when it could not set itself up, else nothing."""
    errors = [line for line in wrote.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return errors[-1][:300] if errors and "Failed to auto initialize" in wrote else ""
