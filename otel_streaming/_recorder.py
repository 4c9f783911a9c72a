"""The crash recorder: open streams and the ledger in a file that outlives a killed process.

This is the watchdog's part: it makes the file, writes how far the open streams have come, gathers the ends into their
rows, and adopts what dead processes of the same service have left.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from typing import TYPE_CHECKING

from otel_streaming._folder import Folder, place
from otel_streaming._journal import SLOTS, Journal
from otel_streaming._notices import notice
from otel_streaming._recovery import Dead, recover
from otel_streaming._shape import Shape
from otel_streaming._slots import PROGRESS_AT, SIZE, Header, Progress, decode
from otel_streaming._verdict import summarise
from otel_streaming.semconv import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_streaming._recovery import Found
    from otel_streaming._registry import Registry
    from otel_streaming._shape import Ended
    from otel_streaming._stream import Stream

_ADOPT_EVERY = 5
"""Looks."""
_AT_ONE_LOOK = 500
"""About how many open streams are looked at in one look; with more of them each waits its turn."""
_PAUSE = 0.001
"""Seconds for which other threads are let in while a file is read."""


class Recorder(Journal):
    """The file of this process, from the watchdog's first look on."""

    def __init__(self, setting: str, registry: Registry, service: Callable[[], str]) -> None:
        """Write for ``registry`` into the folder that ``setting`` names; ``service`` tells whose dead are ours."""
        super().__init__(registry)
        self._setting = setting
        self._service = service
        self._folder: Folder | None = None
        self._looks = 0

    def reset(self) -> None:
        """Begin a file of its own, as a forked child must; its parent's stays locked."""
        if self._folder is not None:
            self._folder.close()
        self._folder, self._looks = None, 0
        self._begin_anew()

    def look(self, *, adopt: bool = True) -> list[tuple[str, list[Dead]]]:
        """Write what has happened since, ``adopt`` what died; returns the dead processes' ids and streams."""
        reports: list[tuple[str, list[Dead]]] = []
        first = self._folder is None
        try:
            if self._folder is None:
                self._create()
            elif self.on:
                self._check()
                self._folder.serve(self._service(), self._registry.process_id)  # its name may come in a startup
            if self.on:
                self._gather()
                self._note_progress()
                self._looks += adopt
                if first or (adopt and self._looks % _ADOPT_EVERY == 1):
                    self._adopt(reports, heard=adopt)
        except Exception as error:  # noqa: BLE001 - there may be no home; whatever it is, it would come again
            self._trouble = self._trouble or str(error) or repr(error)
        if self._trouble:
            self._give_up()
        return reports

    def _create(self) -> None:
        self._folder = Folder(place(self._setting), self._service())
        self._start(self._folder.create(self._registry.process_id, SLOTS * SIZE))
        self._gather()
        watch_of = self._registry.watch_of
        for stream, watch, _ in self._registry.scan():  # those that were open before there was a file
            origin = None if watch is None else watch.origin()
            with self._registry.lock:
                if stream not in self._places and watch_of(stream) is watch is not None:  # it may have ended
                    self.began(stream, origin, late=True)

    def _note_progress(self) -> None:
        """Write how far streams have come that have moved."""
        turns = self._registry.open_count // _AT_ONE_LOOK + 1
        for stream, _, now in self._registry.scan(self._looks % turns, turns):
            where, seen = self._places.get(stream), (stream.size, stream.life, stream.lost_at, stream.declared)
            if where is not None and where.seen != seen:
                where.seen = seen
                self._write_progress(_progress(stream, where.started_ns, now), where)

    def _adopt(self, reports: list[tuple[str, list[Dead]]], *, heard: bool) -> None:
        """Take over what dead processes left, if it is ``heard`` of. Each counts once, wherever that may be cut short.

        A process killed after it had adopted one, and before that one's file was gone, names it in its header.
        """
        if self._folder is None:
            return
        with self._folder.dead(self._registry.process_id, PROGRESS_AT) as (files, heads):
            headers = [header for header in map(decode, heads) if isinstance(header, Header)]
            counted = {f"{header.adopted:016x}" for header in headers if header.adopted}
            for process_id in counted:  # first: who names it may be adopted now, and it may not
                with contextlib.suppress(FileNotFoundError):
                    self._folder.remove(process_id)
            for process_id in files.keys() - counted:
                if not heard and _holds(files[process_id]):
                    continue
                found = self._read(files[process_id])
                if found is None or not found.counts:  # of another making; nothing ever streamed
                    self._folder.remove(process_id)
                elif heard and self._inherit(process_id, found.counts):
                    self._folder.remove(process_id)
                    self._registry.adopt(found.counts)
                    if found.streams or any(found.counts.values()):
                        reports.append((process_id, found.streams))

    def _read(self, fd: int) -> Found | None:
        """Return what a file says, under no more routes than are told apart; None if it is none of ours."""
        data = os.pread(fd, SLOTS * SIZE + 1, 0)
        if len(data) != SLOTS * SIZE:
            return None
        found = recover(data, time.time() - time.monotonic(), lambda: time.sleep(_PAUSE))
        if found is None:
            return None

        def capped(shape: Shape) -> Shape:
            return shape._replace(route=self._registry.cap_route(shape.route))

        counts: Counter[Shape | Ended] = Counter()
        for series, count in found.counts.items():
            known = capped(series) if isinstance(series, Shape) else series._replace(shape=capped(series.shape))
            counts[known] += count
        streams = [
            dead._replace(summary=dead.summary._replace(shape=capped(dead.summary.shape))) for dead in found.streams
        ]
        return found._replace(counts=dict(counts), streams=streams)

    def _give_up(self) -> None:
        """Record no more, and leave nothing behind that would grow old."""
        with self._rows_lock, self._registry.lock:  # nobody writes
            self._registry.recorder = None
            fd, self._fd = self._fd, -1
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.discard(self._registry.process_id, fd)
        level = logging.INFO if self._setting == "auto" else logging.WARNING  # nobody asked for it
        notice("the crash recorder is off: %s", self._trouble, level=level)


def _holds(fd: int) -> bool:
    """Tell whether a file has anything behind its header, without reading what: to decode all takes a while."""
    return any(os.pread(fd, SLOTS * SIZE, 0)[SIZE::SIZE])  # the kind of each slot


def _progress(stream: Stream, started_ns: int, now: float) -> Progress:
    last, reason = stream.progress_at, stream.declared
    if stream.ended_at is not None:
        last, reason = stream.ended_at, summarise(stream, now).reason
    elif stream.lost_at is not None and reason is None:
        last, reason = stream.lost_at, Reason.CLIENT_DISCONNECT
    return Progress(
        started_ns,
        started_ns + int((last - stream.started_at) * 1e9),
        stream.size,
        stream.chunks,
        stream.keepalives,
        stream.stall_count,
        -1.0 if stream.first_chunk_at is None else stream.first_chunk_at - stream.started_at,
        stream.gap_max,
        stream.stall_duration,
        stream.backpressure,
        reason,
    )
