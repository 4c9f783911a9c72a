"""Each fault of the demo really happens on the wire, as its name says, with no instrumentation at all."""

import asyncio
import contextlib
import json
import random

import pytest

from demo import faults, upstream
from demo.clients import Client, Leave
from otel_streaming.semconv import REASON_OUTCOME

PATIENCE = 60


@pytest.fixture(scope="module")
def seen(service_port):
    """What a client saw of each fault, all injected at once."""

    async def inject():
        clients = [fault.client(service_port, reset=n % 2 == 1) for n, fault in enumerate(faults.FAULTS)]
        return await asyncio.wait_for(asyncio.gather(*(client.run() for client in clients)), PATIENCE)

    return dict(zip(faults.FAULTS, asyncio.run(inject()), strict=True))


def contents(body):
    """The data of every event of a body."""
    return [line.removeprefix("data: ") for line in bytes(body).decode().splitlines() if line.startswith("data: ")]


def answer(body):
    events = [json.loads(data) for data in contents(body) if data.startswith("{")]
    return "".join(
        choice["delta"].get("content", "") for event in events if "choices" in event for choice in event["choices"]
    )


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_the_client_sees_the_fault_on_the_wire(seen, fault):
    """Status, framing, marker and who left are as the table says."""
    assert fault.happened(seen[fault]), seen[fault]


def by_model(seen, model):
    return next(client.body for fault, client in seen.items() if fault.model == model)


def test_a_healthy_answer_is_whole(seen):
    """Ten tokens, a finish_reason and [DONE]."""
    body = by_model(seen, "healthy")
    assert answer(body).split() == [f"token-{n}" for n in range(1, upstream.TOKENS + 1)]
    assert '"finish_reason": "stop"' in contents(body)[-2]
    assert contents(body)[-1] == "[DONE]"


@pytest.mark.parametrize("model", ["slow", "unfinished", "cut", "in_band_error", "no_choices"])
def test_half_of_the_answer_arrives_before_these_end(seen, model):
    """They end in mid-stream, after five tokens, with no sign of completion in the body."""
    body = by_model(seen, model)
    assert len(answer(body).split()) == upstream.TOKENS // 2
    assert b"[DONE]" not in body
    assert b'"finish_reason": "' not in body


def test_the_in_band_error_is_the_last_event(seen):
    """A complete 200 response whose last event is an error object."""
    assert "error" in json.loads(contents(by_model(seen, "in_band_error"))[-1])


def test_an_exception_behind_base_http_middleware_looks_complete(seen):
    """The same exception breaks the framing of a bare route and is a clean end behind the middleware."""
    framing = {fault.product: client.whole for fault, client in seen.items() if fault.model == "no_choices"}
    assert framing == {"raises": False, "guarded": True}


def test_a_blank_response_has_keep_alives_only(seen):
    """Not one event, only comments."""
    body = by_model(seen, "pings")
    assert body.count(upstream.PING) >= 4
    assert not bytes(body).replace(upstream.PING, b"")


def test_giving_up_happens_before_the_first_byte_of_body(seen):
    """The headers have come, no body has."""
    assert by_model(seen, "silent") == b""


def test_a_stall_has_keep_alives_and_all_of_the_answer(seen):
    """The tokens on both sides of the silence arrive."""
    body = by_model(seen, "stall")
    assert len(answer(body).split()) == upstream.TOKENS
    assert body.count(upstream.PING) >= 10


def test_response_completed_is_one_event_of_20_kilobytes(seen):
    """The terminal event alone is larger than any buffer one would keep for it."""
    last = contents(by_model(seen, "responses"))[-1]
    assert json.loads(last)["type"] == "response.completed"
    assert len(last) > 20_000


def test_the_upstream_is_cut_in_the_middle_of_a_chunk(model_port):
    """Read from the upstream itself: the last chunk is shorter than it said."""

    async def read():
        client = Client(model_port, "/v1/chat/completions", "cut")
        reader, writer = await asyncio.open_connection("127.0.0.1", model_port)
        writer.write(client._request())
        raw = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        await writer.wait_closed()
        return raw

    size, _, rest = asyncio.run(read()).rpartition(b"\r\n")
    size = size.rpartition(b"\r\n")[2]
    assert 0 < len(rest) < int(size, 16)


def test_the_upstream_stops_when_its_reader_leaves(model_port):
    """A model server does not go on for two minutes for nobody: the connection is closed at once."""

    async def leave():
        reader, writer = await asyncio.open_connection("127.0.0.1", model_port)
        writer.write(Client(model_port, "/v1/chat/completions", "silent")._request())
        await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()
        rest = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        await writer.wait_closed()
        return rest

    assert asyncio.run(leave()) == b""


def test_a_held_stream_flows_until_its_reader_leaves(service_port):
    """The streams opened for the killed worker would go on by themselves."""

    async def hold():
        client = faults.KILL.client(service_port)
        task = asyncio.ensure_future(client.run())
        await asyncio.wait_for(client.arrived.wait(), PATIENCE)
        await asyncio.sleep(1)
        assert not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return client

    client = asyncio.run(hold())
    assert len(answer(client.body).split()) > 1
    assert not client.whole


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_a_client_leaves_as_told(reset):
    """A closed tab is an end of file to the server, a killed app a reset."""
    ends = []

    async def leave():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
            try:
                ends.append(await reader.read() and "FIN")
            except ConnectionResetError:
                ends.append("RST")
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            client = await Client(port, "/", "any", Leave(on=b"hi"), reset=reset).run()
            await asyncio.sleep(0.2)
        return client

    assert asyncio.run(leave()).left
    assert ends == ["RST" if reset else "FIN"]


def test_a_client_that_saw_something_else_does_not_count():
    """A fault is injected only when the wire says so."""
    healthy = faults.FAULTS[0]
    client = healthy.client(1)
    client.status, client.whole = 200, True
    assert not healthy.happened(client)
    client.body += upstream.DONE
    assert healthy.happened(client)
    client.left = True
    assert not healthy.happened(client)


def test_the_table_is_consistent():
    """Verdicts use reasons that belong to their outcomes; products, hence routes, are not shared."""
    everything = (*faults.FAULTS, faults.KILL)
    for fault in everything:
        assert REASON_OUTCOME[fault.verdict.reason] == fault.verdict.outcome
        assert fault.model in upstream.BEHAVIOURS or fault.model == upstream.OVERLOADED
    assert len({fault.route for fault in everything}) == len(everything)
    assert [fault.leave for fault in faults.FAULTS if fault.leave.after] == [Leave(after=faults.FIRST_TOKEN_TIMEOUT)]


def test_counts_follow_the_seed_and_are_never_few():
    """The same seed gives the same counts, each at least 20."""
    first, again, other = (faults.counts(random.Random(seed)) for seed in (7, 7, 8))
    assert first == again != other
    assert min(first.values()) >= 20
