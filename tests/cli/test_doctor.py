"""``otel-streaming doctor``: each misconfiguration is planted for real, found, and nothing else with it."""

import http.server
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from certificates import certificate

from otel_streaming.cli.doctor.came_back import ask
from otel_streaming.cli.doctor.checks import CHECKS
from otel_streaming.cli.doctor.reach import reach, shown
from stack import Collector

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent
UNASKED = {"derived metric": "not determined", "ledger": "not determined"}
"""Without --prometheus."""
FINDINGS = list(CHECKS)


@pytest.fixture
def doctor(cli, stack):
    """Run ``doctor`` in a sound environment but for what is given; returns findings by check, ok ones left out."""

    def run(*arguments, code=None, env=None, without=()):
        sound = {**stack.service_env("doctored"), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **(env or {})}
        done = cli("doctor", "--json", *arguments, env={k: v for k, v in sound.items() if k not in without})
        rows = {row["check"]: row for row in json.loads(done.stdout)}
        assert list(rows) == FINDINGS, done.stderr
        found = {name: row for name, row in rows.items() if row["verdict"] != "ok"}
        assert all(row["fix"] for row in found.values() if row["verdict"] in {"warn", "fail"})
        assert done.returncode == any(row["verdict"] == "fail" for row in found.values())
        return found

    return run


def verdicts(found):
    return {name: row["verdict"] for name, row in found.items()}


def test_a_sound_service_comes_back(doctor, stack):
    """Nothing is wrong: the probe stream is exported, derived and counted; no service's name gets it.

    The next look waits for its own stream: where nothing is sent, what the first has left is not taken for it.
    """
    assert doctor("--prometheus", stack.prometheus.url, "--wait", "60") == {}
    assert stack.prometheus.label_values("service_name", 'stream_ended_total{http_route="otel-streaming doctor"}') == [
        "otel-streaming-doctor"
    ]
    found = doctor("--prometheus", stack.prometheus.url, "--wait", "1", env={"OTEL_SDK_DISABLED": "true"})
    assert "OTEL_SDK_DISABLED=true" in found["SDK"]["seen"]
    expected = {"SDK": "fail", "probe exported": "not determined", "derived metric": "not determined", "ledger": "fail"}
    assert verdicts(found) == expected


def opened(own):
    own.mkdir(parents=True)
    own.chmod(0o755)


def linked(own):
    own.parent.mkdir(parents=True)
    own.symlink_to(own.parent)


def anothers(own):
    own.mkdir(parents=True, mode=0o700)
    os.chown(own, 12345, 12345) if os.geteuid() == 0 else own.chmod(0o770)


PLANTED = {
    "nothing of it is an error": (
        {
            "OTEL_METRICS_EXPORTER": ("none", "metrics exporter", "warn", "no ledger"),
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ("otel_streaming_httpx", "plugin", "warn", "otel_streaming_httpx"),
            "OTEL_BSP_MAX_QUEUE_SIZE": ("512", "span queue", "warn", "512 spans"),
            "OTEL_TRACES_SAMPLER": ("always_off", "sampler", "ok", "made whatever it decides"),
            "OTEL_SERVICE_NAME": ("", "service name", "warn", "no name"),
        },
        None,
        {"collector, metrics"},
    ),
    "misspelt": (
        {
            "OTEL_PYTHON_STREAMING_STALL_THRESHOLD": ("soon", "settings", "fail", "seconds above 0"),
            "OTEL_PYTHON_STREAMING_STALL_TRESHOLD": ("5", "settings", "fail", "STALL_TRESHOLD is no setting"),
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ("127.0.0.1:4318", "collector, traces", "fail", "no URL"),
            "OTEL_BSP_MAX_QUEUE_SIZE": ("many", "span queue", "fail", "no number"),
        },
        opened,
        {"probe exported"},
    ),
    "switched off": (
        {
            "OTEL_TRACES_EXPORTER": ("none", "traces exporter", "fail", "the exporter of traces is none"),
            "OTEL_PYTHON_STREAMING_SPANS": ("off", "spans", "warn", "no stream gets a span"),
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ("otel_streaming_asgi", "plugin", "fail", "otel_streaming_asgi"),
        },
        linked,
        {"collector, traces", "probe exported", "server", "framework"},
    ),
    "to the console": (
        {
            "OTEL_TRACES_EXPORTER": ("console", "traces exporter", "fail", "the exporter of traces is console"),
            "OTEL_PYTHON_STREAMING_SPANS": ("sampled", "sampler", "warn", "the default one decides"),
        },
        anothers,
        {"collector, traces", "probe exported", "spans"},
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_planted(doctor, tmp_path, planted):
    """Each is named by the check that it concerns, with words of its own, and no other check complains."""
    plants, spoil, besides = PLANTED[planted]
    environ = {variable: text for variable, (text, *_) in plants.items()}
    if spoil is not None:
        environ["OTEL_PYTHON_STREAMING_STATE_DIR"] = str(tmp_path / "state")
        spoil(tmp_path / "state" / f"otel-streaming-{os.geteuid()}")
        besides = {*besides, "crash recorder"}
    found = doctor(env=environ)
    for check, verdict, words in (expected for _, *expected in plants.values()):
        assert found.get(check, {"verdict": "ok"})["verdict"] == verdict
        assert verdict == "ok" or words in found[check]["seen"] + found[check]["fix"]
    named = {check for _, check, verdict, _ in plants.values() if verdict != "ok"}
    assert set(found) == named | besides | set(UNASKED)
    assert spoil is None or found["crash recorder"]["verdict"] == "fail"


def test_nobody_listens(doctor, stack):
    """A wrong endpoint: both signals say where they go and that nobody is there; the probe is not blamed."""
    found = doctor(
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    )
    expected = {"collector, traces": "fail", "collector, metrics": "fail", "probe exported": "not determined"}
    assert verdicts(found) == expected | UNASKED
    assert "http://127.0.0.1:9/v1/traces: it cannot be reached" in found["collector, traces"]["seen"]
    assert "secret" not in json.dumps(found)


def test_the_port_of_the_other_protocol(doctor, stack):
    """OTLP over HTTP sent to the port for gRPC, and the other way round: the real collector's two ports."""
    grpc = f"http://{stack.otlp_grpc}"
    found = doctor(env={"OTEL_EXPORTER_OTLP_ENDPOINT": grpc, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
    assert "does not speak HTTP/1.1" in found["collector, traces"]["seen"]
    over_grpc = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert reach({**over_grpc, "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_grpc}, "traces") is None
    over_grpc["OTEL_EXPORTER_OTLP_ENDPOINT"] = stack.otlp_endpoint
    assert "does not speak HTTP/2" in reach(over_grpc, "traces")[0]
    assert reach({**over_grpc, "OTEL_TRACES_EXPORTER": "otlp_proto_http"}, "traces") is None
    with_tls = {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_endpoint.replace("http:", "https:")}
    assert "speaks no TLS" in reach(with_tls, "traces")[1]


def test_a_collector_that_asks_who_one_is(tmp_path):
    """TLS by an authority of its own, a client's certificate, a token: what is missing is named in turn."""
    certificate(tmp_path)
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    tls = {"cert_file": cert, "key_file": key, "client_ca_file": cert}
    listening = {
        "http": {"endpoint": "${env:COLLECTOR_OTLP_HTTP}", "tls": tls, "auth": {"authenticator": "bearertokenauth"}},
        "grpc": {"endpoint": "${env:COLLECTOR_OTLP_GRPC}", "tls": tls},
    }
    config = {
        "extensions": {
            "health_check": {"endpoint": "${env:COLLECTOR_HEALTH}"},
            "bearertokenauth": {"token": "right", "header": "x-api-key", "scheme": ""},
        },
        "receivers": {"otlp": {"protocols": listening}},
        "exporters": {"debug": {}},
        "service": {
            "extensions": ["health_check", "bearertokenauth"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}},
        },
    }
    (tmp_path / "strict.yaml").write_text(yaml.safe_dump(config))
    with Collector(tmp_path, [tmp_path / "strict.yaml"], {}, "strict") as collector:
        address = collector.otlp_endpoint.removeprefix("http://")
        otlp = "OTEL_EXPORTER_OTLP_"
        assert "try https://" in reach({f"{otlp}ENDPOINT": f"http://{address}"}, "traces")[1]
        environ = {f"{otlp}ENDPOINT": f"https://{address}"}
        given = {"CERTIFICATE": cert, "CLIENT_CERTIFICATE": cert, "HEADERS": "x-api-key=right"}
        for name, value in given.items():
            assert f"{otlp}{name}" in reach(environ, "traces")[1]
            environ[f"{otlp}{name}"] = value
            environ[f"{otlp}CLIENT_KEY"] = key
        assert reach(environ, "traces") is None
        over_grpc = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://{collector.otlp_grpc}",
        }
        assert reach({**environ, **over_grpc}, "traces") is None
        plain = {**environ, **over_grpc, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_grpc}
        assert "https://" in reach(plain, "traces")[1]


def test_a_certificate_that_is_none(tmp_path, monkeypatch):
    """A file that is not there, or holds none, is not taken for a collector that is not there."""
    (tmp_path / "text.pem").write_text("none")
    for name, setting in (("none.pem", "CERTIFICATE"), ("text.pem", "CLIENT_CERTIFICATE")):
        seen, fix = reach({f"OTEL_EXPORTER_OTLP_{setting}": str(tmp_path / name)}, "traces")
        assert "a certificate or key that is set cannot be used" in seen
        assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in fix
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert "SSL_CERT_FILE" in ask("http://127.0.0.1:9")[1]
    seen, fix = reach({}, "traces")
    assert "a certificate or key that is set cannot be used" in seen
    assert "SSL_CERT_FILE" in fix


def test_a_proxy_whose_protocol_wants_a_package(monkeypatch):
    """What the HTTP client lacks is a finding, not the end of the doctor."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    seen, fix = reach({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "traces")
    assert "socksio" in seen
    assert "NO_PROXY" in fix
    assert "socksio" in ask("http://127.0.0.1:9")[1]


def test_a_path_too_many(doctor, stack):
    """A base URL with the path that the SDK adds: 404, with what to do."""
    found = doctor(env={"OTEL_EXPORTER_OTLP_ENDPOINT": f"{stack.otlp_endpoint}/v1/traces"})
    assert "/v1/traces/v1/traces: it knows no such path (404)" in found["collector, traces"]["seen"]


def test_a_collector_that_does_not_derive(doctor, stack, tmp_path):
    """A plain collector takes everything and derives nothing: only what comes back tells."""
    plain = tmp_path / "plain.yaml"
    plain.write_text(
        """
        extensions: {health_check: {endpoint: "${env:COLLECTOR_HEALTH}"}}
        receivers: {otlp: {protocols: {http: {endpoint: "${env:COLLECTOR_OTLP_HTTP}"}}}}
        exporters: {debug: {}}
        service:
          extensions: [health_check]
          telemetry: {metrics: {level: none}}
          pipelines:
            traces: {receivers: [otlp], exporters: [debug]}
            metrics: {receivers: [otlp], exporters: [debug]}
            logs: {receivers: [otlp], exporters: [debug]}
        """
    )
    with Collector(tmp_path, [plain], {}, "plain") as collector:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_endpoint}
        found = doctor("--prometheus", stack.prometheus.url, "--wait", "3", env=endpoint)
    assert verdicts(found) == {"derived metric": "fail", "ledger": "fail"}
    assert "otel-streaming export collector" in found["derived metric"]["fix"]


def test_a_protocol_whose_exporter_is_not_installed(doctor):
    """Without OTEL_EXPORTER_OTLP_PROTOCOL the SDK wants gRPC, and without that exporter nothing is set up at all."""
    found = doctor(without=["OTEL_EXPORTER_OTLP_PROTOCOL"])
    assert "'otlp_proto_grpc' not found" in found["plugin"]["seen"]
    assert "http/protobuf" in found["plugin"]["fix"]
    assert verdicts(found)["SDK"] == "fail"


def test_a_command_that_nothing_instruments(doctor):
    """The command as it is given decides: without opentelemetry-instrument nothing is loaded, with it all is."""
    found = doctor("uvicorn", "app:app", "--port", 8000)
    assert "begin its command with opentelemetry-instrument" in found["plugin"]["fix"]
    for module in ("uvicorn", "own.service"):  # what that one starts is not known
        command = ("env", "X=1", "opentelemetry-instrument", "python", "-m", module, "a:app")
        assert verdicts(doctor("--", *command)) == UNASKED


def test_servers_that_are_not_hooked(doctor, tmp_path):
    """A program that is no server we know; nobody who makes the server span; names that have moved; an old SDK."""
    server = tmp_path / "cheroot"
    server.write_text(f"#!{sys.executable}\n")
    server.chmod(0o755)
    (tmp_path / "fastapi.py").write_text("")  # of a version that makes no spans
    others = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi,django", "PYTHONPATH": str(tmp_path)}
    found = doctor("--", "opentelemetry-instrument", "--traces_exporter", "otlp", server, "app:app", env=others)
    assert verdicts(found) == {"server": "warn", "server span": "warn"} | UNASKED
    assert "cheroot is no server that has hooks" in found["server"]["seen"]
    (tmp_path / "fastapi.py").unlink()
    installed = distribution("opentelemetry-sdk")
    old = tmp_path / "opentelemetry_sdk-1.20.0.dist-info"
    shutil.copytree(installed.locate_file(f"opentelemetry_sdk-{installed.version}.dist-info"), old)
    (old / "METADATA").write_text("Name: opentelemetry-sdk\nVersion: 1.20.0\n")
    (tmp_path / "waitress").mkdir()
    (tmp_path / "waitress/__init__.py").write_text("")
    (tmp_path / "waitress/server.py").write_text("class NewServer: ...\n")
    found = doctor("--prometheus", "http://127.0.0.1:9", env={"PYTHONPATH": str(tmp_path)})
    assert verdicts(found) == {"server": "fail", "versions": "warn", **dict.fromkeys(UNASKED, "fail")}
    assert "opentelemetry-sdk 1.20.0: not made for each other" in found["versions"]["seen"]
    assert "waitress.server: of a version" in found["server"]["seen"]
    assert "--prometheus http" in found["ledger"]["fix"], "nor is that the address of a Prometheus"


def test_another_python(cli, tmp_path):
    """The service's Python has not got the plugin: said so, with where to install it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True, timeout=60)
    refused = cli("doctor", "--", tmp_path / "other/bin/python", "app.py")
    assert refused.returncode == 2
    assert "No module named 'otel_streaming'" in refused.stderr
    assert "pip install otel-streaming where the service runs" in refused.stderr
    for command, said in {"no-such-server": "no such program", "sh": "give the command that it starts"}.items():
        refused = cli("doctor", "--", command, "-c", "uvicorn a:a")
        assert (refused.returncode, said in refused.stderr) == (2, True)
    refused = cli("doctor", "--", "opentelemetry-instrument", "python", "app.py", env={"PATH": "/usr/bin:/bin"})
    assert refused.returncode == 2
    assert "opentelemetry-instrument: No such file or directory; give the command" in refused.stderr


NO_RESULT = '{"data": {"result": [{"metric": []}]}}'


@pytest.mark.parametrize(
    ("status", "answer"), [*((200, text) for text in ("[]", '{"data": []}', NO_RESULT, "no JSON", "null")), (404, "")]
)
def test_what_is_no_prometheus(status, answer):
    """Whatever answers at the address that was given for Prometheus, it is a finding, without anybody's password."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer.encode())

    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        values, wrong = ask(f"http://me:secret@127.0.0.1:{server.server_port}")
        server.shutdown()
    assert values == {}
    assert wrong
    assert "secret" not in wrong


@pytest.mark.parametrize("url", ["http://me:sec/ret@127.0.0.1:9", "http://me:sec#ret@127.0.0.1:9"])
def test_an_address_that_is_no_url(url):
    """Where the password makes the address none, nothing of it is repeated: Prometheus's, nor the collector's."""
    assert ask(url) == ({}, "it is no URL")
    assert shown(url) == "http://127.0.0.1:9"
    for protocol in ("grpc", "http/protobuf"):
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        assert reach(environ, "traces")[0] == "it is no URL"


def test_a_folder_without_room(doctor, tmp_path):
    """The recorder's file cannot be had whole; it is not left behind either."""
    (tmp_path / "state").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        found = doctor(env={"OTEL_PYTHON_STREAMING_STATE_DIR": str(tmp_path / "state")})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert verdicts(found) == {"crash recorder": "fail"} | UNASKED
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("where", ["state", "file/state"])
def test_a_folder_is_not_made_for_the_service(doctor, tmp_path, where):
    """One that is not there yet is tried, and is gone afterwards; one that cannot be made is found."""
    (tmp_path / "file").write_text("")
    found = doctor(env={"OTEL_PYTHON_STREAMING_STATE_DIR": str(tmp_path / where)})
    assert verdicts(found) == UNASKED | ({} if where == "state" else {"crash recorder": "fail"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_it_reads_well(cli, stack):
    """On a terminal each finding has its verdict, its check, and below it what to do."""
    env = {**stack.service_env("doctored"), "OTEL_TRACES_EXPORTER": "none"}
    lines = cli("doctor", env=env).stdout.splitlines()
    (at,) = (at for at, line in enumerate(lines) if "the exporter of traces is none" in line)
    assert lines[at].split()[:3] == ["fail", "traces", "exporter"]
    assert lines[at + 1].split()[:2] == ["->", "OTEL_TRACES_EXPORTER=otlp"]
    assert max(map(len, lines)) <= 120


def test_the_page_has_every_check():
    """docs/doctor.md names each check, as the command does."""
    page = (Path(__file__).parents[2] / "docs/doctor.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ")]
    assert [name for name in FINDINGS if not any(name in row for row in rows)] == []
