"""Scans lie on a fixed grid: no drift, no burst, and what was missed is told."""

import asyncio

import pytest
from lms_agent.sampling.outlet import Outlet
from lms_agent.sampling.sampling import sample_line


async def run(line, clock, seconds, gap_ids, sink=None):
    scans = []

    async def keep(scan):
        scans.append(scan)

    outlet = Outlet(sink or keep, gap_ids)
    clock.end_s = clock.now_s + seconds
    with pytest.raises(asyncio.CancelledError):
        await sample_line(line, outlet, clock)
    await outlet.drain()
    return scans


async def test_a_thousand_scans_do_not_drift(clock, scripted, watch, gap_ids):
    driver = scripted(clock, [1, 2], takes_s=0.037)
    clock.late_s = 0.002
    scans = await run([watch(driver, period_s=0.25)], clock, 250.0, gap_ids)
    assert len(scans) >= 999
    for number, at_s in enumerate(driver.visits):
        assert 0.25 * number - 1e-6 <= at_s <= 0.25 * number + 0.0021
    assert not any(scan.gaps for scan in scans)


async def test_instruments_of_one_bioreactor_due_together_make_one_scan(clock, scripted, watch, gap_ids):
    line = [
        watch(scripted(clock, [1]), period_s=1.0),
        watch(scripted(clock, [2]), period_s=2.0),
        watch(scripted(clock, [3]), period_s=1.0, device="R2"),
    ]
    scans = await run(line, clock, 3.5, gap_ids)
    told = [(scan.device, [reading.tag for reading in scan.readings]) for scan in scans]
    both, one = [("R1", [1, 2]), ("R2", [3])], [("R1", [1]), ("R2", [3])]
    assert told == [*both, *one, *both, *one]


async def test_missed_scans_become_one_gap_and_no_burst(clock, scripted, watch, gap_ids, start_ms):
    driver = scripted(clock, [1])
    busy = scripted(clock, [9], takes_s=0.0)

    async def stall_once():
        at_s = clock.now_s - 1000.0
        busy.visits.append(at_s)
        if 1.9 < at_s < 2.1:
            await clock.spend(3.4)
        from lms_agent.drivers.driver import Outcome

        return Outcome([], [])

    busy.read = stall_once
    instrument = watch(driver)
    scans = await run([watch(busy, name="busy", period_s=2.0), instrument], clock, 8.5, gap_ids)
    visited = [round(at_s, 1) for at_s in driver.visits]
    assert visited == [0.0, 1.0, 5.4, 6.0, 7.0, 8.0]  # at once when the line is free, then on the grid again
    (gap,) = [gap for scan in scans for gap in scan.gaps if gap.tags == (1,)]
    assert gap.began_at_ms - start_ms == 1010
    assert gap.ended_at_ms - start_ms == pytest.approx(5410, abs=1)
    assert "3 scans of probe missed" in gap.reason
    assert instrument.missed == 3


async def test_scans_missed_while_a_reply_was_awaited_are_a_gap_before_that_reply(
    clock, scripted, watch, gap_ids, start_ms
):
    driver = scripted(clock, [1])
    instrument = watch(driver)
    taken = driver.read

    async def slow_once():
        driver.takes_s = 3.4 if 0.9 < clock.now_s - 1000.0 < 1.1 else 0.01
        return await taken()

    driver.read = slow_once
    scans = await run([instrument], clock, 7.5, gap_ids)
    assert [round(at_s, 1) for at_s in driver.visits] == [0.0, 1.0, 4.4, 5.0, 6.0, 7.0]
    (late,) = [scan for scan in scans if scan.gaps]
    (gap,) = late.gaps
    assert (gap.began_at_ms - start_ms, gap.ended_at_ms - start_ms) == (10, 4400)
    assert late.readings[0].taken_at_ms == gap.ended_at_ms, "told with the reading that ends it"
    assert instrument.missed == 2


async def test_scans_missed_after_a_reply_had_come_are_a_gap_behind_it(clock, scripted, watch, gap_ids, start_ms):
    driver = scripted(clock, [1])
    taken = driver.read

    async def held_up_once():
        outcome = await taken()
        if 1.0 < clock.now_s - 1000.0 < 1.1:
            await clock.spend(3.4)  # a computer that does not come to look at what has arrived
        return outcome

    driver.read = held_up_once
    scans = await run([watch(driver)], clock, 7.5, gap_ids)
    (gap,) = [gap for scan in scans for gap in scan.gaps]
    assert gap.began_at_ms - start_ms == 1010
    assert gap.ended_at_ms - start_ms == pytest.approx(4420, abs=1)
    assert "2 scans of probe missed" in gap.reason


async def test_dead_instrument_leaves_its_neighbours_their_rate(clock, scripted, watch, gap_ids):
    dead = watch(scripted(clock, [1], takes_s=0.6, silent=lambda at_s: True), name="dead")
    healthy = [scripted(clock, [tag], takes_s=0.02) for tag in (2, 3, 4, 5)]
    await run([dead, *(watch(driver) for driver in healthy)], clock, 600.0, gap_ids)
    for driver in healthy:
        assert len(driver.visits) >= 0.95 * 600


@pytest.mark.parametrize("dead", [1, 2])
async def test_dead_instruments_on_a_line_without_spare_time_cost_their_neighbours_less_than_a_twentieth(
    dead, clock, scripted, watch, gap_ids
):
    silent = [scripted(clock, [tag], takes_s=0.6, silent=lambda at_s: True) for tag in range(dead)]
    healthy = [scripted(clock, [10 + tag], takes_s=0.05) for tag in range(4)]
    line = [watch(driver, period_s=0.2) for driver in (*silent, *healthy)]
    await run(line, clock, 1200.0, gap_ids)
    for driver in healthy:
        assert len(driver.visits) >= 0.95 * 1200 / 0.2
    for driver in silent:
        pauses = [later - earlier for earlier, later in zip(driver.visits, driver.visits[1:], strict=False)]
        assert max(pauses) <= 46.0, "and it is found again within a minute"


async def test_reply_missed_once_on_a_line_without_spare_time_is_asked_for_again_at_once(
    clock, scripted, watch, gap_ids
):
    driver = scripted(clock, [1], takes_s=0.15, silent=lambda at_s: 9.9 < at_s < 10.1)
    others = [scripted(clock, [10 + tag], takes_s=0.02) for tag in range(4)]
    await run([watch(each, period_s=0.2) for each in (driver, *others)], clock, 30.0, gap_ids)
    pauses = [later - earlier for earlier, later in zip(driver.visits, driver.visits[1:], strict=False)]
    assert max(pauses) < 1.0


async def test_dead_instrument_is_tried_again_within_ten_seconds(clock, scripted, watch, gap_ids):
    driver = scripted(clock, [1], takes_s=0.3, silent=lambda at_s: True)
    await run([watch(driver)], clock, 300.0, gap_ids)
    pauses = [later - earlier for earlier, later in zip(driver.visits, driver.visits[1:], strict=False)]
    assert max(pauses) <= 11.5
    assert len(driver.visits) <= 50
