"""Two real uvicorn servers in one process, each in a thread of its own."""

import asyncio
import socket
import threading

import uvicorn
from driver import body, chat, start
from hooking import patched
from serving import until

from otel_streaming import servers

PATIENCE = 20.0


class Served:
    """A server with one client, whose stream is cancelled by the application when ``cancel`` is set."""

    def __init__(self):
        self.cancel = threading.Event()
        config = uvicorn.Config(self.app, interface="asgi3", port=0, log_config=None, lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    async def app(self, scope, receive, send):
        await send(start())
        await send(body(chat(0)))
        await asyncio.to_thread(self.cancel.wait, PATIENCE)
        raise asyncio.CancelledError

    def __enter__(self):
        self.thread.start()
        until(lambda: self.server.started, "uvicorn")
        address = self.server.servers[0].sockets[0].getsockname()
        self.client = socket.create_connection(address, timeout=PATIENCE)
        self.client.sendall(b"GET /v1/chat HTTP/1.1\r\nhost: localhost\r\n\r\n")
        received = b""
        while b"data:" not in received:
            received += (some := self.client.recv(65536))
            assert some, received
        return self

    def __exit__(self, *_):
        self.cancel.set()
        self.server.should_exit = True
        self.client.close()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def test_one_server_drains(captured):
    """What ends badly on one server is not explained by the draining of the other."""
    hooks = {name: hook for name, hook in servers.HOOKS.items() if name.startswith("uvicorn")}
    with patched(hooks), Served() as stopping, Served() as staying:
        stopping.server.should_exit = True
        until(lambda: stopping.server.config.loaded_app._server.draining, "the draining")
        staying.cancel.set()
        until(lambda: len(captured) == 1, "the first end")
        stopping.cancel.set()
        until(lambda: len(captured) == 2, "the second end")
    assert [str(s.reason) for s in captured] == ["server_cancelled", "server_shutdown"]
