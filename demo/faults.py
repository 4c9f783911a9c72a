"""The faults of the demo as data: how each is injected, and what has to be said of it afterwards.

Every fault has a product of the service to itself, hence a route, so that even a counter without
diagnoses can be held against the number injected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from demo import upstream
from demo.clients import STAY, Client, Leave
from otel_streaming.semconv import Origin, Outcome, Phase, Reason, Result

if TYPE_CHECKING:
    import random

STALL_THRESHOLD = 2.0
"""Seconds; the demo's setting. Every silence below is well above it, every healthy gap well below."""
FIRST_TOKEN_TIMEOUT = 1.5 * STALL_THRESHOLD
"""Seconds after which the service stops waiting for a first token."""
ROUTES = ("*/v1/chat*", "*/v1/responses")
"""The routes that stream, the service's and the model server's, as a user configures them."""
FEWEST, MOST = 20, 32
"""Bounds of the number of times a fault is injected into each service."""


@dataclass(frozen=True)
class Verdict:
    """What the ledger and the derived counter are to say of a stream."""

    result: Result
    outcome: Outcome
    reason: Reason
    phase: Phase
    origin: Origin
    stalled: bool = False


@dataclass(frozen=True)
class Fault:
    """One kind of end of a stream.

    Attributes:
        name: As people would put it.
        product: Prefix of the route that has this fault to itself.
        model: Behaviour of the upstream.
        verdict: What is to be said of it.
        leave: When the client leaves; by default it stays.
        endpoint: Of the service.
        status: HTTP status, all that the stock metrics have to tell.
        whole: Whether the client sees complete framing (unless it leaves).
        marker: Whether the client sees the terminal marker.
    """

    name: str
    product: str
    model: str
    verdict: Verdict
    leave: Leave = STAY
    endpoint: str = "/v1/chat"
    status: int = 200
    whole: bool = True
    marker: bool = False

    @property
    def route(self) -> str:
        """Route, and path, of the service that has this fault to itself."""
        return f"/{self.product}{self.endpoint}"

    def client(self, port: int, *, reset: bool = False) -> Client:
        """Return a client that injects the fault once."""
        return Client(port, self.route, self.model, self.leave, reset=reset)

    def happened(self, client: Client) -> bool:
        """Whether the client saw on the wire what the fault's name says."""
        leaves = self.leave != STAY
        return (client.status, client.whole, client.left, client.marker) == (
            self.status,
            self.whole and not leaves,
            leaves,
            self.marker,
        )


_V = Verdict
_SERVER, _UPSTREAM, _UNKNOWN = Origin.SERVER, Origin.UPSTREAM, Origin.UNKNOWN
_COMPLETED = _V(Result.OK, Outcome.COMPLETED, Reason.COMPLETED, Phase.AFTER_TERMINAL, _SERVER)
_STALLED = replace(_COMPLETED, stalled=True)
_LEFT = _V(Result.CANCELLED, Outcome.CANCELLED, Reason.CLIENT_DISCONNECT, Phase.MID_STREAM, _UNKNOWN)
_GAVE_UP = replace(_LEFT, result=Result.GAVE_UP, phase=Phase.BEFORE_FIRST_CHUNK, stalled=True)
_UNFINISHED = _V(Result.SILENT, Outcome.TRUNCATED, Reason.MISSING_TERMINAL, Phase.MID_STREAM, _UPSTREAM)
_CUT = replace(_UNFINISHED, reason=Reason.CONNECTION_LOST)
_MASKED = replace(_UNFINISHED, reason=Reason.UPSTREAM_MASKED, phase=Phase.AFTER_TERMINAL)
_IN_BAND = _V(Result.SILENT, Outcome.FAILED, Reason.IN_BAND_ERROR, Phase.MID_STREAM, _UPSTREAM)
_RAISED = _V(Result.SILENT, Outcome.FAILED, Reason.PRODUCER_ERROR, Phase.MID_STREAM, _SERVER)
_BLANK = _V(Result.SILENT, Outcome.FAILED, Reason.DEADLINE_EXCEEDED, Phase.BEFORE_FIRST_CHUNK, _SERVER, stalled=True)
_REFUSED = _V(Result.LOUD, Outcome.FAILED, Reason.HTTP_5XX, Phase.BEFORE_HEADERS, _UPSTREAM)

_AT_HALF, _AFTER_DONE, _TIRED = Leave(on=b"token-5 "), Leave(on=b"[DONE]"), Leave(after=1.5 * STALL_THRESHOLD)
_GATEWAY = "/v1/chat/gateway"
_LONG = f"response.completed of {upstream.COMPLETED_SIZE // 1000} KB"
_PAUSE = f"stall of {upstream.SILENCE:g} s with keep-alives, goes on"

FAULTS = (
    Fault("healthy", "healthy", "healthy", _COMPLETED, marker=True),
    Fault("client leaves at half", "half", "slow", _LEFT, _AT_HALF),
    Fault("client leaves after [DONE]", "done", "linger", _COMPLETED, _AFTER_DONE, marker=True),
    Fault("client gives up before the first chunk", "impatient", "silent", _GAVE_UP, _TIRED),
    Fault("upstream ends cleanly without [DONE]", "unfinished", "unfinished", _UNFINISHED),
    Fault("the same, and a gateway adds [DONE]", "gateway", "unfinished", _MASKED, endpoint=_GATEWAY, marker=True),
    Fault("upstream cut in mid-chunk", "cut", "cut", _CUT, whole=False),
    Fault("upstream sends an in-band error", "in-band", "in_band_error", _IN_BAND),
    Fault("the generator raises", "raises", "no_choices", _RAISED, whole=False),
    # BaseHTTPMiddleware turns the exception into a complete response: not even the client can tell.
    Fault("the same behind BaseHTTPMiddleware", "guarded", "no_choices", _RAISED),
    Fault("blank: keep-alives, then a time-out", "blank", "pings", _BLANK, whole=False),
    Fault(_PAUSE, "stall", "stall", _STALLED, marker=True),
    Fault("503 instead of a stream", "overloaded", upstream.OVERLOADED, _REFUSED, status=503),
    Fault(_LONG, "long-event", "responses", _COMPLETED, endpoint="/v1/responses", marker=True),
)

KILL = Fault("SIGKILL of a worker", "killed", "held", _LEFT, whole=False)
"""Last and alone. The verdict is that of the streams of the other workers, whose clients leave afterwards."""
DEATH = _V(Result.SILENT, Outcome.TRUNCATED, Reason.PROCESS_DEATH, Phase.MID_STREAM, _SERVER)
"""The verdict over those of the killed worker: its replacement, or a sibling, reports them."""


def counts(rng: random.Random) -> dict[Fault, int]:
    """Return how often to inject each fault."""
    return {fault: rng.randint(FEWEST, MOST) for fault in FAULTS}
