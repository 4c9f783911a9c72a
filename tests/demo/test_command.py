"""The command leaves nothing behind, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = [sys.executable, "-m", "demo"]


def test_without_go_and_binaries_it_says_what_to_install_and_starts_nothing(tmp_path):
    """One message, exit status 1, no folder, no process."""
    nothing = tmp_path / "empty"
    nothing.mkdir()
    env = os.environ | {"PATH": str(nothing), "XDG_CACHE_HOME": str(nothing), "TMPDIR": str(nothing)}
    done = subprocess.run(DEMO, check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "Go" in done.stdout + done.stderr
    assert not [path for path in nothing.rglob("*") if "demo" in path.name]
    assert not relatives(nothing)


def relatives(folder):
    """Processes whose environment or command line names the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile, or is not ours
            continue
        if str(folder).encode() in told and process.name != str(os.getpid()):
            found.append(told)
    return found


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_in_the_middle_it_stops_everything(tmp_path, number):
    """Ctrl-C and SIGTERM end every process it has started, and remove its folder."""
    process = subprocess.Popen(
        DEMO, cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    with process:
        for line in process.stdout:
            if "injecting" in line:
                break
        time.sleep(1)
        assert len(relatives(tmp_path)) > 8
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert not relatives(tmp_path)
    assert not list(tmp_path.iterdir())
