"""The log under SIGKILL and on a full disk: what `append` returned is there; nothing vanishes without a word."""

import asyncio
import json
import os
import random
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from lms_agent.log.errors import LogWriteFailed
from lms_agent.log.reader import LogReader
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.reading import Reading

CHILDREN = Path(__file__).parent / "children"


async def killed_writer(path: Path, after_lines: int) -> dict[int, float]:
    """Run a writer, kill it once it has said `after_lines` numbers; what it said was appended."""
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILDREN / "append_for_ever.py"), str(path), stdout=write
    )
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = await asyncio.to_thread(lambda: [pipe.readline() for _ in range(after_lines)])
        process.kill()
        await process.wait()
        said += await asyncio.to_thread(pipe.readlines)
    whole = [line.split() for line in said if line.endswith(b"\n")]
    return {int(number): float(value) for number, value in whole}


async def test_kill_9_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    chance = random.Random(4711)
    appended: dict[int, float] = {}
    stream = None
    for _ in range(8):
        appended |= await killed_writer(path, chance.randrange(1, 400))
        with SqliteLog.open(path) as log:
            batches = log.read(1, 1_000_000)
            assert [batch.number for batch in batches] == list(range(1, log.head + 1))
            kept = {batch.number: batch.readings[0].value for batch in batches}
            assert {number: kept[number] for number in appended} == appended
            assert stream in (None, log.stream)
            stream = log.stream
            connection = sqlite3.connect(path)
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            connection.close()
    assert len(appended) > 8


async def filled(path: Path, scans: int, max_readings: int) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CHILDREN / "fill_the_disk.py"),
        *(str(path), str(scans), str(max_readings)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    result: dict[str, Any] = json.loads(out)
    return result


async def test_scans_wait_in_memory_while_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    result = await filled(path, scans=50, max_readings=1000)
    assert result["full"]["waiting"] > 0
    assert "cannot be written" in result["full"]["error"]
    assert result["end"] == {"scans": 52, "readings": 102, "waiting": 0, "dropped": 0, "error": ""}
    with LogReader.open(path) as reader:
        batches = reader.read(1, 1000)
    assert [batch.number for batch in batches] == list(range(1, 53))
    assert [batch.readings[0].taken_at_ms for batch in batches] == list(range(52))
    assert [batch.readings[0].value for batch in batches[1:-1]] == [number / 7 for number in range(1, 51)]


async def test_what_finds_no_room_in_memory_is_told_as_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    result = await filled(path, scans=300, max_readings=100)
    assert result["full"]["waiting"] <= 100
    dropped = result["end"]["dropped"]
    assert dropped == result["full"]["dropped"] > 0
    with LogReader.open(path) as reader:
        batches = reader.read(1, 1000)
    (gap,) = [gap for batch in batches for gap in batch.gaps]
    assert gap.tags == (1, 2)
    assert str(dropped) in gap.reason
    times = {reading.taken_at_ms for batch in batches for reading in batch.readings}
    missing = set(range(302)) - times
    assert (gap.began_at_ms, gap.ended_at_ms) == (min(missing), max(missing))
    assert len(missing) * 2 == dropped


async def test_full_file_is_a_clear_error_and_the_numbers_stay_without_holes(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    with SqliteLog.open(path) as log:
        await log.append("R1", [Reading(1, 1, 1.0)])
        writing = log._writer._connection
        assert writing is not None
        pages = writing.execute("PRAGMA page_count").fetchone()[0]
        writing.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LogWriteFailed, match="disk is full"):
            await log.append("R1", [Reading(1, 2, "x" * 100_000)])
        assert log.head == 1
        # The writer opened the file anew, which took the limit away: as if room had been made.
        assert (await log.append("R1", [Reading(1, 3, 3.0)])).number == 2
        assert [batch.readings[0].taken_at_ms for batch in log.read(1, 10)] == [1, 3]
