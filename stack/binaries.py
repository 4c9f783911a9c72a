"""Find the collector and Prometheus, or build them once from the modules in ``collector/distribution``.

The proxies that tests put in front of a service, and the terminal that they look at, are found or made in the same
way, of Debian's packages.

``python -m stack.binaries`` prints where they are and builds what is missing.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

DISTRIBUTION = Path(__file__).resolve().parent.parent / "collector" / "distribution"
PROGRESS_SECONDS = 3.0
# Pure Go needs no C compiler, and a go.work above this repository must not change what is built.
_GO_ENV = {
    "CGO_ENABLED": "0",
    "GOWORK": "off",
    "GOFLAGS": "-v -mod=readonly -trimpath -buildvcs=false '-ldflags=-s -w'",
}


class StackError(RuntimeError):
    """Something the stack needs is missing or has failed; the message says what to do about it."""


def cache() -> Path:
    """Return the folder of what is kept between runs, which may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-streaming"


@dataclass(frozen=True)
class Product:
    """The programs of one Go module, or of one Debian package.

    Attributes:
        name: Of the module or package.
        on_path: What each program is called on PATH.
        minimum: The oldest version on PATH that will do.
        recipe: Shell commands; run in an empty folder, with $NAME, $SOURCE, and $OUT for the programs.
        source: The module's folder.
        inputs: The files there that decide what a build yields; none of a package.
        version: How a program is asked for its version.
    """

    name: str
    on_path: dict[str, str]
    minimum: tuple[int, ...]
    recipe: str
    source: Path = DISTRIBUTION
    inputs: tuple[str, ...] = ()
    version: str = "--version"

    @property
    def folder(self) -> Path:
        """Where the programs are kept once built."""
        digest = hashlib.sha256(repr((self.recipe, _GO_ENV, sys.platform, platform.machine())).encode())
        for name in self.inputs:
            digest.update((self.source / name).read_bytes())
        return cache() / "bin" / f"{self.name}-{digest.hexdigest()[:16]}"

    def find(self, program: str) -> Path | None:
        """Return the program's path: on PATH, if new enough, else in the cache."""
        on_path = shutil.which(self.on_path[program])
        if on_path and _version(on_path, self.version) >= self.minimum:
            return Path(on_path)
        built = self.folder / program
        return built if built.exists() else None


# Needs neither root nor the machine's own lists of packages, and installs nothing: what dpkg unpacks runs where it is,
# with the libraries that the machine has not got.
_UNPACK = """
    mkdir -p lists/partial archives/partial "$OUT/lib"
    apt="apt-get -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Dir::State::lists=$PWD/lists -o Dir::Cache=$PWD"
    $apt update
    $apt install --download-only --reinstall --no-install-recommends --yes "$NAME"
    for package in archives/*.deb; do dpkg -x "$package" "$OUT/unpacked"; done
    find "$OUT/unpacked" -path '*/libexec/*' -o -name '*.so*' -exec mv {} "$OUT/lib" ';'
    cat >"$OUT/$NAME" <<'END'
#!/bin/sh
here=$(dirname "$0")
export LD_LIBRARY_PATH="$here/lib" VALGRIND_LIB="$here/unpacked/usr/libexec/valgrind"
exec "$here"/unpacked/usr/*bin/"$(basename "$0")" "$@"
END
    chmod +x "$OUT/$NAME"
"""

PRODUCTS = (
    Product(
        name="otelcol",
        inputs=("builder.yaml", "go.mod", "go.sum", "builder/go.mod", "builder/go.sum"),
        on_path={"otelcol": "otelcol-contrib"},
        minimum=(0, 156),
        # The builder only writes the sources. Left to itself it would also run `go mod tidy`, which asks for
        # modules that only tests need and pins nothing; our go.mod and go.sum say exactly what goes in.
        recipe="""
            here=$PWD
            cd "$SOURCE/builder" && go build -o "$here/builder" go.opentelemetry.io/collector/cmd/builder
            cd "$here" && ./builder --config="$SOURCE/builder.yaml" --skip-get-modules --skip-compilation
            cd _build && cp "$SOURCE/go.mod" "$SOURCE/go.sum" . && go build -o "$OUT/otelcol" .
        """,
    ),
    Product(
        name="prometheus",
        source=DISTRIBUTION / "prometheus",
        inputs=("go.mod", "go.sum"),
        on_path={"prometheus": "prometheus", "promtool": "promtool"},
        minimum=(3, 7),  # since then an OTLP start time puts the zero before a counter's first value
        recipe="""
            commands=github.com/prometheus/prometheus/cmd
            cd "$SOURCE" && go build -tags=netgo,remove_all_sd -o "$OUT/" $commands/prometheus $commands/promtool
        """,
    ),
    Product(name="nginx", on_path={"nginx": "nginx"}, minimum=(1, 18), recipe=_UNPACK, version="-v"),
    Product(name="haproxy", on_path={"haproxy": "haproxy"}, minimum=(2, 6), recipe=_UNPACK, version="-v"),
    Product(name="tmux", on_path={"tmux": "tmux"}, minimum=(3, 0), recipe=_UNPACK, version="-V"),
    Product(name="valgrind", on_path={"valgrind": "valgrind"}, minimum=(3, 19), recipe=_UNPACK),
)


def find_or_build(program: str) -> Path:
    """Return the path of a program of ``PRODUCTS``: from PATH, the cache, or a build.

    Raises:
        StackError: It is nowhere and cannot be built; the message says what to install.
    """
    product = next(p for p in PRODUCTS if program in p.on_path)
    found = product.find(program)
    if found is None:
        if product.inputs:
            _check_go()
        else:
            _check_apt(product)
        _build(product)
        found = product.folder / program
    return found


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log file, indented."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def _version(program: str, how: str = "--version") -> tuple[int, ...]:
    """Ask a program for its version; one that does not tell is older than any."""
    try:
        answer = subprocess.run([program, how], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"(\d+)\.(\d+)", answer.stdout + answer.stderr)
    return tuple(map(int, match.groups())) if match else ()


def _check_go() -> None:
    """Raise the one message that says what to install, unless there is a Go that can build."""
    trouble = "there is no Go on PATH"
    if shutil.which("go"):
        # Inside a module any go command first makes sure that it is new enough for that module.
        go = subprocess.run(["go", "version"], cwd=DISTRIBUTION, capture_output=True, text=True, check=False)
        if go.returncode == 0:
            return
        trouble = go.stderr.strip()
    go_version = next(line for line in (DISTRIBUTION / "go.mod").read_text().splitlines() if line.startswith("go "))
    missing = [p for p in PRODUCTS if p.inputs and not all(map(p.find, p.on_path))]
    wanted = [f"{' and '.join(p.on_path.values())} {_dotted(p.minimum)} or later" for p in missing]
    present = filter(None, map(shutil.which, (name for p in missing for name in p.on_path.values())))
    message = [
        f"{' and '.join(p.name for p in missing)}: neither to be found nor to be built, {trouble}.",
        "Install either",
        f"  - {go_version} or later, which then builds them once (some 5 minutes), or",
        f"  - on PATH: {', '.join(wanted)}.",
        *(f"    {path} is {_dotted(_version(path)) or 'of no known version'}: too old." for path in present),
    ]
    raise StackError("\n".join(message))


def _check_apt(product: Product) -> None:
    if not all(map(shutil.which, ("apt-get", "dpkg"))):
        wanted = f"{product.name} {_dotted(product.minimum)} or later"
        message = f"{wanted}: not on PATH, and there is no apt-get to fetch it with. Install it, on PATH."
        raise StackError(message)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _build(product: Product) -> None:
    folder = product.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{product.name}: {time.monotonic() - began:3.0f} s, {what}", file=sys.stderr, flush=True)

    with folder.with_suffix(".lock").open("w") as lock:
        while not _taken(lock.fileno()):
            say("waiting for another build of it")
            time.sleep(PROGRESS_SECONDS)
        if folder.exists():  # built by whoever had the lock before
            return
        log = folder.with_suffix(".log")
        say(f"building it, once; log: {log}")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".build-") as here, log.open("w") as output:
            work, out = Path(here, "work"), Path(here, "out")
            work.mkdir()
            out.mkdir()
            env = {**os.environ, **_GO_ENV, "NAME": product.name, "SOURCE": str(product.source), "OUT": str(out)}
            command = ["sh", "-ec", product.recipe]
            with subprocess.Popen(command, cwd=work, env=env, stdout=output, stderr=output) as process:
                while _running(process):
                    say(tail(log, 1).strip() or "starting")
            if process.returncode:
                message = f"Building {product.name} failed:\n{tail(log)}\nThe whole log: {log}"
                raise StackError(message)
            out.rename(folder)  # whole or not at all
        say("built")


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _running(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(PROGRESS_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def main() -> int:
    """Print the path of each program, or of some; say what to install where that cannot be."""
    programs = [program for product in PRODUCTS for program in product.on_path]
    parser = argparse.ArgumentParser(prog="python -m stack.binaries", description=main.__doc__)
    parser.add_argument("--only", action="append", choices=programs, help="instead of all; may be given again")
    try:
        for program in parser.parse_args().only or programs:
            print(find_or_build(program), flush=True)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
