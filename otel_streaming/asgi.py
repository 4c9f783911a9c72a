"""The ASGI adapter (ASGI 3.0, HTTP & WebSocket spec 2.x): two hooks that share one watch through the scope.

The *outer* hook stands at the server's entry: request start, final status, disconnect. The *inner* one stands
at the framework's router: plain bytes, the producer's exception, route, parent span. Each works alone. Both
only listen: they call neither ``receive`` nor ``send`` on their own account.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_streaming import websocket
from otel_streaming._engine import engine, watched
from otel_streaming._peers import peer_of
from otel_streaming._stand_in import StandIn
from otel_streaming._watch import Server, watch_over

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from otel_streaming._exchange import F
    from otel_streaming._watch import Watch

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]
    Router = Callable[[Any, Scope, Receive, Send], Awaitable[None]]
    Template = Callable[[Scope], str | None]

KEY = "otel_streaming"
"""Scope key of the exchange's watch; None where the exchange is not watched."""

_START, _BODY = "http.response.start", "http.response.body"
_ENDING = {_BODY, "http.response.pathsend", "http.response.zerocopysend"}
HOLD = 1.0
"""Seconds for which lifespan.shutdown may be held back, and for which a flush may last."""
_POLL = 0.005
_COROUTINE_MARK = getattr(asyncio.coroutines, "_is_coroutine", None)


class StreamingMiddleware(StandIn):
    """Watch an ASGI application's streams: the outer hook, put in place by a server's entry or by hand.

    Counted once, however many of them stand in a row.

    Example:
        ``app.add_middleware(StreamingMiddleware)``, or ``app = StreamingMiddleware(app)``.
    """

    def __init__(self, app: App, server: Server | None = None) -> None:
        """Wrap ``app``; ``server`` is given where a server has several doors to it."""
        self._application: App = app
        self._server = server or Server()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "lifespan" and KEY not in scope:
            scope[KEY] = None
            engine()  # looks for those who died before, also where the application refuses its lifespan
            await self._application(scope, _holding(self._server, receive), _flushing(send))
            return
        hooks = _HOOKS.get(kind)
        around = watched.get(None)  # an application may serve a request of its own in process
        watch = _new_watch(scope, around) if hooks is not None and KEY not in scope else None
        if hooks is None or watch is None:
            await self._application(scope, receive, send)
            return
        watch.wire_done = False
        watch.server = self._server
        watch.peer = peer_of(receive, send)
        try:
            await self._application(scope, *hooks.outer(watch, receive, send))
        except BaseException as exception:
            watch.returned(exception)
            raise
        else:
            watch.returned()
        finally:
            watched.set(around)
            scope.pop(KEY, None)


def hooked_router(original: Router, template: Template) -> Router:
    """Return a framework's router method, watched: the inner hook.

    Args:
        original: ``async def (self, scope, receive, send)``.
        template: Reads the chosen route's template from a scope.
    """

    @functools.wraps(original)
    async def entered(router: Any, scope: Scope, receive: Receive, send: Send) -> None:
        watch, hooks = scope.get(KEY), _HOOKS.get(scope["type"])
        if watch is None and hooks is not None and KEY not in scope:  # no outer hook: stand in for it
            await StreamingMiddleware(functools.partial(entered, router))(scope, receive, send)
            return
        if watch is None or hooks is None or not watch.enter(scope, template):
            await original(router, scope, receive, send)
            return
        try:
            await original(router, scope, *hooks.inner(watch, receive, send))
        except BaseException as exception:
            watch.broke(exception)
            raise

    return entered


def _route_below_no_mount(scope: Scope) -> str | None:
    """Return the route that Starlette's router has chosen, for want of a hook there; a mount hides its part."""
    return None if scope.get("root_path") else getattr(scope.get("route"), "path_format", None)


def _new_watch(scope: Scope, around: Watch | None) -> Watch | None:
    """Begin to watch an exchange, None if it is excluded; ``around`` is the one that it may be served within."""
    scope[KEY] = None
    if around is not None and around.bridged and not around.over:  # below a WSGI server, by a bridge such as a2wsgi
        return None
    scope[KEY] = watch = watch_over(scope, _route_below_no_mount)
    if watch is not None:
        watched.set(watch)
    return watch


def _mark_coroutine_function(function: F) -> F:
    """Mark a function that returns an awaitable as one, for those who ask (asgiref warns about others)."""
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(function)
    function._is_coroutine = _COROUTINE_MARK  # type: ignore[attr-defined] # noqa: SLF001 - what asyncio looks for
    return function


class _Messages:
    """The messages of one HTTP exchange, as they pass a hook.

    Methods of an object, not closures: while a stream is open it holds two of these, at a third of the memory.
    """

    __slots__ = ("_inner", "_mine", "_receive", "_send", "_watch")

    def __init__(self, watch: Watch, receive: Receive, send: Send, *, inner: bool) -> None:
        self._watch, self._receive, self._send, self._inner = watch, receive, send, inner
        self._mine = False  # whether the body is this hook's to count

    async def listen(self) -> Message:
        """Pass on what the client sends."""
        receive = self._receive
        message = await receive()
        if message["type"] == "http.disconnect":
            self._watch.left()
        return message

    @_mark_coroutine_function
    def forward(self, message: Message) -> Awaitable[None]:
        """Pass on what goes to the wire; a plain function, since with an inner hook it only looks."""
        watch = self._watch
        counted = watch.forwarded
        try:
            if not (counted and message.get("more_body")):
                self._to_the_wire(message)
        except Exception:  # noqa: BLE001 - a message we cannot read is the server's to judge
            watch.give_up()
        send = self._send if counted else self.count
        return send(message)

    async def count(self, message: Message) -> None:  # noqa: C901 - runs for every token: a call costs more than a branch
        """Pass on what the application sends, and count it."""
        watch, send, stream = self._watch, self._send, None
        clock = watch.clock
        try:
            if not (self._mine and message.get("more_body")):
                self._begin_or_end(message)
            elif (stream := watch.stream) is None:
                watch.plain(len(message.get("body", b"")))
            else:
                if watch.peer.disconnected:
                    watch.left()
                body = message.get("body")
                if not body or not stream.chunk(clock(), body):
                    stream = None
                if not watch.counted:
                    watch.consider(clock())
        except Exception:  # noqa: BLE001 - a message we cannot read is the server's to judge
            watch.give_up()
        try:
            await send(message)
        except OSError as error:
            watch.send_failed(error)
            raise
        if stream is not None:  # there was progress
            stream.idle_since = clock()

    def _to_the_wire(self, message: Message) -> None:
        watch = self._watch
        if message["type"] in _ENDING:
            if watch.peer.disconnected:  # after the final message it means nothing
                watch.left()
            watch.wire_done = not message.get("more_body")
        elif watch.forwarded and message["type"] == _START:
            watch.rewire(message["status"])

    def _begin_or_end(self, message: Message) -> None:
        """Take headers, if this hook is the first to see them (messages come from inside), or a final message."""
        kind, watch = message["type"], self._watch
        if kind == _START and not watch.answered:
            headers = message.get("headers", ())
            if iter(headers) is headers:  # may be read once only (ASGI allows any iterable)
                message["headers"] = headers = list(headers)
            if watch.peer.disconnected:
                watch.left()
            watch.forwarded = self._inner
            watch.respond(message["status"], headers)
            self._mine = True
        elif self._mine and kind in _ENDING:
            if watch.peer.disconnected:
                watch.left()
            # A file sent by its name (pathsend) has no body here: the server knows its length.
            watch.finish(message.get("body", b"") if kind == _BODY else None)


def _outer(watch: Watch, receive: Receive, send: Send) -> tuple[Receive, Send]:
    messages = _Messages(watch, receive, send, inner=False)
    return messages.listen, messages.forward


def _inner(watch: Watch, receive: Receive, send: Send) -> tuple[Receive, Send]:
    return receive, _Messages(watch, receive, send, inner=True).count


class _Hooks(NamedTuple):
    """What ``receive`` and ``send`` become at each hook, in exchanges of one kind."""

    outer: Callable[[Watch, Receive, Send], tuple[Receive, Send]]
    inner: Callable[[Watch, Receive, Send], tuple[Receive, Send]]


_HOOKS = {
    "http": _Hooks(_outer, _inner),
    "websocket": _Hooks(websocket.outer, lambda _, receive, send: (receive, send)),
}


def _holding(server: Server, receive: Receive) -> Receive:
    """Hold lifespan.shutdown back until no stream is open, and its startup until those to come will be recorded.

    uvicorn cancels streams past its graceful time-out without awaiting them, and what they would do last is
    never done; a few milliseconds are enough for it.
    """

    async def holding() -> Message:
        message = await receive()
        drain(server, yes=message["type"] == "lifespan.shutdown")
        await (all_ended() if server.draining else _until(engine().recording))
        return message

    return holding


def _flushing(send: Send) -> Send:
    """Flush before the server hears that the application has shut down: most exit without atexit then."""

    async def flushing(message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown"):
            await flush()
        await send(message)

    return flushing


def drain(server: Server | None, *, yes: bool) -> None:
    """A server begins to drain, or starts anew; one that is not told apart stands for all of the process."""
    if server is None or not yes:
        engine().registry.draining = yes
    if server is not None:
        server.draining = yes


async def all_ended() -> None:
    """Wait until no stream is open, and no callback of one at work, for no longer than a hold may last."""
    current = engine()
    await _until(lambda: not current.registry.serving and not current.callbacks.running)


async def flush() -> None:
    """End what a server left open, and hand over what has not been exported, for no longer than a hold may last."""
    await _until(engine().finish())


async def _until(done: Callable[[], bool]) -> None:
    """Wait until ``done``, or for the longest hold, on the event loop that runs."""
    sleep = asyncio.sleep
    if "trio" in sys.modules and asyncio._get_running_loop() is None:  # noqa: SLF001 - documented, does not raise
        sleep = sys.modules["trio"].sleep
    deadline = time.monotonic() + HOLD  # each sleep takes as long as a busy loop makes it
    while not done() and time.monotonic() < deadline:
        await sleep(_POLL)
