"""The processes that measure: those whose libraries are installed here too do so, in turn, or say why not."""

import pytest

from bench import server
from bench.measures import hold_told
from bench.peers import BARE, EXCLUDED, OURS
from bench.pool import BenchError, Figure, Worker, in_turn, measure

ASKED = {
    "asgi": {
        "chunk": {"chunks": 10, "streams": 2},
        "request": {"requests": 2},
        "stream": {"streams": 2},
        "routes": {"routes": 2},
        "memory": {"count": 10, "dialect": False},
        "crowd": {"count": 10, "moves": 2},
    },
    "fastapi": {"chunk": {"chunks": 10}, "request": {"requests": 2}, "stream": {"streams": 2}},
    "httpx": {"chunk": {"chunks": 10}, "request": {"requests": 2}},
    "openai": {"chunk": {"chunks": 10}, "request": {"requests": 2}},
}


@pytest.fixture
def start(tmp_path):
    """Start processes; stop them at the end."""
    workers = []

    def one(kind, name):
        workers.append(Worker(kind, name, tmp_path))
        return workers[-1]

    yield one
    for worker in workers:
        worker.stop()


@pytest.mark.parametrize("kind", ASKED)
def test_measures(start, kind):
    """With the hooks and without, everything that the page shows is measured."""
    workers = [start(kind, name) for name in (BARE, OURS)]
    for method, arguments in ASKED[kind].items():
        figures = measure(workers, 2, method, **arguments)
        assert list(figures) == [BARE, OURS]
        assert all(figure.least > 0 for figure in figures.values()), method
    if kind == "asgi":
        held = measure(workers, 1, "memory", count=100, dialect=True)
        assert held[OURS].least > held[BARE].least


def test_no_answer(start):
    """A process that ends is told of, with its last words."""
    worker = start("asgi", "nobody")
    with pytest.raises(BenchError, match=r"(?s)nobody: no answer to chunk.*KeyError: 'nobody'"):
        worker.ask("chunk", chunks=1)


def test_told(start):
    """Each tells of its streams; who tells of none is told of, and not measured."""
    workers = [start("asgi", name) for name in (BARE, OURS, EXCLUDED)]
    measure(workers, 2, "stream", streams=3)
    hold_told(workers, 6)
    workers[0].name = "out of place"
    with pytest.raises(BenchError, match="out of place: has told of 0 of 6 streams"):
        hold_told(workers, 6)


def test_open_streams_that_end(monkeypatch):
    """What does not keep its streams open is not measured as if it did."""
    monkeypatch.setattr(server, "_LONGEST", 0.1)

    async def refuses(scope, receive, send):
        pass

    with pytest.raises(TimeoutError):
        server.Asgi(lambda _: refuses).memory(2, dialect=True)


def test_in_turn():
    """Each is asked as often as the others, and none is always the first."""
    assert list(in_turn(["a", "b"], 3)) == ["a", "b", "b", "a", "a", "b"]
    assert Figure.of([3.0, 1.0, 2.0]) == (1.0, 1.0)
