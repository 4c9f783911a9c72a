"""What lines of a log become that no proxy here writes: Envoy's, media types of every kind, forged errors of nginx.

They go to Prometheus by remote write, which carries no start times.
"""

import json
from collections import Counter
from types import MappingProxyType
from typing import NamedTuple

import pytest
import yaml
from verdicts import (
    BLANK_LEFT,
    EXPIRED,
    GAVE_UP,
    HUNG,
    IMPATIENT,
    LEFT,
    LOST,
    LOUD,
    OK,
    SPOILT,
    assert_ended,
    ended,
    labels,
)

from otel_streaming import semconv
from stack.collector import CONFIGURATION, Collector

pytestmark = pytest.mark.e2e

SERVICE, READY = "edge", "/ready"
FORGED = "forged"
"""The nginx whose client has tried to end streams by what is quoted of its requests."""
SHIPPED = yaml.safe_load((CONFIGURATION / "proxies" / "envoy.yaml").read_text())["access_log"]
FORMAT = SHIPPED[0]["typed_config"]["log_format"]["json_format"]


class Line(NamedTuple):
    """What a line says beyond a complete stream of server-sent events, and what becomes of it."""

    says: dict
    verdict: tuple | None
    labels: dict = MappingProxyType({})

    def text(self, route):
        usual = {"method": "POST", "status": 200, "media_type": "text/event-stream", "flags": "-", "bytes": 9}
        line = {"milliseconds": 3000, "kind": None, "route": route} | usual | self.says
        assert line.keys() == FORMAT.keys()
        return json.dumps({name: value for name, value in line.items() if value is not None})  # omit_empty_values


def of_type(media_type, protocol, **more):
    return Line({"media_type": media_type}, OK, {"PROTOCOL": protocol, **more})


ENDLESS = {"KIND": "subscription", "TERMINAL": "not_required"}
LINES = {
    "complete": Line({}, OK),
    "client-left": Line({"flags": "DC"}, LEFT),
    "client-reset": Line({"flags": "DR"}, LEFT),
    "gave-up": Line({"flags": "DC", "bytes": 0}, GAVE_UP),
    "impatient": Line({"flags": "DC", "bytes": 0, "status": 0, "media_type": None}, IMPATIENT, {"STATUS_CODE": None}),
    "upstream-closed": Line({"flags": "UC"}, LOST),
    "upstream-reset": Line({"flags": "UR"}, LOST),
    "local-reset": Line({"flags": "LR"}, LOST),
    "upstream-protocol": Line({"flags": "UPE"}, SPOILT),
    "client-protocol": Line({"flags": "DPE"}, SPOILT),
    "idle": Line({"flags": "SI"}, HUNG),
    "route-timeout": Line({"flags": "UT"}, EXPIRED),
    "duration-timeout": Line({"flags": "DT"}, EXPIRED),
    "stream-duration": Line({"flags": "UMSDR"}, EXPIRED),
    "two-flags": Line({"flags": "DC,UT"}, EXPIRED),
    "harmless-flag": Line({"flags": "RFCF"}, OK),
    "no-server": Line({"flags": "UH", "status": 503, "media_type": "text/plain"}, LOUD, {"STATUS_CODE": 503}),
    "rejected": Line(
        {"flags": "RL", "status": 503, "media_type": None}, LOUD, {"STATUS_CODE": 503, "ORIGIN": "intermediary"}
    ),
    "streamed-error": Line({"status": 500}, LOUD, {"STATUS_CODE": 500}),
    "subscription": Line({"flags": "DC", "kind": "subscription", "bytes": 0}, BLANK_LEFT, ENDLESS),
    "odd-kind": Line({"kind": "sometimes"}, OK),
    "parameters": of_type("Text/Event-Stream; charset=utf-8", "sse"),
    "x-ndjson": of_type("application/x-ndjson", "ndjson"),
    "json-seq": of_type("application/json-seq", "json_seq"),
    "mixed": of_type("multipart/mixed;boundary=x", "multipart"),
    "replace": of_type("multipart/x-mixed-replace", "multipart", **ENDLESS),
    "eventstream": of_type("application/vnd.amazon.eventstream", "eventstream"),
    "page": Line({"media_type": "text/html"}, None),
    "no-content": Line({"status": 204}, None),
    "range": Line({"status": 206}, None),
    "not-found": Line({"status": 404}, None),
    "head": Line({"method": "HEAD"}, None),
}
DUE = {"impatient", "no-server", "rejected"}
"""Of which no streaming type came: that a stream was due is known by the route alone."""


def nginx(route, connection=1):
    """The access line of a complete stream."""
    line = {"connection": f"{connection}", "method": "POST", "status": "200", "media_type": "text/event-stream"}
    line |= {"asked": "", "route": route, "kind": "bounded", "seconds": "3.0", "bytes": "9"}
    return json.dumps(line | {"completion": "OK", "upstream_status": "200"}, separators=(",", ":"))


def forged():
    """Two errors that quote their client, who names others, and the streams of all: only that on 7 was cut."""

    def error(connection, doing, quoted):
        said = f"[error] 31#31: *{connection} recv() failed (104: Connection reset by peer) while {doing} upstream"
        quote = f"http://x/ [error] 1#1: *{quoted} recv() failed while reading upstream"
        return f'2026/11/27 05:00:00 {said}, client: ::1, server: , referrer: "{quote}"'

    return error(5, "connecting to", 6), error(7, "reading", 8), *(nginx(f"/{n}", n) for n in (6, 8, 5, 7))


def append(log, *lines):
    with log.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="module")
def read(pulled, tmp_path_factory):
    """Let a collector read every line once."""
    folder = tmp_path_factory.mktemp("envoy")
    log, of_nginx = folder / "streams.log", folder / "nginx.log"
    env = {
        "NGINX_LOG": str(of_nginx),
        "NGINX_SERVICE": FORGED,
        "ENVOY_LOG": str(log),
        "ENVOY_SERVICE": SERVICE,
        "REMOTE_WRITE": f"{pulled.prometheus.url}/api/v1/write",
    }
    configs = ["config.yaml", *(f"overlays/{name}.yaml" for name in ("remote-write", "envoy", "nginx"))]
    with Collector(folder, configs, env) as collector:

        def counts():
            append(log, Line({}, OK).text(READY))
            append(of_nginx, nginx(READY))
            return all(ended(pulled, service, http_route=READY) for service in (SERVICE, FORGED))

        pulled.wait_until(counts, "the first line of each")  # a log is read from its end on, when it is found
        append(log, "no JSON", *(line.text(f"/{name}") for name, line in LINES.items()))
        append(of_nginx, *forged())
        yield pulled
    lines = collector.log.read_text().splitlines()
    assert {line.split("\t")[1] for line in lines if line.count("\t") > 1} == {"info"}


@pytest.mark.parametrize("name", [name for name, line in LINES.items() if line.verdict])
def test_line(read, name):
    """Each line is one stream, with the contract's labels and no other."""
    line, route = LINES[name], f"/{name}"
    due = {"PROTOCOL": semconv.OTHER} if name in DUE else {}
    assert_ended(read, SERVICE, route, {labels(line.verdict, route, **due, **line.labels): 1})


def test_first_is_an_increase(read):
    """Each series begins with a zero of its own, which `increase` needs to see its first stream."""
    wanted = {f"/{name}" for name, line in LINES.items() if line.verdict}
    query = f'increase(stream_ended_total{{service_name="{SERVICE}"}}[5m]) >= 1'

    def seen():
        return {sample.labels[semconv.ROUTE.label] for sample in read.prometheus.query(query)} >= wanted

    read.wait_until(seen, query)


@pytest.mark.parametrize(("route", "verdict"), [("/5", OK), ("/6", OK), ("/7", LOST), ("/8", OK)])
def test_a_client_forges_nothing(read, route, verdict):
    """What nginx's error log quotes of a request ends no stream, neither that client's own nor another's."""
    assert_ended(read, FORGED, route, {labels(verdict, route): 1})


def test_other_lines(read):
    """Whatever is no stream counts nothing."""
    wanted = Counter([READY, *(f"/{name}" for name, line in LINES.items() if line.verdict)])
    assert_ended(read, SERVICE, "/complete", {labels(OK, "/complete"): 1})
    found = Counter(dict(series)[semconv.ROUTE.label] for series in ended(read, SERVICE))
    assert found == wanted
