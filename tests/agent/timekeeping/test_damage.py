"""Damage in what the log knows of its clock: a time that was corrected is never sent as it was before.

The files are real, and so are the flipped bits; the seed of a failure is printed, LMS_TEST_SEED repeats it.
"""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from lms_agent.clock import SystemClock
from lms_agent.log.absence import Absence
from lms_agent.log.care import Care
from lms_agent.log.errors import LogMalformed
from lms_agent.log.reader import LogReader
from lms_agent.log.renewal.predecessor import Predecessor
from lms_agent.log.renewal.predecessors import Kind, readable_path
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.reading import Batch, Gap, Quality
from support.clocks import Bench, Pi, taken, truth

PAGE_BYTES = 4096


@pytest.fixture
async def sound(tmp_path: Path) -> tuple[Path, list[Batch]]:
    """A log with two corrections, an estimate, and batches that are still held back; and how its batches are sent."""
    (tmp_path / "sound").mkdir()
    path = tmp_path / "sound" / "log.sqlite3"
    bench = Bench(path, Pi())
    await bench.start()
    await bench.seconds(5)
    bench.pi.synchronise()
    await bench.seconds(5)
    await bench.power_cut()
    await bench.seconds(5)
    await bench.power_cut()
    await bench.seconds(5)
    bench.pi.synchronise()
    await bench.seconds(5)
    final = bench.all()
    await bench.power_cut()
    await bench.read([Gap(bench.log.next_gap_id(), (1, 2), bench.keeper.stamps.wall_ms(), None, "no reply")])
    bench.stop()
    return path, final


def pages(path: Path, *tables: str) -> list[int]:
    """The pages of tables; each of them is small."""
    connection = sqlite3.connect(path)
    marks = ", ".join("?" * len(tables))
    sql = f"SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name IN ({marks})"
    roots = connection.execute(sql, tables).fetchall()
    connection.close()
    return [root for (root,) in roots]


def alter(path: Path, number: int, change: Callable[[bytearray], None]) -> None:
    """Change the bytes of a page."""
    data = bytearray(path.read_bytes())
    page = data[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]
    change(page)
    data[(number - 1) * PAGE_BYTES : number * PAGE_BYTES] = page
    path.write_bytes(data)


def spoil(page: bytearray) -> None:
    page[:] = b"\xa5" * PAGE_BYTES


async def sent(path: Path) -> list[Batch]:
    """All batches of the log as they are sent, whether it is set aside or not."""
    with SqliteLog.open(path) as log:
        try:
            if not log.predecessors:
                return [batch for batch in log.read(1, 1_000) if batch.number < (log.first_open() or log.head + 1)]
        except LogMalformed as error:
            log.doubt(Kind.DAMAGED, error.reason)
        for _ in range(2):
            await Care(log, SystemClock()).look()
        (entry,) = log.predecessors.values()
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        try:
            return [predecessor.get(number) for number in range(1, predecessor.head + 1)]
        finally:
            predecessor.close()


def altered(batches: list[Batch], final: list[Batch]) -> list[Batch]:
    """Those of the batches that are sent with another time, and as if it were known to be right."""
    held = {batch.number: batch for batch in final}
    return [
        batch
        for batch in batches
        for known in [held.get(batch.number)]
        if batch.readings
        and any(reading.quality is Quality.GOOD for reading in batch.readings)
        and (known is None or batch.readings != known.readings)
    ]


@pytest.mark.parametrize("table", ["corrections", "spans", "spare", "meta", "gaps"])
async def test_damaged_page_alters_no_time(table: str, sound: tuple[Path, list[Batch]]) -> None:
    path, final = sound
    assert truth(final[:10]) == taken(final[:10])
    alter(path, *pages(path, table), spoil)
    batches = await sent(path)
    assert batches[: len(final)] == final
    assert len(batches) == len(final) + 1
    assert not altered(batches, final), "what was still held back has a time that nobody will ever know"


@pytest.mark.parametrize("tables", [("corrections", "spare"), ("spans", "spare")])
async def test_what_cannot_be_corrected_any_more_is_sent_as_uncertain(
    tables: tuple[str, str], sound: tuple[Path, list[Batch]], caplog: pytest.LogCaptureFixture
) -> None:
    path, final = sound
    for page in pages(path, *tables):
        alter(path, page, spoil)
    batches = await sent(path)
    assert [batch.number for batch in batches] == list(range(1, len(final) + 2))
    assert {reading.quality for batch in batches for reading in batch.readings} == {Quality.UNCERTAIN}
    assert "corrections of times are lost" in caplog.text


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM corrections WHERE id = 1",
        "DELETE FROM corrections",
        "DELETE FROM spans WHERE open = 1",
        "UPDATE corrections SET shift_ms = shift_ms + 65536 WHERE id = 1",
    ],
)
async def test_row_that_is_not_there_any_more_is_noticed(sql: str, sound: tuple[Path, list[Batch]]) -> None:
    path, final = sound
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()
    with LogReader.open(path) as reader, pytest.raises(LogMalformed):
        reader.corrections() if "corrections" in sql else reader.first_open()
    batches = await sent(path)
    assert batches[: len(final)] == final
    assert not altered(batches, final)


async def test_any_bit_flipped_in_those_pages_alters_no_time(sound: tuple[Path, list[Batch]], tmp_path: Path) -> None:
    seed = int(os.environ.get("LMS_TEST_SEED", random.randrange(1 << 32)))
    print(f"LMS_TEST_SEED={seed}")
    chance = random.Random(seed)
    path, final = sound
    numbers = pages(path, "corrections", "spans", "spare", "meta", "gaps", "drops", "blocks")
    for round_ in range(30):
        folder = tmp_path / str(round_)
        shutil.copytree(path.parent, folder)
        at = chance.choice([chance.randrange(16), chance.randrange(PAGE_BYTES), chance.randrange(3_000, PAGE_BYTES)])
        number, bit = chance.choice(numbers), chance.randrange(8)

        def flip(page: bytearray, at: int = at, bit: int = bit) -> None:
            page[at] ^= 1 << bit

        alter(folder / "log.sqlite3", number, flip)
        where = f"round {round_}, page {number}, byte {at}, bit {bit}"
        batches = await sent(folder / "log.sqlite3")
        assert batches[: len(final)] == final, where
        assert not altered(batches, final), where


async def test_open_gap_that_cannot_be_read_is_told_from_the_newest_reading_on(sound: tuple[Path, list[Batch]]) -> None:
    path, _ = sound
    with LogReader.open(path) as reader:
        newest_ms = reader.last(1)[0].readings[0].taken_at_ms
        assert reader.open_gaps()
    alter(path, *pages(path, "gaps"), spoil)
    with SqliteLog.open(path) as log:
        assert log.predecessors
        assert not log.open_gaps()
        first = [reading._replace(taken_at_ms=newest_ms + 60_000) for reading in log.latest().values()]
        (gap,) = Absence(log, [[1, 2]]).before(first)
        assert (set(gap.tags), gap.began_at_ms, gap.ended_at_ms) == ({1, 2}, newest_ms, newest_ms + 60_000)


async def test_log_from_before_there_was_a_copy_gets_one(sound: tuple[Path, list[Batch]]) -> None:
    path, final = sound
    connection = sqlite3.connect(path)
    for sql in (
        "ALTER TABLE blocks DROP COLUMN checksum",
        "DELETE FROM _sqlite_migrations WHERE name = '0005_clock_copy'",
        "DELETE FROM spare WHERE key = 'clock'",
        "DELETE FROM meta WHERE key = 'clock_sums'",
    ):
        connection.execute(sql)
    connection.commit()
    connection.close()
    assert await sent(path) == final
    alter(path, *pages(path, "corrections"), spoil)
    assert (await sent(path))[: len(final)] == final
