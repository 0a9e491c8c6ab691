"""Ingest from broker to commit, beside a raw binary COPY of the same rows into the same table."""

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import aiomqtt
import psycopg
import pytest
from lms_firmware_sim.stand.programs import plain_environment, program
from lms_firmware_sim.stand.spawning import spawn, stop
from lms_protocol.edge import EdgeSession
from lms_protocol.reading import Batch, Datatype, Reading, TagDescription
from support.figures import show
from support.fleet import make_fleet

pytestmark = pytest.mark.bench
AGENTS, TAGS, BATCHES = 20, 50, 200
NOON_MS = 1_795_435_200_000
COPY = "copy readings (series_id, taken_at, quality, value) from stdin (format binary)"
COPY_OUT = "copy (select series_id, taken_at, quality, value from readings) to stdout (format binary)"


def session(group: str, node: str) -> EdgeSession:
    """An agent's session; its one bioreactor has the agent's id."""
    tags = [TagDescription(n, node, f"T{n}/PV") for n in range(1, TAGS + 1)]
    tags.append(TagDescription(TAGS + 1, node, "Sync/Batch", Datatype.UINT64))
    tags.append(TagDescription(TAGS + 2, node, "Sync/Gap", Datatype.STRING))
    return EdgeSession(group=group, node=node, stream=uuid4(), bd_seq=None, tags=tags)


def batch(device: str, number: int) -> Batch:
    taken_at_ms = NOON_MS + 1_000 * number
    return Batch(
        number, device, tuple(Reading(n, taken_at_ms + n, n + (number % 97) / 100) for n in range(1, TAGS + 1))
    )


class Crowd:
    """Edge nodes with everything that they will say encoded beforehand."""

    def __init__(self, broker, group: str, nodes: list[str]) -> None:
        self.broker = broker
        self.births: dict[str, list] = {}
        self.data: dict[str, list] = {}
        for node in nodes:
            broker.add_agent(group, node)
            edge = session(group, node)
            edge.will(NOON_MS)
            self.births[node] = edge.births(NOON_MS, {}, 0)
            self.data[node] = [edge.data(batch(node, number), NOON_MS) for number in range(1, BATCHES + 1)]

    async def publish(self, messages: dict[str, list]) -> None:
        async def one(node: str) -> None:
            account = self.broker.accounts[node]
            async with aiomqtt.Client(
                self.broker.host, self.broker.port, username=account.name, password=account.password
            ) as client:
                for message in messages[node]:
                    await client.publish(*message)

        await asyncio.gather(*(one(node) for node in messages))


async def wait_for(connection: psycopg.AsyncConnection, statement: str, count: int) -> None:
    async with asyncio.timeout(120):
        while (await (await connection.execute(statement)).fetchone()) < (count,):
            await asyncio.sleep(0.02)


async def test_readings_per_second_beside_raw_copy(tmp_path: Path, migrated_database, broker) -> None:
    group, host = f"org-{uuid4().hex[:12]}", f"host-{uuid4().hex[:12]}"
    nodes = [f"{group}-{n}" for n in range(AGENTS)]
    await make_fleet(migrated_database.url, agents=nodes, bioreactors=nodes, group=group)
    crowd = Crowd(broker, group, nodes)
    ingest = spawn(
        [*program("lms-cloud"), "ingest"],
        log_path=tmp_path / "ingest.log",
        env={
            **plain_environment(),
            "LMS_DATABASE_URL": migrated_database.ingest_url,
            "LMS_MQTT_URL": broker.url("cloud-ingest"),
            "LMS_HOST_ID": host,
        },
        cwd=tmp_path,
    )
    url = migrated_database.superuser_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        try:
            async with aiomqtt.Client(
                broker.host, broker.port, username="feed", password=broker.accounts["feed"].password
            ) as hearing:
                await hearing.subscribe(f"spBv1.0/STATE/{host}", 1)
                await asyncio.wait_for(anext(aiter(hearing.messages)), 30)
            await crowd.publish(crowd.births)
            await wait_for(connection, "select count(*) from series", AGENTS * TAGS)
            await asyncio.sleep(1.0)
            began_s = time.perf_counter()
            await crowd.publish(crowd.data)
            await wait_for(connection, "select count(*) from ledger", AGENTS * BATCHES)
            took_s = time.perf_counter() - began_s
        finally:
            stop(ingest, ())
        readings = AGENTS * BATCHES * TAGS
        stored = await (await connection.execute("select count(*) from readings")).fetchone()
        assert stored == (readings,), (tmp_path / "ingest.log").read_text()[-2000:]
        copied_s = await raw_copy(connection)
    show(
        f"ingest: readings/s, {AGENTS} agents × {TAGS} tags, broker to commit",
        f"{readings / took_s:,.0f}",
        beside=f"raw binary COPY of the same rows: {readings / copied_s:,.0f}",
        ratio=copied_s / took_s,
    )


async def raw_copy(connection: psycopg.AsyncConnection) -> float:
    """Seconds for writing the rows that ingest has written once more, as one COPY into the emptied table."""
    async with connection.cursor() as cursor:
        async with cursor.copy(COPY_OUT) as copy:
            rows = b"".join([bytes(part) async for part in copy])
        await cursor.execute("truncate readings")
        began_s = time.perf_counter()
        async with cursor.copy(COPY) as copy:
            await copy.write(rows)
        return time.perf_counter() - began_s
