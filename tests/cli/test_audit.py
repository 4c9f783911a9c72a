"""``otel-streaming audit`` of real endpoints, good and bad: each question both ways, from outside and from inside."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from unittest.mock import ANY  # of what is over too soon to be left in time

import pytest
from audited import Writer, endpoints, nginx

from stack import free_ports, listens

PASS, WARN, FAIL, UNKNOWN = "pass", "warn", "fail", "not determined"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """URLs of the endpoints: plain, instrumented, telling of no stream; the first two behind nginx too."""
    folder = tmp_path_factory.mktemp("audited")
    receiver, plain, seen, blind, *proxies = free_ports(6)
    processes = {
        plain: endpoints(folder, "plain", plain),
        seen: endpoints(folder, "seen", seen, receiver),
        blind: endpoints(folder, "blind", blind, receiver, "blind"),
        proxies[0]: nginx(folder, [(proxies[0], plain), (proxies[1], seen)]),
    }
    with contextlib.ExitStack() as stack:
        for process in processes.values():
            stack.enter_context(process)
        for port, process in processes.items():
            process.wait_until(partial(listens, port), f"port {port}")
        names = {"plain": plain, "seen": seen, "blind": blind, "nginx": proxies[0], "nginx-seen": proxies[1]}
        urls = {name: f"http://127.0.0.1:{port}" for name, port in names.items()}
        yield SimpleNamespace(receiver=receiver, urls=urls)


def run(cli, *arguments):
    """Run an audit; returns what it answers, by question, and the report."""
    done = cli("audit", "--json", *arguments)
    assert done.returncode in {0, 1}, done.stderr
    report = json.loads(done.stdout)
    answers = {answer["question"]: answer for answer in report["answers"]}
    assert done.returncode == any(answer["verdict"] == FAIL for answer in answers.values())
    return answers, report


@pytest.fixture(scope="module")
def begun():
    """Audits that are under way: three at a time from outside, beside them one from inside, where one can listen."""
    with ThreadPoolExecutor(3) as outside, ThreadPoolExecutor(1) as inside:
        yield (outside, "0", OUTSIDE_CASES), (inside, None, INSIDE_CASES), {}
        for pool in (outside, inside):
            pool.shutdown(cancel_futures=True)  # nobody waits for those


@pytest.fixture
def audits(cli, served, begun):
    """All audits, each in the future."""
    *lanes, futures = begun
    for pool, port, cases in lanes if not futures else ():
        for name, (service, path, options, *_) in cases.items():
            words = ("--receive", port or served.receiver, *options, served.urls[service] + path)
            futures[name] = pool.submit(run, cli, *words)
    return futures


def verdicts(answers):
    return {name: answer["verdict"] for name, answer in answers.items()}


GOOD = "/chat?events=24"
OUTSIDE = {"drop": PASS, "record": UNKNOWN, "path": PASS, "time-outs": UNKNOWN, "cancel": UNKNOWN}
CACHED = {"path": FAIL, "drop": UNKNOWN}  # nobody can leave what comes all at once
SHORT = ("--long", "6")
ZIPPED = ("curl", "--compressed")
TWO = ("--max-requests", "2")

OUTSIDE_CASES = {
    # name: service, path, options, what differs from OUTSIDE, words of the evidence
    "good": ("plain", GOOD, (), {}, "by itself"),
    "long and good": ("plain", "/chat?events=1000", ("--long", "2"), {"time-outs": PASS}, "no limit up to 2.0 s"),
    "made all at once": ("plain", "/chat?events=30&held=1", (), {"path": FAIL}, "31 events came within"),
    "replayed": ("plain", "/chat?events=24&replays=1", (), CACHED, "same bytes in a fraction"),
    "from a cache": ("plain", "/chat?events=24&age=7", (), {"path": FAIL}, "headers of the one read"),
    "may be kept": ("plain", "/chat?events=24&control=public", (), {"path": WARN}, "forbids a cache"),
    "cut": ("plain", "/chat?events=40&cut=1.2", (), {"time-outs": FAIL}, "cut off after"),
    "no marker": ("plain", "/chat?events=24&marker=0", (), {"time-outs": FAIL}, "without its end marker"),
    "an error event": ("plain", "/chat?events=24&fails=1", (), {"time-outs": FAIL}, "2 streams of 2 ended as"),
    "silent": (
        *("plain", "/chat?events=6&silent_at=3&silence=1.5", ("--silence", "1")),
        *({"time-outs": WARN}, "and no keep-alive"),
    ),
    "kept alive": (
        *("plain", "/chat?events=6&silent_at=3&silence=1.5&alive=0.1", ("--silence", "1")),
        *({}, "keep-alives"),
    ),
    "slow reader cut": (
        *("plain", "/chat?events=90&gap=0&padding=100000&deadline=2", SHORT),
        *({"time-outs": FAIL, "drop": ANY, "cancel": ANY}, "a slow reader"),
    ),
    "nginx, open": ("nginx", "/open" + GOOD, (), {}, "by itself"),
    "nginx buffers": ("nginx", "/buffering/chat?events=30", (), {"path": FAIL}, "31 events came within"),
    "nginx caches": ("nginx", "/caching" + GOOD, (), CACHED, "same bytes in a fraction"),
    "nginx compresses": ("nginx", "/zipping/chat?events=30", ZIPPED, {"path": FAIL}, "all of it came within"),
    "nginx cuts": (
        *("nginx", "/limited/chat?events=9&silent_at=6&silence=9", SHORT),
        *({"time-outs": FAIL}, "of silence (silence is tolerated no longer)"),
    ),
}


@pytest.mark.parametrize("case", OUTSIDE_CASES)
def test_seen_from_outside(audits, case):
    """What a client can see is judged, and what it cannot see is not."""
    *_, differs, words = OUTSIDE_CASES[case]
    answers, _ = audits[case].result()
    assert verdicts(answers) == {**OUTSIDE, **differs}, json.dumps(answers, indent=1)
    assert any(words in answer["evidence"] for answer in answers.values()), json.dumps(answers, indent=1)


def test_a_server_that_only_writes(cli):
    """A server that goes on after its client's FIN has not noticed, and has worked on; more is not claimed."""
    with Writer() as server:
        server.pieces = 30
        answers, _ = run(cli, "--receive", 0, server.url)
    assert verdicts(answers) == {**OUTSIDE, "drop": WARN, "cancel": WARN}
    assert "nothing reacted to the client's FIN" in answers["drop"]["evidence"]
    assert "went on after the client's FIN (at least: " in answers["cancel"]["evidence"]


INSIDE = {**OUTSIDE, "record": PASS, "cancel": PASS}
INSIDE_CASES = {
    "good, inside": ("seen", GOOD, (), {}, "3 streams, one record of each"),
    "generation goes on": ("seen", "/chat?events=30&listens=0", TWO, {"cancel": FAIL}, "ran to its end"),
    "a record lies": (
        *("seen", "/chat?events=24&marker=0&lies=1", TWO),
        *({"record": FAIL, "time-outs": FAIL}, 'the record says "complete"'),
    ),
    "the service breaks": ("seen", "/chat?events=40&cut=1.2", (), {"time-outs": FAIL}, 'recorded: "failed: exception'),
    "nginx, open, inside": ("nginx-seen", "/open" + GOOD, (), {}, "3 streams, one record of each"),
    "nginx buffers, inside": (
        "nginx-seen",
        "/buffering/chat?events=30",
        TWO,
        {"path": FAIL},
        "sent its first chunk after",
    ),
    "nginx caches, inside": (
        *("nginx-seen", "/caching" + GOOD, ("--wait", "1")),
        *({**CACHED, "cancel": UNKNOWN}, "the service knows nothing of it"),
    ),
    "nginx cuts, inside": (
        *("nginx-seen", "/limited/chat?events=9&silent_at=6&silence=9", SHORT),
        *({"time-outs": FAIL}, 'longer); the service recorded: "reader left", so something in between did it'),
    ),
    "nginx hides the departure": (
        *("nginx-seen", "/deaf/chat?events=30", TWO),
        *({"drop": FAIL, "record": FAIL, "path": FAIL, "cancel": FAIL}, "ran to its end"),
    ),
    "nothing told": ("plain", GOOD, (*TWO, "--wait", "0.2"), OUTSIDE, "nothing was exported to this audit"),
    "no record": (
        *("blind", GOOD, (*TWO, "--wait", "1")),
        *({"record": FAIL, "cancel": UNKNOWN}, "the service exports, and within"),
    ),
}


@pytest.mark.parametrize("case", INSIDE_CASES)
def test_seen_from_inside(audits, case):
    """What the service tells decides what no client can see: records, and the work for nobody."""
    service, *_, differs, words = INSIDE_CASES[case]
    answers, report = audits[case].result()
    assert verdicts(answers) == {**INSIDE, **differs}, json.dumps(report, indent=1)
    assert any(words in answer["evidence"] for answer in answers.values()), json.dumps(answers, indent=1)
    assert report["heard_from_service"] == (service != "plain")
