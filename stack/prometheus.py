"""A small client of Prometheus' HTTP API."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from http.client import HTTPResponse

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def open_local(url: str | urllib.request.Request, data: bytes | None = None) -> HTTPResponse:
    """Open a URL of this machine: never by way of a proxy, whatever the environment says."""
    answer: HTTPResponse = _OPENER.open(url, data, timeout=30)
    return answer


def answers(url: str) -> bool:
    """Tell whether a URL of this machine answers 200."""
    try:
        with open_local(url) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refused:  # not ready yet; it holds its connection
        refused.close()
        return False


class PrometheusError(RuntimeError):
    """Prometheus refused a request; the message carries its words and the query."""


@dataclass(frozen=True)
class Sample:
    """One value of an instant query."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Series:
    """One series of a range query: ``points`` are (Unix time, value)."""

    labels: dict[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Exemplar:
    """An exemplar: the labels of its series, its own (``trace_id``, ``span_id``), value and time."""

    series: dict[str, str]
    labels: dict[str, str]
    value: float
    time: float


class Prometheus:
    """Client of the Prometheus at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, promql: str, time: float | None = None) -> list[Sample]:
        """Evaluate ``promql`` at one moment (default: now)."""
        data = self._call("query", query=promql, time=time)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in data["result"]]

    def value(self, promql: str, time: float | None = None) -> float | None:
        """Evaluate ``promql`` to one number; None where there is nothing.

        Raises:
            PrometheusError: There are several series.
        """
        samples = self.query(promql, time)
        if len(samples) > 1:
            message = f"{promql}: {len(samples)} series where one was expected"
            raise PrometheusError(message)
        return samples[0].value if samples else None

    def query_range(self, promql: str, start: float, end: float, step: float) -> list[Series]:
        """Evaluate ``promql`` every ``step`` seconds from ``start`` to ``end`` (Unix times)."""
        data = self._call("query_range", query=promql, start=start, end=end, step=step)
        return [Series(one["metric"], _points(one["values"])) for one in data["result"]]

    def series(self, match: str, start: float | None = None, end: float | None = None) -> list[dict[str, str]]:
        """Return the labels of every series that ``match`` selects."""
        found: list[dict[str, str]] = self._call("series", match=match, start=start, end=end)
        return found

    def label_values(self, label: str, match: str | None = None) -> list[str]:
        """Return the values of ``label``, of the series that ``match`` selects."""
        found: list[str] = self._call(f"label/{label}/values", get=True, match=match)
        return found

    def exemplars(self, promql: str, start: float, end: float) -> list[Exemplar]:
        """Return the exemplars of the series in ``promql``."""
        return [
            Exemplar(found["seriesLabels"], one["labels"], float(one["value"]), float(one["timestamp"]))
            for found in self._call("query_exemplars", query=promql, start=start, end=end)
            for one in found["exemplars"]
        ]

    def _call(self, path: str, *, get: bool = False, match: str | None = None, **more: float | str | None) -> Any:
        parameters = {"match[]": match, **more}
        query = urllib.parse.urlencode({name: value for name, value in parameters.items() if value is not None})
        url = f"{self.url}/api/v1/{path}"
        try:
            # POST, since a query may be longer than a URL; a few endpoints know only GET.
            with open_local(f"{url}?{query}" if get else url, None if get else query.encode()) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                body = error.read().decode(errors="replace")
            if error.code >= 500 and not body.startswith("{"):
                raise ConnectionError(body) from error  # not ready yet
            words = json.loads(body)["error"] if body.startswith("{") else body
            message = f"{words}\nin {more.get('query') or match or path}"
            raise PrometheusError(message) from error


def _points(values: list[list[Any]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(time), float(value)) for time, value in values)
