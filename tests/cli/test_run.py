"""`run` and `watch` where no terminal is: what is started, what is passed on, what is printed, what went wrong."""

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from otel_streaming import semconv as sc
from otel_streaming.cli.live import forward
from otel_streaming.cli.live.child import environment
from otel_streaming.cli.receiver import Export, Receiver
from stack import Process, free_ports, wait_until

SCRIPT = Path(sys.executable).parent / "otel-streaming"
SERVICES = Path(__file__).parents[1] / "e2e" / "services"


@pytest.fixture
def start(tmp_path):
    """Start ``otel-streaming`` with its output in files; gives the process."""
    with contextlib.ExitStack() as stack:

        def run(*arguments, env=None):
            line = f"exec {shlex.join(map(str, (SCRIPT, *arguments)))} >{tmp_path / 'out'}"
            env = {"OTEL_PYTHON_STREAMING_STATE_DIR": "off", "PYTHONPATH": str(SERVICES), **(env or {})}
            process = stack.enter_context(Process("cli", ["sh", "-c", line], tmp_path / "err", env, tmp_path))
            process.out = (tmp_path / "out").read_text
            process.err = (tmp_path / "err").read_text
            return process

        yield run


def ask(port, path):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def refused(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) != 0


def ready(process, port):
    process.wait_until(lambda: ask(port, "/plain"), "the service", 120)


@pytest.mark.e2e
def test_lines(start, port):
    """Where no terminal is, a stream is a line among the service's own; all is passed on, signals and status too."""
    streams, exports = [], []
    with Receiver(on_stream=streams.append, on_export=exports.append) as other:
        process = start("run", "--forward", other.endpoint, "--", "uvicorn", "chat:app", "--port", port)
        ready(process, port)
        ask(port, "/v1/whole")
        ask(port, "/v1/unfinished")
        process.wait_until(lambda: "no end marker" in process.out(), "the lines")
        process.signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM  # uvicorn's own way
    fine, cut = (line.partition(" ")[2] for line in process.out().splitlines() if "v1/{ending}; first" in line)
    name = f"{Path(process.log).parent.name} /v1/{{ending}}"  # the folder's, of the service
    assert fine.startswith(f"fine: complete; {name}; first chunk ")
    assert cut.startswith(f"silent failure: cut short: no end marker; {name}; first chunk ")
    assert "what your 5xx count says: 0; what users saw: 1 of 2 streams failed" in process.out()
    assert '"GET /plain HTTP/1.1" 200' in process.out()
    assert "Finished server process" in process.err()
    assert [stream.text(sc.REASON) for stream in streams] == ["completed", "missing_terminal"]
    assert {export.path for export in exports} == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    assert "not passed on" not in process.err()


@pytest.mark.e2e
def test_json_of_several_workers(start, port):
    """Of a service with workers of its own every stream that is asked for is a line of JSON, and nothing else is."""
    options = ("--json", "--result", "silent", "--route", "/v1/*")
    process = start("run", *options, "uvicorn", "chat:app", "--port", port, "--workers", 2)
    ready(process, port)
    paths = [f"/v1/unfinished?chunks={n}&pause=0.1" for n in range(1, 9)]
    threads = [threading.Thread(target=ask, args=(port, path)) for path in (*paths, "/v1/whole", "/cut/2", "/cut/4")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    told = [json.loads(line) for line in process.out().splitlines()]
    assert sorted(one[sc.CHUNK_COUNT] for one in told) == list(range(1, 9))
    assert {(one[sc.RESULT], one[sc.REASON], one[sc.ROUTE]) for one in told} == {
        ("silent", "missing_terminal", "/v1/{ending}")
    }
    assert "what users saw: 8 of 9 streams failed" in process.err()
    assert '"GET /plain HTTP/1.1" 200' in process.err()


@pytest.mark.e2e
def test_forward_to_nobody(start, port):
    """What cannot be passed on is told once, with what may be wrong, and counted at the end; nothing waits for it."""
    (dead,) = free_ports(1)
    process = start(
        "run", "--forward", f"http://me:secret@127.0.0.1:{dead}", "--", "uvicorn", "chat:app", "--port", port
    )
    ready(process, port)
    ask(port, "/v1/unfinished")
    process.wait_until(lambda: "not passed on to" in process.err(), "the notice")
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    assert "no end marker" in process.out()
    assert process.err().count(f"not passed on to http://127.0.0.1:{dead}: ") == 1
    assert "Does it speak OTLP over HTTP" in process.err()
    assert "requests were not passed on" in process.err()
    assert "secret" not in process.err()


def test_forward_to_who_never_answers(monkeypatch):
    """What still waits at the end is counted as well."""
    monkeypatch.setattr(forward, "_LAST", 0.2)
    said = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = httpx.URL(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with forward.Forwarder(url, {}, said.append) as forwarder:
            for _ in range(3):
                forwarder.put(Export("/v1/traces", {}, b"x"))
            silent.accept()[0].close()
            connection, _ = silent.accept()
        connection.close()
    assert forwarder.lost == 3
    assert len(said) == 1


def test_forward_that_cannot_begin(monkeypatch, tmp_path):
    """Whatever the environment makes of the HTTP client, all that comes is counted, and it is told once."""
    said = []
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with forward.Forwarder(httpx.URL("http://127.0.0.1:9"), {}, said.append) as forwarder:
        for _ in range(3):
            forwarder.put(Export("/v1/traces", {}, b"x"))
    assert forwarder.lost == 3
    assert len(said) == 1


def test_the_third_interrupt_kills(start):
    """A command that does not end when it is asked to is asked once more, and killed the third time."""
    process = start("run", "--", "sh", "-c", "trap 'echo asked' INT; echo here; while :; do sleep 0.05; done")
    process.wait_until(lambda: "here" in process.out(), "the command")
    for times, notice in enumerate(("Ctrl-C asks again", "Ctrl-C once more kills it"), 1):
        process.signal(signal.SIGINT)
        process.wait_until(lambda notice=notice: notice in process.err(), "the notice")
        process.wait_until(lambda times=times: process.out().count("asked") == times, "the signal")
        assert process.returncode is None
    process.signal(signal.SIGINT)
    assert process.wait() == 128 + signal.SIGKILL


@pytest.mark.e2e
def test_a_reader_of_the_log_that_leaves(tmp_path, port):
    """Ctrl-C ends `tee` as well: the service still has its time, and what is open is told of when asked twice."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    env |= {"OTEL_PYTHON_STREAMING_STATE_DIR": "off", "PYTHONPATH": str(SERVICES), "PYTHONUNBUFFERED": "1"}
    streams = []
    with Receiver(on_stream=streams.append) as other, contextlib.ExitStack() as stack:
        command = [SCRIPT, "run", "--forward", other.endpoint, "--", "uvicorn", "chat:app", "--port", str(port)]
        read, write = os.pipe()
        process = subprocess.Popen(command, stdout=write, stderr=write, env=env)
        os.close(write)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        with open(read, "rb") as log:  # noqa: PTH123 - no path has it
            next(line for line in log if b"Uvicorn running" in line)
            held = stack.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)))
            held.request("GET", "/v1/whole?pause=60")
            held.getresponse().read(10)
        process.send_signal(signal.SIGINT)
        wait_until(lambda: refused(port), "the service to close its port")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert [stream.text(sc.REASON) for stream in streams] == ["server_shutdown"]


def test_signals_are_passed_on(start):
    """What is sent to us is meant for the command, and its status is ours."""
    names = ("HUP", "USR1", "USR2", "QUIT", "INT")
    traps = "; ".join(f"trap 'echo got {name}' {name}" for name in names)
    process = start("run", "--", "sh", "-c", f"{traps}; trap 'exit 7' TERM; echo here; while :; do sleep 0.05; done")
    process.wait_until(lambda: "here" in process.out(), "the command")
    for name in names:
        process.signal(signal.Signals[f"SIG{name}"])
        process.wait_until(lambda name=name: f"got {name}\n" in process.out(), "the signal")
    process.signal(signal.SIGTERM)
    assert process.wait() == 7


def test_what_ends_at_once(cli):
    """A command that ends before it has streamed anything is told of, with what may be the matter."""
    done = cli("run", "--", "sh", "-c", "echo its own; exit 3")
    assert done.returncode == 3
    assert "its own" in done.stdout
    assert "the command ended with status 3" in done.stderr
    assert f"otel-streaming[otlp] is installed in, {sys.prefix};" in done.stderr


@pytest.mark.parametrize(("closed", "options"), [(">&-", ()), ("2>&-", ("--json",))])
def test_what_has_no_output(closed, options):
    """Without standard output the command runs all the same; without standard error nothing else gets what is said."""
    line = f"exec {shlex.join([str(SCRIPT), 'run', *options, '--', 'sh', '-c', 'exit 5'])} {closed}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_the_environment_of_the_command(cli):
    """What is set for a service's telemetry gives way, its name and its settings do not; we say what goes nowhere."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:secret@collector:4317",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4317",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_SDK_DISABLED": "true",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=chat",
        "OTEL_PYTHON_STREAMING_SPANS": "bad",
        "NO_PROXY": "internal",
    }
    done = cli("run", "--", "env", env=env)
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"].startswith("http://127.0.0.1:")
    assert told["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/protobuf"
    assert {name for name in told if name.startswith("OTEL_EXPORTER")} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    }
    assert (told["OTEL_TRACES_EXPORTER"], told["OTEL_SDK_DISABLED"]) == ("otlp", "false")
    assert (told["OTEL_RESOURCE_ATTRIBUTES"], told.get("OTEL_SERVICE_NAME")) == ("service.name=chat", None)
    assert told["OTEL_PYTHON_STREAMING_SPANS"] == "bad"
    assert told["NO_PROXY"] == "internal,127.0.0.1"
    assert '--forward "$OTEL_EXPORTER_OTLP_ENDPOINT" passes it on there, if OTLP over HTTP' in done.stderr
    assert "secret" not in done.stderr


def test_a_service_is_called_as_its_folder():
    """Where nobody has named the service, its folder does."""
    for unnamed in ({}, {"OTEL_SERVICE_NAME": ""}):
        assert environment(unnamed, "http://x")["OTEL_SERVICE_NAME"] == Path.cwd().name
    assert environment({"OTEL_SERVICE_NAME": "mine"}, "http://x")["OTEL_SERVICE_NAME"] == "mine"


ERRORS = {
    "nothing": (["run"], 2, "otel-streaming run -- uvicorn app:app"),
    "no such command": (["run", "--", "nosuchcommand"], 127, "-m pip install nosuchcommand), or give its path"),
    "a variable": (["run", "--", "A=1", "true"], 127, "A=1: no such command in"),
    "no such file": (["run", "--", "none.py"], 127, "give the path of one that is there"),
    "a file": (["run", "--", "./app.py"], 126, "otel-streaming run -- python ./app.py"),
    "no program": (["run", "--", "./notes.txt"], 126, "chmod +x"),
    "no format": (["run", "--", "./broken"], 126, "cannot be executed: Exec format error"),
    "no URL": (["run", "--forward", "collector:4318", "--", "true"], 1, "--forward takes http://HOST:4318"),
    "a bad URL": (["watch", "--forward", "http://[::1"], 1, "it takes http://HOST:4318"),
    "no host": (["watch", "--forward", "http://"], 1, "--forward takes http://HOST:4318"),
    "no result": (["watch", "--result", "fine"], 2, "'silent'"),
    "no port": (["watch", "--port", "http"], 2, "--port"),
    "a large port": (["watch", "--port", "70000"], 2, "--port"),
    "an option": (["watch", "--rout", "/x"], 2, "--route"),
}


@pytest.mark.parametrize(("arguments", "status", "said"), ERRORS.values(), ids=ERRORS)
def test_errors(cli, tmp_path, arguments, status, said):
    """What somebody may do wrong is answered with what to do, without a traceback."""
    (tmp_path / "app.py").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "broken").write_text("no program")
    (tmp_path / "broken").chmod(0o755)
    done = cli(*arguments)
    assert done.returncode == status
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_ports_that_are_taken(cli):
    """A port that another has, and forwarding to oneself, are refused with what to do."""
    with Receiver() as other:
        taken = other.endpoint.rpartition(":")[2]
        done = cli("watch", "--port", taken)
        assert (done.returncode, f"port {taken}" in done.stderr) == (1, True)
        assert "take another with --port" in done.stderr
    done = cli("watch", "--port", taken, "--forward", f"http://localhost:{taken}")
    assert (done.returncode, "name another endpoint" in done.stderr) == (1, True)


@pytest.mark.e2e
def test_watch(start, port):
    """A service that is started by somebody else is watched as well, for as long as one likes."""
    (otlp,) = free_ports(1)
    watch = start("watch", "--port", otlp)
    watch.wait_until(lambda: f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{otlp} " in watch.err(), "its advice")
    advice = dict(word.split("=") for word in watch.err().split() if word.startswith("OTEL_"))
    command = [SCRIPT.with_name("opentelemetry-instrument"), SCRIPT.with_name("uvicorn"), "chat:app", "--port", port]
    env = {**advice, "OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_PYTHON_STREAMING_STATE_DIR": "off"}
    with Process("service", command, Path(watch.log).with_name("service"), env, SERVICES) as service:
        ready(service, port)
        ask(port, "/v1/unfinished")
        watch.wait_until(lambda: "no end marker" in watch.out(), "the line")
    watch.signal(signal.SIGINT)
    assert watch.wait() == 0
    assert "what users saw: 1 of 1 streams failed" in watch.out()


def test_a_reader_that_leaves(cli, tmp_path):
    """When whoever reads the lines has enough, watch ends, and says nothing of it."""
    (otlp,) = free_ports(1)
    span = {"attributes": [{"key": sc.RESULT, "value": {"stringValue": "ok"}}]}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": sc.SCOPE}, "spans": [span]}]}]})
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = f"{shlex.quote(str(SCRIPT))} watch --json --port {otlp} 2>{tmp_path / 'err'} | head -n 1"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True, env=env) as both:

        def sent():
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", otlp, timeout=60)) as connection:
                connection.request("POST", "/v1/traces", body, {"content-type": "application/json"})
                return connection.getresponse().read() == b"{}"

        wait_until(sent, "the receiver")

        def gone():
            with contextlib.suppress(OSError):
                sent()
            return both.poll() is not None

        wait_until(gone, "the end")
        assert json.loads(both.stdout.read())[sc.RESULT] == "ok"
    assert "Error" not in (tmp_path / "err").read_text()
