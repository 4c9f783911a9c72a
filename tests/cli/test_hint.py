"""What the command line says where it cannot work."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("missing", ["typer", "rich", "httpx", "h11", "opentelemetry.proto"])
def test_a_missing_library_is_named_with_what_installs_it(missing):
    """Without a library of the extra, one line says which is missing and how to get it; no traceback."""
    code = f"""if True:
        import sys
        sys.modules[{missing!r}] = None
        from otel_streaming.cli import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    said = f'otel-streaming: the command line needs {missing}: pip install "otel-streaming[cli]"\n'
    assert done.stderr == said
