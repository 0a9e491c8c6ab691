"""Ingest from broker to commit, beside a raw binary COPY of the same rows into the same table.

Measured while everything is warm: the first batches, from which ingest learns how these agents' messages look, are sent
and committed before the clock starts. All shares the machine: the sender, the broker, ingest and the database; what of
a core each of them took for a reading is told beside the figure.
"""

import asyncio
import json
import socket
import time
from pathlib import Path
from uuid import uuid4

import aiomqtt
import psutil
import psycopg
import pytest
from lms_cloud.telemetry.ingest import births
from lms_cloud.telemetry.leases.postgres_leases import GROUPS, LOCKS, read_locks
from lms_cloud.telemetry.leases.sharing import lock_class, shard_of
from lms_cloud.telemetry.storage.flavours.copying import DENSE
from lms_firmware_sim.stand.programs import plain_environment, program
from lms_firmware_sim.stand.spawning import spawn, stop
from lms_protocol.edge import EdgeSession
from lms_protocol.reading import Batch, Datatype, Reading, TagDescription
from support.cores import Cores, cpu_s
from support.figures import show
from support.fleet import make_fleet

pytestmark = pytest.mark.bench
AGENTS, TAGS = 200, 50
WARM = 4
"""Batches of each agent before the clock starts."""
IN_FLIGHT = 150_000
"""Readings sent and not committed yet: what 200 agents have in flight at most is more."""
SCAN_MS = 100
"""Between two scans. The readings are of now: minutes that still run cost the rollups nothing, as in life."""
MAKE_SERIES = """
with told as (
    select r.id as home, r.organization_id, tag, format('T%%s/PV', tag ->> 'number') as name
    from entities r, jsonb_array_elements(%s::jsonb) tag where r.entity_type = 'bioreactor'
), made as (
    insert into entities
        (id, entity_type, name, organization_id, properties, version, is_active, created_at, updated_at)
    select gen_random_uuid(), 'tag', name, organization_id, jsonb_build_object('bioreactor_id', home), 1, true, now(),
        now() from told
    returning id, name, organization_id, (properties ->> 'bioreactor_id')::uuid as home
)
insert into series (organization_id, bioreactor_id, tag_id, datatype, described)
select organization_id, home, made.id, 10, tag from made join told using (organization_id, home, name)
order by home, made.id
"""
"""What the first births of 10,000 tags would make, in a minute or two."""
COMMITTED = "select coalesce(sum((select sum(upper(run) - lower(run)) from unnest(committed) as run)), 0) from streams"
COMPRESS_DIRECTLY = """
select set_config('timescaledb.enable_direct_compress_copy', 'on', false)
where current_setting('timescaledb.enable_direct_compress_copy', true) is not null
"""
"""What ingest does for commits as dense as these; on plain PostgreSQL it is nothing."""
COPY = "copy readings (series_id, taken_at, quality, value) from stdin (format binary)"
COPY_OUT = "copy (select series_id, taken_at, quality, value from readings) to stdout (format binary)"


def session(group: str, node: str) -> EdgeSession:
    """An agent's session; its one bioreactor has the agent's id."""
    tags = [TagDescription(n, node, f"T{n}/PV") for n in range(1, TAGS + 1)]
    tags.append(TagDescription(TAGS + 1, node, "Sync/Batch", Datatype.UINT64))
    tags.append(TagDescription(TAGS + 2, node, "Sync/Gap", Datatype.STRING))
    return EdgeSession(group=group, node=node, stream=uuid4(), bd_seq=None, tags=tags)


def batch(device: str, number: int, readings: int, began_ms: int) -> Batch:
    """A batch of so many readings: several scans of all tags if it is more than one."""
    at_ms = began_ms + SCAN_MS * number * (readings // TAGS)
    rows = (divmod(row, TAGS) for row in range(readings))
    return Batch(
        number,
        device,
        tuple(Reading(tag + 1, at_ms + SCAN_MS * scan + tag, tag + (number + scan) % 97 / 100) for scan, tag in rows),
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

    def __init__(self, broker, nodes: dict[str, str], readings: int, batches: int) -> None:
        """Args: nodes: the group of each; readings: in a batch; batches: of each node."""
        now_ms = time.time_ns() // 1_000_000
        self.births: dict[str, bytes] = {}
        self.data: dict[str, list[bytes]] = {}
        self.sockets: dict[str, socket.socket] = {}
        for node, group in nodes.items():
            account = broker.add_agent(group, node)
            edge = session(group, node)
            edge.will(now_ms)
            self.births[node] = b"".join(self.publishing(message) for message in edge.births(now_ms, {}, 0))
            made = (batch(node, number, readings, now_ms) for number in range(1, batches + 1))
            self.data[node] = [self.publishing(edge.data(each, now_ms)) for each in made]
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


class Progress:
    """How many batches are committed, asked for no more often than matters."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self._connection = connection
        self.committed = 0

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(120):
            while self.committed < count:
                found = await (await self._connection.execute(COMMITTED)).fetchone()
                self.committed = int(found[0])
                if self.committed < count:
                    await asyncio.sleep(0.02)


async def send(crowd: Crowd, numbers: range, each: int, progress: Progress) -> None:
    """Send so many batches of each node, as quickly as they are committed; return when all are."""
    nodes = list(crowd.data)
    sent = len(nodes) * numbers.start
    for number in numbers:
        for node in nodes:
            if sent % 32 == 0:
                await progress.reach(sent - IN_FLIGHT // each)
            crowd.sockets[node].sendall(crowd.data[node][number])
            sent += 1
    await progress.reach(sent)


def start_ingest(log_path: Path, database, broker, host: str):
    """A worker of this host, as a unit of systemd starts it."""
    return spawn(
        [*program("lms-cloud"), "ingest"],
        log_path=log_path,
        env={
            **plain_environment(),
            "LMS_DATABASE_URL": database.ingest_url,
            "LMS_MQTT_URL": broker.url("cloud-ingest"),
            "LMS_HOST_ID": host,
        },
        cwd=log_path.parent,
    )


def groups_apart(count: int) -> list[str]:
    """Organizations that may be different workers'."""
    by_shard: dict[int, str] = {}
    while len(by_shard) < count:
        group = f"org-{uuid4().hex[:12]}"
        by_shard[shard_of(group)] = group
    return list(by_shard.values())


async def each_has_a_group(connection: psycopg.AsyncConnection, host: str, workers: int) -> None:
    """Wait until the organizations are shared out."""
    groups = [group for (group,) in await (await connection.execute(GROUPS)).fetchall()]
    async with asyncio.timeout(30):
        while True:
            held = read_locks(await (await connection.execute(LOCKS, [lock_class(host)])).fetchall())
            shares = [
                len([group for group in groups if shard_of(group) in held_by]) for held_by in held.shards.values()
            ]
            if shares == [1] * workers:
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(("each", "batches"), [(50, 240), (1_000, 24)])
@pytest.mark.parametrize("workers", [1, 2])
async def test_readings_per_second_beside_raw_copy(
    tmp_path: Path, migrated_database, broker, postgres, workers: int, each: int, batches: int
) -> None:
    host = f"host-{uuid4().hex[:12]}"
    nodes: dict[str, str] = {}
    for group in groups_apart(workers):  # an organization is one worker's
        of_group = [f"{group}-{n}" for n in range(AGENTS // workers)]
        await make_fleet(migrated_database.url, agents=of_group, bioreactors=of_group, group=group)
        nodes |= dict.fromkeys(of_group, group)
    crowd = Crowd(broker, nodes, each, WARM + batches)
    running = [start_ingest(tmp_path / f"ingest-{n}.log", migrated_database, broker, host) for n in range(workers)]
    url = migrated_database.superuser_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        described = json.dumps([births._describe(tag) for tag in session(host, host).tags[:TAGS]])
        await connection.execute(MAKE_SERIES, (described,))
        try:
            async with aiomqtt.Client(
                broker.host, broker.port, username="feed", password=broker.accounts["feed"].password
            ) as hearing:
                await hearing.subscribe(f"spBv1.0/STATE/{host}", 1)
                await asyncio.wait_for(anext(aiter(hearing.messages)), 30)
            await each_has_a_group(connection, host, workers)
            for node, told in crowd.births.items():
                crowd.sockets[node].sendall(told)
            async with asyncio.timeout(120):
                while (await (await connection.execute("select count(*) from feeds")).fetchone()) < (AGENTS,):
                    await asyncio.sleep(0.1)
            progress = Progress(connection)
            await send(crowd, range(WARM), each, progress)
            pids = {f"ingest {n}": each_one.pid for n, each_one in enumerate(running, 1)}
            cores = Cores(**pids, database=postgres.server.pid, broker=broker.running.pid)
            commits = await commits_so_far(connection)
            began_s, own_s = time.perf_counter(), time.process_time()
            await send(crowd, range(WARM, WARM + batches), each, progress)
            took_s, own_s = time.perf_counter() - began_s, time.process_time() - own_s
            taken_s = {**cores.taken_s(), "sender": own_s}
            commits = await commits_so_far(connection) - commits
        finally:
            for each_one in running:
                stop(each_one, ())
            crowd.close()
        stored = await (await connection.execute("select count(*) from readings")).fetchone()
        assert stored == (AGENTS * (WARM + batches) * each,), (tmp_path / "ingest-0.log").read_text()[-2000:]
        rows = await all_rows(connection)
        peers = {"raw binary COPY of the same rows": await raw_copy(connection, rows)}
        if each >= DENSE * TAGS and (await connection.execute(COMPRESS_DIRECTLY)).rowcount:
            peers["raw binary COPY of them into columns, as ingest did"] = await raw_copy(connection, rows)
    readings = AGENTS * batches * each
    for peer, taken in peers.items():
        copied_s, copy_core_s = (part * batches / (WARM + batches) for part in taken)
        show(
            f"ingest: readings/s, {AGENTS} agents × {TAGS} tags, batches of {each:,}, workers: {workers}",
            f"{readings / took_s:,.0f}",
            beside=f"{peer}: {readings / copied_s:,.0f}",
            ratio=copied_s / took_s,
        )
        taken_s |= {peer: copy_core_s}
    print("    µs of a core for each reading:")
    for name, seconds in taken_s.items():
        print(f"      {seconds / readings * 1e6:5.2f} {name}")
    print(f"    readings a commit: {readings / commits:,.0f}")


async def commits_so_far(connection: psycopg.AsyncConnection) -> int:
    """As the ledger tells: batches of one transaction have one time."""
    (commits,) = await (await connection.execute("select count(distinct committed_at) from ledger")).fetchone()
    return commits


async def all_rows(connection: psycopg.AsyncConnection) -> bytes:
    """What ingest has written, in its order, as a COPY takes it."""
    async with connection.cursor().copy(COPY_OUT) as copy:
        return b"".join([bytes(part) async for part in copy])


async def raw_copy(connection: psycopg.AsyncConnection, rows: bytes) -> tuple[float, float]:
    """Write rows as one COPY into the emptied table.

    Returns:
        Seconds, and seconds of a core in the database.
    """
    await connection.execute("truncate readings")
    backend = psutil.Process(connection.info.backend_pid)
    began_s, core_s = time.perf_counter(), cpu_s(backend)
    async with connection.cursor().copy(COPY) as copy:
        await copy.write(rows)
    return time.perf_counter() - began_s, cpu_s(backend) - core_s
