"""The state folder: one file a process, whose lock says that its owner lives.

Not its process id, which another process may have by now. A lock belongs to an open file, which a forked child shares:
the child closes its copy first thing, and never unlocks. Whoever makes a file or takes a dead one holds the folder's
own lock: of four workers that start together one finds the dead, and the others find nothing. Nothing here waits long,
and nothing that is not ours, to us alone, is opened for more than a look at whose it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from otel_streaming._slots import FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB
_TRIES, _PAUSE = 50, 0.02
_MOST = 32
"""Dead files taken at one time."""
_FORGOTTEN = 7 * 86400
"""Seconds after which what another version or another service has left is removed."""
_NAME = re.compile(r"([0-9a-f]{16})\.([0-9a-f]{8})\.([0-9a-f]{16})")


def place(setting: str) -> Path:
    """Return the folder that a setting names: ``auto`` is the user's state folder (XDG base directories).

    Raises:
        RuntimeError: There is no home, or it is no absolute path.
    """
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    named = Path(home if setting == "auto" else setting).expanduser()
    if not named.is_absolute():
        raise RuntimeError(f"{named} is no absolute path")
    return named


class Folder:
    """The folder of the user in a place that may be shared, and in it the files of one service."""

    def __init__(self, base: Path, service: str) -> None:
        """Make the folder, or take the one that is there.

        Raises:
            OSError: It cannot be made, or is not ours alone.
        """
        self._service = hashlib.sha256(service.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        name = f"otel-streaming-{os.geteuid()}"
        base.mkdir(0o700, parents=True, exist_ok=True)
        parent = os.open(base, _DIRECTORY)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
            self._fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        finally:
            os.close(parent)
        self._fds = {self._fd}  # all that are open: a fork may come at any time
        if not _ours(os.fstat(self._fd)):
            self.close()
            raise PermissionError(f"{base / name} is open to others")

    def close(self) -> None:
        """Close all that is open, as a forked child must: what its parent has locked stays locked."""
        for fd in self._fds:
            with contextlib.suppress(OSError):  # a host may have closed what it did not know
                os.close(fd)

    def create(self, process_id: str, size: int) -> int:
        """Make a file of ``size`` bytes, all of them there, and lock it; returns its descriptor."""
        with self._locked():
            fd = self._open(self._name(process_id), os.O_CREAT | os.O_EXCL)
            try:
                fcntl.flock(fd, _AT_ONCE)
                os.posix_fallocate(fd, 0, size)
            except OSError:
                self.remove(process_id)
                raise
        return fd

    def remove(self, process_id: str) -> None:
        """Remove a file."""
        os.unlink(self._name(process_id), dir_fd=self._fd)

    @contextlib.contextmanager
    def dead(self, mine: str) -> Iterator[dict[str, int]]:
        """Yield the files whose owners have died, but for ``mine``: descriptors by process id, locked meanwhile."""
        with self._locked(), contextlib.ExitStack() as opened:
            found: dict[str, int] = {}
            for name in os.listdir(self._fd):  # noqa: PTH208 - of the folder that was looked at, whatever its name means now
                read = _NAME.fullmatch(name)
                if read is None or read[3] == mine or len(found) == _MOST:
                    continue
                foreign = read[1] != self._service or read[2] != FORMAT
                fd = self._take(name) if not foreign or self._forgotten(name) else None
                if fd is None:
                    continue
                opened.callback(self._shut, fd)
                if foreign:
                    os.unlink(name, dir_fd=self._fd)
                else:
                    found[read[3]] = fd
            yield found

    def _forgotten(self, name: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return time.time() - os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mtime > _FORGOTTEN
        return False

    def _name(self, process_id: str) -> str:
        return f"{self._service}.{FORMAT}.{process_id}"

    def _take(self, name: str) -> int | None:
        try:
            fd = self._open(name, os.O_NONBLOCK)
        except OSError:  # a link, another's, gone
            return None
        try:
            found = os.fstat(fd)
            if stat.S_ISREG(found.st_mode) and _ours(found) and found.st_nlink == 1:
                fcntl.flock(fd, _AT_ONCE)
                if os.path.samestat(found, os.stat(name, dir_fd=self._fd, follow_symlinks=False)):
                    return fd
        except OSError:  # its owner lives, or it has just been removed
            pass
        self._shut(fd)
        return None

    def _open(self, name: str, flags: int) -> int:
        fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600, dir_fd=self._fd)
        self._fds.add(fd)
        return fd

    def _shut(self, fd: int) -> None:
        self._fds.discard(fd)
        os.close(fd)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock; another holds it for milliseconds.

        Raises:
            BlockingIOError: It was not to be had.
        """
        for attempt in range(_TRIES):
            try:
                fcntl.flock(self._fd, _AT_ONCE)
                break
            except BlockingIOError:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(_PAUSE)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


def _ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077
