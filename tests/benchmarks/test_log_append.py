"""Appending to the log, beside raw SQLite doing one INSERT a commit at the same durability."""

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.batches import record_encode
from lms_protocol.reading import Batch, Reading, TagDescription
from support.figures import alternate, show

pytestmark = pytest.mark.bench
COMMITS = 400
READINGS = 50


def scans(first: int) -> list[tuple[Reading, ...]]:
    """`COMMITS` scans of 50 tags at 1 Hz."""
    return [
        tuple(Reading(tag, (first + scan) * 1_000 + tag, 7.0 + tag + scan / 1_000) for tag in range(1, READINGS + 1))
        for scan in range(COMMITS)
    ]


def test_appends_per_second_beside_raw_sqlite(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log.sqlite3")
    log.register_tags([TagDescription(0, "R1", f"T{n}/PV") for n in range(READINGS)])
    raw = sqlite3.connect(tmp_path / "raw.sqlite3", isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("CREATE TABLE batches (number INTEGER PRIMARY KEY, record BLOB NOT NULL)")
    record = record_encode(Batch(1, "R1", scans(0)[0]))

    def ours() -> float:
        work = scans(0)

        async def append_all() -> float:
            began = time.perf_counter()
            for readings in work:
                await log.append("R1", readings)
            return time.perf_counter() - began

        return COMMITS / asyncio.run(append_all())

    def peer() -> float:
        began = time.perf_counter()
        for _ in range(COMMITS):
            raw.execute("INSERT INTO batches (record) VALUES (?)", (record,))
        return COMMITS / (time.perf_counter() - began)

    pair = alternate(ours, peer)
    log.close()
    raw.close()
    show(
        f"log: commits/s of {READINGS} readings, WAL + FULL",
        f"{pair.ours:,.0f}",
        beside=f"raw SQLite, one INSERT of the same bytes a commit: {pair.peer:,.0f}",
        ratio=pair.ratio,
    )
    assert pair.ours > 0
