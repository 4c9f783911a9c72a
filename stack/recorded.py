"""Read what ``collector/overlays/record.yaml`` has written: OTLP JSON, one document a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read(file: Path, signal: str, items: str) -> Iterator[dict[str, Any]]:
    """Yield every span, log record or metric with ``scope`` and ``resource`` in it, and plain dicts of attributes.

    Args:
        file: What the collector writes.
        signal: ``Spans``, ``Logs`` or ``Metrics``.
        items: What OTLP calls their list: ``spans``, ``logRecords`` or ``metrics``.
    """
    # What follows the last newline is still being written.
    for line in file.read_text().split("\n")[:-1] if file.exists() else ():
        for resource in json.loads(line).get(f"resource{signal}", ()):  # a message may be empty
            shared = {"service.name": ""} | _plain(resource["resource"]).get("attributes", {})
            for scope in resource[f"scope{signal}"]:
                name = scope["scope"].get("name", "")
                around = {"scope": name, "resource": shared}
                yield from ({"attributes": {}} | _plain(item) | around for item in scope.get(items, ()))


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    plain = dict(item)
    if "attributes" in item:
        plain["attributes"] = {one["key"]: _value(one["value"]) for one in item["attributes"]}
    if "events" in item:
        plain["events"] = [_plain(event) for event in item["events"]]
    return plain


def _value(value: dict[str, Any]) -> Any:
    if not value:  # OTLP's way to say null
        return None
    ((kind, content),) = value.items()
    if kind == "intValue":  # JSON has no 64-bit integers: OTLP writes them as strings
        return int(content)
    if kind == "arrayValue":
        return [_value(one) for one in content.get("values", ())]
    return content
