"""Bodies of OTLP requests: unpacked within a bound, and parsed."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

from google.protobuf import json_format

from otel_streaming.cli.records import REQUESTS

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_BODY = 4 * 1024 * 1024
"""Bytes of one body, packed or not; what gRPC takes, too. Parsed, a hostile one needs a hundred times as many."""
PROTOBUF, JSON = "application/x-protobuf", "application/json"
_WINDOWS = {"gzip": 31, "deflate": 15}
ENCODINGS = {*_WINDOWS, "identity"}


class Refused(Exception):  # noqa: N818 - an answer, no error of ours
    """A request that is not taken.

    Args:
        status: Of the answer.
        why: What is wrong and what would be right.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def inflate(body: bytes, encoding: str) -> bytes:
    """Return a body unpacked.

    Raises:
        Refused: It is broken, or grows beyond ``MAX_BODY``.
    """
    if encoding not in _WINDOWS:
        return body
    unpacker = zlib.decompressobj(_WINDOWS[encoding])
    try:
        plain = unpacker.decompress(body, MAX_BODY + 1)
    except zlib.error as error:
        raise Refused(400, f"the body is not {encoding}: {error}") from error
    if len(plain) > MAX_BODY:
        raise too_large()
    if not unpacker.eof or unpacker.unused_data:
        raise Refused(400, f"the body is not one whole {encoding} stream")
    return plain


def too_large() -> Refused:
    """Return the refusal of what is larger than ``MAX_BODY``."""
    return Refused(413, f"more than {MAX_BODY} bytes, unpacked: set OTEL_BSP_MAX_EXPORT_BATCH_SIZE lower (512)")


def parse(path: str, body: bytes, *, as_json: bool) -> Message:
    """Return what a body says.

    Raises:
        Refused: It is not what comes by this path.
    """
    request = REQUESTS[path]()
    try:
        if as_json:
            json_format.ParseDict(json.loads(body), request, ignore_unknown_fields=True)
        else:
            request.ParseFromString(body)
    except Exception as error:  # strange input finds errors of any kind: SystemError, RecursionError
        name = request.DESCRIPTOR.name
        raise Refused(400, f"the body is no {name}: {str(error)[:200]}") from error
    return request
