"""What the application sees of an exchange, noted as it happens (a killed process tells no more) in the file SEEN."""

import json
import os
from contextlib import contextmanager


def note(cause, *what):
    if "SEEN" in os.environ:
        with open(os.environ["SEEN"], "a") as notes:  # noqa: PTH123
            notes.write(json.dumps([cause, *what]) + "\n")


@contextmanager
def noting(cause, who):
    """Note that ``who`` begins, and how it ends: an exception thrown into it, or raised by it, by its type."""
    note(cause, who, "begins")
    try:
        yield
    except BaseException as exception:
        note(cause, who, type(exception).__name__)
        raise
    else:
        note(cause, who, "ends")


def seen(inner):
    """Note what ``inner`` receives, what its sends raise and how it ends; it stands right below the server."""

    async def app(scope, receive, send):
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        cause = scope["path"].rpartition("/")[2]

        async def receiving():
            try:
                message = await receive()
            except BaseException as exception:
                note(cause, "receive", type(exception).__name__)
                raise
            if message["type"] != "http.request":
                note(cause, "receive", message["type"])
            return message

        async def sending(message):
            try:
                await send(message)
            except BaseException as exception:
                note(cause, "send", type(exception).__name__)
                raise

        with noting(cause, "application"):
            await inner(scope, receiving, sending)

    return app
