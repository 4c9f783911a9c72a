"""What is to be said of every fault, as data: outcome, reason, phase, origin; and where a row differs, why."""

from fnmatch import fnmatch

_DONE = "completed/completed/after_terminal/server"
_LOST = "truncated/connection_lost/mid_stream/upstream"
_STOPPED = "cancelled/consumer_stopped/mid_stream/client"
_REFUSED = "failed/http_5xx/before_headers/upstream"
_READ = "completed/completed/mid_stream/server"  # compressed, and so not read

PLAIN = {
    "healthy": _DONE,
    "no_terminal": "truncated/missing_terminal/mid_stream/upstream",
    "cut_in_chunk": _LOST,
    "cut_between": _LOST,
    "in_band_error": "failed/in_band_error/mid_stream/upstream",
    "stall": "failed/idle_timeout/mid_stream/upstream",
    "break": _STOPPED,
    "close": _STOPPED,
    "collected": _STOPPED,
    "cancel": _STOPPED,
    "cut_after": _DONE,
    "gzip": _READ,
    "retried": f"{_REFUSED} + {_DONE}",
}

DIFFERENT = [
    (
        *("openai ?, chat * | mistralai * | litellm*", "gzip", f"{_READ} or {_STOPPED}"),
        "it closes at the marker, and so perhaps before the end of a body that nobody but itself reads",
    ),
    (
        *("aiohttp * | google-genai async", "gzip", _DONE),
        "aiohttp hands out what it has decompressed, where the marker is seen",
    ),
    (
        *("google-genai async", "stall", "failed/deadline_exceeded/mid_stream/client"),
        "by aiohttp its time-out is one for the whole call",
    ),
    (
        *("aiohttp *", "collected", "-"),
        "aiohttp itself keeps a response that was dropped, until its connection ends: it is open, and counted as such",
    ),
    ("cohere * | ollama * | requests * | aiohttp *", "retried", _REFUSED, "it does not ask again"),
]
"""Rows, faults, verdicts (``or`` between those of which chance chooses), why; the first match counts."""
IMPOSSIBLE = {("boto3 sync", "gzip")}
"""AWS' SDKs ask for no compression."""


def expected(row, fault):
    """Return what is to be said of a fault, and why if that is not what is said of others."""
    for rows, faults, verdict, why in DIFFERENT:
        if fault in faults.split() and any(fnmatch(row, pattern) for pattern in rows.split(" | ")):
            return verdict, why
    return PLAIN[fault], None


def fits(verdict, said):
    return said in verdict.split(" or ")
