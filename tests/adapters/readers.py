"""Client libraries, all read alike: each opens a stream and yields its messages; leaving the block closes it.

A reader is an asynchronous context manager of ``(url, *, timeout, headers, method)`` that yields an asynchronous
iterator; the synchronous libraries block, which harms nobody here: the server runs on a thread of its own.
"""

from contextlib import asynccontextmanager


async def _each(iterable):
    for item in iterable:
        yield item


def _httpx_sync(name):
    @asynccontextmanager
    async def read(url, *, timeout=10, headers=None, method="GET"):
        module = __import__(name)
        with module.Client(timeout=timeout) as client, client.stream(method, url, headers=headers) as response:
            yield _each(response.iter_raw())

    return read


def _httpx_async(name):
    @asynccontextmanager
    async def read(url, *, timeout=10, headers=None, method="GET"):
        module = __import__(name)
        async with (
            module.AsyncClient(timeout=timeout) as client,
            client.stream(method, url, headers=headers) as response,
        ):
            yield response.aiter_raw()

    return read


@asynccontextmanager
async def _aiohttp(url, *, timeout=10, headers=None, method="GET"):
    import aiohttp

    patience = aiohttp.ClientTimeout(sock_connect=timeout, sock_read=timeout)
    async with (
        aiohttp.ClientSession(timeout=patience) as session,
        session.request(method, url, headers=headers) as response,
    ):
        yield response.content.iter_any()


@asynccontextmanager
async def _urllib3(url, *, timeout=10, headers=None, method="GET"):
    import urllib3

    with urllib3.PoolManager(timeout=timeout, retries=False) as pool:
        response = pool.request(method, url, headers=headers, preload_content=False)
        try:
            yield _each(response.stream(decode_content=False))
        finally:
            response.close()


@asynccontextmanager
async def _requests(url, *, timeout=10, headers=None, method="GET"):
    import requests

    with (
        requests.Session() as session,
        session.request(method, url, headers=headers, timeout=timeout, stream=True) as response,
    ):
        yield _each(response.iter_content(None))


READERS = {
    "httpx": _httpx_sync("httpx"),
    "httpx-async": _httpx_async("httpx"),
    "httpx2": _httpx_sync("httpx2"),
    "httpx2-async": _httpx_async("httpx2"),
    "aiohttp-async": _aiohttp,
    "urllib3": _urllib3,
    "requests": _requests,
}
ASYNC = [name for name in READERS if name.endswith("-async")]


async def all_of(read, url, **more):
    """Read an answer to its end; ``more`` is the reader's."""
    got = b""
    async with read(url, **more) as messages:
        async for message in messages:
            got += message
    return got
