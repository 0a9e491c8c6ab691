"""A new log under a running agent, and other settings: the agent's time goes on, and corrections are not lost."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from lms_agent.clock import SystemClock
from lms_agent.log.absence import TAKING_OVER, Absence
from lms_agent.log.care import Care
from lms_agent.log.errors import LogMalformed
from lms_agent.log.renewal.predecessor import Predecessor
from lms_agent.log.renewal.predecessors import Kind, readable_path
from lms_protocol.batches import digest
from lms_protocol.reading import Batch, Gap, Quality, Reading
from support.clocks import Bench, Pi, taken, truth


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "log.sqlite3", Pi())
    yield made
    made.stop()


def digests(batches: list[Batch]) -> list[bytes]:
    return [digest(batch.device, batch.number, batch.readings, batch.gaps, batch.clock) for batch in batches]


async def set_aside(bench: Bench) -> list[Batch]:
    """Begin a new log, and return what is to be sent of the old one."""
    care = Care(bench.log, SystemClock(), restamp=bench.keeper.renewed)
    bench.log.doubt(Kind.DAMAGED, "the test says so")
    for _ in range(3):
        await care.look()
    (entry,) = bench.log.predecessors.values()
    predecessor = Predecessor(entry, readable_path(bench.log.path, entry), bench.log)
    try:
        return [predecessor.get(number) for number in range(1, predecessor.head + 1)]
    finally:
        predecessor.close()


@pytest.mark.parametrize("file_is_readable", [True, False])
async def test_batches_of_a_log_that_was_set_aside_are_sent_as_they_were_corrected(
    bench: Bench, file_is_readable: bool
) -> None:
    await bench.start()
    await bench.seconds(10)
    bench.pi.synchronise()
    await bench.seconds(5)
    before = bench.all()
    if not file_is_readable:  # what is left is read page by page, without SQLite

        def refuse() -> None:
            raise LogMalformed(bench.path, "database disk image is malformed")

        bench.log._reader.corrections = refuse  # type: ignore[method-assign,assignment]
    after = await set_aside(bench)
    assert digests(after) == digests(before)
    assert taken(after) == truth(after)


async def test_new_log_goes_on_with_the_same_time(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(10)
    bench.pi.synchronise()
    await bench.seconds(5)
    waiting_ms, true_ms = bench.keeper.stamps.wall_ms(), bench.pi.true_ms
    await set_aside(bench)
    reading = Reading(bench.tags[0].number, waiting_ms, true_ms / 1000)
    await bench.log.append("R1", [reading])  # taken before, and had to wait for the new log
    await bench.seconds(3)
    batches = bench.all()
    assert taken(batches) == truth(batches)
    assert batches[0].clock is not None
    assert batches[0].clock.boot == bench.pi.boot
    assert batches[0].clock.trusted
    assert bench.keeper.first_held is None


async def test_time_of_a_log_set_aside_before_it_was_known_is_an_estimate(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(10)
    batches = await set_aside(bench)
    assert {reading.quality for batch in batches for reading in batch.readings} == {Quality.UNCERTAIN}
    assert batches[0].clock is not None
    assert batches[0].clock.estimated
    assert bench.keeper.first_held == 1
    await bench.seconds(3)
    bench.pi.synchronise()
    await bench.seconds(3)
    assert taken(bench.all()) == truth(bench.all())


async def test_gaps_of_other_settings_after_a_correction_have_true_times(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(3)
    began_ms = bench.keeper.stamps.wall_ms()
    await bench.read([Gap(bench.log.next_gap_id(), (2,), began_ms, None, "no reply")])
    bench.pi.synchronise()
    await bench.seconds(3)
    last_true_ms = truth(bench.all())[-1]
    absence = Absence(bench.log, [[1], [2]], reason=TAKING_OVER, bearable_ms={1: 0, 2: 0})
    bench.pi.run(20_000)
    now_ms, true_ms = bench.keeper.stamps.wall_ms(), bench.pi.true_ms
    (gap,) = absence.before([Reading(1, now_ms, 1.0)])
    (taken_over,) = absence.open_gaps
    closed = taken_over._replace(ended_at_ms=max(now_ms, taken_over.began_at_ms))
    batch = await bench.log.append("R1", [Reading(1, now_ms, 1.0)], [gap, closed])
    first, second = batch.gaps
    assert (first.began_at_ms, first.ended_at_ms) == (last_true_ms, true_ms)
    assert second.ended_at_ms == true_ms
    assert second.began_at_ms < last_true_ms


def copy_of(bench: Bench, to: Path) -> Path:
    """What somebody copies from the disk while the agent runs."""
    with closing(sqlite3.connect(bench.path)) as connection, closing(sqlite3.connect(to)) as copy:
        connection.backup(copy)
    return to


@pytest.mark.parametrize("way", ["synchronised", "untrusted"])
async def test_copies_of_a_log_without_a_time_know_their_batches_as_the_same(
    bench: Bench, tmp_path: Path, way: str
) -> None:
    """One gets the right time, or is sent as it is; the other is started in another boot, and estimates."""
    if way == "untrusted":
        bench.pi.wrong_by_ms = 0
    await bench.start()
    await bench.seconds(5)
    copied = copy_of(bench, tmp_path / "copy.sqlite3")
    if way == "synchronised":
        bench.pi.synchronise()
    else:
        await bench.seconds(70)
        await bench.keeper.settle()
    await bench.seconds(5)
    sent = bench.log.read(1, 5)
    other = Bench(copied, bench.pi)
    bench.stop()
    other.pi.power_cut()
    await other.start()
    other.pi.synchronise()
    await other.seconds(5)
    again = other.log.read(1, 5)
    other.stop()
    assert [batch.logged for batch in again] == [batch.logged for batch in sent]
    assert None not in [batch.logged for batch in sent]
    assert len({batch.logged for batch in sent}) == 5
    assert digests(again) != digests(sent), "their times differ"


async def test_batches_logged_once_the_time_is_known_are_known_by_what_they_say(bench: Bench) -> None:
    await bench.start()
    bench.pi.synchronise()
    await bench.seconds(10)
    assert [batch.logged is None for batch in bench.all()] == [batch.number > 1 for batch in bench.all()]


async def test_open_times_of_an_older_copy_that_is_set_aside_count_as_estimated(bench: Bench) -> None:
    """They were sent as they were, as if nobody doubted them."""
    await bench.start()
    await bench.seconds(3)
    before = bench.all()
    bench.log.doubt(Kind.RESTORED, "the test says so")
    care = Care(bench.log, SystemClock(), restamp=bench.keeper.renewed)
    await care.look()
    (entry,) = bench.log.predecessors.values()
    predecessor = Predecessor(entry, readable_path(bench.log.path, entry), bench.log)
    after = predecessor.read(1, 100)
    predecessor.close()
    assert [r.taken_at_ms for b in after for r in b.readings] == [r.taken_at_ms for b in before for r in b.readings]
    assert {r.quality for b in after for r in b.readings} == {Quality.UNCERTAIN}
    assert after[0].clock is not None
    assert after[0].clock.estimated
    assert None not in {batch.logged for batch in after}
