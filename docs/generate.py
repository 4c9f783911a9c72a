"""Write the reference pages that follow from the code: ``python docs/generate.py [--check]``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboards.__main__ import DASHBOARDS
from otel_streaming import semconv
from otel_streaming._config import PREFIX, BadValueError, Settings
from otel_streaming._stream import TRANSITIONS, Life, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return a Markdown table."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def contract() -> str:
    """Return the page of every name that is emitted."""
    attributes = [
        [f"`{a}`", a.value_type, a.unit, a.brief, ", ".join(f"`{word.value}`" for word in a.values or ())]
        for a in semconv.ATTRIBUTES
        if a not in {semconv.STATE, semconv.PROCESS_ID, semconv.STALLED}
    ]
    metrics = [
        [
            f"`{m.name}`",
            f"`{m.prometheus}`",
            m.instrument,
            m.source,
            m.brief,
            ", ".join(f"`{a.label}`" for a in m.labels),
        ]
        for m in semconv.METRICS
    ]
    reasons = [[f"`{reason.value}`", f"`{outcome.value}`"] for reason, outcome in semconv.REASON_OUTCOME.items()]
    return "\n".join(
        [
            "# The contract: every name",
            "",
            "Generated from `otel_streaming/semconv.py`. Label values outside a closed list become `_OTHER`.",
            "No signal carries stream content, header values, query strings or addresses of clients. The list is whole",
            "and fixed.",
            "",
            "## Span attributes",
            "",
            f"Scope `{semconv.SCOPE}`, kind INTERNAL, name `stream METHOD ROUTE`. The HTTP and GenAI attributes are",
            "those of the OpenTelemetry semantic conventions.",
            "",
            *table(["attribute", "type", "unit", "meaning", "values"], attributes),
            "",
            f"Gap buckets: {', '.join(f'{bound:g}' for bound in semconv.GAP_BOUNDS)} s and above.",
            "",
            "Events: " + ", ".join(f"`{event.value}`" for event in semconv.Event) + ".",
            "",
            "## Metrics",
            "",
            "Labels stand beside the service's (`service_name`, `service_namespace`, `deployment_environment_name`).",
            "",
            *table(["OpenTelemetry", "Prometheus", "instrument", "from", "meaning", "labels"], metrics),
            "",
            "## Reasons and the outcome each stands for",
            "",
            *table(["reason", "outcome"], reasons),
            "",
        ]
    )


def allowed(parse: Callable[[str], Any]) -> str:
    """Return what a setting takes, in the words of its own complaint."""
    try:
        parse("((")
    except BadValueError as complaint:
        return str(complaint)
    return "comma-separated route globs"


def settings() -> str:
    """Return the page of every setting."""
    rows = [
        [
            f"`{PREFIX}{s.name.upper()}`",
            f"`{s.metadata['text']}`" if s.metadata["text"] else "",
            s.metadata["brief"],
            allowed(s.metadata["parse"]),
        ]
        for s in fields(Settings)
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Generated from `otel_streaming/_config.py`. All are optional environment variables, read once. A bad",
            "value is reported once in the log, with what is allowed, and the default is used.",
            "",
            *table(["variable", "default", "meaning", "allowed"], rows),
            "",
            "- Route globs are comma-separated and match the route's template or the path; `*` matches a slash too.",
            "  Of what a client reads they match host and path: `api.example.com/v1/chat*`.",
            "- `STALL_THRESHOLD`: seconds, or `GLOB=SECONDS` by route: `10`, or `/feed/*=60,10`. Subscriptions have",
            "  none unless their route is named.",
            "- `TERMINALS`: `GLOB=event:NAME`, `GLOB=data:LITERAL`, `GLOB=json:KEY=VALUE` or `GLOB=none`, separated",
            "  by semicolons: `/v1/jobs/*=event:finished; /v1/log=none`.",
            "- `STATE_DIR`: `auto` is `$XDG_STATE_HOME`, or `~/.local/state`. See [recorder.md](recorder.md).",
            "- `EXCLUDED_URLS` are matched against the path, of what a client asks for against host and path. Where it",
            "  is not set, `OTEL_PYTHON_EXCLUDED_URLS` counts.",
            "",
        ]
    )


NEEDS = """\
## What they need

- **Prometheus** with the metrics of [contract.md](contract.md), and its data source's scrape interval set to your
  `OTEL_METRIC_EXPORT_INTERVAL` (60 s by default): rates are taken over four of those.
- **Its rules** ([alerts.md](alerts.md)): without them budgets, burn rates and alerts say `no rules`, and
  everything else works.
- **Traces** in Tempo (2.8 or later for the newest first; TraceQL metrics switched on for the comparison) and **logs**
  in Loki, for `stream-forensics` and one panel of `stream-trust`. Their lists leave out streams without a route.
- **Exemplars**: in the Prometheus data source an exemplar label `trace_id` that leads to Tempo. Then every dot in a
  graph of failures, of first chunks and of durations opens its trace.
- **Deployments** are marked where Grafana has an annotation with the tag `deploy`; processes that began and alerts that
  fired mark themselves.

## Three kinds of nothing

`no traffic`: nothing ended in this time range. `no failures`, or 0 in green: streams ended, none of them badly.
`no telemetry`: nobody has reported anything. The last is grey, never green."""


def dashboards() -> str:
    """Return the page of the dashboards: whom each is for, how it is read, what every panel shows."""
    boards = [json.loads(module.build()) for module in DASHBOARDS]
    return "\n".join(
        [
            "# Dashboards",
            "",
            "Generated from `dashboards/*.py`; every panel says the same in its (i), with what is good and what to",
            "do first. Import all of `dashboards/out/*.json` into Grafana 10.4 or later: they link to each other, and",
            "every link keeps the time range and what you have chosen.",
            "",
            *table(
                ["file", "dashboard", "asks"],
                [[f"`{board['uid']}.json`", board["title"], board["description"]] for board in boards],
            ),
            "",
            NEEDS,
            "",
            *(line for board in boards for line in dashboard(board)),
        ]
    )


def dashboard(board: dict[str, Any]) -> list[str]:
    """Return the section of one dashboard."""
    guide, *rows = board["panels"]
    text = guide["options"]["content"].partition(" Go on to ")[0]
    shown = []
    for panel in rows:
        if panel["type"] == "row":
            shown.append([f"**{panel['title']}**", "", ""])
            continue
        metric, formula, *_ = (part.partition(":** ")[2] for part in panel["description"].split("\n\n"))
        shown.append([panel["title"], formula, metric.replace("|", "or")])
    return [f"## {board['title']}", "", text, "", *table(["panel", "shows", "from"], shown), ""]


LIVES = """\
Generated from `TRANSITIONS` in `otel_streaming/_stream.py`. One state machine serves all roles: of a server, of a
client, of an iterable watched by hand, of a WebSocket. The adapters tell it what happens, and it knows no clock, no
library and no side.

- `asked`: nothing has been answered. `open`: the headers are out, and no progress has been made; keep-alives are none.
- `finished`: the final message has passed, which is no success until the application has returned: behind
  `BaseHTTPMiddleware` an exception follows it. `closed`: a close frame has passed, whose code says how it ended.
- `gone`: the reader has left, and the application may go on. `broken`: a failure was seen, and it may still clean up.
  What follows either is its echo, so the earliest evidence stands; but a close frame explains a departure.
- `ended`: the application has returned. Now the verdict is formed ([endings.md](endings.md))."""


def lifecycle() -> str:
    """Return the page of the lifecycle table: what changes a state drawn, everything listed."""
    moves: dict[tuple[str, str], list[str]] = {}
    for life in Life:
        for signal in Signal:
            if (after := TRANSITIONS[life, signal]) is not life:
                moves.setdefault((life.name.lower(), after.name.lower()), []).append(signal.name.lower())
    rows = [
        [f"`{life.name.lower()}`"]
        + ["" if (after := TRANSITIONS[life, signal]) is life else f"`{after.name.lower()}`" for signal in Signal]
        for life in Life
    ]
    return "\n".join(
        [
            "# The life of a stream",
            "",
            LIVES,
            "",
            "```mermaid",
            "stateDiagram-v2",
            f"    [*] --> {next(iter(Life)).name.lower()}",
            *(f"    {before} --> {after}: {', '.join(signals)}" for (before, after), signals in moves.items()),
            f"    {Life.ENDED.name.lower()} --> [*]",
            "```",
            "",
            "Every signal in every state; an empty cell changes nothing.",
            "",
            *table(["state", *(f"`{signal.name.lower()}`" for signal in Signal)], rows),
            "",
        ]
    )


def commands() -> str:
    """Return the page of every command, as typer itself describes them."""
    words = ["otel_streaming.cli.app", "utils", "docs", "--name", "otel-streaming", "--title", "Commands"]
    described = subprocess.run(  # noqa: S603 - its own words
        [sys.executable, "-m", "typer", *words], check=True, capture_output=True, text=True
    )
    title, _, rest = described.stdout.rstrip().partition("\n")
    needs = 'Generated from `otel_streaming/cli`. They need the extra `cli`: `pip install "otel-streaming[cli]"`.'
    return f"{title}\n\n{needs}\n{rest}\n"


PAGES = {
    "contract.md": contract,
    "settings.md": settings,
    "dashboards.md": dashboards,
    "lifecycle.md": lifecycle,
    "commands.md": commands,
}


def main() -> int:
    """Write the pages, or tell which of them are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    check = parser.parse_args().check
    stale = [name for name, page in PAGES.items() if not (HERE / name).exists() or (HERE / name).read_text() != page()]
    for name in () if check else stale:
        (HERE / name).write_text(PAGES[name]())
    if check and stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run: make docs{os.linesep}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
