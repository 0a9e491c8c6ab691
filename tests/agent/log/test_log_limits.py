"""The log's limits of size and age: what goes, in which order, what is told of it, and what never goes."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from lms_agent.log.errors import LogWriteFailed
from lms_agent.log.limits.retention import DAY_MS, Limits
from lms_agent.log.reader import LogReader
from lms_agent.log.renewal.standing_in import stand_in
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Batch, Gap, Reading, TagDescription
from support.patience import awaiting, line_of

LIMIT = 1_000_000
TAGS = [TagDescription(0, device, name) for device in ("R1", "R2") for name in ("pH/PV", "Note")]
SYNC = [TagDescription(0, device, name, kind) for device in ("R1", "R2") for name, kind in SYNC_TAGS.items()]
TEXT = "x" * 4_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite3"


async def fill(log: SqliteLog, count: int, *, step_ms: int = 1_000) -> list[Batch]:
    """Append `count` batches of 4 kB, in turn for both bioreactors, `step_ms` apart."""
    appended = []
    for index in range(count):
        device, tag = ("R1", 2) if index % 2 else ("R2", 4)
        appended.append(await log.append(device, [Reading(tag, (log.head + 1) * step_ms, TEXT)]))
    return appended


async def until(fact: Callable[[], bool]) -> None:
    async with awaiting(line_of(fact)):
        while not fact():
            await asyncio.sleep(0.01)


def file_bytes(path: Path) -> int:
    return path.stat().st_size


async def test_acknowledged_batches_make_room_and_the_file_stays_bounded(path: Path) -> None:
    with SqliteLog.open(path, limits=Limits(max_bytes=LIMIT)) as log:
        log.register_tags([*TAGS, *SYNC])
        for _ in range(10):
            await fill(log, 100)
            log.acknowledge(log.head - 20)
        await until(lambda: log.first > 700)
        assert log.head == 1_000
        assert [batch.number for batch in log.read(1, 2_000)] == list(range(log.first, 1_001))
        assert log.retention.dropped_readings == 0
        assert log.retention.removed_batches == log.first - 1
    assert file_bytes(path) <= LIMIT
    with SqliteLog.open(path) as log:
        assert (await log.append("R1", [Reading(1, 1, 1.0)])).number == 1_001


async def test_the_id_of_a_removed_gap_is_never_given_again(path: Path) -> None:
    with SqliteLog.open(path, limits=Limits(keep_days=1)) as log:
        log.register_tags([*TAGS, *SYNC])
        ids = [log.next_gap_id() for _ in range(3)]
        for id_ in ids:
            await log.append("R1", (), [Gap(id_, (1,), 1_000, 2_000, "no reply")])
        await fill(log, 200, step_ms=DAY_MS // 50)
        log.acknowledge(log.head)
        await until(lambda: log.first > 50)
    with SqliteLog.open(path) as log:
        assert log.next_gap_id() == max(ids) + 1, "under a known id the cloud takes a gap for the one it has"


async def test_the_newest_reading_of_a_slow_tag_outlives_its_batch(path: Path) -> None:
    with SqliteLog.open(path, limits=Limits(keep_days=1)) as log:
        log.register_tags([*TAGS, *SYNC])
        await log.append("R1", [Reading(1, 1_000, 7.2)])
        await fill(log, 200, step_ms=DAY_MS // 50)
        log.acknowledge(log.head)
        await until(lambda: log.first > 50)
        with LogReader.open(path) as reader:  # as the agent's next start would, if it was killed now
            assert reader.latest().readings[1] == Reading(1, 1_000, 7.2)


async def test_unacknowledged_batches_are_kept_and_the_log_says_that_it_is_full(path: Path) -> None:
    with SqliteLog.open(path, limits=Limits(max_bytes=LIMIT)) as log:
        log.register_tags([*TAGS, *SYNC])
        with pytest.raises(LogWriteFailed, match="limit of 1 MB") as caught:
            await fill(log, 1_000)
        assert "log_max_bytes" in str(caught.value)
        assert log.retention.full
        head = log.head
        assert [batch.number for batch in log.read(1, 2_000)] == list(range(1, head + 1))
        log.acknowledge(50)
        await fill(log, 10)  # what the cloud has taken made room
        assert log.head == head + 10
        assert log.retention.dropped_readings == 0
        assert log.first <= 51
    assert file_bytes(path) <= LIMIT


async def test_oldest_unacknowledged_are_dropped_only_when_allowed_and_told_as_gaps(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SqliteLog.open(path, limits=Limits(max_bytes=LIMIT, drop_oldest=True)) as log:
        tags = log.register_tags([*TAGS, *SYNC])
        heard: list[int] = []
        log.listen(lambda batch: heard.append(batch.number))
        appended = await fill(log, 600)
        await until(lambda: log.retention.dropped_batches > 300)
        await until(lambda: log.retention.dropped_batches == log.first - 1)
        assert heard == list(range(1, log.head + 1)), "batches that tell of drops are announced like any other"
        kept = log.read(1, 2_000)
        first = log.first
        assert [batch.number for batch in kept] == list(range(first, log.head + 1))
        sent = [stand_in(log, number, "") for number in range(1, first)] + kept
        for device in ("R1", "R2"):
            mine = [gap for batch in sent if batch.device == device for gap in batch.gaps]
            own = {tag.number for tag in tags if tag.device == device and not tag.name.startswith("Sync/")}
            assert all(set(gap.tags) == own for gap in mine)
            lost = [b.readings[0].taken_at_ms for b in appended if b.number < first and b.device == device]
            assert lost
            assert all(any(gap.began_at_ms <= at <= (gap.ended_at_ms or 0) for gap in mine) for at in lost)
        gaps = [gap for batch in sent for gap in batch.gaps]
        assert len({gap.id for gap in gaps}) == len(gaps)
        assert sum(int(gap.reason.split()[0]) for gap in gaps) == sum(1 for b in appended if b.number < first)
    assert [r.levelno for r in caplog.records if "DROPPED" in r.message] == [logging.ERROR]
    with LogReader.open(path) as reader:
        status = reader.status()
        assert (status.first, status.dropped_batches) == (first, first - 1)
        assert status.dropped_readings == sum(1 for batch in appended if batch.number < first)
    assert file_bytes(path) <= LIMIT


async def test_dropped_number_has_a_stand_in_that_tells_its_gaps_again(path: Path) -> None:
    with SqliteLog.open(path, limits=Limits(max_bytes=LIMIT, drop_oldest=True)) as log:
        log.register_tags([*TAGS, *SYNC])
        gap = Gap(log.next_gap_id(), (3,), 5, None, "no reply")
        await log.append("R2", [Reading(3, 5, 1.0)], [gap])
        await fill(log, 400)
        await until(lambda: log.first > 100)
        assert stand_in(log, 1, "").gaps == (gap,)
        assert stand_in(log, 1, "").device == "R2"
        assert (stand_in(log, 2, "").readings, stand_in(log, 2, "").gaps) == ((), ())
        assert log.open_gaps()[0] == ("R2", gap)
    with SqliteLog.open(path) as log:
        assert log.next_gap_id() == 2, "ids of gaps about drops are a range of their own"


async def test_acknowledged_readings_go_when_they_are_too_old(path: Path) -> None:
    with SqliteLog.open(path, limits=Limits(keep_days=2)) as log:
        await fill(log, 200, step_ms=DAY_MS // 20)
        log.acknowledge(150)
        await fill(log, 1, step_ms=DAY_MS // 20)
        await until(lambda: log.first > 100)
        newest_ms = log.read(log.head, 1)[0].readings[0].taken_at_ms
        kept = log.read(1, 1_000)
        assert kept[0].number <= 151, "unacknowledged readings have no age"
        assert all(r.taken_at_ms >= newest_ms - 5 * DAY_MS for batch in kept for r in batch.readings)
        assert log.retention.dropped_readings == 0


async def test_newest_batch_always_stays(path: Path) -> None:
    with SqliteLog.open(path, limits=Limits(keep_days=0.001)) as log:
        await fill(log, 100, step_ms=DAY_MS)
        log.acknowledge(100)
        await until(lambda: log.first >= 60)
    with SqliteLog.open(path) as log:
        assert log.head == 100
        assert log.acked == 100


async def test_kill_between_bites_leaves_one_run_of_numbers(path: Path) -> None:
    """Retention is part of transactions: whatever copy of the file is taken, it holds one run of numbers."""
    with SqliteLog.open(path, limits=Limits(max_bytes=LIMIT, drop_oldest=True)) as log:
        log.register_tags([*TAGS, *SYNC])
        for round_ in range(5):
            await fill(log, 100)
            if round_ == 2:
                log.acknowledge(120)
            with LogReader.open(path) as reader:
                numbers = [batch.number for batch in reader.read(1, 2_000)]
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
