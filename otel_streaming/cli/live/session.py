"""What `run` and `watch` share: a receiver, what it has heard, and where that is shown."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from otel_streaming.cli.live.forward import Forwarder, endpoint
from otel_streaming.cli.live.output import Lines, Output, Screen, is_terminal
from otel_streaming.cli.live.streams import Streams
from otel_streaming.cli.options import StopError
from otel_streaming.cli.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from otel_streaming.cli.live.streams import Wanted
    from otel_streaming.cli.records import EndedStream, Reading

TICK = 0.2
"""Seconds between two looks at what is new."""
_SAMPLE = 1.0
_WAITING = 10_000
"""Streams that may wait to be printed; of more, the oldest are left out."""


class Session:
    """Receives, counts and shows for as long as the block lasts.

    Args:
        wanted: What is looked at.
        port: To listen on; 0 for any.
        forward: Where everything is passed on to, if anywhere.
        as_json: Whether to print lines of JSON.
        title: Of the view; the endpoint is added.
        share: Of a terminal's height, for the view.

    Attributes:
        endpoint: Where to send telemetry to.
        live: Whether there is a view.

    Raises:
        ReceiverError: On entry, when the port cannot be had.
        StopError: The URL is none, or on entry: it is this receiver's own.
    """

    def __init__(
        self, wanted: Wanted, *, port: int, forward: str | None, as_json: bool, title: str, share: float
    ) -> None:
        self._target = endpoint(forward) if forward else None
        self._title, self._share, self._as_json = title, share, as_json
        self._port = port
        self._streams = Streams(wanted)
        self._ended: deque[EndedStream] = deque(maxlen=_WAITING)
        self._notices: deque[str] = deque(maxlen=100)
        self._lock = threading.Lock()
        self._sampled = 0.0
        self._forwarder: Forwarder | None = None
        self._undo = contextlib.ExitStack()
        self.live = not as_json and is_terminal()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            if self._target is not None:
                headers = parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)
                self._forwarder = undo.enter_context(Forwarder(self._target, headers, self.say))
            receiver = Receiver(
                port=self._port,
                on_stream=self._on_stream,
                on_reading=self._on_reading,
                on_export=self._forwarder.put if self._forwarder else lambda _: None,
            )
            self.endpoint = undo.enter_context(receiver).endpoint
            self._refuse_itself()
            title = f"{self._title} · {self.endpoint}"
            self._output: Output = Screen(title, self._share) if self.live else Lines(as_json=self._as_json)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._undo.close()
        if failed is None:
            if self._forwarder is not None and self._forwarder.lost:
                self.say(f"{self._forwarder.lost} requests were not passed on")
            self.tick()
        self._output.close(None if failed else self._streams)

    def say(self, text: str) -> None:
        """Tell something, from any thread: with the next tick."""
        self._notices.append(text)

    def tick(self, lines: Sequence[str] = ()) -> None:
        """Show what is new, beside the ``lines`` of a command's own."""
        while self._notices:
            self._output.say(self._notices.popleft())
        now = time.monotonic()
        with self._lock:
            ended = list(self._ended)
            self._ended.clear()
            if now - self._sampled >= _SAMPLE:
                self._streams.sample(now)
                self._sampled = now
            drawn = self._output.draw(self._streams, now)
        self._output.show(drawn, ended, lines)  # may take as long as the terminal likes

    @property
    def gone(self) -> bool:
        """Whether whoever read what is printed has left."""
        return self._output.gone

    @property
    def heard(self) -> bool:
        """Whether anything has been heard of streams."""
        return self._streams.heard

    def _on_stream(self, stream: EndedStream) -> None:
        with self._lock:
            if self._streams.ended(stream):
                self._ended.append(stream)

    def _on_reading(self, reading: Reading) -> None:
        with self._lock:
            self._streams.read(reading, time.monotonic())

    def _refuse_itself(self) -> None:
        own = urlsplit(self.endpoint)
        if self._target and self._target.host in {own.hostname, "localhost"} and self._target.port == own.port:
            raise StopError(f"--forward {self._target} is this receiver itself; name another endpoint")
