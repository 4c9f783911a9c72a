"""The table's arithmetic: what is compared with what, and how a difference is put into words."""

import io
from collections import Counter

import pytest
from rich.console import Console

from demo import __main__ as command
from demo.faults import DEATH, FAULTS, KILL
from demo.report import Reading, Row, summary, table
from stack.prometheus import Sample

HEALTHY = FAULTS[0]
SERVER_ERROR = next(fault for fault in FAULTS if fault.status == 503)
UNFINISHED = next(fault for fault in FAULTS if fault.product == "unfinished")
ROWS = [Row(HEALTHY, 40), Row(SERVER_ERROR, 20), Row(UNFINISHED, 40), Row(KILL, 80, lost=30)]


class FakePrometheus:
    """Answers the five queries with what a pipeline without a fault would say of ``rows``."""

    def __init__(self, rows):
        self.rows, self.queries = rows, []

    def query(self, promql):
        self.queries.append(promql)
        return [sample for row in self.rows for sample in self._samples(row, promql)]

    def _samples(self, row, promql):
        route = {"http_route": row.fault.route}
        if "stream_ledger_started_total" in promql:
            return [Sample(route, row.opened)]
        if "stream_ledger_ended_total" in promql or "stream_ended_total" in promql:
            told = ((row.fault.verdict, row.opened - row.lost), (DEATH, row.lost))
            return [Sample(route | self._judged(verdict, promql), count) for verdict, count in told]
        status = {"http_response_status_code": str(row.fault.status)}
        return [Sample(route | status, (row.opened - row.lost) / 2), Sample(route | status | {"error_type": "X"}, 0)]

    def _judged(self, verdict, promql):
        judged = {
            "stream_result": verdict.result.value,
            "stream_outcome": verdict.outcome.value,
            "stream_stalled": str(verdict.stalled).lower(),
        }
        detail = {
            "stream_reason": verdict.reason.value,
            "stream_phase": verdict.phase.value,
            "stream_origin": verdict.origin.value,
        }
        return judged if "ledger" in promql else judged | detail


@pytest.fixture
def reading():
    return Reading.of(FakePrometheus(ROWS))


def test_a_true_account_has_no_differences(reading):
    """Started, ended and derived counts equal to what was injected."""
    assert [row.differences(reading) for row in ROWS] == [[]] * len(ROWS)


def test_counters_are_read_by_their_maximum_and_never_by_increase():
    """`increase` extrapolates; the most that each series has said does not."""
    prometheus = FakePrometheus([])
    Reading.of(prometheus)
    assert len(prometheus.queries) == 5
    assert all("max_over_time(" in query and "increase" not in query for query in prometheus.queries)


@pytest.mark.parametrize("source", ["started", "ended", "derived"])
@pytest.mark.parametrize("change", [-1, 1])
def test_one_stream_more_or_less_anywhere_is_a_difference(reading, source, change):
    """The row is named, and what was said instead of what."""
    counts = getattr(reading, source)[HEALTHY.route]
    (key,) = counts
    counts[key] += change
    (difference,) = ROWS[0].differences(reading)
    assert "healthy" in difference
    assert f"{40 + change}" in difference
    assert "instead of 40" in difference


@pytest.mark.parametrize("position", range(6))
def test_every_label_of_the_verdict_counts(reading, position):
    """The right number under a wrong result, outcome, reason, phase, origin or stalled is a difference."""
    ((key, count),) = reading.derived[UNFINISHED.route].items()
    wrong = (*key[:position], "something else", *key[position + 1 :])
    reading.derived[UNFINISHED.route] = Counter({wrong: count})
    assert "something else" in ROWS[2].differences(reading)[0]


def test_a_route_prometheus_has_never_heard_of_is_a_difference(reading):
    """Nothing instead of something."""
    for source in (reading.started, reading.ended, reading.derived):
        del source[HEALTHY.route]
    assert len(ROWS[0].differences(reading)) == 3
    assert "nothing instead of 40" in ROWS[0].differences(reading)[0]


def test_a_client_that_did_not_see_its_fault_is_a_difference(reading):
    """Numbers that agree about something that never happened prove nothing."""
    assert "1 of 40 clients" in Row(HEALTHY, 40, misfired=1).differences(reading)[0]


def test_the_table_shows_every_row(reading):
    """Counts, verdicts, and whether they agree."""
    console = Console(width=240, record=True, file=io.StringIO())
    console.print(table(ROWS, reading))
    text = console.export_text()
    assert "40 x silent truncated missing_terminal mid_stream by upstream" in text
    assert "30 x silent truncated process_death mid_stream" in text
    assert text.count("yes") == len(ROWS)


def test_words_do_not_repeat_themselves(reading):
    """A status and an error.type of the same text are one word, a label that is false is none."""
    reading.native[SERVER_ERROR.route] = Counter({("503", "503"): 10})
    reading.derived[SERVER_ERROR.route] = Counter(
        {("loud", "failed", "http_5xx", "before_headers", "upstream", "true"): 10}
    )
    cells = ROWS[1].cells(reading)
    assert "10 x 503" in cells
    assert "10 x loud failed http_5xx before_headers by upstream stalled" in cells


def test_the_summary_holds_the_5xx_panel_against_what_users_saw(reading):
    """20 of 150 counted requests are 5xx; 90 of 130 eligible streams failed, 70 of them silently."""
    text = summary(ROWS, reading)
    assert "5xx panel says 13.3 %" in text
    assert "69.2 % of the answers failed, 53.8 % silently" in text
    assert "30 streams died" in text


class FakeSession:
    """Everything but processes: ``told`` is what Prometheus believes of the rows."""

    told = ROWS
    killed = ROWS[-1]

    def __init__(self, folder, rng, say):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def inject(self):
        return ROWS[:-1]

    def kill_worker(self):
        return self.killed

    def settle(self, rows):
        return Reading.of(FakePrometheus(self.told))


def run(monkeypatch, tmp_path, **changes):
    monkeypatch.setattr(command, "Session", type("Session", (FakeSession,), changes))
    monkeypatch.setattr("sys.argv", ["demo"])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return command.main()


def test_the_exit_status_is_0_when_all_rows_agree(monkeypatch, tmp_path, capsys):
    """And nothing is said to disagree."""
    assert run(monkeypatch, tmp_path) == 0
    assert "DISAGREES" not in capsys.readouterr().out


def test_the_exit_status_is_1_when_one_row_disagrees(monkeypatch, tmp_path, capsys):
    """The row and the difference are named."""
    assert run(monkeypatch, tmp_path, told=[Row(HEALTHY, 39), *ROWS[1:]]) == 1
    assert "DISAGREES: healthy (/healthy/v1/chat): ledger, ended says 39 x ok" in capsys.readouterr().out


@pytest.mark.parametrize(("opened", "load"), [(39, 999.0), (39, 0.0), (40, 999.0)])
def test_a_busy_machine_is_named(monkeypatch, tmp_path, capsys, opened, load):
    """Where a row disagrees, for it may be the reason."""
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    disagrees = run(monkeypatch, tmp_path, told=[Row(HEALTHY, opened), *ROWS[1:]])
    assert ("The machine is busy (load 999)" in capsys.readouterr().out) is bool(disagrees and load)


def test_streams_that_died_with_a_worker_must_be_told_apart(monkeypatch, tmp_path, capsys):
    """One of them too few under their own reason is a difference, and one that is missing."""
    assert run(monkeypatch, tmp_path, told=[*ROWS[:-1], Row(KILL, 80, lost=29)]) == 1
    assert "SIGKILL" in capsys.readouterr().out


def test_where_no_worker_can_be_found_the_last_row_is_left_out(monkeypatch, tmp_path, capsys):
    """Said so, and no failure."""
    assert run(monkeypatch, tmp_path, killed=None) == 0
    assert "no /proc" in capsys.readouterr().out
