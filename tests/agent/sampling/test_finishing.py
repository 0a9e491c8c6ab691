"""Sampling that is to end between two scans, and sampling that hangs."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lms_agent.drivers.driver import Outcome
from lms_agent.sampling import Sampling
from lms_protocol.reading import Reading
from support.one_reactor import settings_of

SETTINGS = """\
[[bus]]
id = "line"
kind = "modbus-tcp"
host = "127.0.0.1"
port = 1
timeout_s = 1.0
[[instrument]]
id = "unit"
bus = "line"
bioreactor = "R1"
unit = 1
period_s = 60.0
[[instrument.point]]
tag = "pH/PV"
address = 0
"""


class Time:
    """A clock that stands until it is moved; `sleep` really waits."""

    now_s = 1000.0

    def wall_ms(self) -> int:
        return 1_800_000_000_000

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(3600 if seconds > 0 else 0)


class Held:
    """A driver whose reading ends only when it is told to."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.released = asyncio.Event()

    async def read(self) -> Outcome:
        self.begun.set()
        await self.released.wait()
        return Outcome([Reading(1, 1_800_000_000_000, 7.0)], [])


@pytest.fixture
async def held(tmp_path: Path, gap_ids: Any) -> Any:
    """A sampling with one instrument, its driver, its clock, and the scans that it handed over."""
    settings = settings_of(tmp_path, SETTINGS)
    tags = [replace(tag, number=at) for at, tag in enumerate(settings.tag_descriptions(), start=1)]
    scans: list[Any] = []

    async def sink(scan: Any) -> None:
        scans.append(scan)

    clock, driver = Time(), Held()
    sampling = Sampling(settings, tags, sink, next_gap_id=gap_ids, clock=clock)
    sampling.instruments[0]._driver = driver
    return sampling, driver, clock, scans


async def test_what_is_being_read_is_read_to_its_end_and_nothing_new_is_begun(held: Any) -> None:
    sampling, driver, _, scans = held
    running = asyncio.create_task(sampling.run())
    await driver.begun.wait()
    sampling.finish()
    await asyncio.sleep(0)
    assert not running.done()
    driver.released.set()
    await asyncio.wait_for(running, 30)
    assert [reading.value for scan in scans for reading in scan.readings] == [7.0]


async def test_line_that_waits_for_its_next_scan_ends_at_once(held: Any) -> None:
    sampling, driver, _, scans = held
    driver.released.set()
    running = asyncio.create_task(sampling.run())
    while not scans:
        await asyncio.sleep(0)
    sampling.finish()
    await asyncio.wait_for(running, 30)


async def test_reading_that_hangs_is_noticed_and_one_that_is_not_due_is_none(held: Any) -> None:
    sampling, driver, clock, _ = held
    running = asyncio.create_task(sampling.run())
    await driver.begun.wait()
    clock.now_s += 59.0
    assert sampling.stuck() == []
    clock.now_s += 60.0
    assert sampling.stuck() == ["unit"]
    driver.released.set()
    sampling.finish()
    await asyncio.wait_for(running, 30)
    assert sampling.stuck() == []
