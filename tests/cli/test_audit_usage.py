"""``otel-streaming audit``: what it refuses and how it says what to do; what it sends, asks first, and never shows."""

import contextlib
import json
import os
import pty
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from audited import Writer
from certificates import certificate
from typer.testing import CliRunner

from otel_streaming.cli.app import app
from otel_streaming.cli.audit.curl import from_curl, from_words
from otel_streaming.cli.options import UsageError
from stack import free_ports

QUICK = ("--receive", "0", "--long", "5")


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        done = CliRunner().invoke(app, list(map(str, words)))
        if not isinstance(done.exception, SystemExit | None):
            raise done.exception
        return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    return run


@pytest.fixture
def writer():
    """A server that streams for a moment, and tells what it was asked."""
    with Writer() as server:
        server.pieces = 4
        yield server


def refused(done):
    """Return what a refused audit says: on standard error, and nothing else."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    return done.stderr


LINES = {
    "options of curl": (("-H", "A: b", "http://127.0.0.1:1/"), "write it after the word curl, as"),
    "two forms": (("--json", "--markdown", "http://127.0.0.1:1/"), "give one of the two"),
    "no words": ((), "give a URL, or a curl command line"),
    "both": (("http://127.0.0.1:1/", "--curl", "curl http://127.0.0.1:1/"), "one of them only"),
    "two URLs": (("http://127.0.0.1:1/", "http://127.0.0.1:1/"), "give one URL"),
    "no scheme": (("127.0.0.1:8000/chat",), "write it with scheme and host, such as http://127.0.0.1:8000/chat"),
    "another scheme": (("ftp://127.0.0.1/chat",), "write it with scheme and host"),
    "a bad port": (("http://127.0.0.1:99999/chat",), "write it with scheme and host"),
    "spaces": (("http://127.0.0.1/a b",), "write it with scheme and host"),
    "no name": (("http://" + "x" * 80 + "/",), "is it spelt right?"),
    "data of a file": (("curl", "-d", "@body.json", "http://127.0.0.1:1/"), "-d with a file is not read here: write"),
    "JSON of a file": (("curl", "--json", "@body.json", "http://127.0.0.1:1/"), "with a file is not read here: write"),
    "headers of a file": (("curl", "-H", "@head", "http://127.0.0.1:1/"), "-H with a file is not read here: write"),
    "cookies of a file": (("curl", "-b", "jar.txt", "http://127.0.0.1:1/"), "-b with a file is not read here: write"),
    "a form": (("curl", "-F", "a=b", "http://127.0.0.1:1/"), "curl's -F is not known here: take it out if"),
    "another option": (("curl", "--proxy=http://x", "http://127.0.0.1:1/"), "curl's --proxy is not known here"),
    "no value": (("curl", "http://127.0.0.1:1/", "-H"), "an option lacks its value"),
    "no URL": (("curl", "-N"), "has 0 URLs: give it one"),
    "a header without a colon": (("curl", "-H", "Accept", "http://127.0.0.1:1/"), "-H wants 'Name: value'"),
    "no method": (("curl", "-X", "GET /", "http://127.0.0.1:1/"), "-X wants a method, such as POST"),
    "an agent of no text": (("curl", "-A", "\udce4", "http://127.0.0.1:1/"), "gives no text for User-Agent"),
    "letters of no method": (("curl", "-X", "G\u00cbT", "http://127.0.0.1:1/"), "-X wants a method, such as POST"),
    "no password": (
        ("curl", "-u", "me", "http://127.0.0.1:1/"),
        "write -u user:password, or user:password@ in the URL",
    ),
    "an open quote": (("--curl", "curl 'http://127.0.0.1:1/"), "or a quote its end"),
    "a shell's quotes": (("--curl", "curl $'http://127.0.0.1:1/'"), "to yours without quotes around it"),
    "quotes of another shell": (("--curl", 'curl ^"http://127.0.0.1:1/^"'), "to yours without quotes around it"),
    "a digit": (("curl", "-4", "http://127.0.0.1:1/"), "curl's -4 is not known here"),
    "a file of options": (("curl", "-K", "secret"), "curl's -K is not known here"),
    "no authorities": (("curl", "--cacert", "none.pem", "https://127.0.0.1:1/"), "names no file of certificates"),
}


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_that_cannot_be_meant(cli, line):
    """Each mistake on the command line is named, with what to do."""
    words, said = LINES[line]
    assert said in refused(cli("audit", "--receive", "0", *words))


ANSWERS = {
    "credentials missing": (401, {"Content-Length": "0"}, "answered 401 in place of a stream: give the credentials"),
    "no such path": (404, {"Content-Length": "0"}, "answered 404 in place of a stream: look at the path"),
    "not so": (422, {"Content-Length": "0"}, "try the same request with curl until it streams"),
    "too many": (429, {"Content-Length": "0"}, "wait until the service accepts more"),
    "broken": (503, {"Content-Length": "0"}, "look into the service's log"),
    "a page": (200, {"Content-Length": "0", "Content-Type": "text/html"}, "no stream: ask for one: often by"),
    "another host": (307, {"Content-Length": "0", "Location": "http://localhost:1/?key=secret"}, "ask there if it is"),
    "another scheme": (307, {"Content-Length": "0", "Location": "ftp://127.0.0.1/"}, "ask there if it is"),
    "a port that is none": (
        307,
        {"Content-Length": "0", "Location": "http://127.0.0.1:99999/"},
        "127.0.0.1:99999, which",
    ),
    "no place": (307, {"Content-Length": "0", "Location": "http://\x1b[31m/"}, "with one that is no HTTP"),
    "round and round": (307, {"Content-Length": "0", "Location": "/stream"}, "redirected 4 times: ask where it leads"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_no_stream(cli, writer, answer):
    """What answers in place of a stream is named, with what to do; nobody is asked who was not named."""
    writer.status, writer.fields, said = ANSWERS[answer]
    told = refused(cli("audit", *QUICK, writer.url))
    assert said in told
    assert "secret" not in told
    assert len(writer.asked) == (4 if answer == "round and round" else 1)


def test_a_redirect_at_the_same_place_is_followed(cli, writer):
    """A redirect to the same origin is followed, and all further requests go there at once."""
    writer.moves = {"/old": "/stream"}
    done = cli("audit", *QUICK, "--json", writer.url.replace("/stream", "/old"))
    assert done.returncode == 0, done.stderr
    assert [path for _, path, *_ in writer.asked] == ["/old", "/stream", "/stream", "/stream"]


def test_tls(cli, tmp_path):
    """A certificate nobody vouches for is refused, with the two ways on; each of them leads to a report."""
    certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with Writer() as server:
        server.pieces = 4
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        url = server.url.replace("http:", "https:")
        told = refused(cli("audit", *QUICK, url))
        assert "is not trusted (self-signed certificate): give its authority by curl's --cacert, or -k" in told
        server.greeting = 0.5  # the time to leave is counted from the request, and not from the handshake
        for option in (["-k"], ["--cacert", tmp_path / "cert.pem"]):
            done = cli("audit", *QUICK, "--json", "--max-requests", 2, "curl", *option, url)
            assert done.returncode == 0, done.stderr
            reads = json.loads(done.stdout)["reads"]
            assert [read["way"] for read in reads] == ["whole", "leave"]
            assert reads[1]["status"] == 200
        assert "without an answer, or with one that is no HTTP: http or https?" in refused(
            cli("audit", *QUICK, server.url)
        )


def test_https_where_there_is_none(cli, writer):
    """A server without TLS is told from one that is not trusted."""
    assert "is it https at all there?" in refused(cli("audit", *QUICK, writer.url.replace("http:", "https:")))


def test_nobody_listens(cli):
    """A refused connection says what to look at."""
    told = refused(cli("audit", *QUICK, f"http://127.0.0.1:{free_ports(1)[0]}/chat"))
    assert "is the service running, and on this port?" in told


def test_no_answer(cli):
    """A server that takes the request and says nothing is given up in time."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        told = refused(cli("audit", "--receive", "0", "--long", "1", f"http://127.0.0.1:{mute.getsockname()[1]}/"))
    assert "no answer within 1 s: is it the right address? allow for more time" in told


def test_no_http(cli):
    """What answers with something that is no HTTP is named so."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet():
            connection, _ = other.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail at your service\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        told = refused(cli("audit", *QUICK, f"http://127.0.0.1:{other.getsockname()[1]}/"))
        thread.join()
    assert "with one that is no HTTP: http or https?" in told


def test_a_port_that_is_taken(cli, writer):
    """A receiver's port that is taken is refused where it was named, and else done without."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = refused(cli("audit", "--receive", taken.getsockname()[1], writer.url))
    assert "cannot be listened on: --receive takes another, 0 for none" in told
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # or somebody else has it
            stack.enter_context(socket.create_server(("127.0.0.1", 4318)))
        done = cli("audit", "--long", "5", writer.url)
    assert done.returncode == 0, done.stderr
    assert "port 4318 is in use, so the service is not listened to: --receive takes another" in done.stderr


SECRETS = (
    "header-secret",
    "cookie-secret",
    "query-secret",
    "bare-secret",
    "user-secret",
    "body-secret",
    "basic-secret",
)


def secret_line(url):
    return [
        *("curl", "-N", "-H", "Authorization: Bearer header-secret", "-b", "session=cookie-secret"),
        *("-H", "X-Session: header-secret", "--json", '{"prompt": "body-secret"}'),
        url.replace("http://", "http://me:user-secret@") + "?key=query-secret&bare-secret",
    ]


@pytest.mark.parametrize("form", ["--json", "--markdown", None])
def test_reports_hold_no_secret(cli, writer, form):
    """Credentials, cookies, bodies and values of a query are sent, and stand in no report and no message."""
    writer.fields = {"Set-Cookie": "session=cookie-secret", "Via": "1.1 header-secret", "ETag": "query-secret"}
    done = cli("audit", *QUICK, "--yes", *([form] if form else []), *secret_line(writer.url))
    assert done.returncode == 0, done.stderr
    method, path, headers, body = writer.asked[0]
    assert (method, path, body) == ("POST", "/stream?key=query-secret&bare-secret", b'{"prompt": "body-secret"}')
    assert (headers["authorization"], headers["cookie"]) == ("Bearer header-secret", "session=cookie-secret")
    assert "POST http://127.0.0.1:" in done.stdout
    assert "/stream?key=…&…" in done.stdout
    assert [secret for secret in SECRETS if secret in done.stdout + done.stderr] == []


@pytest.mark.parametrize("status", [404, 307])
def test_refusals_hold_no_secret(cli, writer, status):
    """Nor do they stand in what is said where there is no report."""
    writer.status, writer.fields = (
        status,
        {"Content-Length": "0", "Location": "http://u:user-secret@127.0.0.2/?bare-secret"},
    )
    told = refused(cli("audit", *QUICK, *secret_line(writer.url)))
    assert [secret for secret in SECRETS if secret in told] == []


def test_a_call_that_may_cost_money_is_made_once(cli, writer):
    """With nobody to ask, a POST or a call with credentials is not repeated, and what that leaves open is said."""
    for words in (("curl", "-d", "{}"), ("curl", "-H", "Authorization: Bearer x"), ("curl", "-H", "X-Api-Key: x"), ()):
        writer.asked.clear()
        done = cli("audit", *QUICK, "--json", *words, writer.url + "?token=x")
        assert done.returncode == 0, done.stderr
        assert len(writer.asked) == 1
        assert "is not repeated: --yes allows for it" in done.stderr
        answers = {answer["question"]: answer for answer in json.loads(done.stdout)["answers"]}
        assert "no stream was left at half way" in answers["drop"]["evidence"]


@pytest.mark.parametrize(("reply", "requests"), [("y", 3), ("n", 1), ("", 1)])
def test_a_call_that_may_cost_money_is_asked_for(tmp_path, writer, reply, requests):
    """On a terminal the user is asked, and the answer counts; progress is shown meanwhile."""
    master, slave = pty.openpty()
    command = [Path(sys.executable).with_name("otel-streaming"), "audit", *QUICK, "curl", "-d", "{}", writer.url]
    env = {**os.environ, "NO_PROXY": "*", "TERM": "xterm"}
    with os.fdopen(master, "r+b", buffering=0) as terminal:
        audit = subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=slave, cwd=tmp_path, env=env)
        os.close(slave)
        os.write(terminal.fileno(), f"{reply}\n".encode())
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(terminal.fileno(), 65536):
                shown += piece
        with audit.stdout:
            audit.stdout.read()
        assert audit.wait(60) == 0
    assert b"may cost money, or change something; repeat it? [y/N]" in shown
    assert b"request 1 of at most" in shown
    assert len(writer.asked) == requests


def test_without_input_and_on_a_terminal_of_ascii(tmp_path, writer):
    """Where there is nobody to ask and no way to show all characters, the report is written all the same."""
    script = Path(sys.executable).with_name("otel-streaming")
    words = [script, "audit", *QUICK, "curl", "-d", "{}", f"{writer.url}?key=secret"]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" "$@" <&-', *words], capture_output=True, check=False, cwd=tmp_path, env=env
    )
    assert done.returncode == 0, done.stderr
    assert b"/stream?key=?\n" in done.stdout
    assert b"is not repeated: --yes allows for it" in done.stderr


def test_events_in_halves(cli, writer):
    """An event that comes in two pieces is one event, whichever of the line ends is used."""
    writer.halves = True
    for end in (b"\n", b"\r", b"\r\n"):
        writer.end = end
        report = json.loads(cli("audit", *QUICK, "--max-requests", 1, "--json", writer.url).stdout)
        assert [read["events"] for read in report["reads"]] == [5]


def test_bounds(cli, writer):
    """No more requests are sent, and no more time is taken, than is allowed; a stream without an end is left."""
    done = cli("audit", *QUICK, "--max-requests", 2, "--json", writer.url)
    assert len(writer.asked) == 2
    assert "up to 2 requests, 300 s in all, 5 s each" in done.stderr
    writer.asked.clear()
    writer.pieces = 10**6
    report = json.loads(cli("audit", "--receive", "0", "--max-seconds", 1, "--json", writer.url).stdout)
    assert len(writer.asked) == 1
    assert [read["reason"] for read in report["reads"]] == ["consumer_stopped"]


def test_curl_lines_mean_what_curl_means():
    """Options in any order, joined, over several lines: the request is curl's."""
    line = """curl -sN -XPUT 'http://127.0.0.1/x' \\
      -H 'Accept: text/event-stream' -H 'X-Empty:' -d a=1 \\
      --data-raw '@b' -u me:too -A agent --compressed -m 5 -o /dev/null -e http://127.0.0.1/"""
    asked = from_curl(line)
    assert (asked.method, asked.url, asked.body) == ("PUT", "http://127.0.0.1/x", b"a=1&@b")
    assert dict(asked.headers) == {
        "Accept": "text/event-stream",
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": "Basic bWU6dG9v",
        "User-Agent": "agent",
        "Referer": "http://127.0.0.1/",
        "Accept-Encoding": "gzip, deflate",
    }
    assert from_words(["curl", "--data-raw", "@b", "-d", "a=1", "http://127.0.0.1/"]).body == b"@b&a=1"
    framed = from_words(["curl", "-H", "Content-Length: 9", "-H", "transfer-encoding: chunked", "http://127.0.0.1/"])
    assert dict(framed.headers) == {"Accept": "*/*"}
    boundary = "------WebKitFormBoundary"
    assert from_words(["curl", "--data-raw", boundary, "http://127.0.0.1/"]).body == boundary.encode()
    assert from_words(["curl", "--url", "http://127.0.0.1/"]).method == "GET"
    latin = from_words(["curl", "-d", "\udce4", "-u", "\udce4:b", "http://127.0.0.1/"])  # as a shell hands it over
    assert latin.body == b"\xe4"
    assert dict(latin.headers)["Authorization"] == "Basic 5Dpi"
    assert dict(from_words(["curl", "--json", "{}", "http://127.0.0.1/"]).headers) == {
        "Accept": "application/json",
        "Content-Type": "application/json",
    }


def test_headers_are_sent_as_given(cli, writer):
    """Two equal ones are two, an empty one takes a default away, and a trace context is the audit's own."""
    fields = ("X-A: 1", "x-a: 2", "Accept:", "accept-encoding: br", "Traceparent: 00-1-2-00")
    words = [word for field in fields for word in ("-H", field)]
    assert cli("audit", *QUICK, "--max-requests", 1, "curl", *words, writer.url).returncode == 0
    ((_, _, headers, _),) = writer.asked
    assert (headers["x-a"], headers["accept-encoding"]) == ("1, 2", "br")
    assert "accept" not in headers
    assert len(headers["traceparent"]) == 55


@pytest.mark.parametrize("words", [["curl", "-H", "X: a\nB: c"], ["curl", "-H", "X Y: a"]])
def test_headers_cannot_be_smuggled(words):
    """A header's name and value are one line each."""
    with pytest.raises(UsageError, match="wants 'Name: value'"):
        from_words([*words, "http://127.0.0.1/"])
