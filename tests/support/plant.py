"""Fixtures for tests that store readings: an organization with an agent and two bioreactors in a real PostgreSQL.

| fixture       | gives                                                                                        |
|---------------|----------------------------------------------------------------------------------------------|
| `plant`       | `Plant`: wire ids, entity ids, and `.url` (ingest's), `.web_url`, `.superuser_url`           |
| `ingest_db`   | a `Database` as `lms_ingest`                                                                 |
| `web_db`      | a `Database` as `lms_web`                                                                    |
| `connect`     | async: `await connect()` gives a psycopg connection as ingest has it; closed afterwards      |
| `tags`        | `DeviceTags` of R1, registered: 1 pH/PV, 2 DO/PV, 3 Phase (text), 4 Counter, 5 Pump (bool)   |
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid4

import aiomqtt
import psycopg
import pytest
from lms_cloud.fleet.directory import BioreactorEntry, FleetDirectory
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.ending import end
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.telemetry.incoming import Bioreactor as KnownBioreactor
from lms_cloud.telemetry.incoming import DeviceTags
from lms_cloud.telemetry.ingest.births import TagRegister
from lms_cloud.telemetry.ingest.worker import Ingest, postgres_backing
from lms_protocol.delivery import SendingWindow
from lms_protocol.edge import Acknowledged, EdgeSession, RebirthRequested, Refused
from lms_protocol.messages import HostState
from lms_protocol.reading import Batch, ClockRecord, Datatype, Gap, Reading, TagDescription

from support.fleet import make_fleet
from support.patience import PATIENCE_S, awaiting

TAGS = (
    TagDescription(1, "R1", "pH/PV", unit="pH", low=6.8, high=7.2, decimals=2),
    TagDescription(2, "R1", "DO/PV", unit="%", low=0.0, high=100.0, decimals=1),
    TagDescription(3, "R1", "Phase", Datatype.STRING),
    TagDescription(4, "R1", "Counter", Datatype.INT64),
    TagDescription(5, "R1", "Pump", Datatype.BOOLEAN),
)


@dataclass(frozen=True)
class Plant:
    """One organization as the tests find it."""

    organization_id: UUID
    agent_id: UUID
    r1: KnownBioreactor
    r2: KnownBioreactor
    url: str
    web_url: str
    superuser_url: str
    group: str
    node: str


async def make_plant(migrated_database) -> Plant:
    """One more organization in a database."""
    node = f"agent-{uuid4().hex[:12]}"
    fleet = await make_fleet(migrated_database.url, agents=[node], bioreactors=["R1", "R2"])
    r1, r2 = (
        KnownBioreactor(id_, fleet.organization_id, fleet.group, wire_id) for wire_id, id_ in fleet.bioreactors.items()
    )
    return Plant(
        fleet.organization_id,
        fleet.agents[node],
        r1,
        r2,
        migrated_database.ingest_url,
        migrated_database.web_url,
        migrated_database.superuser_url,
        fleet.group,
        node,
    )


@pytest.fixture
async def plant(migrated_database) -> Plant:
    return await make_plant(migrated_database)


@pytest.fixture
async def ingest_db(plant: Plant) -> AsyncIterator[Database]:
    async with Database(plant.url) as database:
        yield database


@pytest.fixture
async def web_db(plant: Plant) -> AsyncIterator[Database]:
    async with Database(plant.web_url) as database:
        yield database


@pytest.fixture
async def connect(plant: Plant) -> AsyncIterator[Callable[[], Awaitable[psycopg.AsyncConnection]]]:
    opened: list[psycopg.AsyncConnection] = []

    async def connect() -> psycopg.AsyncConnection:
        opened.append(await psycopg.AsyncConnection.connect(plant.url, autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        await connection.close()


@pytest.fixture
async def tags(plant: Plant, ingest_db: Database) -> DeviceTags:
    entry = BioreactorEntry(plant.organization_id, plant.agent_id, plant.r1.id, plant.group, plant.node, "R1")
    return await TagRegister(ingest_db, FleetDirectory(ingest_db)).register(entry, TAGS)


@pytest.fixture
def query(plant: Plant) -> Callable[..., list[tuple]]:
    """Ask the database as its superuser, whom row security does not hide anything from."""

    def ask(statement: str, *values: object) -> list[tuple]:
        with psycopg.connect(plant.superuser_url) as connection:
            return connection.execute(statement, values or None).fetchall()

    return ask


class SmallAgent:
    """An agent without instruments: a log in memory, real delivery over the real broker.

    `append` puts a batch into the log; while `run` is entered it is sent until it is acknowledged.
    """

    def __init__(self, url: str, plant: Plant, host: str) -> None:
        sync = {
            (device, name): number
            for device, base in (("R1", 90), ("R2", 190))
            for number, name in ((base, "Sync/Batch"), (base + 1, "Sync/Gap"), (base + 2, "Sync/Clock"))
        }
        kinds = {"Sync/Batch": Datatype.UINT64, "Sync/Gap": Datatype.STRING, "Sync/Clock": Datatype.STRING}
        described = [TagDescription(number, device, name, kinds[name]) for (device, name), number in sync.items()]
        described += [*TAGS, *(replace(tag, number=tag.number + 100, device="R2") for tag in TAGS)]
        self.stream = uuid4()
        self.session = EdgeSession(
            group=plant.group, node=plant.node, stream=self.stream, bd_seq=None, tags=described, primary_host=host
        )
        self.window = SendingWindow(resend_after_s=5.0)
        self.log: dict[int, Batch] = {}
        self.host_online = asyncio.Event()
        self.refused: list[int] = []
        self.rebirths = 0
        self._url = urlsplit(url)
        self._appended = asyncio.Event()

    def append(
        self, device: str, readings: Sequence[Reading], gaps: Sequence[Gap] = (), clock: ClockRecord | None = None
    ) -> Batch:
        batch = Batch(len(self.log) + 1, device, tuple(readings), tuple(gaps), clock)
        self.log[batch.number] = batch
        self.window.appended(batch.number)
        self._appended.set()
        return batch

    async def delivered(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until everything in the log is acknowledged."""
        async with awaiting(lambda: f"{len(self.log)} batches acknowledged; {self.window.acked} are", timeout_s):
            while self.window.acked < len(self.log):
                await asyncio.sleep(0.01)

    async def until_host_online(self) -> None:
        """Wait until the host has said that it is there."""
        async with awaiting("the agent hears that its host is online"):
            await self.host_online.wait()

    @asynccontextmanager
    async def run(self) -> AsyncIterator["SmallAgent"]:
        """Stay connected, whatever happens to the broker."""
        task = asyncio.create_task(self._stay_connected())
        try:
            yield self
        finally:
            await end((task,))

    async def _stay_connected(self) -> None:
        while True:
            with suppress(aiomqtt.MqttError):
                await self._connection()
            self.window.disconnected()
            await asyncio.sleep(0.1)

    async def _connection(self) -> None:
        will = aiomqtt.Will(*self.session.will(time.time_ns() // 1_000_000))
        async with aiomqtt.Client(
            self._url.hostname,
            self._url.port,
            username=unquote(self._url.username),
            password=unquote(self._url.password),
            will=will,
        ) as client:
            for topic, qos in self.session.subscriptions:
                await client.subscribe(topic, qos)
            # Whichever of the two fails ends the connection: a sender that died must not go unnoticed.
            tasks = [asyncio.create_task(work) for work in (self._send(client), self._hear_all(client))]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                await end(tasks)
                with suppress(aiomqtt.MqttError):
                    await client.publish(*self.session.death(time.time_ns() // 1_000_000))

    async def _hear_all(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            await self._hear(client, message)

    async def _hear(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        for event in self.session.receive(message.topic.value, message.payload):
            if isinstance(event, HostState):
                if event.online:
                    await self._be_born(client)
                    self.host_online.set()
                else:
                    self.host_online.clear()
                    self.window.disconnected()
            elif isinstance(event, Acknowledged):
                self.window.acknowledged(event.number, event.ranges)
                self._appended.set()
            elif isinstance(event, RebirthRequested):
                self.rebirths += 1
                await self._be_born(client)
            elif isinstance(event, Refused):
                self.refused.append(event.number)

    async def _be_born(self, client: aiomqtt.Client) -> None:
        for publish in self.session.births(time.time_ns() // 1_000_000, {}, self.window.acked, len(self.log)):
            await client.publish(*publish)
        self.window.connected(acked=self.window.acked, head=len(self.log))
        self._appended.set()

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            sending = self.window.next(time.monotonic()) if self.session.born else None
            if sending is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await self._appended.wait()
                self._appended.clear()
                continue
            batch = self.log[sending.number]
            now_ms = time.time_ns() // 1_000_000
            await client.publish(*self.session.data(batch, now_ms, historical=sending.historical))


@pytest.fixture
def ingest_settings(plant: Plant, broker) -> CloudSettings:
    """Settings of an ingest worker with a host id of its own."""
    url = broker.url("cloud-ingest")
    return CloudSettings(database_url=plant.url, mqtt_url=url, host_id=f"host-{plant.organization_id.hex[:12]}")


@pytest.fixture
def agent(plant: Plant, broker, ingest_settings: CloudSettings) -> SmallAgent:
    """An agent of the plant on the session's broker; `async with agent.run()`."""
    broker.add_agent(plant.group, plant.node)
    return SmallAgent(broker.url(plant.node), plant, ingest_settings.host_id)


@pytest.fixture
def ingesting(ingest_db: Database) -> Callable[[CloudSettings], AbstractAsyncContextManager[Ingest]]:
    """`async with ingesting(ingest_settings) as worker`: a worker in this process, stopped properly at the end."""

    @asynccontextmanager
    async def run(ingest_settings: CloudSettings) -> AsyncIterator[Ingest]:
        worker = Ingest(ingest_settings, postgres_backing(ingest_settings, ingest_db))
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(task, 30)

    return run
