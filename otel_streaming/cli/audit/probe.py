"""One read of a stream over a real connection, observed: what came when, how it ended, and how the client left.

How the bytes are read, what a keep-alive is and what the end amounts to is the pure core's to say, as it is where a
client is watched.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from otel_streaming._causes import Cause, cause_of_reading
from otel_streaming._shape import cache_of, read_response
from otel_streaming._stream import Stream
from otel_streaming._verdict import summarise
from otel_streaming._version import __version__
from otel_streaming.cli.audit.answers import NoStreamError, opened, refusal
from otel_streaming.cli.audit.evidence import Arrival, Leaving, Read, Way
from otel_streaming.semconv import Cache, Origin, Protocol, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_streaming.cli.audit.curl import Asked

_CONNECT_SECONDS = 10.0
_LISTEN_SECONDS = 5.0
"""For how long the client listens on, at most, after its FIN."""
_PAUSE_SECONDS = 1.0
"""The longest pause of a slow reader: it is to be slow, not silent."""
_NEARLY = 0.9
_SMALL_WINDOW = 1 << 16
"""Bytes of a slow reader's receive buffer."""
_STOPPED = Cause(Reason.CONSUMER_STOPPED, Origin.CLIENT)
_HEADERS = {"user-agent": f"otel-streaming/{__version__} audit", "accept-encoding": "identity"}
"""Of requests that have no others."""
_DELIMITERS = {Protocol.SSE: (b"\n\n", b"\r\r", b"\r\n\r\n"), Protocol.NDJSON: (b"\n",)}
_LONGEST = 3
"""Bytes of the longest delimiter without its last."""


class Probe:
    """One read.

    Args:
        asked: What to ask for.
        way: How to read.
        trace_id: Of the trace context that goes with the request, in hexadecimal.
        seconds: How long the read may last, once its request goes out.
        until: When all must be over, by the monotonic clock, s.
        whole: The first read, by which the others know where half is, and how slow is slow.
        tell: Called with every piece that comes: how many so far.
    """

    def __init__(
        self,
        asked: Asked,
        way: Way,
        trace_id: str,
        *,
        seconds: float,
        until: float,
        whole: Read | None,
        tell: Callable[[int], None],
    ) -> None:
        self._asked = asked
        self._way = way
        self._seconds = seconds
        self._until = until
        self._whole = whole
        self._tell = tell
        self._trace_id = trace_id
        self._arrivals: list[Arrival] = []
        self._events, self._tail = 0, b""
        self._digest = hashlib.sha256()
        self._cache, self._control, self._encoded = Cache.NONE, "", False
        self._stream: Stream | None = None
        self._socket: Any = None
        self._leaving: Leaving | None = None
        self._timers: list[asyncio.TimerHandle] = []

    async def read(self) -> Read:
        """Ask, and read to the end, to the moment to leave, or until the time is up.

        Raises:
            NoStreamError: What came is no stream, or nothing came.
            RedirectedError: The stream is somewhere else at the same service.
        """
        client = self._client()
        self._started_at = time.monotonic()
        try:
            with anyio.move_on_after(self._seconds) as self._scope:
                await self._exchange(client)
        finally:
            for timer in self._timers:
                timer.cancel()
        return self._result()

    # -- asking ---------------------------------------------------------------------------------------------

    async def _exchange(self, client: httpx.AsyncClient) -> None:
        try:
            async with client, self._ask(client) as response:
                self._cache = cache_of(response.headers.raw)
                self._control = response.headers.get("cache-control", "").lower()
                self._encoded = read_response(response.headers.raw)[2]
                self._stream = opened(self._asked, response, self._started_at)
                self._stream.headers(time.monotonic(), response.status_code)
                async for piece in response.aiter_raw():
                    if piece:
                        self._arrived(self._stream, piece)
                    await self._pause(self._stream)
                self._stream.eof(time.monotonic())
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            if self._stream is None and self._leaving is None:
                raise refusal(self._asked, error) from error
            self._begun().failed(time.monotonic(), cause_of_reading(error))

    def _client(self) -> httpx.AsyncClient:
        """Return a client of its own for each read, which heeds no variable of the environment and no .netrc."""
        window = [(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_WINDOW)] if self._way is Way.SLOW else None
        verify: Any = self._asked.verify
        if isinstance(verify, str):
            try:
                verify = ssl.create_default_context(cafile=verify)
            except OSError as error:
                raise NoStreamError("curl's --cacert names no file of certificates (PEM): name one") from error
        transport = httpx.AsyncHTTPTransport(verify=verify, socket_options=window, trust_env=False)
        timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
        client = httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False)
        client.headers.clear()  # nothing is sent that nobody has asked for
        client.headers.update(_HEADERS)
        return client

    def _ask(self, client: httpx.AsyncClient) -> Any:
        asked = self._asked
        context = f"00-{self._trace_id}-{secrets.token_hex(8)}-01"  # W3C Trace Context, sampled
        fields = [*(field for field in asked.headers if field[0].lower() != "traceparent"), ("traceparent", context)]
        headers = [(name.encode(), value.encode()) for name, value in fields]
        extensions = {"trace": self._traced}
        return client.stream(asked.method, asked.url, headers=headers, content=asked.body, extensions=extensions)

    async def _traced(self, event: str, info: dict[str, Any]) -> None:
        """Learn of the connection before it is answered on; time is taken from when the request goes out on it."""
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"].get_extra_info("socket")
        elif event == "http11.send_request_headers.started":
            self._started_at = time.monotonic()
            self._scope.deadline = min(anyio.current_time() + self._seconds, self._until)
            if self._way is Way.LEAVE and self._whole is not None:  # a stream that comes all at its end is left before
                self._after(self._whole.seconds / 2, self._leave)

    def _begun(self) -> Stream:
        """Return the stream; where the client left before the answer, one that would have been like the first."""
        if self._stream is None:
            assert self._whole is not None  # noqa: S101 - or it would not have left
            self._stream = Stream(self._whole.summary.shape, self._asked.method, self._started_at)
        return self._stream

    # -- reading --------------------------------------------------------------------------------------------

    def _arrived(self, stream: Stream, piece: bytes) -> None:
        now = time.monotonic()
        progress = stream.chunk(now, piece)
        if progress:
            stream.idle_since = now
            self._events += self._ended(stream, piece)
        self._arrivals.append(Arrival(now - self._started_at, len(piece), progress))
        self._digest.update(piece)
        self._tell(len(self._arrivals))
        if self._leaving is not None:
            heard, size = self._leaving.heard + 1, self._leaving.size + len(piece)
            self._leaving = replace(self._leaving, heard=heard, size=size)
        elif self._way is Way.LEAVE and self._whole is not None and stream.size >= self._whole.summary.size / 2:
            self._leave()

    def _ended(self, stream: Stream, piece: bytes) -> int:
        """Return how many events end in a piece: a delimiter may have begun in the one before."""
        joined, before = self._tail + piece, len(self._tail)
        self._tail = joined[-_LONGEST:]
        marks = _DELIMITERS.get(Protocol(stream.shape.protocol), ())
        return max((joined[max(0, before + 1 - len(mark)) :].count(mark) for mark in marks), default=1)

    async def _pause(self, stream: Stream) -> None:
        """Read slowly: as if all that is to come took nearly all the time there is."""
        if self._way is Way.SLOW and self._whole is not None:
            due = _NEARLY * self._seconds * stream.size / max(1, self._whole.summary.size)
            behind = due - (time.monotonic() - self._started_at)
            await asyncio.sleep(min(_PAUSE_SECONDS, max(0.0, behind)))

    # -- leaving --------------------------------------------------------------------------------------------

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, action))

    def _leave(self) -> None:
        """End this side of the connection, as whoever closes one does, and listen on for a while."""
        if self._leaving is not None or self._whole is None:
            return
        at = time.monotonic() - self._started_at
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # the other side has reset the connection: the next read will tell
            return
        self._leaving = Leaving(at, time.time())
        self._after(min(_LISTEN_SECONDS, max(0.0, self._whole.seconds - at) / 2), self._close)

    def _close(self) -> None:
        if self._leaving is not None:
            self._leaving = replace(self._leaving, closed_at=time.time())
            self._scope.cancel()

    # -- the result -----------------------------------------------------------------------------------------

    def _result(self) -> Read:
        over = self._scope.cancelled_caught and self._leaving is None
        if self._stream is None and over:
            raise NoStreamError(f"no answer within {self._seconds:.0f} s: is it the right address? allow for more time")
        now, stream = time.monotonic(), self._begun()
        if stream.ended_at is None:
            stream.failed(now, _STOPPED)
        return Read(
            way=self._way,
            trace_id=self._trace_id,
            cache=self._cache,
            control=self._control,
            encoded=self._encoded,
            arrivals=tuple(self._arrivals),
            events=self._events,
            digest=self._digest.hexdigest(),
            summary=summarise(stream, now),
            over=over,
            leaving=self._leaving,
        )
