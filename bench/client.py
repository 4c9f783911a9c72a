"""A client, and the model server it asks: a transport that answers at once, so that nothing but the client counts."""

from __future__ import annotations

import importlib
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from bench.peers import HTTPX, OPENAI
from bench.workloads import DONE, EVENT

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHAT = "http://model/v1/chat/completions"
_COMPLETION = {
    "id": "chatcmpl-123",
    "object": "chat.completion",
    "created": 1694268190,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
}
_QUESTION: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def _model(httpx: Any, chunks: int) -> Any:
    """Return a transport of httpx, or of its successor, that answers by so many chunks where they are asked for."""

    class Body(httpx.SyncByteStream):  # type: ignore[misc]  # of either library: no one type
        def __iter__(self) -> Iterator[bytes]:
            for _ in range(chunks):
                yield EVENT
            yield DONE

    class Model(httpx.BaseTransport):  # type: ignore[misc]  # likewise
        def handle_request(self, request: Any) -> Any:
            if b'"stream":true' in request.content:
                return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())
            return httpx.Response(200, json=_COMPLETION)

    return Model()


def _read(stream: Any, chunks: int) -> float:
    """Return what each chunk but the first takes, without what the end of the stream does."""
    next(stream)
    began = time.perf_counter()
    for _ in islice(stream, chunks - 1):
        pass
    seconds = time.perf_counter() - began
    for _ in stream:
        pass
    return seconds / (chunks - 1)


class HttpxClient:
    """httpx itself. Methods return seconds."""

    def __init__(self, name: str) -> None:
        self._instrument = HTTPX[name]()
        self._httpx = importlib.import_module("httpx")

    def _client(self, chunks: int) -> Any:
        client = self._httpx.Client(transport=_model(self._httpx, chunks))
        if self._instrument is not None:
            self._instrument(client)
        return client

    def chunk(self, chunks: int) -> float:
        """Return what a chunk takes."""
        with self._client(chunks) as client, client.stream("POST", _CHAT, content=b'{"stream":true}') as response:
            return _read(response.iter_raw(), chunks)

    def request(self, requests: int) -> float:
        """Return what a request takes that does not stream."""
        with self._client(0) as client:
            began = time.perf_counter()
            for _ in range(requests):
                client.post(_CHAT, content=b"{}")
            return (time.perf_counter() - began) / requests


class OpenAIClient:
    """The SDK of OpenAI, whose client is httpx2. Methods return seconds."""

    def __init__(self, name: str) -> None:
        OPENAI[name]()
        self._openai = importlib.import_module("openai")
        self._httpx = importlib.import_module("httpx2")

    def _client(self, chunks: int) -> Any:
        http = self._httpx.Client(transport=_model(self._httpx, chunks))
        return self._openai.OpenAI(api_key="none", base_url="http://model/v1", http_client=http)

    def chunk(self, chunks: int) -> float:
        """Return what a chunk takes, parsed."""
        with self._client(chunks) as client:
            return _read(client.chat.completions.create(stream=True, **_QUESTION), chunks)

    def request(self, requests: int) -> float:
        """Return what a request takes that does not stream."""
        with self._client(0) as client:
            began = time.perf_counter()
            for _ in range(requests):
                client.chat.completions.create(**_QUESTION)
            return (time.perf_counter() - began) / requests
