"""The same matrix for WSGI: its servers, its frameworks, and what differs there."""

import asyncio
import contextlib
import random
import signal

from tests.conformance import rows, runner
from tests.conformance.clients import Client
from tests.conformance.expected import DIED, LOST, PLAIN, differs
from tests.conformance.rows import Row, cell, due_of, gone, ready, serving, told_of, until
from tests.conformance.runner import _act, _ask, _leave

SERVICE = "wsgi_service"
SERVERS = {
    "gunicorn-sync": f"gunicorn {SERVICE}:app -w 3 -b 127.0.0.1:{{port}} --graceful-timeout 2",
    "gunicorn-gthread": f"gunicorn {SERVICE}:app --threads 30 -b 127.0.0.1:{{port}} --graceful-timeout 2",
    "waitress": f"waitress-serve --listen=127.0.0.1:{{port}} --threads=30 {SERVICE}:app",
    "werkzeug": f"python {SERVICE}.py {{port}}",
    "granian-wsgi": f"granian --interface wsgi {SERVICE}:app --port {{port}} --blocking-threads 30"
    " --workers-kill-timeout 2",
}
FRAMEWORKS = ["raw", "flask", "django"]
AT_ONCE = {"gunicorn-sync": 2}
"""How many requests a server answers at the same time, where that is few."""

CAUSES = {name: cause for name, cause in runner.CAUSES.items() if name not in {"cancelled", "no_final", "unlimited"}}
"""WSGI has no task to cancel, and no final message to forget; SIGTERM comes with a graceful time-out only."""
ROUTES = {"raw": None, "flask": "/s/<cause>", "django": "/s/<str:cause>"}

_KILLED = "{} kills its worker (SIGKILL) when the limit runs out; the next one reports it"
_ALIKE = (
    "not detectable: granian sends the headers at once, and closes at the first chunk whether the client left before or"
    " after them; a test compares recordings of the bare server"
)
_RACES = (
    "its worker gives up at the very moment at which gunicorn kills it (SIGKILL): it reports what is open, or the next"
    " one does, or it was about to: without a span, and without a count if a metric collection was under way"
)
_DIES = "SIGTERM kills it at once; the next one reports it as it was last noted, once a second"

DIFFERENT = [
    (
        *("granian-wsgi", "*", ["before_headers"], "gave_up/client_disconnect/before_first_chunk"),
        _ALIKE,
    ),
    ("granian-wsgi", "*", ["sigterm"], DIED, _KILLED.format("granian")),
    ("granian-wsgi", "*", ["raise_first"], PLAIN["raise_first"], None),
    (
        *("*", "*", ["raise_first"], "loud/http_5xx/before_headers"),
        "the headers go out with the first bytes of the body (PEP 3333): the client is told 500",
    ),
    (
        *("gunicorn-gthread", "*", ["sigterm"], f"{DIED} or {PLAIN['sigterm']} or {LOST}"),
        _RACES,
    ),
    ("gunicorn-sync", "*", ["sigterm"], DIED, _KILLED.format("gunicorn")),
    (
        *("waitress werkzeug", "*", ["drained", "sigterm"]),
        *(f"{DIED} or silent/process_death/before_first_chunk", _DIES),
    ),
]
"""Servers, frameworks, causes, cell, why; the first match counts."""


def expected(server, framework, cause):
    """Return what a cell is to say, and why if that is not what the others say."""
    return differs(DIFFERENT, server, framework, cause) or (PLAIN[cause], None)


def wrong(row):
    """Return what a row says that it is not to say."""
    return rows.wrong(row, expected, ROUTES.get)


def run_row(server, framework, folder, causes=tuple(CAUSES)):
    """Start the server, bring about each cause, stop it; returns the cells."""
    row = Row(server, framework)
    traces = {cause: random.randbytes(16).hex() for cause in causes}
    with serving(row, SERVERS[server], folder, due=due_of(row, traces, expected)) as (process, port, sink):
        asyncio.run(_causes(process, port, traces, sink, asyncio.Semaphore(AT_ONCE.get(server, 30))))
    row.cells = {cause: cell(sink.spans.get(trace, ())) for cause, trace in traces.items()}
    return row


def clients_of(process, port, names):
    """Send one client for each of the named causes, or for leaving between the headers and the first chunk."""

    async def one(name):
        client = await _ask(Client, port, name, random.randbytes(16).hex())
        if name == "after_headers":
            await client.until(lambda it: it.status)
        await _leave(client, CAUSES.get(name) or CAUSES["before_headers"])

    async def all_of_them():
        await ready(process, port)
        await asyncio.gather(*map(one, names))

    asyncio.run(all_of_them())


COMPARED = [name for name, cause in CAUSES.items() if cause.marker is None and name not in {"drained", "sigterm"}]
COMPARED += ["one", "list", "tuple", "text", "file", "written"]


def answers(process, port):
    """Return the answer to each cause in which the client stays, and to each kind of body."""

    async def one(name):
        client = await _ask(Client, port, name, "")
        await client.until()
        await client.leave()
        return client.status, client.headers, client.received, client.ended

    async def all_of_them():
        await ready(process, port)
        return {name: await one(name) for name in COMPARED}

    return asyncio.run(all_of_them())


async def _causes(process, port, traces, sink, gate):
    async def one(cause, trace):
        async with gate:
            await _act(Client, port, cause, trace)

    await ready(process, port)
    at_last = sorted({"drained", "sigterm"} & traces.keys())
    await asyncio.gather(*(one(cause, trace) for cause, trace in traces.items() if cause not in at_last))
    await told_of(sink, {trace for cause, trace in traces.items() if cause not in {*at_last, "head"}})
    due = len(traces.keys() - {"head"})
    await until(lambda: sink.total("stream.ledger.ended") == due - len(at_last))
    if not at_last:
        return
    stopping = await asyncio.gather(*(_ask(Client, port, cause, traces[cause]) for cause in at_last))
    await asyncio.gather(*(client.until(lambda it: b"data:" in it.received) for client in stopping))
    with contextlib.suppress(TimeoutError, asyncio.TimeoutError):  # counted, but still open
        await asyncio.wait_for(until(lambda: sink.total("stream.ledger.started") == due), 0.5)
    process.signal(signal.SIGTERM)
    await asyncio.gather(*(_leave(client, CAUSES[cause]) for client, cause in zip(stopping, at_last, strict=True)))
    await gone(process)
