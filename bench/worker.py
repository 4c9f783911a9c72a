"""``python -m bench.worker KIND NAME``: a process that measures when asked to, a line of JSON each way."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.client import HttpxClient, OpenAIClient
from bench.peers import ASGI, FASTAPI, told
from bench.server import Asgi

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KINDS: dict[str, Callable[[str], Any]] = {
    "asgi": lambda name: Asgi(ASGI[name]),
    "fastapi": lambda name: Asgi(FASTAPI[name]),
    "httpx": HttpxClient,
    "openai": OpenAIClient,
}


def main(kinds: Mapping[str, Callable[[str], Any]], kind: str, name: str) -> None:
    """Answer until nobody asks; what a library prints is no answer."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        began = time.perf_counter()
        subject = kinds[kind](name)
        start = time.perf_counter() - began
        of_all = {"told": told, "start": lambda: start}
        for line in sys.stdin:
            method, arguments = json.loads(line)
            answer = of_all.get(method) or getattr(subject, method)
            answers.write(json.dumps(answer(**arguments)) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(KINDS, *sys.argv[1:])
