"""Notices: what we say in the host's log. What its handlers raise costs the notice and nothing else."""

from __future__ import annotations

import contextlib
import logging
import sys

from otel_streaming.semconv import SCOPE

_log = logging.getLogger(SCOPE)


def notice(text: str, *values: object, level: int = logging.WARNING, traceback: bool = False) -> None:
    """Say something, with the traceback of the exception being handled where that is wanted."""
    with contextlib.suppress(Exception):
        _log.log(level, text, *values, exc_info=traceback, stacklevel=2)


def where() -> str:
    """Return type and place of the exception being handled; never its text, which may be the application's."""
    kind, _, traceback = sys.exc_info()
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    place = "" if traceback is None else f" in {traceback.tb_frame.f_code.co_name}, line {traceback.tb_lineno}"
    return (kind.__name__ if kind else "unknown") + place
