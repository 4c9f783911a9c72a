"""What exceptions say about a stream's end."""

import asyncio
import http.client
import ssl
from types import SimpleNamespace

import aiohttp
import anyio
import httpcore
import httpx
import pytest
import requests
import urllib3

from otel_streaming._causes import cause_of, cause_of_close, cause_of_reading
from otel_streaming.semconv import Origin, Reason


def named(name, *bases):
    """Return a class of a library that is not installed, under its qualified name."""
    module, _, cls = name.rpartition(".")
    return type(cls, bases or (Exception,), {"__module__": module})


aiohttp_error = named("aiohttp.client_exceptions.ClientError")

GONE = [
    named("gunicorn.http2.errors.HTTP2ConnectionError")(),
    named("gunicorn.asgi.protocol.ClientDisconnected", OSError)(),
]

UPSTREAM = [
    (httpx.ReadTimeout("t"), Reason.IDLE_TIMEOUT),
    (httpx.RemoteProtocolError("peer closed connection without sending complete message body"), Reason.CONNECTION_LOST),
    (httpx.ReadError("reset"), Reason.CONNECTION_LOST),
    (httpcore.ReadTimeout("t"), Reason.IDLE_TIMEOUT),
    (httpcore.RemoteProtocolError("p"), Reason.CONNECTION_LOST),
    (httpcore.ReadError("r"), Reason.CONNECTION_LOST),
    (named("aiohttp.client_exceptions.ClientPayloadError", aiohttp_error)(), Reason.CONNECTION_LOST),
    (named("aiohttp.client_exceptions.ServerDisconnectedError", aiohttp_error)(), Reason.CONNECTION_LOST),
    (named("aiohttp.client_exceptions.SocketTimeoutError", aiohttp_error, TimeoutError)(), Reason.IDLE_TIMEOUT),
    (named("aiohttp.client_exceptions.ServerTimeoutError", aiohttp_error, TimeoutError)(), Reason.IDLE_TIMEOUT),
    (urllib3.exceptions.ProtocolError("Connection broken"), Reason.CONNECTION_LOST),
    (urllib3.exceptions.IncompleteRead(5, 7), Reason.CONNECTION_LOST),
    (urllib3.exceptions.ReadTimeoutError(None, "/", "Read timed out."), Reason.IDLE_TIMEOUT),
    (requests.exceptions.ChunkedEncodingError("broken"), Reason.CONNECTION_LOST),
    (http.client.IncompleteRead(b""), Reason.CONNECTION_LOST),
    *(
        (error("no"), Reason.PRODUCER_ERROR)
        for error in (httpx.ConnectError, httpx.PoolTimeout, httpcore.ConnectTimeout)
    ),
]

OWN = [
    (TimeoutError(), Reason.DEADLINE_EXCEEDED),
    (named("asyncio.exceptions.TimeoutError")(), Reason.DEADLINE_EXCEEDED),  # as before Python 3.11
    (asyncio.CancelledError(), Reason.SERVER_CANCELLED),
    (named("trio.Cancelled", BaseException)(), Reason.SERVER_CANCELLED),
    (ValueError("bug"), Reason.PRODUCER_ERROR),
    (KeyboardInterrupt(), Reason.SERVER_CANCELLED),
    (SystemExit(1), Reason.SERVER_CANCELLED),
    (ssl.SSLError("tls"), Reason.PRODUCER_ERROR),
    (named("app.ReadTimeout")(), Reason.PRODUCER_ERROR),
    (named("httpxtra.ReadTimeout")(), Reason.PRODUCER_ERROR),
]


@pytest.mark.parametrize("held", [(), ("timeout",), None, [ValueError()]])
def test_what_is_called_like_a_groups_members_and_is_none(held):
    """An application's own exception may have such an attribute: it is itself what went wrong."""
    error = ValueError("bug")
    error.exceptions = held
    assert cause_of(error).reason is Reason.PRODUCER_ERROR


def test_a_finaliser_tells_nothing():
    """A generator closed by the garbage collector or at exit: nobody knows why."""
    assert cause_of(GeneratorExit()) == (Reason.UNKNOWN, Origin.UNKNOWN)


@pytest.mark.parametrize(("exception", "reason"), UPSTREAM, ids=lambda v: type(v).__qualname__)
def test_errors_of_client_libraries_point_upstream(exception, reason):
    """An upstream client library's exception that escapes the generator keeps its reason and points upstream."""
    assert cause_of(exception) == (reason, Origin.UPSTREAM)


@pytest.mark.parametrize(("exception", "reason"), OWN, ids=lambda v: type(v).__qualname__)
def test_other_errors_are_the_servers_own(exception, reason):
    """Time-outs, cancellation and anything unknown are the server's."""
    assert cause_of(exception) == (reason, Origin.SERVER)


def test_subclasses_are_known_by_their_bases():
    """A subclass made by an SDK is classified as the library's class it derives from."""
    assert cause_of(named("openai.APITimeout", httpx.ReadTimeout)("t")).reason is Reason.IDLE_TIMEOUT


@pytest.mark.parametrize("exception", GONE, ids=repr)
def test_a_reader_who_left(exception):
    """What a server's `send` raises when nobody reads any more is no error of the producer."""
    assert cause_of(exception).reason is Reason.CLIENT_DISCONNECT


def raised_from(exception, *beneath):
    """Return the first of the exceptions as it is when each was raised from the next one."""
    if beneath:
        exception.__cause__ = raised_from(*beneath)
    return exception


api_error = named("openai._exceptions.APIError")


@pytest.mark.parametrize(
    ("exception", "cause"),
    [
        (raised_from(api_error(), httpx.ReadError("reset")), ("connection_lost", "upstream")),
        (raised_from(ValueError(), api_error(), httpx.ReadTimeout("")), ("idle_timeout", "upstream")),
        (raised_from(ValueError(), httpx.ConnectError("")), ("producer_error", "upstream")),
        (api_error(), ("producer_error", "upstream")),
        (raised_from(ValueError(), KeyError()), ("producer_error", "server")),
        (raised_from(ValueError(), asyncio.CancelledError()), ("producer_error", "server")),
        (raised_from(TimeoutError(), httpx.ReadError("reset")), ("deadline_exceeded", "server")),
        (raised_from(*[ValueError() for _ in range(9)], httpx.ReadError("reset")), ("producer_error", "server")),
    ],
    ids=repr,
)
def test_what_an_exception_was_raised_from(exception, cause):
    """An error of an SDK's own says what its client library's did; nothing but an upstream is found so."""
    assert cause_of(exception) == cause


def of_grpc(status):
    """Return an error of gRPC's, as its call raises it."""
    error = named("grpc._channel._MultiThreadedRendezvous", named("grpc.RpcError"))()
    error.code = lambda: SimpleNamespace(name=status)
    return error


def test_errors_of_grpc():
    """One class for all: its status says which, and a call that was cancelled is a reader that has stopped."""
    assert cause_of(of_grpc("UNAVAILABLE")) == (Reason.CONNECTION_LOST, Origin.UPSTREAM)
    assert cause_of(of_grpc("DEADLINE_EXCEEDED")) == (Reason.DEADLINE_EXCEEDED, Origin.UPSTREAM)
    assert cause_of(of_grpc("CANCELLED")) == (Reason.PRODUCER_ERROR, Origin.UPSTREAM)
    assert cause_of_reading(of_grpc("CANCELLED")) == (Reason.CONSUMER_STOPPED, Origin.CLIENT)
    assert cause_of(named("grpc.RpcError")()) == (Reason.PRODUCER_ERROR, Origin.UPSTREAM)


def test_the_nearest_class_counts():
    """A library's class wins over the builtin it also derives from."""
    both = named("aiohttp.client_exceptions.ServerTimeoutError", aiohttp_error, TimeoutError)
    assert cause_of(both()).reason is Reason.IDLE_TIMEOUT


def test_task_groups_are_opened():
    """What a task group raises is classified by the exception inside."""

    async def in_groups():
        async with anyio.create_task_group(), anyio.create_task_group():
            raise httpx.ReadError("reset")

    with pytest.raises(BaseException) as caught:
        anyio.run(in_groups)
    assert type(caught.value) is not httpx.ReadError
    assert cause_of(caught.value) == (Reason.CONNECTION_LOST, Origin.UPSTREAM)


def test_a_clients_departure_in_disguise():
    """Starlette turns every OSError into a departure of the client, a producer's own time-out included."""
    departure = named("starlette.requests.ClientDisconnect")
    assert cause_of(departure()).reason is Reason.PRODUCER_ERROR
    disguised = departure()
    disguised.__context__ = TimeoutError()
    assert cause_of(disguised).reason is Reason.DEADLINE_EXCEEDED


def test_groups_without_end_are_not_followed():
    """A group nested deeper than any real one is the producer's error, found in bounded time."""
    group = ValueError("leaf")
    for _ in range(200):
        outer = ValueError("group")
        outer.exceptions = (group,) * 50
        group = outer
    assert cause_of(group).reason is Reason.PRODUCER_ERROR


CLOSES = {
    Reason.COMPLETED: {1000, 1001, 1005, 3000, 3999, 4000, 4999},
    Reason.PROTOCOL_ERROR: {1002, 1003, 1007, 1008, 1009, 1010},
    Reason.IN_BAND_ERROR: {1011, 1013, 1014},
    Reason.SERVER_SHUTDOWN: {1012},
    Reason.UNKNOWN: {-1, 0, 999, 1004, 1006, 1015, 1016, 2999},
}


@pytest.mark.parametrize("reason", CLOSES)
def test_close_codes(reason):
    """Every close code has its reason, and points at the side that sent it where that is known."""
    for code in CLOSES[reason]:
        for side in (Origin.SERVER, Origin.UPSTREAM):
            assert cause_of_close(code, side) == (reason, side)
        by_client = {Reason.PROTOCOL_ERROR: Origin.UNKNOWN, Reason.SERVER_SHUTDOWN: Origin.SERVER}
        assert cause_of_close(code, Origin.CLIENT) == (reason, by_client.get(reason, Origin.CLIENT))


@pytest.mark.parametrize(
    ("exception", "cause"),
    [
        (asyncio.CancelledError(), ("consumer_stopped", "client")),
        (GeneratorExit(), ("consumer_stopped", "client")),
        (KeyboardInterrupt(), ("consumer_stopped", "client")),
        (TimeoutError(), ("idle_timeout", "upstream")),
        (ConnectionResetError(), ("connection_lost", "upstream")),
        (OSError("TLS"), ("connection_lost", "upstream")),
        (httpx.ReadTimeout(""), ("idle_timeout", "upstream")),
        (httpx.DecodingError(""), ("protocol_error", "upstream")),
        (aiohttp.http_exceptions.ContentEncodingError(""), ("protocol_error", "upstream")),
        (urllib3.exceptions.DecodeError(""), ("protocol_error", "upstream")),
        (ValueError(), ("producer_error", "upstream")),
        (type("GreenletExit", (BaseException,), {})(), ("consumer_stopped", "client")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_an_exception_says_to_a_reader(exception, cause):
    """Who reads has stopped where who produces was cancelled, and by what is no error; all else is the upstream's."""
    assert cause_of_reading(exception) == cause
