"""How evidence is put: times, numbers, reasons."""

from __future__ import annotations

from otel_streaming._words import REASONS

EXPORT_HERE = "let the service export to the receiver of this audit"


def seconds(value: float) -> str:
    """Return a time in words."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def in_words(reason: str) -> str:
    """Return a reason as people read it, in quotes."""
    return f'"{REASONS.get(reason, reason)}"'  # type: ignore[call-overload]  # a Reason is a str


def counted(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"
