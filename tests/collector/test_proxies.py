"""What the logs of real proxies become, asserted on what the real Prometheus then answers."""

import asyncio
import json
import socket
from types import MappingProxyType
from typing import NamedTuple

import pytest
from proxies import Asker, Leave, ask, proxied
from verdicts import (
    BLANK,
    GAVE_UP,
    HUNG,
    IMPATIENT,
    LEFT,
    LOST,
    LOUD,
    OK,
    REJECTED,
    SPOILT,
    UNREAD,
    assert_ended,
    ended,
    labels,
)

from otel_streaming import semconv
from stack.collector import Collector

pytestmark = pytest.mark.e2e

TIMES = 3
"""How often each fault is injected."""
READY = "/ready"
DOCUMENTED = "/v1/chat/{id}"


class Fault(NamedTuple):
    """What the model server and the client do, and what has to be said of it; ``haproxy`` where that says otherwise."""

    model: str
    verdict: tuple
    client: dict = MappingProxyType({})
    status: int | None = 200
    haproxy: tuple | None = None
    haproxy_status: int | None = None

    def labels(self, proxy, route):
        verdict, status = self.verdict, self.status
        if proxy == "haproxy":
            verdict, status = self.haproxy or verdict, self.haproxy_status or status
        return labels(verdict, route, STATUS_CODE=status)


HALF = Leave(on=b"token-5 ")
FAULTS = {
    "/complete": Fault("healthy", OK),
    "/unfinished": Fault("unfinished", OK),  # that the marker is missing no proxy can tell
    "/cut": Fault("cut", LOST),
    "/reset": Fault("reset", LOST),
    "/spoilt": Fault("spoilt", SPOILT, haproxy=LOST),
    "/hang": Fault("hang", HUNG),
    "/blank": Fault("silent", BLANK, haproxy=HUNG),
    "/leave": Fault("slow", LEFT, {"leave": HALF}),
    "/leave-hard": Fault("slow", LEFT, {"leave": HALF, "reset": True}),
    "/leave-silence": Fault("hang", LEFT, {"leave": HALF}),
    "/give-up": Fault("silent", GAVE_UP, {"leave": Leave(after=1.0)}, haproxy=LEFT),
    "/unread": Fault("flood", LEFT, {"reads": False}, haproxy=UNREAD),
    "/buffered": Fault("flood_cut", LOST, {"rests": 7.0}, haproxy=UNREAD),  # nginx has it all long before its reader
    "/impatient": Fault("unanswered", IMPATIENT, {"patience": 1.0}, None),
    "/overloaded": Fault("overloaded", LOUD, status=503),
    "/unanswered": Fault("unanswered", LOUD, status=504),
    "/refused": Fault("", LOUD, status=502, haproxy_status=503),
    "/rejected": Fault("", REJECTED, status=503),
}
CUT = [route for route, fault in FAULTS.items() if fault.status == 200 and fault.verdict is not OK]
"""Those of which the headers were out, and which did not complete."""


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def service(request, stack, tmp_path_factory):
    """Inject each fault into the proxy, and some exchanges that are no streams; its name, which its service has too."""
    folder = tmp_path_factory.mktemp(request.param)
    configs = ["config.yaml", f"overlays/{request.param}.yaml"]
    with proxied(request.param, folder) as (port, env):
        env["PROMETHEUS_OTLP"] = f"{stack.prometheus.url}/api/v1/otlp"
        with Collector(folder, configs, env) as collector:

            def counts():
                asyncio.run(ask([Asker(port, READY, "healthy")]))
                return ended(stack, request.param, http_route=READY)

            stack.wait_until(counts, "the first stream")  # a log is read from its end on, when it is found
            say(env)
            clients = asyncio.run(ask([*injected(port), *others(port)]))
            yield request.param
            for client in clients:
                client.let_go()
        lines = collector.log.read_text().splitlines()
    assert {line.split("\t")[1] for line in lines if line.count("\t") > 1} == {"info"}


def say(env):
    """Log what HAProxy's manual has (8.5, `cH`) and nothing here makes it say: a client slow to send its body."""
    if "HAPROXY_LOG" in env:
        line = {"stream": "haproxy", "method": "POST", "status": "408", "media_type": "-", "asked": "text/event-stream"}
        line |= {"route": "/unfinished-request", "kind": "-", "milliseconds": "3000", "state": "cH"}
        host, _, port = env["HAPROXY_LOG"].partition(":")
        with socket.socket(type=socket.SOCK_DGRAM) as log:
            log.sendto(json.dumps(line, separators=(",", ":")).encode(), (host, int(port)))


def injected(port):
    return [Asker(port, route, fault.model, **fault.client) for route, fault in FAULTS.items() for _ in range(TIMES)]


def others(port):
    """A page and a 408 on named routes, errors where there is no name, one without and one with a stream asked for, and
    a stream where the page's own lines stand.
    """
    return [
        Asker(port, "/page", "healthy"),
        Asker(port, "/unfinished-request", "healthy", whole_body=False),
        Asker(port, "/unnamed", "overloaded", accept="*/*"),
        Asker(port, "/unnamed", "overloaded", method="BREW"),
        Asker(port, "/v1/chat/7", "healthy"),
    ]


@pytest.mark.parametrize("route", FAULTS)
def test_fault(stack, service, route):
    """Each fault is one series of `stream_ended_total`, with the contract's labels and no other, counted exactly."""
    assert_ended(stack, service, route, {FAULTS[route].labels(service, route): TIMES})


def test_no_route_and_odd_method(stack, service):
    """Where the proxy names no route there is no such label; a method outside the closed set is `_OTHER`."""
    assert_ended(stack, service, "", {labels(LOUD, METHOD=semconv.OTHER, STATUS_CODE=503): 1})


def test_route_of_the_page(stack, service):
    """The lines that the page gives name the route as it says."""
    assert_ended(stack, service, DOCUMENTED, {labels(OK, DOCUMENTED): 1})


def test_nothing_else_counts(stack, service):
    """Pages, requests that their clients did not finish, and errors where no stream was due, count nothing."""
    stack.wait_until(lambda: ended(stack, service, http_route="/unread"), "the last of all")
    routes = {dict(series).get(semconv.ROUTE.label, "") for series in ended(stack, service)}
    assert routes == {"", READY, DOCUMENTED, *FAULTS}


@pytest.mark.parametrize("route", FAULTS)
def test_first_is_an_increase(stack, service, route):
    """Each reason is visible to `increase` from its first stream on: there is a zero before it."""
    query = f'sum(increase(stream_ended_total{{service_name="{service}", http_route="{route}"}}[5m]))'
    stack.wait_until(lambda: (stack.prometheus.value(query) or 0) >= 1, query)


@pytest.mark.parametrize("route", CUT)
def test_age_of_the_cut(stack, service, route):
    """`stream.interrupted.duration` has every end after the headers; a time limit of the proxy shows as their age."""
    known = dict(FAULTS[route].labels(service, route))
    selector = ", ".join(f'{name.label}="{known[name.label]}"' for name in semconv.INTERRUPTED_DURATION.labels)

    def at_most(bound):
        name = f"{semconv.INTERRUPTED_DURATION.prometheus}_bucket"
        return stack.prometheus.value(
            f'max_over_time({name}{{service_name="{service}", {selector}, le="{bound}"}}[1h])'
        )

    stack.wait_until(lambda: at_most("+Inf") == TIMES, f"the ages of {route}")
    if known[semconv.REASON.label].endswith("_timeout"):
        assert at_most("1") == 0


def test_what_completes_is_not_cut(stack, service):
    """What completed, and what never began, has no such age."""
    query = f'stream_interrupted_duration_seconds_count{{service_name="{service}"}}'
    found = stack.wait_until(lambda: stack.prometheus.query(query), query)
    assert {sample.labels[semconv.ROUTE.label] for sample in found} <= set(CUT)
