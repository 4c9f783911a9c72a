"""Notices: what we say in the host's log. What its handlers raise costs the notice and nothing else."""

from __future__ import annotations

import contextlib
import logging

from otel_streaming.semconv import SCOPE

_log = logging.getLogger(SCOPE)


def notice(text: str, *values: object, level: int = logging.WARNING, traceback: bool = False) -> None:
    """Say something, with the traceback of the exception being handled where that is wanted."""
    with contextlib.suppress(Exception):
        _log.log(level, text, *values, exc_info=traceback, stacklevel=2)
