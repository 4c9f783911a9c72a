"""urllib3 and requests: every way of reading and of leaving, with and without contrib's instrumentation."""

import contextlib
import gc
import gzip
import io
import logging
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import requests
import urllib3
from hooking import instrumented
from test_clients import DONE, TOKENS, WHOLE
from upstream import CUT

from otel_streaming import testing
from otel_streaming.instrumentor import URLLib3StreamingInstrumentor

BODY, ALL = b"".join(TOKENS), b"".join(WHOLE)
SSE = {"accept": "text/event-stream"}


hooked = partial(instrumented, URLLib3StreamingInstrumentor)


@pytest.fixture
def captured(captured):
    with hooked():
        yield captured
        if captured.engine.registry.open_count:
            gc.collect()


def till_empty(read):
    return b"".join(iter(read, b""))


def into(response):
    got, room = b"", bytearray(16)
    while size := response.readinto(room):
        got += room[:size]
    return got


def by_urllib3(read, **more):
    def reading(url, **options):
        with urllib3.PoolManager(retries=False) as pool:
            return read(pool.request("GET", url, **{"preload_content": False, **more, **options}))

    return reading


def by_requests(read, *, stream=True):
    def reading(url, **options):
        with requests.Session() as session:
            return read(session.get(url, stream=stream, **options))

    return reading


WAYS = {
    "preloaded": by_urllib3(lambda response: response.data, preload_content=True),
    "data": by_urllib3(lambda response: response.data),
    "read": by_urllib3(lambda response: response.read()),
    "read(n)": by_urllib3(lambda response: till_empty(lambda: response.read(16))),
    "read1": by_urllib3(lambda response: till_empty(response.read1)),
    "read1(n)": by_urllib3(lambda response: till_empty(lambda: response.read1(16))),
    "readinto": by_urllib3(into),
    "stream": by_urllib3(lambda response: b"".join(response.stream())),
    "stream(n)": by_urllib3(lambda response: b"".join(response.stream(16))),
    "read_chunked": by_urllib3(lambda response: b"".join(response.read_chunked())),
    "iteration": by_urllib3(b"".join),
    "buffered": by_urllib3(lambda response: io.BufferedReader(response, 16).read()),
    "lines": by_urllib3(lambda response: b"".join(response.readlines())),
    "as text": by_urllib3(lambda response: io.TextIOWrapper(response, newline="").read().encode()),
    "requests": by_requests(lambda response: response.content, stream=False),
    "requests content": by_requests(lambda response: response.content),
    "iter_content": by_requests(lambda response: b"".join(response.iter_content())),
    "iter_content(n)": by_requests(lambda response: b"".join(response.iter_content(16))),
    "iter_lines": by_requests(lambda response: b"".join(line + b"\n" for line in response.iter_lines(16))),
    "requests raw": by_requests(lambda response: response.raw.read()),
    "requests raw stream": by_requests(lambda response: b"".join(response.raw.stream())),
}


@pytest.mark.parametrize("how", ["chunked", "fixed", "gzip", "fixed gzip"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_reading(way, how, upstream, captured):
    """However the body is read, all of it is seen, and its end as soon as the reader has come to it."""
    steps, more = [*TOKENS[:2], 0.02, *TOKENS[2:]], {}
    if "gzip" in how:
        steps, more = [gzip.compress(BODY)], {"headers": "content-encoding: gzip\r\n"}
    if "fixed" in how:
        more["length"] = sum(len(step) for step in steps if isinstance(step, bytes))
    if way == "read_chunked" and "fixed" in how:
        return
    url = upstream.answer(*steps, **more)
    kept = []

    def reading(url):
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: kept.append(len(captured)))
            return WAYS[way](url)

    got = reading(url)
    assert got in ({BODY, steps[0]} if "gzip" in how else {BODY})
    assert kept == [1]
    [summary] = captured
    assert summary.reason.value == ("completed" if "gzip" in how else "missing_terminal")
    assert summary.size == len(got)
    assert summary.terminal.value == ("not_checked" if "gzip" in how else "missing")


def outcome(url, way, **more):
    """All that a caller can see of an exchange."""
    try:
        return WAYS[way](url, **more)
    except Exception as raised:
        return [
            (type(error), str(error).partition(" at 0x")[0], type(error.__context__), error.__suppress_context__)
            for error in (raised, raised.__cause__)
            if error is not None
        ]


FAULTS = {
    "no terminal": (TOKENS, {}, {}, "missing_terminal"),
    "cut": ([*TOKENS[:2], 0.02, CUT], {}, {}, "connection_lost"),
    "cut in a message": (TOKENS, {"open_end": True}, {}, "connection_lost"),
    "short": (TOKENS, {"length": 9999}, {}, "connection_lost"),
    "silence": ([*TOKENS[:2], 30], {}, {"timeout": urllib3.Timeout(connect=20, read=1)}, "idle_timeout"),
    "no gzip": (TOKENS, {"headers": "content-encoding: gzip\r\n"}, {}, "protocol_error"),
}


SOME = ("preloaded", "read(n)", "read1", "stream", "iter_content(n)", "requests")
CASES = [(way, fault) for fault in FAULTS for way in (SOME if fault == "silence" else WAYS)]


@pytest.mark.parametrize(("way", "fault"), CASES)
def test_the_caller_sees_no_difference(way, fault, upstream):
    """Bytes and exceptions are the same with the plugin and without, and what went wrong is told."""
    steps, how, options, reason = FAULTS[fault]
    url = upstream.answer(*steps, **how)
    seen = []
    for on in (False, True):
        with hooked(on=on), testing.capture() as captured:
            seen.append(outcome(url, way, **options))
    assert seen[0] == seen[1]
    if fault == "no gzip" and isinstance(seen[0], bytes):  # who asked for it as it comes
        reason = "completed"
    if not (fault == "short" and way == "read_chunked"):
        assert [summary.reason.value for summary in captured] == [reason]


def leave_by(leave, url):
    with urllib3.PoolManager() as pool:
        response = pool.request("GET", url, preload_content=False)
        chunks = response.stream(decode_content=False)
        assert next(chunks)
        leave(response, chunks)


def by_shutdown(response, chunks):
    reading = threading.Thread(target=lambda: [None for _ in chunks])
    reading.start()
    response.shutdown()
    reading.join(10)


def by_throwing(response, chunks):
    with pytest.raises(KeyError) as kept:
        chunks.throw(KeyError())
    assert response.isclosed()
    assert kept.value.__traceback__ is not None  # which keeps the generator


def by_raising(response, chunks):
    with contextlib.suppress(KeyError), response:
        raise KeyError


LEAVING = {
    "close": lambda response, chunks: response.close(),
    "release": lambda response, chunks: response.release_conn(),
    "the end of a with": by_raising,
    "the generator's end": lambda response, chunks: chunks.close(),
    "an exception in it": by_throwing,
}


@pytest.mark.parametrize("leave", LEAVING)
def test_every_way_of_leaving(leave, upstream, captured):
    """Who leaves a stream that goes on has stopped, and is told to at once."""

    def leaving(response, chunks):
        LEAVING[leave](response, chunks)
        assert len(captured) == 1

    leave_by(leaving, upstream.answer(*TOKENS, 30))
    assert [(s.reason.value, s.phase.value) for s in captured] == [("consumer_stopped", "mid_stream")]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_connection_that_is_shut_down_under_its_reader(upstream, captured):
    """Who shuts a connection down stops its reader, whatever that reads as."""
    leave_by(by_shutdown, upstream.answer(*TOKENS, 30))
    assert [summary.reason.value for summary in captured] == ["consumer_stopped"]


def test_the_rest_thrown_away(upstream, captured):
    """Who drains a connection wants no more of the stream, whatever would have come."""
    leave_by(lambda response, chunks: response.drain_conn(), upstream.answer(TOKENS[0], 0.1, *WHOLE))
    assert [summary.reason.value for summary in captured] == ["consumer_stopped"]


def test_what_nobody_closed_is_told_when_it_is_collected(upstream, captured):
    """A response that is dropped unread is a reader that stopped; the finaliser is the last resort."""
    url = upstream.answer(*TOKENS, 30)
    for get in (
        lambda: urllib3.PoolManager().request("GET", url, preload_content=False),
        lambda: requests.get(url, stream=True, timeout=10),
    ):
        response = get()
        assert captured == []
        del response
        gc.collect()
        assert [summary.reason.value for summary in captured] == ["consumer_stopped"]
        captured.clear()


@pytest.mark.parametrize("leaves", [True, False], ids=["left", "read"])
def test_what_is_left_in_a_decoder(leaves, upstream, captured):
    """A body that has come, and is not yet decompressed, has not yet been read."""
    text = ALL * 100
    body = gzip.compress(text)
    with urllib3.PoolManager() as pool:
        url = upstream.answer(body, headers="content-encoding: gzip\r\n", length=len(body))
        response = pool.request("GET", url, preload_content=False)
        assert response.read(len(body)) == text[: len(body)]
        assert response.closed
        assert captured == []
        if not leaves:
            assert b"".join(response.stream()) == text[len(body) :]
            assert len(captured) == 1
        del response
        gc.collect()
    assert [summary.reason.value for summary in captured] == ["consumer_stopped" if leaves else "completed"]


def test_connections_are_reused_as_before(upstream):
    """A stream read to its end gives its connection back, one that is left closes it: with the plugin as without."""
    url, endless = upstream.answer(*WHOLE), upstream.answer(*WHOLE, 30, path="/endless")

    def many():
        with urllib3.PoolManager() as pool, requests.Session() as session:
            for number in range(6):
                response = pool.request("GET", endless if number == 3 else url, preload_content=number == 5)
                next(response.stream()) if number == 3 else response.data
                response.release_conn()
                with session.get(endless if number == 3 else url, stream=True) as response:
                    next(response.iter_content(None)) if number == 3 else response.content

    counts = []
    for on in (False, True):
        before = upstream.connections
        with hooked(on=on), testing.capture() as captured:
            many()
        counts.append(upstream.connections - before)
    assert counts == [4, 4]
    reasons = [summary.reason.value for summary in captured]
    assert reasons == [*["completed"] * 6, *["consumer_stopped"] * 2, *["completed"] * 4]


def test_each_attempt_is_a_call(upstream, captured):
    """Redirects and retries make calls of their own, of which each is told if it was an attempt at a stream."""
    moved = upstream.answer(status=307, headers="location: /stream\r\n", path="/moved")
    refused = upstream.answer(b"no", status=503, media_type="text/plain", path="/refused")
    upstream.answer(CUT, path="/refused")
    upstream.answer(*WHOLE, path="/refused")
    upstream.answer(*WHOLE)
    retries = urllib3.Retry(3, status_forcelist=[503], allowed_methods=None)
    with urllib3.PoolManager() as pool:
        assert pool.request("GET", moved, headers=SSE).data == ALL
        assert pool.request("POST", refused, headers=SSE, retries=retries).data == ALL
    assert requests.get(moved, headers=SSE, timeout=10).content == ALL
    assert [summary.reason.value for summary in captured] == [
        *("completed", "http_5xx", "connection_lost", "completed", "completed"),
    ]


def test_each_attempt_that_fails_is_told(captured):
    """Every connection that cannot be made is one, and so are headers that do not come in time."""
    with socket.create_server(("127.0.0.1", 0)) as server, urllib3.PoolManager(timeout=0.5) as pool:
        silent = f"http://127.0.0.1:{server.getsockname()[1]}/"
        for url, retries in (("http://127.0.0.1:9/", 2), ("https://127.0.0.1:9/", 0), (silent, 0)):
            with pytest.raises(urllib3.exceptions.MaxRetryError):
                pool.request("GET", url, headers=SSE, retries=retries)
    assert [summary.reason.value for summary in captured] == ["connect_failed"] * 5


def test_a_failed_attempt_looks_as_before(upstream):
    """What a caller is told of a connection that cannot be made is the same with the plugin and without."""
    seen = []
    for on in (False, True):
        with hooked(on=on), testing.capture():
            seen.append([outcome("http://127.0.0.1:9/", way, headers=SSE) for way in ("read", "requests")])
    assert seen[0] == seen[1]


def test_what_breaks_off_while_it_is_loaded_is_told(upstream, captured):
    """A body that is loaded at once is watched as well: a stream, and one of another kind that ends badly."""
    for number, media_type in enumerate(("text/event-stream", "application/json")):
        url = upstream.answer(*TOKENS, 0.02, CUT, media_type=media_type, path=f"/{number}")
        for way in ("preloaded", "requests"):
            assert isinstance(outcome(url, way), list)
    assert [(s.reason.value, s.shape.kind.value) for s in captured] == [
        *[("connection_lost", "bounded")] * 2,
        *[("connection_lost", "other")] * 2,
    ]


def test_a_stream_without_a_body_is_over_at_once(upstream, captured):
    """Nothing is to be read of it, and nobody has to."""
    with urllib3.PoolManager() as pool:
        response = pool.request("GET", upstream.answer(length=0), preload_content=False)
        assert [summary.outcome.value for summary in captured] == ["completed"]
        response.close()


def test_misuse_ends_nothing(upstream, captured):
    """Who asks for what cannot be is refused; the stream goes on."""
    with urllib3.PoolManager() as pool:
        response = pool.request("GET", upstream.answer(TOKENS[0], length=len(TOKENS[0])), preload_content=False)
        assert response.read(0) == b""
        with pytest.raises(urllib3.exceptions.ResponseNotChunked):
            next(response.read_chunked())
        with pytest.raises(TypeError):
            response.read("many")
        assert captured == []
        assert response.read() == TOKENS[0]
    assert [summary.reason.value for summary in captured] == ["missing_terminal"]


def test_a_body_sent_on_as_it_is_read(upstream, captured):
    """A response that is the body of another request is one stream, and the other's answer another."""
    url, sink = upstream.answer(*WHOLE), upstream.answer(*TOKENS, path="/sink")
    with urllib3.PoolManager() as pool:
        source = pool.request("GET", url, preload_content=False)
        answer = pool.request("POST", sink, body=source.read(), headers=SSE)
        assert answer.data == BODY
    assert [summary.reason.value for summary in captured] == ["completed", "missing_terminal"]


def test_through_a_proxy_the_address_is_the_servers(upstream, captured):
    """A proxy that forwards is not whom the caller asked; neither its credentials nor the query are told."""
    url = upstream.answer(*WHOLE, path="http://user:secret@model.test:80/stream").removeprefix(upstream.url)
    with urllib3.ProxyManager(upstream.url) as proxy:
        assert proxy.request("GET", f"{url}?secret=1").data == ALL
    [summary] = captured
    assert summary.server_address == "model.test"


@pytest.mark.parametrize("kind", [bytes, str])
def test_header_fields_of_either_kind(kind, upstream, captured):
    """Request headers may be text or bytes."""
    headers = {"accept": "text/event-stream", "last-event-id": "7"}
    if kind is bytes:
        headers = {name: value.encode() for name, value in headers.items()}
    with urllib3.PoolManager() as pool:
        pool.request("GET", upstream.answer(*WHOLE), headers=headers)
    assert [summary.retry.value for summary in captured] == ["resumed"]


def test_readers_on_many_threads(upstream, captured):
    """Responses that are read at one time on several threads are told apart."""
    urls = [upstream.answer(*TOKENS, 0.02, *([DONE] * (n % 2)), path=f"/{n}") for n in range(16)]
    with urllib3.PoolManager() as pool, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda url: pool.request("GET", url).data, urls))
    assert Counter(summary.reason.value for summary in captured) == {"completed": 8, "missing_terminal": 8}


MOVED = {
    "drain_conn": (urllib3.HTTPResponse, urllib3.BaseHTTPResponse),
    "BaseHTTPResponse": (urllib3,),  # urllib3 1.26, whose attempts return the response of another library
    "_make_request": (urllib3.HTTPConnectionPool,),
}


@pytest.mark.parametrize("name", MOVED)
def test_another_version_is_left_alone(name, upstream, monkeypatch, caplog):
    """Where a name has moved nothing is watched, not what fails either, and it is said once; requests go on."""
    for owner in MOVED[name]:
        monkeypatch.delattr(owner, name)
    before = {name: vars(owner).copy() for name, owner in vars(urllib3).items() if isinstance(owner, type)}
    with testing.capture() as captured, caplog.at_level(logging.WARNING), hooked():
        assert {name: vars(owner) for name, owner in vars(urllib3).items() if isinstance(owner, type)} == before
        if name != "_make_request":
            assert outcome(upstream.answer(*WHOLE), "read") == ALL
            with pytest.raises(urllib3.exceptions.HTTPError):
                urllib3.PoolManager(retries=False).request("GET", "http://127.0.0.1:9/", headers=SSE)
    assert captured == []
    assert [record.name for record in caplog.records] == ["otel_streaming"]


@pytest.mark.parametrize("preload", [True, False])
def test_who_waits_for_it_all_has_not_been_kept_waiting(preload, upstream, captured):
    """Paced events that the reader has asked for all at once were held back by nobody."""
    url = upstream.answer(*[step for token in TOKENS * 15 + WHOLE for step in (token, 0.02)])
    with urllib3.PoolManager() as pool:
        response = pool.request("GET", url, preload_content=preload)
        assert response.data.endswith(ALL)
    [summary] = captured
    assert (summary.reason, summary.buffered) == ("completed", False)
