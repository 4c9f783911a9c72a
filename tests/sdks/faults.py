"""The faults, and how the server brings each about: the same steps in every dialect."""

import gzip

from tests.adapters.upstream import CUT, Part

OVERLOADED = b'{"error":{"message":"The server is overloaded"}}'
HOLD = 60
"""Seconds of silence, unless the reader leaves."""


def _gzipped(dialect):
    return [gzip.compress(b"".join(dialect.whole))]


FAULTS = {
    "healthy": ("all is well", lambda d: d.whole),
    "no_terminal": ("a clean end of the body without the terminal marker", lambda d: d.unfinished),
    "cut_in_chunk": (
        "the connection is closed in the middle of a chunk",
        lambda d: [*d.unfinished, 0.1, Part(d.end[-1][: len(d.end[-1]) // 2]), 0.1, CUT],
    ),
    "cut_between": ("the connection is closed between two chunks", lambda d: [*d.unfinished, 0.1, CUT]),
    "in_band_error": ("an error as an event, then a clean end", lambda d: [*d.unfinished, d.error]),
    "stall": ("silence, longer than the read time-out", lambda d: [*d.unfinished, HOLD]),
    "break": ("the caller leaves its loop, and the `with` block where there is one", lambda d: [*d.unfinished, HOLD]),
    "close": ("the caller closes the stream", lambda d: [*d.unfinished, HOLD]),
    "collected": ("the caller drops the stream", lambda d: [*d.unfinished, HOLD]),
    "cancel": ("the caller's task is cancelled", lambda d: [*d.unfinished, HOLD]),
    "cut_after": ("the connection is closed after the terminal marker", lambda d: [*d.whole, 0.1, CUT]),
    "gzip": ("all is well, in a body that is compressed", _gzipped),
    "retried": ("503, then all is well: the SDK asks again", lambda d: d.whole),
}
ONLY_ASYNC = {"cancel"}
LEAVING = {"break", "close", "collected", "cancel"}
"""In which the caller has had enough after the first message."""


def prepare(server, dialect):
    """Have the server answer so, each fault below a path of its own."""
    for fault, (_, steps) in FAULTS.items():
        how = {"path": f"/{fault}{dialect.path}", "media_type": dialect.media_type}
        if fault == "retried":  # what has streamed before is known to stream
            server.answer(*steps(dialect), **how)
            how |= {"media_type": "application/json"}
            server.answer(OVERLOADED, **how, status=503, length=len(OVERLOADED), headers="retry-after: 0\r\n")
            how |= {"media_type": dialect.media_type}
        headers = "content-encoding: gzip\r\n" if fault == "gzip" else ""
        server.answer(*steps(dialect), **how, headers=headers)


def sizes(fault, dialect):
    """Return the bytes that a reader may have received: of a part of a chunk none or all, compressed ones or not."""
    if fault == "gzip":
        return {len(_gzipped(dialect)[0]), len(b"".join(dialect.whole))}
    steps = [step for step in FAULTS[fault][1](dialect) if isinstance(step, bytes)]
    whole = sum(len(step) for step in steps if not isinstance(step, Part))
    return {whole, sum(map(len, steps))}
