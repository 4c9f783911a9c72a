"""Clients over raw sockets, HTTP/1 and HTTP/2 (prior knowledge): they read, stop reading and leave as told."""

import asyncio
import contextlib
import socket
import struct

from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

PATIENCE = 4.0
"""Seconds after which a client gives up an answer that does not end: some servers leave the connection open."""


class Client:
    """One HTTP/1 request."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.received = b""

    @classmethod
    async def ask(cls, port, path, headers, method="GET", version="1.1"):
        # a small window: what is not read is felt soon
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        client = cls(*await asyncio.open_connection(sock=sock))
        await client.request(path, headers, method, version)
        return client

    async def request(self, path, headers, method, version):
        lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in headers.items())]
        self.writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode())

    async def more(self):
        data = await self.reader.read(65536)
        self.received += data
        return bool(data)

    async def until(self, marker=None):
        """Read until ``marker`` has come, to the end without one."""
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.TimeoutError, ProtocolError):
            while marker is None or marker not in self.received:
                if not await asyncio.wait_for(self.more(), PATIENCE):
                    break

    async def leave(self, *, reset=False):
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.writer.transport.abort()
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Client2(Client):
    """One HTTP/2 request on a connection of its own."""

    async def request(self, path, headers, method, version):
        self.h2 = H2Connection()
        self.h2.initiate_connection()
        fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", headers["host"])]
        fields += [(name, value) for name, value in headers.items() if name != "host"]
        self.h2.send_headers(1, fields, end_stream=True)
        self.writer.write(self.h2.data_to_send())

    async def more(self):
        data = await self.reader.read(65536)
        for event in self.h2.receive_data(data) if data else ():
            if isinstance(event, DataReceived):
                self.received += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, StreamEnded | StreamReset):
                data = b""
        self.writer.write(self.h2.data_to_send())
        return bool(data)
