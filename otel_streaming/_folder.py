"""The state folder: one file a process, whose lock says that its owner lives.

Not its process id, which another process may have by now. A lock belongs to an open file, which a forked child shares:
the child closes its copy first thing, and never unlocks. A file is locked before it gets its name. Whoever takes dead
ones holds the folder's own lock: of four workers that start together one finds the dead, and the others find nothing.
Nothing here waits, and nothing that is not ours, to us alone, is opened for more than a look at whose it is. Nor is a
descriptor closed that has become another file's: a host may close what it did not know, and use its number again.
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
_MOST = 32
"""Dead files taken at one time."""
_FORGOTTEN = 7 * 86400
"""Seconds after which what another version or another service has left is removed."""
_NEW = ".new"
_NAME = re.compile(rf"([0-9a-f]{{16}})\.([0-9a-f]{{8}})\.([0-9a-f]{{16}})({re.escape(_NEW)})?")


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
        self._service = _key(service)
        self.path = base / f"otel-streaming-{os.geteuid()}"
        self._open_ones: dict[int, os.stat_result] = {}
        self._uses = 0  # of the folder, under way; there may be open ones meanwhile that are not noted yet
        base.mkdir(0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            self.path.mkdir(0o700)
        with self._opened():
            pass

    def close(self) -> None:
        """Close all that is open, as a forked child must: what its parent has locked stays locked."""
        for fd in list(self._open_ones):
            self._shut(fd)
        if self._uses:  # by another thread, as the fork came
            with contextlib.suppress(OSError):  # not every system tells
                self._shut_unknown(Path("/proc/self/fd"))

    def create(self, process_id: str, size: int) -> int:
        """Make a file of ``size`` bytes, all of them there, locked; returns its descriptor."""
        name = self._name(process_id)
        with self._opened() as folder:
            fd = self._open(folder, name + _NEW, os.O_CREAT | os.O_EXCL)
            try:
                fcntl.flock(fd, _AT_ONCE)
                os.posix_fallocate(fd, 0, size)
                os.rename(name + _NEW, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                self._shut(fd)
                os.unlink(name + _NEW, dir_fd=folder)
                raise
        return fd

    def serve(self, service: str, process_id: str) -> None:
        """Be the folder of ``service`` from now on, with the file that there is."""
        before = self._name(process_id)
        self._service = _key(service)
        after = self._name(process_id)
        if after != before:
            with self._opened() as folder:
                os.rename(before, after, src_dir_fd=folder, dst_dir_fd=folder)

    def remove(self, process_id: str) -> None:
        """Remove a file."""
        with self._opened() as folder:
            os.unlink(self._name(process_id), dir_fd=folder)

    def discard(self, process_id: str, fd: int) -> None:
        """Remove the file open as ``fd``; if that fails let it say nothing, and if that fails keep it locked."""
        try:
            self.remove(process_id)
        except OSError:
            if self._is_ours(fd):
                os.ftruncate(fd, 0)
        self.close()

    @contextlib.contextmanager
    def dead(self, mine: str, size: int) -> Iterator[tuple[dict[str, int], list[bytes]]]:
        """Yield the files whose owners have died, but for ``mine``, and the first bytes of all files.

        The dead as descriptors by process id, locked meanwhile, and no more of them than can be read at one time; none
        while another process takes them.
        """
        found: dict[str, int] = {}
        heads: list[bytes] = []
        with self._opened() as folder, contextlib.ExitStack() as opened:
            for name in os.listdir(folder) if _locked(folder) else ():  # noqa: PTH208 - of what was looked at
                read = _NAME.fullmatch(name)
                fd = None if read is None or read[3] == mine else self._take(folder, name)
                if read is None or fd is None:
                    continue
                heads.append(os.pread(fd, size, 0))
                if read[1] != self._service or read[2] != FORMAT or read[4]:
                    if self._forgotten(fd) and self._is_dead(folder, name, fd):
                        os.unlink(name, dir_fd=folder)
                elif len(found) < _MOST and self._is_dead(folder, name, fd):
                    found[read[3]] = fd
                    opened.callback(self._shut, fd)
                    continue
                self._shut(fd)
            yield found, heads

    def _forgotten(self, fd: int) -> bool:
        return time.time() - self._open_ones[fd].st_mtime > _FORGOTTEN

    def _name(self, process_id: str) -> str:
        return f"{self._service}.{FORMAT}.{process_id}"

    def _take(self, folder: int, name: str) -> int | None:
        """Open a file, if it is a file of ours alone."""
        try:
            fd = self._open(folder, name, os.O_NONBLOCK)
        except OSError:  # a link, another's, gone
            return None
        found = self._open_ones[fd]
        if stat.S_ISREG(found.st_mode) and _ours(found) and found.st_nlink == 1:
            return fd
        self._shut(fd)
        return None

    def _is_dead(self, folder: int, name: str, fd: int) -> bool:
        """Take a file's lock, unless its owner lives, or it has just been removed."""
        with contextlib.suppress(FileNotFoundError):
            return _locked(fd) and os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=folder, follow_symlinks=False))
        return False

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the folder itself, for no longer than it takes.

        Raises:
            PermissionError: It is not ours alone.
        """
        self._uses += 1
        fd = -1
        try:
            fd = os.open(self.path, _DIRECTORY | os.O_NOFOLLOW)
            self._open_ones[fd] = os.fstat(fd)
            if not _ours(self._open_ones[fd]):
                raise PermissionError(f"{self.path} is open to others")
            yield fd
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile may have it open for a moment more
        finally:
            self._shut(fd)
            self._uses -= 1

    def _open(self, folder: int, name: str, flags: int) -> int:
        fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600, dir_fd=folder)
        self._open_ones[fd] = os.fstat(fd)
        return fd

    def _is_ours(self, fd: int) -> bool:
        with contextlib.suppress(OSError, KeyError):
            return os.path.samestat(os.fstat(fd), self._open_ones[fd])
        return False

    def _shut(self, fd: int) -> None:
        if self._is_ours(fd):
            os.close(fd)
        self._open_ones.pop(fd, None)

    def _shut_unknown(self, fds: Path) -> None:
        """Close what is open in the folder, the folder too."""
        path = self.path.resolve()
        for fd in fds.iterdir():
            with contextlib.suppress(OSError):  # what read the list is closed again
                if fd.readlink().is_relative_to(path):
                    os.close(int(fd.name))


def _key(service: str) -> str:
    return hashlib.sha256(service.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _locked(fd: int) -> bool:
    """Lock a file, or a folder, unless another process has."""
    try:
        fcntl.flock(fd, _AT_ONCE)
    except BlockingIOError:
        return False
    return True


def _ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077
