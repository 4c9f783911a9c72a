"""A command that is started instrumented: how it is found, what its environment is, its signals and its output."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from otel_streaming.cli.options import VARIABLES_FIRST, StopError
from otel_streaming.semconv import SERVICE_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

_SIGNALS = ("traces", "metrics", "logs")
_FAST = {"OTEL_METRIC_EXPORT_INTERVAL": "1000", "OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BLRP_SCHEDULE_DELAY": "200"}
"""Milliseconds: live is to be live."""
_ELSEWHERE = ("OTEL_EXPORTER_OTLP_", "OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")
"""What would send telemetry somewhere else, or otherwise."""
_TO_THE_GROUP = {signal.SIGINT, signal.SIGQUIT}
"""What a terminal sends to every process at once; a supervisor's go to the first one alone."""
_PASSED_ON = (*_TO_THE_GROUP, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_MOST_LINES = 10_000
_LONGEST_LINE = 65536
_PROMPT = 0.2
"""Seconds for which a line that is begun is waited for."""


class ChildError(StopError):
    """The command cannot be started; the message says what to do.

    Args:
        message: For people.
        status: What a shell would exit with: 127 when there is no such command, 126 when it cannot be executed.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def find(command: str) -> str:
    """Return the path of a command: beside this Python, where what instruments it is installed, else on PATH.

    Raises:
        ChildError: There is none.
    """
    here = Path(sys.executable).parent
    found = shutil.which(command, path=os.pathsep.join((str(here), os.environ.get("PATH", os.defpath))))
    if found:
        return found
    path = Path(command)
    if path.suffix == ".py" and path.is_file():
        raise ChildError(f"{command} is no command but a file: otel-streaming run -- python {command}", 126)
    if path.exists():
        raise ChildError(f"{command} cannot be executed: give a command, or chmod +x it", 126)
    todo = "give the path of one that is there"
    if "=" in command:
        todo = VARIABLES_FIRST
    elif path.name == command and path.suffix == "":
        todo = f"install it there ({sys.executable} -m pip install {command}), or give its path"
    raise ChildError(f"{command}: no such command in {here} or on PATH; {todo}", 127)


def environment(base: Mapping[str, str], endpoint: str) -> dict[str, str]:
    """Return the environment of a command that is instrumented as ``opentelemetry-instrument`` does it.

    Args:
        base: What there is; the service's name and its settings are kept, where its telemetry went is not.
        endpoint: Where its telemetry goes now.
    """
    kept = {name: value for name, value in base.items() if not name.startswith(_ELSEWHERE)}
    if not kept.get("OTEL_SERVICE_NAME") and f"{SERVICE_NAME}=" not in kept.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        kept["OTEL_SERVICE_NAME"] = Path.cwd().name or "service"
    spec = importlib.util.find_spec("opentelemetry.instrumentation.auto_instrumentation")
    instrumented = (spec and spec.submodule_search_locations) or []
    direct = [host for name in ("NO_PROXY", "no_proxy") if (host := kept.get(name))] + ["127.0.0.1"]
    return {
        **kept,
        **_FAST,
        **{f"OTEL_{name.upper()}_EXPORTER": "otlp" for name in _SIGNALS},
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SDK_DISABLED": "false",
        "NO_PROXY": ",".join(direct),
        "no_proxy": ",".join(direct),
        "PYTHONPATH": os.pathsep.join((*instrumented, str(Path.cwd()), *filter(None, [kept.get("PYTHONPATH")]))),
        "PYTHONUNBUFFERED": "1",
    }


class Child:
    """The command while it runs; signals that this process gets are passed on to it.

    Ctrl-C asks it to end; once more, not to wait for what is open (uvicorn takes it so), and only then its streams are
    told of; the third time kills it and all that it has started.

    Args:
        argv: The command, as `find` returns it, and its arguments.
        env: Its environment.
        captured: Whether what it writes to a terminal is kept for `lines`, so that it can be shown above a view.
        stdout: Where its standard output goes otherwise; None for this process's.

    Raises:
        ChildError: On entry, when it cannot be started.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, captured: bool, stdout: Any = None) -> None:
        self._argv = list(argv)
        self._env = dict(env)
        self._captured = captured
        self._stdout = stdout
        self._lines: queue.Queue[str] = queue.Queue(_MOST_LINES)  # full: the command waits, as for a slow terminal
        self._before: dict[int, Any] = {}
        self._readers: list[threading.Thread] = []
        self.interrupts = 0

    def __enter__(self) -> Self:
        for number in _PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                self._before[number] = signal.signal(number, self._pass_on)
        try:
            self._start()
        except BaseException:
            self._give_back()
            raise
        return self

    def _start(self) -> None:
        stdout = subprocess.PIPE if self._captured and sys.stdout.isatty() else self._stdout
        stderr = subprocess.PIPE if self._captured and sys.stderr.isatty() else None
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - what the user asks for
                self._argv, env=self._env, stdout=stdout, stderr=stderr, start_new_session=True, bufsize=0
            )
        except OSError as error:
            raise ChildError(f"{self._argv[0]} cannot be executed: {error.strerror}", 126) from error
        for stream in filter(None, (self._popen.stdout, self._popen.stderr)):
            reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
            reader.start()
            self._readers.append(reader)

    def __exit__(self, *_: object) -> None:
        if self._popen.poll() is None:  # something of ours has failed: nothing is left behind
            self._signal_group(signal.SIGKILL)
            self._popen.wait()
        self._give_back()

    def wait(self, seconds: float) -> bool:
        """Wait for its end, no longer than that; tell whether it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(seconds)
        return self._popen.returncode is not None

    @property
    def status(self) -> int:
        """Its exit status; as a shell tells it where a signal has ended it."""
        status = self._popen.wait()
        return status if status >= 0 else 128 - status

    def lines(self, *, last: bool = False) -> list[str]:
        """Return what it has written since; at the ``last`` time, wait a moment for what is still on its way."""
        for reader in self._readers if last else ():
            reader.join(1.0)
        lines: list[str] = []
        with contextlib.suppress(queue.Empty):
            while len(lines) < _MOST_LINES:
                lines.append(self._lines.get_nowait())
        return lines

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _read(self, stream: IO[bytes]) -> None:
        rest = b""
        with stream:
            while more := stream.read(_LONGEST_LINE):
                *lines, rest = (rest + more).split(b"\n")
                if len(rest) >= _LONGEST_LINE or _asks(stream, rest):
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._keep(line)
        if rest:
            self._keep(rest)

    def _keep(self, line: bytes) -> None:
        self._lines.put(line.decode(errors="replace").rstrip("\r"))

    def _pass_on(self, number: int, _: object) -> None:
        self.interrupts += number == signal.SIGINT
        if not hasattr(self, "_popen"):
            raise KeyboardInterrupt
        if number in _TO_THE_GROUP:
            self._signal_group(signal.SIGKILL if self.interrupts > 2 else number)
        else:
            self._popen.send_signal(number)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)


def _asks(stream: IO[bytes], begun: bytes) -> bool:
    """Tell whether a line that is begun stays so: a prompt, and no progress bar, which goes back to where it began."""
    return bool(begun) and b"\r" not in begun and not select.select([stream], [], [], _PROMPT)[0]
