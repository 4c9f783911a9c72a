"""The house rules of dashboards, and the rules of grafana/dashboard-linter that apply.

Three of the linter's rules do not: every panel has a data source of its own kind, and job and instance say
nothing about a stream (target-job, target-instance and their template rules).
"""

import json
import re

import pytest
from boards import BOARDS, judges
from ids import IDS
from test_words import VOCABULARIES as CODES

from dashboards import measures, parts, words
from dashboards.alerts import ALERTS
from dashboards.incident.samples import bounds
from dashboards.render import panels
from otel_streaming import semconv

PROMETHEUS, TEMPO, LOKI = (
    {"type": kind, "uid": f"${name}"}
    for kind, name in (("prometheus", "datasource"), ("tempo", "tempo"), ("loki", "loki"))
)
GRAFANA = {"type": "grafana", "uid": "-- Grafana --"}
EMPTY = {
    # What a panel says instead of nothing.
    "stat": {words.NO_TELEMETRY, words.NO_RULES, words.NO_SUBSCRIPTIONS},
    "tempo": {words.NO_TRACES},
    "loki": {words.NO_TRACES},
}
UNITS = {"percentunit", "short", "s", "cpm", "cps", "Bps", "bytes", "suffix:x"}


def test_ids_are_for_ever(board):
    """Links to a panel carry its id: an id never moves to another panel."""
    assert [(panel["id"], panel["title"]) for panel in board["panels"]] == list(IDS[board["uid"]].items())


def test_identity(board):
    """The uid is stable, the tag joins the dashboards, the schema is what Grafana 10.4 to 13 take."""
    assert board["uid"] in IDS
    assert board["tags"] == ["streaming"]
    assert board["schemaVersion"] == 42
    assert board["title"]
    assert board["description"]


def test_links_to_the_others_keep_time_and_choices(board):
    """Going on to another dashboard does not lose the thread."""
    (link,) = board["links"]
    assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == (
        "dashboards",
        ["streaming"],
        True,
        True,
    )


def test_variables(board):
    """Data source first, then from wide to narrow; a change of the time range reloads them (four linter rules)."""
    datasource, *others = board["templating"]["list"]
    assert (datasource["name"], datasource["type"], datasource["query"]) == ("datasource", "datasource", "prometheus")
    assert datasource["label"] == "Data source"
    choices = [one for one in others if one["type"] == "query"]
    assert [choice["name"] for choice in others][:3] == ["service", "route", "protocol"]
    for choice in choices:
        assert choice["datasource"] == PROMETHEUS
        assert (choice["multi"], choice["includeAll"], choice["allValue"], choice["refresh"]) == (True, True, ".*", 2)
        assert choice["current"]["value"] == ["$__all"]


def test_every_variable_is_used(board):
    """No choice without an effect, and none that is used but not offered."""
    offered = {one["name"] for one in board["templating"]["list"]}
    asked = json.dumps([[panel.get("targets"), panel.get("datasource")] for panel in panels(board)])
    used = set(re.findall(r"\$\{?([a-zA-Z]\w*)", asked)) - {"__range", "__rate_interval"}
    assert used == offered


def test_annotations_say_what_else_happened(board):
    """Deployments as noted, processes that began, alerts that fired: on every graph."""
    deployments, began, alerts = board["annotations"]["list"]
    assert (deployments["datasource"], deployments["target"]["tags"]) == (GRAFANA, ["deploy"])
    assert [one["datasource"] for one in (began, alerts)] == [PROMETHEUS, PROMETHEUS]
    assert all(one["enable"] and not one["hide"] for one in (deployments, began, alerts))


def test_header(board):
    """A few sentences on how to read it, ways on to other dashboards, and to the alerts with their runbooks."""
    guide = board["panels"][0]["options"]["content"]
    assert 3 <= len(re.findall(r"[.:](?= |$)", guide)) <= 9
    assert guide.count("](/d/") >= 2
    assert f"]({parts.ALERTS})" in guide


def links(board):
    """Every URL of a dashboard."""
    texts = [panel["options"]["content"] for panel in panels(board) if panel["type"] == "text"]
    yield from (url for text in texts for url in re.findall(r"\]\(([^)]*)\)", text))
    for panel in panels(board):
        fields = panel.get("fieldConfig", {})
        yield from (link["url"] for link in fields.get("defaults", {}).get("links") or ())
        for override in fields.get("overrides", ()):
            for one in override["properties"]:
                yield from (link["url"] for link in (one["value"] if one["id"] == "links" else ()))


def test_links_lead_somewhere_and_keep_time_and_choices(board):
    """A link names a dashboard that exists, variables that it has, and the time range."""
    found = list(links(board))
    assert found
    for url in found:
        if found_alert := re.fullmatch(r"/alerting/list\?search=(\w+)", url):
            assert any(alert.name.startswith(found_alert[1]) for alert in ALERTS)
            continue
        uid, query = re.fullmatch(r"/d/([\w-]+)\?(.+)", url).groups()
        given = query.split("&")
        assert given.pop(0) == "${__url_time_range}"
        names = [re.fullmatch(r"\$\{(\w+):queryparam\}|var-(\w+)=.+", one).expand(r"\1\2") for one in given]
        assert len(set(names)) == len(names)  # given twice, a variable has two values
        assert set(parts.EVERYWHERE) <= set(names) <= {one["name"] for one in BOARDS[uid]["templating"]["list"]}


def test_columns_that_links_read_exist(board):
    """A link of a table's line takes its values from columns of that table."""
    for panel in (panel for panel in panels(board) if panel["type"] == "table" and panel["datasource"] == PROMETHEUS):
        (named,) = (step["options"]["renameByName"] for step in panel["transformations"] if step["id"] == "organize")
        fields = re.findall(r"__data\.fields\.(\w+)(:?\w*)", json.dumps(panel["fieldConfig"]))
        assert {field for field, _ in fields} <= set(named.values())
        assert {how for _, how in fields} <= {":percentencode"}  # a route may have signs that mean something in a URL


def test_every_red_number_has_a_next_step(panel):
    """Whoever sees red need not think where to go: a click on the tile, or on a cell of the line, leads on."""
    if panel["type"] in {"stat", "table"} and '"red"' in json.dumps(panel["fieldConfig"]):
        assert list(links({"panels": [panel]}))


def test_every_failure_leads_to_streams():
    """Tiles and colours that tell of failures are clicked through to the dashboard with the traces."""
    overview = {panel["title"]: panel for panel in panels(BOARDS[parts.OVERVIEW])}
    red = [one["title"] for one in overview.values() if one["type"] == "stat" and judges(one)]
    for title in {*red, "Hidden share", "Failures by cause, on one axis"} - {"Budget left", "Firing alerts"}:
        assert f"/d/{parts.FORENSICS}?" in json.dumps(overview[title]["fieldConfig"]), title
    for title in ("Failures by cause, on one axis", "Time to first chunk", "Duration"):
        assert any(target.get("exemplar") for target in overview[title]["targets"]), title


def test_nobody_edits_it_in_the_browser(board):
    """What is generated is changed in the code (linter: uneditable-dashboard-rule)."""
    assert board["editable"] is False


def test_title_and_description(panel):
    """The (i) of each panel says what is measured, how, what is good and what to do first."""
    assert panel["title"]
    if panel["type"] == "text":
        assert panel["description"]
        return
    said = [name for name, _ in re.findall(r"\*\*(\w[\w ]*):\*\* (\S)", panel["description"])]
    assert said == ["Metric", "Formula", "Good", "First action", *(["Colours"] if judges(panel) else [])]


def test_panels_that_mix_in_subscriptions_say_so(panel):
    """A number over streams without a natural end is no number of an objective: the (i) tells."""
    asked = " ".join(target.get("expr", "") for target in panel.get("targets", ()))
    series = re.findall(r"(stream_[a-z_]+)\{([^}]*)\}", asked)
    mixed = [name for name, matchers in series if "stream_role" in matchers and "stream_kind" not in matchers]
    if mixed:
        assert parts.SUBSCRIPTIONS_TOO in panel["description"]


def test_shares_over_spans_say_so(panel):
    """With ``SPANS=bad`` a share of the spans says nothing of the streams: where it is one, the (i) tells."""
    for target in panel.get("targets", ()):
        for whole in re.findall(r"/ \((.*?) > 0\)", target.get("expr", "").replace("\n", " "), re.DOTALL):
            if "stream_ended_total" in whole and "stream_ledger" not in whole:
                assert parts.WITH_SPANS in panel["description"]


def test_unit(panel):
    """A number without a unit is read wrongly at night (linter: panel-units-rule)."""
    if panel["type"] != "text":
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS


def test_datasource_is_the_variable(panel):
    """The same file serves everybody's Prometheus (linter: panel-datasource-rule, panel-no-targets-rule)."""
    if panel["type"] != "text":
        kinds = {"logs": (LOKI,), "traces": (TEMPO,)}
        assert panel["datasource"] in kinds.get(panel["type"], (PROMETHEUS, TEMPO))
        assert panel["targets"]
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_says_so_when_there_is_nothing(panel):
    """An empty answer is no good news: it has words, and on a tile they are grey."""
    if panel["type"] != "text":
        kind = panel["type"] if panel["type"] == "stat" else panel["datasource"]["type"]
        assert panel["fieldConfig"]["defaults"]["noValue"] in EMPTY.get(kind, {words.NOTHING_TO_SHOW})


def test_a_cell_without_a_value_is_short(panel):
    """Grafana would write what the whole panel says when it is empty into every cell that has no value."""
    if panel["type"] == "table":
        columns = [{one["id"]: one for one in override["properties"]} for override in panel["fieldConfig"]["overrides"]]
        said = [column.get("noValue") for column in columns if column.keys() & {"mappings", "unit"}]
        assert said
        assert all(one == {"id": "noValue", "value": words.NOT_TOLD} for one in said)


def test_graphs_have_legends_and_maps_one_layout(panel):
    """Every line has a name; a heat map shows the buckets of one histogram as they are."""
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"]
    if panel["type"] == "heatmap":
        renamed = [(step["id"], step["options"]["renamePattern"]) for step in panel["transformations"]]
        assert renamed[-2:] == [("renameByRegex", "longer"), ("renameByRegex", "up to $1 s")]
        (target,) = panel["targets"]
        assert not panel["options"]["calculate"]
        assert (target["format"], target["legendFormat"]) == ("heatmap", "{{le}}")
        assert len(set(re.findall(r"\w+_bucket", target["expr"]))) == 1
        assert panel["options"]["cellValues"]["unit"] == panel["fieldConfig"]["defaults"]["unit"] == "short"


def renamed(panel, name):
    """What Grafana makes of a series' name: each step is a JavaScript pattern between slashes."""
    for step in panel["transformations"]:
        pattern, name_of = step["options"]["regex"].strip("/"), step["options"]["renamePattern"]
        name = re.sub(pattern, name_of.replace("$1", r"\1"), name)
    return name


def test_rows_of_a_map_are_in_words(board):
    """Each bucket says up to when, a usual limit says so, however Prometheus came by the bound."""
    for panel in (panel for panel in panels(board) if panel["type"] == "heatmap"):
        metric = next(one for one in semconv.METRICS if f"{one.prometheus}_bucket" in panel["targets"][0]["expr"])
        names = [renamed(panel, f"{bound:g}") for bound in bounds(metric)]
        assert names == [renamed(panel, f"{float(bound)}") for bound in bounds(metric)]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"(up to|at) [\d.]+ s", name) for name in names)
        limits = [f"at {limit} s" for limit in measures.LIMITS] if metric is semconv.INTERRUPTED_DURATION else []
        assert [name for name in names if name.startswith("at")] == limits
        assert renamed(panel, "+Inf") == "longer"


def test_table_shows_what_it_asks(board):
    """Each query of a table becomes a named column, and the order is worst first."""
    for panel in (panel for panel in panels(board) if panel["type"] == "table" and panel["datasource"] == PROMETHEUS):
        steps = {step["id"]: step["options"] for step in panel["transformations"]}
        names = steps["organize"]["renameByName"]
        refs = [target["refId"] for target in panel["targets"]]
        # Grafana names the only value of a table without its letter.
        values = {f"Value #{ref}" for ref in refs} if len(refs) > 1 else {"Value"}
        assert values == {name for name in names if name.startswith("Value")}
        assert all(target["format"] == "table" and target["instant"] for target in panel["targets"])
        (sort,) = steps["sortBy"]["sort"]
        assert sort["desc"] == (sort["field"] != "Budget left")
        assert sort["field"] in names.values()


@pytest.mark.parametrize("kind", ["stat", "timeseries", "table", "bargauge", "heatmap"])
def test_named_overrides_hit_something(board, kind):
    """An override on a series that does not exist (any more) does nothing, silently."""
    for panel in (panel for panel in panels(board) if panel["type"] == kind and panel["datasource"] == PROMETHEUS):
        legends = [target.get("legendFormat", "") for target in panel["targets"]]
        columns = [
            name
            for step in panel.get("transformations", ())
            if step["id"] == "organize"
            for name in step["options"]["renameByName"].values()
        ]
        codes = [code for label in re.findall(r"{{(\w+)}}", " ".join(legends)) for code in CODES.get(label, ({},))[0]]
        for override in panel["fieldConfig"].get("overrides", ()):
            if override.get("__systemRef"):
                continue
            assert override["matcher"]["id"] == "byName"
            assert override["matcher"]["options"] in {*legends, *columns, *map(str, codes)}


def test_who_left_is_off_until_asked_for():
    """Readers who leave are many and no failure: their colour shows when its name is clicked on; no other is off."""
    (panel,) = (one for one in panels(BOARDS[parts.OVERVIEW]) if one["title"] == "Failures by cause, on one axis")
    (hiding,) = (one for one in panel["fieldConfig"]["overrides"] if one.get("__systemRef"))
    assert hiding["__systemRef"] == "hideSeriesFrom"
    assert (hiding["matcher"]["id"], hiding["matcher"]["options"]["mode"]) == ("byNames", "exclude")
    names = {target["legendFormat"] for target in panel["targets"]}
    names |= {word.text for word in words.REASONS.values()}
    assert names - set(hiding["matcher"]["options"]["names"]) == {words.LEFT.text}
    assert hiding["properties"] == [
        {"id": "custom.hideFrom", "value": {"legend": False, "tooltip": False, "viz": True}}
    ]
