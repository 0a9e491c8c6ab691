"""Whatever holds a computer up, and wherever: no tag is silent for more than two periods and no gap record says so."""

import math
import random
from collections import defaultdict
from itertools import pairwise

import pytest
from lms_agent.drivers.driver import Failure, Outcome
from lms_agent.errors import ReplyTimeout
from lms_protocol.reading import Reading

PERIOD_MS = 1000


class HeldUp:
    """Reads two blocks, tags 1 and 2 and tag 3, and is held up before, between and after their replies."""

    tags = (1, 2, 3)

    def __init__(self, clock, holds, silent=lambda: False) -> None:
        self.clock, self.holds, self.silent = clock, holds, silent

    async def read(self):
        readings, failures = [], []
        for block in ((1, 2), (3,)):
            await self.clock.spend(self.holds())
            if self.silent():
                failures.append(
                    Failure(tuple(tag for tag in self.tags if tag >= block[0]), ReplyTimeout("line", 3, 0.3))
                )
                break
            now_ms = self.clock.wall_ms()
            readings += [Reading(tag, now_ms, 1.0) for tag in block]
        await self.clock.spend(self.holds())
        return Outcome(readings, failures)


async def visit_until(instrument, clock, end_s):
    instrument.begin(clock.now_s)
    taken = []
    while clock.now_s < end_s:
        await clock.spend(max(instrument.due_s - clock.now_s, 0.0))
        taken.append(await instrument.visit())
    return taken


def silences(taken):
    """The longest stretch of each interval between two values of a tag of which no gap tells: (ms, tag, from, to)."""
    values, gaps = defaultdict(list), {}
    for one in taken:
        for reading in one.readings:
            if reading.value is not None:
                values[reading.tag].append(reading.taken_at_ms)
        gaps |= {gap.id: gap for gap in one.gaps}
    found = []
    for tag, times in values.items():
        mine = sorted((gap.began_at_ms, gap.ended_at_ms or math.inf) for gap in gaps.values() if tag in gap.tags)
        for before, after in pairwise(times):
            upto, longest = before, 0
            for began, ended in mine:
                if ended >= upto and began < after:
                    longest, upto = max(longest, began - upto), max(upto, ended)
            found.append((max(longest, after - upto), tag, before, after))
    return found


def told(taken):
    return [gap for one in taken for gap in one.gaps]


async def test_scan_that_begins_late_and_is_answered_late_is_told_though_none_was_missed(clock, watch, start_ms):
    holds = iter([0.0, 0.0, 1.9, 0.77, *[0.0] * 99])  # of the first scan after its reply, of the second before
    taken = await visit_until(watch(HeldUp(clock, lambda: next(holds))), clock, clock.now_s + 4.0)
    times = [one.readings[0].taken_at_ms - start_ms for one in taken]
    assert times == [0, 2670, 2670, 3000, 4000], "each tick has its scan"
    (gap,) = told(taken)
    assert (gap.tags, gap.began_at_ms - start_ms, gap.ended_at_ms - start_ms) == ((1, 2, 3), 0, 2670)
    assert gap.reason.startswith("a scan of probe came 1.7 s late: ")


async def test_block_that_is_answered_late_has_its_gap_and_those_before_it_theirs(clock, watch, start_ms):
    holds = iter([0.0, 0.0, 0.0, 0.0, 4.5, *[0.0] * 99])  # of the second scan between its blocks
    taken = await visit_until(watch(HeldUp(clock, lambda: next(holds))), clock, clock.now_s + 8.0)
    late, behind = told(taken)
    assert (late.tags, late.began_at_ms - start_ms, late.ended_at_ms - start_ms) == ((3,), 0, 5500)
    assert (behind.tags, behind.began_at_ms - start_ms, behind.ended_at_ms - start_ms) == ((1, 2), 1000, 5500)


async def test_sleep_of_the_computer_is_a_gap(clock, watch, start_ms):
    instrument = watch(HeldUp(clock, lambda: 0.0))
    await visit_until(instrument, clock, clock.now_s + 3.0)
    clock.asleep_s = 3600.0
    (gap,) = told(await visit_until(instrument, clock, clock.now_s + 3.0))
    assert (gap.tags, gap.began_at_ms - start_ms, gap.ended_at_ms - start_ms) == ((1, 2, 3), 3000, 3_603_000)
    assert instrument.missed == 0


async def test_scans_that_are_late_by_less_than_a_period_are_no_gap(clock, watch):
    chance = random.Random(5)
    driver = HeldUp(clock, lambda: chance.uniform(0.0, 0.32))
    taken = await visit_until(watch(driver), clock, clock.now_s + 500.0)
    assert len(taken) >= 500
    assert told(taken) == []


@pytest.mark.parametrize("seed", range(100))
async def test_no_tag_is_silent_for_two_periods_without_a_gap_record(clock, watch, seed):
    chance = random.Random(seed)
    often, longest_s, refuses = (
        chance.choice([0.05, 0.3, 1.0]),
        chance.choice([0.7, 1.2, 6.0]),
        chance.choice([0.0, 0.1]),
    )

    def holds():
        return chance.uniform(0.0, longest_s) if chance.random() < often else 0.01

    driver = HeldUp(clock, holds, lambda: chance.random() < refuses)
    taken = await visit_until(watch(driver), clock, clock.now_s + 200.0)
    assert all(gap.ended_at_ms is None or gap.began_at_ms <= gap.ended_at_ms for gap in told(taken))
    assert max(silences(taken)) <= (2 * PERIOD_MS + 1, 9), f"seed {seed}"
