"""Appends to a log that is set aside again and again, and says each value once it is logged. Killed from outside."""

import asyncio
import itertools
import os
import random
import sys
from pathlib import Path

from lms_agent.clock import SystemClock
from lms_agent.log import care as looking_after
from lms_agent.log.errors import LogWriteFailed
from lms_agent.log.renewal.predecessors import Kind
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Reading, TagDescription

looking_after.NOT_AGAIN_WITHIN_S = 0.0


async def main(path: Path, first: int, seed: int) -> None:
    log = SqliteLog.open(path)
    sync = [TagDescription(0, "R1", name, kind) for name, kind in SYNC_TAGS.items()]
    log.register_tags([TagDescription(0, "R1", "pH/PV"), *sync])
    care = looking_after.Care(log, SystemClock(), look_every_s=0.005)
    chance = random.Random(seed)
    values = itertools.count(first)

    async def append_on_and_on() -> None:
        while True:
            value = next(values)
            while True:
                try:
                    await log.append("R1", [Reading(1, 1_000 + value, float(value))])
                except LogWriteFailed:
                    await asyncio.sleep(0.001)
                else:
                    break
            os.write(1, f"{value}\n".encode())

    async def doubt_on_and_on() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0, 0.02))
            log.doubt(chance.choice([Kind.DAMAGED, Kind.RESTORED]), "a test wants it so")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(care.run())
        tasks.create_task(doubt_on_and_on())
        for _ in range(3):
            tasks.create_task(append_on_and_on())


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
