"""`run` in a real terminal: a real service under real faults, as somebody sees it."""

import contextlib
import http.client
import re
import shlex
import sys
from pathlib import Path

import pytest
from terminal import Terminal

from stack import Process, free_ports, wait_until

pytestmark = pytest.mark.e2e

SERVICES = Path(__file__).parents[1] / "e2e" / "services"
BIN = Path(sys.executable).parent
COMMAND = shlex.quote(str(BIN / "otel-streaming"))


def ask(port, path, *, leave=False):
    """Read an answer to its end, or leave after the first bytes of it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers={"accept": "text/event-stream"})
        answer = connection.getresponse()
        with contextlib.suppress(http.client.IncompleteRead):
            answer.read(10 if leave else None)
    finally:
        connection.close()


TIMES = r" +[\d.]+ m?s +[\d.]+ m?s"
ROWS = (
    r"/v1/\{ending\} +complete" + TIMES,
    r"/v1/\{ending\} +cut short: no end marker +not known" + TIMES,
    r"/v1/\{ending\} +failed: error event in the stream +not known" + TIMES,
    r"/v1/\{ending\} +complete" + TIMES,
    r"/v1/\{ending\} +reader left +not known" + TIMES,
)
HEADS = {
    80: r"stream +how it ended +by +first +gap",
    160: r"ended +stream +how it ended +ended by +first chunk +worst gap +gap lengths",
}
ROW = {80: "{}", 160: r"\d\d:\d\d:\d\d  {}( +[ ▁-█]+)?"}


@pytest.mark.parametrize("columns", [80, 160])
def test_a_service_under_faults(tmp_path, port, columns):
    """Every fault is a row in words, what is open is seen while it is, and the end says what a 5xx count misses."""
    env = {"PYTHONPATH": str(SERVICES), "OTEL_PYTHON_STREAMING_STALL_THRESHOLD": "0.5", "ECHO": "yes"}
    env |= {"COLUMNS": "200", "LINES": "99"}  # another terminal's
    with Terminal(tmp_path, columns, env) as terminal:
        terminal.type(f"{COMMAND} run -- uvicorn chat:app --port {port} --log-level warning; echo status $?")
        terminal.wait_for("nothing open", "no stream has ended", "http://127.0.0.1:")
        wait_until(lambda: ask(port, "/v1/whole?chunks=3&pause=0.05") or True, "the service")
        for path in ("unfinished", "in_band_error", "whole"):
            ask(port, f"/v1/{path}?chunks=3&pause=0.05")
        ask(port, "/v1/whole?pause=0.3", leave=True)
        held = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        held.request("GET", "/v1/whole?pause=30")
        screen = terminal.wait_for("serving 1: stalled 1", "longest silence", "reader left 1")
        (head,) = (number for number, line in enumerate(screen) if re.fullmatch(HEADS[columns], line))
        rows = screen[head + 1 : head + 1 + len(ROWS)]
        for line, expected in zip(rows, ROWS, strict=True):
            assert re.fullmatch(ROW[columns].format(expected), line.rstrip())
        assert "served 5: silent failure 2 · fine 2 · reader left 1" in screen
        assert "what your 5xx count says: 0; what users saw: 2 of 4 streams failed" in screen
        terminal.press("a", "Enter", "b", "C-z")  # what somebody types in between does not disturb the view
        held.close()
        terminal.wait_for("nothing open")
        terminal.press("C-c")
        terminal.wait_for("status 0")
        seen = terminal.everything()
        last = seen[seen.index("what your 5xx count says: 0; what users saw: 2 of 4 streams failed") :]
        assert last[1:3] == ["     1  cut short: no end marker", "     1  failed: error event in the stream"]
        assert last[3] == "served 6: silent failure 2 · reader gave up 1 · fine 2 · reader left 1"
        assert sum("how it ended" in line for line in seen) == 1  # what was drawn before is gone
        assert not [line for line in seen if "· http://" in line]
        asked = "asked to end; Ctrl-C asks again"
        unwrapped = terminal.everything(joined=True)
        assert seen[seen.index(asked) :] == unwrapped[unwrapped.index(asked) :]
        terminal.type("echo $ECHO again")
        terminal.wait_for("yes again", "echo $ECHO again")


def test_watch_in_a_terminal_that_grows_and_shrinks(tmp_path, port):
    """`watch` shows a service started elsewhere; a terminal that grows shows more, one that shrinks nothing twice."""
    (otlp,) = free_ports(1)
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{otlp}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_PYTHON_STREAMING_STATE_DIR": "off",
    }
    command = [BIN / "opentelemetry-instrument", BIN / "uvicorn", "chat:app", "--port", port]
    with Terminal(tmp_path, 80) as terminal:
        terminal.type(f"{COMMAND} watch --port {otlp} --result silent; echo status $?")
        terminal.wait_for("nothing open", f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{otlp}")
        with Process("service", command, tmp_path / "service.log", env, SERVICES):
            wait_until(lambda: ask(port, "/v1/whole?chunks=3") or True, "the service")
            ask(port, "/v1/unfinished?chunks=3&pause=0.05")
            screen = terminal.wait_for("what users saw: 1 of 2 streams failed", "no end marker")
            assert any(re.fullmatch(HEADS[80], line) for line in screen)
            assert not [line for line in screen if "complete" in line]  # it is counted, and not asked for
            terminal.resize(160)
            screen = terminal.wait_for("gap lengths")
            assert any(re.fullmatch(HEADS[160], line) for line in screen)
            held = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            held.request("GET", "/v1/whole?pause=30")
            terminal.wait_for("serving 1: flowing 1")
            held.close()
            terminal.resize(80)
            terminal.wait_for("nothing open")
            screen = terminal.screen()
            assert [bool(re.fullmatch(HEADS[80], line)) for line in screen if "how it ended" in line] == [True]
            assert sum("otel-streaming watch ·" in line for line in screen) == 1
        terminal.press("C-c")
        terminal.wait_for("status 0", "     1  cut short: no end marker")


def test_what_a_command_writes_is_all_there(tmp_path):
    """However much a command writes and however fast it ends, its lines are there, in their order, in their colours."""
    script = r"seq 0 29999; printf '\033[31mred\n'"
    with Terminal(tmp_path, 80) as terminal:
        terminal.type(f'{COMMAND} run -- sh -c "{script}"; echo status $?')
        terminal.wait_for("status 0")
        shown = [int(line) for line in terminal.everything() if line.isdecimal()]
        assert len(shown) > 1000
        assert shown == list(range(30000 - len(shown), 30000))
        assert any(line.startswith("\x1b[31mred") for line in terminal.everything(coloured=True))


def test_a_terminal_that_is_closed(tmp_path, port):
    """When the terminal goes, so does what was started in it."""
    with Terminal(tmp_path, 80, {"PYTHONPATH": str(SERVICES)}) as terminal:
        terminal.type(f"{COMMAND} run -- uvicorn chat:app --port {port}")
        terminal.wait_for("Uvicorn running")

    def gone():
        with contextlib.suppress(ConnectionRefusedError):
            ask(port, "/plain")
            return False
        return True

    wait_until(gone, "the end of the service")


def test_a_command_that_asks(tmp_path):
    """A prompt, which ends in no new line, is shown, and what is typed reaches the command."""
    with Terminal(tmp_path, 80) as terminal:
        terminal.type(f"{COMMAND} run -- sh -c 'printf \"%s? \" name; read name; echo hello $name'; echo status $?")
        terminal.wait_for("name?", "nothing open")
        terminal.type("you")
        terminal.wait_for("hello you", "status 0")
