"""The crash recorder's file as it is written: streams that begin and end, rows of counts.

An event loop writes once when a stream begins and once when it ends, into the kernel's memory, and waits for no more.
What a collection may get is written before it may.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from otel_streaming._slots import PROGRESS_AT, SIZE, End, Header, Legacy, Open, Row, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import SpanContext

    from otel_streaming._registry import Registry
    from otel_streaming._shape import Ended, Shape
    from otel_streaming._slots import Progress
    from otel_streaming._stream import Stream

SLOTS = 12 * 1024
"""3 MiB."""
STREAMS = 10_000
"""Streams recorded at one time; the other slots are for the ledger."""
SLOW = 0.010
"""Seconds: a write that waits longer for the disk, five times in a row, is the last one."""
_STRIKES = 5
_ENOUGH = 1.0
"""Seconds of waiting after which no further write is tried, whatever it was for."""


class Place:
    """Where an open stream is written."""

    __slots__ = ("number", "seen", "slot", "started_ns")

    def __init__(self, slot: int, number: int, started_ns: int) -> None:
        self.slot = slot
        self.number = number
        self.started_ns = started_ns
        self.seen: object = None


class _Row:
    """One series as it stands in the file; slot 0: nowhere yet."""

    __slots__ = ("count", "handed", "slot", "upto")

    def __init__(self) -> None:
        self.slot = self.count = self.upto = self.handed = 0


class Journal:
    """One file, once there is one."""

    def __init__(self, registry: Registry) -> None:
        """Write for ``registry``."""
        self._registry = registry
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._fd = -1
        self._trouble = ""  # why nothing is written any more
        self._numbers = self._batch = 0
        self._used = 1  # slots; the first is the header
        self._free: list[int] = []
        self._places: dict[Stream, Place] = {}
        self._ends: list[int] = []  # slots of ends to be gathered
        # Taken before the registry's lock, never within it: it is held while a collection's notes are written.
        self._rows_lock = threading.RLock()
        self._rows: dict[Shape | Ended, _Row] = {}

    @property
    def on(self) -> bool:
        """Whether it is written to."""
        return self._fd >= 0 and not self._trouble

    # -- told by the registry, within its lock -------------------------------------------------------------------

    def began(self, stream: Stream, origin: SpanContext | None, *, late: bool = False) -> None:
        """Write a stream that begins, or, ``late``, one whose begin is in its row already, or here, without its id."""
        place = self._place(stream, 0 if late else self._number())
        if place is None:
            return
        trace_id, span_id = (0, 0) if origin is None else (origin.trace_id, origin.span_id)
        sampled = origin is not None and origin.trace_flags.sampled
        stream_id = 0 if stream.notes is None else stream.notes.stream_id
        what = stream.shape, stream.method, stream.retry, stream.status or 0, place.number, place.started_ns
        self._write_at_once(Open(*what, trace_id, span_id, stream_id, sampled), place.slot)

    def attempted(self, stream: Stream) -> None:
        """Take note of a stream whose begin and end are written together."""
        self._place(stream, self._number())

    def ended(self, stream: Stream, series: Ended) -> None:
        """Write a stream that ends, in the place of its begin."""
        place = self._places.pop(stream, None)
        if not self.on:
            return
        slot = self._slot() if place is None else place.slot
        if slot:
            begun = 0 if place is None else place.number
            self._write_at_once(End(series, begun, self._number()), slot)
            self._ends.append(slot)

    # -- told by a collection ------------------------------------------------------------------------------------

    def handed(self, counts: Mapping[Shape | Ended, int]) -> None:
        """Note what is handed out, before it is."""
        with self._rows_lock:
            for series, count in counts.items():
                row = self._rows.setdefault(series, _Row())
                if row.handed < count:  # two readers may collect at once
                    row.handed = count
                    self._save(series, row)

    # -- for the watchdog ----------------------------------------------------------------------------------------

    def _start(self, fd: int) -> None:
        self._file = os.fstat(fd)
        os.pwrite(fd, encode(Header(0, 0)), 0)
        self._fd = fd

    def _check(self) -> None:
        """See that the descriptor is the file's: a host may have closed what it did not know, and opened its own.

        Raises:
            OSError: It is another's by now, or nobody's.
        """
        if not os.path.samestat(os.fstat(self._fd), self._file):
            raise OSError("its descriptor was closed, and is another file's by now")

    def _gather(self) -> None:
        """Bring the rows up to date; the ends that they include now are free."""
        with self._registry.lock:
            ends, self._ends = self._ends, []
            upto = -1
            while upto != self._numbers:  # the garbage collector may run in between, and end streams
                upto = self._numbers
                counts = self._registry.counts()
        with self._rows_lock:
            for series, count in counts.items():
                row = self._rows.setdefault(series, _Row())
                if row.count != count or not row.slot:
                    row.count, row.upto = count, upto
                    self._save(series, row)
        self._free += ends

    def _inherit(self, process_id: str, counts: Mapping[Shape | Ended, int]) -> bool:
        """Write what a dead process left; the header makes it count, in one write."""
        left = {series: count for series, count in counts.items() if count}
        slots = [self._slot() for _ in left]
        if not all(slots):
            self._free += filter(None, slots)
            return False
        batch = self._batch + 1
        with self._registry.lock:
            legacies = [Legacy(series, count, self._number(), batch) for series, count in left.items()]
        for slot, legacy in zip(slots, legacies, strict=True):
            self._write(legacy, slot * SIZE)
        self._write(Header(batch, int(process_id, 16)), 0)
        if not self.on:
            return False
        self._batch = batch
        with self._registry.lock:
            self._ends += slots
        return True

    def _write_progress(self, progress: Progress, place: Place) -> None:
        self._write(progress, place.slot * SIZE + PROGRESS_AT)

    # -- how it is written ---------------------------------------------------------------------------------------

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _slot(self) -> int:
        """Return a slot to write to, 0 where none is left."""
        with self._registry.lock:
            if self._free:
                return self._free.pop()
            if self._used == SLOTS:
                return 0
            self._used += 1
            return self._used - 1

    def _place(self, stream: Stream, number: int) -> Place | None:
        if stream in self._places or not self.on or len(self._places) + len(self._ends) >= STREAMS:
            return self._places.get(stream)
        slot, age = self._slot(), self._registry.clock() - stream.started_at
        if not slot:
            return None
        place = self._places[stream] = Place(slot, number, time.time_ns() - int(age * 1e9))
        return place

    def _save(self, series: Shape | Ended, row: _Row) -> None:
        if self.on:
            row.slot = row.slot or self._slot()
        if self.on and row.slot:
            self._write(Row(series, row.count, row.upto, row.handed), row.slot * SIZE)

    def _write_at_once(self, what: End | Open, slot: int) -> None:
        """Write on an event loop, and not on one that waits for its disk.

        A thread may wait for a processor or for the interpreter as well. So does, right after it, a pause of no length,
        which waits for no disk, and once where a write waits several times; and a slow write is written once more.
        """
        waited = paused = 0.0
        for _ in range(_STRIKES):
            took = _timed(self._write, what, slot * SIZE)
            if took <= SLOW:
                return
            waited, paused = waited + took, paused + _timed(time.sleep, 0)
            if 8 * paused > waited:
                return
            if waited > _ENOUGH:
                break
        self._trouble = self._trouble or f"writing takes longer than {SLOW} s"

    def _write(self, what: Header | End | Row | Legacy | Open | Progress, at: int) -> None:
        try:
            data = encode(what)
            self._check()  # a microsecond, for each of the few writes: nothing of the host's is written to
            if os.pwrite(self._fd, data, at) < len(data):
                self._trouble = "a write came short"
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs the recorder, and not the watch
            self._trouble = str(error) or repr(error)  # some say nothing: a MemoryError


def _timed(function: Callable[..., None], *args: Any) -> float:
    began = time.monotonic()
    function(*args)
    return time.monotonic() - began
