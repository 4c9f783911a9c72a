"""What ``doctor`` runs in a service's place, under whatever instruments it: ``python -m`` this module, and a FILE.

It looks at what the process has become, lets one stream go through it and out, and writes both to the file. It needs
the plugin and OpenTelemetry's API, nothing of the extra ``cli``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import logging
import os
import secrets
import sys
import threading
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace

from otel_streaming import observe
from otel_streaming._config import PREFIX, Settings, read_settings
from otel_streaming._engine import engine
from otel_streaming._registry import Registry
from otel_streaming._telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAM = "otel-streaming doctor"
"""The probe stream's route."""
_GROUP = "opentelemetry_instrumentor"
_OURS = "otel_streaming."
_GETS_OUT = 10.0
"""Seconds for the probe stream to be exported."""


@dataclass(frozen=True)
class Facts:
    """What a process of the service is like."""

    environ: dict[str, str]
    """Its ``OTEL_`` variables."""
    settings: dict[str, str]
    """The plugin's, by name; those of one word."""
    problems: list[str]
    """What is wrong with them."""
    instrumentors: dict[str, bool]
    """By name: whether it is at work. Ours begin with ``otel_streaming_``."""
    native: bool
    """FastAPI is installed, of a version that makes server spans itself."""
    hooked: list[str]
    """Modules that are installed and hooked."""
    unhooked: list[str]
    """Modules that are installed, and of a version that is not known."""
    records: bool
    """Whether a span of ours would record."""
    provider: str
    versions: dict[str, str]
    """Of OpenTelemetry's API and SDK, by the packages' names; what is not installed is left out."""
    recorder: str | None
    """Why the crash recorder cannot work; None if it can, or is off."""
    folder: str | None
    """Where it writes; None if it is off."""
    filesystem: str
    """The type of the file system there; empty if not known."""
    flushed: list[str]
    """Of ``traces`` and ``metrics`` what has been handed over."""
    said: list[str] = field(default_factory=list)
    """What OpenTelemetry logged meanwhile of all but metrics, warnings and worse."""


class _Said(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "metric" not in record.name:  # exporters of metrics have loggers of their own
            self.lines.append(record.getMessage()[:300])


def look() -> Facts:
    """Look at this process, and let the probe stream through it."""
    environ = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    os.environ[PREFIX + "STATE_DIR"] = "off"  # the probe leaves no dead behind, and adopts nobody's
    settings, problems = read_settings(environ)
    said = _Said()
    logging.getLogger("opentelemetry").addHandler(said)
    instrumentors = dict(_instrumentors())
    hooked, unhooked = _hooks()
    provider = trace.get_tracer_provider()
    folder, filesystem, recorder = _recorder(settings.state_dir)
    return Facts(
        environ=environ,
        settings={key: value for key, value in vars(settings).items() if isinstance(value, str)},
        problems=problems,
        instrumentors=instrumentors,
        native=_imports("fastapi.telemetry"),
        hooked=hooked,
        unhooked=unhooked,
        records=Telemetry(Settings(), Registry(), instruments=False).records(),
        provider=f"{type(provider).__module__}.{type(provider).__qualname__}",
        versions=dict(_versions()),
        recorder=recorder,
        folder=folder,
        filesystem=filesystem,
        flushed=_stream(),
        said=said.lines,
    )


def _instrumentors() -> Iterator[tuple[str, bool]]:
    for entry in entry_points(group=_GROUP):
        with contextlib.suppress(Exception):  # somebody's that cannot be imported is not at work
            yield entry.name, bool(entry.load()().is_instrumented_by_opentelemetry)


def _hooks() -> tuple[list[str], list[str]]:
    """Return the modules that are installed and hooked by our instrumentors at work, and those of unknown versions."""
    ours = [entry.load()() for entry in entry_points(group=_GROUP) if entry.value.startswith(_OURS)]
    working = [one for one in ours if one.is_instrumented_by_opentelemetry]
    installed = [name for one in working for name in one.hooks if _imports(name)]
    unknown = {name for one in working for name in one.unknown}
    return [name for name in installed if name not in unknown], sorted(unknown)


def _versions() -> Iterator[tuple[str, str]]:
    for name in ("opentelemetry-api", "opentelemetry-sdk"):
        with contextlib.suppress(PackageNotFoundError):
            yield name, version(name)


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001 - not installed, or needs what is not
        return False
    return True


def _recorder(setting: str) -> tuple[str | None, str, str | None]:
    """Return the recorder's folder, its file system, and what is wrong with it, tried as the recorder does."""
    if setting == "off" or not hasattr(os, "posix_fallocate"):
        return None, "", None
    from otel_streaming._folder import Folder, place  # noqa: PLC0415 - needs fcntl, which not every system has
    from otel_streaming._journal import SLOTS  # noqa: PLC0415
    from otel_streaming._slots import SIZE  # noqa: PLC0415

    base, made = Path(setting), list[Path]()
    try:
        base = place(setting)
        made += (path for path in (base, *base.parents) if not path.exists())
        folder, process_id = Folder(base, STREAM), secrets.token_hex(8)
        made[:0] = [folder.path] if made else []
        fd = folder.create(process_id, SLOTS * SIZE)
        with folder.dead(process_id, SIZE):
            pass
        folder.discard(process_id, fd)
    except (OSError, RuntimeError) as error:
        return str(base), _filesystem(base), str(error)
    else:
        return str(base), _filesystem(base), None
    finally:  # to make them is the service's affair: it may run as another user
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def _filesystem(folder: Path) -> str:
    """Return the type of the file system a folder lies in, by proc_pid_mountinfo(5); empty if that does not tell."""
    found = ""
    with contextlib.suppress(OSError, IndexError):
        device = folder.stat().st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if line.split()[2] == number:
                found = line.partition(" - ")[2].split()[0]
    return found


def _stream() -> list[str]:
    """Let one stream be watched to its end and exported; returns what has been handed over in time."""
    for _ in observe(["probe"], STREAM):
        pass
    engine().tell()
    flushed: list[str] = []

    def flush(signal: str, provider: Any, times: int) -> None:
        with contextlib.suppress(Exception):
            for _ in range(times):  # a series' first report is 0
                getattr(provider, "force_flush", bool)()
            flushed.append(signal)

    work = [
        threading.Thread(target=flush, args=args, daemon=True)
        for args in (("traces", trace.get_tracer_provider(), 1), ("metrics", metrics.get_meter_provider(), 2))
    ]
    deadline = time.monotonic() + _GETS_OUT
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(max(0.0, deadline - time.monotonic()))
    return sorted(flushed)


def main() -> None:
    """Write what there is to tell into the file that is named, and leave without waiting for anybody's exporter."""
    told = json.dumps(dataclasses.asdict(look()))
    Path(sys.argv[1]).write_text(told, encoding="utf-8")
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
