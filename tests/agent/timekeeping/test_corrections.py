"""What the log makes of a clock that is wrong, comes right, steps, or never comes right: on real files."""

import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from lms_agent.log.jobs import Entry
from lms_agent.log.reader import LogReader
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.batches import digest
from lms_protocol.reading import Batch, Gap, Quality, Reading
from support.clocks import HOUR_MS, TRUE_MS, Bench, Pi, taken, truth


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path / "log.sqlite3", Pi())
    yield made
    made.stop()


def digests(batches: list[Batch]) -> list[bytes]:
    return [digest(batch.device, batch.number, batch.readings, batch.gaps, batch.clock) for batch in batches]


def intervals(times: list[int]) -> list[int]:
    return [later - earlier for earlier, later in pairwise(times)]


def records(path: Path) -> list[tuple[int, bytes]]:
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT number, record FROM batches ORDER BY number").fetchall()


async def test_boot_in_1970_is_corrected_to_the_true_time_once_it_is_known(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(90)
    assert bench.keeper.first_held == 1
    assert taken(bench.all()) != truth(bench.all())
    assert {batch.clock.trusted for batch in bench.all() if batch.clock} == {False}
    before = records(bench.path)
    bench.pi.synchronise()
    await bench.seconds(5)
    batches = bench.all()
    assert taken(batches) == truth(batches)
    assert bench.keeper.first_held is None
    assert records(bench.path)[: len(before)] == before, "records are not rewritten"
    first = batches[0].clock
    assert first is not None
    assert (first.boot, first.trusted, first.estimated) == (bench.pi.boot, True, False)
    assert taken(batches)[0] - first.offset_ms == 6_000, "time since boot of the first reading"
    assert first.correction_ms > 0


async def test_correction_is_written_down(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(10)
    bench.pi.synchronise()
    await bench.seconds(3)
    with LogReader.open(bench.path) as reader:
        (correction,) = reader.corrections().rows
    assert (correction.first, correction.boot, correction.trusted) == (1, str(bench.pi.boot), True)
    assert correction.shift_ms == bench.all()[0].clock.correction_ms  # type: ignore[union-attr]
    assert abs(correction.at_ms - bench.pi.true_ms) <= 3_000


async def test_what_may_be_sent_never_changes_again(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(10)
    bench.pi.synchronise()
    await bench.seconds(3)
    sendable = digests(bench.all())
    for step_ms in (HOUR_MS, -2 * HOUR_MS):
        bench.pi.wrong_by_ms += step_ms
        await bench.seconds(40)
        assert digests(bench.all())[: len(sendable)] == sendable
    await bench.restart()
    assert digests(bench.all())[: len(sendable)] == sendable
    await bench.power_cut()
    await bench.seconds(10)
    bench.pi.synchronise()
    await bench.seconds(3)
    assert digests(bench.all())[: len(sendable)] == sendable


async def test_nothing_that_was_not_sent_keeps_a_later_boot_from_the_true_time(bench: Bench) -> None:
    bench.pi.boot_ms_, bench.pi.wrong_by_ms = 100_000, 0
    await bench.start()
    await bench.seconds(600)  # without a network: plausible, but nobody vouches for it
    await bench.power_cut(60_000)
    bench.pi.synchronise()
    await bench.seconds(5)
    assert taken(bench.all())[-5:] == truth(bench.all())[-5:]
    assert bench.keeper.state.trust == "trusted"
    assert intervals(taken(bench.all())) == intervals(truth(bench.all()))


async def test_clock_set_years_ahead_and_back_is_followed_over_a_restart(bench: Bench) -> None:
    bench.pi.boot_ms_, bench.pi.wrong_by_ms = 100_000, 0
    await bench.start()
    await bench.seconds(5)
    bench.pi.wrong_by_ms = 10 * 365 * 24 * HOUR_MS
    await bench.seconds(40)
    assert taken(bench.all())[-1] - truth(bench.all())[-1] == bench.pi.wrong_by_ms
    await bench.restart()
    bench.pi.wrong_by_ms = 0
    await bench.seconds(40)
    assert taken(bench.all()) == truth(bench.all()), "times that move with the clock do not prove it wrong"


async def test_every_way_of_reading_shows_corrected_times(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(30)
    bench.pi.synchronise()
    await bench.seconds(5)
    true_ms = truth(bench.all())
    with LogReader.open(bench.path) as reader:
        assert taken([reader.get(1)]) == true_ms[:1]
        assert taken(reader.last(35)) == true_ms
        assert taken(list(reader.after(0))) == true_ms
        assert taken(list(reader.between(true_ms[10], true_ms[20]))) == true_ms[10:20]
        assert reader.extent(3)[1:] == (true_ms[2], true_ms[2])
        status = reader.status()
        assert (status.began_at_ms, status.ended_at_ms) == (true_ms[0], true_ms[-1])
        assert {reading.taken_at_ms for reading in reader.latest().readings.values()} == {true_ms[-1]}
    assert {reading.taken_at_ms for reading in bench.log.latest().values()} == {true_ms[-1]}
    assert taken([bench.log.get(5)]) == [true_ms[4]]


async def test_newest_readings_are_corrected_without_a_new_one(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(3)
    bench.pi.synchronise()
    for _ in range(2):
        bench.pi.run(1000)
        await bench.keeper.look()
    expected = {truth(bench.all())[-1]}
    assert {reading.taken_at_ms for reading in bench.log.latest().values()} == expected
    await bench.restart()
    assert {reading.taken_at_ms for reading in bench.log.latest().values()} == expected


async def test_power_cut_before_the_time_is_known_leaves_an_estimate_in_order(bench: Bench) -> None:
    bench.pi.synchronise()
    await bench.start()
    await bench.seconds(5)
    await bench.power_cut()
    await bench.seconds(100)
    await bench.power_cut()
    began_ms = bench.pi.true_ms - bench.pi.boot_ms()
    assert bench.keeper.first_held == 6
    bench.pi.synchronise()
    await bench.seconds(5)
    batches = bench.all()
    assert bench.keeper.first_held is None
    times = taken(batches)
    assert times == sorted(times)
    assert intervals(times[5:105]) == [1000] * 99
    assert times[4] < times[5]
    assert times[104] < began_ms
    assert {reading.quality for batch in batches[5:105] for reading in batch.readings} == {Quality.UNCERTAIN}
    assert {reading.quality for batch in batches[105:] for reading in batch.readings} == {Quality.GOOD}
    estimate = batches[5].clock
    assert estimate is not None
    assert (estimate.estimated, estimate.trusted) == (True, False)
    assert times[105:] == truth(batches[105:])


async def test_several_boots_without_time_keep_their_order(bench: Bench) -> None:
    await bench.start()
    for _ in range(3):
        await bench.seconds(20)
        await bench.power_cut()
    bench.pi.synchronise()
    await bench.seconds(5)
    times = taken(bench.all())
    assert len(times) == 65
    assert times == sorted(times)
    assert len(set(times)) == 65
    assert times[60:] == truth(bench.all())[60:]
    with LogReader.open(bench.path) as reader:
        assert sum(row.estimated for row in reader.corrections().rows) == 3


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS])
async def test_step_of_an_hour_never_reorders_readings(bench: Bench, step_ms: int) -> None:
    bench.pi.synchronise()
    await bench.start()
    await bench.seconds(10)
    bench.pi.wrong_by_ms += step_ms
    await bench.seconds(60)
    batches = bench.all()
    times = taken(batches)
    assert times == sorted(times)
    clock = [batch.clock for batch in batches if batch.clock][-1]
    if step_ms < 0:
        assert intervals(times) == [1000] * 69
        assert (clock.error_ms, clock.trusted) == (-HOUR_MS, False)
    else:
        assert sorted(intervals(times)) == [1000] * 68 + [HOUR_MS + 1000]
        assert (clock.correction_ms, clock.trusted) == (HOUR_MS, True)
    assert {(b.readings[0].taken_at_ms - offset) % 1000 for b, offset in with_offsets(batches)} == {0}


def with_offsets(batches: list[Batch]) -> list[tuple[Batch, int]]:
    """Each batch with the offset that holds for it, as a reader of the records knows it."""
    offset, pairs = None, []
    for batch in batches:
        offset = batch.clock.offset_ms if batch.clock is not None else offset
        assert offset is not None, "the first batch says it"
        pairs.append((batch, offset))
    return pairs


async def test_time_since_boot_of_every_reading_is_known_through_it_all(bench: Bench) -> None:
    since_boot: list[int] = []

    async def run(seconds: int) -> None:
        for _ in range(seconds):
            await bench.seconds(1)
            since_boot.append(bench.pi.boot_ms())

    await bench.start()
    await run(20)
    bench.pi.synchronise()
    await run(20)
    bench.pi.wrong_by_ms += HOUR_MS
    await run(40)
    await bench.restart()
    await run(5)
    await bench.power_cut()
    await run(10)
    bench.pi.synchronise()
    await run(5)
    pairs = with_offsets(bench.all())
    assert [batch.readings[0].taken_at_ms - offset for batch, offset in pairs] == since_boot


async def test_restart_in_the_same_boot_continues_with_the_same_offset(bench: Bench) -> None:
    bench.pi.synchronise()
    await bench.start()
    await bench.seconds(5)
    bench.pi.wrong_by_ms = -HOUR_MS
    await bench.restart()
    await bench.seconds(5)
    assert intervals(taken(bench.all())) == [1000] * 9
    assert taken(bench.all()) == truth(bench.all())


async def test_restart_while_the_clock_is_wrong_is_corrected_as_one(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(5)
    await bench.restart()
    await bench.seconds(5)
    bench.pi.synchronise()
    await bench.seconds(3)
    assert taken(bench.all()) == truth(bench.all())


async def test_gap_over_a_correction_has_its_ends_where_they_belong(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(3)
    began_ms, true_began_ms = bench.keeper.stamps.wall_ms(), bench.pi.true_ms
    await bench.read([Gap(1, (2,), began_ms, None, "no reply")])
    await bench.seconds(3)
    bench.pi.synchronise()
    await bench.seconds(3)
    ended_ms = bench.keeper.stamps.wall_ms()
    closing = await bench.read([Gap(1, (2,), began_ms, ended_ms, "no reply")])
    told = [gap for batch in bench.all() for gap in batch.gaps]
    assert [(gap.began_at_ms, gap.ended_at_ms) for gap in told] == [
        (true_began_ms, None),
        (true_began_ms, bench.pi.true_ms),
    ]
    assert closing.gaps == bench.all()[-1].gaps
    ((_, in_table),) = bench.log.gaps_told_by(closing.number)
    assert in_table == told[-1]


async def test_scan_that_waited_in_memory_over_the_correction_gets_the_right_time(bench: Bench) -> None:
    await bench.start()
    await bench.seconds(3)
    waiting_ms, true_ms = bench.keeper.stamps.wall_ms(), bench.pi.true_ms
    bench.pi.synchronise()
    await bench.seconds(3)
    reading = bench.all()[0].readings[0]._replace(taken_at_ms=waiting_ms)
    batch = await bench.log.append("R1", [reading])
    assert batch.readings[0].taken_at_ms == true_ms


async def test_untrusted_time_is_final_once_sent_and_the_distance_is_told(bench: Bench) -> None:
    bench.pi.boot_ms_, bench.pi.wrong_by_ms = HOUR_MS, -HOUR_MS
    await bench.start()
    await bench.seconds(5)
    assert bench.keeper.first_held == 1, "nobody has asked to send yet: the time may still come"
    await bench.keeper.settle()
    assert bench.keeper.first_held is None
    sent = digests(bench.all())
    bench.pi.synchronise()
    await bench.seconds(40)
    batches = bench.all()
    assert digests(batches)[:5] == sent
    clock = [batch.clock for batch in batches if batch.clock][-1]
    assert (clock.correction_ms, clock.trusted) == (HOUR_MS, True)
    assert taken(batches)[-1] == bench.pi.true_ms


async def test_imported_history_is_not_moved_by_a_correction(bench: Bench, tmp_path: Path) -> None:
    await bench.start()
    await bench.seconds(3)
    bench.stop()
    imported = tuple(Reading(1, TRUE_MS - 10 * HOUR_MS + n, 1.0) for n in range(5))
    with SqliteLog.open(bench.path) as log:
        log.append_all([Entry("R1", imported)])
    await bench.start()
    await bench.seconds(3)
    bench.pi.synchronise()
    await bench.seconds(3)
    batches = bench.all()
    assert batches[3].readings == imported
    del batches[3]
    assert taken(batches) == truth(batches)


async def test_readings_without_a_time_stay_behind_what_is_final_though_this_boot_began_before_that(
    bench: Bench,
) -> None:
    """As after a clock that was a few seconds ahead."""
    bench.pi.synchronise()
    await bench.start()
    await bench.seconds(1)
    for _ in range(2):
        await bench.power_cut(off_ms=1000)  # the boot takes five seconds
        await bench.seconds(1)
    bench.pi.synchronise()
    await bench.seconds(2)
    times = taken(bench.all())
    assert len(times) == 5
    assert times == sorted(set(times))
