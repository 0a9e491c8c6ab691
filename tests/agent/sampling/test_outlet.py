"""A slow or refusing sink neither holds sampling up nor loses anything in silence."""

import asyncio
import random

import pytest
from lms_agent.sampling.outlet import Outlet
from lms_agent.sampling.scan import Scan
from lms_protocol.errors import LmsError
from lms_protocol.reading import Gap, Reading


def scan(at_ms, *gaps, device="R1") -> Scan:
    return Scan(device, (Reading(1, at_ms, float(at_ms)),), tuple(gaps))


async def test_scans_reach_a_slow_sink_in_order_without_waiting(gap_ids):
    kept, gate = [], asyncio.Event()

    async def sink(one):
        kept.append(one)
        await gate.wait()

    outlet = Outlet(sink, gap_ids)
    scans = [scan(at) for at in range(50)]
    for one in scans:
        outlet.put(one)
    assert outlet.waiting == 50
    gate.set()
    await outlet.drain()
    assert kept == scans


async def test_overflow_is_told_by_a_gap_in_the_next_scan_that_is_kept(gap_ids):
    kept, gate = [], asyncio.Event()

    async def sink(one):
        await gate.wait()
        kept.append(one)

    outlet = Outlet(sink, gap_ids, most_waiting=3)
    for at in range(10):
        outlet.put(scan(at))
    gate.set()
    await outlet.drain()
    outlet.put(scan(10))
    outlet.put(scan(11))
    await outlet.drain()
    assert [one.readings[0].taken_at_ms for one in kept] == [0, 1, 2, 10, 11]
    (gap,) = kept[3].gaps
    assert (gap.tags, gap.began_at_ms, gap.ended_at_ms) == ((1,), 3, 10)
    assert "7 scans could not be kept: the log was too slow" in gap.reason
    assert kept[4].gaps == ()


async def test_open_and_closed_gaps_survive_a_refusing_sink(gap_ids):
    kept, refuse = [], True

    async def sink(one):
        if refuse:
            raise LmsError("the disk is full")
        kept.append(one)

    outlet = Outlet(sink, gap_ids)
    opened = Gap(900, (1,), 0, None, "no reply")
    closed = opened._replace(ended_at_ms=2)
    still_open = Gap(901, (5,), 2, None, "no reply")
    for one in (scan(1, opened), scan(2, closed), scan(3, still_open)):
        outlet.put(one)
        await outlet.drain()
    refuse = False
    outlet.put(scan(4))
    await outlet.drain()
    told = {gap.id: gap for gap in kept[0].gaps}
    assert told[900] == closed
    assert told[901] == still_open
    lost = next(gap for gap in kept[0].gaps if gap.id not in (900, 901))
    assert (lost.began_at_ms, lost.ended_at_ms) == (1, 4)
    assert "3 scans could not be kept: the disk is full" in lost.reason


async def test_sink_that_breaks_unforeseen_is_raised(gap_ids):
    async def sink(one):
        raise ZeroDivisionError

    outlet = Outlet(sink, gap_ids)
    outlet.put(scan(1))
    with pytest.raises(ZeroDivisionError):
        await outlet.watch()


async def test_memory_stays_bounded_while_the_sink_refuses_for_long(gap_ids):
    async def sink(one):
        raise OSError("I/O error")

    outlet = Outlet(sink, gap_ids)
    for at in range(2000):
        outlet.put(scan(at, Gap(10_000 + at, (1,), at, at, "missed")))
        await outlet.drain()
    device = outlet._devices["R1"]
    assert len(device.owed) <= 256
    assert len(outlet._latest) <= 257
    assert len(outlet._loss_gaps) == 0
    assert device.lost_scans == 2000


@pytest.mark.parametrize("seed", range(20))
async def test_every_scan_is_kept_or_covered_by_a_gap(seed, gap_ids):
    chance = random.Random(seed)
    kept = []

    async def sink(one):
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            raise OSError("I/O error")
        kept.append(one)

    outlet = Outlet(sink, gap_ids, most_waiting=3)
    for at in range(300):
        outlet.put(scan(at))
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
    await outlet.drain()
    for at in range(300, 330):  # until one is kept after the last loss
        outlet.put(scan(at))
        await outlet.drain()
    times = {one.readings[0].taken_at_ms for one in kept}
    gaps = [gap for one in kept for gap in one.gaps]
    last = max(times)
    for at in range(last):
        assert at in times or any(gap.began_at_ms <= at <= gap.ended_at_ms for gap in gaps)
