"""Real proxies in front of the demo's model server, which misbehaves on request."""

import asyncio
import contextlib
import re
import socket
import sys
from dataclasses import dataclass

from nginx import configured

from demo.clients import Client, Leave
from stack import Process, find_or_build, free_ports, listens
from stack.collector import CONFIGURATION

LIMIT = 3
"""Seconds after which the proxies give up a silent server, and a reader that takes nothing."""
FOLDER = CONFIGURATION / "proxies"
SYSLOG = "127.0.0.1:54526"
"""Where the lines that we ship make HAProxy send its log."""

NGINX = """
    include {shipped}/nginx.conf;
    server {{
        listen 127.0.0.1:{port};
        access_log {folder}/streams.log streams;
        error_log {folder}/streams.log error;
        proxy_http_version 1.1;
        proxy_buffering off;
        proxy_read_timeout {limit}s;
        send_timeout {limit}s;
        client_body_timeout {limit}s;
        location /buffered {{
            set $stream_route $uri;
            proxy_buffering on;
            send_timeout 60s;
            proxy_pass http://127.0.0.1:{model};
        }}
        location /v1/chat {{
{documented}
            proxy_pass http://127.0.0.1:{model};
        }}
        location /unnamed {{ proxy_pass http://127.0.0.1:{model}; }}
        location / {{ set $stream_route $uri; proxy_pass http://127.0.0.1:{model}; }}
        location /refused {{ set $stream_route $uri; proxy_pass http://127.0.0.1:{nobody}; }}
        location /rejected {{ set $stream_route $uri; return 503; }}
        location /page {{ set $stream_route $uri; default_type application/json; return 200 "{{}}"; }}
    }}
"""
HAPROXY = """
defaults
    mode http
    option abortonclose
    retries 0
    timeout connect {limit}s
    timeout client {limit}s
    timeout server {limit}s
frontend api
    bind 127.0.0.1:{port}
    option http-buffer-request
{shipped}
    http-request set-var(txn.stream_route) path if !{{ path /unnamed }}
{documented}
    http-request deny deny_status 503 if {{ path /rejected }}
    http-request return status 200 content-type application/json string {{}} if {{ path /page }}
    use_backend nobody if {{ path /refused }}
    default_backend model
backend model
    server one 127.0.0.1:{model}
backend nobody
    server one 127.0.0.1:{nobody}
"""


def documented(proxy):
    """Return the lines that the page gives for streams of /v1/chat."""
    page = (CONFIGURATION.parent / "docs" / "proxies.md").read_text()
    return re.search(rf"\*\*{proxy}\*\*.*?\n\n((?:    [^\n]+\n)+)", page, re.DOTALL)[1]


def nginx(folder, port, model, nobody):
    """Return the nginx, and what the collector has to know of it."""
    lines = documented("nginx").replace("/var/log/nginx", str(folder))
    http = NGINX.format(
        folder=folder, port=port, model=model, nobody=nobody, shipped=FOLDER, limit=LIMIT, documented=lines
    )
    return configured(folder, http), {"NGINX_LOG": f"{folder}/streams.log"}


def haproxy(folder, port, model, nobody):
    """Return the HAProxy, and what the collector has to know of it."""
    shipped = (FOLDER / "haproxy.cfg").read_text()
    log = f"127.0.0.1:{free_ports(1)[0]}"
    assert SYSLOG in shipped
    shipped, lines = shipped.replace(SYSLOG, log), documented("HAProxy")
    text = HAPROXY.format(port=port, model=model, nobody=nobody, shipped=shipped, limit=LIMIT, documented=lines)
    (folder / "haproxy.cfg").write_text(text)
    argv = [find_or_build("haproxy"), "-db", "-f", folder / "haproxy.cfg"]
    return Process("haproxy", argv, folder / "haproxy.log"), {"HAPROXY_LOG": log}


PROXIES = {"nginx": nginx, "haproxy": haproxy}


@dataclass
class Asker(Client):
    """A client that may also leave before the headers, or do one of these.

    It rests before it reads, never reads, keeps back a part of its request, or has another method or `Accept`.
    """

    patience: float | None = None
    reads: bool = True
    rests: float = 0.0
    whole_body: bool = True
    method: str = "POST"
    accept: str = "text/event-stream"

    def _request(self):
        request = super()._request().replace(b"POST", self.method.encode(), 1)
        if not self.whole_body:
            request = request.removesuffix(b"}")
        return request.replace(b"Accept: text/event-stream", f"Accept: {self.accept}".encode())

    async def run(self):
        if not self.reads:
            self._hold()
            return self
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(super().run(), self.patience)
        return self

    async def _read(self, reader):
        await asyncio.sleep(self.rests)
        await super()._read(reader)

    def _hold(self):
        """Ask, and take nothing until `let_go`."""
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._held.connect(("127.0.0.1", self.port))
        self._held.sendall(self._request())

    def let_go(self):
        if not self.reads:
            self._held.close()


async def ask(clients):
    """Let all of them ask at once."""
    return await asyncio.gather(*(client.run() for client in clients))


@contextlib.contextmanager
def proxied(name, folder):
    """Yield the port of a proxy in front of the model server, and the environment of its collector."""
    port, model, nobody = free_ports(3)
    proxy, env = PROXIES[name](folder, port, model, nobody)
    server = Process("model", [sys.executable, "-m", "demo.upstream", str(model)], folder / "model.log")
    with server, proxy:
        server.wait_until(lambda: listens(model), "its port")
        proxy.wait_until(lambda: listens(port), "its port")
        yield port, env


__all__ = ["Asker", "Leave", "ask", "proxied"]
