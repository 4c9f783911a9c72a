"""How streams of the incident end."""

from __future__ import annotations

from dataclasses import dataclass

from otel_streaming.semconv import REASON_OUTCOME, Origin, Outcome, Phase, Reason, Result, Terminal


@dataclass(frozen=True)
class Fate:
    """How one sort of streams ends, and what its spans tell. The n-th such stream lives for the n-th of ``ages``."""

    result: Result
    reason: Reason
    phase: Phase
    origin: Origin = Origin.UNKNOWN
    terminal: Terminal = Terminal.MISSING
    stalled: bool = False
    masked: bool = False
    status: int = 200
    ages: tuple[float, ...] = (3, 8, 20, 40, 70, 110)
    first_chunk: float | None = 0.4
    gaps: tuple[int, ...] = (5, 60, 80, 30, 10, 4, 1, 0, 0, 0, 0, 0)
    tokens: int = 200
    retry: str = "none"
    buffered: bool = False
    wasted: float = 0
    """Seconds worked after the reader had gone."""

    @property
    def outcome(self) -> Outcome:
        """What its reason stands for."""
        return REASON_OUTCOME[self.reason]

    @property
    def chunks(self) -> int:
        """One more than there are gaps."""
        return sum(self.gaps) + 1 if self.first_chunk is not None else 0


_COMPLETE = (Result.OK, Reason.COMPLETED, Phase.AFTER_TERMINAL, Origin.SERVER, Terminal.SEEN)
_READER_LEFT = (Result.CANCELLED, Reason.CLIENT_DISCONNECT, Phase.MID_STREAM)
_ONE_STALL = (5, 60, 80, 30, 10, 4, 1, 0, 0, 0, 0, 1)
_NO_GAPS = (0,) * 12
_SMOOTH = (2.0, 4.0, 6.0, 9.0, 14.0, 25.0)

FATES = {
    "ok": Fate(*_COMPLETE, ages=_SMOOTH),
    "ok after a stall": Fate(*_COMPLETE, stalled=True, ages=(50, 62, 75), gaps=_ONE_STALL),
    "ok, slow to begin": Fate(*_COMPLETE, ages=(20, 30), first_chunk=14),
    "ok, retried": Fate(*_COMPLETE, ages=_SMOOTH, retry="retried"),
    "ok, in one burst": Fate(*_COMPLETE, ages=_SMOOTH, buffered=True),
    "masked": Fate(*_COMPLETE, ages=_SMOOTH, masked=True),
    "no end marker": Fate(Result.SILENT, Reason.MISSING_TERMINAL, Phase.MID_STREAM, Origin.UPSTREAM, ages=(3, 7, 13)),
    "exception": Fate(Result.SILENT, Reason.PRODUCER_ERROR, Phase.MID_STREAM, Origin.SERVER, ages=(2, 5)),
    "masked by a clean end": Fate(
        Result.SILENT, Reason.UPSTREAM_MASKED, Phase.MID_STREAM, Origin.UPSTREAM, masked=True, ages=(4, 9)
    ),
    "process died": Fate(Result.SILENT, Reason.PROCESS_DEATH, Phase.MID_STREAM, Origin.SERVER, ages=(3, 8, 21)),
    "blank": Fate(
        Result.SILENT,
        Reason.CONNECTION_LOST,
        Phase.BEFORE_FIRST_CHUNK,
        ages=(6, 12),
        first_chunk=None,
        gaps=_NO_GAPS,
        tokens=0,
    ),
    "5xx": Fate(
        Result.LOUD,
        Reason.HTTP_5XX,
        Phase.BEFORE_HEADERS,
        Origin.SERVER,
        status=503,
        ages=(0.2, 0.3),
        first_chunk=None,
        gaps=_NO_GAPS,
        tokens=0,
    ),
    "left": Fate(*_READER_LEFT, Origin.CLIENT, wasted=2),
    "cut at 60 s": Fate(*_READER_LEFT, ages=(59.9, 60.0, 60.2), wasted=5),
    "ended by a proxy": Fate(
        *(Result.SILENT, Reason.DEADLINE_EXCEEDED, Phase.MID_STREAM, Origin.INTERMEDIARY),
        ages=(59.9, 60.0, 60.2),
    ),
    "gave up": Fate(
        Result.GAVE_UP,
        Reason.CLIENT_DISCONNECT,
        Phase.BEFORE_FIRST_CHUNK,
        Origin.CLIENT,
        ages=(9, 17),
        first_chunk=None,
        gaps=_NO_GAPS,
        tokens=0,
        wasted=4,
    ),
    "gave up in a stall": Fate(
        Result.GAVE_UP,
        Reason.CLIENT_DISCONNECT,
        Phase.MID_STREAM,
        Origin.CLIENT,
        stalled=True,
        ages=(33, 48),
        gaps=_ONE_STALL,
    ),
    "recycled": Fate(
        *(Result.RECYCLED, Reason.SERVER_SHUTDOWN, Phase.MID_STREAM, Origin.SERVER, Terminal.NOT_REQUIRED),
        ages=(700, 1500),
        tokens=0,
    ),
    "subscription lost": Fate(
        *(Result.SILENT, Reason.PRODUCER_ERROR, Phase.MID_STREAM, Origin.SERVER, Terminal.NOT_REQUIRED),
        ages=(12, 25),
        tokens=0,
    ),
    "unknown": Fate(Result.UNKNOWN, Reason.UNKNOWN, Phase.MID_STREAM),
}
