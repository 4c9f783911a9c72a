"""The recorded incident: as large as the contract, every number as its table says, every alert in its place."""

import re
import subprocess

import pytest
import yaml
from boards import BOARDS

from dashboards import alerts, incident, queries, recording
from dashboards.incident.samples import bounds
from dashboards.incident.series import simulate
from dashboards.incident.serve import RULES, layers
from dashboards.incident.table import PERIODS
from dashboards.render import panel_queries, substitute
from otel_streaming import semconv
from otel_streaming.semconv import Kind, Result
from stack import find_or_build

pytestmark = pytest.mark.e2e

FAULTS = [phase for phase in incident.PHASES if phase.name != "quiet"]
SLACK = 10 * 60
"""A recorded rate looks five minutes back, and a sample counts for five minutes."""


def by_name(phase):
    return phase.name


@pytest.mark.parametrize("metric", semconv.METRICS, ids=lambda metric: metric.name)
def test_every_metric_of_the_contract_is_there_with_its_labels(loaded, metric):
    """What a dashboard may ask for has an answer: all metrics, all labels, no other label."""
    suffix = "_bucket" if metric.instrument == "histogram" else ""
    series = loaded.series(metric.prometheus + suffix, incident.START, incident.END)
    expected = {label.label for label in metric.labels} | {"__name__", "service_name"} | ({"le"} if suffix else set())
    if metric is semconv.BUFFERED_STREAMS:
        expected.remove("http_route")  # a client has none
    assert set().union(*series) == expected
    if suffix:
        assert {one["le"] for one in series} == {*(f"{bound:g}" for bound in bounds(metric)), "+Inf"}


def test_several_of_everything(loaded):
    """Roles, kinds, services and processes are more than one: a query that forgets to sum is found out."""
    names = f"{semconv.LEDGER_STARTED.prometheus}|{semconv.ENDED.prometheus}"
    series = loaded.series(f'{{__name__=~"{names}"}}', incident.START, incident.END)
    for label, least in {"stream_role": 3, "stream_kind": 2, "service_name": 4, "stream_process_id": 10}.items():
        assert len({one[label] for one in series if label in one}) >= least, label


def test_only_a_killed_worker_leaves_a_gap_in_the_ledger(loaded):
    """What began has ended or is open, also in a deployment; of the seven streams of the dead one, four are found."""
    which = '{stream_role="server",service_name!="export"}'  # which for a while reports nothing at all
    began, ended = (
        f"sum(last_over_time({metric.prometheus}{which}[1d]))"
        for metric in (semconv.LEDGER_STARTED, semconv.LEDGER_ENDED)
    )
    gaps = {
        phase.name: loaded.value(f"{began} - {ended} - sum({semconv.ACTIVE.prometheus}{which})", phase.end)
        for phase in FAULTS
    }
    at = list(gaps).index("killed worker")
    assert list(gaps.values()) == [0] * at + [3] * (len(gaps) - at)


@pytest.mark.parametrize("phase", incident.PHASES, ids=by_name)
@pytest.mark.parametrize("service", [None, "chat", "export"])
def test_tiles_show_the_figures_of_the_table(loaded, phase, service):
    """Each tile of the overview, asked for a phase, shows what the table says of it, exactly where a ledger tells."""
    figures = phase.figures(service)
    tiles = {query.panel: query.expr for query in panel_queries(BOARDS["stream-overview"]) if query.panel in figures}
    assert {"Failed", "Hidden share", "Cut short", "Gave up", "Stalled now", "Open streams"} <= tiles.keys()
    if service == phase.period.mute:
        return
    chosen = {"service": service} if service else {}
    for title, expr in tiles.items():
        shown = loaded.value(substitute(expr, range=phase.range, rate_interval="4m", **chosen), phase.end)
        expected = figures[title] if figures[title] is not None else -1
        assert shown == pytest.approx(expected, rel=0.02 if service is None else 1e-6), title


def ratios(loaded, window, at):
    expr = f'{recording.ratio(window)}{{stream_role="server"}}'
    return {(one.labels["service_name"], one.labels.get("http_route")): one.value for one in loaded.query(expr, at)}


def share_of_bad(counts):
    def of(*results):
        return sum(number for fate, number in counts.items() if incident.FATES[fate].result in results)

    return of(Result.SILENT, Result.LOUD) / of(Result.OK, Result.SILENT, Result.LOUD)


@pytest.mark.parametrize(
    "phase", [phase for phase in FAULTS if phase.period.minutes >= 40 and not phase.period.once], ids=by_name
)
def test_recorded_ratios_are_those_of_the_table(loaded, phase):
    """Half an hour of steady failures gives exactly their share."""
    recorded = ratios(loaded, "30m", phase.end)
    for line in incident.LINES.values():
        if line.kind is Kind.BOUNDED and line.role == "server" and line.service not in {phase.period.mute, "nightly"}:
            expected = share_of_bad(phase.counts(lambda other, line=line: other is line))
            assert recorded[line.service, line.route] == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_a_ratio_over_everything_weighs_every_stream_alike(loaded):
    """30 days are all failures over all streams; an average of ratios would make something else of the bursts."""
    recorded = ratios(loaded, "30d", incident.END)
    for name in ("completions", "agents", "answer", "report"):
        line = incident.LINES[name]
        total = sum(
            (phase.counts(lambda other, line=line: other is line) for phase in incident.PHASES),
            start=incident.Counter(),
        )
        assert recorded[line.service, line.route] == pytest.approx(share_of_bad(total), rel=0.05), name


def test_subscriptions_have_no_ratio(loaded):
    """What has no natural end cannot fail by ending: it is in no objective."""
    assert not loaded.series(
        '{__name__=~"stream:(bad|eligible):.*",service_name="notify"}', incident.START, incident.END
    )


def firing(loaded, alert):
    """Who an alert was about, when it fired, and how long it looks back."""
    windows = {tuple(sorted(one.labels.items())): one.window for one in alerts.ALERTS if one.name == alert}
    expr = f'ALERTS{{alertstate="firing",alertname="{alert}"}}'
    for series in loaded.query_range(expr, incident.START, incident.END, 60):
        labels = series.labels
        own = tuple(sorted((name, labels[name]) for name in ("long", "short", "spans") if name in labels))
        yield labels["service_name"], labels.get("http_route"), windows[own], [at for at, _ in series.points]


def concerns(phase, alert, service, route):
    return any(service == where and route in {None, path} for where, path in phase.alerts.get(alert, ()))


def seconds(window):
    return int(window[:-1]) * {"m": 60, "h": 3600, "d": 86400}[window[-1]]


ALERTS = sorted({alert.name for alert in alerts.ALERTS})


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_in_its_phases(loaded, alert):
    """Each fault wakes whom the table says."""
    phases = [phase for phase in FAULTS if alert in phase.alerts]
    assert phases
    fired = list(firing(loaded, alert))
    for phase in phases:
        for service, route in phase.alerts[alert]:
            times = [
                at for where, path, _, points in fired if where == service and path in {None, route} for at in points
            ]
            assert any(phase.start < at <= phase.end for at in times), (phase.name, service, route)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_silent_elsewhere(loaded, alert):
    """Nothing fires about others or before its fault, nor for longer after it than the alert looks back."""
    for service, route, window, points in firing(loaded, alert):
        spans = [
            (phase.start, phase.end + seconds(window) + SLACK)
            for phase in FAULTS
            if concerns(phase, alert, service, route)
        ]
        strays = [at for at in points if not any(start < at <= end for start, end in spans)]
        assert not strays, (service, route, [(at - incident.START) // 60 for at in strays])


@pytest.mark.parametrize("service", ["notify", "nightly"])
def test_subscriptions_and_a_night_wake_nobody(loaded, service):
    """Subscriptions that fail or are recycled, and one of three streams at night, are no reason to get up."""
    assert not loaded.series(f'ALERTS{{service_name="{service}"}}', incident.START, incident.END)


def test_only_the_worst_pages(loaded):
    """One fault is worth a page here; all others wait for the morning."""
    (phase,) = (phase for phase in FAULTS if phase.name == "burst of 5xx")
    pages = loaded.query_range('ALERTS{severity="critical"}', incident.START, incident.END, 60)
    assert pages
    assert {series.labels["http_route"] for series in pages} == {"/v1/chat/completions"}
    assert all(phase.start < at <= phase.end + 30 * 60 + SLACK for series in pages for at, _ in series.points)


def replayed(samples):
    """The series that rules read, as ``promtool test rules`` takes them: no sample is a ``_``."""
    read = set(re.findall(r"[\w:]+", " ".join(file.read_text() for file in RULES.glob("*.yaml"))))
    minutes = range(sum(phase.period.minutes for phase in incident.PHASES) + 1)
    for (name, labels), values in samples.series.items():
        if name in read:
            at = dict(values)
            own = ",".join(f'{label}="{value}"' for label, value in labels)
            yield {"series": f"{name}{{{own}}}", "values": " ".join(str(at.get(minute, "_")) for minute in minutes)}


def test_prometheus_itself_fires_the_same_alerts(loaded, tmp_path):
    """Towards the end of each phase, the alerts as they are written fire as their backfill in the incident says."""
    checks = []
    for alert in ALERTS:
        expr = f'ALERTS{{alertstate="firing",alertname="{alert}"}}'
        for phase in incident.PHASES:
            # A sample counts for five minutes: what has changed lately is not yet, or still, seen.
            before, now, after = (
                [one.labels for one in loaded.query(expr, phase.end - 60 * ago)] for ago in (12, 6, 0)
            )
            if before == now == after:
                fired = ["{" + ",".join(f'{name}="{value}"' for name, value in one.items()) + "}" for one in now]
                samples = [{"labels": labels, "value": 1} for labels in fired]
                at = f"{(phase.end - incident.START) // 60 - 6}m"
                checks.append({"expr": expr, "eval_time": at, "exp_samples": samples})
    assert {alert for alert in ALERTS for check in checks if alert in str(check["exp_samples"])} == set(ALERTS)
    document = {
        "rule_files": [str(file) for file in RULES.glob("*.yaml")],
        "evaluation_interval": "1m",
        "tests": [
            {"interval": "1m", "input_series": list(replayed(simulate(PERIODS))), "promql_expr_test": checks},
        ],
    }
    (tmp_path / "replay.yaml").write_text(yaml.dump(document, Dumper=yaml.CSafeDumper, width=10**9))
    run = [find_or_build("promtool"), "test", "rules", tmp_path / "replay.yaml"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_layered():
    """A rule that reads another is evaluated after it, and none is left out."""
    found = [[rule["rules"][0]["record"] for rule in layer["groups"]] for layer in layers(RULES)]
    written = [group for file in RULES.glob("*.yaml") for group in yaml.safe_load(file.read_text())["groups"]]
    assert sum(map(len, found)) == sum(len(group["rules"]) for group in written)
    assert queries.RECORDED_ELIGIBLE in found[0]
    assert queries.RECORDED_BAD in found[1]
    assert recording.ratio("30d") in found[2]
