"""What a host, its file system and its other processes may do to the crash recorder, with real ones of each."""

import ctypes
import fcntl
import os
import platform
import struct
import subprocess
import sys
import time

import pytest
from test_recorder import (
    DIED,
    HERE,
    KILLED,
    OFF,
    OK,
    SHAPE,
    UNSEEN,
    counts,
    files,
    heir,
    killed,
    living,
    recording,
    run,
)

from otel_streaming._watchdog import record


def looks(recorder, times=5):
    """Look so often that the dead have been looked for; returns all that was found."""
    return [found for _ in range(times) for found in recorder.look()]


def two_killed(folder):
    with living(folder, KILLED), living(folder, KILLED):
        pass


# -- the folder and its lock ---------------------------------------------------------------------------------


def test_a_file_is_made_while_another_takes_over_the_dead(tmp_path):
    """Whoever starts meanwhile is recorded at once, waits for nothing, and looks for the dead another time."""
    killed(tmp_path, KILLED)
    busy = os.open(files(tmp_path)[0].parent, os.O_RDONLY)
    fcntl.flock(busy, fcntl.LOCK_EX)
    registry, recorder = recording(tmp_path)
    assert recorder.look() == []
    assert recorder.on
    assert len(files(tmp_path)) == 2
    os.close(busy)
    assert len(looks(recorder)) == 1
    assert counts(registry) == {SHAPE: 2, OK: 2, DIED: 1}


def test_a_file_that_was_never_finished(tmp_path):
    """What a process left that was killed while it made its file counts nothing, and goes in a week."""
    killed(
        tmp_path, "\n    os.posix_fallocate = lambda *_: os.kill(os.getpid(), signal.SIGKILL); recorder.look()", UNSEEN
    )
    (left,) = files(tmp_path)
    assert heir(tmp_path)[1] == []
    assert left.exists()
    os.utime(left, (time.time() - 8 * 86400,) * 2)
    assert heir(tmp_path)[1] == []
    assert not left.exists()


@pytest.mark.parametrize("order", [sorted, lambda names: sorted(names, reverse=True)], ids=["first", "last"])
def test_more_dead_than_are_taken_at_one_time(order, tmp_path, monkeypatch):
    """One killed while it took over another: both count once, whichever of the two is found first, and alone."""
    killed(tmp_path, KILLED)
    taken = files(tmp_path)[0]
    killed(
        tmp_path,
        """
    recorder._create()
    finish(registry, begin(registry))
    recorder._folder.remove = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    recorder.look()
    """,
        UNSEEN,
    )
    (taker,) = set(files(tmp_path)) - {taken}
    taker.rename(taker.with_name(f"{taker.name[:26]}{1:016x}"))
    names = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: order(names(folder)))
    monkeypatch.setattr("otel_streaming._folder._MOST", 1)
    registry, recorder = recording(tmp_path)
    looks(recorder, 15)
    assert counts(registry) == {SHAPE: 3, OK: 3, DIED: 1}


def test_what_was_found_before_a_failure_is_told(tmp_path):
    """Of two dead files the second one cannot be removed: the first one's streams are reported all the same."""
    two_killed(tmp_path)
    registry, recorder = recording(tmp_path)
    adopt = registry.adopt

    def adopting(found):
        for path in files(tmp_path):
            if not path.name.endswith(registry.process_id):
                path.unlink()
                path.mkdir()
        adopt(found)

    registry.adopt = adopting
    assert len(recorder.look()) == 1
    assert counts(registry) == {SHAPE: 2, OK: 2, DIED: 1}
    assert registry.recorder is None


def test_a_report_that_fails_costs_no_other(tmp_path):
    """Each dead process is told of, whatever goes wrong in telling of another."""
    two_killed(tmp_path)
    registry, _ = recording(tmp_path)
    told = []

    class Failing:
        ready = staticmethod(lambda: True)

        def died(self, process_id, streams):
            told.append(len(streams))
            raise ValueError

    record(registry, Failing(), list)
    assert told == [1, 1]


# -- the host's descriptors ----------------------------------------------------------------------------------

CLOSES = """
    import logging
    logging.basicConfig(format="%(message)s")
    stream = begin(registry)
    os.closerange(3, 64)
    hosts = [os.open(Path(sys.argv[2], f"host{n}"), os.O_RDWR | os.O_CREAT) for n in range(40)]
    for fd in hosts: os.write(fd, b"host")
    DOES
    for fd in hosts: os.fstat(fd)
    assert all(path.read_bytes() == b"host" for path in Path(sys.argv[2]).glob("host*"))
"""
GOES_OFF = """
    assert registry.recorder is None
    assert files(Path(sys.argv[2])) == []
    assert counts(registry)[SHAPE] >= 1
"""


@pytest.mark.parametrize(
    "does",
    [
        "finish(registry, stream); recorder.look()",
        "begin(registry); recorder.look()",
        "registry.handed({SHAPE: 1}); recorder.look()",
        "recorder.look()",
    ],
    ids=["end", "begin", "collection", "look"],
)
def test_a_host_that_closes_what_it_does_not_know(does, tmp_path):
    """Its own files get our descriptors' numbers: nothing is written to them or closed, and there is one notice."""
    code = UNSEEN + "    recorder.look()" + CLOSES.replace("DOES", does) + GOES_OFF
    command = [sys.executable, "-c", code, HERE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the crash recorder is off") == 1


def test_a_forked_child_closes_nothing_of_the_hosts(tmp_path):
    """A child forked after its parent has closed all and opened its own has them open."""
    assert run(tmp_path, CLOSES.replace("DOES", "recorder.reset()")) == 0


# -- giving up -----------------------------------------------------------------------------------------------

GIVES_UP = """
    import resource
    finish(registry, begin(registry))
    begin(registry)
    SPOIL(recorder, files(Path(sys.argv[2]))[0])
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    begin(registry)
    recorder.look()
    assert registry.recorder is None
"""
_GET_FLAGS, _SET_FLAGS, _APPEND_ONLY = 0x80086601, 0x40086602, 0x20


def another_name(recorder, path):
    """What is to be removed is somewhere else, and a folder in its place."""
    path.rename(path.with_name(f"{path.name[:26]}{1:016x}"))
    path.mkdir()


def append_only(recorder, path):
    """Neither to be removed nor to be cut (chattr +a)."""
    set_append_only(path, True)


def set_append_only(path, on):
    fd = os.open(path, os.O_RDONLY)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, bytes(8)))
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", flags | _APPEND_ONLY if on else flags & ~_APPEND_ONLY))
    finally:
        os.close(fd)


@pytest.fixture
def flags_may_be_set(tmp_path):
    probe = tmp_path / "probe"
    probe.touch()
    try:
        set_append_only(probe, True)
        set_append_only(probe, False)
    except OSError:
        pytest.skip("no attributes of files here")


@pytest.mark.usefixtures("flags_may_be_set")
@pytest.mark.parametrize("spoil", [another_name, append_only])
def test_a_file_that_cannot_be_removed(spoil, tmp_path):
    """A recorder that is off, and whose file stays, is not taken for dead while its process lives."""
    code = "\n    import test_recorder_hosts" + GIVES_UP.replace("SPOIL", f"test_recorder_hosts.{spoil.__name__}")
    with living(tmp_path, code):
        for path in files(tmp_path):
            set_append_only(path, False)  # whatever it was that came in the way, it goes
        registry, found = heir(tmp_path)
        assert (found, counts(registry)) == ([], {})


# -- the kernel that refuses ---------------------------------------------------------------------------------

_FLOCK = {"x86_64": 73, "aarch64": 32}.get(platform.machine())


def refuse_locks(error):
    """Have the kernel answer each flock() of this process with ``error``, as some file systems do (seccomp)."""

    class Rule(ctypes.Structure):
        _fields_ = (("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("k", ctypes.c_uint))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("rules", ctypes.POINTER(Rule)))

    rules = (Rule * 4)((0x20, 0, 0, 0), (0x15, 0, 1, _FLOCK), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7FFF0000))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
    assert libc.prctl(22, 2, ctypes.byref(Program(4, rules))) == 0


@pytest.mark.skipif(_FLOCK is None, reason="the number of flock() is not known here")
@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP", "EBADF"])
@pytest.mark.parametrize("when", ["at once", "later"])
def test_where_locks_are_refused(when, error, tmp_path):
    """On a file system without locks, of files or of folders, the recorder is off with one notice; streams go on."""
    refuse = f"import errno, test_recorder_hosts as t; t.refuse_locks(errno.{error})"
    made = "registry, recorder = recording(Path(sys.argv[2]))"
    code = OFF.replace(made, f"{made}\n    {'recorder._create(); ' if when == 'later' else ''}{refuse}")
    command = [sys.executable, "-c", code, HERE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the crash recorder is off") == 1
    assert files(tmp_path) == []


# -- a name that comes late ----------------------------------------------------------------------------------

LATE = """if True:
    import os, signal, sys
    sys.path.insert(0, sys.argv[1])
    from test_recorder import *
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from otel_streaming import _engine
    from otel_streaming._watchdog import record
    from otel_streaming._config import Settings
    _engine.use(engine := _engine.Engine(Settings(state_dir=sys.argv[2])))
    registry = engine.registry
    tell = lambda: record(registry, engine.telemetry, list)
    tell()
    assert not counts(registry)
    trace.set_tracer_provider(TracerProvider(resource=Resource.create({"service.name": "NAME"})))
    tell()
"""


def test_a_service_that_is_named_in_its_startup(tmp_path):
    """Its provider is set up after the file was made: another service's dead are not its own, its own ones are."""
    killed(tmp_path, "    begin(registry); tell()", LATE.replace("NAME", "a"))
    assert run(tmp_path, "    assert not counts(registry)", LATE.replace("NAME", "b")) == 0
    assert run(tmp_path, "    assert counts(registry) == {SHAPE: 1, DIED: 1}", LATE.replace("NAME", "a")) == 0


def test_a_service_without_telemetry(tmp_path):
    """Where no provider comes, the dead are found once there are streams."""
    bare = LATE.partition("    trace.set_tracer_provider")[0]
    killed(tmp_path, "    begin(registry); tell()", bare)
    code = "    begin(registry); tell(); assert counts(registry) == {SHAPE: 2, DIED: 1}"
    assert run(tmp_path, code, bare) == 0
