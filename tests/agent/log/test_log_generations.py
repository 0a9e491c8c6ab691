"""Logs set aside one after the other: whatever is damaged next, and wherever a crash comes, none is forgotten."""

import random
import shutil
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from lms_agent.clock import SystemClock
from lms_agent.log.care import Care
from lms_agent.log.checksums import batch_checksum
from lms_agent.log.damage.salvage import wal_path
from lms_agent.log.errors import LogUnavailable, LogWriteFailed
from lms_agent.log.reader import LogReader
from lms_agent.log.renewal import renewing
from lms_agent.log.renewal.gathering import forget_copy
from lms_agent.log.renewal.predecessor import Predecessor
from lms_agent.log.renewal.predecessors import Kind, State, copy_path, readable_path
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Batch, Gap, Origin, Reading, TagDescription

PAGE_BYTES = 4096
TAGS = [TagDescription(0, "R1", "pH/PV"), *(TagDescription(0, "R1", name, kind) for name, kind in SYNC_TAGS.items())]
ELSEWHERE = UUID(int=4711)


async def grown(path: Path, kinds: list[Kind], most: int = 20) -> list[float]:
    """Make a log with predecessors of these kinds; every value that was ever logged and is not in the cloud."""
    values = iter(range(1_000_000))
    logged: list[float] = []
    with SqliteLog.open(path) as log:
        log.register_tags(TAGS)
        for kind in [*kinds, None]:
            for _ in range(most):
                value = float(next(values))
                await log.append("R1", [Reading(1, 1_000 + int(value), value)])
                logged.append(value)
            if kind is Kind.DELETED:
                for file in (path, wal_path(path)):
                    file.unlink()
            if kind is not None:
                log.doubt(kind, "a test wants it so")
                await Care(log, SystemClock()).look()
        again = float(next(values))
        batch = Batch(7, "R1", (Reading(1, 1_000, again),), origin=Origin(ELSEWHERE, 7))
        await log.append_again(batch, ELSEWHERE, 7)
        await log.append("R1", [Reading(1, 1_000, again + 1)], [Gap(log.next_gap_id(), (1,), 5, None, "no reply")])
    return [*logged, again, again + 1]


def held(log: SqliteLog) -> Counter[float]:
    """Every value in the log, and in what would be sent of those that were set aside."""
    values: Counter[float] = Counter()
    for batch in log.read(1, 1_000_000):
        values.update(reading.value for reading in batch.readings)  # type: ignore[misc]
    for entry in log.predecessors.values():
        assert entry.state in {State.READY, State.SENT}, entry
        if entry.state is State.READY:
            predecessor = Predecessor(entry, readable_path(log.path, entry), log)
            for number in range(predecessor.acked + 1, predecessor.head + 1):
                values.update(reading.value for reading in predecessor.get(number).readings)  # type: ignore[misc]
            predecessor.close()
    return values


def pages(path: Path, table: str) -> list[int]:
    """The pages of a table and of its indexes."""
    connection = sqlite3.connect(path)
    roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = ?", (table,)).fetchall()
    connection.close()
    return [root for (root,) in roots]


def spoil(path: Path, numbers: list[int], start: int = 0) -> None:
    data = bytearray(path.read_bytes())
    for number in numbers:
        at = (number - 1) * PAGE_BYTES + start
        data[at : number * PAGE_BYTES] = b"\xa5" * (number * PAGE_BYTES - at)
    path.write_bytes(data)


@pytest.mark.parametrize("table", ["predecessors", "origins", "meta", "tags", "spare", "gaps", "sqlite_master"])
async def test_damage_at_the_start_forgets_no_log_that_was_set_aside_earlier(table: str, tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    logged = await grown(path, [Kind.DAMAGED, Kind.RESTORED, Kind.DELETED])
    with LogReader.open(path) as reader:
        before = [entry.path for entry in reader.predecessors()]
    assert len(before) == 3
    spoil(path, [1] if table == "sqlite_master" else pages(path, table), start=100 if table == "sqlite_master" else 0)
    with SqliteLog.open(path) as log:
        await Care(log, SystemClock()).look()
        assert log.head == 0, "it was met at the start"
        assert set(before) <= set(log.predecessors)
        values = held(log)
        assert [values[value] for value in logged] == [1] * len(logged)
        assert log._reader.has_origin(ELSEWHERE, 7) or table == "origins"
        if table != "gaps":
            assert [gap.reason for _, gap in log.open_gaps()] == ["no reply"]
            assert log.next_gap_id() == 2


@pytest.mark.parametrize("table", ["predecessors", "origins"])
async def test_damage_met_while_it_runs_forgets_nothing_either(table: str, tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    logged = await grown(path, [Kind.DAMAGED, Kind.RESTORED])
    with SqliteLog.open(path) as log:
        spoil(path, pages(path, table))
        log.doubt(Kind.DAMAGED, "a test wants it so")
        await Care(log, SystemClock()).look()
        assert len(log.predecessors) == 3
        values = held(log)
        assert [values[value] for value in logged] == [1] * len(logged)
        if table == "predecessors":
            assert log._reader.has_origin(ELSEWHERE, 7)


async def test_rows_with_a_wrong_digit_are_not_believed_and_their_files_are_found(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    logged = await grown(path, [Kind.DAMAGED])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE predecessors SET state = 'sent', acked = head")
    connection.execute("UPDATE origins SET number = 8")
    connection.commit()
    connection.close()
    with SqliteLog.open(path) as log:
        assert [entry.state for entry in log.predecessors.values()] == [State.TO_READ]
        await Care(log, SystemClock()).look()
        assert [held(log)[value] for value in logged] == [1] * len(logged)
        assert not log._reader.has_origin(ELSEWHERE, 8)
    with SqliteLog.open(path) as log:
        assert [entry.state for entry in log.predecessors.values()] == [State.READY], "written down by now"


async def test_crash_while_a_damaged_log_is_set_aside_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.sqlite3"
    logged = await grown(path, [Kind.DAMAGED, Kind.RESTORED])
    spoil(path, pages(path, "predecessors"))
    for step in ("_move_aside", "_make", "sync_and_rename"):
        with monkeypatch.context() as patch:
            real = getattr(renewing, step)
            calls = [0]

            def crash(*args: object, real: object = real, calls: list[int] = calls, step: str = step) -> object:
                calls[0] += 1
                if step == "sync_and_rename" and not path.with_name("log.sqlite3.setting-aside").exists():
                    return real(*args)  # type: ignore[operator]
                raise OSError(5, "the power is gone")

            patch.setattr(renewing, step, crash)
            with pytest.raises(LogUnavailable):
                SqliteLog.open(path)
            assert calls[0]
    with SqliteLog.open(path) as log:
        await Care(log, SystemClock()).look()
        assert len(log.predecessors) == 3
        assert [held(log)[value] for value in logged] == [1] * len(logged)


async def test_intention_that_cannot_be_read_costs_nothing_as_files_are_found_in_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    logged = await grown(path, [Kind.RESTORED])
    path.rename(path.with_name("log.sqlite3.damaged-20261124T235959Z"))
    path.with_name("log.sqlite3.setting-aside").write_text('{"aside": "log.sq')
    with SqliteLog.open(path) as log:
        await Care(log, SystemClock()).look()
        assert len(log.predecessors) == 2
        assert [held(log)[value] for value in logged] == [1] * len(logged)


async def test_what_was_gathered_from_a_deleted_file_outlives_a_crash_before_it_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.sqlite3"
    log = SqliteLog.open(path)
    log.register_tags(TAGS)
    for number in range(10):
        await log.append("R1", [Reading(1, number, float(number))])
    for file in (path, wal_path(path)):
        file.unlink()
    care = Care(log, SystemClock())

    async def crash(*_: object, **__: object) -> None:
        raise LogWriteFailed(path, "the power is gone", "")

    monkeypatch.setattr(log, "keep_predecessor", crash)
    await care.look()
    (entry,) = log.predecessors.values()
    assert entry.state is State.TO_READ
    assert copy_path(path, entry).exists()
    log.close()
    for remains in care._remains.values():
        remains.reader.close()
    with SqliteLog.open(path) as log:
        await Care(log, SystemClock()).look()
        assert held(log) == {float(number): 1 for number in range(10)}


async def test_log_put_back_under_its_old_name_is_known_for_an_older_copy(tmp_path: Path) -> None:
    """As a technician might do: its stream was ended, and other batches may have got its next numbers meanwhile."""
    path = tmp_path / "log.sqlite3"
    await grown(path, [Kind.RESTORED])
    with LogReader.open(path) as reader:
        (entry,) = reader.predecessors()
    aside = path.with_name(entry.path)
    path.unlink()
    shutil.copy(aside, path)
    with SqliteLog.open(path) as log:
        assert str(log.stream) == entry.stream
        care = Care(log, SystemClock())
        await care.look()
        await care.look()
        assert str(log.stream) != entry.stream
        assert log.head == 0
        assert [other.stream for other in log.predecessors.values()] == [entry.stream] * 2


async def test_damaged_tags_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    await grown(path, [])
    spoil(path, pages(path, "tags"))
    with SqliteLog.open(path) as log:
        await Care(log, SystemClock()).look()
        (entry,) = log.predecessors.values()
        assert entry.state is State.READY
        assert log.tags() == [replace(tag, number=number) for number, tag in enumerate(TAGS, 1)]


async def test_what_is_sent_and_known_as_sent_is_not_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    await grown(path, [Kind.DAMAGED])
    with SqliteLog.open(path) as log:
        (entry,) = log.predecessors.values()
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        predecessor.acknowledge(predecessor.head)
        predecessor.close()
        await log.keep_predecessor(replace(log.predecessors[entry.path], state=State.SENT))
        forget_copy(path, entry)
    spoil(path, [1], start=100)
    with SqliteLog.open(path) as log:
        await Care(log, SystemClock()).look()
        assert log.predecessors[entry.path].state is State.SENT


async def test_unknown_acknowledged_number_of_a_long_log_makes_no_million_stand_ins(tmp_path: Path) -> None:
    """Half a million batches were acknowledged and dropped long ago; the page that says so is damaged."""
    path = tmp_path / "log.sqlite3"
    with SqliteLog.open(path) as log:
        log.register_tags(TAGS)
        for number in range(5):
            await log.append("R1", [Reading(1, number, float(number))])
        log.acknowledge(5)
        made = [await log.append("R1", [Reading(1, number, float(number))]) for number in range(5, 30)]
    connection = sqlite3.connect(path)
    for batch in connection.execute("SELECT number, device, record FROM batches ORDER BY number DESC").fetchall():
        moved = 500_000 + batch[0]
        connection.execute(
            "UPDATE batches SET number = ?, checksum = ? WHERE number = ?",
            (moved, batch_checksum(moved, *batch[1:]), batch[0]),
        )
    connection.execute("DELETE FROM batches WHERE number <= 500005")
    connection.execute("UPDATE meta SET checksum = 0 WHERE key = 'acked'")
    connection.commit()
    connection.close()
    with SqliteLog.open(path) as log:
        log.doubt(Kind.DAMAGED, "a test wants it so")
        log._acked = 0
        await Care(log, SystemClock()).look()
        (entry,) = log.predecessors.values()
        assert (entry.head, entry.acked) == (500_030, 500_005 - 1000)
        assert sum(held(log).values()) == len(made)


@pytest.mark.parametrize("kind", list(Kind))
async def test_any_bit_flipped_in_those_pages_forgets_nothing(kind: Kind, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    sound = tmp_path / "sound"
    sound.mkdir()
    logged = await grown(sound / "log.sqlite3", [kind, kind], most=5)
    numbers = pages(sound / "log.sqlite3", "predecessors") + pages(sound / "log.sqlite3", "origins")
    for round_ in range(12):
        folder = tmp_path / str(round_)
        shutil.copytree(sound, folder)
        path = folder / "log.sqlite3"
        data = bytearray(path.read_bytes())
        at = (chance.choice(numbers) - 1) * PAGE_BYTES + chance.choice([chance.randrange(12), chance.randrange(4096)])
        data[at] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        with SqliteLog.open(path) as log:
            care = Care(log, SystemClock())
            await care.look()
            await care.look()
            values = held(log)
            assert [values[value] for value in logged] == [1] * len(logged), f"round {round_}, byte {at}"
