"""Appends to a log from several tasks, and says each number once `append` has returned. Killed from outside."""

import asyncio
import itertools
import os
import sys
from pathlib import Path

from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.reading import Reading


async def main(path: Path) -> None:
    log = SqliteLog.open(path)
    values = itertools.count(log.head)

    async def append_on_and_on() -> None:
        while True:
            value = next(values)
            batch = await log.append("R1", [Reading(1, 1_000 + value, float(value))])
            os.write(1, f"{batch.number} {value}\n".encode())

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(append_on_and_on())


asyncio.run(main(Path(sys.argv[1])))
