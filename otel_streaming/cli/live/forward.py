"""What was received, passed on to another OTLP endpoint as it came; it waits for nobody and holds little."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import httpx

from otel_streaming.cli.options import StopError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

    from otel_streaming.cli.receiver import Export

MAX_HELD = 32 * 1024 * 1024
"""Bytes that may wait; what comes while they do is lost, and counted."""
_TIMEOUT = 10.0
_LAST = 5.0
"""Seconds for what still waits at the end."""


def endpoint(url: str) -> httpx.URL:
    """Return the base URL of an OTLP/HTTP endpoint.

    Raises:
        StopError: It is none.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise StopError(f"--forward {url}: {error}; it takes http://HOST:4318") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise StopError(f"--forward takes http://HOST:4318 or https://..., not {url}")
    return parsed


class Forwarder:
    """Passes requests on, in a thread of its own.

    Args:
        url: See `endpoint`.
        headers: Sent with each.
        say: Called once, with what is wrong, when something cannot be passed on.

    Attributes:
        lost: Requests that were not passed on.
    """

    def __init__(self, url: httpx.URL, headers: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._url = url
        self._headers = dict(headers)
        self._say = say
        self._queue: queue.SimpleQueue[Export | None] = queue.SimpleQueue()
        self._held = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)
        self.lost = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._thread.join(_LAST)
        if self._thread.is_alive():  # what ends the queue stands for the request under way
            self._lose("it does not answer in time", self._queue.qsize())

    def put(self, export: Export) -> None:
        """Take a request to be passed on; returns at once."""
        with self._lock:
            fits = self._held + len(export.body) <= MAX_HELD
            self._held += len(export.body) if fits else 0
        if fits:
            self._queue.put(export)
        else:
            self._lose("it takes less than is sent")

    def _run(self) -> None:
        base, client = str(self._url).rstrip("/"), None
        while (export := self._queue.get()) is not None:
            try:
                client = client or httpx.Client(headers=self._headers, timeout=_TIMEOUT)
                answer = client.post(f"{base}{export.path}", content=export.body, headers=export.headers)
                if not answer.is_success:
                    self._lose(f"it answers {answer.status_code} to {export.path}")
            except Exception as error:  # noqa: BLE001 - certificates, a proxy and headers come from the environment
                self._lose(str(error) or type(error).__name__)
            with self._lock:
                self._held -= len(export.body)
        if client is not None:
            client.close()

    def _lose(self, why: str, count: int = 1) -> None:
        with self._lock:
            first, self.lost = self.lost == 0, self.lost + count
        if first:
            where = f"{self._url.scheme}://{self._url.netloc.decode()}"
            self._say(
                f"not passed on to {where}: {why}. Does it speak OTLP over HTTP (usually at port 4318; 4317 is gRPC)?"
            )
