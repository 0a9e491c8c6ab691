"""The log as a file: who may open it, what others see of it, and what happens when its bytes are not ours."""

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest
from lms_agent.log import schema
from lms_agent.log.errors import LogClosed, LogDamaged, LogInUse, LogUnavailable
from lms_agent.log.jobs import Entry
from lms_agent.log.reader import LogReader
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.log.writer import SNAPSHOT_EVERY
from lms_protocol.reading import Batch, Datatype, Reading, TagDescription


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "log.sqlite3"


@pytest.fixture(autouse=True)
def folder(path: Path) -> None:
    path.parent.mkdir()


def one(value: float, at: int = 1) -> list[Reading]:
    return [Reading(1, at, value)]


def test_second_writer_is_refused_and_told_the_process(path: Path) -> None:
    with SqliteLog.open(path), pytest.raises(LogInUse) as caught:
        SqliteLog.open(path)
    assert caught.value.pid == os.getpid()
    assert str(os.getpid()) in str(caught.value)


def test_log_can_be_opened_again_after_close(path: Path) -> None:
    for _ in range(2):
        SqliteLog.open(path).close()


def test_file_is_not_for_everybody(path: Path) -> None:
    with SqliteLog.open(path):
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert all(mode & 0o007 == 0 for mode in modes.values()), modes


async def test_reader_sees_each_batch_as_soon_as_it_is_appended(path: Path) -> None:
    with SqliteLog.open(path) as log, LogReader.open(path) as reader:
        for number in range(1, 6):
            batch = await log.append("R1", one(number / 7))
            assert reader.last(1) == [batch]
            assert reader.status().readings == number
            assert reader.latest().readings == {1: batch.readings[0]}


async def test_reader_needs_no_agent(path: Path) -> None:
    with SqliteLog.open(path) as log:
        await log.append("R1", one(7.0))
    with LogReader.open(path) as reader:
        assert reader.get(1) == Batch(1, "R1", (Reading(1, 1, 7.0),))


def test_missing_file_is_named(path: Path) -> None:
    with pytest.raises(LogUnavailable, match="no such file"):
        LogReader.open(path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="folder"):
        SqliteLog.open(tmp_path / "not" / "there.sqlite3")


def test_foreign_sqlite_file_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LogUnavailable, match="not a log"):
        SqliteLog.open(path)
    assert path.read_bytes() == before


def test_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_text("taken_at,tag,value\n" * 100)
    with pytest.raises(LogUnavailable, match="not an SQLite file"):
        SqliteLog.open(path)
    assert path.read_text().startswith("taken_at")


def test_log_of_a_newer_program_is_left_alone(path: Path) -> None:
    SqliteLog.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, '9999_future', '')",
        (schema.MIGRATION_SET,),
    )
    connection.commit()
    connection.close()
    for open_ in (SqliteLog.open, LogReader.open):
        with pytest.raises(LogUnavailable, match="9999_future"):
            open_(path)


async def test_altered_record_is_noticed(path: Path) -> None:
    with SqliteLog.open(path) as log:
        await log.append("R1", one(7.0))
        await log.append("R1", one(7.1))
    connection = sqlite3.connect(path)
    record = bytearray(connection.execute("SELECT record FROM batches WHERE number = 2").fetchone()[0])
    record[-1] ^= 1
    connection.execute("UPDATE batches SET record = ? WHERE number = 2", (bytes(record),))
    connection.commit()
    connection.close()
    with LogReader.open(path) as reader:
        assert reader.get(1).readings[0].value == 7.0
        with pytest.raises(LogDamaged) as caught:
            reader.get(2)
    assert caught.value.number == 2


async def test_damaged_record_keeps_nobody_from_opening_the_log(path: Path) -> None:
    with SqliteLog.open(path) as log:
        for number in range(1, 6):
            await log.append("R1", [Reading(number, number, 1.0)])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE batches SET record = x'' WHERE number IN (1, 4)")
    connection.execute('UPDATE meta SET value = \'{"through": 0, "record": ""}\' WHERE key = \'latest\'')
    connection.commit()
    connection.close()
    with SqliteLog.open(path) as log:
        assert set(log.latest()) == {2, 3, 5}
        assert (await log.append("R1", one(1.0))).number == 6


async def test_closed_log_takes_nothing(path: Path) -> None:
    log = SqliteLog.open(path)
    log.close()
    with pytest.raises(LogClosed):
        await log.append("R1", one(1.0))


async def test_close_writes_what_was_handed_over(path: Path) -> None:
    log = SqliteLog.open(path)
    waiting = [asyncio.ensure_future(log.append("R1", one(number))) for number in range(50)]
    await asyncio.sleep(0)
    await asyncio.to_thread(log.close)
    assert [batch.number for batch in await asyncio.gather(*waiting)] == list(range(1, 51))
    with LogReader.open(path) as reader:
        assert reader.head() == (50, 50)


async def test_bad_value_spoils_only_its_own_batch(path: Path) -> None:
    with SqliteLog.open(path) as log:
        bad = [Reading(1, 1, object())]  # type: ignore[arg-type]
        results = await asyncio.gather(
            log.append("R1", one(1.0)), log.append("R1", bad), log.append("R1", one(2.0)), return_exceptions=True
        )
        assert isinstance(results[1], Exception)
        assert [batch.number for batch in log.read(1, 10)] == [1, 2]


async def test_many_entries_are_written_all_or_none(path: Path) -> None:
    def entries(count: int) -> object:
        for number in range(10):
            if number == count:
                raise ValueError("line 7 is malformed")
            yield Entry("R1", tuple(one(number)))

    with SqliteLog.open(path) as log:
        await log.append("R1", one(0.0))
        with pytest.raises(ValueError, match="line 7"):
            await asyncio.to_thread(log.append_all, entries(5))
        assert log.head == 1
        assert await asyncio.to_thread(log.append_all, entries(99)) == (2, 11)
        assert [batch.number for batch in log.read(1, 100)] == list(range(1, 12))
        assert (await log.append("R1", one(1.0))).number == 12


async def test_listener_hears_each_batch_in_order_before_its_caller(path: Path) -> None:
    heard: list[int] = []
    with SqliteLog.open(path) as log:
        log.listen(lambda batch: heard.append(batch.number))

        async def append() -> None:
            batch = await log.append("R1", one(1.0))
            assert batch.number in heard

        await asyncio.gather(*(append() for _ in range(40)))
    assert heard == list(range(1, 41))


def test_tags_keep_their_numbers(path: Path) -> None:
    first = TagDescription(0, "R1", "pH/PV", unit="pH")
    second = TagDescription(0, "R1", "DO/PV", unit="%")
    with SqliteLog.open(path) as log:
        assert [tag.number for tag in log.register_tags([first, second])] == [1, 2]
    changed = TagDescription(0, "R1", "DO/PV", Datatype.FLOAT, "%", 0, 100, 1, "write")
    other = TagDescription(0, "R2", "pH/PV")
    with SqliteLog.open(path) as log:
        tags = log.register_tags([other, changed])
        assert [tag.number for tag in tags] == [3, 2]
    with LogReader.open(path) as reader:
        assert {tag.number: (tag.device, tag.name, tag.unit, tag.access) for tag in reader.tags()} == {
            1: ("R1", "pH/PV", "pH", "read"),
            2: ("R1", "DO/PV", "%", "write"),
            3: ("R2", "pH/PV", "", "read"),
        }


async def test_newest_readings_survive_many_batches_and_a_reopen(path: Path) -> None:
    with SqliteLog.open(path) as log:
        await log.append("R1", [Reading(2, 5, "seldom")])
        await asyncio.gather(*(log.append("R1", one(n, at=n)) for n in range(1, SNAPSHOT_EVERY * 2)))
        await log.append("R1", one(-1.0, at=3))  # taken earlier, came later
    with SqliteLog.open(path) as log:
        assert log.latest()[2].value == "seldom"
        assert log.latest()[1].taken_at_ms == SNAPSHOT_EVERY * 2 - 1


async def test_bd_seq_and_stream_are_kept(path: Path) -> None:
    with SqliteLog.open(path) as log:
        assert log.bd_seq is None
        await log.set_bd_seq(255)
        stream = log.stream
    with SqliteLog.open(path) as log:
        assert (log.bd_seq, log.stream) == (255, stream)
