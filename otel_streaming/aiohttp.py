"""The aiohttp adapter: each response's ``content``, below whatever reads from it, after aiohttp's own decompression.

A client middleware of ours, the innermost, sees each request as it is sent, redirected ones and second attempts too.
It puts a content that tells of every reading in the place of the response's own. That the reader leaves is told by
the response: by ``close`` and ``release``, which leaving an ``async with`` calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any

from otel_streaming._call import Fields, Sending, call
from otel_streaming._patches import before
from otel_streaming._reading import Watched

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

    from otel_streaming._call import Asked, Call
    from otel_streaming._exchange import HeaderList
    from otel_streaming._patches import Patches

    Handler = Callable[[Any], Awaitable[Any]]

_READ_ON = (asyncio.CancelledError, GeneratorExit, RuntimeError, TypeError)
"""What a reading raises that ends no stream: misuse, and a cancellation, by a ``wait_for`` perhaps."""
_READINGS = ("readany", "readchunk", "readuntil")
_BY_OTHERS = ("__aiter__", "iter_any", "iter_chunked", "iter_chunks", "readline")
"""What consists of those, and of ``read``."""
_DECODED = {b"gzip", b"deflate", b"br", b"zstd"}


class _Content(Watched):
    """A ``StreamReader``, watched; what is no reading goes to the library's own."""

    _of: type  # what it stands for
    _read_some: Callable[..., Awaitable[bytes]]
    _read_all: Callable[..., Awaitable[bytes]]

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Be taken for what it stands for."""
        return self._of

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"_source", "_watch"}:
            object.__setattr__(self, name, value)
        else:
            setattr(self._source, name, value)

    def __repr__(self) -> str:
        return repr(self._source)

    async def read(self, n: int = -1) -> bytes:
        """Read up to ``n`` bytes, or all there are."""
        return await (self._read_all(n) if isinstance(n, int) and n < 0 else self._read_some(n))

    def read_nowait(self, n: int = -1) -> bytes:
        """Read what is there."""
        self._watch.wants()
        try:
            body: bytes = self._source.read_nowait(n)
        except BaseException as exception:
            self._broke(exception)
            raise
        self._got(body)
        return body

    def leave(self) -> None:
        """Tell that nobody reads on."""
        if self._source.at_eof():
            self._watch.finished()
        else:
            self._watch.closed()

    def _got(self, body: bytes) -> None:
        if body:
            self._watch.got(body)
        if self._source.at_eof():
            self._watch.finished()

    def _broke(self, exception: BaseException) -> None:
        cause = exception.__cause__  # of a ClientPayloadError, why: it was cut, or is not encoded as it says
        if type(exception) is asyncio.TimeoutError:  # of ClientTimeout.total: any other is of a class of its own
            self._watch.expired()
        elif cause is not None and type(cause).__name__ == "ContentEncodingError":
            self._watch.broke(cause)
        elif not isinstance(exception, _READ_ON):
            self._watch.broke(exception)

    @staticmethod
    def watched(reading: Callable[..., Awaitable[Any]], *, by_others: bool = False) -> Callable[..., Awaitable[Any]]:
        """Watch a method of the library's; what consists of others calls them here, and they tell what they read."""

        @functools.wraps(reading)
        async def read(self: _Content, *args: Any, **kwargs: Any) -> Any:
            self._watch.wants()
            try:
                body = await reading(self if by_others else self._source, *args, **kwargs)
            except BaseException as exception:
                self._broke(exception)
                raise
            if not by_others:
                self._got(body[0] if isinstance(body, tuple) else body)  # `readchunk` says whether a chunk ended
            return body

        return read


def _content_of(reader: Any) -> type[_Content]:
    methods = {
        "_of": reader,
        **{name: _Content.watched(getattr(reader, name)) for name in _READINGS},
        "_read_some": _Content.watched(reader.read),
        "_read_all": _Content.watched(reader.read, by_others=True),
        "readexactly": _Content.watched(reader.readexactly, by_others=True),
        **{name: getattr(reader, name) for name in _BY_OTHERS},
    }
    return type(reader.__name__, (_Content,), methods)


def _read_headers(headers: HeaderList, *, decodes: bool) -> HeaderList:
    """Return the headers of the body that is handed out: decoded, it has neither an encoding nor a known length."""
    fields = {name.lower(): value for name, value in headers}
    if not decodes or fields.get(b"content-encoding", b"").strip().lower() not in _DECODED:
        return headers
    return [(name, value) for name, value in headers if name.lower() not in {b"content-encoding", b"content-length"}]


def _attach(response: Any, watch: Call, content: type[_Content], *, decodes: bool) -> None:
    try:
        body = response.content
        its = content._of  # noqa: SLF001 - the library's, whose methods we know
        ours = type(body) is its or getattr(body, "at_eof", bool)()
        headers = _read_headers(response.raw_headers, decodes=decodes) if ours else ()  # else no stream to follow
        if (ours or response.status >= 500) and watch.answered(response.status, headers):
            if body.at_eof():
                watch.finished()
            else:
                response.content = content(body, watch)
    except Exception:  # noqa: BLE001 - a response class of the application's own
        watch.give_up()


def _asks(request: Any) -> Asked:
    return request.method, request.url.host, request.url.path, Fields(request.headers)


def _middleware(content: type[_Content], *, decodes: bool) -> Callable[[Any, Handler], Awaitable[Any]]:
    async def watched(request: Any, handler: Handler) -> Any:
        watch = call(_asks, request)
        with Sending(watch):
            response = await handler(request)
        if watch is not None:
            _attach(response, watch, content, decodes=decodes)
        return response

    return watched


def hook(module: ModuleType, patches: Patches) -> None:
    """Watch the requests of every session."""
    _ = module.ClientMiddlewareType  # there are middlewares: aiohttp 3.12
    content = _content_of(module.StreamReader)

    def requests(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def _request(session: Any, *args: Any, **kwargs: Any) -> Any:
            with contextlib.suppress(Exception):  # what is no sequence is aiohttp's to refuse
                chosen, decodes = kwargs.get("middlewares"), kwargs.get("auto_decompress")
                chosen = session._middlewares if chosen is None else chosen  # noqa: SLF001
                decodes = session.auto_decompress if decodes is None else decodes
                kwargs["middlewares"] = (*chosen, _middleware(content, decodes=decodes))
            return original(session, *args, **kwargs)

        return _request

    @before
    def leaves(response: Any) -> None:
        if isinstance(response.content, _Content):
            response.content.leave()

    patches.wrap(module.ClientResponse, "close", leaves)
    patches.wrap(module.ClientResponse, "release", leaves)
    patches.wrap(module.ClientSession, "_request", requests)


HOOKS = {"aiohttp": hook}
"""What is patched when a module is imported by the host; nothing is imported for it."""
