"""A receiver of OTLP over HTTP, on this machine alone: what a service exports, as records for a callback.

Nobody is asked for a password, so nobody is let in who need not be: it listens on 127.0.0.1, answers to no name but
this machine's (a web site's own name may be made to lead here) and to no browser. What it holds is bounded, whatever
is sent, and so is the time it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_streaming.cli.bodies import ENCODINGS, JSON, MAX_BODY, PROTOBUF, Refused, inflate, parse, too_large
from otel_streaming.cli.conversation import GONE, Conversation
from otel_streaming.cli.options import StopError
from otel_streaming.cli.records import REQUESTS, readings, streams, traces

if TYPE_CHECKING:
    from collections.abc import Callable

    import h11
    from typing_extensions import Self

    from otel_streaming.cli.records import EndedStream, Reading

ADDRESS = "127.0.0.1"
MAX_HELD = 8 * MAX_BODY
"""Bytes of all requests that are being read."""
MAX_CONNECTIONS = 256
"""So many are served; as many more are told to come again, and beyond these nobody is listened to."""
IDLE_SECONDS, REQUEST_SECONDS = 90.0, 15.0
"""How long a connection may say nothing between two requests, and how long one request may take to come."""
_NAMES = (ADDRESS, "localhost")


class ReceiverError(StopError):
    """It cannot listen; the message says what to do."""


@dataclass(frozen=True)
class Export:
    """One request that was accepted, as it came.

    Attributes:
        path: ``/v1/traces``, ``/v1/metrics`` or ``/v1/logs``.
        headers: Its ``content-type`` and ``content-encoding``.
        body: Still compressed, if it was.
    """

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """An OTLP/HTTP endpoint for as long as the block lasts; the callbacks are called in a thread of its own.

    Args:
        port: To listen on; 0 for any that is free.
        on_stream: Called with each stream that ended.
        on_reading: Called with each value of a metric that a process counts itself.
        on_trace: Called with the id of each trace of which a request holds spans, whoever made them.
        on_export: Called with every request that was accepted, whatever is in it.
        idle, patience: Seconds; see ``IDLE_SECONDS`` and ``REQUEST_SECONDS``.

    Attributes:
        endpoint: What ``OTEL_EXPORTER_OTLP_ENDPOINT`` is to be.

    Raises:
        ReceiverError: On entry, when the port cannot be had.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        on_stream: Callable[[EndedStream], None] = lambda _: None,
        on_reading: Callable[[Reading], None] = lambda _: None,
        on_trace: Callable[[str], None] = lambda _: None,
        on_export: Callable[[Export], None] = lambda _: None,
        idle: float = IDLE_SECONDS,
        patience: float = REQUEST_SECONDS,
    ) -> None:
        self._port = port
        self._on_stream = on_stream
        self._on_reading = on_reading
        self._on_trace = on_trace
        self._on_export = on_export
        self._idle = idle
        self._patience = patience
        self._held = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self.endpoint = ""

    def __enter__(self) -> Self:
        listening: Future[tuple[int, Callable[[], None]]] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(listening),), name="otlp", daemon=True)
        self._thread.start()
        try:
            port, self._stop = listening.result()
        except OSError as error:
            self._thread.join()
            raise ReceiverError(
                f"port {self._port} cannot be listened on: {error}. Another receiver or a collector may have it: "
                f"stop that one, or take another with --port"
            ) from error
        self.endpoint = f"http://{ADDRESS}:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join()

    async def _run(self, listening: Future[tuple[int, Callable[[], None]]]) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await asyncio.start_server(self._connected, ADDRESS, self._port)
        except OSError as error:
            listening.set_exception(error)
            return

        def stop() -> None:
            loop.call_soon_threadsafe(over.set)

        listening.set_result((server.sockets[0].getsockname()[1], stop))
        await over.wait()
        server.close()  # the tasks of its connections are cancelled with the loop, and close them

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= 2 * MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._writers.add(writer)
        conversation = Conversation(reader, writer, self._idle, self._patience)
        try:
            with contextlib.suppress(*GONE, asyncio.CancelledError):  # of the loop's end; it would log one
                while await self._serve(conversation):
                    pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, conversation: Conversation) -> bool:
        """Take one request and answer it; tell whether another may follow."""
        request = await conversation.request()
        if request is None:
            return False
        body = bytearray()
        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
            refused = self._refusal(request, headers)
            async for data in conversation.body():
                refused = refused or self._too_much(len(body) + len(data), len(data))
                if refused is None:  # what is refused is read to its end, since an answer before it may get lost
                    body += data
                    self._held += len(data)
            if refused is not None:
                raise refused
            self._take(request.target.decode("latin-1"), headers, bytes(body))
        except Refused as answer:
            await conversation.answer(answer.status, _content_type(headers), str(answer))
        else:
            await conversation.answer(200, _content_type(headers))
        finally:
            self._held -= len(body)
        return conversation.again()

    def _refusal(self, request: h11.Request, headers: dict[str, str]) -> Refused | None:
        """Return why a request is not taken, as far as its head tells."""
        path, method = request.target.decode("latin-1"), request.method.decode("latin-1")
        name = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        rules = (
            (name not in _NAMES, 403, f"only {' and '.join(_NAMES)} are served here"),
            ("origin" in headers or "sec-fetch-site" in headers, 403, "browsers are not served"),
            (path not in REQUESTS, 404, f"nothing here but {', '.join(REQUESTS)}"),
            (method != "POST", 405, "POST only"),
            (_content_type(headers) not in {PROTOBUF, JSON}, 415, f"content-type must be {PROTOBUF} or {JSON}"),
            (_encoding(headers) not in ENCODINGS, 415, "content-encoding must be gzip, deflate or none"),
            (len(self._writers) > MAX_CONNECTIONS, 503, f"more than {MAX_CONNECTIONS} connections; try again"),
        )
        return next((Refused(status, why) for refused, status, why in rules if refused), None)

    def _too_much(self, size: int, more: int) -> Refused | None:
        if size > MAX_BODY:
            return too_large()
        if self._held + more > MAX_HELD:
            return Refused(503, "too much at once; try again")
        return None

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        as_json = _content_type(headers) == JSON
        request = parse(path, inflate(body, _encoding(headers)), as_json=as_json)
        if isinstance(request, ExportTraceServiceRequest):
            for stream in streams(request, as_json=as_json):
                self._on_stream(stream)
            for trace in traces(request, as_json=as_json):
                self._on_trace(trace)
        elif isinstance(request, ExportMetricsServiceRequest):
            for reading in readings(request):
                self._on_reading(reading)
        kept = {name: value for name, value in headers.items() if name in {"content-type", "content-encoding"}}
        self._on_export(Export(path, kept, body))


def _content_type(headers: dict[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _encoding(headers: dict[str, str]) -> str:
    return headers.get("content-encoding", "identity").strip().lower()
