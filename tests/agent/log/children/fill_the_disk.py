"""Keeps scans while the disk takes no more (a limit on the file size stands in for it), then while it does again.

Prints what came of it as JSON. A process of its own, as the limit is the process's.
"""

import asyncio
import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lms_agent.clock import SystemClock
from lms_agent.log.absence import Absence
from lms_agent.log.keeping import Keeping
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.sampling import Scan
from lms_protocol.reading import Reading


def allow(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


async def main(path: Path, count: int, max_readings: int) -> dict[str, Any]:
    log = SqliteLog.open(path)
    keeping = Keeping(log, Absence(log, [[1, 2]]), SystemClock(), max_readings=max_readings)
    running = asyncio.create_task(keeping.run())
    await keeping.take(Scan("R1", (Reading(1, 0, 0.5),)))
    wal = path.with_name(path.name + "-wal")
    allow(wal.stat().st_size + 4096)
    for number in range(1, count + 1):
        await keeping.take(Scan("R1", (Reading(1, number, number / 7), Reading(2, number, number / 9))))
    full = asdict(keeping.state)
    allow(resource.RLIM_INFINITY)
    while keeping.state.error:
        await asyncio.sleep(0.05)
    await keeping.take(Scan("R1", (Reading(1, count + 1, 0.25),)))
    running.cancel()
    await keeping.end()
    end = asdict(keeping.state)
    log.close()
    return {"full": full, "end": end}


print(json.dumps(asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))))
