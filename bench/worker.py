"""``python -m bench.worker KIND NAME``: a process that measures when asked to, a line of JSON each way."""

from __future__ import annotations

import json
import os
import sys

from bench.client import HttpxClient, OpenAIClient
from bench.server import Asgi, FastApi

KINDS = {"asgi": Asgi, "fastapi": FastApi, "httpx": HttpxClient, "openai": OpenAIClient}


def main(kind: str, name: str) -> None:
    """Answer until nobody asks; what a library prints is no answer."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        subject = KINDS[kind](name)
        for line in sys.stdin:
            method, arguments = json.loads(line)
            answers.write(json.dumps(getattr(subject, method)(**arguments)) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
