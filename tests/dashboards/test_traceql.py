"""Every TraceQL and LogQL parses in Grafana's own grammars, and asks only for what the contract offers."""

import functools
import json
import re
import shutil
import subprocess

import pytest
from boards import BOARDS

from dashboards import traceql
from dashboards.render import panels
from otel_streaming import semconv

PACKAGES = {"@grafana/lezer-traceql": "1.0.0", "@grafana/lezer-logql": "0.3.0", "@lezer/lr": "1.4.12"}
PARSE = """
import { readFileSync } from "node:fs";
const [, , language] = process.argv;
const { parser } = await import(`@grafana/lezer-${language}`);
for (const query of JSON.parse(readFileSync(0, "utf8"))) {
  const wrong = [];
  parser.parse(query).iterate({ enter: (node) => { if (node.type.isError) wrong.push(query.slice(node.from)); } });
  console.log(JSON.stringify(wrong));
}
"""
QUERIES = {
    f"{uid} {panel['title']}": target.get("query") or target["expr"]
    for uid, board in BOARDS.items()
    for panel in panels(board)
    for target in panel.get("targets", ())
    if target["datasource"]["type"] in {"tempo", "loki"}
}
TRACEQL = {title: query for title, query in QUERIES.items() if query.startswith("{ ")}
LOGQL = {title: query for title, query in QUERIES.items() if "scope_name" in query}
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")


def substitute(query):
    return VARIABLE.sub(r"/v1/agents/\{id\}/run", query) if "`" in query else VARIABLE.sub(".*", query)


@pytest.fixture(scope="session")
def complain(tmp_path_factory):
    """Parse queries with Grafana's grammar of a language; gives what it does not understand, query by query."""
    if not shutil.which("npm"):
        pytest.skip("Grafana's grammars come with npm, which is not here")
    folder = tmp_path_factory.mktemp("grammars")
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", folder]
    subprocess.run(["npm", "install", *options, *wanted], check=True, timeout=120)
    (folder / "parse.mjs").write_text(PARSE)

    @functools.cache
    def parse(language, *queries):
        argv = ["node", folder / "parse.mjs", language]
        done = subprocess.run(argv, input=json.dumps(queries), capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return parse


def test_there_is_something_to_parse():
    """The dashboards ask the traces and the logs."""
    assert len(TRACEQL) > 5
    assert LOGQL


@pytest.mark.parametrize(("language", "queries"), [("traceql", TRACEQL), ("logql", LOGQL)], ids=["TraceQL", "LogQL"])
def test_parses(complain, language, queries):
    """Whatever is chosen, Tempo and Loki understand what they are asked."""
    complaints = complain(language, *map(substitute, queries.values()))
    assert {title: wrong for title, wrong in zip(queries, complaints, strict=True) if wrong} == {}


@pytest.mark.parametrize(
    ("language", "query"),
    [("traceql", "{ span.x = }"), ("traceql", "{ } | rate( by (span.x)"), ("logql", '{a="b"} | | c')],
)
def test_the_grammar_tells(complain, language, query):
    """A mistake is found, or parsing proves nothing."""
    assert complain(language, query) != [[]]


@pytest.mark.parametrize("query", LOGQL.values(), ids=LOGQL)
def test_loki_takes_the_choice_of_everything(query):
    """Loki refuses a selector whose every matcher would match an empty value (``validateMatchers`` in its parser)."""
    selector = substitute(query).partition("}")[0]
    patterns = re.findall(r'=~"([^"]*)"', selector)
    assert ".*" in patterns
    assert any(not re.fullmatch(pattern, "") for pattern in patterns)


@pytest.mark.parametrize("query", TRACEQL.values(), ids=TRACEQL)
def test_asks_only_for_attributes_of_the_contract(query):
    """A misspelt attribute silently finds nothing."""
    spans = set(re.findall(r"span\.([\w.]+)", query))
    assert spans <= {str(attribute) for attribute in semconv.ATTRIBUTES}
    assert set(re.findall(r"resource\.([\w.]+)", query)) <= {str(semconv.SERVICE_NAME)}


@pytest.mark.parametrize("query", TRACEQL.values(), ids=TRACEQL)
def test_asks_for_words_of_closed_vocabularies(query):
    """A misspelt word silently finds nothing, too."""
    known = {str(attribute): attribute for attribute in semconv.ATTRIBUTES}
    for name, value in re.findall(r'span\.([\w.]+) =~? "([^"]*)"', query):
        assert set(value.split("|")) <= {str(word) for word in known[name].values}


@pytest.mark.parametrize("query", TRACEQL.values(), ids=TRACEQL)
def test_selects_by_the_result(query):
    """Only our own spans have a result: a parent that was marked by ours has the outcome, and would count twice."""
    assert traceql.span(semconv.RESULT) in query


@pytest.mark.parametrize("query", TRACEQL.values(), ids=TRACEQL)
def test_follows_the_service(query):
    """No list goes on showing all services when one is chosen."""
    assert "`${service:regex}`" in query
