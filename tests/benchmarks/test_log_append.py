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


@pytest.mark.parametrize("lines", [1, 2, 4])
def test_appends_per_second_beside_raw_sqlite(tmp_path: Path, lines: int) -> None:
    """Each line waits for its batch to be on the disk before it hands over the next one.

    One line alone: each commit holds 50 readings, as the peer's does, and nothing is done while the disk works. Of
    several, as buses and bioreactors are in life, what waits shares a commit.
    """
    log = SqliteLog.open(tmp_path / "log.sqlite3")
    log.register_tags([TagDescription(0, "R1", f"T{n}/PV") for n in range(READINGS)])
    raw = sqlite3.connect(tmp_path / "raw.sqlite3", isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("CREATE TABLE batches (number INTEGER PRIMARY KEY, record BLOB NOT NULL)")
    record = record_encode(Batch(1, "R1", scans(0)[0]))

    def ours() -> float:
        work = iter(scans(0))

        async def append_on() -> None:
            for readings in work:
                await log.append("R1", readings)

        async def append_all() -> float:
            began = time.perf_counter()
            await asyncio.gather(*(append_on() for _ in range(lines)))
            return time.perf_counter() - began

        return COMMITS * READINGS / asyncio.run(append_all())

    def peer() -> float:
        began = time.perf_counter()
        for _ in range(COMMITS):
            raw.execute("INSERT INTO batches (record) VALUES (?)", (record,))
        return COMMITS * READINGS / (time.perf_counter() - began)

    pair = alternate(ours, peer, rounds=9)
    head = log.head
    log.close()
    raw.close()
    show(
        f"log: readings/s in batches of {READINGS} from {lines} line{'s' * (lines > 1)}, WAL + FULL",
        f"{pair.ours:,.0f}",
        beside=f"raw SQLite, one INSERT of {READINGS} a commit: {pair.peer:,.0f}, {pair.peer / READINGS:,.0f} commits",
        ratio=pair.ratio,
    )
    assert head == 10 * COMMITS, "all of it is in the log"
