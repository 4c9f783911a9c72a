"""docs/performance.md: what one run has measured, as tables; what was missed, and why."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
import textwrap
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from bench.load import CHUNKS, CONNECTIONS
from bench.peers import API, BARE, COMPARED, EXCLUDED, OURS
from bench.pool import Figure
from bench.workloads import EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.measures import Figures, Run

US, KIB, MS = 1e6, 1 / 1024, 1e3
COLUMNS = {
    "chunk": ("us a chunk", US, 2),
    "request": ("us a request that does not stream", US, 1),
    "stream": ("us a stream", US, 0),
    "memory": ("KiB an open stream", KIB, 2),
    "memory without dialect": ("the same, of no dialect", KIB, 2),
    "start": ("ms a start", MS, 0),
    "uvicorn": ("processor's us a stream by uvicorn", US, 0),
}
"""What is measured: in words, its unit, its digits."""
_PACKAGES = (
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-asgi",
    "opentelemetry-instrumentation-fastapi",
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "prometheus-fastapi-instrumentator",
    "starlette-exporter",
    "sentry-sdk",
    "ddtrace",
    "elastic-apm",
    "logfire",
    "httpx",
    "opentelemetry-instrumentation-httpx",
    "openai",
    "opentelemetry-instrumentation-genai-openai",
    "opentelemetry-instrumentation-openai",
    "openinference-instrumentation-openai",
    "langfuse",
)


class Target(NamedTuple):
    """What was meant to be had at most, how it is had of a run, and why it is not where it is missed."""

    what: str
    most: float
    measured: Callable[[Run], float]
    why: str


def added(figures: dict[str, Figure], name: str = OURS) -> float:
    """Return what something adds to the bare."""
    return figures[name].least - figures[BARE].least


_HALVES = (
    "two coroutines, and two objects by whose methods messages pass, which two hooks need, are half of it; the other "
    "half is what is known of the request and the stream"
)

TARGETS = (
    Target(
        "a chunk, both hooks, us",
        0.5,
        lambda run: added(run.asgi["chunk"]) * US,
        "three methods of ours see it; two readings of the clock, the gap's bucket and "
        "the last three chunks, which a verdict may need, are what they are for",
    ),
    Target(
        f"the same, times what {EXCLUDED} adds",
        0.4,
        lambda run: added(run.asgi["chunk"]) / added(run.asgi["chunk"], EXCLUDED),
        "that reads neither the clock nor a body",
    ),
    Target(
        "a request that does not stream, us",
        3,
        lambda run: added(run.asgi["request"]) * US,
        "that it is no stream is not known before its headers pass: until then it has a watch, both hooks, and a copy "
        "of the context, from which its parent would be taken",
    ),
    Target("an open stream, KiB", 4, lambda run: added(run.asgi["memory"]) * KIB, _HALVES),
    Target(
        "an open stream of no dialect, KiB",
        1.5,
        lambda run: added(run.asgi["memory without dialect"]) * KIB,
        _HALVES,
    ),
    Target(
        f"processor's time of uvicorn, {CHUNKS} chunks a stream, %",
        2,
        lambda run: added(run.asgi["uvicorn"]) / run.asgi["uvicorn"][BARE].least * 100,
        "bare, uvicorn takes a microsecond or two a chunk where they follow one another without a pause, of which 2 % "
        "are less than one call of a function; most of what is added is a stream's beginning and end, its span first",
    ),
    Target(
        "the watchdog with the recorder, % of a core",
        1,
        lambda run: _looked(run.looks[-1])[0].least * 100,
        "a look at every open stream is half of it, what the recorder writes of some the other half",
    ),
    Target(
        "their longest hold, the worst of all looks, ms",
        1,
        lambda run: _looked(run.looks[-1])[1] * MS,
        "they let others in once 0.4 ms have passed, and look at the clock every 5 streams, of which the recorder may "
        "have to write each; what has rested for a second is slow here (below), their own code included",
    ),
    Target(
        f"import, beyond {API}, ms",
        60,
        lambda run: (run.imports[OURS].least - run.imports[API].least) * MS,
        "some forty modules; the table of dialects and the enumerations of the contract are a quarter of it",
    ),
)


def _looked(looks: list[list[float]]) -> tuple[Figure, float]:
    return Figure.of(share for share, _ in looks), max(hold for _, hold in looks)


def _wrapped(words: str) -> list[str]:
    """Return the lines of a paragraph, and an empty one."""
    return [*textwrap.wrap(words, 118, break_on_hyphens=False), ""]


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Return a table in Markdown, and an empty line."""
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def number(figure: Figure, scale: float, digits: int) -> str:
    """Return the least of a figure, and its spread if it has one."""
    spread = f" (+{figure.spread * scale:.{digits}f})" if figure.spread else ""
    return f"{figure.least * scale:.{digits}f}{spread}"


def cell(figures: dict[str, Figure], name: str, scale: float, digits: int) -> str:
    """Return what something adds, its spread, and how many times it is what we add; of the bare what it takes."""
    if name not in figures:
        return ""
    if name == BARE:
        return number(figures[name], scale, digits)
    more, mine = added(figures, name), added(figures, OURS)
    times = "" if name == OURS or mine <= 0 else f" x{max(0.0, more) / mine:.1f}"
    return number(Figure(more, figures[name].spread), scale, digits) + times


def _added(what: str, figures: Figures) -> list[str]:
    columns = {step: form for step, form in COLUMNS.items() if step in figures}
    rows = [
        [name, *(cell(figures[step], name, scale, digits) for step, (_, scale, digits) in columns.items())]
        for name in figures["chunk"]
    ]
    return table([what, *(said for said, *_ in columns.values())], rows)


def _asgi(run: Run) -> list[str]:
    cut = _more(run.counts["cut-chunk"], OURS) / _more(run.counts["chunk"], OURS)
    return [
        "## A plain ASGI application",
        "",
        *_added("", run.asgi),
        *_wrapped(
            f"A chunk is a whole event of {len(EVENT)} bytes: one that ends within an event takes ours {cut:.1f} times "
            f"as many instructions (last table). A stream is one of one chunk, from its beginning to its span; "
            f"uvicorn's, with uvloop and httptools, have {CHUNKS} chunks, and {CONNECTIONS} connections ask for them. "
            f"KiB are of {run.sizes.open:,} open streams that have sent ten chunks, as tracemalloc counts them: what "
            "native code allocates for itself is not seen; who reads no chunk holds the same of no "
            "dialect. A start is the import, the putting in place, and the first stream."
        ),
    ]


def _fastapi(run: Run) -> list[str]:
    how = f"KiB are of {run.sizes.open_fastapi:,} open streams."
    return ["## FastAPI", "", *_added("", run.fastapi), how, ""]


def _growth(run: Run) -> list[str]:
    lines = ["## What grows", "", "In us, the bare included.", ""]
    said = {
        "chunks": "a chunk, of a stream of so many",
        "open streams": "a chunk, where so many streams are open that send one each",
        "routes": "a stream of one chunk, on each of so many routes",
    }
    for what, sizes in run.growth.items():
        names = list(next(iter(sizes.values())))
        rows = [[name, *(number(sizes[n][name], US, 2) for n in sizes)] for name in names]
        lines += table([said[what], *(f"{n:,}" for n in sizes)], rows)
    return lines


def _watchdog(run: Run) -> list[str]:
    rows = []
    for name, looks in zip(("watchdog", "watchdog and recorder"), run.looks, strict=True):
        share, longest = _looked(looks)
        median = statistics.median(hold for _, hold in looks)
        rows.append([name, number(share, 100, 2), f"{median * MS:.2f}", f"{longest * MS:.2f}"])
    return [
        "## The watchdog",
        "",
        *_wrapped(
            f"Once a second it looks at all open streams, here {run.sizes.open:,}, which have sent a chunk meanwhile. "
            "A hold of the interpreter is the processor's time of its thread between two pauses. In each look the "
            "recorder writes how far some 500 streams have come. The garbage collector is off, since it runs in "
            "whichever thread it happens to. What has rested for that second is slow to come back here, whoever reads "
            f"it: the slowest of {run.sizes.open:,} lists takes {statistics.median(run.rested) * MS:.2f} ms to be read "
            "(median), and what a look needs has rested."
        ),
        *table(["", "% of a core", "longest hold of a look, ms (median)", f"of {len(run.looks[0])} looks"], rows),
    ]


def _clients(run: Run) -> list[str]:
    how = "Synchronous, of a transport that answers at once; a start ends with the first request."
    return ["## Clients", "", how, "", *(line for kind, it in run.clients.items() for line in _added(kind, it))]


def _more(counts: dict[str, float], name: str) -> float:
    """Return the instructions that a step takes bare, or that something adds to it."""
    return counts[name] - (0 if name == BARE else counts[BARE])


def _instructions(run: Run) -> list[str]:
    call = run.counts["chunk"][BARE]
    rows = [
        [what, *(f"{_more(of, name):,.0f} ({_more(of, name) / call:.1f})" if name in of else "" for name in COMPARED)]
        for what, of in run.counts.items()
    ]
    return [
        "## Instructions",
        "",
        *_wrapped(
            "As callgrind counts them, whatever the machine's load; `make test` holds what we add against bounds. In "
            "brackets: how many awaited calls of a function that does nothing take as many. A named chunk is an event "
            "that has a name, a cut one ends within an event. The recorder is off."
        ),
        *table(["step", "bare", "added by otel-streaming", f"added by {EXCLUDED}"], rows),
    ]


def _targets(run: Run) -> list[str]:
    rows = []
    for what, most, measured, why in TARGETS:
        figure = measured(run)
        verdict = ["met", ""] if figure <= most else [f"missed by {figure - most:.2f}", why]
        rows.append([what, f"{most:g}", f"{figure:.2f}", *verdict])
    return table(["added by otel-streaming", "at most", "measured", "", "why"], rows)


def text(run: Run) -> str:
    """Return the page."""
    sizes = run.sizes
    how = (
        f"Written by `make bench`: what is added to the same thing without, each in a process of its own, in turn; the "
        f"least of {sizes.turns} runs, by uvicorn of {sizes.served_turns}, of a start of {sizes.starts}, of memory of "
        "one; in brackets how far their median lies above it, after x how many times it is what "
        "otel-streaming adds. What each has to tell is counted, so that nobody is measured who does not listen, and "
        "dropped: there is no exporter. Nor is there a reader of metrics, which spares those that record some by "
        "OpenTelemetry (not us) to sum them up. Ours has its defaults, the crash recorder among them. "
        f"CPython {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, shared, "
        f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}; "
    )
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = ["# What it costs", "", *_wrapped(f"{how}{packages}.")]
    for part in (_targets, _asgi, _fastapi, _growth, _watchdog, _clients, _instructions):
        lines += part(run)
    return "\n".join(lines)
