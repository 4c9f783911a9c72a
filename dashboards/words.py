"""The words and the colours on the screen: one of each per code of the contract, the same in every panel.

Codes are for queries; whoever is on call at night reads words. Colours are Grafana's palette names,
by family: purple is cut short, orange and yellow failed, red a 5xx, blue the reader's doing, green fine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from otel_streaming import _words
from otel_streaming.semconv import Cache, Origin, Reason, Retry, State

if TYPE_CHECKING:
    from collections.abc import Mapping

Code = TypeVar("Code")


def percent(share: float) -> str:
    """A share as it is read; of an objective every digit counts."""
    return f"{100 * share:.6g} %"


class Word(NamedTuple):
    """How one code appears on the screen."""

    text: str
    colour: str


GREEN, ORANGE, RED, PURPLE, BLUE = "green", "orange", "red", "purple", "blue"
DARK_RED = "dark-red"
GREY = "#6c7079"
"""No judgement: nothing was measured, or there was nothing to measure."""

PLAIN = "text"
"""The colour of letters, or whatever Grafana gives to the next series."""

NO_TELEMETRY = "no telemetry"
NO_TRAFFIC = "no traffic"
NO_FAILURES = "no failures"
NOT_COMPARED = "nothing to compare"
NOTHING_TO_SHOW = "nothing to show: no stream ended, or no telemetry"
NO_SUBSCRIPTIONS = "no subscription, or no telemetry"
NO_ROUTE = "(no route)"
NOT_TOLD = "-"
NO_RULES = "no rules, or no telemetry"
NO_TRACES = "nothing to show: no such stream, or no traces"

USERS_SAW = Word("what users saw", PURPLE)
USERS_AND_LEAVERS = Word("the same, and readers who gave up", BLUE)
PANEL_SAYS = Word("what your 5xx panel says", RED)

STALLED = Word(_words.STALLED, "super-light-yellow")
NONE = Word("none of these", GREY)
ALL = Word("all together", PLAIN)
UNEXPLAINED = Word("cause not reported", GREY)
LEFT = Word("reader left, no failure", "super-light-blue")


def _coloured(texts: Mapping[Code, str], colours: Mapping[Code, str]) -> dict[Code, Word]:
    return {code: Word(texts[code], colour) for code, colour in colours.items()}


REASONS = _coloured(
    _words.REASONS,
    {
        Reason.HTTP_5XX: RED,
        Reason.MISSING_TERMINAL: PURPLE,
        Reason.CONNECTION_LOST: "light-purple",
        Reason.INCOMPLETE_RESPONSE: "semi-dark-purple",
        Reason.PROCESS_DEATH: "dark-purple",
        Reason.UPSTREAM_MASKED: "super-light-purple",
        Reason.PRODUCER_ERROR: ORANGE,
        Reason.IN_BAND_ERROR: "light-orange",
        Reason.SERVER_CANCELLED: "semi-dark-orange",
        Reason.PROTOCOL_ERROR: "dark-orange",
        Reason.DECLARED_ERROR: "super-light-orange",
        Reason.IDLE_TIMEOUT: "yellow",
        Reason.DEADLINE_EXCEEDED: "semi-dark-yellow",
        Reason.SERVER_SHUTDOWN: "dark-yellow",
        Reason.CLIENT_TIMEOUT: "light-yellow",
        Reason.CONNECT_FAILED: "dark-red",
        Reason.CLIENT_DISCONNECT: BLUE,
        Reason.CONSUMER_STOPPED: "light-blue",
        Reason.COMPLETED: GREEN,
        Reason.INCOMPLETE_DECLARED: "light-green",
        Reason.UNKNOWN: "#9fa4ad",
    },
)

STATES = _coloured(
    _words.STATES,
    {
        State.FLOWING: GREEN,
        State.WAITING: BLUE,
        State.BACKPRESSURED: "light-orange",
        State.STALLED: STALLED.colour,
        State.ABANDONED: "dark-purple",
    },
)

ORIGINS = _coloured(
    _words.ORIGINS,
    {
        Origin.UPSTREAM: PURPLE,
        Origin.SERVER: ORANGE,
        Origin.INTERMEDIARY: "yellow",
        Origin.CLIENT: BLUE,
        Origin.UNKNOWN: REASONS[Reason.UNKNOWN].colour,
    },
)
"""Who ended it."""

RETRIES = _coloured(
    _words.RETRIES,
    {
        Retry.RETRIED: ORANGE,
        Retry.RESUMED: GREEN,
    },
)

CACHES = _coloured(
    _words.CACHES,
    {
        Cache.NONE: GREY,
        Cache.MISS: "yellow",
        Cache.HIT: ORANGE,
    },
)

WINDOWS = {"5m": RED, "1h": ORANGE, "6h": "yellow", "3d": BLUE}
"""Burn rates: the shorter, the hotter."""

PHASES = {phase: Word(text, PLAIN) for phase, text in _words.PHASES.items()}
PROTOCOLS = {protocol: Word(text, PLAIN) for protocol, text in _words.PROTOCOLS.items()}
DIALECTS = {dialect: Word(text, PLAIN) for dialect, text in _words.DIALECTS.items()}
