"""The httpx adapter, for httpx and its successor httpx2: each response's byte stream, below any decoding.

A client asks for the transport of each request by ``_transport_for_url``: what it gets is the transport, watched for
that request. So a transport of the application's own is watched as well, and whatever instruments the library's
transports runs inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_streaming._call import call
from otel_streaming._reading import WatchedAsyncIterator, WatchedIterator

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from otel_streaming._call import Call
    from otel_streaming._patches import Patches


def _begin(request: Any) -> Call | None:
    url = request.url
    return call(request.method, url.host, url.path, request.headers.raw)


def _whole(response: Any, watch: Call) -> Any:
    """Take a body that a transport has made, or read, itself; returns its stream, None where it is still to come."""
    if not response.is_closed:
        return None
    for body in response.stream if hasattr(response.stream, "__iter__") else ():
        watch.got(body)
    watch.finished()
    return response.stream


class _Transport:
    """A transport for one request."""

    def __init__(self, transport: Any, streams: tuple[type, type]) -> None:
        self._transport = transport
        self._sync, self._async = streams

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def handle_request(self, request: Any) -> Any:
        watch = _begin(request)
        try:
            response = self._transport.handle_request(request)
        except BaseException as exception:
            if watch is not None:
                watch.failed(exception)
            raise
        if watch is not None and watch.answered(response.status_code, response.headers.raw):
            response.stream = _whole(response, watch) or self._sync(response.stream, watch)
        return response

    async def handle_async_request(self, request: Any) -> Any:
        watch = _begin(request)
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException as exception:
            if watch is not None:
                watch.failed(exception)
            raise
        if watch is not None and watch.answered(response.status_code, response.headers.raw):
            response.stream = _whole(response, watch) or self._async(response.stream, watch)
        return response


def hook(module: ModuleType, patches: Patches) -> None:
    """Watch the requests of both clients."""
    streams = (
        type("WatchedByteStream", (WatchedIterator, module.SyncByteStream), {}),
        type("WatchedAsyncByteStream", (WatchedAsyncIterator, module.AsyncByteStream), {}),
    )

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda client, url: _Transport(original(client, url), streams)

    patches.wrap(module.Client, "_transport_for_url", watched)
    patches.wrap(module.AsyncClient, "_transport_for_url", watched)


HOOKS = {"httpx": hook, "httpx2": hook}
"""What is patched when a module is imported by the host; nothing is imported for it."""
