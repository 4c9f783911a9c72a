"""Whether the probe stream came back as a metric: what a Prometheus holds of it."""

from __future__ import annotations

from typing import Any

import httpx

from otel_streaming import semconv
from otel_streaming.cli.doctor.probe import STREAM

METRICS = {"traces": semconv.ENDED.prometheus, "metrics": semconv.LEDGER_ENDED.prometheus}
"""What a probe stream becomes, by the signal that carries it."""
_TIMEOUT = 5.0

Values = dict[tuple[str, str], float]
"""Of each series, by its metric and its other labels."""


def ask(url: str) -> tuple[Values, str]:
    """Ask the Prometheus at ``url`` for the probes' streams.

    Returns:
        The values, and what is wrong with Prometheus: nothing if it answered.
    """
    selector = f'{{__name__=~"{"|".join(METRICS.values())}", {semconv.ROUTE.label}="{STREAM}"}}'
    try:
        answer = httpx.get(f"{url.rstrip('/')}/api/v1/query", params={"query": selector}, timeout=_TIMEOUT)
        if not answer.is_success:
            return {}, f"it answers {answer.status_code}"
        return dict(map(_value, answer.json()["data"]["result"])), ""
    except httpx.InvalidURL:  # whose text may be half a password
        return {}, "it is no URL"
    except OSError:  # httpx makes HTTPErrors of all that come from a connection
        return {}, "SSL_CERT_FILE or SSL_CERT_DIR names no certificates"
    except (httpx.HTTPError, ImportError, ValueError, LookupError, TypeError, AttributeError) as error:
        return {}, (str(error) or type(error).__name__).splitlines()[0]  # whatever it is, it is no Prometheus


def _value(row: Any) -> tuple[tuple[str, str], float]:
    metric, labels = row["metric"].pop("__name__"), sorted(row["metric"].items())
    return (metric, str(labels)), float(row["value"][1])
