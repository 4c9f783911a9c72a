"""The files that Prometheus, Mimir and Thanos read: recording rules and alerts; and the same objective for Sloth."""

from __future__ import annotations

from typing import Any

import yaml

from dashboards import queries as q
from dashboards.alerts import ALERTS, PAGE, TICKET, Alert
from dashboards.recording import BOUNDED, SERVER, Record, limits, ratios, sli


def _file(**groups: tuple[str, list[Record] | tuple[Alert, ...]]) -> str:
    found = [
        {"name": f"stream-{name}", "interval": interval, "rules": [rule.rule() for rule in rules]}
        for name, (interval, rules) in groups.items()
    ]
    return dump({"groups": found})


def dump(document: dict[str, Any]) -> str:
    """Write YAML that is read by people: in our order, queries over several lines as they are."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    pass


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)


def _sloth() -> str:
    def rate(which: str) -> str:
        return q.ended_everywhere("rate", "{{.window}}", (SERVER, BOUNDED), which, ())

    return dump(
        {
            "version": "prometheus/v1",
            "service": "streams",
            "slos": [
                {
                    "name": "ends-well",
                    "objective": round(100 * q.OBJECTIVE, 6),
                    "description": "Streams end well: complete, neither cut short nor failed nor refused with a 5xx.",
                    "sli": {
                        "events": {
                            # The series of failures starts at the first failure: until then there are none.
                            "error_query": f"{rate(q.BAD)} or vector(0)",
                            "total_query": rate(q.ELIGIBLE),
                        }
                    },
                    "alerting": {
                        "name": "StreamErrorBudgetBurn",
                        "page_alert": {"labels": {"severity": PAGE}},
                        "ticket_alert": {"labels": {"severity": TICKET}},
                    },
                }
            ],
        }
    )


def build() -> dict[str, str]:
    """Return the files, by name."""
    return {
        "rules/recording.yaml": _file(
            sli=("1m", sli()),
            **{f"ratios-{every}": (every, ratios(*windows)) for every, windows in q.RECORDED_WINDOWS.items()},
            limits=("1m", limits()),
        ),
        "rules/alerts.yaml": _file(alerts=("1m", ALERTS)),
        "sloth.yaml": _sloth(),
    }
