"""Every query parses, asks only for what the contract offers, and reads counters as counters."""

import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

import promql_parser
import pytest
import yaml
from boards import QUERIES

from dashboards import budget, health, measures, queries
from dashboards.render import substitute
from otel_streaming import semconv

COLLECTOR_CONFIG = Path(__file__).resolve().parents[2] / "collector" / "config.yaml"
RANGE, RATE_INTERVAL = timedelta(minutes=17), timedelta(minutes=3)
SERVICE_LABELS = {label.label for label in (semconv.SERVICE_NAME, semconv.SERVICE_NAMESPACE, semconv.ENVIRONMENT)}
ATTRIBUTES = {attribute.label: attribute for attribute in semconv.ATTRIBUTES}
CONTRACT = {}
for metric in semconv.METRICS:
    labels = {label.label for label in metric.labels} | SERVICE_LABELS
    if metric.instrument == "histogram":
        CONTRACT[f"{metric.prometheus}_bucket"] = labels | {queries.BUCKET}
    else:
        CONTRACT[metric.prometheus] = labels
OURS = frozenset(CONTRACT)
CONTRACT[semconv.ENDED.prometheus] |= {semconv.PROCESS_ID.label}  # which it has where the process counts it itself
for metric, *labels in queries.STOCK_HTTP:
    CONTRACT[metric] = {*labels, semconv.SERVICE_NAME.label}
RECORDED = {queries.RECORDED_BAD, queries.RECORDED_ELIGIBLE}
RECORDED |= {
    queries.RECORDED_RATIO.format(window=window) for windows in queries.RECORDED_WINDOWS.values() for window in windows
}
CONTRACT |= dict.fromkeys(RECORDED, frozenset(queries.RECORDED_LABELS))
CONTRACT |= dict.fromkeys(health.COLLECTOR.values(), frozenset())
CONTRACT[budget.ALERTS] = {"alertname", "alertstate", *queries.BY_ROUTE}
EVERY_METRIC = {"__name__", health.OVERFLOW}
"""Labels that any series of ours may have."""


def nodes(tree, kind):
    """All nodes of one kind in a query, itself included."""
    found = []
    promql_parser.walk(tree, lambda node: found.append(node) if isinstance(node, kind) else None)
    return found


def names(selector):
    """The metrics a selector reads: its name, or the alternatives of a matcher on the name."""
    matchers = [matcher.value for matcher in selector.matchers.matchers if matcher.name == "__name__"]
    return {selector.name} if selector.name else set("|".join(matchers).split("|"))


@pytest.fixture
def tree(expr):
    return promql_parser.parse(substitute(expr, range="17m", rate_interval="3m"))


@pytest.fixture
def selectors(tree):
    return nodes(tree, promql_parser.VectorSelector)


def test_reads_only_metrics_of_the_contract(selectors):
    """A renamed metric breaks a test, not a dashboard (linter: target-promql-rule)."""
    assert selectors
    assert set().union(*map(names, selectors)) <= CONTRACT.keys()


def test_matches_only_labels_that_the_metric_has(selectors):
    """A matcher on a missing label silently selects nothing."""
    for selector in selectors:
        asked = {matcher.name for matcher in selector.matchers.matchers} - EVERY_METRIC
        for name in names(selector):
            assert asked <= CONTRACT[name], name


def test_groups_only_by_labels_that_the_metric_has(tree):
    """Grouping by a missing label silently folds everything into one series."""
    for aggregate in nodes(tree, promql_parser.AggregateExpr):
        by = set(aggregate.modifier.labels) - EVERY_METRIC if aggregate.modifier else set()
        for selector in nodes(aggregate.expr, promql_parser.VectorSelector):
            for name in names(selector):
                assert by <= CONTRACT[name], name


def test_matches_only_words_of_closed_vocabularies(selectors):
    """A misspelt word silently selects nothing."""
    for selector in selectors:
        for matcher in selector.matchers.matchers:
            values = getattr(ATTRIBUTES.get(matcher.name), "values", None)
            if values and matcher.value != ".*":
                assert set(matcher.value.split("|")) <= {str(word) for word in values}


BEGAN = "Processes that began"
"""A mark: whatever route is chosen, a process begins when its first report on any of them comes."""


def test_follows_every_variable_that_can_apply(query, expr, selectors):
    """No panel goes on showing all routes when one is chosen."""
    for selector in nodes(
        promql_parser.parse(substitute(expr, service="S", route="R", protocol="P")), type(selectors[0])
    ):
        chosen = {matcher.value for matcher in selector.matchers.matchers}
        for name in names(selector):
            for variable, value in zip(queries.VARIABLES, "SRP", strict=True):
                label = queries.VARIABLES[variable]
                known = CONTRACT[name] - unknown_to(chosen) if query.panel != BEGAN else {queries.SERVICE}
                if label in known and selector.name and name != queries.RECORDED_ELIGIBLE:
                    assert chosen & {value, f"{value}|"}, (name, variable)


def unknown_to(chosen):
    """A client's stream has no route of its own, and a proxy is no service of ours."""
    unknown = {"client": queries.ROUTE, "proxy": queries.SERVICE}
    return {unknown[role] for role in unknown.keys() & chosen}


ROLES = {
    "What this service reads, by upstream": "client",
    "How upstreams fail": "client",
    "Streams that arrived in one burst": "client",
    "What the proxies in front saw": "proxy",
}
OF_ALL_KINDS = ("Vanished", "Began and ended", "Lost telemetry", "Lost telemetry over time", "Told twice")
KINDS = {
    "Failures per stream-hour": {"subscription"},
    **{panel: {None} for panel in OF_ALL_KINDS},
    "Services and their witnesses": {None, "bounded"},
}


def test_attempts_are_the_servers_and_have_an_end(query, selectors):
    """Client streams would count twice, subscriptions have another objective: both only where a panel says so."""
    for selector in selectors:
        matched = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        if selector.name in OURS:
            assert matched[semconv.ROLE.label] == ROLES.get(query.panel, "server")
        if selector.name in {semconv.LEDGER_ENDED.prometheus, semconv.ENDED.prometheus}:
            assert matched.get(semconv.KIND.label) in KINDS.get(query.panel, {"bounded"})


def test_every_metric_of_the_contract_is_shown():
    """What is emitted and on no dashboard is waste, or a blind spot."""
    shown = " ".join(
        query.expr for _, query in QUERIES if query.panel not in {"Series by metric", "Overflowing series"}
    )
    assert not {name for name in OURS | RECORDED_AND_READ if not re.search(rf"\b{re.escape(name)}\b", shown)}


RECORDED_AND_READ = {queries.RECORDED_BAD, queries.RECORDED_ELIGIBLE}


def test_rates_use_the_rate_interval(query, tree):
    """Any other window shows gaps or smears, as the zoom changes (linter: target-rate-interval-rule)."""
    for call in nodes(tree, promql_parser.Call):
        for matrix in (arg for arg in call.args if isinstance(arg, promql_parser.MatrixSelector)):
            recorded = names(matrix.vector_selector) <= RECORDED and call.func.name == "sum_over_time"
            over_range = matrix.range == RANGE and call.func.name != "rate"
            first = query.panel == BEGAN and call.func.name == "min_over_time"
            assert matrix.range == RATE_INTERVAL or over_range or recorded or first


def test_counters_are_read_over_time(tree):
    """A counter's bare value means nothing, but that it exists (linter: target-counter-agg-rule)."""
    read = Counter(
        matrix.vector_selector.prettify()
        for call in nodes(tree, promql_parser.Call)
        for matrix in call.args
        if isinstance(matrix, promql_parser.MatrixSelector)
    )
    existing = Counter(
        selector.prettify()
        for aggregate in nodes(tree, promql_parser.AggregateExpr)
        if str(aggregate.op) == "count" and isinstance(aggregate.expr, promql_parser.VectorSelector)
        for selector in [aggregate.expr]
    )
    counters = Counter(
        selector.prettify()
        for selector in nodes(tree, promql_parser.VectorSelector)
        if any(name.endswith(("_total", "_bucket", "_count")) for name in names(selector))
    )
    before = Counter({one: number for one, number in counters.items() if " offset " in one})  # what is subtracted
    assert counters <= read + existing + before


def test_quantiles_keep_the_buckets(tree):
    """``histogram_quantile`` over a sum without ``le`` is silently empty (linter: target-histogram rule)."""
    for call in nodes(tree, promql_parser.Call):
        if call.func.name == "histogram_quantile":
            assert queries.BUCKET in call.args[1].modifier.labels


def test_substitute_replaces_every_spelling():
    """Grafana knows ``$name`` and ``${name}`` and ``${name:format}``."""
    assert substitute("$service ${route} ${protocol:regex} [$__range] [$__rate_interval]", range="5m", route="/a") == (
        ".* /a .* [5m] [1m]"
    )


def test_substitute_refuses_what_it_does_not_know():
    """A new variable must be given a value, or a test would query nonsense."""
    with pytest.raises(ValueError, match=r"no value for \$model"):
        substitute('x{model="$model"}')


CHOICES = {variable: queries.values_of(variable) for variable in queries.VARIABLES} | {"reason": queries.reasons()}


@pytest.mark.parametrize("values", CHOICES.values(), ids=CHOICES)
def test_variables_list_values_of_our_metrics(values):
    """The choices come from the contract's metrics and labels (linter: template-label-promql-rule)."""
    inner, _, label = values.removeprefix("label_values(").removesuffix(")").rpartition(", ")
    (selector,) = nodes(promql_parser.parse(substitute(inner)), promql_parser.VectorSelector)
    assert all(label in CONTRACT[name] for name in names(selector))


def test_the_causes_to_choose_from_are_those_of_every_list():
    """What a service reads fails of causes of its own, as ``connect_failed``, and its list follows the choice."""
    assert "stream_role" not in queries.reasons()


def test_limits_are_bounds_of_the_histogram():
    """The bars at the usual limits read exact buckets: without them they would be empty."""
    config = yaml.safe_load(COLLECTOR_CONFIG.read_text())
    definitions = config["connectors"]["signal_to_metrics/streams"]["spans"]
    (bounds,) = [one["histogram"]["buckets"] for one in definitions if one["name"] == semconv.INTERRUPTED_DURATION.name]
    assert {bound for limit in measures.LIMITS.values() for bound in limit} <= set(bounds)
