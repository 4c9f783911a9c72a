"""A raw ASGI application that never calls ``receive``; what it does with its streams is told by other requests.

``/hangs`` pings on and makes no progress, ``/talks`` makes some, ``/thinks`` sends nothing, each until it is told
otherwise: ``/tell/NAME`` makes one of the three of all streams that are open, or ``/tell/ends`` their end.
"""

import asyncio

PING, WORD = b": ping\n\n", b"data: word\n\n"
SAYS = {"hangs": PING, "talks": WORD, "thinks": b""}


class Open:
    """What the open streams do now, once they have been told."""

    told = None


def body(data, *, more=True):
    return {"type": "http.response.body", "body": data, "more_body": more}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    _, *words = scope["path"].split("/")
    if words[0] == "tell":
        Open.told = words[1]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send(body(b"", more=False))
        return
    Open.told = None
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send(body(WORD))
    while (does := Open.told or words[0]) != "ends":
        if SAYS[does]:
            await send(body(SAYS[does]))
        await asyncio.sleep(0.02)
    await send(body(b"", more=False))
