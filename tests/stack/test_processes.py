"""Processes are watched while they run, and none outlives its owner."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stack import Process, StackError, free_ports, wait_until
from stack.processes import _claims

ROOT = Path(__file__).resolve().parents[2]
SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def run(tmp_path):
    """Start Python with some code; stop it at the end."""
    processes = []

    def start(code, **env):
        log = tmp_path / f"{len(processes)}.log"
        processes.append(Process("it", [sys.executable, "-c", code], log, env).start())
        return processes[-1]

    yield start
    for process in processes:
        process.stop(grace=5)


def up(process):
    process.wait_until(lambda: "up" in process.log.read_text(), "its first words")


def gone(pid):
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_free_ports():
    """Ports are different, can be listened on, and are none that the kernel hands to outgoing connections."""
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < 32768
    for port in ports:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))


def test_no_port_twice(monkeypatch):
    """A port that somebody has been given, and perhaps not taken yet, is passed over."""
    (given,) = free_ports(1)
    monkeypatch.setattr("random.SystemRandom.sample", lambda *_: [given, *range(18000, 32000)])
    assert free_ports(1) != [given]


def test_taken_port_is_not_free(monkeypatch):
    """A port on which somebody listens is passed over."""
    taken, other = free_ports(2)
    monkeypatch.setattr("stack.processes._given", set())
    monkeypatch.setattr("random.SystemRandom.sample", lambda *_: [taken, other])
    with socket.create_server(("127.0.0.1", taken)):
        assert free_ports(1) == [other]


def test_no_port_of_another_process(run, monkeypatch):
    """A port that another process has been given is passed over, until that process ends."""
    code = "import time; from stack import free_ports; print('up', *free_ports(1), flush=True); time.sleep(600)"
    other = run(code, PYTHONPATH=str(ROOT))
    up(other)
    given = int(other.log.read_text().split()[1])
    monkeypatch.setattr("random.SystemRandom.sample", lambda *_: [given, *range(18000, 32000)])
    assert free_ports(1) != [given]
    other.stop()
    assert free_ports(1) == [given]


def test_no_locks(monkeypatch):
    """Where no port can be locked it is said what to do."""

    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with pytest.raises(StackError, match="set XDG_CACHE_HOME"):
        free_ports(1)


def test_a_user_without_a_home():
    """The cache is looked for when it is needed: importing the stack needs no home."""
    code = "from pathlib import Path; Path.home = lambda: 1 / 0; import stack.processes"
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60)


def test_claims_are_of_one_user(monkeypatch, tmp_path):
    """Nobody else opens, and so locks, the file of what was given."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    claims = _claims.__wrapped__()
    try:
        assert stat.S_IMODE(os.fstat(claims).st_mode) == 0o600
    finally:
        os.close(claims)


def test_waiting_ends_when_the_process_dies(run):
    """A process that dies ends the waiting at once, with its last words."""
    process = run("import sys; sys.exit('no such option')")
    with pytest.raises(StackError, match=r"(?s)ended with 1.*no such option"):
        process.wait_until(lambda: False, "a miracle")


def test_waiting_ends_in_time(run):
    """What never comes is given up, with what was waited for and what was seen last."""
    process = run(SLEEP)
    up(process)
    with pytest.raises(StackError, match=r"(?s)in vain for a miracle; last seen: \[\].*up"):
        process.wait_until(list, "a miracle", timeout=0)


def test_refused_connections_are_no_answer_yet():
    """A server that does not listen yet is waited for."""
    answers = iter([ConnectionRefusedError(), "yes"])

    def ask():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert wait_until(ask, "an answer") == "yes"


def test_settings_of_the_developer_stay_outside(run, monkeypatch):
    """Of the environment's ``OTEL_`` variables only those given reach the process."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    process = run("import os; print(sorted(n for n in os.environ if n.startswith('OTEL_')))", OTEL_SERVICE_NAME="x")
    assert process.wait() == 0
    assert process.log.read_text() == "['OTEL_SERVICE_NAME']\n"


def test_stop_takes_the_whole_group(run):
    """What ignores SIGTERM is killed, and so are its children."""
    code = f"""
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
print("child", child.pid, flush=True)
child.wait()
"""
    process = run(code)
    up(process)
    child = int(process.log.read_text().split("child ")[1].split()[0])
    process.stop(grace=0.5)
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: gone(child), "the child's end")
    process.stop()


def test_start_again(run):
    """A stopped process can be started again; its log goes on."""
    process = run(SLEEP)
    up(process)
    process.stop()
    first = process.pid
    process.start()
    process.wait_until(lambda: process.log.read_text().count("up") == 2, "its second life")
    assert process.pid != first


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_children_die_with_their_owner(run, tmp_path):
    """A killed owner takes its processes with it."""
    code = f"""
import sys, time
from pathlib import Path
from stack import Process
child = Process("child", [sys.executable, "-c", {SLEEP!r}], Path({str(tmp_path)!r}, "child.log")).start()
print("up", child.pid, flush=True)
time.sleep(600)
"""
    owner = run(code, PYTHONPATH=str(ROOT))
    up(owner)
    child = int(owner.log.read_text().split()[1])
    assert not gone(child)
    owner.signal(signal.SIGKILL)
    wait_until(lambda: gone(child), "the child's end")
