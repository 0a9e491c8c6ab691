"""How much of what a serial line allows is used, and how punctual scans are."""

import asyncio
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
from lms_agent.settings import load_settings
from support.chain import chain
from support.figures import show
from support.reconciling import head

pytestmark = pytest.mark.bench
CHILDREN = Path(__file__).parent / "children"
BAUD, SLAVES, REGISTERS = 19200, 5, 20
SETTLE_S, MEASURE_S = 2.0, 20.0
PERIOD_S, SCANS = 0.1, 400
SETTINGS = """\
[agent]
id = "a"
group = "g"
log = "log.sqlite3"
[broker]
url = "mqtt://127.0.0.1:1883"
account = "a"
password_file = "secret"
[[bioreactor]]
id = "R1"
[[bus]]
id = "line"
kind = "modbus-rtu"
port = "{port}"
baud = {baud}
timeout_s = 0.05
"""


@contextmanager
def paced_slaves() -> Iterator[str]:
    """Slaves that keep the times of a line, in a process of their own; gives the port."""
    arguments = (str(BAUD), str(SLAVES), str(REGISTERS))
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
    (folder / "secret").touch(0o600)
    (folder / "secret").write_text("correct horse")
    text = SETTINGS.format(port=port, baud=BAUD)
    for unit in range(1, SLAVES + 1):
        text += f'[[instrument]]\nid = "i{unit}"\nbus = "line"\nbioreactor = "R1"\nunit = {unit}\nperiod_s = 0.05\n'
        for at in range(REGISTERS):
            text += f'[[instrument.point]]\ntag = "U{unit}/R{at}"\naddress = {at}\n'
    (folder / "agent.toml").write_text(text)
    settings = load_settings(folder / "agent.toml")
    tags = [replace(tag, number=at) for at, tag in enumerate(settings.tag_descriptions(), start=1)]
    gap_ids = iter(range(1, 10**9)).__next__
    return Sampling(settings, tags, sink, next_gap_id=gap_ids, chance=random.Random(1))


async def test_share_of_an_rs485_line(tmp_path: Path) -> None:
    readings = 0

    async def sink(scan: Scan) -> None:
        nonlocal readings
        readings += sum(reading.value is not None for reading in scan.readings)

    with paced_slaves() as port:
        running = asyncio.create_task(sampling_on(port, tmp_path, sink).run())
        await asyncio.sleep(SETTLE_S)
        before, began_s = readings, time.monotonic()
        await asyncio.sleep(MEASURE_S)
        rate = (readings - before) / REGISTERS / (time.monotonic() - began_s)
        running.cancel()
        await asyncio.wait([running])
    character_s = 10 / BAUD
    transaction_s = (8 + 5 + 2 * REGISTERS) * character_s + 2 * max(3.5 * character_s, 0.00175)
    show(
        f"RS-485, {BAUD} baud 8N1, {SLAVES} slaves x {REGISTERS} registers: transactions/s",
        f"{rate:.2f}",
        beside=f"the wire's timing: {1 / transaction_s:.2f} ({1000 * transaction_s:.2f} ms each)",
        ratio=rate * transaction_s,
    )


async def test_punctuality_of_scans(tmp_path: Path, migrated_database, broker) -> None:
    async with chain(tmp_path, migrated_database, broker, tags=50, period_s=PERIOD_S) as running:
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
    late = off_the_grid(taken, 1000 * PERIOD_S)
    peer = sorted(float(line) for line in said.split())
    show(
        f"scan jitter at {1 / PERIOD_S:g} Hz, 50 tags, log and broker included: p99",
        f"{percentile(late, 0.99):.1f} ms",
        beside=f"limit 5 ms; a process that only sleeps, at the same time: {percentile(peer, 0.99):.1f} ms",
        ratio=percentile(late, 0.99) / 5.0,
    )
    show(
        "  median",
        f"{statistics.median(late):.1f} ms",
        beside=f"{statistics.median(peer):.1f} ms; {len(taken)} scans, times in whole ms",
    )


def off_the_grid(taken_ms: list[int], period_ms: float) -> list[float]:
    """How far instants lie from the grid that fits them best, sorted."""
    numbers = [round((at - taken_ms[0]) / period_ms) for at in taken_ms]
    start = statistics.median(at - period_ms * number for at, number in zip(taken_ms, numbers, strict=True))
    return sorted(abs(at - period_ms * number - start) for at, number in zip(taken_ms, numbers, strict=True))


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
