"""Answers kept in SQLite: each record says whether it is whole, whatever has ended its stream, or is still open.

    RECORDS=records.db opentelemetry-instrument uvicorn app:app --workers 2

A record is written as it is generated, so a stream that dies leaves half of one. Only who watches the stream knows of
every end: an exception, a client that has left, a server that stops, a killed process (told at the next start).
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from otel_streaming import StreamSummary, current_stream, on_recovered

app = FastAPI()

TABLE = """CREATE TABLE IF NOT EXISTS records (
    id TEXT PRIMARY KEY, text TEXT NOT NULL DEFAULT '', state TEXT NOT NULL DEFAULT 'open', reason TEXT
)"""


def execute(sql: str, *values: str | None) -> list[tuple[str, ...]]:
    """Run one statement, in a transaction of its own."""
    with closing(sqlite3.connect(os.environ["RECORDS"], timeout=30)) as database, database:
        database.execute(TABLE)
        return database.execute(sql, values).fetchall()


async def close(summary: StreamSummary) -> None:
    """Say of a record how it ended; a stream that is told twice changes nothing."""
    state = "complete" if summary.result == "ok" else "partial"
    sql = "UPDATE records SET state = ?, reason = ? WHERE id = ? AND state = 'open'"
    await asyncio.to_thread(execute, sql, state, str(summary.reason), summary.stream_id)


on_recovered(close)


@app.get("/v1/records/{words}")
async def generate(words: int, pause: float = 0.01, fails_at: int = -1) -> StreamingResponse:
    """Generate a record of some words, and stream it while it grows."""
    stream = current_stream()
    key = stream.id
    await asyncio.to_thread(execute, "INSERT INTO records (id) VALUES (?)", key)
    stream.on_end(close)

    async def parts() -> AsyncIterator[str]:
        for n in range(words):
            if n == fails_at:
                raise ValueError("the model has failed")
            await asyncio.to_thread(execute, "UPDATE records SET text = text || ? WHERE id = ?", f"word{n} ", key)
            yield f"data: word{n}\n\n"
            await asyncio.sleep(pause)
        stream.complete()

    return StreamingResponse(parts(), media_type="text/event-stream", headers={"x-record": key or ""})
