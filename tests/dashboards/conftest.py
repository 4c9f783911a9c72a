"""One test for every dashboard, panel and query."""

import pytest
from boards import ANNOTATIONS, BOARDS, PANELS, QUERIES

from dashboards import incident


@pytest.fixture(params=BOARDS)
def board(request):
    return BOARDS[request.param]


@pytest.fixture(params=[panel for _, panel in PANELS], ids=[f"{uid} {panel['title']}" for uid, panel in PANELS])
def panel(request):
    return request.param


ALL = {f"{uid} {query.panel} {query.ref}": query for uid, query in QUERIES}
ALL |= {f"annotations {query.panel}": query for query in ANNOTATIONS}


@pytest.fixture(params=ALL.values(), ids=ALL)
def query(request):
    return request.param


@pytest.fixture
def expr(query):
    return query.expr


@pytest.fixture(scope="session")
def loaded(tmp_path_factory):
    """A real Prometheus that holds the whole incident, the recorded rules and the alerts (``dashboards.incident``)."""
    with incident.load(tmp_path_factory.mktemp("incident")) as prometheus:
        yield prometheus
