"""The httpx adapter, for httpx and its successor httpx2: each response's byte stream, below any decoding.

A client asks for the transport of each request by ``_transport_for_url``: what it gets is the transport, watched for
that request. So a transport of the application's own is watched as well, and whatever instruments the library's
transports runs inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_streaming._call import Sending, call
from otel_streaming._reading import WatchedAsyncIterator, WatchedIterator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from otel_streaming._call import Asked, Call
    from otel_streaming._patches import Patches


class _Sent:
    """Header fields of a request as they are when they are read: what instruments the transport adds its own."""

    __slots__ = ("_request",)

    def __init__(self, request: Any) -> None:
        self._request = request

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._request.headers.raw)


class _Transport:
    """A transport for one request."""

    def __init__(self, transport: Any, streams: tuple[type, type]) -> None:
        self._transport = transport
        self._sync, self._async = streams

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def handle_request(self, request: Any) -> Any:
        watch = call(_asks, request)
        with Sending(watch):
            response = self._transport.handle_request(request)
        _put_between(watch, response, self._sync)
        return response

    async def handle_async_request(self, request: Any) -> Any:
        watch = call(_asks, request)
        with Sending(watch):
            response = await self._transport.handle_async_request(request)
        _put_between(watch, response, self._async)
        return response


class _Body(WatchedIterator[bytes]):
    """A response's byte stream.

    Its iterator is another object, and has the library's own: who drops the one has dropped the other, and with it the
    connection, though the response be kept.
    """

    def __iter__(self) -> Any:
        return WatchedIterator(self._source, self._watch)

    def close(self) -> None:
        self._watch.closed()
        self._source.close()


class _AsyncBody(WatchedAsyncIterator[bytes]):
    """The same, read asynchronously."""

    def __aiter__(self) -> Any:
        return WatchedAsyncIterator(self._source, self._watch)

    async def aclose(self) -> None:
        self._watch.closed()
        await self._source.aclose()


def _asks(request: Any) -> Asked:
    url = request.url
    return request.method, url.host, url.path, _Sent(request)


def _put_between(watch: Call | None, response: Any, stream: Any) -> None:
    """Put the watch between a response and its reader; a body of no kind that the client reads is its to refuse."""
    if watch is None:
        return
    try:
        if not isinstance(response.stream, stream.of) or not watch.answered(response.status_code, response.headers.raw):
            return
        if not response.is_closed:
            response.stream = stream(response.stream, watch)
            return
        body = vars(response).get("_content")  # the transport has made, or read, all of it itself
        if body is None:
            watch.closed()
            return
        watch.paced = False
        watch.wants()
        watch.got(body)
        watch.finished()
    except Exception:  # noqa: BLE001 - a response we cannot read is the client's to judge
        watch.give_up()


def hook(module: ModuleType, patches: Patches) -> None:
    """Watch the requests of both clients."""
    streams = (
        type("WatchedByteStream", (_Body, module.SyncByteStream), {"of": module.SyncByteStream}),
        type("WatchedAsyncByteStream", (_AsyncBody, module.AsyncByteStream), {"of": module.AsyncByteStream}),
    )

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda client, url: _Transport(original(client, url), streams)

    patches.wrap(module.Client, "_transport_for_url", watched)
    patches.wrap(module.AsyncClient, "_transport_for_url", watched)


HOOKS = {"httpx": hook, "httpx2": hook}
"""What is patched when a module is imported by the host; nothing is imported for it."""
