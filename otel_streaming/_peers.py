"""Peers: what each server's objects, which stand behind ``receive`` and ``send``, know of their client.

All read without harm, and without asking: one attribute a chunk, ``peer.disconnected``. granian's objects know
nothing; there only a message or an exception tells.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from otel_streaming._watch import UNKNOWN_PEER

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_streaming._watch import Peer


class _Behind:
    """An object of the server's."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it


class _Closed(_Behind):
    """Hypercorn's HTTP stream: closed when the client has gone, and after a normal end as well."""

    disconnected: Any = property(attrgetter("it.closed"))


class _Protocol(_Behind):
    """The protocol of gunicorn's own ASGI worker, HTTP/1; its body receiver also says so of a cancelled receive."""

    disconnected: Any = property(attrgetter("it._closed"))


class _Details(_Behind):
    """Daphne's record of a connection: it gets one more key, also after a normal end."""

    @property
    def disconnected(self) -> bool:
        """Whether the connection has ended."""
        return "disconnected" in self.it


_PEERS: dict[str, Callable[[Any, Any], Peer]] = {
    "hypercorn.protocol.http_stream": lambda _, send: _Closed(send.__self__),
    "gunicorn.asgi.protocol": lambda receive, _: _Protocol(receive.__self__.protocol),  # HTTP/2: ``send`` raises
    "daphne.server": lambda _, send: _Details(send.func.__self__.connections[send.args[0]]),
}
"""By the module of the function behind ``send``."""


def peer_of(receive: Any, send: Any) -> Peer:
    """Return what the server knows of its client.

    uvicorn's request cycle says it in our words: ``disconnected`` is set when the connection is lost, in silence
    too, and stays False after a normal end.
    """
    try:
        find = _PEERS.get(getattr(getattr(send, "func", send), "__module__", None) or "", _itself)
        peer = find(receive, send)
        return peer if type(peer.disconnected) is bool else UNKNOWN_PEER
    except Exception:  # noqa: BLE001 - another version's, another protocol's, another server's
        return UNKNOWN_PEER


def _itself(_: Any, send: Any) -> Peer:
    peer: Peer = send.__self__
    return peer
