"""Start, watch and stop processes so that none outlives the one that started it."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from stack.binaries import StackError, cache, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

_T = TypeVar("_T")
_POLL_SECONDS = 0.05
_given: set[int] = set()
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def free_ports(count: int) -> list[int]:
    """Return ``count`` free ports on 127.0.0.1, none of which a process that still runs has been given before.

    They lie below the range from which the kernel serves outgoing connections (32768 and up on Linux), so that
    no connection takes one between now and the moment a server listens on it.

    Raises:
        StackError: There are not so many, or none can be locked.
    """
    ports: list[int] = []
    claims = _claims()
    candidates = iter(random.SystemRandom().sample(range(18000, 32000), 2000))
    while len(ports) < count:
        port = next(candidates, None)
        if port is None:
            message = (
                f"{count - len(ports)} more free ports are wanted than there are, or the cache's file system has no "
                "locks: set XDG_CACHE_HOME to a folder of one that has"
            )
            raise StackError(message)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free to listen on
            probe.bind(("127.0.0.1", port))
            fcntl.lockf(claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            ports.append(port)
            _given.add(port)
    return ports


@functools.cache
def _claims() -> int:
    """Return the file whose byte at each port is locked by the process that was given that port, until it ends."""
    claims = cache() / "ports"
    claims.parent.mkdir(parents=True, exist_ok=True)
    return os.open(claims, os.O_RDWR | os.O_CREAT, 0o600)


def listens(port: int) -> bool:
    """Tell whether anybody accepts connections on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(predicate: Callable[[], _T], what: str, timeout: float = 60.0, processes: Iterable[Process] = ()) -> _T:
    """Poll until ``predicate`` returns something true, and return that.

    A refused or broken connection counts as "not yet".

    Raises:
        StackError: Not within ``timeout`` seconds, or one of ``processes`` has died (at once, with its log's tail).
    """
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        for process in processes:
            process.check()
        try:
            last = value = predicate()
        except (OSError, http.client.HTTPException) as error:
            last, value = error, None
        if value:
            return value
        if time.monotonic() > deadline:
            logs = "".join(f"\n{process.name}, {process.log}:\n{tail(process.log)}" for process in processes)
            message = f"Waited {timeout:.0f} s in vain for {what}; last seen: {last!r}{logs}"
            raise StackError(message)
        time.sleep(_POLL_SECONDS)


class Process:
    """A process in a session of its own, its output in a file.

    On Linux it gets SIGTERM when the *thread* that called `start` ends: start it from one that stays.

    Args:
        name: What messages call it.
        argv: Program and arguments.
        log: Where its output is appended.
        env: Added to this process's environment, without any ``OTEL_`` variable of ours: a developer's own
            settings must not bend what is measured.
        cwd: Its working directory.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(word) for word in argv]
        self.log = log
        self.env = dict(env or {})
        self.cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None
        self._group: int | None = None  # of the running process; None once stopped, since ids are used again

    def start(self) -> Self:
        """Start it (again, if it has been stopped)."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        env |= {"NO_PROXY": "*", "no_proxy": "*"}  # all traffic is local
        env |= self.env
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.argv,
                env=env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 one system call through a library loaded beforehand
            )
        self._group = self._popen.pid
        atexit.register(self.stop)
        return self

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group."""
        return self._started().pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._popen.poll() if self._popen else None

    def check(self) -> None:
        """Raise StackError, with the tail of its log, if it has ended."""
        if self.returncode is not None:
            ended = f"{self.name} ended with {self.returncode}: {' '.join(self.argv)}"
            message = f"{ended}\n{tail(self.log)}\nThe whole log: {self.log}"
            raise StackError(message)

    def wait_until(self, predicate: Callable[[], _T], what: str, timeout: float = 60.0) -> _T:
        """Poll until ``predicate`` returns something true; fail at once when this process dies. See `wait_until`."""
        return wait_until(predicate, what, timeout, (self,))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._popen and self._popen.poll() is None:
            self._popen.send_signal(number)

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for its end and return the exit code.

        Raises:
            StackError: It is still running after ``timeout`` seconds.
        """
        try:
            return self._started().wait(timeout)
        except subprocess.TimeoutExpired as error:
            message = f"{self.name} still runs after {timeout:.0f} s"
            raise StackError(message) from error

    def stop(self, grace: float = 10.0) -> None:
        """SIGTERM; after ``grace`` seconds SIGKILL to what is left of its process group. Safe to repeat."""
        if self._popen is None or self._group is None:
            return
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGKILL)
        self._group = None
        self._popen.wait()
        atexit.unregister(self.stop)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._popen is None:
            message = f"{self.name} has not been started"
            raise StackError(message)
        return self._popen

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _die_with_parent() -> None:
    if _libc:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
