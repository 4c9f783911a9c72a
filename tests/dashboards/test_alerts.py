"""Every alert, evaluated by Prometheus' own engine: it fires when it must, in words that help, and else is quiet."""

import subprocess
from urllib.parse import quote_plus

import pytest
import yaml
from alert_cases import CASES

from dashboards import alerts
from dashboards.__main__ import OUT
from stack import find_or_build

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.name}")
def test_alert(tmp_path, case):
    """Series in, alerts out."""
    read = groups(case.alert)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": read}))
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "group_eval_order": [group["name"] for group in read],  # else it is another each time
        "tests": [
            {
                "interval": "1m",
                "input_series": case.series,
                "alert_rule_test": [
                    {"eval_time": f"{case.at}m", "alertname": case.alert, "exp_alerts": list(expected(case))}
                ],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(document))
    run = subprocess.run(
        [find_or_build("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def groups(alert):
    """The rules of an alert as they are written, and what they read: all others only cost time."""
    written = [
        yaml.safe_load((OUT / "rules" / f"{name}.yaml").read_text())["groups"] for name in ("recording", "alerts")
    ]
    recording, [group] = written
    rules = [rule for rule in group["rules"] if rule["alert"] == alert]
    recorded = any("stream:" in rule["expr"] for rule in rules)
    return [*(recording if recorded else ()), {**group, "rules": rules}]


def expected(case):
    rule = next(alert for alert in alerts.ALERTS if alert.name == case.alert)
    where = {attribute.label: value for attribute, value in case.where.items()}
    by = (*rule.by, *(["stream_role"] if "Budget" in case.alert else []))
    labels = {label: where[label] for label in by if label in where}
    chosen = "&".join(
        f"var-{variable}={quote_plus(where[label])}"
        for variable, label in (("service", "service_name"), ("route", "http_route"))
        if label in labels
    )
    for own, description in case.fires.items():
        annotations = {
            "summary": rule.summary,
            "description": description,
            "runbook_url": f"{alerts.RUNBOOKS}/{case.alert}.md",
            "dashboard_url": f"/d/{rule.board}?{chosen}",
        }
        yield {
            "exp_labels": {name: str(value) for name, value in {**labels, **dict(own)}.items()},
            "exp_annotations": annotations,
        }


@pytest.mark.parametrize("alert", sorted({alert.name for alert in alerts.ALERTS}))
def test_every_alert_has_both_cases(alert):
    """No alert is added without a case in which it fires and one in which it does not."""
    assert {bool(case.fires) for case in CASES if case.alert == alert} == {True, False}
