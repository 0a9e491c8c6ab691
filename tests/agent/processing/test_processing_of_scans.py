"""Processing between the instruments and the log: gaps pass, and so do the readings on both their sides."""

import asyncio
import random

import pytest
from lms_agent.processing import Processing
from lms_agent.sampling.outlet import Outlet
from lms_agent.sampling.scan import Scan
from lms_protocol.errors import LmsError
from lms_protocol.reading import Gap, Quality, Reading
from support.one_reactor import settings_of

TEXT = """
[[bus]]
id = "tcp"
kind = "modbus-tcp"
host = "127.0.0.1"
[[instrument]]
id = "probe"
bus = "tcp"
bioreactor = "R1"
point = [
    { tag = "pH/PV", address = 0, kind = "float32", dead_band = 0.1, max_rate_per_s = 0.5 },
    { tag = "DO/PV", address = 2, kind = "float32" },
    { tag = "T/PV", address = 4, kind = "float32", dead_band = 0.0 },
]
"""
PH, DO, T = 1, 2, 3


@pytest.fixture
def settings(tmp_path):
    return settings_of(tmp_path, TEXT)


@pytest.fixture
def processing(settings):
    return Processing(settings, {("R1", "pH/PV"): PH, ("R1", "DO/PV"): DO, ("R1", "T/PV"): T})


def scan(at_ms, ph=7.0, do=40.0, t=37.0):
    return tuple(Reading(tag, at_ms, value) for tag, value in ((PH, ph), (DO, do), (T, t)) if value is not None)


def logged(processing, readings, *gaps):
    return [(reading.tag, reading.taken_at_ms) for reading in processing.take(readings, gaps)[0]]


def test_each_tag_is_logged_by_its_own_rule(processing):
    assert logged(processing, scan(0)) == [(PH, 0), (DO, 0), (T, 0)]
    assert logged(processing, scan(1000)) == [(DO, 1000)]
    assert logged(processing, scan(2000, t=37.1)) == [(T, 1000), (DO, 2000), (T, 2000)]


def test_doubtful_reading_is_logged_though_it_is_inside_the_dead_band(processing):
    processing.take(scan(0), ())
    (ph, *_), _ = processing.take(scan(1, ph=7.05), ())
    assert (ph.tag, ph.quality) == (PH, Quality.UNCERTAIN)


def test_gap_that_begins_is_logged_with_the_last_reading_before_it(processing):
    processing.take(scan(0), ())
    processing.take(scan(1000), ())
    opened = Gap(1, (PH, DO, T), 1000, None, "silent")
    bad = tuple(Reading(tag, 2000, None, Quality.BAD) for tag in (PH, DO, T))
    readings, gaps = processing.take(bad, (opened,))
    assert gaps == (opened,)
    assert readings == (Reading(PH, 1000, 7.0), Reading(T, 1000, 37.0), *bad)


def test_gap_between_two_scans_is_logged_with_the_readings_on_both_sides(processing):
    processing.take(scan(0), ())
    processing.take(scan(1000), ())
    missed = Gap(1, (PH, DO, T), 1000, 3500, "missed")
    assert logged(processing, scan(3500), missed) == [(PH, 1000), (T, 1000), (PH, 3500), (DO, 3500), (T, 3500)]


def test_what_is_held_back_is_asked_for_at_the_end_and_not_told_twice(processing):
    processing.take(scan(0), ())
    processing.take(scan(1000), ())
    assert processing.held_back() == {"R1": (Reading(PH, 1000, 7.0), Reading(T, 1000, 37.0))}
    assert processing.held_back() == {}


async def test_reading_after_a_loss_is_logged_whatever_it_says(processing):
    kept, gap_ids = [], iter(range(1, 99)).__next__

    async def sink(one):
        if one.readings[0].taken_at_ms == 1000:
            raise LmsError("the disk is full")
        kept.append(one)

    outlet = Outlet(sink, gap_ids, process=processing)
    for at_ms, ph in ((0, 7.0), (1000, 7.3), (2000, 7.3), (3000, 7.3)):
        outlet.put(Scan("R1", scan(at_ms, ph)))
        await outlet.drain()
    first, second, third = kept
    assert [reading.tag for reading in first.readings] == [PH, DO, T]
    assert Reading(PH, 2000, 7.3) in second.readings
    (gap,) = second.gaps
    assert (gap.began_at_ms, gap.ended_at_ms) == (1000, 2000)
    assert {PH, DO} <= set(gap.tags)
    assert [reading.tag for reading in third.readings] == [DO]


async def test_scan_that_says_nothing_new_makes_no_batch(settings):
    processing = Processing(settings, {("R1", "pH/PV"): PH, ("R1", "DO/PV"): DO, ("R1", "T/PV"): T})
    kept = []

    async def sink(one):
        kept.append(one)

    outlet = Outlet(sink, iter(range(1, 99)).__next__, process=processing)
    for at_ms in (0, 1000, 2000):
        outlet.put(Scan("R1", scan(at_ms, do=None)))
    await outlet.drain()
    assert [one.readings[0].taken_at_ms for one in kept] == [0]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_fails_each_value_is_logged_or_within_its_dead_band_or_in_a_gap(settings, seed):
    processing = Processing(settings, {("R1", "pH/PV"): PH, ("R1", "DO/PV"): DO, ("R1", "T/PV"): T})
    chance, kept, taken, ph = random.Random(seed), [], [], 7.0

    async def sink(one):
        await asyncio.sleep(0)
        if chance.random() < 0.2:
            raise LmsError("the disk is full")
        kept.append(one)

    outlet = Outlet(sink, iter(range(1, 9999)).__next__, most_waiting=3, process=processing)
    for at_ms in range(0, 200_000, 1000):
        ph += chance.choice([0.0, 0.0, 0.02, 0.5])
        taken.append(Reading(PH, at_ms, ph))
        outlet.put(Scan("R1", scan(at_ms, ph)))
        if chance.random() < 0.7:
            await outlet.drain()
    await outlet.drain()
    held = processing.held_back().get("R1", ())
    chance.random = lambda: 1.0
    outlet.hand_over(Scan("R1", (*held, Reading(DO, 200_000, 0.0))))
    await outlet.drain()
    values = sorted({reading for one in kept for reading in one.readings if reading.tag == PH}, key=lambda one: one[1])
    gaps = [gap for one in kept for gap in one.gaps if PH in gap.tags]
    for reading in taken:
        before = [known for known in values if known.taken_at_ms <= reading.taken_at_ms][-1:]
        known = bool(before) and abs(before[0].value - reading.value) <= 0.1 + 1e-9
        in_gap = any(gap.began_at_ms <= reading.taken_at_ms <= gap.ended_at_ms for gap in gaps)
        assert known or in_gap, f"seed {seed}: {reading}"
