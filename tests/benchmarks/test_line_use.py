"""How much of what a serial line allows is used, and how punctual scans are."""

import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from lms_agent.log.reader import LogReader
from lms_agent.sampling import Sampling, Scan
from support.chain import chain
from support.figures import show
from support.one_reactor import settings_of
from support.reconciling import head

pytestmark = pytest.mark.bench
CHILDREN = Path(__file__).parent / "children"
BAUD, SLAVES, REGISTERS = 19200, 5, 20
SETTLE_S, MEASURE_S = 2.0, 20.0
PERIOD_S, SCANS = 0.1, 400
SETTINGS = """\
[[bus]]
id = "line"
kind = "modbus-rtu"
port = "{port}"
baud = {baud}
timeout_s = 0.05
"""


@contextmanager
def paced_slaves(slaves: int = SLAVES) -> Iterator[str]:
    """Slaves that keep the times of a line, in a process of their own; gives the port."""
    arguments = (str(BAUD), str(slaves))
    with subprocess.Popen(
        [sys.executable, CHILDREN / "paced_slaves.py", *arguments], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            yield child.stdout.readline().strip()
        finally:
            child.terminate()


def sampling_on(port: str, folder: Path, sink) -> Sampling:
    """Five units, each asked for one block of registers as often as can be."""
    text = SETTINGS.format(port=port, baud=BAUD)
    for unit in range(1, SLAVES + 1):
        text += f'[[instrument]]\nid = "i{unit}"\nbus = "line"\nbioreactor = "R1"\nunit = {unit}\nperiod_s = 0.05\n'
        for at in range(REGISTERS):
            text += f'[[instrument.point]]\ntag = "U{unit}/R{at}"\naddress = {at}\n'
    settings = settings_of(folder, text)
    tags = [replace(tag, number=at) for at, tag in enumerate(settings.tag_descriptions(), start=1)]
    gap_ids = iter(range(1, 10**9)).__next__
    return Sampling(settings, tags, sink, next_gap_id=gap_ids, chance=random.Random(1))


async def rates(folder: Path, slaves: int, settle_s: float, measure_s: float) -> list[float]:
    """Scans a second of each unit, where only so many of the five are there."""
    counts = dict.fromkeys(range(1, SLAVES + 1), 0)

    async def sink(scan: Scan) -> None:
        for reading in scan.readings:
            if reading.value is not None and reading.tag % REGISTERS == 0:
                counts[reading.tag // REGISTERS] += 1

    with paced_slaves(slaves) as port:
        running = asyncio.create_task(sampling_on(port, folder, sink).run())
        await asyncio.sleep(settle_s)
        before, began_s = dict(counts), time.monotonic()
        await asyncio.sleep(measure_s)
        took_s = time.monotonic() - began_s
        found = [(counts[unit] - before[unit]) / took_s for unit in counts]
        running.cancel()
        await asyncio.wait([running])
    return found


async def test_share_of_an_rs485_line(tmp_path: Path) -> None:
    rate = sum(await rates(tmp_path, SLAVES, SETTLE_S, MEASURE_S))
    character_s = 10 / BAUD
    transaction_s = (8 + 5 + 2 * REGISTERS) * character_s + 2 * max(3.5 * character_s, 0.00175)
    show(
        f"RS-485, {BAUD} baud 8N1, {SLAVES} slaves x {REGISTERS} registers: transactions/s",
        f"{rate:.2f}",
        beside=f"the wire's timing: {1 / transaction_s:.2f} ({1000 * transaction_s:.2f} ms each)",
        ratio=rate * transaction_s,
    )


async def test_what_a_dead_slave_costs_on_a_line_without_spare_time(tmp_path: Path) -> None:
    """Four slaves that are asked as often as the line allows, with a fifth that is not there, and without it."""
    dead = sum(await rates(tmp_path, SLAVES - 1, 5.0, 2 * MEASURE_S))
    whole = sum(await rates(tmp_path, SLAVES, SETTLE_S, MEASURE_S))
    show(
        "the same with one of the five dead: transactions/s of the others",
        f"{dead:.2f}",
        beside=f"the line with all five: {whole:.2f}; limit 0.95 of it",
        ratio=dead / whole,
    )


@pytest.mark.parametrize("first", [False, True], ids=["as it comes", "first at the processor"])
async def test_punctuality_of_scans(tmp_path: Path, migrated_database, broker, first: bool) -> None:
    async with chain(tmp_path, migrated_database, broker, tags=50, period_s=PERIOD_S) as running:
        if first:
            put_first(os.getpid(), running.processes["agent"].pid)
        await asyncio.sleep(SETTLE_S)
        known = head(running.log)
        sleeping = await asyncio.create_subprocess_exec(
            *(sys.executable, CHILDREN / "sleeping.py", str(PERIOD_S), str(SCANS)), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await sleeping.communicate()
        with LogReader.open(running.log) as reader:
            taken = [
                batch.readings[0].taken_at_ms
                for batch in reader.after(known)
                if batch.readings and batch.device == "R1"
            ]
        put_back(os.getpid())
    late = off_the_grid(taken, 1000 * PERIOD_S)
    peer = sorted(float(line) for line in said.split())
    how = ", first at the processor" if first else ""
    show(
        f"scan jitter at {1 / PERIOD_S:g} Hz, 50 tags{how}: p99",
        f"{percentile(late, 0.99):.1f} ms",
        beside=f"limit 5 ms; a process that only sleeps, at the same time: {percentile(peer, 0.99):.1f} ms",
        ratio=percentile(late, 0.99) / 5.0,
    )
    show(
        "  median",
        f"{statistics.median(late):.1f} ms",
        beside=f"{statistics.median(peer):.1f} ms; {len(taken)} scans, log and broker included, times in whole ms",
    )


def put_first(*pids: int) -> None:
    """Let processes, and what they start, run before all others; skips where that is not allowed."""
    try:
        for pid in pids:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))
    except OSError as error:
        put_back(os.getpid())
        pytest.skip(f"needs root, to go before other processes: {error}")


def put_back(pid: int) -> None:
    """Let a process run beside the others again."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))


def off_the_grid(taken_ms: list[int], period_ms: float) -> list[float]:
    """How far instants lie from the grid that fits them best, sorted."""
    numbers = [round((at - taken_ms[0]) / period_ms) for at in taken_ms]
    start = statistics.median(at - period_ms * number for at, number in zip(taken_ms, numbers, strict=True))
    return sorted(abs(at - period_ms * number - start) for at, number in zip(taken_ms, numbers, strict=True))


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
