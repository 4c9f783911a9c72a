"""Peers: what each server's objects, which stand behind ``receive`` and ``send``, know of their client.

All read without harm, and without asking: one attribute a chunk, ``peer.disconnected``; of a WebSocket whose client
has gone, the close code. granian's objects know nothing; there only a message or an exception tells.
"""

from __future__ import annotations

import functools
import socket
import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from otel_streaming._exchange import UNKNOWN_PEER
from otel_streaming._watch import ABNORMAL

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from otel_streaming._exchange import Peer


class _Behind:
    """An object of the server's."""

    __slots__ = ("it",)

    def __init__(self, it: Any) -> None:
        self.it = it


class _Closed(_Behind):
    """A stream of hypercorn's, a WebSocket of uvicorn's: closed when the client has gone, also after a normal end."""

    disconnected: Any = property(attrgetter("it.closed"))


class _Writing(_Behind):
    """A WebSocket whose transport closes before its server says so, while the next ``send`` raises another error.

    gunicorn's: when a write fails under uvloop. uvicorn's: when no ping is answered, for as long as the reader takes
    nothing of what is still to be written.
    """

    @property
    def disconnected(self) -> bool:
        """Whether the connection has ended."""
        return getattr(self.it, "closed", False) or bool(self.it.transport.is_closing())


class _Protocol(_Behind):
    """The protocol of gunicorn's own ASGI worker; its body receiver also says so of a cancelled receive."""

    disconnected: Any = property(attrgetter("it._closed"))


class _Details(_Behind):
    """Daphne's record of a connection: it gets one more key, also after a normal end."""

    @property
    def disconnected(self) -> bool:
        """Whether the connection has ended."""
        return "disconnected" in self.it


_WEBSOCKETS = "uvicorn.protocols.websockets.websockets_impl"
_SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl"
_WSPROTO = "uvicorn.protocols.websockets.wsproto_impl"
_PEERS: dict[str, Callable[[Any, Any], Peer]] = {
    _WEBSOCKETS: lambda _, send: _Closed(send.__self__),
    _SANSIO: lambda _, send: _Writing(send.__self__),
    _WSPROTO: lambda _, send: _Writing(send.__self__),
    "hypercorn.protocol.http_stream": lambda _, send: _Closed(send.__self__),
    "hypercorn.protocol.ws_stream": lambda _, send: _Closed(send.__self__),
    "gunicorn.asgi.websocket": lambda _, send: _Writing(send.__self__),
    "gunicorn.asgi.protocol": lambda _, send: _Protocol(_maker_of(send)),
    "daphne.server": lambda _, send: _Details(send.func.__self__.connections[send.args[0]]),
}
"""By the module of the function behind ``send``."""


def peer_of(receive: Any, send: Any) -> Peer:
    """Return what the server knows of its client.

    uvicorn's request cycle says it in our words: ``disconnected`` is set when the connection is lost, in silence too,
    and stays False after a normal end.
    """
    try:
        find = _PEERS.get(_module(send), _itself)
        peer = find(receive, send)
        return peer if type(peer.disconnected) is bool else UNKNOWN_PEER
    except Exception:  # noqa: BLE001 - another version's, another protocol's, another server's
        return UNKNOWN_PEER


def _maker_of(closure: Any) -> Any:
    """Return the object in whose method a closure was made."""
    return closure.__closure__[closure.__code__.co_freevars.index("self")].cell_contents


def _itself(_: Any, send: Any) -> Peer:
    peer: Peer = send.__self__
    return peer


def _module(door: Any) -> str:
    """Return the module of the function behind ``receive`` or ``send``; granian's are built in."""
    function = door.func if isinstance(door, functools.partial) else door
    module = getattr(function, "__module__", None)
    return str(module or type(getattr(door, "__self__", None)).__module__)


# -- WSGI: the kernel knows --------------------------------------------------------------------------------------

_ON_LINUX: dict[str, Callable[[Any], Any]] = {
    "gunicorn.socket": lambda it: it,
    "werkzeug.socket": lambda it: it,
    "waitress.client_disconnected": lambda it: it.__self__.socket,
}
_SOCKETS = _ON_LINUX if sys.platform == "linux" else {}
"""By the environ's key: how to come from its value to the client's socket, whose state Linux alone tells so."""
_LEFT = {7, 8}
"""TCP_CLOSE: reset, or closed by the server itself; TCP_CLOSE_WAIT: the client has closed (or half-closed)."""


class _Socket:
    """A client's socket: the state of its connection is asked for, and not a byte is read."""

    __slots__ = ("_find", "_it", "_told")

    def __init__(self, find: Callable[[Any], Any], it: Any) -> None:
        self._find, self._it = find, it
        self._told = False

    @property
    def disconnected(self) -> bool:
        """Whether the connection has ended, for all that the kernel tells."""
        try:
            state = self._find(self._it).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except Exception:  # noqa: BLE001 - no TCP, or the server has closed it meanwhile
            return self._told
        self._told = True
        return state in _LEFT


def peer_behind(environ: dict[str, Any]) -> Peer:
    """Return what is known of a WSGI server's client."""
    for key, find in _SOCKETS.items():
        if key in environ:
            return _Socket(find, environ[key])
    return UNKNOWN_PEER


# -- WebSockets -----------------------------------------------------------------------------------------------

_NO_CODE = 1005
"""What stands for a close frame without a code (RFC 6455 section 7.1.5; ASGI WebSocket spec, Disconnect)."""
_VAGUE = {"uvicorn", "granian"}
"""Servers that tell 1005 of a lost connection too; uvicorn tells a reason with that of a frame."""
_PARTING = {"granian": _NO_CODE}


def code_of(message: MutableMapping[str, Any], door: Any) -> int:
    """Return the code of a ``websocket.disconnect``, 1006 where it may stand for a lost connection."""
    code: int = message.get("code") or _NO_CODE
    vague = code == _NO_CODE and "reason" not in message and _package(door) in _VAGUE
    return ABNORMAL if vague else code


def parting_of(door: Any) -> int | None:
    """Return the code with which the server closes, properly, for an application that returns without closing."""
    return _PARTING.get(_package(door))


def farewell_of(send: Any) -> int | None:
    """Return the close code that the server knows and the application has not received, None where there is none."""
    try:
        return _FAREWELLS[_module(send)](send)
    except Exception:  # noqa: BLE001 - another version's, another server's
        return None


def _package(door: Any) -> str:
    return _module(door).partition(".")[0]


def _queued(path: str) -> Callable[[Any], int | None]:
    """Return what finds the disconnect that waits to be received."""

    def find(send: Any) -> int | None:
        waiting = list(attrgetter(path)(send)._queue)  # noqa: SLF001 - asyncio's queue has no other way to look in
        told = (message for message in waiting if message["type"] == "websocket.disconnect")
        return next((code_of(message, send) for message in told), None)

    return find


def _of_websockets(send: Any) -> int | None:
    """Tell by uvicorn's legacy protocol, which sends 1011 when a client leaves its pings unanswered."""
    protocol = send.__self__
    code: int = (protocol.close_rcvd or protocol.close_sent).code
    return code if protocol.close_rcvd or code != 1011 else None


def _of_autobahn(send: Any) -> int | None:
    protocol = send.args[0]
    return (protocol.remoteCloseCode or _NO_CODE) if protocol.wasClean else None


_FAREWELLS: dict[str, Callable[[Any], int | None]] = {
    _WEBSOCKETS: _of_websockets,
    _SANSIO: _queued("__self__.queue"),
    _WSPROTO: _queued("__self__.queue"),
    "gunicorn.asgi.websocket": attrgetter("__self__.close_code"),
    "daphne.server": _of_autobahn,
}
"""By the module of the function behind ``send``."""
