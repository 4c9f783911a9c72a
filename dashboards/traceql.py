"""All TraceQL and LogQL: single streams, for whoever asks why. No number of an objective comes from here.

Everything selects by the result, which no span but ours has: a server span that was marked by ours has the outcome too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboards import queries as q
from otel_streaming import semconv
from otel_streaming.semconv import Outcome, Phase, Result, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_streaming.semconv import Attribute

SCOPE = f'instrumentation:name = "{semconv.SCOPE}"'


def span(attribute: Attribute) -> str:
    """An attribute of a span as TraceQL writes it."""
    return f"span.{attribute}"


def _is(attribute: Attribute, *words: str) -> str:
    return f'{span(attribute)} {"=~" if len(words) > 1 else "="} "{"|".join(words)}"'


# Backticks, since Grafana escapes what a value has of a pattern's signs.
_SERVICE = f"resource.{semconv.SERVICE_NAME} =~ `${{service:regex}}`"
_CHOSEN = (
    _SERVICE,
    f"{span(semconv.ROUTE)} =~ `${{route:regex}}`",
    f"{span(semconv.PROTOCOL)} =~ `${{protocol:regex}}`",
)
SERVERS = _is(semconv.ROLE, Role.SERVER)
_BAD = _is(semconv.RESULT, Result.SILENT, Result.LOUD)
_SILENT = _is(semconv.RESULT, Result.SILENT)
_ANY = f"{span(semconv.RESULT)} != nil"
_CAUSE = f"{span(semconv.REASON)} =~ `${{reason:regex}}`"

TRUNCATED = (_SILENT, _is(semconv.OUTCOME, Outcome.TRUNCATED), _CAUSE)
FAILED = (_BAD, _is(semconv.OUTCOME, Outcome.FAILED), _CAUSE)
BLANK = (_ANY, _is(semconv.PHASE, Phase.BEFORE_FIRST_CHUNK))
STALLED = (_ANY, f"{span(semconv.STALL_COUNT)} > 0")
MASKED = (_ANY, f"{span(semconv.MASKED)} = true")
OTHERS = (_is(semconv.RESULT, Result.GAVE_UP, Result.CANCELLED, Result.RECYCLED, Result.UNKNOWN), _CAUSE)


def select(*conditions: str) -> str:
    """Spans of server streams as the variables choose them."""
    return "{ " + " && ".join((*conditions, SERVERS, *_CHOSEN)) + " }"


def newest(conditions: Sequence[str], shown: Sequence[Attribute]) -> str:
    """The newest of such streams, with these attributes."""
    return _newest(select(*conditions), shown)


def newest_reads(shown: Sequence[Attribute]) -> str:
    """The newest of the streams that a service has read and that ended badly: a client's have no route."""
    conditions = (_BAD, _is(semconv.ROLE, Role.CLIENT), _CAUSE, _SERVICE)
    return _newest(f"{{ {' && '.join(conditions)} }}", shown)


def _newest(spans: str, shown: Sequence[Attribute]) -> str:
    return f"{spans} | select({', '.join(map(span, shown))}) with (most_recent=true)"


def failures_by(attribute: Attribute) -> str:
    """Failures per second by an attribute that no metric has, and by the end that was watched: often it is both."""
    chosen = f"{_BAD} && {span(attribute)} != nil && {_SERVICE}"
    return f"{{ {chosen} }} | rate() by ({span(attribute)}, {span(semconv.ROLE)})"


def what_failures_have_in_common() -> str:
    """The ten most telling values of each attribute: failures against all the others."""
    return f"{select(_ANY)} | compare({{ {_BAD} }}, 10)"


def versions() -> str:
    """Spans per second by the version of the instrumentation that made them."""
    return f"{{ {SCOPE} && {_ANY} && {_SERVICE} }} | rate() by (instrumentation:version)"


def records() -> str:
    """Log records of ours: bad ends, stalls while they last, dead processes."""
    # Loki refuses a selector that could match everything, as the choice of all services does.
    labels = f'{q.SERVICE}=~".+",{q.SERVICE}=~"$service"'
    return f'{{{labels}}} | scope_name="{semconv.SCOPE}" | {q.ROUTE}=~"$route"'
