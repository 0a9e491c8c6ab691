"""Local history: found by time while it is written, in files of every age."""

import asyncio
import sqlite3
from pathlib import Path
from random import Random

import pytest
from lms_agent.log import schema
from lms_agent.log.errors import LogUnavailable
from lms_agent.log.jobs import Entry
from lms_agent.log.reader import LogReader
from lms_agent.log.schema import BLOCK_BATCHES, BLOCK_SUM
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.reading import Batch, Reading
from support.first_release import first_release_log
from support.patience import awaiting

BLOCKS = "SELECT block, first_taken_at_ms, last_taken_at_ms, readings FROM blocks ORDER BY block"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite3"


async def test_older_file_keeps_stream_numbers_and_readings(path: Path) -> None:
    batches = [Batch(n, "R1", (Reading(1, n * 1_000, n / 7),)) for n in range(1, 2 * BLOCK_BATCHES + 50)]
    stream = first_release_log(path, batches, acked=7, open_gap=True)
    with pytest.raises(LogUnavailable, match="older version"):
        LogReader.open(path)
    with SqliteLog.open(path) as log:
        assert (log.stream, log.acked, log.bd_seq, log.head) == (stream, 7, 4, len(batches))
        assert log.read(1, 10_000) == batches
        assert [gap.id for _, gap in log.open_gaps()] == [3]
        assert log.next_gap_id() == 4
        assert log.latest()[1].value == batches[-1].readings[0].value
        assert (await log.append("R1", [Reading(1, 1, 1.0)])).number == len(batches) + 1
        assert log.tags()[0].name == "pH/PV"


async def test_older_file_is_searched_by_time_before_and_after_its_blocks_are_there(path: Path) -> None:
    batches = [Batch(n, "R1", (Reading(1, n * 1_000, n / 7),)) for n in range(1, 3 * BLOCK_BATCHES)]
    first_release_log(path, batches, acked=7, open_gap=True)
    connection = sqlite3.connect(path, isolation_level=None)
    schema.migrate(connection)
    connection.close()
    wanted = batches[700:720]
    with LogReader.open(path) as reader:
        assert list(reader.between(wanted[0].readings[0].taken_at_ms, wanted[-1].readings[0].taken_at_ms + 1)) == wanted
    with SqliteLog.open(path):
        connection = sqlite3.connect(path)
        async with awaiting("two blocks are summed up"):
            while connection.execute("SELECT count(*) FROM blocks").fetchone()[0] < 2:
                await asyncio.sleep(0.05)
        assert connection.execute(BLOCKS).fetchall() == [
            (0, 1_000, BLOCK_BATCHES * 1_000, BLOCK_BATCHES),
            (1, (BLOCK_BATCHES + 1) * 1_000, 2 * BLOCK_BATCHES * 1_000, BLOCK_BATCHES),
        ]
        connection.close()
        with LogReader.open(path) as reader:
            assert list(reader.between(701_000, 721_000)) == wanted
            assert (reader.status().began_at_ms, reader.status().ended_at_ms) == (1_000, len(batches) * 1_000)


@pytest.mark.parametrize("what", ["first_taken_at_ms", "last_taken_at_ms", "checksum"])
async def test_block_with_a_wrong_digit_hides_no_batch(path: Path, what: str) -> None:
    with SqliteLog.open(path) as log:
        entries = [Entry("R1", (Reading(1, number * 1_000, 1.0),)) for number in range(3 * BLOCK_BATCHES)]
        await asyncio.to_thread(log.append_all, entries)
        held = log.read(1, len(entries))
    connection = sqlite3.connect(path, isolation_level=None)
    sound = connection.execute(BLOCKS).fetchall()
    for bit in range(0, 40, 3):
        connection.execute(f"UPDATE blocks SET {what} = {what} + ? WHERE block = 1", (1 << bit,))
        with LogReader.open(path) as reader:
            assert list(reader.between(0, 10_000_000)) == held, bit
            assert list(reader.between(600_000, 601_000)) == held[600:601], bit
            assert (reader.status().began_at_ms, reader.status().ended_at_ms) == (0, (len(entries) - 1) * 1_000)
        connection.execute(f"UPDATE blocks SET {what} = {what} - ? WHERE block = 1", (1 << bit,))
    connection.execute(f"UPDATE blocks SET {what} = {what} + 64 WHERE block = 1")
    with SqliteLog.open(path) as log:
        await log.append("R1", [Reading(1, 1, 1.0)])
        sums = f"SELECT count(*) FROM blocks WHERE checksum = {BLOCK_SUM}"
        async with awaiting("the block is summed up anew"):
            while connection.execute(sums).fetchone()[0] < 3:
                await asyncio.sleep(0.05)
    assert connection.execute(BLOCKS).fetchall() == sound
    connection.close()


async def test_every_window_is_found_whatever_the_order_of_the_readings(path: Path) -> None:
    chance = Random(4711)
    with SqliteLog.open(path) as log, LogReader.open(path) as reader:
        held: list[Batch] = []
        for _ in range(4):
            entries = [
                Entry(chance.choice(["R1", "R2"]), tuple(Reading(1, chance.randrange(100_000), 1.0) for _ in range(2)))
                for _ in range(chance.randrange(200, 700))
            ]
            numbers = await asyncio.to_thread(log.append_all, entries)
            assert numbers is not None
            held += [
                Batch(number, *entry) for number, entry in zip(range(numbers[0], numbers[1] + 1), entries, strict=True)
            ]
            for _ in range(5):
                start, end = sorted(chance.sample(range(100_000), 2))
                for device in (None, "R1"):
                    found = [batch.number for batch in reader.between(start, end, device)]
                    wanted = [
                        batch.number
                        for batch in held
                        if any(start <= reading.taken_at_ms < end for reading in batch.readings)
                        and device in (None, batch.device)
                    ]
                    assert set(wanted) <= set(found)
                    assert found == sorted(set(found))
        times = [reading.taken_at_ms for batch in held for reading in batch.readings]
        assert (reader.status().began_at_ms, reader.status().ended_at_ms) == (min(times), max(times))


async def test_narrow_window_of_a_long_log_looks_at_few_batches(path: Path) -> None:
    with SqliteLog.open(path) as log, LogReader.open(path) as reader:
        await asyncio.to_thread(log.append_all, [Entry("R1", (Reading(1, n * 1_000, 1.0),)) for n in range(20_000)])
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1

        reader._connection.set_progress_handler(count, 100)
        assert [batch.number for batch in reader.between(9_000_000, 9_010_000)] == list(range(9_001, 9_011))
        narrow, steps = steps, 0
        assert sum(1 for _ in reader.between(0, 20_000_000)) == 20_000
        assert narrow * 10 < steps
