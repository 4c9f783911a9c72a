"""The incident in a real Prometheus: samples backfilled, rules evaluated over them by its own engine.

Prometheus evaluates rules only now, never over what was backfilled. ``promtool tsdb create-blocks-from rules`` does
that for recording rules, one layer at a time, since a rule sees only what is in a block already; and it leaves alerts
out. So each alert is handed to it as the recording of ``ALERTS``, the series that Prometheus itself would have
written, its ``for`` as a subquery: present at every evaluation of that time. That the alerts as they are written do the
same is shown by a replay of the incident in ``promtool test rules``, where the engine keeps the ``for``.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dashboards.incident.samples import MINUTE
from dashboards.incident.series import simulate
from dashboards.incident.table import PERIODS
from stack import PrometheusServer, find_or_build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboards.incident.samples import Samples
    from stack import Prometheus

RULES = Path(__file__).parents[1] / "out" / "rules"
_LONG = "54h"  # whatever it spans, few blocks


@contextlib.contextmanager
def load(folder: Path, start: int, port: int = 0) -> Iterator[Prometheus]:
    """Serve the incident, begun at ``start``, from a folder of its own; nothing is left running."""
    backfill(folder, simulate(PERIODS), start)
    end = start + MINUTE * sum(period.minutes for period in PERIODS)
    for number, layer in enumerate(layers(RULES)):
        file = folder / f"layer-{number}.yaml"
        file.write_text(yaml.safe_dump(layer))
        with prometheus_in(folder) as prometheus:
            over = [f"--url={prometheus.url}", f"--start={start}", f"--end={end}", f"--output-dir={folder / 'data'}"]
            _blocks("rules", *over, file)
    with prometheus_in(folder, sorted(RULES.glob("*.yaml")), port) as prometheus:
        yield prometheus


def backfill(folder: Path, samples: Samples, start: int) -> None:
    """Store samples, the first of them from ``start`` on, where a Prometheus in this folder finds them."""
    file = folder / "samples.txt"
    with file.open("w", encoding="utf-8") as text:
        text.writelines(f"{line}\n" for line in samples.openmetrics(start))
    _blocks("openmetrics", file, folder / "data")


def layers(rules: Path) -> list[dict[str, Any]]:
    """Rule files to be evaluated one after the other, so that each finds what it reads."""
    groups = [group for file in sorted(rules.glob("*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]]
    left = [(group, rule) for group in groups for rule in group["rules"]]
    found: list[dict[str, Any]] = []
    while left:
        missing = {rule.get("record") for _, rule in left} - {None}
        ready = [(group, rule) for group, rule in left if not missing & set(re.findall(r"[\w:]+", rule["expr"]))]
        left = [one for one in left if one not in ready]
        found.append({"groups": [_group(group, number, rule) for number, (group, rule) in enumerate(ready)]})
    return found


def _group(group: dict[str, Any], number: int, rule: dict[str, Any]) -> dict[str, Any]:
    recorded = _recorded(rule) if "alert" in rule else rule
    return {"name": f"{group['name']}-{number}", "interval": group["interval"], "rules": [recorded]}


def _recorded(alert: dict[str, Any]) -> dict[str, Any]:
    """The alert as a recording of its firing; rules are evaluated every minute."""
    evaluations = int(alert["for"].removesuffix("m")) + 1
    firing = f"0 * (count_over_time(({alert['expr']})[{evaluations}m:1m]) == {evaluations}) + 1"
    labels = {"alertname": alert["alert"], "alertstate": "firing", **alert["labels"]}
    return {"record": "ALERTS", "expr": firing, "labels": labels}


def _blocks(kind: str, *arguments: str | Path) -> None:
    command: list[str | Path] = [
        find_or_build("promtool"),
        "tsdb",
        "create-blocks-from",
        f"--max-block-duration={_LONG}",
        "--quiet",
    ]
    subprocess.run([*command, kind, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@contextlib.contextmanager
def prometheus_in(folder: Path, rules: list[Path] | None = None, port: int = 0) -> Iterator[Prometheus]:
    """Serve what a folder holds, at a free port unless told otherwise."""
    settings = {"rule_files": [str(file.resolve()) for file in rules or ()]}
    flags = ("--log.level=warn", "--storage.tsdb.retention.time=100y", "--no-storage.tsdb.allow-overlapping-compaction")
    with PrometheusServer(folder, settings, *flags, port=port) as server:
        yield server.client
