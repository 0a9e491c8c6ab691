"""Damage: what is readable is recovered whatever byte is wrong, the rest is told as gaps, and a new stream begins.

The files are real, and so are the flipped bytes; the seed of a failure is printed, LMS_TEST_SEED repeats it.
"""

import asyncio
import os
import random
import shutil
import sqlite3
from pathlib import Path
from uuid import UUID

import pytest
from lms_agent.clock import SystemClock
from lms_agent.log.care import Care
from lms_agent.log.errors import LogDamaged, LogMalformed, LogUnavailable
from lms_agent.log.reader import LogReader
from lms_agent.log.renewal.predecessor import Predecessor
from lms_agent.log.renewal.predecessors import Kind, State, readable_path
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.log.times.clocks import ClockChange
from lms_agent.timekeeping.discipline import Change, Rules, Trust
from lms_agent.timekeeping.source import Computer
from lms_agent.timekeeping.timekeeper import Timekeeper
from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Batch, Gap, Reading, TagDescription

TAGS = [TagDescription(0, device, name) for device in ("R1", "R2") for name in ("pH/PV", "DO/PV")]
SYNC = [TagDescription(0, device, name, kind) for device in ("R1", "R2") for name, kind in SYNC_TAGS.items()]
COUNT = 400
PAGE_BYTES = 4096


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("LMS_TEST_SEED", random.randrange(1 << 32)))
    print(f"LMS_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Batch]]:
    """A log of 400 batches, a few of them large, some with gaps; half of it still in the write-ahead log."""
    path = tmp_path_factory.mktemp("sound") / "log.sqlite3"
    chance = random.Random(4711)
    copies = path.parent / "copies"
    copies.mkdir()

    async def make() -> list[Batch]:
        log = SqliteLog.open(path)
        log.register_tags([*TAGS, *SYNC])
        made = []
        for number in range(1, COUNT + 1):
            device, tags = (("R1", (1, 2)), ("R2", (3, 4)))[number % 2]
            value = "text " * 3_000 if number % 97 == 0 else chance.random()
            readings = [Reading(tag, 1_000 * number, value) for tag in tags * chance.randrange(1, 20)]
            gaps = [Gap(log.next_gap_id(), tags, 1_000 * number, None, "no reply")] if number % 50 == 0 else []
            made.append(await log.append(device, readings, gaps))
            if number == COUNT // 2:
                fold(path)  # by another connection: the writer's own may be in the middle of something
        for file in path.parent.glob("log.sqlite3*"):
            shutil.copy(file, copies)  # as a power cut leaves them: the write-ahead log is not folded in
        log.close()
        return made

    return copies / "log.sqlite3", asyncio.run(make())


@pytest.fixture
def path(sound: tuple[Path, list[Batch]], tmp_path: Path) -> Path:
    for file in sound[0].parent.iterdir():
        if file.suffix != ".lock" and not file.name.endswith("-shm"):
            shutil.copy(file, tmp_path)
    return tmp_path / "log.sqlite3"


def notice(log: SqliteLog) -> None:
    """Read until the damage is met, if that has not happened when the log was opened."""
    if not log.predecessors:
        with pytest.raises((LogMalformed, LogUnavailable)) as caught:
            _ = [log.get(number) for number in range(1, COUNT + 1)]
        log.doubt(Kind.DAMAGED, str(caught.value))


def fold(path: Path) -> None:
    """Fold the write-ahead log into the file."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


async def cared_for(log: SqliteLog) -> None:
    care = Care(log, SystemClock())
    for _ in range(3):
        await care.look()


def sent_by(predecessor: Predecessor) -> dict[int, Batch | None]:
    """What would be sent, by number; None for what only a stand-in can be sent for."""
    sent: dict[int, Batch | None] = {}
    for number in range(predecessor.acked + 1, predecessor.head + 1):
        try:
            sent[number] = None if predecessor._reader.is_stand_in(number) else predecessor.get(number)
        except (LogDamaged, KeyError):
            sent[number] = None
    return sent


async def test_whatever_byte_is_flipped_nothing_readable_is_lost(
    sound: tuple[Path, list[Batch]], tmp_path: Path, chance: random.Random
) -> None:
    """Every file that the log consists of, dozens of places: pages of all kinds, headers, frames."""
    made = {batch.number: batch for batch in sound[1]}
    set_aside = 0
    for round_ in range(24):
        folder = tmp_path / str(round_)
        folder.mkdir()
        for name in ("log.sqlite3", "log.sqlite3-wal"):
            shutil.copy(sound[0].with_name(name), folder / name)
        victim = folder / chance.choice(["log.sqlite3", "log.sqlite3-wal"])
        data = bytearray(victim.read_bytes())
        at = chance.choice([chance.randrange(len(data)), chance.randrange(200), PAGE_BYTES * chance.randrange(12) + 3])
        at = min(at, len(data) - 1)
        data[at] ^= 1 << chance.randrange(8)
        victim.write_bytes(data)
        where = f"round {round_}, {victim.name} at {at}"
        with SqliteLog.open(folder / "log.sqlite3") as log:
            held: dict[int, Batch | None] = {}
            try:
                for number in range(1, log.head + 1):
                    try:
                        held[number] = log.get(number)
                    except (LogDamaged, KeyError):
                        held[number] = None
                if len([n for n in held if held[n] is None]) > 1:
                    log.doubt(Kind.DAMAGED, "batches are missing")
            except LogMalformed as error:
                log.doubt(Kind.DAMAGED, error.reason)
            await cared_for(log)
            for entry in log.predecessors.values():
                set_aside += 1
                assert entry.state is State.READY, where
                predecessor = Predecessor(entry, readable_path(log.path, entry), log)
                held = sent_by(predecessor)
                predecessor.close()
                assert log.head <= 2, "only what tells of damage is in the new log"
        # One flipped bit is in one page: at most the batches of that page, or of one frame, cannot be read.
        lost = [number for number in made if held.get(number) is None]
        assert len(lost) <= 40, where
        assert all(held[number] == made[number] for number in made if held.get(number) is not None), where
        assert max(held) == COUNT or min(lost) > COUNT - 40, where
    assert set_aside > 1


async def test_damaged_page_brings_a_new_stream_and_gaps_for_what_is_lost(
    path: Path, sound: tuple[Path, list[Batch]]
) -> None:
    with SqliteLog.open(path) as log:
        stream = log.stream
    data = bytearray(path.read_bytes())
    leaves = [at for at in range(0, len(data), PAGE_BYTES) if data[at] == 0x0D and at > 20 * PAGE_BYTES]
    for at in range(leaves[10], leaves[10] + PAGE_BYTES):
        data[at] = 0xA5
    path.write_bytes(data)
    with SqliteLog.open(path) as log:
        notice(log)
        await cared_for(log)
        assert log.stream != stream
        (entry,) = log.predecessors.values()
        assert (entry.stream, entry.state, entry.head) == (str(stream), State.READY, COUNT)
        assert path.with_name(entry.path).read_bytes()[: len(data)] == bytes(data), "nothing of the old file is touched"
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        held = sent_by(predecessor)
        lost = [number for number, batch in held.items() if batch is None]
        assert lost
        assert {number: held[number] for number in held if number not in lost} == {
            batch.number: batch for batch in sound[1] if batch.number not in lost
        }
        gaps = [gap for number in lost for gap in predecessor.get(number).gaps]
        for device, tags in (("R1", {1, 2}), ("R2", {3, 4})):
            times = [b.readings[0].taken_at_ms for b in sound[1] if b.number in lost and b.device == device]
            told = gaps + [gap for batch in log.read(1, 10) for gap in batch.gaps]
            mine = [gap for gap in told if set(gap.tags) == tags]
            assert all(any(gap.began_at_ms <= at <= (gap.ended_at_ms or 0) for gap in mine) for at in times), device
        predecessor.close()
        appended = await log.append("R1", [Reading(1, 1, 1.0)])
        assert appended.number == log.head
        assert {tag.name for tag in log.tags()} == {tag.name for tag in [*TAGS, *SYNC]}
    with SqliteLog.open(path) as log:
        assert log.get(appended.number) == appended
        assert [entry.state for entry in log.predecessors.values()] == [State.READY]


async def test_damaged_header_is_noticed_at_the_start(path: Path, sound: tuple[Path, list[Batch]]) -> None:
    fold(path)
    data = bytearray(path.read_bytes())
    data[:100] = bytes(100)
    path.write_bytes(data)
    with SqliteLog.open(path) as log:
        assert log.head == 0
        await cared_for(log)
        (entry,) = log.predecessors.values()
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        assert sent_by(predecessor) == {batch.number: batch for batch in sound[1]}
        assert {tag.name for tag in predecessor.tags()} == {tag.name for tag in [*TAGS, *SYNC]}
        predecessor.close()


async def test_write_ahead_log_damaged_in_its_middle_costs_only_that_frame(
    path: Path, sound: tuple[Path, list[Batch]]
) -> None:
    """SQLite by itself would pass over all transactions behind the damage, without a word."""
    wal = path.with_name("log.sqlite3-wal")
    data = bytearray(wal.read_bytes())
    data[32 + (24 + PAGE_BYTES) * (len(data) // (24 + PAGE_BYTES) // 2) + 100] ^= 0x10
    wal.write_bytes(data)
    with SqliteLog.open(path) as log:
        await cared_for(log)
        (entry,) = log.predecessors.values()
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        held = sent_by(predecessor)
        predecessor.close()
    assert len([batch for batch in held.values() if batch is None]) <= 3
    assert all(batch is None or batch == sound[1][number - 1] for number, batch in held.items())
    assert max(held) == COUNT


async def test_large_batches_behind_damage_of_the_write_ahead_log_are_whole(
    path: Path, sound: tuple[Path, list[Batch]]
) -> None:
    """Their overflow pages lie behind it, too."""
    wal = path.with_name("log.sqlite3-wal")
    data = bytearray(wal.read_bytes())
    data[32 + (24 + PAGE_BYTES) + 3_000] ^= 0x10
    wal.write_bytes(data)
    with SqliteLog.open(path) as log:
        await cared_for(log)
        (entry,) = log.predecessors.values()
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        held = sent_by(predecessor)
        predecessor.close()
    large = [batch for batch in sound[1] if batch.number % 97 == 0 and batch.number > COUNT // 2 + 3]
    assert len(large) == 2
    assert [held[batch.number] for batch in large] == large


@pytest.mark.parametrize("at", [0, 6, 11, 13, 16, 23, 24, 31])
async def test_damaged_header_of_the_write_ahead_log_costs_nothing(
    path: Path, sound: tuple[Path, list[Batch]], at: int
) -> None:
    """SQLite by itself would take the whole of it for foreign, and write over it."""
    wal = path.with_name("log.sqlite3-wal")
    data = bytearray(wal.read_bytes())
    data[at] ^= 0x01
    wal.write_bytes(data)
    with SqliteLog.open(path) as log:
        await cared_for(log)
        (entry,) = log.predecessors.values()
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        held = sent_by(predecessor)
        predecessor.close()
    assert held == {batch.number: batch for batch in sound[1]}


async def test_torn_last_transaction_is_no_damage(path: Path, sound: tuple[Path, list[Batch]]) -> None:
    wal = path.with_name("log.sqlite3-wal")
    data = bytearray(wal.read_bytes())
    data[-50:] = bytes(50)
    wal.write_bytes(data)
    with SqliteLog.open(path) as log:
        assert not log.predecessors
        assert log.head == COUNT - 1
        assert log.read(1, COUNT) == sound[1][:-1]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
async def test_truncated_write_ahead_log_is_noticed_by_what_the_agent_said_last(
    path: Path, sound: tuple[Path, list[Batch]], part: float
) -> None:
    with LogReader.open(path) as reader:
        stream = reader.stream
    status = path.with_name("log.sqlite3.status.json")
    status.write_text(f'{{"log": {{"stream": "{stream}", "head": {COUNT}}}}}')
    wal = path.with_name("log.sqlite3-wal")
    os.truncate(wal, int(wal.stat().st_size * part))
    with SqliteLog.open(path) as log:
        assert log.stream != stream
        assert log.head == 0
        await cared_for(log)
        (entry,) = log.predecessors.values()
        assert entry.state is State.READY
        assert COUNT // 2 <= entry.head < COUNT
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        assert sent_by(predecessor) == {batch.number: batch for batch in sound[1][: entry.head]}
        predecessor.close()


async def test_file_cut_short_gives_what_is_left(path: Path, sound: tuple[Path, list[Batch]]) -> None:
    fold(path)
    os.truncate(path, path.stat().st_size * 2 // 3)
    with SqliteLog.open(path) as log:
        notice(log)
        await cared_for(log)
        (entry,) = log.predecessors.values()
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        held = sent_by(predecessor)
        found = [number for number, batch in held.items() if batch is not None]
        assert len(found) > COUNT // 3
        assert all(held[number] == sound[1][number - 1] for number in found)
        predecessor.close()


async def test_stream_or_acknowledged_number_with_a_wrong_digit_is_not_believed(path: Path) -> None:
    with SqliteLog.open(path) as log:
        stream = log.stream
        log.acknowledge(100)
    for key, flip in (("acked", b"100"), ("stream", str(stream).encode())):
        copy = path.with_name(f"{key}.sqlite3")
        shutil.copy(path, copy)
        data = copy.read_bytes()
        at = data.index(key.encode() + flip)
        wrong = bytearray(data)
        wrong[at + len(key)] ^= 0x01
        copy.write_bytes(wrong)
        with SqliteLog.open(copy) as log:
            assert log.acked == 0
            if key == "stream":
                await cared_for(log)
                assert log.stream != stream
                (entry,) = log.predecessors.values()
                assert (entry.stream, entry.state) == (str(stream), State.READY), "there is a second copy of it"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE spans SET trust = 'truster'",
        "UPDATE spans SET offset_ms = offset_ms + 65536",
        "INSERT INTO corrections VALUES (NULL, 1, 1, 9, 'a boot', 0, 5, 1, 0, 7, 8)",
        "DELETE FROM _sqlite_migrations",
        "DELETE FROM _sqlite_migrations WHERE name = '0005_clock_copy'",
        "DELETE FROM _sqlite_migrations WHERE name = '0002_limits_and_predecessors'",
        "UPDATE _sqlite_migrations SET name = '0005_clock_copz' WHERE name = '0005_clock_copy'",
        "UPDATE _sqlite_migrations SET migration_set = 'lms-agent-lof'",
        "PRAGMA application_id = 7",
        "ALTER TABLE batches RENAME COLUMN total TO totam",
        "ALTER TABLE meta RENAME TO metb",
    ],
)
async def test_what_no_agent_ever_wrote_is_set_aside_and_the_agent_starts(sql: str, path: Path) -> None:
    fold(path)
    with SqliteLog.open(path) as log:
        await log.change_clock(ClockChange(UUID(int=1), Change(5, Trust.TRUSTED, 0, False, "a test"), 9, 0))
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()
    with SqliteLog.open(path) as log:
        await asyncio.to_thread(log.remember, UUID(int=1))
        await cared_for(log)
        (entry,) = log.predecessors.values()
        assert entry.state is State.READY
        assert log.head == 0


async def test_whatever_bit_of_the_first_page_is_flipped_the_agent_starts(
    path: Path, tmp_path: Path, chance: random.Random
) -> None:
    """The header, and the schema: SQLite has many words for what it does not understand there."""
    fold(path)
    sound_bytes = path.read_bytes()
    for round_ in range(30):
        victim = tmp_path / str(round_) / "log.sqlite3"
        victim.parent.mkdir()
        at = chance.randrange(100) if round_ % 2 else chance.randrange(100, 2 * PAGE_BYTES)
        data = bytearray(sound_bytes)
        data[at] ^= 1 << chance.randrange(8)
        victim.write_bytes(data)
        try:
            with SqliteLog.open(victim) as log:
                await log.append("R1", [Reading(1, 1, 1.0)])
                await cared_for(log)
                assert log.predecessors or log.head == COUNT + 1
        except Exception as error:
            error.add_note(f"round {round_}, byte {at}")
            raise


async def test_empty_log_that_is_set_aside_has_nothing_to_send(tmp_path: Path) -> None:
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        log.doubt(Kind.RESTORED, "the cloud has more of it")
        await cared_for(log)
        (entry,) = log.predecessors.values()
        predecessor = Predecessor(entry, readable_path(log.path, entry), log)
        assert (predecessor.acked, predecessor.head) == (0, 0)
        assert predecessor.is_settled
        predecessor.close()


async def test_agent_can_begin_on_a_log_whatever_page_is_damaged(tmp_path: Path) -> None:
    """What an agent does with its log at the start, before anybody looks after it."""
    whole = tmp_path / "whole.sqlite3"
    with SqliteLog.open(whole) as log:
        await _begin(log)
        for number in range(1, 60):
            gaps = [Gap(log.next_gap_id(), (1, 2), number, None, "no reply")] if number % 10 == 0 else []
            await log.append("R1", [Reading(tag, 1_000 * number, 0.5) for tag in (1, 2) * 20], gaps)
    data = whole.read_bytes()
    for page in range(len(data) // PAGE_BYTES):
        path = tmp_path / str(page) / "log.sqlite3"
        path.parent.mkdir()
        at = page * PAGE_BYTES
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])  # what kind of page it is
        with SqliteLog.open(path) as log:
            await _begin(log)


async def _begin(log: SqliteLog) -> None:
    await Timekeeper.begin(Computer(), log, log.head, Rules())
    log.register_tags([*TAGS, *SYNC])
    log.tags()
