"""What a type checker makes of the public names: read by mypy, never run."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import assert_type

from otel_streaming import observe


def iterables(lines: Iterable[str], numbers: Iterator[int]) -> None:
    """Items keep their type; what else the source has is not known."""
    for line in observe(lines, "lines", terminal=lambda line: line.startswith("end")):
        assert_type(line, str)
    assert_type(next(observe(numbers)), int)
    with observe(numbers) as entered:
        assert_type(list(entered), list[int])
    observe(numbers).cancel()
    passed_on: Iterator[int] = observe(numbers)
    observe(passed_on, 7)  # type: ignore[call-overload]
    observe(numbers, terminal=str.isdigit)  # type: ignore[arg-type]


async def asynchronous_iterables(tokens: AsyncIterator[bytes]) -> None:
    """The same, asynchronously."""
    async for token in observe(tokens):
        assert_type(token, bytes)
    async with observe(tokens) as entered:
        assert_type(await anext(entered), bytes)
    passed_on: AsyncIterator[bytes] = observe(tokens)
    await observe(passed_on).aclose()
