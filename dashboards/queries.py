"""The PromQL of every panel, built from the contract: no name is typed here that is not ours to choose.

A number comes from the *ledger* (counted in the process, exact), or from the *spans* where a service
has no ledger: ``count`` says so once. Only spans know a reason or a phase: ``count_spans``.
What is asked of times and sizes, of recorded series and of the telemetry itself stands in ``measures``, ``budget`` and
``health``.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from otel_streaming import semconv
from otel_streaming.semconv import Kind, Outcome, Phase, Result, Role, Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_streaming.semconv import Attribute, Metric

SERVICE = semconv.SERVICE_NAME.label
ROUTE = semconv.ROUTE.label
ROLE = semconv.ROLE.label
PROTOCOL = semconv.PROTOCOL.label
REASON = semconv.REASON.label
STATE = semconv.STATE.label
ORIGIN = semconv.ORIGIN.label
DIALECT = semconv.DIALECT.label
ADDRESS = semconv.SERVER_ADDRESS.label
CACHE = semconv.CACHE.label
RETRY = semconv.RETRY.label
BUCKET = "le"
BY_ROUTE = (SERVICE, ROUTE)

VARIABLES = {"service": SERVICE, "route": ROUTE, "protocol": PROTOCOL}
"""Each variable of a dashboard and the label it chooses from."""

OBJECTIVE = 0.99
"""Share of streams that shall end well, over thirty days."""
RECORDED_BAD, RECORDED_ELIGIBLE = "stream:bad:rate5m", "stream:eligible:rate5m"
RECORDED_RATIO = "stream:bad:ratio{window}"
RECORDED_WINDOWS = {"1m": ("5m", "30m", "1h", "2h", "6h"), "3m": ("1d", "3d", "30d")}
RECORDED_LABELS = (SERVICE, ROUTE, ROLE)
"""What the rules record, and by which labels: streams a second that ended badly, that could, their share over more.

Long windows move slowly and cost much: a third of the evaluations does.
"""

NOTHING_TO_DIVIDE, NOBODY_REPORTS = -1, -2
"""What a tile is asked for where a share is over nothing, and where a live number has no telemetry any more.

NaN would do in PromQL, but Grafana draws it like missing data: a live tile goes on showing what was last.
"""

STOCK_HTTP = (
    # Counts of the stock HTTP instrumentations, old conventions and new: metric, status, route.
    ("http_server_duration_milliseconds_count", "http_status_code", "http_target"),
    ("http_server_request_duration_seconds_count", "http_response_status_code", "http_route"),
)


class Window(Enum):
    """The time over which counters are read."""

    RANGE = "$__range"
    """Tiles and tables: the whole time range, asked once (an instant query)."""
    STEP = "$__rate_interval"
    """Graphs: around each point, per second."""

    def read(self, series: str) -> str:
        """Growth of any counter, resets allowed for."""
        return f"{'increase' if self is Window.RANGE else 'rate'}({series}[{self.value}])"

    def read_ledger(self, series: str) -> str:
        """Growth of a ledger counter.

        Its series starts at 0 and never resets (each process has an id of its own) and so needs no
        guessing: over a range, last minus first is the exact number. ``increase`` would extrapolate,
        by up to half for a series of two samples, which is what the first failures of an incident are.
        """
        if self is Window.STEP:
            return self.read(series)
        return f"(max_over_time({series}[{self.value}]) - min_over_time({series}[{self.value}]))"


RANGE, STEP = Window.RANGE, Window.STEP


def where(attribute: Attribute, *words: str) -> str:
    """Matcher: the attribute is one of these words of its closed vocabulary."""
    return f'{attribute.label}{"=~" if len(words) > 1 else "="}"{"|".join(words)}"'


ANY = ""
BAD = where(semconv.RESULT, Result.SILENT, Result.LOUD)
ELIGIBLE = where(semconv.RESULT, Result.OK, Result.SILENT, Result.LOUD)
BAD_OR_GAVE_UP = where(semconv.RESULT, Result.SILENT, Result.LOUD, Result.GAVE_UP)
ELIGIBLE_OR_GAVE_UP = where(semconv.RESULT, Result.OK, Result.SILENT, Result.LOUD, Result.GAVE_UP)
LOUD = where(semconv.RESULT, Result.LOUD)
SILENT = where(semconv.RESULT, Result.SILENT)
GAVE_UP = where(semconv.RESULT, Result.GAVE_UP)
TRUNCATED = f"{SILENT},{where(semconv.OUTCOME, Outcome.TRUNCATED)}"
_STALLED = where(semconv.STALLED, "true")
STALLED = f"{ELIGIBLE},{_STALLED}"
OK_BUT_STALLED = f"{where(semconv.RESULT, Result.OK)},{_STALLED}"
BLANK = where(semconv.PHASE, Phase.BEFORE_FIRST_CHUNK)
NOT_OK = f'{semconv.RESULT.label}!="{Result.OK}"'
CANCELLED = where(semconv.RESULT, Result.CANCELLED)
UNKNOWN = where(semconv.RESULT, Result.UNKNOWN)
MASKED = where(semconv.MASKED, "true")
_SEEN = (Terminal.SEEN,)


_UNKNOWN_TO = {
    # A client's stream has no route, and a proxy is a service of its own.
    Role.CLIENT: {ROUTE},
    Role.PROXY: {SERVICE},
}


def select(
    metric: Metric, which: str = ANY, suffix: str = "", *, role: Role = Role.SERVER, kind: Kind | None = Kind.BOUNDED
) -> str:
    """Series of a metric as the variables choose them, of one role and of one kind (or of all), where it has those."""
    matchers = [where(semconv.ROLE, role)]
    if semconv.KIND in metric.labels and kind:
        matchers.append(where(semconv.KIND, kind))
    own = {SERVICE, *(label.label for label in metric.labels)} - _UNKNOWN_TO.get(role, set())
    matchers += [f'{label}=~"${name}"' for name, label in VARIABLES.items() if label in own]
    return f"{metric.prometheus}{suffix}{{{','.join(filter(None, [*matchers, which]))}}}"


def total(inner: str, by: Sequence[str] = ()) -> str:
    """Sum of some series, by these labels."""
    return f"sum by ({', '.join(by)}) ({inner})" if by else f"sum({inner})"


def count(which: str, window: Window, by: Sequence[str] = (), kind: Kind | None = Kind.BOUNDED) -> str:
    """Streams that ended, from the ledger, or from the spans of the services that have no ledger."""
    ledger = window.read_ledger(select(semconv.LEDGER_ENDED, which, kind=kind))
    has_ledger = f"last_over_time({select(semconv.LEDGER_ENDED, kind=kind)}[{window.value}])"
    return ledger_or_spans(ledger, window.read(select(semconv.ENDED, which, kind=kind)), has_ledger, by)


def ledger_or_spans(ledger: str, spans: str, has_ledger: str, by: Sequence[str]) -> str:
    """Counts of the ledger, and those of the spans for services that have none: the one place that decides.

    A service has a ledger where that tells of any end: if it were asked for one sort only, the spans would fill in for
    what the ledger has never seen, and one share would have two sources. Nothing but service and role decides: a
    route that one source knows and the other has folded into ``_OTHER`` would count twice.
    """
    labels = tuple(dict.fromkeys((SERVICE, *by)))
    deciding = ", ".join(label for label in (SERVICE, ROLE) if label in labels)
    either = f"{total(ledger, labels)}\nor ({total(spans, labels)} unless on ({deciding}) {has_ledger})"
    return f"({either})" if labels == tuple(by) else total(either, by)


def count_spans(
    which: str, window: Window, by: Sequence[str] = (), role: Role = Role.SERVER, kind: Kind | None = Kind.BOUNDED
) -> str:
    """Streams that ended, from the spans: the only ones to know reason, phase, dialect and other roles."""
    return total(window.read(select(semconv.ENDED, which, role=role, kind=kind)), by)


def share(part: str, whole: str, by: Sequence[str] = ()) -> str:
    """Part of the whole: 0 where there is none of it (a series of failures starts at the first failure).

    Without traffic there is no share, and no sample.
    """
    nothing = f"0 * {whole}" if by else "vector(0)"
    return f"({part} or {nothing})\n/ ({whole} > 0)"


def tile(share_: str, kind: Kind | None = Kind.BOUNDED) -> str:
    """A share for a tile, which tells no traffic (``NOTHING_TO_DIVIDE``) from no telemetry (empty)."""
    return f"{share_}\nor 0 * {count(ANY, RANGE, kind=kind)} {NOTHING_TO_DIVIDE:+d}"


def among_eligible(which: str, window: Window, by: Sequence[str] = ()) -> str:
    """Share of one sort of streams among those that could end well or badly."""
    return share(count(which, window, by), count(ELIGIBLE, window, by), by)


def failed(window: Window, by: Sequence[str] = ()) -> str:
    """Share of streams that ended badly, told to the caller or not."""
    return among_eligible(BAD, window, by)


def gave_up(window: Window, by: Sequence[str] = ()) -> str:
    """Share of all attempts whose reader left a stream that showed no progress."""
    return share(count(GAVE_UP, window, by), count(ANY, window, by), by)


def live(number: str) -> str:
    """A number for a live tile, which tells that its telemetry has gone (``NOBODY_REPORTS``)."""
    return f"{number}\nor vector({NOBODY_REPORTS})"


def hidden(window: Window) -> str:
    """Share of the failures that no status code told."""
    return share(count(SILENT, window), count(BAD, window))


def share_of_spans(which: str, window: Window, by: Sequence[str] = ()) -> str:
    """Share of all streams that are of a sort which only spans tell, of the services whose spans arrive.

    All streams: with ``SPANS=bad`` the healthy ones have no span, and a share of the spans would be fiction.
    """
    labels = tuple(dict.fromkeys((SERVICE, *by)))
    told = window.read(select(semconv.ENDED))
    whole = total(f"{count(ANY, window, labels)}\nand on ({SERVICE}) {told}", by)
    return share(count_spans(which, window, by), f"({whole})", by)


def _stock_requests(window: Window, status: str) -> str:
    """Requests by the stock HTTP metrics of the services that stream: a service's old names, else its new ones."""
    by_service = "\nor ".join(
        total(window.read(f'{metric}{{{SERVICE}=~"$service",{route}=~"$route",{code}=~"{status}"}}'), (SERVICE,))
        for metric, code, route in STOCK_HTTP
    )
    ours = "|".join(metric.prometheus for metric in (semconv.LEDGER_ENDED, semconv.ENDED))
    streams = f'{{__name__=~"{ours}",{where(semconv.ROLE, Role.SERVER)},{SERVICE}=~"$service"}}'
    return f"sum(({by_service})\nand on ({SERVICE}) last_over_time({streams}[{window.value}]))"


def five_xx_panel(window: Window) -> str:
    """Share of 5xx as a stock HTTP panel shows it; by our own status codes where there are no stock metrics."""
    stock = share(_stock_requests(window, "5.."), _stock_requests(window, ".*"))
    return f"{stock}\nor {among_eligible(LOUD, window)}"


def per_minute(rate: str) -> str:
    """Failures are rare: a minute is the unit that shows them as whole numbers."""
    return f"60 * {rate}"


def count_or_none(which: str, window: Window) -> str:
    """Streams of a sort; 0 where any stream ended and none of it, so that a healthy graph has a line."""
    return f"({count(which, window)} or 0 * {count(ANY, window)})"


def failures_without_cause(window: Window) -> str:
    """Failures in the ledger that the spans do not tell, service by service; 0 where all of them do.

    Less than a tenth of them is what one export has not told yet.
    """
    ledger = total(window.read_ledger(select(semconv.LEDGER_ENDED, BAD)), (SERVICE,))
    spans = total(window.read(select(semconv.ENDED, BAD)), (SERVICE,))
    missing = f"({ledger} - ({spans} or 0 * {ledger})) > 0.1 * {ledger}"
    return f"(sum({missing}) or 0 * {count(ANY, window)})"


def failed_spans(window: Window, by: Sequence[str], role: Role = Role.SERVER) -> str:
    """Share of failures among the streams that have spans, by what only spans know."""
    return share(count_spans(BAD, window, by, role), count_spans(ELIGIBLE, window, by, role), by)


def marker_seen(window: Window, by: Sequence[str]) -> str:
    """Share with their end marker among the spans that must have one; who leaves does not wait for it."""
    seen, due = (f"{ELIGIBLE},{where(semconv.TERMINAL, *words)}" for words in (_SEEN, (*_SEEN, Terminal.MISSING)))
    return share(count_spans(seen, window, by), count_spans(due, window, by), by)


def none_of(which: str, window: Window, role: Role = Role.SERVER) -> str:
    """The line at 0 that is drawn while there is nothing of a sort, and missing where nobody reports."""
    return f"0 * {count_spans(which, window, role=role)}"


def values_of(variable: str) -> str:
    """Grafana's query for the values a variable offers, given the choices to its left."""
    label = VARIABLES[variable]
    left = list(VARIABLES)[: list(VARIABLES).index(variable)]
    names = "|".join(metric.prometheus for metric in (semconv.LEDGER_STARTED, semconv.ENDED))
    matchers = [f'__name__=~"{names}"', where(semconv.ROLE, Role.SERVER)]
    matchers += [f'{VARIABLES[name]}=~"${name}"' for name in left]
    return f"label_values({{{','.join(matchers)}}}, {label})"


def reasons() -> str:
    """Grafana's query for the causes of what did not end well, served or read."""
    return f'label_values({semconv.ENDED.prometheus}{{{NOT_OK},{SERVICE}=~"$service"}}, {REASON})'


def everywhere(metric: Metric, *which: str, suffix: str = "") -> str:
    """Series of a metric for a rule, which has no variables to follow."""
    return f"{metric.prometheus}{suffix}{{{','.join(filter(None, which))}}}"


def ended_everywhere(read: str, window: str, shape: Sequence[str], which: str, by: Sequence[str]) -> str:
    """Streams of a shape that ended, for a rule: ``read`` is ``rate`` or ``increase``."""
    ledger, spans, any_end = (
        everywhere(metric, *shape, result)
        for metric, result in ((semconv.LEDGER_ENDED, which), (semconv.ENDED, which), (semconv.LEDGER_ENDED, ANY))
    )
    has_ledger = f"last_over_time({any_end}[{window}])"
    return ledger_or_spans(f"{read}({ledger}[{window}])", f"{read}({spans}[{window}])", has_ledger, by)
