"""Ingest from broker to commit, beside a raw binary COPY of the same rows into the same table."""

import asyncio
import socket
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
AGENTS, TAGS = 200, 50
IN_FLIGHT = 60_000
"""Readings sent and not committed yet: what 200 agents have in flight at most is more."""
NOON_MS = 1_795_435_200_000
COPY = "copy readings (series_id, taken_at, quality, value) from stdin (format binary)"
COPY_OUT = "copy (select series_id, taken_at, quality, value from readings) to stdout (format binary)"


def session(group: str, node: str) -> EdgeSession:
    """An agent's session; its one bioreactor has the agent's id."""
    tags = [TagDescription(n, node, f"T{n}/PV") for n in range(1, TAGS + 1)]
    tags.append(TagDescription(TAGS + 1, node, "Sync/Batch", Datatype.UINT64))
    tags.append(TagDescription(TAGS + 2, node, "Sync/Gap", Datatype.STRING))
    return EdgeSession(group=group, node=node, stream=uuid4(), bd_seq=None, tags=tags)


def batch(device: str, number: int, readings: int) -> Batch:
    """A batch of so many readings: several scans of all tags if it is more than one."""
    at_ms = NOON_MS + 1_000 * number * (readings // TAGS)
    rows = (divmod(row, TAGS) for row in range(readings))
    return Batch(
        number,
        device,
        tuple(Reading(tag + 1, at_ms + 1_000 * scan + tag, tag + (number + scan) % 97 / 100) for scan, tag in rows),
    )


def text(data: str | bytes) -> bytes:
    """Bytes with MQTT's two bytes of length."""
    raw = data.encode() if isinstance(data, str) else data
    return len(raw).to_bytes(2) + raw


def frame(kind: int, body: bytes) -> bytes:
    """An MQTT 3.1.1 packet."""
    length, head = len(body), bytearray([kind])
    while True:
        length, low = divmod(length, 128)
        head.append(low | (128 if length else 0))
        if not length:
            return bytes(head) + body


class Crowd:
    """Edge nodes with everything that they will say put into frames beforehand: sending must cost next to nothing.

    QoS 0 is dropped by a broker whose reader is slower, so each sends its next batch once enough are committed.
    """

    def __init__(self, broker, group: str, nodes: list[str], readings: int, batches: int) -> None:
        self.births: dict[str, bytes] = {}
        self.data: dict[str, list[bytes]] = {}
        self.sockets: dict[str, socket.socket] = {}
        for node in nodes:
            account = broker.add_agent(group, node)
            edge = session(group, node)
            edge.will(NOON_MS)
            self.births[node] = b"".join(self.publishing(message) for message in edge.births(NOON_MS, {}, 0))
            made = (batch(node, number, readings) for number in range(1, batches + 1))
            self.data[node] = [self.publishing(edge.data(each, NOON_MS)) for each in made]
            connection = self.sockets[node] = socket.create_connection((broker.host, broker.port))
            told = text("MQTT") + bytes([4, 0xC2]) + (0).to_bytes(2)
            connection.sendall(frame(0x10, told + text(node) + text(account.name) + text(account.password)))
            assert connection.recv(4) == b"\x20\x02\x00\x00"

    @staticmethod
    def publishing(message) -> bytes:
        return frame(0x30, text(message.topic) + message.payload)

    def close(self) -> None:
        for connection in self.sockets.values():
            connection.close()


async def wait_for(connection: psycopg.AsyncConnection, statement: str, count: int) -> None:
    async with asyncio.timeout(120):
        while (await (await connection.execute(statement)).fetchone()) < (count,):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("each", "batches"), [(50, 60), (1_000, 4)])
async def test_readings_per_second_beside_raw_copy(
    tmp_path: Path, migrated_database, broker, each: int, batches: int
) -> None:
    group, host = f"org-{uuid4().hex[:12]}", f"host-{uuid4().hex[:12]}"
    nodes = [f"{group}-{n}" for n in range(AGENTS)]
    await make_fleet(migrated_database.url, agents=nodes, bioreactors=nodes, group=group)
    crowd = Crowd(broker, group, nodes, each, batches)
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
            for node, births in crowd.births.items():
                crowd.sockets[node].sendall(births)
            await wait_for(connection, "select count(*) from series", AGENTS * TAGS)
            await asyncio.sleep(1.0)
            began_s = time.perf_counter()
            sent = 0
            for number in range(batches):
                for node in nodes:
                    if sent % 64 == 0:
                        await wait_for(connection, "select count(*) from ledger", sent - IN_FLIGHT // each)
                    crowd.sockets[node].sendall(crowd.data[node][number])
                    sent += 1
            await wait_for(connection, "select count(*) from ledger", AGENTS * batches)
            took_s = time.perf_counter() - began_s
        finally:
            stop(ingest, ())
            crowd.close()
        readings = AGENTS * batches * each
        stored = await (await connection.execute("select count(*) from readings")).fetchone()
        assert stored == (readings,), (tmp_path / "ingest.log").read_text()[-2000:]
        copied_s = await raw_copy(connection)
    show(
        f"ingest: readings/s, {AGENTS} agents × {TAGS} tags, batches of {each:,}",
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
