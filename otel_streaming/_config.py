"""Settings: ``OTEL_PYTHON_STREAMING_*``, read once, immutable. A bad value is reported once and its default used."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from otel_streaming._dialects import Declared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "OTEL_PYTHON_STREAMING_"

T = TypeVar("T")


class BadValueError(ValueError):
    """A setting's text cannot be read; the message says what is allowed."""


class Globs:
    """Route globs: ``*`` matches anything, a slash too."""

    def __init__(self, *globs: str) -> None:
        self._pattern = re.compile("|".join(map(fnmatch.translate, globs))) if globs else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    def match(self, *names: str | None) -> bool:
        """Tell whether one of the names (route template, path) matches."""
        return self._pattern is not None and any(name and self._pattern.match(name) for name in names)


class PerRoute(Generic[T]):
    """Values by route glob; the first glob that matches wins, else the default."""

    def __init__(self, default: T, *rows: tuple[str, T]) -> None:
        self.default = default
        self._rows = [(Globs(glob), value) for glob, value in rows]

    def get(self, *names: str | None) -> T:
        """Return the value for the first matching glob."""
        return next((value for globs, value in self._rows if globs.match(*names)), self.default)

    def named(self, *names: str | None) -> bool:
        """Tell whether a glob of its own names one of these."""
        return any(globs.match(*names) for globs, _ in self._rows)


def _list(text: str, separator: str = ",") -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


def _globs(text: str) -> Globs:
    return Globs(*_list(text))


def _regexes(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile("|".join(_list(text))) if _list(text) else None
    except (re.error, OverflowError, RecursionError, Warning) as error:  # a host may have made warnings errors
        raise BadValueError("comma-separated regular expressions") from error


def _word(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip().lower() not in words:
            raise BadValueError("one of " + ", ".join(words))
        return text.strip().lower()

    return parse


def _switch(text: str) -> bool:
    return _word("on", "off", "true", "false", "1", "0")(text) in {"on", "true", "1"}


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\s*\d{1,9}\s*", text) or not low <= int(text) <= high:
            raise BadValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def _folder(text: str) -> str:
    folder = text.strip()
    if folder.lower() in {"auto", "off"}:
        return folder.lower()
    if not folder.startswith(("/", "~/")):
        raise BadValueError("auto, off, or a folder's absolute path")
    return folder


def _thresholds(text: str) -> PerRoute[float]:
    default, rows = 10.0, []
    for part in _list(text):
        glob, equals, seconds = part.rpartition("=")
        try:
            value = float(seconds)
        except ValueError:
            value = -1.0
        if not 0 < value < 86400 or (equals and not glob.strip()):
            raise BadValueError("seconds above 0, or comma-separated GLOB=SECONDS, such as '10' or '/feed/*=60,10'")
        if equals:
            rows.append((glob.strip(), value))
        else:
            default = value
    return PerRoute(default, *rows)


def _terminals(text: str) -> PerRoute[Declared | None]:
    rows = []
    for part in _list(text, ";"):
        glob, _, marker = (piece.strip() for piece in part.partition("="))
        how, _, what = marker.partition(":")
        bad = how not in {"event", "data", "json", "none"} or (how != "none" and not what) or not glob
        if bad or (how == "json" and "=" not in what):
            raise BadValueError(
                "semicolon-separated GLOB=event:NAME, GLOB=data:LITERAL, GLOB=json:KEY=VALUE or GLOB=none"
            )
        rows.append((glob, Declared(how, what)))
    return PerRoute(None, *rows)


def _setting(parse: Callable[[str], Any], default: str, brief: str) -> Any:
    return field(default_factory=lambda: parse(default), metadata={"parse": parse, "text": default, "brief": brief})


@dataclass(frozen=True)
class Settings:
    """Every setting; a field ``x`` is read from ``OTEL_PYTHON_STREAMING_X``."""

    spans: str = _setting(_word("all", "bad", "sampled", "off"), "all", "which streams get a span")
    routes: Globs = _setting(_globs, "", "route globs that stream")
    excluded_urls: re.Pattern[str] | None = _setting(_regexes, "", "regular expressions of paths to leave alone")
    terminals: PerRoute[Declared | None] = _setting(_terminals, "", "terminal markers by route glob")
    stall_threshold: PerRoute[float] = _setting(_thresholds, "10", "seconds of silence that are a stall")
    subscriptions: Globs = _setting(_globs, "", "route globs of open-ended streams")
    mark_parent: bool = _setting(_switch, "on", "mark the server span on a silent failure")
    chunk_events: int = _setting(_integer(0, 96), "0", "last chunks to show as span events")
    metrics: str = _setting(_word("ledger", "all"), "ledger", "all: the process counts every end and its reason itself")
    logs: str = _setting(_word("bad", "all", "off"), "bad", "which ends get a log record")
    model_names: bool = _setting(_switch, "on", "record model names where the stream tells")
    state_dir: str = _setting(_folder, "auto", "folder of the crash recorder; auto is the user's state folder")
    capture_finish_reason: bool = _setting(_switch, "on", "record finish reasons where the stream tells")
    max_routes: int = _setting(_integer(1, 380), "200", "routes told apart before _OTHER")


def read_settings(environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Read the settings and what is wrong with them.

    Returns:
        The settings, with defaults in place of bad values, and one sentence for each bad value or unknown name.
    """
    values: dict[str, Any] = {}
    problems = []
    known = {PREFIX + setting.name.upper(): setting for setting in fields(Settings)}
    shared = {"OTEL_PYTHON_EXCLUDED_URLS": known[PREFIX + "EXCLUDED_URLS"]}  # of all instrumentations; ours wins
    for variable, setting in {**shared, **known}.items():
        text = environ.get(variable, "")
        if not text.strip():
            continue
        try:
            values[setting.name] = setting.metadata["parse"](text)
        except BadValueError as error:
            default = setting.metadata["text"]
            problems.append(f"{variable}={text[:200]!r} is ignored, the default {default!r} is used: give {error}")
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    problems += [f"{name} is no setting: one of {', '.join(known)}" for name in unknown]
    return Settings(**values), problems
