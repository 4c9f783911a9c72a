"""The command line, ``otel-streaming``: one module a command; what they need beside the plugin is the extra ``cli``."""

from __future__ import annotations

import importlib.util
import io
import os
import sys

NEEDS = ("typer", "rich", "httpx", "h11", "opentelemetry.proto")
HINT = 'otel-streaming: the command line needs {missing}: pip install "otel-streaming[cli]"'


def main() -> None:
    """Run the command line, or say what to install for it (exit status 2)."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed; what is opened next would get its number, and what is printed
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    missing = [name for name in NEEDS if not _there(name)]
    if missing:
        print(HINT.format(missing=", ".join(missing)), file=sys.stderr)
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # and not somebody's own
            stream.reconfigure(errors="replace")  # what a terminal's encoding lacks
    from otel_streaming.cli.app import app  # noqa: PLC0415 - needs what was just looked for

    app()


def _there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # its parent is missing, or it is switched off
        return False
