"""The example that keeps its answers in SQLite: its records tell the truth after every kind of end."""

import asyncio
import contextlib
import signal
import sqlite3
import sys
from pathlib import Path

import pytest
from clients import fetch

from stack import Process, free_ports, listens

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent
EXAMPLE = Path(__file__).parents[2] / "examples" / "records"


@pytest.mark.skipif(sys.platform != "linux", reason="the crash recorder needs posix_fallocate")
def test_records_tell_the_truth(tmp_path):
    """Complete ones are complete; what was left, failed, stopped or killed is partial, and says why."""
    database, states = tmp_path / "records.db", tmp_path / "state"
    states.mkdir()
    env = {
        "RECORDS": str(database),
        "OTEL_PYTHON_STREAMING_STATE_DIR": str(states),
        "OTEL_SERVICE_NAME": "records",
        **{f"OTEL_{name}_EXPORTER": "none" for name in ("TRACES", "METRICS", "LOGS")},
    }

    @contextlib.contextmanager
    def service():
        (port,) = free_ports(1)
        command = [BIN / "opentelemetry-instrument", BIN / "uvicorn", "app:app", "--port", str(port)]
        command += ["--timeout-graceful-shutdown", "1"]
        with Process("records", command, tmp_path / "records.log", env, EXAMPLE) as process:
            process.wait_until(lambda: listens(port), "its port", 60)
            process.port = port
            yield process

    def told():
        with contextlib.closing(sqlite3.connect(database)) as connection:
            rows = connection.execute("SELECT state, reason, text FROM records").fetchall()
        assert all(text == "word0 word1 word2 " for state, _, text in rows if state == "complete")
        return sorted((state, reason or "") for state, reason, _ in rows)

    def ends_by(process, number):
        """Stop the service while a stream is open."""
        sent = []

        def stop(received):
            if b"word5" in received and not sent:
                sent.append(process.signal(number))

        asyncio.run(fetch(process.port, "/v1/records/2000?pause=0.05", on_data=stop))
        process.wait()

    expected = [
        ("complete", "completed"),
        ("partial", "client_disconnect"),
        ("partial", "process_death"),
        ("partial", "producer_error"),
        ("partial", "server_shutdown"),
    ]
    with service() as process:
        asyncio.run(fetch(process.port, "/v1/records/3"))
        asyncio.run(fetch(process.port, "/v1/records/2000?pause=0.01", leave_on=b"word3"))
        asyncio.run(fetch(process.port, "/v1/records/9?fails_at=5"))
        process.wait_until(lambda: len(told()) == 3 and "open" not in dict(told()), "their ends")
        ends_by(process, signal.SIGTERM)
    with service() as process:
        ends_by(process, signal.SIGKILL)
        assert ("open", "") in told()
    with service() as process:
        process.wait_until(lambda: told() == expected, "the killed one")
