"""How far an audit goes."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PORT = 4318
"""Of OTLP over HTTP."""


@dataclass(frozen=True)
class Bounds:
    """How far an audit goes.

    Attributes:
        requests: At most so many.
        seconds: At most so long, in all.
        longest: A read lasts no longer, s.
        silence: Silence without a keep-alive that is a finding, s.
        wait: How long to wait for the service's records after the last read, s.
    """

    requests: int
    seconds: float
    longest: float
    silence: float
    wait: float
