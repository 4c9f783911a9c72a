"""Clients over raw sockets, HTTP/1 and HTTP/2 (prior knowledge): they read, stop reading and leave as told."""

import asyncio
import contextlib
import socket
import struct

import h11
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

PATIENCE = 4.0
"""Seconds after which a client gives up an answer that does not end: some servers leave the connection open."""


class Client:
    """One HTTP/1 request, and what came of it: status, headers, body, the manner of its end.

    ``ended`` is *clean* (the framing says so), *cut* (the connection ended before), *reset*, *silent* (no end within
    patience) or None (the client has left).
    """

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.status, self.headers, self.received = None, [], bytearray()
        self.ended = None

    @classmethod
    async def ask(cls, port, path, headers, method="GET", version="1.1"):
        # a small window: what is not read is felt soon
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        client = cls(*await asyncio.open_connection(sock=sock))
        client.request(path, {**headers, "connection": "close"}, method, version)
        return client

    def request(self, path, headers, method, version):
        self.framing = h11.Connection(h11.CLIENT)
        request = self.framing.send(h11.Request(method=method, target=path, headers=list(headers.items())))
        self.framing.send(h11.EndOfMessage())
        self.writer.write(request.replace(b"HTTP/1.1", f"HTTP/{version}".encode()))

    def take(self, data):
        """Take what has come, b"" at its end; returns how the answer has ended, None while it goes on."""
        try:
            self.framing.receive_data(data)
            while (event := self.framing.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self.began(event.status_code, event.headers)
                elif isinstance(event, h11.Data):
                    self.received += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return "clean"
        except h11.RemoteProtocolError:
            return "cut"
        return None

    def began(self, status, headers):
        self.status = int(status)
        self.headers = [(bytes(name), bytes(value)) for name, value in headers if name != b"date"]

    async def until(self, reached=None):
        """Read until ``reached``, to the end without it."""
        try:
            while self.ended is None and not (reached and reached(self)):
                self.ended = self.take(await asyncio.wait_for(self.reader.read(65536), PATIENCE))
        except ConnectionError:
            self.ended = "reset"
        except asyncio.TimeoutError:
            self.ended = "silent"

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

    def request(self, path, headers, method, version):
        self.framing = H2Connection()
        self.framing.initiate_connection()
        fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", headers["host"])]
        fields += [(name, value) for name, value in headers.items() if name not in {"host", "connection"}]
        self.framing.send_headers(1, fields, end_stream=True)
        self.writer.write(self.framing.data_to_send())

    def take(self, data):
        ended, self.buffer = None if data else "cut", self.buffer + data
        while len(self.buffer) >= (end := 9 + int.from_bytes(self.buffer[:3], "big")):
            frame, self.buffer = self.buffer[:end], self.buffer[end:]
            ended = self.take_frame(frame) or ended
        return ended

    buffer = b""

    def take_frame(self, frame):
        """Take one frame at a time: what h2 refuses (a body too short) is not to hide what came before."""
        ended = None
        try:
            events = self.framing.receive_data(frame)
        except ProtocolError:
            return "cut"
        for event in events:
            if isinstance(event, ResponseReceived):
                status, *headers = event.headers
                self.began(status[1], headers)
            elif isinstance(event, DataReceived):
                self.received += event.data
                self.framing.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, StreamEnded | StreamReset):
                ended = "clean" if isinstance(event, StreamEnded) else "reset"
        self.writer.write(self.framing.data_to_send())
        return ended
