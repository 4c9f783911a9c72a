"""Which collector and which Prometheus are taken, and what is said when there are none."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stack import StackError, binaries, find_or_build

ROOT = Path(__file__).resolve().parents[2]


def program(folder, name, says):
    """A program that knows its version and nothing else."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A machine with a shell and nothing else: no Go, no collector, no Prometheus, nothing cached."""
    path = tmp_path / "path"
    path.mkdir()
    for name in ("sh", "sleep"):
        (path / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return path


def test_nothing_there(empty):
    """Without Go and without the programs, one message says what to install, and nothing is built."""
    answer = subprocess.run(
        [sys.executable, "-m", "stack.binaries"], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout) == (1, "")
    for word in ("no Go on PATH", "go 1.", "otelcol-contrib 0.156", "prometheus and promtool 3.7"):
        assert word in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "Warning" not in answer.stderr
    assert not Path(os.environ["XDG_CACHE_HOME"]).exists()


def test_go_too_old(empty):
    """A Go that refuses our modules is reported in its own words."""
    go = program(empty, "go", "")
    go.write_text(
        "#!/bin/sh\necho 'go: go.mod requires go >= 1.25.8 (running go 1.22.2; GOTOOLCHAIN=local)' >&2\nexit 1\n"
    )
    with pytest.raises(StackError, match=r"running go 1\.22\.2; GOTOOLCHAIN=local"):
        find_or_build("otelcol")


@pytest.mark.parametrize(
    ("name", "called", "says"),
    [
        ("otelcol", "otelcol-contrib", "otelcol-contrib version 0.156.0"),
        ("otelcol", "otelcol-contrib", "otelcol-contrib version v1.2.3"),
        ("prometheus", "prometheus", "prometheus, version 3.14.0 (branch: HEAD, revision: abc)"),
        ("promtool", "promtool", "promtool, version 3.7.0 (branch: HEAD, revision: abc)"),
        ("nginx", "nginx", "nginx version: nginx/1.22.1"),
        ("haproxy", "haproxy", "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/"),
        ("tmux", "tmux", "tmux 3.3a"),
        ("valgrind", "valgrind", "valgrind-3.19.0"),
    ],
)
def test_on_path(empty, name, called, says):
    """What is on PATH and new enough is taken."""
    path = program(empty, called, says)
    assert find_or_build(name) == path


@pytest.mark.parametrize(
    ("name", "called", "says", "reported"),
    [
        ("otelcol", "otelcol-contrib", "otelcol-contrib version 0.99.1", "0.99: too old"),
        ("prometheus", "prometheus", "prometheus, version 2.53.4 (branch: HEAD)", "2.53: too old"),
        ("prometheus", "prometheus", "hello", "of no known version"),
    ],
)
def test_too_old(empty, name, called, says, reported):
    """What is on PATH and too old is ignored, and the message tells so."""
    program(empty, called, says)
    with pytest.raises(StackError, match=reported):
        find_or_build(name)


@pytest.mark.parametrize(
    ("name", "says"), [("nginx", "nginx version: nginx/1.14.2"), ("haproxy", ""), ("tmux", "tmux 2.8")]
)
def test_no_package(empty, name, says):
    """A proxy that is too old or not there, where there is no apt-get either: the message says what to install."""
    program(empty, name, says)
    with pytest.raises(StackError, match=rf"{name} \d+\.\d+ or later: not on PATH, and there is no apt-get"):
        find_or_build(name)


def test_cached(empty):
    """What was built once is taken, without Go."""
    product = binaries.PRODUCTS[0]
    product.folder.mkdir(parents=True)
    built = program(product.folder, "otelcol", "")
    assert find_or_build("otelcol") == built


def test_cache_follows_the_modules(empty, tmp_path):
    """Whatever decides what a build yields decides where it is kept."""
    source = shutil.copytree(binaries.DISTRIBUTION, tmp_path / "distribution")
    product = dataclasses.replace(binaries.PRODUCTS[0], source=source)
    folders = {product.folder}
    for name in product.inputs:
        with (source / name).open("a") as file:
            file.write("\n")
        folders.add(product.folder)
    assert len(folders) == 1 + len(product.inputs)


@pytest.fixture
def recipe(empty, monkeypatch):
    """Give the collector another recipe, and a Go that suits it."""
    program(empty, "go", "go version go1.26.0")
    monkeypatch.setattr(binaries, "PROGRESS_SECONDS", 0.05)

    def set_recipe(text):
        product = dataclasses.replace(binaries.PRODUCTS[0], recipe=text)
        monkeypatch.setattr(binaries, "PRODUCTS", (product, *binaries.PRODUCTS[1:]))
        return product

    return set_recipe


def test_build(recipe, capfd):
    """A build is kept whole, tells what it is doing while it lasts, and is not repeated."""
    product = recipe('echo compiling; sleep 1; echo built > "$OUT/otelcol"')
    path = find_or_build("otelcol")
    assert path.read_text() == "built\n"
    said = capfd.readouterr().err
    assert "building it, once" in said
    assert "compiling" in said
    assert find_or_build("otelcol") == path
    assert capfd.readouterr().err == ""
    assert {entry.suffix for entry in product.folder.parent.iterdir()} == {"", ".lock", ".log"}


def test_build_that_fails(recipe):
    """A build that fails shows its last words and where the rest is, and leaves nothing that looks built."""
    product = recipe('echo early > "$OUT/otelcol"; echo no such module >&2; exit 3')
    with pytest.raises(StackError, match=r"(?s)no such module.*\.log") as failure:
        find_or_build("otelcol")
    assert Path(str(failure.value).split()[-1]).read_text() == "no such module\n"
    assert not product.folder.exists()
