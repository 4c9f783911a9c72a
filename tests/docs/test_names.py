"""What pages name is there: commands, options, settings, targets of make, files, signals."""

import re
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from typer.main import get_command

from otel_streaming import StreamSummary
from otel_streaming._config import Settings
from otel_streaming.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts]
PAGES = {page.relative_to(ROOT): page.read_text() for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS)}
SIGNALS = set(re.findall(r'"(stream\.[a-z_.]+)"', (ROOT / "otel_streaming/semconv.py").read_text()))
METRICS = {one.replace(".", "_") for one in SIGNALS}
SUFFIX = re.compile(r"(_seconds|_bytes)?(_total|_count|_sum|_bucket)?$")
COMMANDS = {name: command.params for name, command in get_command(app).commands.items()}


def _is_file(path):
    """A path of a folder at the top of this repository, which may have a star; what is built need not be there."""
    return "_build/" in path or not (ROOT / path.partition("/")[0]).exists() or any(ROOT.glob(path))


def _is_option(words):
    command, _, option = words.partition(" ")
    options = {name for one in COMMANDS.get(command, ()) for name in (*one.opts, *one.secondary_opts)}
    return option in options or (option == "--help" and command in COMMANDS)


def _options(text):
    """Options of our commands; what follows ``--`` or ``curl`` is another's."""
    for command, rest in re.findall(r"(?:`|^\$ )otel-streaming ([a-z]+)([^`\n]*)", text, re.MULTILINE):
        yield f"{command} --help"
        yield from (f"{command} {one}" for one in re.findall(r" (--?[a-z][\w-]*)", re.split(r" -- | curl ", rest)[0]))


def _found(pattern, within=r"(.+)"):
    return lambda text: [name for part in re.findall(within, text) for name in re.findall(pattern, part)]


CODE = r"`([^`\n]+)`"
NAMES = {
    "settings": (
        _found(r"OTEL_PYTHON_STREAMING_([A-Z_]*[A-Z])\b"),
        {one.name.upper() for one in fields(Settings)}.__contains__,
    ),
    "targets": (
        _found(r"`make ([a-z]+)"),
        re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE).__contains__,
    ),
    "files": (_found(r"^[\w.-]+/[\w./*-]+$", CODE), _is_file),
    "options": (_options, _is_option),
    "attributes": (_found(r"(?<![\w.])stream\.[a-z_.]*[a-z](?![\w(.])", CODE), SIGNALS.__contains__),
    "metrics": (
        _found(r"(?<![\w:./-])stream_[a-z_]+", CODE),
        lambda name: {name, SUFFIX.sub("", name)} & METRICS or name in StreamSummary._fields,
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_what_is_named_is_there(kind):
    """Every such name in the documentation is one."""
    find, known = NAMES[kind]
    found = {(str(page), name) for page, text in PAGES.items() for name in find(text)}
    assert found
    assert {(page, name) for page, name in found if not known(name)} == set()


def test_all_of_it_can_be_switched_off():
    """What howto/service.md gives to the variable is every entry point."""
    ours = [
        one.name for one in entry_points(group="opentelemetry_instrumentor") if one.value.startswith("otel_streaming.")
    ]
    page = PAGES[Path("docs/howto/service.md")]
    [named] = re.findall(r"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=([\w,]+)", page)
    assert sorted(named.split(",")) == sorted(ours)
