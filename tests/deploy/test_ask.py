"""``python -m dashboards.ask`` and ``python -m stack.ready``, against a real Prometheus."""

import json
import subprocess
import sys

import pytest

from dashboards import ask
from dashboards.render import panel_queries
from stack import free_ports


def board(folder, name, expr):
    target = {"refId": "A", "expr": expr, "datasource": {"type": "prometheus"}}
    panel = {"type": "stat", "title": "Failed", "targets": [target]}
    (folder / f"{name}.json").write_text(json.dumps({"panels": [panel]}))


def test_every_query_is_taken(stack):
    """Prometheus takes every query of every dashboard; where nothing has streamed, that is what is lacking."""
    answers = ask.ask(stack.prometheus)
    boards = [json.loads(file.read_text()) for file in sorted(ask.OUT.glob("*.json"))]
    assert len(answers) == sum(len(panel_queries(one)) for one in boards)
    assert not [one for one in answers if one.refusal]
    assert ask.lacking(answers)


@pytest.mark.parametrize(
    ("name", "expr", "refusals"),
    [
        (ask.FIRST, "vector(1)", []),
        (ask.FIRST, "absent(vector(1))", [""]),
        (ask.FIRST, "absent(vector(1)) or vector(-2)", [""]),
        ("another", "absent(vector(1))", []),
        ("another", "sum(", ["unclosed left parenthesis"]),
    ],
)
def test_lacking(stack, tmp_path, name, expr, refusals):
    """What shows something is fine; what is refused is not, nor a panel without a number where all must have one."""
    board(tmp_path, name, expr)
    lacking = ask.lacking(ask.ask(stack.prometheus, tmp_path))
    assert len(lacking) == len(refusals)
    assert all(words in one.refusal for one, words in zip(lacking, refusals, strict=True))


@pytest.mark.parametrize("up", [True, False])
def test_ready(stack, up):
    """Ready is what answers 200, in time."""
    [port] = free_ports(1)
    urls = [f"{stack.prometheus.url}/-/ready"] + [f"http://127.0.0.1:{port}"] * (not up)
    command = [sys.executable, "-m", "stack.ready", "--timeout", "5" if up else "0.1", *urls]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == (not up)
    assert (str(port) in answer.stderr) is not up
