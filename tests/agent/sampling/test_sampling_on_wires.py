"""The whole way from simulated instruments to scans, with faults switched while it runs."""

import asyncio
import contextlib
import random
from dataclasses import replace
from pathlib import Path

import pytest
from lms_agent.sampling import Sampling
from lms_agent.settings import load_settings
from lms_firmware_sim.wires import BalanceWire, Fault, ModbusTcpWire, RegisterMap, RtuWire
from lms_protocol.reading import Quality
from support.patience import awaiting, line_of

HEAD = """\
[agent]
id = "a"
group = "g"
log = "log.sqlite3"
[broker]
url = "mqtt://127.0.0.1:1883"
account = "a"
password_file = "secret"
"""


class Running:
    """Sampling at work, with all that it has handed over."""

    def __init__(self, sampling) -> None:
        self.sampling = sampling
        self.scans = []
        self.changed = asyncio.Condition()

    async def sink(self, scan) -> None:
        async with self.changed:
            self.scans.append(scan)
            self.changed.notify_all()

    async def until(self, fact, timeout_s: float = 60.0) -> None:
        async with awaiting(line_of(fact), timeout_s), self.changed:
            await self.changed.wait_for(lambda: fact(self.scans))

    def values(self, tag):
        return [r.value for scan in self.scans for r in scan.readings if r.tag == tag and r.value is not None]


@pytest.fixture
async def sample(tmp_path, gap_ids):
    """`await sample(text)`: start sampling what the configuration text names."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("correct horse")
    tasks = []

    async def start(text: str) -> Running:
        path = Path(tmp_path / "agent.toml")
        path.write_text(HEAD + text, encoding="utf-8")
        settings = load_settings(path)
        tags = [replace(tag, number=at) for at, tag in enumerate(settings.tag_descriptions(), start=1)]
        running = Running(None)
        running.sampling = Sampling(settings, tags, running.sink, next_gap_id=gap_ids, chance=random.Random(5))
        tasks.append(asyncio.create_task(running.sampling.run()))
        return running

    yield start
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def rtu_line(wire, units, timeout_s: float = 0.2) -> str:
    instruments = "".join(
        f'[[instrument]]\nid = "i{unit}"\nbus = "line"\nbioreactor = "R1"\nunit = {unit}\nperiod_s = 0.2\n'
        f'point = [{{ tag = "T{unit}/PV", address = 0 }}]\n'
        for unit in units
    )
    bus = (
        f'[[bus]]\nid = "line"\nkind = "modbus-rtu"\nport = "{wire.address}"\nbaud = 115200\ntimeout_s = {timeout_s}\n'
    )
    return f'[[bioreactor]]\nid = "R1"\n{bus}{instruments}'


async def test_one_dead_slave_of_five_costs_its_neighbours_nothing(sample):
    units = {unit: RegisterMap(holding={0: unit}) for unit in range(1, 6)}
    async with RtuWire(units) as wire:
        wire.fault = Fault.silence(unit=3)
        running = await sample(rtu_line(wire, units, timeout_s=0.05))
        await running.until(lambda scans: min(len(running.values(tag)) for tag in (1, 2, 4, 5)) >= 20)
        (gap,) = [gap for scan in running.scans for gap in scan.gaps if gap.tags == (3,)]
        assert gap.ended_at_ms is None
        assert "no reply from unit 3" in gap.reason
        wire.fault = None
        await running.until(lambda scans: running.values(3))
        closed = [gap for scan in running.scans for gap in scan.gaps if gap.tags == (3,)][-1]
        assert closed.ended_at_ms is not None
        assert set(running.values(3)) == {3}


async def test_unplugged_line_becomes_a_gap_and_comes_back(sample, tmp_path):
    async with RtuWire({1: RegisterMap(holding={0: 7})}, link=tmp_path / "by-id") as wire:
        running = await sample(rtu_line(wire, [1]))
        await running.until(lambda scans: len(scans) >= 2)
        wire.fault = Fault.unplugged()
        await running.until(lambda scans: scans[-1].gaps)
        assert running.scans[-1].readings[-1].quality is Quality.BAD
        assert running.sampling.instruments[0].is_failing
        wire.fault = None
        await running.until(lambda scans: scans[-1].gaps and scans[-1].gaps[-1].ended_at_ms)
        opened, closed = [gap for scan in running.scans for gap in scan.gaps]
        assert closed._replace(ended_at_ms=None) == opened


async def test_lines_do_not_wait_for_each_other(sample):
    async with ModbusTcpWire({1: RegisterMap(holding={0: 1})}) as slow, BalanceWire(5.0) as balance:
        slow.fault = Fault.silence()
        running = await sample(f"""
[[bioreactor]]
id = "R1"
[[bioreactor]]
id = "R2"
[[bus]]
id = "slow"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {slow.port}
timeout_s = 60
[[bus]]
id = "scale"
kind = "serial"
port = "{balance.address}"
timeout_s = 0.2
[[instrument]]
id = "controller"
bus = "slow"
bioreactor = "R1"
period_s = 60
point = [{{ tag = "T/PV", address = 0 }}]
[[instrument]]
id = "balance"
driver = "mt-sics"
bus = "scale"
bioreactor = "R2"
period_s = 0.2
point = [{{ tag = "Weight/PV", unit = "g" }}]
""")
        await running.until(lambda scans: len(scans) >= 5)
        assert {scan.device for scan in running.scans} == {"R2"}


async def test_nothing_is_left_running_after_sampling_ends(sample):
    async with RtuWire({1: RegisterMap(holding={0: 7})}) as wire:
        before = len(asyncio.all_tasks())
        running = await sample(rtu_line(wire, [1]))
        await running.until(lambda scans: scans)
        (task,) = [task for task in asyncio.all_tasks() if "Sampling.run" in repr(task.get_coro())]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == before
        assert not next(iter(running.sampling._buses.values()))._stream.is_open
