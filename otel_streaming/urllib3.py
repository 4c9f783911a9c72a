"""The urllib3 adapter, and so that of requests and botocore: each response's body, as its methods hand it out.

Each attempt is a call: retries and redirects make their own. A response that is loaded at once is read while it is
made, so it is watched from its first line on.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from otel_streaming._call import Fields, call
from otel_streaming._patches import before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from otel_streaming._call import Asked, Call
    from otel_streaming._patches import Patches

_asked: ContextVar[Call | None] = ContextVar("otel_streaming_asked", default=None)
"""The attempt that awaits its response."""
_KEY = "_otel_streaming"
_READ_ON = (RuntimeError, TypeError, ValueError)
"""What a reading raises that ends no stream: misuse."""


class _Held:
    """The watch over a body, for as long as its response lives."""

    __slots__ = ("_reading", "watch")

    def __init__(self, watch: Call) -> None:
        self.watch = watch
        self._reading = False

    def __del__(self) -> None:
        """End what was neither read to its end nor closed."""
        self.watch.dropped()

    def read(self, reading: Callable[..., bytes | None], *args: Any, **kwargs: Any) -> bytes | None:
        """Read on."""
        self._reading = True
        self.watch.wants()
        try:
            body = reading(*args, **kwargs)
        except _READ_ON:
            raise
        except BaseException as exception:
            self.watch.broke(exception)
            raise
        finally:
            self._reading = False
        if body:
            self.watch.got(body)
        return body

    def leave(self, response: Any) -> None:
        """Tell that nobody reads on, unless it is a reading that releases or closes."""
        if self._reading:
            return
        self.watch.collected = True  # perhaps: the finaliser closes
        if _is_over(response):
            self.watch.finished()
        else:
            self.watch.dropped()


def _is_over(response: Any) -> bool:
    """Tell whether all there was has been handed out: nothing is left in the connection, or in a decoder."""
    try:
        if not response.isclosed() and response.length_remaining != 0:
            return False
        decoder, decoded = getattr(response, "_decoder", None), getattr(response, "_decoded_buffer", b"")
        return not decoded and not getattr(decoder, "has_unconsumed_tail", False)
    except Exception:  # noqa: BLE001 - somebody has put a body of another kind into it
        return False


def _asks(pool: Any, method: str, url: str, headers: Any) -> Asked:
    host, path = pool.host, url.partition("?")[0]
    if not path.startswith("/"):  # through a proxy
        host, path = urlsplit(path).hostname or "", urlsplit(path).path
    return method, host, unquote(path), Fields(headers or {})


def _attempts(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def _make_request(pool: Any, conn: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        watch = call(_asks, pool, method, url, kwargs.get("headers"))
        token = _asked.set(watch)
        try:
            return original(pool, conn, method, url, *args, **kwargs)
        except BaseException as exception:
            if watch is not None and _asked.get() is watch:
                watch.failed(exception)
            raise
        finally:
            _asked.reset(token)

    return _make_request


def _begins(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def __init__(response: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it is one
        watch = _asked.get()
        if watch is None or kwargs.get("original_response") is None:
            original(response, *args, **kwargs)
            return
        _asked.set(None)
        watched = watch.answered(kwargs.get("status", 0), Fields(kwargs.get("headers") or {}))
        if watched:
            response.__dict__[_KEY] = _Held(watch)
        original(response, *args, **kwargs)
        if watched and _is_over(response):
            watch.finished()

    return __init__


def _reads(original: Callable[..., Any], *, waits: bool) -> Callable[..., Any]:
    @functools.wraps(original)
    def read(response: Any, *args: Any, **kwargs: Any) -> Any:
        held = response.__dict__.get(_KEY)
        if held is None:
            return original(response, *args, **kwargs)
        body = held.read(original, response, *args, **kwargs)
        if waits:
            held.watch.paced = False
        if _is_over(response):
            held.watch.finished()
        return body

    return read


def _each(chunks: Any, held: _Held) -> Iterator[bytes]:
    try:
        while (chunk := held.read(next, chunks, None)) is not None:
            yield chunk
        held.watch.finished()
    except _READ_ON:
        raise
    except BaseException:
        held.watch.closed()  # unless it broke, the reader has left: urllib3 closes the connection
        raise
    finally:
        chunks.close()


def _reads_each(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def read_chunked(response: Any, *args: Any, **kwargs: Any) -> Any:
        held = response.__dict__.get(_KEY)
        chunks = original(response, *args, **kwargs)
        return chunks if held is None else _each(chunks, held)

    return read_chunked


@before
def _shuts(response: Any) -> None:
    held = response.__dict__.get(_KEY)
    if held is not None:
        held.watch.closed()  # the reading that it interrupts, too


@before
def _leaves(response: Any) -> None:
    held = response.__dict__.get(_KEY)
    if held is not None:
        held.leave(response)


_HOW: dict[str, Callable[..., Any]] = {
    "read": functools.partial(_reads, waits=True),  # until it has as much as was asked for
    "read1": functools.partial(_reads, waits=False),
    "read_chunked": _reads_each,
    **dict.fromkeys(("close", "drain_conn", "release_conn"), _leaves),
    "shutdown": _shuts,
    "__init__": _begins,
}
_NOT_IN_2_0 = {"read1", "shutdown"}


def hook(module: ModuleType, patches: Patches) -> None:
    """Watch how responses begin, are read and left, and each attempt, as it is sent."""
    _ = module.BaseHTTPResponse  # it is what an attempt returns: urllib3 2
    response = module.response.HTTPResponse
    for name, wrapper in _HOW.items():
        if name not in _NOT_IN_2_0 or hasattr(response, name):
            patches.wrap(response, name, wrapper)
    patches.wrap(module.connectionpool.HTTPConnectionPool, "_make_request", _attempts)


HOOKS = {"urllib3": hook}
"""What is patched when a module is imported by the host; nothing is imported for it."""
