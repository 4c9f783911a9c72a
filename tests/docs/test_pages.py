"""Pages do what they say: their blocks are taken from them and run, each page in a folder with nothing else in it."""

import doctest
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from stack import Process, free_ports, wait_until

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["tutorial.md", *sorted(str(page.relative_to(DOCS)) for page in (DOCS / "howto").iterdir())]
BIN = Path(sys.executable).parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STAYS = {"uvicorn", "opentelemetry-instrument", "otel-streaming"}
"""Commands that have the first terminal until Ctrl-C."""
OTHERS = {one.name for one in entry_points(group="opentelemetry_instrumentor") if not one.value.startswith("otel_")}
"""What instruments here, and not where a reader has installed what the page says."""
ENV = {
    **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "NO_PROXY": "*",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(sorted(OTHERS)),
    "OTEL_BSP_SCHEDULE_DELAY": "100",  # ms; 5 s by default
}


def matches(want, got):
    """Whether output is as the page shows it, where ``...`` stands for anything."""
    return doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)


class Reader:
    """Somebody with two terminals, who does what the blocks say: a method for each language."""

    def __init__(self, folder):
        self.folder, self.env, self.first = folder, ENV | {"XDG_STATE_HOME": str(folder / "state")}, None

    def sh(self, text):
        """What a page has installed is installed here: pip itself is not run."""
        (line,) = (line for line in text.splitlines() if "pip install" in line)
        for requirement in shlex.split(line.partition("install ")[2]):
            assert version("otel-streaming" if requirement[0] == "." else requirement.partition("[")[0])

    def python(self, text):
        name = re.match(r"# (\w+\.py)\n", text)[1]
        (self.folder / name).write_text(text)

    def diff(self, text):
        app, lines = self.folder / "app.py", text.splitlines()
        before, after = ("\n".join(line[1:] for line in lines if line[0] != sign) for sign in "+-")
        assert app.read_text().count(before) == 1, before
        app.write_text(app.read_text().replace(before, after))

    def console(self, text):
        if text.startswith("^C\n"):
            self.first.signal(signal.SIGINT)
            self.first.wait()
            self.text(text.removeprefix("^C\n"))
            return
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, want = part.partition("\n")
            words = shlex.split(command)
            if STAYS & set(words):
                self.start(["env", *words])  # the settings that a shell takes in front of a command
                continue
            shell, how = ["/bin/sh", "-c", command], {"cwd": self.folder, "env": self.env}
            done = subprocess.run(shell, **how, check=False, capture_output=True, text=True, timeout=60)
            assert matches(want, done.stdout), (command, done.stdout, done.stderr)

    def text(self, want):
        """What the first terminal shows, sooner or later."""
        log = self.first.log
        wait_until(lambda: matches(f"...{want.strip()}...", log.read_text()), f"{want} in {log}")

    def start(self, words):
        self.stop()
        log = self.folder / f"terminal-{len(list(self.folder.iterdir()))}"
        self.first = Process("the service", words, log, self.env, self.folder).start()
        self.first.wait_until(lambda: "startup complete" in log.read_text(), "the service to start")

    def stop(self):
        if self.first is not None:
            self.first.stop()


@pytest.mark.e2e
@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page, tmp_path):
    """Every block is done in order; what a reader is told to see is seen."""
    (port,) = free_ports(1)
    reader, shown = Reader(tmp_path), 0
    try:
        for language, text in BLOCK.findall((DOCS / page).read_text().replace("8000", str(port))):
            if language != "bash":  # somebody's own command line
                getattr(reader, language)(text)
                shown += language == "console"
    finally:
        reader.stop()
    assert shown > 1
