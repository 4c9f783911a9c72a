"""``export``: the generated dashboards, rules and collector configuration, from the wheel or the checkout."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

import otel_streaming
from otel_streaming.cli.options import StopError

_PACKAGE = Path(otel_streaming.__file__).parent
_PACKED = _PACKAGE / "_pack"  # so pyproject.toml puts it into the wheel
_ROOT = _PACKED if _PACKED.is_dir() else _PACKAGE.parent


@dataclass(frozen=True)
class _Part:
    """What lies in ``folder`` of the checkout and matches ``globs``, and what to do with it."""

    folder: str
    globs: tuple[str, ...]
    next_step: str

    def files(self) -> list[Path]:
        """Return the files, relative to their folder."""
        folder = _ROOT / self.folder
        return sorted(path.relative_to(folder) for glob in self.globs for path in folder.glob(glob))


class Kind(str, Enum):
    """What can be exported."""

    DASHBOARDS = "dashboards"
    RULES = "rules"
    COLLECTOR = "collector"
    SLOTH = "sloth"


PARTS = {
    Kind.DASHBOARDS: _Part(
        "dashboards/out",
        ("*.json",),
        "Import all of them into Grafana 10.4 or later (Dashboards, New, Import, or a provisioning folder), and set "
        "the Prometheus data source's scrape interval to your OTEL_METRIC_EXPORT_INTERVAL (60 s by default).",
    ),
    Kind.RULES: _Part(
        "dashboards/out/rules",
        ("*.yaml",),
        "Name them under rule_files in prometheus.yml, check with promtool check rules, and reload Prometheus.",
    ),
    Kind.COLLECTOR: _Part(
        "collector",
        (
            *("config.yaml", "derive.yaml", "agent.yaml", "overlays/*", "proxies/*"),
            *("prometheus.yml", "prometheus-targets.yml"),
        ),
        "Start otelcol-contrib --config {folder}/config.yaml, or put derive.yaml in front of the configuration that "
        "you have; with a further --config for each overlay that you need; "
        "Prometheus needs the flags at the head of config.yaml and the settings of prometheus.yml, whose rule_files "
        "must name what otel-streaming export rules has written.",
    ),
    Kind.SLOTH: _Part(
        "dashboards/out", ("sloth.yaml",), "Set your objectives in it, then sloth generate -i {folder}/sloth.yaml."
    ),
}


def export(
    kind: Annotated[Kind, typer.Argument(help="What to write.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if need be.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
) -> None:
    """Write the dashboards, the rules, the collector's configuration or the Sloth specification into a folder."""
    part = PARTS[kind]
    targets = {folder / name: _ROOT / part.folder / name for name in part.files()}
    try:
        if folder.exists() and not folder.is_dir():
            raise StopError(f"{folder} is no folder; name one")
        there = [target for target in targets if target.exists()]
        if there and not force:
            raise StopError(f"{', '.join(map(str, there))}: already there; --force replaces, or name another folder")
        for target, source in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    except OSError as error:
        why = f"{error.filename or folder}: {error.strerror or error}"
        raise StopError(f"{why}; name a folder that you may write to") from error
    typer.echo("\n".join((*map(str, targets), "", part.next_step.format(folder=folder))))
