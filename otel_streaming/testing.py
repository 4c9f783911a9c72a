"""For tests of applications: the summaries of the streams that ended."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from otel_streaming._config import Settings
from otel_streaming._engine import Engine, use

if TYPE_CHECKING:
    from collections.abc import Iterator


class Captured(list[Any]):
    """Summaries of ended streams, in the order of their ends; ``engine`` is the engine that saw them."""

    engine: Engine


@contextmanager
def capture(settings: Settings | None = None) -> Iterator[Captured]:
    """Collect a ``StreamSummary`` for every stream that ends in this process within the block.

    Args:
        settings: Settings in force within the block; if None the defaults, but no spans and no log records.

    Yields:
        A list that grows as streams end.
    """
    captured = Captured()

    captured.engine = Engine(settings or Settings(spans="off", logs="off"), captured.append)
    before = use(captured.engine)
    try:
        yield captured
    finally:
        use(before)
        captured.engine.tell()
