"""The log's writing thread outlives those who wait for it: a cancelled append must not stop the next ones."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

from lms_agent.log.errors import LogWriteFailed
from lms_agent.log.jobs import Entry, Job
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.reading import Batch, Reading
from support.patience import awaiting


async def appended(log: SqliteLog) -> Batch:
    while True:
        try:
            return await log.append("R1", [Reading(1, 3, 3.0)])
        except LogWriteFailed:  # it shared the transaction of the one that could not be written
            await asyncio.sleep(0.01)


async def test_append_cancelled_while_the_disk_refuses_does_not_stop_the_log(tmp_path: Path) -> None:
    cancelled = threading.Event()

    def too_much() -> Iterator[Entry]:
        cancelled.wait(20)
        yield Entry("R1", (Reading(1, 2, "x" * 100_000),))

    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        await log.append("R1", [Reading(1, 1, 1.0)])
        writing = log._writer._connection
        assert writing is not None
        writing.execute(f"PRAGMA max_page_count = {writing.execute('PRAGMA page_count').fetchone()[0]}")
        job = Job(too_much())
        log._writer.submit(job)
        assert job.done.cancel()  # as asyncio does it when the task that waits in `append` is cancelled
        cancelled.set()
        async with awaiting("the writer lives on"):
            assert (await appended(log)).number == 2
