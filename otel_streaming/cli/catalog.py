"""``catalog``: every name of the contract and every setting, as tables; the reference pages are made of the same."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otel_streaming import semconv
from otel_streaming._config import PREFIX, BadValueError, Settings
from otel_streaming.cli.options import form_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Cell = str | tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows under a head; ``code`` names the columns that hold names, which Markdown sets as such."""

    title: str
    head: tuple[str, ...]
    code: frozenset[str]
    rows: tuple[tuple[Cell, ...], ...]

    def records(self) -> list[dict[str, Any]]:
        """Return the rows by their columns' names; a cell of several words is a list."""
        return [
            {name: list(cell) if isinstance(cell, tuple) else cell for name, cell in zip(self.head, row, strict=True)}
            for row in self.rows
        ]

    def markdown(self) -> list[str]:
        """Return the lines of a Markdown table."""
        rows = [
            [_words(cell, "`{}`" if name in self.code else "{}") for name, cell in zip(self.head, row, strict=True)]
            for row in self.rows
        ]
        return markdown_table(self.head, rows)


def _words(cell: Cell, form: str = "{}") -> str:
    return ", ".join(form.format(word) for word in ((cell,) if isinstance(cell, str) else cell) if word)


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    head = tuple(head)
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


_LABELS_ALONE = (semconv.STATE, semconv.STALLED, semconv.PROCESS_ID)


def attributes() -> Table:
    """Return the attributes of spans, of their events apart."""
    rows = [
        (str(a), a.value_type, a.unit, a.brief, tuple(word.value for word in a.values or ()))
        for a in semconv.ATTRIBUTES
        if a not in _LABELS_ALONE
    ]
    head = ("attribute", "type", "unit", "meaning", "values")
    return Table("Span attributes", head, frozenset({"attribute", "values"}), tuple(rows))


def metrics() -> Table:
    """Return the metrics, the process's and the collector's."""
    rows = [
        (m.name, m.prometheus, m.instrument, m.source, m.brief, tuple(a.label for a in m.labels))
        for m in semconv.METRICS
    ]
    head = ("OpenTelemetry", "Prometheus", "instrument", "from", "meaning", "labels")
    return Table("Metrics", head, frozenset({"OpenTelemetry", "Prometheus", "labels"}), tuple(rows))


def labels() -> Table:
    """Return the labels of metrics that no span has as its attribute."""
    rows = [(a.label, a.brief, tuple(word.value for word in a.values or ())) for a in _LABELS_ALONE]
    head = ("label", "meaning", "values")
    return Table("Labels of which no span has an attribute", head, frozenset({"label", "values"}), tuple(rows))


def reasons() -> Table:
    """Return the reasons, each with the outcome that it stands for."""
    rows = [(reason.value, outcome.value) for reason, outcome in semconv.REASON_OUTCOME.items()]
    head = ("reason", "outcome")
    return Table("Reasons and the outcome each stands for", head, frozenset(head), tuple(rows))


def settings() -> Table:
    """Return the settings."""
    rows = [
        (f"{PREFIX}{s.name.upper()}", s.metadata["text"], s.metadata["brief"], _allowed(s.metadata["parse"]))
        for s in fields(Settings)
    ]
    head = ("variable", "default", "meaning", "allowed")
    return Table("Settings", head, frozenset({"variable", "default"}), tuple(rows))


def _allowed(parse: Callable[[str], Any]) -> str:
    """Return what a setting takes, in the words of its own complaint."""
    try:
        parse("((")
    except BadValueError as complaint:
        return str(complaint)
    return "comma-separated route globs"


TABLES = {"attributes": attributes, "metrics": metrics, "labels": labels, "reasons": reasons, "settings": settings}


def contract_page() -> str:
    """Return the page of every name that is emitted."""
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
            *attributes().markdown(),
            "",
            f"Gap buckets: {', '.join(f'{bound:g}' for bound in semconv.GAP_BOUNDS)} s and above.",
            "",
            "Events: " + ", ".join(f"`{event.value}`" for event in semconv.Event) + ".",
            f"Log records: `{semconv.Event.END}` of a bad end, with its span's attributes; `{semconv.Event.STALLED}`,",
            f"while it lasts, with `{semconv.STATE}`; `{semconv.Event.PROCESS_DEATH}`, with `{semconv.PROCESS_ID}`.",
            "",
            "## Metrics",
            "",
            "Labels stand beside the service's (`service_name`, `service_namespace`, `deployment_environment_name`)",
            "and, from a collector, `collector_instance_id`, which is another one for each.",
            "",
            *metrics().markdown(),
            "",
            "Of these labels no span has an attribute:",
            "",
            *labels().markdown(),
            "",
            "## Reasons and the outcome each stands for",
            "",
            *reasons().markdown(),
            "",
        ]
    )


def settings_page() -> str:
    """Return the page of every setting."""
    return "\n".join(
        [
            "# Settings",
            "",
            "Generated from `otel_streaming/_config.py`. All are optional environment variables, read once. A bad",
            "value is reported once in the log, with what is allowed, and the default is used.",
            "",
            *settings().markdown(),
            "",
            "- `SPANS`: `bad` those that were cut short or failed, `sampled` what was decided for the parent. Of the",
            "  others no collector derives anything; the ledger counts them all the same.",
            "- `METRICS=all`: `stream.ended`, durations and first chunks are counted in the process as well, by the",
            "  names and labels of [contract.md](contract.md): for where no collector derives them.",
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


def catalog(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one object, a list for each part.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As the documentation's two pages.")] = False,
) -> None:
    """List every span attribute, metric, reason and setting."""
    written = form_of(as_json=as_json, as_markdown=as_markdown)
    if written == "json":
        print(json.dumps({name: table().records() for name, table in TABLES.items()}, indent=2))
    elif written == "markdown":
        print(contract_page(), settings_page(), sep="\n", end="")
    else:
        _show()


def _show() -> None:
    from rich import box  # noqa: PLC0415 - slow to import
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table as Grid  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    for table in (make() for make in TABLES.values()):
        grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
        grid.add_column(table.head[0], no_wrap=True)  # two columns: a name that is broken in two is found by nobody
        grid.add_column(_JOINT.join(table.head[1:]), overflow="fold")
        for name, *rest in table.rows:
            grid.add_row(Text(_words(name), "bold"), Text("\n".join(_told(rest))))
        console.print(Text(table.title, "italic"), grid)


_JOINT = " · "


def _told(cells: Iterable[Cell]) -> Iterator[str]:
    """Yield what is told of one name, in a line; what has several words has lines of its own."""
    cells = tuple(cells)
    yield _JOINT.join(cell for cell in cells if isinstance(cell, str) and cell)
    yield from (_words(cell) for cell in cells if isinstance(cell, tuple) and cell)
