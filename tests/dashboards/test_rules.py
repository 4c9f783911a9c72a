"""Rules: the contract's names, the conventions of alerts, a page for each; the same objective for Sloth."""

import re
import subprocess
import sys
from pathlib import Path

import promql_parser
import pytest
import yaml
from boards import BOARDS
from test_promql import CONTRACT, nodes

from dashboards import alerts, health, measures, queries, recording
from dashboards.__main__ import OUT
from dashboards.render import panels
from stack import find_or_build

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((OUT / "rules").glob("*.yaml"))
GROUPS = [group for file in FILES for group in yaml.safe_load(file.read_text())["groups"]]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})
RECORDED = {rule["record"]: rule for rule in RULES if "record" in rule}
PAGES = ROOT / "docs" / "runbooks"
SLOTH = yaml.safe_load((OUT / "sloth.yaml").read_text())
OBJECTIVE = SLOTH["slos"][0]
NEVER = re.compile(r"\{\{|\$")


@pytest.fixture(params=RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def rule(request):
    return request.param


@pytest.fixture(params=ALERTS, ids=lambda rule: rule["alert"])
def alert(request):
    return request.param


def labels_of(name):
    """What the series of a name may be asked for."""
    if name in RECORDED:
        by = queries.BY_ROUTE if name.startswith("stream:interrupted") else queries.RECORDED_LABELS
        return {*by, *RECORDED[name].get("labels", {})}
    return {*CONTRACT[name.replace("_count", "_bucket")], health.OVERFLOW}


def selectors(expr):
    return nodes(promql_parser.parse(expr), promql_parser.VectorSelector)


@pytest.mark.e2e
def test_prometheus_accepts_the_files():
    """Queries and templates are Prometheus' own."""
    subprocess.run([find_or_build("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *FILES], check=True)


def test_rules_read_only_what_there_is(rule):
    """Every name is in the contract or recorded here, every label is one of its own."""
    for selector in selectors(rule["expr"]):
        asked = {matcher.name for matcher in selector.matchers.matchers}
        assert asked <= labels_of(selector.name), selector.name
    for aggregate in nodes(promql_parser.parse(rule["expr"]), promql_parser.AggregateExpr):
        for selector in nodes(aggregate.expr, promql_parser.VectorSelector):
            assert set(aggregate.modifier.labels) <= labels_of(selector.name)


def test_shares_are_of_streams_that_end(rule):
    """No subscription comes into an objective or a share, no client into an alert; telemetry is that of all kinds."""
    for selector in selectors(rule["expr"]) if rule.get("alert") != "StreamTelemetryMissing" else ():
        matched = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        if health.OVERFLOW in matched:
            continue
        if "stream_kind" in labels_of(selector.name) and rule.get("alert") != "StreamTelemetryLossy":
            assert matched["stream_kind"] == "bounded"
        if "alert" in rule and "stream_role" in labels_of(selector.name):
            assert matched["stream_role"] == "server"


def test_every_window_is_recorded():
    """The alerts and the dashboards find every ratio they know of; each is a sum over a sum."""
    for window in (window for windows in queries.RECORDED_WINDOWS.values() for window in windows):
        expr = RECORDED[recording.ratio(window)]["expr"]
        assert expr.count(f"[{window}]") == expr.count("sum_over_time") == 2
    assert RECORDED[queries.RECORDED_BAD]
    assert RECORDED[queries.RECORDED_ELIGIBLE]
    assert {record.name for record in recording.limits()} <= RECORDED.keys()


def test_brackets_and_what_is_beside_them_are_adjoining_buckets():
    """Between a limit's bracket and where its neighbours end there is no further bound."""
    from dashboards.incident.samples import bounds
    from otel_streaming import semconv

    edges = bounds(semconv.INTERRUPTED_DURATION)
    for limit, (below, low, high, above) in measures.LIMITS.items():
        assert low < limit < high
        at = edges.index(low)
        assert edges[at - 1 : at + 2] == (below, low, high)
        assert above == (edges[at + 2] if at + 2 < len(edges) else high)


def test_intervals():
    """A ratio read by an alert is never older than Prometheus looks back."""
    assert {group["interval"] for group in GROUPS} <= {"1m", "3m"}
    assert len({group["name"] for group in GROUPS}) == len(GROUPS)


def test_alerts_keep_the_conventions(alert):
    """Names, severities, sentences and links as mixins have them."""
    assert re.fullmatch(r"([A-Z][a-z0-9]*)+", alert["alert"])
    assert len(alert["alert"]) <= 40
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    annotations = alert["annotations"]
    assert not NEVER.search(annotations["summary"])
    assert annotations["summary"].endswith(".")
    assert "{{ $labels.service_name }}" in annotations["description"]
    assert annotations["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    board = re.match(r"/d/([\w-]+)\?var-service={{ \$labels.service_name \| urlquery }}", annotations["dashboard_url"])
    assert board[1] in BOARDS
    assert re.fullmatch(r"\d+m", alert["for"])


def test_the_alerts_are_these():
    """Whoever routes or silences by name finds every name, and no other."""
    assert (
        sorted(
            [
                *("StreamErrorBudgetBurn", "StreamSilentFailuresDominate", "StreamStalledOpen", "StreamFirstChunkSlow"),
                *("StreamBlankResponses", "StreamsDieAtALimit", "StreamsMasked", "StreamOutcomeUnknownHigh"),
                *("StreamTelemetryLossy", "StreamTelemetryMissing"),
            ]
        )
        == NAMES
    )


def test_burn_rates_are_those_of_the_objective():
    """Two windows page and two are tickets; thresholds follow from the one objective."""
    burns = {alert["labels"]["long"]: alert for alert in ALERTS if alert["alert"] == "StreamErrorBudgetBurn"}
    expected = {"1h": (14.4, "5m", "critical"), "6h": (6, "30m", "critical")}
    expected |= {"1d": (3, "2h", "warning"), "3d": (1, "6h", "warning")}
    assert burns.keys() == expected.keys()
    for long, (factor, short, severity) in expected.items():
        labels, expr = burns[long]["labels"], burns[long]["expr"]
        assert (labels["short"], labels["severity"]) == (short, severity)
        limit = f"> {factor * (1 - queries.OBJECTIVE):.6g}"
        assert f'{recording.ratio(long)}{{stream_role="server"}} {limit} and' in expr
        assert f'{recording.ratio(short)}{{stream_role="server"}} {limit})' in expr
        assert f"[{long}]) > {alerts.ENOUGH}\n" in expr
        assert expr.endswith(f"[{long}]) > {alerts.A_FEW}")
    (graph,) = (panel for panel in panels(BOARDS["stream-slo"]) if panel["title"] == "Burn rates")
    lines = [step["value"] for step in graph["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]]
    assert lines == sorted(factor for factor, _, severity in expected.values() if severity == "critical" or factor == 1)


@pytest.mark.parametrize(("objective", "complaint"), [(0.93, "too low to page"), (0.94, ""), (0.9999, "")])
def test_another_objective(tmp_path, objective, complaint):
    """Whoever sets one gets rules that can fire and texts that name it, or is told that it would page nobody."""
    change = f"from dashboards import queries; queries.OBJECTIVE = {objective}"
    write = f"from dashboards.__main__ import main; main(['--out', {str(tmp_path)!r}])"
    argv = [sys.executable, "-c", f"{change}; {write}"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert complaint in done.stderr
    assert bool(done.returncode) == bool(complaint)
    if not complaint:
        text = (tmp_path / "stream-slo.json").read_text()
        assert f"{100 * objective:.6g} % do" in text
        assert f"three days / {100 * (1 - objective):.6g} %" in text


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_page(name):
    """Whoever is woken finds what it means, whom it hurts, where to look and what to do, in this order."""
    text = (PAGES / f"{name}.md").read_text()
    title, *headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert title == name
    assert headings == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    diagnosis = text.partition("## Diagnosis")[2].partition("## Mitigation")[0]
    assert diagnosis.strip().startswith(("1. **", "1. The"))


def test_no_page_without_an_alert():
    """A renamed alert leaves no page behind."""
    assert sorted(path.stem for path in PAGES.glob("*.md")) == NAMES


def shown(board):
    """What is to be found on a dashboard: panels, and columns of their tables."""
    for panel in panels(board):
        yield panel["title"]
        for step in panel.get("transformations", ()):
            yield from step["options"].get("renameByName", {}).values()


@pytest.mark.parametrize("alert", alerts.ALERTS, ids=lambda alert: alert.name)
def test_pages_say_where_to_look(alert):
    """What stands in bold is on the dashboard that the alert leads to, or on the one that is named beside it."""
    boards = {board["title"]: set(shown(board)) for board in BOARDS.values()}
    text = (PAGES / f"{alert.name}.md").read_text()
    for step in re.split(r"\n(?:\n|\d\. |- )", text.replace("\n   ", " ")):
        named = re.findall(r"\*(Streams: \w+)\*", step)
        there = set().union(shown(BOARDS[alert.board]), *(boards[title] for title in named))
        assert set(re.findall(r"\*\*(.+?)\*\*", step)) <= there, step


@pytest.mark.parametrize("page", [ROOT / "docs" / "alerts.md", *sorted(PAGES.glob("*.md"))], ids=lambda page: page.stem)
def test_links_resolve(page):
    """No link leads nowhere."""
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_page_of_alerts_names_them_all():
    """The table has every alert."""
    linked = re.findall(r"\]\(runbooks/(\w+)\.md\)", (ROOT / "docs" / "alerts.md").read_text())
    assert sorted(linked) == NAMES


def documented():
    """Every line of the page's table: alert, severity, guard."""
    name = ""
    for line in re.findall(r"^\| (?:\[|\| ).*$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE):
        cell, severity, _, guard = (part.strip() for part in line.strip("|").split(" | "))
        name = cell.strip("[").partition("]")[0] or name
        yield name, severity, guard


def test_the_page_claims_the_guards_that_there_are():
    """What "only if more than 30 streams" promises is in the rule, and each alert has a line for each severity."""
    lines = list(documented())
    assert {(name, severity) for name, severity, _ in lines} == {
        (alert["alert"], alert["labels"]["severity"]) for alert in ALERTS
    }
    counted = 0
    for name, severity, guard in lines:
        exprs = [one["expr"] for one in ALERTS if (one["alert"], one["labels"]["severity"]) == (name, severity)]
        for number in re.findall(r"(\d+) (?:streams|failures|do|are)", guard):
            assert all(re.search(rf"> {number}\b|>= {number}\b", expr) for expr in exprs), (name, guard)
            counted += 1
    assert counted >= 10


def test_sloth_has_the_same_objective():
    """One objective, one definition of bad and eligible, in two formats."""
    assert OBJECTIVE["objective"] == pytest.approx(100 * queries.OBJECTIVE)
    events = OBJECTIVE["sli"]["events"]
    for query, which in ((events["error_query"], queries.BAD), (events["total_query"], queries.ELIGIBLE)):
        found = selectors(query.replace("{{.window}}", "5m"))
        assert {selector.name for selector in found} == {"stream_ledger_ended_total", "stream_ended_total"}
        wanted = {
            "stream_role": "server",
            "stream_kind": "bounded",
        }
        result = {"stream_result": which.partition('"')[2].strip('"')}
        asked = [{one.name: one.value for one in selector.matchers.matchers} for selector in found]
        assert asked == [wanted | result, wanted | result, wanted]  # the last: has it a ledger at all?
