"""The adapter that a how-to guide writes is one: it tells every end that ours tell."""

import contextlib
import importlib
import io
import sys
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

import pytest
from test_pages import BLOCK, DOCS

sys.path.insert(0, str(Path(__file__).parents[1] / "adapters"))
from hooking import patched
from test_clients import ENDS, WHOLE, verdict
from upstream import Upstream

from otel_streaming.testing import capture


@pytest.fixture(scope="module")
def server():
    with Upstream() as running:
        yield running


@pytest.fixture(autouse=True)
def _hooked(tmp_path, monkeypatch):
    """The page's module, in place of one of ours."""
    language, text = next(BLOCK.finditer((DOCS / "howto/adapter.md").read_text())).groups()
    assert (language, text.partition("\n")[0]) == ("python", "# urllib_request.py")
    (tmp_path / "urllib_request.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "urllib_request", raising=False)
    with patched(importlib.import_module("urllib_request").HOOKS):
        yield


@pytest.mark.parametrize("end", ENDS)
def test_every_end_of_the_server_is_told(server, end):
    """However the server ends its stream, the reader's watch says so, and says how much came."""
    steps, how, expected = ENDS[end]
    url, got = server.answer(*steps, path=f"/{len(server.answers)}", **how), 0
    with capture() as captured, contextlib.suppress(HTTPException), urllib.request.urlopen(url) as response:
        while body := response.read1():
            got += len(body)
    [summary] = captured
    assert (verdict(summary), summary.size, summary.server_address) == (expected, got, "127.0.0.1")
    assert captured.engine.registry.open_count == 0


def test_the_reader_has_what_it_had(server):
    """The class is the response's own, and so is what others make of it."""
    url = server.answer(*WHOLE, path="/had")
    with capture() as captured, urllib.request.urlopen(url) as response:
        assert isinstance(response, HTTPResponse)
        assert io.TextIOWrapper(response).read() == b"".join(WHOLE).decode()
    assert [one.reason for one in captured] == ["completed"]
