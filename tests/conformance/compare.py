"""With us and without: what clients received, what applications saw, how the process ended, what it logged of ours."""

import json
import os
import re
from itertools import groupby
from pathlib import Path

import otel_streaming

PACKAGE = os.fspath(Path(otel_streaming.__file__).parent)


def received(client, marker):
    """Return what a client received, but what is left to chance: how far a stream came that was left or cut."""
    body, end = bytes(client.received), client.ended
    if marker is not None:
        body, end = body[: body.find(marker) + len(marker)], "left"
    elif client.ended != "clean":
        body = None
    return {"status": client.status, "headers": client.headers, "body": body, "end": end}


def notes(path):
    """Return what the application noted of each exchange, in its order."""
    seen = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        cause, *what = json.loads(line)
        noted = seen.setdefault(cause, [])
        if not (over(noted) and what == ["producer", "GeneratorExit"]):  # by the garbage collector, in its own time
            noted.append(" ".join(what))
    return seen


def over(noted):
    """Tell whether the application has returned or raised."""
    return any(note.startswith("application ") for note in noted[1:])


def differences(run, bare, causes=None):
    """Return in what the exchanges of two runs differ, all or those of some causes: cause, what, how."""
    found = []
    for cause in bare.answers if causes is None else causes:
        answer = bare.answers[cause]
        one = {**run.answers[cause], "application": _in_order(run.seen.get(cause, []))}
        other = {**answer, "application": _in_order(bare.seen.get(cause, []))}
        for what in [what for what in one if one[what] != other[what]]:
            rest = iter(one[what] if what == "application" else ())
            goes_on = what == "application" and all(note in rest for note in other[what])
            how = f"{what} is {one[what]!r:.400}, bare {other[what]!r:.400}"
            found.append((cause, "application goes on" if goes_on else what, how))
    return found


def told_apart(run, bare):
    """Return in what the processes of two runs differ: how they ended, and what they logged."""
    found = [] if run.exit == bare.exit else [("", "exit", f"the exit status is {run.exit}, bare {bare.exit}")]
    places, known = of_ours(run.log), {exception for _, exception in of_ours(bare.log, "")}
    return found + [("", "log", f"{e} {place}") for place, e in places if e not in known]


def _in_order(noted):
    """Return the notes in their order, but that in which anyio and trio cancel the tasks of a group: it is chance.

    What is received after the last chunk means nothing: it races with the application's own end.
    """
    end = noted.index("producer ends") if "producer ends" in noted else len(noted)
    kept = [note for n, note in enumerate(noted) if n < end or not note.startswith("receive ")]
    groups = groupby(kept, lambda note: note.endswith(_CANCELLED))
    return [note for cancelled, some in groups for note in (sorted(some) if cancelled else some)]


_CANCELLED = "CancelledError", "Cancelled"
"""asyncio's, and trio's."""


def of_ours(log, where=PACKAGE):
    """Return the tracebacks that end ``where`` (place, exception), and what we say of a fault of our own."""
    found, place = [("", line) for line in log.splitlines() if "this fault of otel_streaming" in line], ""
    for line in log.splitlines():
        text = re.sub(r"^ *[|+] ?", "", line)  # the margin of an exception group
        if text.startswith("  File "):
            place = text.strip()
        elif not text.startswith(" "):  # names the exception: the place before it is where it arose
            found += [(place, text)] if place and where in place else []
            place = ""
    return found
