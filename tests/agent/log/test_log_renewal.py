"""A new log is begun: crashes at any moment of it, and disks that refuse."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from lms_agent.clock import SystemClock
from lms_agent.log.care import Care
from lms_agent.log.damage.salvage import wal_path
from lms_agent.log.errors import LogUnavailable, LogWriteFailed
from lms_agent.log.limits.retention import Limits
from lms_agent.log.opening import prepare
from lms_agent.log.renewal.predecessor import Predecessor
from lms_agent.log.renewal.predecessors import Kind, State, readable_path
from lms_agent.log.renewal.renewing import finish, write_intention
from lms_agent.log.sqlite_log import SqliteLog, Trouble
from lms_protocol.reading import Gap, Reading, TagDescription
from support.loop_disk import loop_disk

CHILD = Path(__file__).parent / "children" / "renew_for_ever.py"


async def killed_writer(path: Path, first: int, after_lines: int, seed: int) -> list[int]:
    """Run a writer whose log is set aside all the time, kill it once it has said so many values; what it said."""
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), str(path), str(first), str(seed), stdout=write, stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = await asyncio.to_thread(lambda: [pipe.readline() for _ in range(after_lines)])
        process.kill()
        await process.wait()
        said += await asyncio.to_thread(pipe.readlines)
    return [int(line) for line in said if line.endswith(b"\n")]


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


async def test_kill_9_while_logs_are_set_aside_loses_and_doubles_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("LMS_TEST_SEED", random.randrange(1 << 32)))
    print(f"LMS_TEST_SEED={seed}")
    chance = random.Random(seed)
    path = tmp_path / "log.sqlite3"
    said: list[int] = []
    unfinished = 0
    for round_ in range(8):
        said += await killed_writer(path, 100_000 * (round_ + 1), chance.randrange(1, 4_000), chance.randrange(1 << 30))
        unfinished += path.with_name("log.sqlite3.setting-aside").exists()
    print(f"{unfinished} times the intention was left unfinished")
    with SqliteLog.open(path) as log:
        care = Care(log, SystemClock())
        await care.look()
        values = held(log)
        assert len(log.predecessors) > 1
    assert [value for value in said if values[float(value)] != 1] == []
    assert max(values.values()) == 1
    assert len(said) > 100


@pytest.mark.parametrize("reached", ["written down", "renamed", "renamed with its write-ahead log", "made", "in place"])
async def test_power_cut_at_any_step_is_made_good_by_the_next_start(reached: str, tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    log = SqliteLog.open(path)
    log.register_tags([TagDescription(0, "R1", "pH/PV")])
    made = [await log.append("R1", [Reading(1, number, number / 7)]) for number in range(20)]
    intention = log._intention(Trouble(Kind.RESTORED, "a test wants it so"), 1_700_000_000_000)
    copies = tmp_path / "copies"
    copies.mkdir()
    for name in ("log.sqlite3", "log.sqlite3-wal"):
        shutil.copy(tmp_path / name, copies / name)  # as the power cut leaves them
    log.close()
    path = copies / "log.sqlite3"
    aside = path.with_name(intention.aside)
    write_intention(path, intention)
    if reached != "written down":
        path.rename(aside)
    if reached not in {"written down", "renamed"}:
        wal_path(path).rename(wal_path(aside))
    if reached == "made":
        path.with_name("log.sqlite3.new").write_bytes(b"half of it")
    if reached == "in place":
        finish(path)
        write_intention(path, intention)  # all is done but taking it away
    with SqliteLog.open(path) as again:
        assert str(again.stream) == intention.new_stream
        assert again.head == 0
        (entry,) = again.predecessors.values()
        prepare(aside)
        predecessor = Predecessor(entry, readable_path(path, entry), again)
        assert [predecessor.get(number) for number in range(1, predecessor.head + 1)] == made
        predecessor.close()
        assert (await again.append("R1", [Reading(1, 1, 1.0)])).number == 1
    assert not path.with_name("log.sqlite3.setting-aside").exists()
    with SqliteLog.open(path) as again:
        assert (str(again.stream), again.head) == (intention.new_stream, 1)


async def test_new_log_keeps_numbers_of_tags_open_gaps_and_newest_readings(tmp_path: Path) -> None:
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        tags = log.register_tags([TagDescription(0, "R1", name) for name in ("pH/PV", "DO/PV")])
        gap = Gap(log.next_gap_id(), (1,), 5, None, "no reply")
        await log.append("R1", [Reading(1, 5, 1.0), Reading(2, 6, 2.0)], [gap])
        await log.set_bd_seq(7)
        stream = log.stream
        care = Care(log, SystemClock())
        log.doubt(Kind.DAMAGED, "a test wants it so")
        await care.look()
        assert log.stream != stream
        assert log.register_tags(tags) == tags
        assert log.open_gaps() == [("R1", gap)]
        assert log.next_gap_id() == 2
        assert log.bd_seq == 7
        assert {tag: reading.value for tag, reading in log.latest().items()} == {1: 1.0, 2: 2.0}
        await log.append("R1", [Reading(1, 7, 1.5)], [gap._replace(ended_at_ms=7)])
        assert log.open_gaps() == []


async def test_what_was_written_before_the_exchange_is_not_taken_for_the_new_logs(tmp_path: Path) -> None:
    """The event loop was busy, and heard of it only afterwards: sent under the new stream, it would be there twice."""
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        log.register_tags([TagDescription(0, "R1", "pH/PV")])
        heard: list[float] = []
        late: list[float] = []
        log.listen(lambda batch: heard.append(batch.readings[0].value))  # type: ignore[arg-type]
        log.listen(lambda batch: late.append(batch.readings[0].value), late=True)  # type: ignore[arg-type]
        appending = asyncio.create_task(log.append("R1", [Reading(1, 1, 1.0)]))
        await asyncio.sleep(0)
        while log._writer._head == 0:
            time.sleep(0.001)
        remains = log.renew(Trouble(Kind.DAMAGED, "a test wants it so"), 5)
        log.told_renewed()
        assert (await appending).number == 1, "it is in the log that was set aside"
        assert (log.head, log.recent(1), heard, late) == (0, None, [], [1.0])
        assert (await log.append("R1", [Reading(1, 2, 2.0)])).number == 1
        assert heard == [2.0]
        remains.reader.close()
        await Care(log, SystemClock()).look()
        assert held(log) == {1.0: 1, 2.0: 1}


async def test_log_that_vanished_while_nobody_looked_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log.sqlite3"
    path.with_name("log.sqlite3.status.json").write_text('{"log": {"stream": "an earlier one", "head": 77}}')
    with SqliteLog.open(path) as log:
        assert log.head == 0
    assert "ALARM" in caplog.text
    assert "77 batches" in caplog.text


async def test_deleted_and_lost_with_the_power_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file had no name any more, and the agent died before it had copied what was in it."""
    path = tmp_path / "log.sqlite3"
    log = SqliteLog.open(path)
    log.register_tags([TagDescription(0, "R1", "pH/PV")])
    await log.append("R1", [Reading(1, 1, 1.0)])
    path.unlink()
    trouble = log.files.look()
    assert trouble is not None
    remains = log.renew(trouble, 5)  # type: ignore[arg-type]
    remains.reader.close()
    log.close()
    with SqliteLog.open(path) as log:
        await Care(log, SystemClock()).look()
        (entry,) = log.predecessors.values()
        assert entry.state is State.LOST
    assert "nothing can be read" in caplog.text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


async def test_full_disk_leaves_no_hole_and_takes_readings_again_when_there_is_room(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1_000_000))
    with SqliteLog.open(small_disk / "log.sqlite3", limits=Limits(max_bytes=1_000_000_000)) as log:
        refused = ""
        while not refused:
            try:
                await log.append("R1", [Reading(1, log.head, "x" * 2_000)])
            except LogWriteFailed as error:
                refused = str(error)
        assert "the disk is full" in refused
        assert "free some space" in refused
        head = log.head
        assert [batch.number for batch in log.read(1, 10_000)] == list(range(1, head + 1))
        filler.unlink()
        for number in range(20):
            await log.append("R1", [Reading(1, number, "x" * 2_000)])
        assert [batch.number for batch in log.read(1, 10_000)] == list(range(1, head + 21))
        assert log.retention.dropped_readings == 0
        assert log.trouble is None, "a disk that refuses is no damage"


async def test_disk_that_becomes_read_only_loses_nothing_that_was_logged(tmp_path: Path) -> None:
    with loop_disk(tmp_path, size_mib=16, options="noatime,errors=remount-ro") as disk:
        path = disk.path / "log.sqlite3"
        with SqliteLog.open(path) as log:
            made = [await log.append("R1", [Reading(1, number, 1.0)]) for number in range(10)]
            await asyncio.to_thread(disk.report_error)
            with pytest.raises(LogWriteFailed):  # of a file that was open, SQLite calls it an input/output error
                await log.append("R1", [Reading(1, 10, 1.0)])
            with pytest.raises(LogWriteFailed, match=r"read-only.*make it writable"):
                await log.append("R1", [Reading(1, 10, 1.0)])
            assert log.read(1, 100) == made, "what is there can be sent meanwhile"
            assert log.trouble is None, "a disk that refuses is no damage"
        for step in (disk.unmount, disk.check, disk.mount):  # the boot that repairs it
            await asyncio.to_thread(step)
        with SqliteLog.open(path) as log:
            assert log.read(1, 100) == made
            assert (await log.append("R1", [Reading(1, 11, 1.0)])).number == 11


async def test_damaged_log_on_a_full_disk_waits_as_it_is_and_says_what_to_do(small_disk: Path) -> None:
    path = small_disk / "log.sqlite3"
    with SqliteLog.open(path) as log:
        log.register_tags([TagDescription(0, "R1", "pH/PV")])
        made = await log.append("R1", [Reading(1, 1, 1.0)])
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(LogUnavailable, match="free some space"):
        SqliteLog.open(path)
    filler.unlink()
    with SqliteLog.open(path) as log:
        await Care(log, SystemClock()).look()
        (entry,) = log.predecessors.values()
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        assert predecessor.get(1) == made
        predecessor.close()


async def test_new_log_waits_for_a_disk_that_takes_it(small_disk: Path) -> None:
    path = small_disk / "log.sqlite3"
    with SqliteLog.open(path) as log:
        log.register_tags([TagDescription(0, "R1", "pH/PV")])
        batch = await log.append("R1", [Reading(1, 1, 1.0)])
        stream = log.stream
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        care = Care(log, SystemClock())
        log.doubt(Kind.RESTORED, "a test wants it so")
        await care.look()
        with pytest.raises(LogWriteFailed):
            await log.append("R1", [Reading(1, 2, 1.0)])
        filler.unlink()
        await care.look()
        assert log.stream != stream
        assert (await log.append("R1", [Reading(1, 3, 3.0)])).number == 1
        (entry,) = log.predecessors.values()
        predecessor = Predecessor(entry, readable_path(path, entry), log)
        assert predecessor.get(1) == batch
        predecessor.close()
