"""Rows 24 to 33: what a disk does to the log."""

import asyncio
import os
import random
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import pytest
from lms_agent.log.reader import LogReader
from lms_protocol.reading import Batch
from support.injecting import injected
from support.loop_disk import LoopDisk, Shutdown, loop_disk, small_tmpfs
from support.proving import FaultRow
from support.reconciling import acked, head

CHILDREN = Path(__file__).parent / "children"
POWER_CUTS = (Shutdown.WITHOUT_LOG, Shutdown.WITHOUT_LOG, Shutdown.WITH_LOG)


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with loop_disk(tmp_path_factory.mktemp("loop"), options="noatime,errors=remount-ro") as made:
        yield made


Content: TypeAlias = tuple[int, float, float]
"""How many readings a batch has, and the values of the first and the last."""
CUTS_A_LOG = 12


async def _cut(disk: LoopDisk, path: Path, chance: random.Random, row: FaultRow) -> dict[int, Content]:
    """Append, and cut the power at a random moment; what had been reported as appended when it went."""
    began_s = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, CHILDREN / "appends_until_dark.py", path, str(chance.randrange(1 << 32))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = [await asyncio.wait_for(process.stdout.readline(), 60)]
    row.recovered(time.monotonic() - began_s)
    reading = asyncio.ensure_future(process.stdout.read())
    await asyncio.sleep(chance.uniform(0.0, 0.4))
    cut_ns = await asyncio.to_thread(disk.cut_power, chance.choice(POWER_CUTS))
    row.injected += 1
    said += (await asyncio.wait_for(reading, 60)).splitlines(keepends=True)
    assert process.stderr is not None
    errors = (await process.stderr.read()).decode()
    assert await asyncio.wait_for(process.wait(), 60) == 0, errors[-2000:]
    reported = {}
    for number, at_ns, count, first, last in (line.split() for line in said if line.endswith(b"\n")):
        if int(at_ns) < cut_ns:
            reported[int(number)] = (int(count), float(first), float(last))
    return reported


@pytest.mark.fault(row=24)
@pytest.mark.quick
@pytest.mark.timeout(900)
async def test_power_cuts_take_nothing_that_append_had_reported(
    disk: LoopDisk, row: FaultRow, full: bool, chance: random.Random
) -> None:
    for log in range(10 if full else 1):
        path = disk.path / f"log-{log}.sqlite3"
        reported: dict[int, Content] = {}
        for _ in range(CUTS_A_LOG if full else 3):
            new = await _cut(disk, path, chance, row)
            assert not reported.keys() & new.keys(), "a number was given twice"
            reported |= new
            await asyncio.to_thread(disk.unmount)
            await asyncio.to_thread(disk.mount)
            kept = await asyncio.to_thread(_kept, path)
            row.compared += sum(content[0] for content in new.values())
            row.lost += sum(reported[number][0] for number in reported.keys() - kept.keys())
            row.wrong += sum(reported[number] != kept[number] for number in reported.keys() & kept.keys())
            assert (row.lost, row.doubled, row.wrong) == (0, 0, 0)
        for file in disk.path.glob("log-*"):
            file.unlink()
    assert row.compared > 30 * row.injected


def _kept(path: Path) -> dict[int, Content]:
    """Every batch of the log after the power came back."""
    with LogReader.open(path) as reader:
        batches = list(reader.after(0))
    assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return {batch.number: (len(batch.readings), *_ends(batch)) for batch in batches}


def _ends(batch: Batch) -> tuple[float, float]:
    first, last = batch.readings[0].value, batch.readings[-1].value
    assert isinstance(first, float)
    assert isinstance(last, float)
    return first, last


@pytest.mark.fault(row=24)
async def test_power_cut_of_a_sending_agent_loses_nothing(prove: Any, disk: LoopDisk, chance: random.Random) -> None:
    log = disk.path / "log.sqlite3"
    async with prove(log=log) as proof:
        for _ in range(12):
            await asyncio.sleep(chance.uniform(0.2, 2.0))
            await asyncio.to_thread(disk.cut_power)
            await asyncio.sleep(chance.uniform(0.0, 1.0))  # a Pi lives on for a moment
            proof.chain.kill("agent")
            proof.row.injected += 1
            await asyncio.to_thread(disk.unmount)
            await asyncio.to_thread(disk.mount)
            proof.chain.again("agent")
            await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=25)
@pytest.mark.quick
async def test_disk_that_fails_to_flush_makes_readings_wait_in_memory(prove: Any, full: bool) -> None:
    async with prove() as proof:
        chain = proof.chain
        agent = chain.processes["agent"].pid
        for _ in range(3 if full else 1):
            logged, said = head(chain.log), chain.said("agent").count("cannot be written")
            async with injected(agent, "fdatasync:error=EIO", "fsync:error=EIO"):
                await proof.until(lambda said=said: chain.said("agent").count("cannot be written") > said, "an error")
                await asyncio.sleep(3.0)
                proof.row.injected += 1
            assert "input/output error" in chain.said("agent")
            await proof.until(
                lambda logged=logged: head(chain.log) > logged + 30, "what waited in memory is in the log"
            )
            await proof.recovers()
        await proof.holds()
        proof.row.notes.append(f"{chain.said('agent').count('takes readings again')} times the log took readings again")


@pytest.mark.fault(row=26)
async def test_full_disk_makes_readings_wait_in_memory(prove: Any, tmp_path_factory: Any, full: bool) -> None:
    with small_tmpfs(tmp_path_factory.mktemp("small"), size_mib=8) as place:
        async with prove(log=place / "log.sqlite3") as proof:
            chain = proof.chain
            for _ in range(3 if full else 1):
                said = chain.said("agent").count("disk is full")
                filler = place / "filler"
                with filler.open("wb") as file, pytest.raises(OSError, match="No space"):
                    _fill(file)
                proof.row.injected += 1
                await proof.until(lambda said=said: chain.said("agent").count("disk is full") > said, "a full disk")
                await asyncio.sleep(5.0)
                filler.unlink()
                await proof.recovers()
            await proof.holds()


def _fill(file: BinaryIO) -> None:
    while True:
        os.write(file.fileno(), bytes(4096))


@pytest.mark.fault(row=32)
async def test_disk_that_becomes_read_only_stops_neither_reading_nor_sending(prove: Any, disk: LoopDisk) -> None:
    log = disk.path / "log.sqlite3"
    async with prove(log=log) as proof:
        chain = proof.chain
        await asyncio.to_thread(disk.report_error)
        proof.row.injected += 1
        await proof.until(lambda: "cannot be written" in chain.said("agent"), "the agent says so")
        sent = acked(log)
        await asyncio.sleep(5.0)
        assert chain.processes["agent"].poll() is None, chain.said("agent")
        assert acked(log) >= sent, "it can still be looked at"
        chain.kill("agent")  # the boot that repairs it; what waited in memory is a gap
        await asyncio.to_thread(disk.unmount)
        await asyncio.to_thread(disk.check)
        await asyncio.to_thread(disk.mount)
        chain.again("agent")
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=33)
async def test_half_a_second_for_each_flush_delays_no_scan(prove: Any, full: bool) -> None:
    async with prove() as proof:
        chain = proof.chain
        changes, began_s = proof.truth.changes, time.monotonic()
        async with injected(chain.processes["agent"].pid, "fdatasync:delay_exit=500000", "fsync:delay_exit=500000"):
            await asyncio.sleep(20.0 if full else 5.0)
            proof.row.injected += 1
        scans = (proof.truth.changes - changes) / ((time.monotonic() - began_s) / 0.1)
        proof.row.notes.append(f"{scans:.0%} of the scans were made meanwhile")
        assert scans > 0.5
        await proof.recovers()
        await proof.holds()
