"""Every panel against the recorded incident: it speaks in the phase of its fault, and is quiet in all others."""

import pytest
from boards import ANNOTATIONS, BOARDS, QUERIES
from speaking import DEPLOY, KILLED, LIMIT, LOSSY, MUTE, NEUTRAL, NIGHT, PHASES, QUIET, SPEAKS, SUBSCRIPTIONS

from dashboards import budget, incident, queries
from dashboards.incident.table import CHANGE_AT
from dashboards.render import panel_queries, substitute
from otel_streaming.semconv import Kind, Outcome, Result, Role

pytestmark = pytest.mark.e2e

ROWS = [((uid, *key), limit, phases) for uid, rows in SPEAKS.items() for key, (limit, phases) in rows.items()]


@pytest.fixture(scope="module")
def ask(loaded):
    """The answer to a panel's query at the end of a phase, asked once."""
    exprs = {(uid, query.panel, query.ref): query.expr for uid, query in QUERIES}

    def answer(uid, panel, ref, phase, **chosen):
        expr = substitute(exprs[uid, panel, ref], range=phase.range, rate_interval="4m", **chosen)
        return loaded.query(expr, phase.end)

    return answer


@pytest.mark.parametrize(("asked", "limit", "phases"), ROWS, ids=[" ".join(asked) for asked, _, _ in ROWS])
def test_speaks_in_its_phases_and_in_no_other(ask, asked, limit, phases):
    """A fault is seen where it should be, and nowhere else, and nothing is seen when all is well."""
    sign = -1 if limit < 0 else 1
    spoke = {
        name
        for name, phase in {**PHASES, "quiet": QUIET}.items()
        if any(sign * sample.value >= limit for sample in ask(*asked, phase))
    }
    assert spoke == phases


def test_every_panel_speaks_or_is_always_drawn(ask):
    """No panel is added without saying in which fault it is of use, or that it is of use at all times."""
    speaking = {(uid, panel) for uid, rows in SPEAKS.items() for panel, _ in rows}
    assert {(uid, query.panel) for uid, query in QUERIES} - speaking == NEUTRAL
    for uid, query in QUERIES:
        if (uid, query.panel) in NEUTRAL:
            assert ask(uid, query.panel, query.ref, QUIET), query.panel


@pytest.mark.parametrize("found", QUERIES, ids=[f"{uid} {query.panel} {query.ref}" for uid, query in QUERIES])
def test_every_query_finds_something(ask, found):
    """A query that is valid and always empty is a panel that lies."""
    uid, query = found
    answers = [ask(uid, query.panel, query.ref, phase) for phase in PHASES.values()]
    assert any(answers)


@pytest.mark.parametrize("found", QUERIES, ids=[f"{uid} {query.panel} {query.ref}" for uid, query in QUERIES])
def test_no_answer_is_not_a_number(ask, found):
    """NaN and infinity are drawn like missing data, or break the scale."""
    uid, query = found
    for phase in PHASES.values():
        values = [sample.value for sample in ask(uid, query.panel, query.ref, phase)]
        assert all(abs(value) < 1e15 for value in values), phase.name


@pytest.mark.parametrize("found", QUERIES, ids=[f"{uid} {query.panel} {query.ref}" for uid, query in QUERIES])
def test_nobody_has_no_telemetry(ask, found):
    """Of a service that does not exist nothing is drawn, or "no telemetry": neither 0 nor a good share.

    Of the collector and the rules there is one for all services.
    """
    uid, query = found
    if "$service" in query.expr and query.panel != "Firing alerts":
        said = ask(uid, query.panel, query.ref, QUIET, service="nobody")
        assert {sample.value for sample in said} <= {queries.NOBODY_REPORTS}


def ended(phase, holds):
    """Streams of the server's role with an end of their own that ended in a phase and are of a sort."""
    counts = phase.counts(lambda line: line.role is Role.SERVER and line.kind is Kind.BOUNDED)
    return sum(number for fate, number in counts.items() if holds(incident.FATES[fate]))


def of(*results):
    return lambda fate: fate.result in results


BAD, ELIGIBLE = (Result.SILENT, Result.LOUD), (Result.OK, Result.SILENT, Result.LOUD)


def tiles(phase):
    """What the tiles of the other dashboards show, from the table of the incident."""
    bad, eligible, left = (ended(phase, of(*results)) for results in (BAD, ELIGIBLE, (Result.GAVE_UP,)))
    yield "stream-slo", "As users saw it", 1 - bad / eligible
    yield "stream-slo", "By 5xx only", 1 - ended(phase, of(Result.LOUD)) / eligible
    yield "stream-slo", "Gave-up counted", 1 - (bad + left) / (eligible + left)
    yield "stream-slo", "Budget spent, by cause", bad / eligible / budget.BUDGET
    yield "stream-trust", "Ended unknown", phase.figures()["Unknown"]


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)
def test_tiles_show_the_figures_of_the_table(ask, phase):
    """The numbers on the screen are those of the incident, as near as ``increase`` comes without a ledger."""
    for uid, title, expected in tiles(phase):
        (sample,) = ask(uid, title, "A", phase)
        assert sample.value == pytest.approx(expected, rel=0.02, abs=1e-4), title


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)
def test_the_budget_is_that_of_all_streams_so_far(ask, phase):
    """What is left of thirty days counts every stream alike, from the incident's begin."""
    so_far = [one for one in incident.PHASES if one.end <= phase.end]
    bad, eligible = (sum(ended(one, of(*results)) for one in so_far) for results in (BAD, ELIGIBLE))
    (sample,) = ask("stream-slo", "Budget left", "A", phase)
    assert 1 - sample.value == pytest.approx(bad / eligible / budget.BUDGET, rel=0.05)


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)
def test_the_table_of_causes_counts_what_the_spans_tell(ask, phase):
    """Streams by service, route, reason and origin: as many lines as sorts, as many streams as there were."""
    if phase.period.lossy:
        return
    expected = {}
    for line in incident.LINES.values():
        if line.role is Role.SERVER and line.kind is Kind.BOUNDED:
            for name, number in phase.counts(lambda other, line=line: other is line).items():
                fate = incident.FATES[name]
                if fate.result in BAD:
                    key = (line.service, line.route, str(fate.reason), str(fate.origin))
                    expected[key] = expected.get(key, 0) + number
    labels = ("service_name", "http_route", "stream_reason", "stream_origin")
    found = {
        tuple(one.labels[label] for label in labels): one.value
        for one in ask("stream-forensics", "Where, why, by whom", "A", phase)
    }
    assert found == pytest.approx(expected, rel=0.05)


def test_a_limit_has_its_bar(ask):
    """All streams that the proxy cut stand in the bar at 60 s, and no other bar has any."""
    phase = PHASES[LIMIT]
    refs = [
        query.ref for query in panel_queries(BOARDS["stream-flow"]) if query.panel == "Interrupted at a usual limit"
    ]
    found = {
        ref: sum(one.value for one in ask("stream-flow", "Interrupted at a usual limit", ref, phase)) for ref in refs
    }
    cut = sum(phase.period.ended("answer", minute)["cut at 60 s"] for minute in range(1, phase.period.minutes + 1))
    assert found == pytest.approx({**dict.fromkeys(refs, 0), "C": cut}, rel=0.05)


def test_cells_of_a_map_are_counts(ask):
    """The cells of a column add up to the streams of that time: here all that were interrupted in four minutes."""
    lines = [line for line in incident.LINES.values() if line.role is Role.SERVER]
    left = sum(number for line in lines for fate, number in line.normal.items() if fate == "left")
    for uid in ("stream-overview", "stream-flow"):
        cells = ask(uid, "Age of streams when they are interrupted", "A", QUIET)
        (everything,) = (cell.value for cell in cells if cell.labels["le"] == "+Inf")
        assert everything == pytest.approx(4 * left, rel=0.05)


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)
def test_wasted_tokens_are_those_of_broken_streams(ask, phase):
    """The bill is what the streams had cost that nobody got whole."""
    if phase.period.lossy:
        return
    broken = (Outcome.TRUNCATED, Outcome.FAILED)
    counts = phase.counts(lambda line: line.role is Role.SERVER and line.kind is Kind.BOUNDED)
    tokens = sum(
        n * incident.FATES[fate].tokens for fate, n in counts.items() if incident.FATES[fate].outcome in broken
    )
    (sample,) = ask("stream-flow", "Wasted tokens", "A", phase)
    assert sample.value == pytest.approx(tokens, rel=0.05)


@pytest.mark.parametrize(("phase", "failures", "stalled"), [(SUBSCRIPTIONS, 3, 4), (DEPLOY, 0, 0), (NIGHT, 0, 0)])
def test_subscriptions_have_a_promise_of_their_own(loaded, phase, failures, stalled):
    """Three of sixty open ones fail a minute, four stall; a deployment is no failure."""
    phase = PHASES[phase]
    for expr, expected in ((budget.subscription_failures(), failures), (budget.subscription_stalls(), stalled / 60)):
        (sample,) = loaded.query(substitute(expr, range="30m", rate_interval="4m"), phase.end)
        assert sample.value == pytest.approx(expected, rel=0.05)


def test_alerts_about_a_whole_service_are_counted_on_each_of_its_routes(ask):
    """An alert without a route is not lost by choosing one, and one about another route is not counted."""
    lossy = PHASES[LOSSY]
    (shown,) = ask("stream-overview", "Firing alerts", "A", lossy, service="chat", route="/nowhere")
    assert shown.value == 1
    (elsewhere,) = ask("stream-overview", "Firing alerts", "A", lossy, service="search", route="/nowhere")
    assert elsewhere.value == 0


def test_annotations_mark_deployments_deaths_and_alerts(loaded):
    """A deployment and a killed worker are marked when they happen, and nobody who only fell silent; alerts, too."""
    began, alerts = (substitute(query.expr) for query in ANNOTATIONS)
    changes = {DEPLOY: ("notify", 2), KILLED: ("chat", 1)}
    for name, (service, number) in changes.items():
        at = PHASES[name].start + CHANGE_AT * 60
        assert [(one.labels["service_name"], one.value) for one in loaded.query(began, at)] == [(service, number)]
        assert loaded.query(began, at + 600) == []
    assert [loaded.query(began, PHASES[MUTE].end + 60 * minutes) for minutes in range(3)] == [[]] * 3
    firing = {one.labels["alertname"] for one in loaded.query(alerts, PHASES[LIMIT].end)}
    assert "StreamsDieAtALimit" in firing
