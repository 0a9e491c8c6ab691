"""Appends to a log until the disk fails, and says each batch twice: before, what it holds (`= CONTENT`), and once
`append` has returned, its number, when that was (CLOCK_MONOTONIC, ns), how many readings it has, and what it holds.

Whoever cuts the power believes only what was said before: a machine without power says nothing. (While ext4 is being
shut down, Linux may still answer an fsync with success.) Usage: PYTHONPATH=tests appends_until_dark.py LOG SEED
"""

import asyncio
import os
import random
import sys
import time
from pathlib import Path

from lms_agent.log.errors import LogError
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.reading import Reading
from support.reconciling import content


async def main(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    log = SqliteLog.open(path)

    async def append_on_and_on() -> None:
        while True:
            readings = [Reading(tag, 1_000 + tag, chance.random()) for tag in range(1, chance.randrange(2, 60))]
            holds = content(readings)
            os.write(1, f"= {holds}\n".encode())
            batch = await log.append("R1", readings)
            os.write(1, f"{batch.number} {time.monotonic_ns()} {len(readings)} {holds}\n".encode())
            if chance.random() < 0.01:
                log.acknowledge(batch.number)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(chance.randrange(1, 5)):
            tasks.create_task(append_on_and_on())


try:
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
except* (LogError, OSError):
    os._exit(0)  # the lights are out
