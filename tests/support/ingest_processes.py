"""`lms-cloud ingest` as processes of a test, which may kill and stop them.

| fixture        | gives                                                                                             |
|----------------|---------------------------------------------------------------------------------------------------|
| `start_ingest` | async: `await start_ingest(settings)` gives the process; killed at the end if it still runs        |
"""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from lms_cloud.kernel.settings import CloudSettings


@pytest.fixture
async def start_ingest(tmp_path: Path) -> AsyncIterator[Callable[[CloudSettings], Awaitable[Process]]]:
    """Start `lms-cloud ingest` with what matters of some settings; what it says goes to `tmp_path/ingest-<n>.log`."""
    started: list[Process] = []

    async def run(settings: CloudSettings) -> Process:
        environment = {
            **os.environ,
            "LMS_DATABASE_URL": settings.database_url.get_secret_value(),
            "LMS_MQTT_URL": settings.mqtt_url,
            "LMS_HOST_ID": settings.host_id,
            "LMS_INGEST_LEASE_S": str(settings.ingest_lease_s),
        }
        log = (tmp_path / f"ingest-{len(started)}.log").open("wb")
        with log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "lms_cloud.cli", "ingest"), env=environment, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()
