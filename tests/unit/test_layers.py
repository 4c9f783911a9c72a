"""Who may import whom: pure <- engine <- adapters <- entry points."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import otel_streaming

PACKAGE = Path(otel_streaming.__file__).parent
PURE = {
    *(
        "semconv",
        "_blame",
        "_causes",
        "_config",
        "_dialects",
        "_described",
        "_frames",
        "_life",
        "_recovery",
        "_shape",
        "_slots",
        "_stream",
        "_tail",
    ),
    *("_verdict", "_words"),
}
BASE = {*PURE, "_version"}
ENGINE = {
    *("_call", "_callbacks", "_engine", "_exchange", "_reading", "_watch", "_watchdog", "_registry"),
    *("_telemetry", "_instruments", "_recorder", "_folder", "_journal", "_notices"),
}
TOP = {"instrumentor", "testing", "cli", "__init__", "__main__"}
OF_OPENTELEMETRY = {"_telemetry", "_instruments", "instrumentor", "cli"}
PURE_STDLIB = {
    *("__future__", "bisect", "collections", "dataclasses", "enum", "fnmatch", "functools", "itertools", "json"),
    *("math", "operator", "re", "string", "struct", "types", "typing", "zlib"),
}
"""No clock, no randomness, no I/O: what is not named here is to be thought about first."""

FILES = sorted(PACKAGE.rglob("*.py"))


def module(path):
    """Return the first part of a module's name inside the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(name):
    return next((rank for rank, names in enumerate((BASE, ENGINE)) if name in names), 3 if name in TOP else 2)


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def imports(node):
    """Yield the dotted names imported at run time, in functions too; type checkers' imports do not count."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif is_type_checking(child):
            for other in child.orelse:
                yield from imports(other)
        else:
            yield from imports(child)


def imported(path):
    return set(imports(ast.parse(path.read_text())))


def ours(path):
    """Return the modules of the package that a file imports."""
    names = {name.split(".")[1] for name in imported(path) if name.startswith("otel_streaming.")}
    known = {module(other) for other in FILES}
    return (names & known) | ({"__init__"} if "otel_streaming" in imported(path) and not names & known else set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    """A module imports only from its own layer and those below it."""
    assert {name: layer(name) for name in ours(path) if layer(name) > layer(module(path))} == {}


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_are_pure(name):
    """A pure module imports only pure modules and a few of the standard library: no clock, no I/O."""
    outside = {found.split(".")[0] for found in imported(PACKAGE / f"{name}.py")} - {"otel_streaming"}
    assert outside <= PURE_STDLIB
    assert ours(PACKAGE / f"{name}.py") <= PURE


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_one_module_speaks_to_opentelemetry(path):
    """Only telemetry, instruments, the entry points and the command line import OpenTelemetry."""
    of_otel = {name for name in imported(path) if name.split(".")[0] == "opentelemetry"}
    assert not of_otel or module(path) in OF_OPENTELEMETRY


def test_the_layers_are_real():
    """Every pure and engine module named here exists."""
    assert {module(path) for path in FILES} >= PURE | ENGINE


def test_importing_the_package_imports_nothing_optional():
    """``import otel_streaming`` imports no framework, no server, no client library and no SDK."""
    code = "import otel_streaming, sys; print(*{name.split('.')[0] for name in sys.modules}, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    optional = {"starlette", "fastapi", "uvicorn", "hypercorn", "django", "flask", "httpx", "aiohttp", "urllib3"}
    assert not loaded & {*optional, "requests", "opentelemetry.sdk", "trio", "anyio"}
    assert "opentelemetry.trace" in loaded


def test_the_package_works_with_nothing_optional_installed():
    """``import otel_streaming`` and its entry point work where no optional package can be imported."""
    code = """if True:
        import sys
        for name in ("starlette", "fastapi", "uvicorn", "httpx", "opentelemetry.sdk", "trio", "anyio"):
            sys.modules[name] = None
        import otel_streaming
        from otel_streaming import testing
        from otel_streaming.instrumentor import ASGIStreamingInstrumentor
        otel_streaming.StreamingMiddleware(None)
        with testing.capture():
            pass
        ASGIStreamingInstrumentor().instrument()
        ASGIStreamingInstrumentor().uninstrument()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_all_is_real():
    """Every public name of the package exists."""
    assert [name for name in otel_streaming.__all__ if not hasattr(otel_streaming, name)] == []
