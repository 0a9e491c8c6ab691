"""A plain database is converted to TimescaleDB while agents send: ingest waits, then goes on, and nothing is amiss."""

import asyncio
import dataclasses
import os
import random
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from lms_protocol.reading import Reading
from support.rollups import differences, refresh_all

pytestmark = pytest.mark.usefixtures("timescale")


def lms_cloud(url: str, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LMS_")}
    command = [sys.executable, "-m", "lms_cloud.cli", *arguments]
    environment["LMS_DATABASE_URL"] = url
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture
def migrated_database(postgres, migrated_template) -> Iterator[object]:
    """A database that was migrated plain, and has had the extension created since."""
    created = postgres.create()
    with psycopg.connect(created.superuser_url, autocommit=True) as connection:
        connection.execute("drop extension if exists timescaledb")
    assert '"storage": "plain"' in lms_cloud(created.url, "migrate", "--json")
    with psycopg.connect(created.superuser_url, autocommit=True) as connection:
        connection.execute("create extension timescaledb")
    logins = {f"{kind}_url": postgres._login_url(kind, created.name) for kind in ("web", "ingest")}
    assert migrated_template.ingest_url  # made those logins
    yield dataclasses.replace(created, **logins)
    postgres.drop(created)


async def test_conversion_beside_live_ingest_loses_and_doubles_nothing(
    agent, ingesting, ingest_settings, ingest_db, query, tags, migrated_database
) -> None:
    rng = random.Random(17)
    (now_ms,) = query("select (extract(epoch from now()) * 1000)::bigint")[0]

    async def append(count: int) -> None:
        for _ in range(count):
            late_ms = rng.choice([0, 0, 0, 9 * 86_400_000])
            at_ms = now_ms - late_ms - rng.randint(0, 100_000)
            values = ((1, rng.random()), (2, rng.gauss(50, 9)), (3, rng.choice(["feed", "idle"])), (4, 2**60))
            agent.append("R1", [Reading(tag, at_ms, value) for tag, value in values])
            await asyncio.sleep(0.005)

    async with ingesting(ingest_settings), agent.run():
        await append(100)
        await agent.delivered()
        assert query("select flavour from storage_state") == [("plain",)]
        converting = asyncio.create_task(
            asyncio.to_thread(lms_cloud, migrated_database.url, "storage", "convert", "--json")
        )
        while not converting.done():
            await append(20)
        assert '"converted": true' in await converting
        await append(100)
        await agent.delivered(timeout_s=120)
    assert query("select flavour from storage_state") == [("timescaledb",)]
    everything = [reading for batch in agent.log.values() for reading in batch.readings]
    assert query("select (select count(*) from readings), (select count(*) from readings_text)") == [
        (len(everything) // 2, len(everything) // 2)
    ]
    await refresh_all(ingest_db)
    # The texts of integers beyond 2^53 count as the nearest double.
    as_rolled_up = [each._replace(value=float(each.value)) if each.tag == 4 else each for each in everything]
    assert differences(query, tags, as_rolled_up) == []
