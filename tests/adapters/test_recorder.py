"""The crash recorder, with real processes that are killed, real files and real locks: what is left counts once."""

import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from opentelemetry import trace

from otel_streaming import _journal
from otel_streaming._journal import SLOTS
from otel_streaming._recorder import Recorder
from otel_streaming._registry import Registry
from otel_streaming._shape import Ended, Shape
from otel_streaming._slots import PROGRESS_AT, SIZE
from otel_streaming._stream import Stream
from otel_streaming.semconv import Kind, Outcome, Protocol, Reason, Result, Role

SHAPE = Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, "/r")
OK = Ended(SHAPE, Result.OK, Outcome.COMPLETED, stalled=False)
DIED = Ended(SHAPE, Result.SILENT, Outcome.TRUNCATED, stalled=False)
SERVICE = "tests"
HERE = str(Path(__file__).parent)

PRELUDE = """if True:
    import os, signal, sys, time
    sys.path.insert(0, sys.argv[1])
    from test_recorder import *
    registry, recorder = recording(Path(sys.argv[2]))
    assert recorder.look() == []
    parent = trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(1))
"""
UNSEEN = PRELUDE.replace("    assert recorder.look() == []\n", "")  # it has not looked yet


def recording(folder, setting=None):
    registry = Registry()
    registry.recorder = Recorder(setting or str(folder), registry, lambda: SERVICE)
    return registry, registry.recorder


class Watched:
    """What a watch knows of a stream's parent."""

    def __init__(self, context=trace.INVALID_SPAN_CONTEXT):
        self.origin = lambda: context


def begin(registry, watch=None, route="/r"):
    now = time.monotonic()
    stream = Stream(Shape(Role.SERVER, Kind.BOUNDED, Protocol.SSE, route), "GET", now)
    stream.headers(now, 200)
    registry.begin(stream, watch or Watched())
    return stream


def finish(registry, stream):
    stream.eof(time.monotonic())
    assert registry.end(stream, Result.OK, Outcome.COMPLETED)


def run(folder, code, prelude=PRELUDE):
    """Run a process with a recorder of its own; returns its exit code."""
    command = [sys.executable, "-c", prelude + code, HERE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode


def killed(folder, code, prelude=PRELUDE):
    assert run(folder, code + "\n    os.kill(os.getpid(), signal.SIGKILL)\n", prelude) == -signal.SIGKILL


@contextlib.contextmanager
def living(folder, code):
    """A process that goes on until the block ends; it says when it is ready."""
    command = [sys.executable, "-c", PRELUDE + code + "\n    print(flush=True); time.sleep(600)", HERE, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "\n"
            yield process
        finally:
            process.kill()


def files(folder):
    return sorted(folder.glob("otel-streaming-*/*"))


def counts(registry):
    return {series: n for series, n in {**registry.started(), **registry.ended()}.items() if n}


def heir(folder):
    """A new process of the service: what it has found when it has looked once."""
    registry, recorder = recording(folder)
    return registry, recorder.look()


KILLED = """
    for _ in range(3): finish(registry, begin(registry))
    registry.handed({SHAPE: 2, OK: 1})
    stream = begin(registry, Watched(parent))
    stream.chunk(stream.started_at + 0.5, b"data: x\\n\\n")
    recorder.look()
"""


def test_a_killed_process_is_reported_by_the_next_one(tmp_path):
    """Its open stream has ended, in its own trace; what a collection had not got counts; its file is gone."""
    before = time.monotonic()
    killed(tmp_path, KILLED)
    registry, [(process_id, [dead])] = heir(tmp_path)
    assert counts(registry) == {SHAPE: 2, OK: 2, DIED: 1}
    assert (dead.trace_id, dead.span_id, dead.sampled) == (7, 8, True)
    assert dead.summary.reason is Reason.PROCESS_DEATH
    assert (dead.summary.chunks, dead.summary.size) == (1, 9)
    assert before < dead.summary.started_at < dead.summary.ended_at < time.monotonic() + 1
    assert [path.name.rpartition(".")[2] for path in files(tmp_path)] == [registry.process_id]
    assert process_id != registry.process_id
    assert heir(tmp_path)[1] == []
    assert registry.learned[Role.SERVER] == {"/r": Protocol.SSE}


def test_gathered_or_not_all_counts_once(tmp_path):
    """Ends are gathered into rows by and by, places are used again, and the sums stay the same."""
    killed(
        tmp_path,
        """
    for turn in range(4):
        for _ in range(3): finish(registry, begin(registry))
        left = begin(registry)
        recorder.look()
        finish(registry, begin(registry))
        registry.handed({SHAPE: 2})
    """,
    )
    registry, [(_, dead)] = heir(tmp_path)
    assert counts(registry) == {SHAPE: 18, OK: 16, DIED: 4}
    assert len(dead) == 4


def test_attempts_and_latecomers_count(tmp_path):
    """An exchange that began and ended at once counts, and a stream that began before there was a file."""
    killed(
        tmp_path,
        """
    registry, recorder = recording(Path(sys.argv[2]))
    early, earlier = begin(registry, Watched(parent)), begin(registry)
    registry.attempt(Stream(SHAPE, "GET", 0.0), Result.OK, Outcome.COMPLETED)
    recorder.look()
    registry.attempt(Stream(SHAPE, "GET", 0.0), Result.OK, Outcome.COMPLETED)
    finish(registry, earlier)
    """,
    )
    registry, [(_, [dead])] = heir(tmp_path)
    assert counts(registry) == {SHAPE: 4, OK: 3, DIED: 1}
    assert dead.trace_id == 7


def test_what_had_ended_before_its_process_did_not_die_of_it(tmp_path):
    """A stream whose final message had passed is complete, one whose reader had left was left; the others died."""
    killed(
        tmp_path,
        """
    finished, left, lost, open_still = (begin(registry) for _ in range(4))
    for stream in (finished, left, lost, open_still):
        stream.chunk(time.monotonic(), b"data: x\\n\\n")
        stream.idle_since = time.monotonic()
    finished.eof(time.monotonic())
    left.left(time.monotonic())
    lost.lost_at = time.monotonic()
    recorder.look()
    """,
    )
    registry, [(_, dead)] = heir(tmp_path)
    assert sorted(str(one.summary.reason) for one in dead) == [
        "client_disconnect",
        "client_disconnect",
        "completed",
        "process_death",
    ]
    assert counts(registry) == {SHAPE: 4, OK: 1, DIED: 1, Ended(SHAPE, Result.CANCELLED, Outcome.CANCELLED, False): 2}


def test_a_process_that_ended_well_leaves_nothing_to_report(tmp_path):
    """What was handed out before a process ended is no news."""
    assert run(tmp_path, "\n    finish(registry, begin(registry)); registry.handed({SHAPE: 1, OK: 1})") == 0
    registry, found = heir(tmp_path)
    assert found == []
    assert counts(registry) == {}
    assert len(files(tmp_path)) == 1


def test_what_never_streamed_leaves_no_files_behind(tmp_path):
    """Processes that nobody hears of (no SDK, no stream) remove each other's files, and what did stream waits."""
    killed(tmp_path, KILLED)
    for _ in range(3):
        assert run(tmp_path, "    assert recorder.look(adopt=False) == []", UNSEEN) == 0
        assert len(files(tmp_path)) == 2
    registry, recorder = recording(tmp_path)
    registry.cap_route = None  # what is not adopted takes no place of a route, and is not read
    assert recorder.look(adopt=False) == []
    assert not recorder._trouble
    recorder.reset()
    assert counts(heir(tmp_path)[0]) == {SHAPE: 2, OK: 2, DIED: 1}


def test_the_living_are_left_alone(tmp_path):
    """A process that lives, busy or stopped, is not taken for dead; once it is killed, a sibling finds it."""
    registry, recorder = recording(tmp_path)
    with living(tmp_path, KILLED) as process:
        assert recorder.look() == []
        process.send_signal(signal.SIGSTOP)
        for _ in range(10):
            assert recorder.look() == []
        process.kill()
    found = [found for _ in range(5) for found in recorder.look()]
    assert len(found) == 1
    assert counts(registry) == {SHAPE: 2, OK: 2, DIED: 1}


def test_four_that_start_together_count_once(tmp_path):
    """Several dead processes, four new ones at once: together they find what there was, once."""
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(living(tmp_path, KILLED))
    code = """
    sys.stdin.readline()
    for _ in range(5): recorder.look()
    print(sum(counts(registry).values()), flush=True)
    sys.stdin.readline()
    """
    command = [sys.executable, "-c", UNSEEN + code, HERE, str(tmp_path)]
    pipe = subprocess.PIPE
    four = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    try:
        for process in four:
            process.stdin.write("\n")
            process.stdin.flush()
        assert sum(int(process.stdout.readline()) for process in four) == 15
    finally:
        for process in four:
            process.communicate(timeout=120)


@pytest.mark.parametrize("step", ["remove", "adopt"])
def test_whoever_is_killed_while_taking_over(step, tmp_path):
    """Wherever the heir of a dead process is killed, its own heir counts everything once."""
    killed(tmp_path, KILLED)
    owner = "recorder._folder" if step == "remove" else "registry"
    code = f"""
    recorder._create()
    finish(registry, begin(registry))
    {owner}.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    recorder.look()
    """
    assert run(tmp_path, code, UNSEEN) == -signal.SIGKILL
    registry, _ = heir(tmp_path)
    assert counts(registry) == {SHAPE: 3, OK: 3, DIED: 1}


def test_a_forked_child_begins_a_file_of_its_own(tmp_path):
    """A child forked in mid-stream holds no lock of its parent's, counts nothing of it, and records for itself."""
    code = """
    from otel_streaming._config import Settings
    from otel_streaming._engine import Engine, use
    use(engine := Engine(Settings(state_dir=sys.argv[2])))
    registry, recorder = engine.registry, engine.registry.recorder
    recorder._service = lambda: SERVICE
    recorder.look()
    stream = begin(registry)
    child = os.fork()
    if child == 0:
        assert not registry.end(stream, Result.OK, Outcome.COMPLETED)
        recorder.look()
        finish(registry, begin(registry))
        begin(registry)
        os.closerange(0, 3)
        time.sleep(600)
    Path(sys.argv[2], "child").write_text(str(child))
    while len(files(Path(sys.argv[2]))) < 2: time.sleep(0.02)
    """
    killed(tmp_path, code, UNSEEN)
    child = int((tmp_path / "child").read_text())
    registry, recorder = recording(tmp_path)
    try:
        [(_, dead)] = recorder.look()
        assert counts(registry) == {SHAPE: 1, DIED: 1}
        assert len(dead) == 1
    finally:
        os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while not recorder.look() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert counts(registry) == {SHAPE: 3, OK: 1, DIED: 2}


@pytest.mark.parametrize("step", ["posix_fallocate", "fstat"], ids=["made", "just opened"])
def test_a_fork_while_the_file_is_made(step, tmp_path):
    """A child forked by another thread just then holds no lock of its parent's either, and nothing else."""
    code = """
    from otel_streaming._config import Settings
    from otel_streaming._engine import Engine, use
    use(engine := Engine(Settings(state_dir=sys.argv[2])))
    registry, recorder = engine.registry, engine.registry.recorder
    recorder._service = lambda: SERVICE
    original = os.STEP
    def in_folder():
        links = [os.readlink(f"/proc/self/fd/{n}") for n in range(64) if os.path.exists(f"/proc/self/fd/{n}")]
        return [link for link in links if link.startswith(sys.argv[2])]
    def forking(fd, *args):
        found = original(fd, *args)
        if ".new" in os.readlink(f"/proc/self/fd/{fd}"):
            os.STEP = original
            if (child := os.fork()) == 0:
                Path(sys.argv[2], "holds").write_text("".join(in_folder()))
                os.closerange(0, 3)
                time.sleep(600)
            Path(sys.argv[2], "child").write_text(str(child))
        return found
    os.STEP = forking
    recorder.look()
    begin(registry)
    while not Path(sys.argv[2], "holds").exists(): time.sleep(0.02)
    """
    killed(tmp_path, code.replace("STEP", step), UNSEEN)
    try:
        assert (tmp_path / "holds").read_text() == ""
        assert counts(heir(tmp_path)[0]) == {SHAPE: 1, DIED: 1}
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_other_services_are_not_ours(tmp_path):
    """The dead of another service are left to it."""
    killed(tmp_path, KILLED)
    registry = Registry()
    registry.recorder = Recorder(str(tmp_path), registry, lambda: "another")
    assert registry.recorder.look() == []
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize(("days", "stays"), [(1, True), (8, False)])
def test_another_version_is_left_alone(days, stays, tmp_path):
    """A file of another format is not read; after a week without its own version coming back it is removed."""
    killed(tmp_path, KILLED)
    (path,) = files(tmp_path)
    service, _, process_id = path.name.split(".")
    foreign = path.rename(path.with_name(f"{service}.00000000.{process_id}"))
    os.utime(foreign, (time.time() - days * 86400,) * 2)
    registry, found = heir(tmp_path)
    assert (found, counts(registry)) == ([], {})
    assert foreign.exists() is stays


@pytest.mark.parametrize("name", ["{0}.{1}", "{0}.{1}.zzzzzzzzzzzzzzzz", "{0}.{1}.0", "x" * 200])
def test_strange_names_are_passed_over(name, tmp_path):
    """What is not named as our files are is not touched, and disturbs nothing."""
    killed(tmp_path, KILLED)
    (path,) = files(tmp_path)
    strange = path.with_name(name.format(*path.name.split(".")))
    strange.write_text("")
    assert len(heir(tmp_path)[1]) == 1
    assert strange.exists()


# -- damage and hostility ------------------------------------------------------------------------------------


def damaged(folder, damage):
    killed(folder, KILLED)
    (path,) = files(folder)
    damage(path)
    return path


def _noise(path):
    path.write_bytes(random.Random(3).randbytes(SLOTS * SIZE))


def _link(path):
    os.link(path, path.with_name("another"))


def _symlink(path):
    path.rename(path.with_name("another"))
    path.symlink_to("another")


def _fifo(path):
    path.unlink()
    os.mkfifo(path, 0o600)


def _directory(path):
    path.unlink()
    path.mkdir(0o700)


REMOVED = {"truncated": lambda p: os.truncate(p, SIZE * 5 + 7), "empty": lambda p: os.truncate(p, 0), "noise": _noise}
REFUSED = {
    "longer": lambda p: os.truncate(p, SLOTS * SIZE + 1),
    "readable": lambda p: p.chmod(0o640),
    "hard link": _link,
    "symbolic link": _symlink,
    "fifo": _fifo,
    "directory": _directory,
    "another's": lambda p: os.chown(p, 65534, -1),
}


@pytest.mark.parametrize("damage", REMOVED)
def test_damaged_files_are_removed(damage, tmp_path):
    """A dead process's file that is cut or overwritten counts nothing, harms nothing and goes."""
    path = damaged(tmp_path, REMOVED[damage])
    registry, found = heir(tmp_path)
    assert (found, counts(registry)) == ([], {})
    assert not path.exists()
    assert registry.recorder is not None


@pytest.mark.parametrize("damage", REFUSED)
def test_strange_files_are_refused(damage, tmp_path):
    """What is not a file of ours, ours alone, of our size, counts nothing."""
    if damage == "another's" and os.geteuid():
        pytest.skip("only root can give a file away")
    damaged(tmp_path, REFUSED[damage])
    registry, found = heir(tmp_path)
    assert (found, counts(registry)) == ([], {})
    assert registry.recorder is not None


def test_random_damage_does_no_harm(tmp_path):
    """Whatever bytes are overwritten, what is found is never more than there was."""
    killed(tmp_path, KILLED)
    (path,) = files(tmp_path)
    whole, seed = path.read_bytes(), random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(30):
        spoilt = bytearray(whole)
        for _ in range(chance.randrange(1, 20)):
            at = chance.randrange(8 * SIZE)
            spoilt[at : at + 4] = chance.randbytes(4)
        path.write_bytes(spoilt)
        registry, _ = heir(tmp_path)
        found = counts(registry)
        assert found.get(SHAPE, 0) <= 4, f"seed {seed}"
        assert found.keys() <= {SHAPE, OK, DIED}, f"seed {seed}"
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        for other in files(tmp_path):
            other.unlink()


def _another_owner(folder):
    (folder / f"otel-streaming-{os.geteuid()}").mkdir()
    os.chown(folder / f"otel-streaming-{os.geteuid()}", 65534, -1)


FOLDERS = {
    "a file": lambda folder: (folder.rmdir(), folder.write_text("")),
    "open to others": lambda folder: (folder / f"otel-streaming-{os.geteuid()}").mkdir(0o755),
    "a link": lambda folder: (folder / f"otel-streaming-{os.geteuid()}").symlink_to(folder),
    "another's": _another_owner,
}


@pytest.mark.parametrize("how", FOLDERS)
def test_a_folder_that_cannot_be_trusted(how, tmp_path, caplog):
    """Where the folder is not ours alone the recorder is off, with one notice, and streams go on being counted."""
    if how == "another's" and os.geteuid():
        pytest.skip("only root can give a folder away")
    folder = tmp_path / "state"
    folder.mkdir()
    FOLDERS[how](folder)
    registry, recorder = recording(folder)
    recorder.look()
    (notice,) = caplog.records
    assert notice.levelno == logging.WARNING
    assert "the crash recorder is off" in notice.message
    assert registry.recorder is None
    finish(registry, begin(registry))
    assert counts(registry) == {SHAPE: 1, OK: 1}


def test_the_default_folder_is_tried_quietly(tmp_path, caplog, monkeypatch):
    """Where nobody asked for a folder a failure is no warning; where it can be made it is the user's alone."""
    caplog.set_level(logging.INFO, "otel_streaming")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    registry, recorder = recording(tmp_path, "auto")
    recorder.look()
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    assert registry.recorder is None
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "new" / "state"))
    registry, recorder = recording(tmp_path, "auto")
    recorder.look()
    (path,) = files(tmp_path / "new" / "state")
    assert [p.stat().st_mode & 0o777 for p in (path, path.parent)] == [0o600, 0o700]


def unshared(command):
    """Run a shell command with mounts of its own, None where that is not allowed."""
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no mounts of one's own here")
    return subprocess.run(
        ["unshare", "-m", "sh", "-ec", command], capture_output=True, text=True, timeout=120, check=False
    )


OFF = """
    import logging
    logging.basicConfig(format="%(message)s")
    registry, recorder = recording(Path(sys.argv[2]))
    recorder.look()
    finish(registry, begin(registry))
    assert registry.recorder is None
    assert counts(registry) == {SHAPE: 1, OK: 1}
"""
OFF = PRELUDE.partition("    registry, recorder")[0] + OFF


@pytest.mark.parametrize("options", ["size=1m", "size=8m,ro"], ids=["full", "read-only"])
def test_a_full_or_read_only_disk(options, tmp_path):
    """On a real file system without room, or read-only, the recorder is off with one notice; streams go on."""
    script = tmp_path / "script.py"
    script.write_text(OFF)
    mount = tmp_path / "mount"
    mount.mkdir()
    done = unshared(
        f"mount -t tmpfs -o {options} tmpfs {mount}; {sys.executable} {script} {HERE} {mount}; ls -A {mount}/*"
    )
    assert done.returncode in {0, 2}, done.stderr
    assert done.stderr.count("the crash recorder is off") == 1, done.stderr
    assert done.stdout.strip() == "", "nothing is left behind"


def test_a_file_size_limit(tmp_path):
    """Past RLIMIT_FSIZE the recorder is off with one notice, and no signal harms the host."""
    limited = OFF.replace(
        "    registry, recorder",
        "    import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n    registry, recorder",
        1,
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, HERE, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the crash recorder is off") == 1
    assert files(tmp_path) == []


def test_a_write_that_fails_later_is_the_last_one(tmp_path, caplog):
    """Once a write fails the recorder is off with one notice, its file is gone, and the stream is counted."""
    registry, recorder = recording(tmp_path)
    recorder.look()
    readonly = os.open(files(tmp_path)[0], os.O_RDONLY)
    os.dup2(readonly, recorder._fd)
    os.close(readonly)
    stream = begin(registry)
    finish(registry, stream)
    recorder.look()
    finish(registry, begin(registry))
    assert [record.message for record in caplog.records] == ["the crash recorder is off: [Errno 9] Bad file descriptor"]
    assert (registry.recorder, files(tmp_path)) == (None, [])
    assert counts(registry) == {SHAPE: 2, OK: 2}


def test_a_fault_without_words_is_the_last_one(tmp_path, caplog, monkeypatch):
    """What was not written is missing, also where its exception says nothing: it was the last write."""
    registry, recorder = recording(tmp_path)
    recorder.look()

    def full(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(_journal, "encode", full)
        begin(registry)
    recorder.look()
    assert [record.message for record in caplog.records] == ["the crash recorder is off: MemoryError()"]
    assert (registry.recorder, files(tmp_path)) == (None, [])


@pytest.mark.parametrize("slowness", [[0.05] * 5, [0.4] * 3])
def test_slow_writes_are_the_last_ones(slowness, tmp_path, caplog, monkeypatch):
    """Writes over ten milliseconds, five in a row, or far over, end it; a hiccup does not."""
    registry, recorder = recording(tmp_path)
    recorder.look()
    write, delays = os.pwrite, [0.05]

    def slow(*args):
        time.sleep(delays.pop() if delays else 0.0)
        return write(*args)

    monkeypatch.setattr(os, "pwrite", slow)
    finish(registry, begin(registry))
    assert recorder.look() == []
    assert registry.recorder is recorder
    delays[:] = slowness
    stream = begin(registry)
    recorder.look()
    assert "writing takes longer" in caplog.text
    assert registry.recorder is None
    finish(registry, stream)
    assert counts(registry) == {SHAPE: 2, OK: 2}


@contextlib.contextmanager
def computing(threads):
    """Threads that compute until the block ends, and keep the interpreter for as long as it lets them."""
    over = threading.Event()

    def compute():
        while not over.is_set():
            sum(range(200))

    others = [threading.Thread(target=compute) for _ in range(threads)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        over.set()
        for other in others:
            other.join()


@pytest.mark.parametrize("threads", [2, 8])
@pytest.mark.parametrize("turns", ["as they come", "at each write"])
def test_a_thread_that_waits_for_its_turn_is_no_slow_disk(threads, turns, tmp_path, monkeypatch):
    """Beside threads that compute writes take their time, and go on; on a busier machine each lets others go first."""
    registry, recorder = recording(tmp_path)
    recorder.look()
    if turns == "at each write":
        write = os.pwrite
        monkeypatch.setattr(os, "pwrite", lambda *args: time.sleep(0) or write(*args))
    until = time.monotonic() + 4
    with computing(threads):
        while time.monotonic() < until and recorder.on:
            finish(registry, begin(registry))
    assert (recorder._trouble, recorder.on) == ("", True)


def test_a_disk_that_hangs_while_others_compute(tmp_path, monkeypatch):
    """A write that takes more than a second, and a pause next to nothing, is the last one."""
    registry, recorder = recording(tmp_path)
    recorder.look()
    monkeypatch.setattr(os, "pwrite", lambda *_: time.sleep(1.1) or PROGRESS_AT)
    with computing(2):
        begin(registry)
    assert not recorder.on


def test_more_streams_than_there_is_room_for(tmp_path, monkeypatch):
    """Streams beyond the room are counted as ever, and recorded once they have ended."""
    monkeypatch.setattr("otel_streaming._journal.STREAMS", 2)
    registry, recorder = recording(tmp_path)
    recorder.look()
    streams = [begin(registry) for _ in range(4)]
    for stream in streams[1:]:
        finish(registry, stream)
    recorder.look()
    recorder.reset()  # its lock goes, as at a kill
    registry, [(_, dead)] = heir(tmp_path)
    assert counts(registry) == {SHAPE: 4, OK: 3, DIED: 1}
    assert len(dead) == 1


def test_when_no_slot_is_left(tmp_path, monkeypatch):
    """What finds no slot is counted as ever, and overwrites nothing."""
    monkeypatch.setattr("otel_streaming._journal.SLOTS", 6)
    registry, recorder = recording(tmp_path)
    recorder.look()
    streams = [begin(registry) for _ in range(8)]
    recorder.look()
    finish(registry, streams.pop())
    registry.handed({OK: 1})
    recorder.look()
    assert registry.recorder is recorder
    assert counts(registry) == {SHAPE: 8, OK: 1}
    recorder.reset()  # its lock goes, as at a kill
    assert counts(heir(tmp_path)[0]) == {SHAPE: 5, DIED: 5}


def test_foreign_routes_are_capped(tmp_path):
    """A dead process's routes are told apart no further than our own."""
    killed(tmp_path, "\n    for n in range(5): finish(registry, begin(registry, route=f'/{n}'))")
    registry, recorder = recording(tmp_path)
    registry._max_routes = 2
    recorder.look()
    assert sum(registry.started().values()) == 5
    assert len(registry.started()) == 3


def test_routes_that_are_cut_to_one(tmp_path):
    """Two routes that are the same as far as they are kept count as one, and all of both."""
    code = """
    for route in ("a", "b", "b"): finish(registry, begin(registry, route="/" * 130 + route))
    recorder.look()
    finish(registry, begin(registry, route="/" * 130 + "a"))
    """
    killed(tmp_path, code)
    assert sorted(counts(heir(tmp_path)[0]).values()) == [4, 4]


def test_what_ends_before_there_is_a_file_takes_no_place(tmp_path):
    """However much has ended by the watchdog's first look, there is room for what comes."""
    registry, recorder = recording(tmp_path)
    for _ in range(SLOTS):
        finish(registry, begin(registry))
    recorder.look()
    stream = begin(registry)
    assert stream in recorder._places


def test_two_writes_a_stream(tmp_path, monkeypatch):
    """An event loop writes once when a stream begins and once when it ends; chunks write nothing."""
    registry, recorder = recording(tmp_path)
    recorder.look()
    written, write = [], os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: written.append(len(data)) or write(fd, data, at))
    stream = begin(registry)
    for n in range(100):
        stream.chunk(stream.started_at + n, b"data: x\n\n")
    finish(registry, stream)
    assert len(written) == 2
    assert max(written) <= SIZE


def test_a_name_that_comes_later(tmp_path):
    """A stream that is asked for its id while it is open is known by it after a kill, and counts once."""
    killed(
        tmp_path,
        """
    stream = begin(registry, Watched(parent))
    from otel_streaming._stream import Notes
    stream.notes = Notes(0xAB)
    registry.named(stream, Watched(parent))
    begin(registry)
    """,
    )
    registry, recorder = recording(tmp_path)
    ((_, dead),) = recorder.look()
    assert sorted((d.summary.stream_id or "", d.trace_id) for d in dead) == [("", 0), (f"{0xAB:016x}", 7)]
    assert registry.started() == {SHAPE: 2}
    assert registry.ended() == {DIED: 2}


def test_a_service_of_any_name(tmp_path):
    """A name that is no text keeps nobody from being recorded, and takes no descriptors."""
    registry = Registry()
    registry.recorder = Recorder(str(tmp_path), registry, lambda: "caf\udce9")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        registry.recorder.look()
    assert registry.recorder.on
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


def test_an_unforeseen_fault_is_the_last_one(tmp_path, caplog):
    """Whatever goes wrong in making the file comes once."""
    registry = Registry()
    registry.recorder = Recorder(str(tmp_path), registry, lambda: 5)
    registry.recorder.look()
    assert registry.recorder is None
    assert [record.message[:25] for record in caplog.records] == ["the crash recorder is off"]


def test_a_relative_folder_is_refused(monkeypatch, caplog):
    """XDG_STATE_HOME has to be absolute (XDG base directories): nothing is made below wherever a service runs."""
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    caplog.set_level(logging.INFO)
    registry, recorder = recording(None, "auto")
    recorder.look()
    assert registry.recorder is None
    assert "no absolute path" in caplog.text
    assert not Path("here").exists()


def test_old_files_of_other_services_are_removed(tmp_path):
    """What a service that is gone has left stays a week, and no longer; nobody counts it."""
    registry = Registry()
    registry.recorder = Recorder(str(tmp_path), registry, lambda: "gone")
    registry.recorder.look()
    registry.recorder.reset()
    (left,) = files(tmp_path)
    _, recorder = recording(tmp_path)
    recorder.look()
    assert Path(left).exists()
    os.utime(left, (time.time() - 8 * 86400,) * 2)
    heir(tmp_path)
    assert not Path(left).exists()
