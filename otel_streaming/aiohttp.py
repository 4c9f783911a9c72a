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

from otel_streaming._call import Fields, call
from otel_streaming._reading import MISUSE, Watched

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

    from otel_streaming._call import Call
    from otel_streaming._exchange import HeaderList
    from otel_streaming._patches import Patches

    Handler = Callable[[Any], Awaitable[Any]]

_READ_ON = (asyncio.CancelledError, GeneratorExit, *MISUSE)
"""What a reading raises that ends no stream: whoever was cancelled, by a ``wait_for`` perhaps, may read on."""
_SIMPLE = ("readany", "readchunk", "readuntil")
_COMPOSED = ("readexactly",)
"""Readings that check for an error, and then consist of simple ones."""
_CALLING = ("__aiter__", "iter_any", "iter_chunked", "iter_chunks", "readline")
"""What calls one reading after the other."""
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

    def read(self, n: int = -1) -> Awaitable[bytes]:
        """Read up to ``n`` bytes, or all there are, which consists of several readings."""
        return self._read_all(n) if isinstance(n, int) and n < 0 else self._read_some(n)

    def read_nowait(self, n: int = -1) -> bytes:
        """Read what is there."""
        try:
            body: bytes = self._source.read_nowait(n)
        except BaseException as exception:
            self.broke(exception)
            raise
        self.got(body)
        return body

    def got(self, body: Any) -> None:
        """Tell what was read, and whether it was the last."""
        if isinstance(body, tuple):  # of `readchunk`
            body = body[0]
        if body:
            self._watch.got(body)
        if self._source.at_eof():
            self._watch.finished()

    def broke(self, exception: BaseException) -> None:
        """Tell what a reading raised."""
        if type(exception) is asyncio.TimeoutError:  # the `total` of its ClientTimeout: any other is a class of its own
            self._watch.expired()
        elif not isinstance(exception, _READ_ON):
            cause = (
                exception.__cause__ or exception
            )  # of a ClientPayloadError: a body that was cut, or is not as encoded
            self._watch.broke(cause if type(cause).__name__ == "ContentEncodingError" else exception)

    def leave(self) -> None:
        """Tell that nobody reads on."""
        if self._source.at_eof():
            self._watch.finished()
        else:
            self._watch.closed()


def _simple(reading: Callable[..., Awaitable[Any]], *, composed: bool = False) -> Callable[..., Awaitable[Any]]:
    """Watch a reading; one that is composed runs on what is watched, and what it reads is told by its parts."""

    @functools.wraps(reading)
    async def read(content: _Content, *args: Any, **kwargs: Any) -> Any:
        content._watch.wants()  # noqa: SLF001 - its own method
        try:
            body = await reading(content if composed else content._source, *args, **kwargs)  # noqa: SLF001
        except BaseException as exception:
            content.broke(exception)
            raise
        if not composed:
            content.got(body)
        return body

    return read


def _content_of(reader: type) -> type[_Content]:
    methods = {
        "_of": reader,
        **{name: _simple(getattr(reader, name)) for name in _SIMPLE},
        **{name: _simple(getattr(reader, name), composed=True) for name in _COMPOSED},
        **{name: getattr(reader, name) for name in _CALLING},
        "_read_some": _simple(reader.read),  # type: ignore[attr-defined]
        "_read_all": _simple(reader.read, composed=True),  # type: ignore[attr-defined]
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
        if watch.answered(response.status, _read_headers(response.raw_headers, decodes=decodes)):
            if response.content.at_eof():
                watch.finished()
            else:
                response.content = content(response.content, watch)
    except Exception:  # noqa: BLE001 - a response class of the application's own
        watch.give_up()


def _middleware(content: type[_Content], *, decodes: bool) -> Callable[[Any, Handler], Awaitable[Any]]:
    async def watched(request: Any, handler: Handler) -> Any:
        url = request.url
        watch = call(request.method, url.host, url.path, Fields(request.headers))
        if watch is None:
            return await handler(request)
        try:
            response = await handler(request)
        except BaseException as exception:
            watch.failed(exception)
            raise
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

    def leaves(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(original)
        def leave(response: Any) -> Any:
            if isinstance(response.content, _Content):
                response.content.leave()
            return original(response)

        return leave

    patches.wrap(module.ClientResponse, "close", leaves)
    patches.wrap(module.ClientResponse, "release", leaves)
    patches.wrap(module.ClientSession, "_request", requests)


HOOKS = {"aiohttp": hook}
"""What is patched when a module is imported by the host; nothing is imported for it."""
