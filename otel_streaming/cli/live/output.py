"""Where what is heard is shown: a live view in a terminal, lines for a log, lines of JSON for machines."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from otel_streaming.cli.live import words
from otel_streaming.cli.live.summary import closing
from otel_streaming.cli.records import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from otel_streaming.cli.live.streams import Streams
    from otel_streaming.cli.records import EndedStream


class Output(Protocol):
    """One way of showing."""

    def say(self, text: str) -> None:
        """Tell something about this program itself."""

    def draw(self, streams: Streams, now: float) -> Any:
        """Return what `show` is to draw; writes nothing."""

    def show(self, drawn: Any, ended: Sequence[EndedStream], lines: Sequence[str]) -> None:
        """Show what is new: streams that ended, and lines of the command's own."""

    def close(self, streams: Streams | None) -> None:
        """End, with what there is to say of ``streams`` together."""

    gone: bool
    """Whether whoever read it has left."""


class Lines:
    """A line for each stream, JSON or words; everything else goes to standard error where machines read."""

    def __init__(self, *, as_json: bool) -> None:
        self._line = words.as_json if as_json else words.line
        self._aside = sys.stderr if as_json else sys.stdout
        self.gone = False

    def say(self, text: str) -> None:
        """Print it on standard error."""
        self._print([f"otel-streaming: {clean(text)}"], sys.stderr)

    def draw(self, streams: Streams, now: float) -> None:
        """Draw nothing."""

    def show(self, drawn: None, ended: Sequence[EndedStream], lines: Sequence[str]) -> None:  # noqa: ARG002 - Output's
        """Print a line for each stream."""
        if ended and not self.gone:
            self._print(map(self._line, ended), sys.stdout)

    def close(self, streams: Streams | None) -> None:
        """Print the summary."""
        if streams and not self.gone:
            self._print(closing(streams), self._aside)

    def _print(self, lines: Iterable[str], file: TextIO) -> None:
        try:
            print(*lines, sep="\n", file=file, flush=True)
        except OSError:  # its reader has left, its disk is full: no reason for a command to be killed
            self.gone = self.gone or file is sys.stdout
            os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())  # or Python complains at its end


class Screen:
    """A view that is drawn anew again and again, below what the command writes.

    Args:
        title: The first line of the view.
        share: Of the terminal's height, what the view may take.
    """

    gone = False

    def __init__(self, title: str, share: float) -> None:
        from rich.console import Console  # noqa: PLC0415 - slow to import
        from rich.live import Live  # noqa: PLC0415

        self._console = Console(force_terminal=True, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, screen=False
        )
        self._title, self._share = title, share
        self._width = 0
        self._echo = contextlib.ExitStack()
        self._echo.enter_context(_undisturbed())
        self._live.start()

    def say(self, text: str) -> None:
        """Print it above the view."""
        self._console.print(clean(text), style="bold", soft_wrap=True)

    def draw(self, streams: Streams, now: float) -> RenderableType:
        """Return the view."""
        from otel_streaming.cli.live.view import screen  # noqa: PLC0415

        width, height = self._size()
        return screen(streams, self._title, width, int(height * self._share), now)

    def show(self, drawn: RenderableType, ended: Sequence[EndedStream], lines: Sequence[str]) -> None:  # noqa: ARG002 - Output's
        """Print the lines above the view, and draw it anew."""
        from rich.text import Text  # noqa: PLC0415

        before, self._width = self._width, self._console.width
        if self._width < before:  # the terminal has wrapped what was drawn: where it began is not known
            self._console.clear()
        if lines:
            self._console.print(Text.from_ansi("\n".join(map(words.coloured, lines))), soft_wrap=True)
        self._live.update(drawn, refresh=True)

    def close(self, streams: Streams | None) -> None:
        """Leave the last streams where they are, with the summary below."""
        from otel_streaming.cli.live.view import table  # noqa: PLC0415

        width, height = self._size()
        rows = streams.shown(height // 2) if streams else []
        self._live.update(table(rows, width) if rows else "", refresh=True)
        self._live.stop()
        self._echo.close()
        for text in closing(streams) if streams else ():
            self._console.print(text)

    def _size(self) -> tuple[int, int]:
        """Return the terminal's columns and lines: its own, since COLUMNS may be exported, and another's."""
        from rich.console import ConsoleDimensions  # noqa: PLC0415

        with contextlib.suppress(OSError):  # it is gone
            size = os.get_terminal_size(sys.stdout.fileno())
            if all(size):
                self._console.size = ConsoleDimensions(*size)
        return self._console.size


def is_terminal() -> bool:
    """Tell whether standard output can show a view."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep what is typed off the screen: it would move the cursor, and the view is drawn from there.

    Ctrl-Z does nothing: it would stop the view and the receiver, hide the cursor, and leave the service running.
    """
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    keys = list(before[6])
    keys[termios.VSUSP] = bytes([os.fpathconf(sys.stdin.fileno(), "PC_VDISABLE")])
    termios.tcsetattr(sys.stdin, termios.TCSANOW, [*before[:3], before[3] & ~termios.ECHO, *before[4:6], keys])
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
