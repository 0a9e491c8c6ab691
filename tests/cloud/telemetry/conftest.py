"""Fixtures of the telemetry tests: an organization with an agent and two bioreactors in a real PostgreSQL.

| fixture       | gives                                                                                        |
|---------------|----------------------------------------------------------------------------------------------|
| `plant`       | `Plant`: wire ids, entity ids, and `.url` (ingest's), `.web_url`, `.superuser_url`           |
| `ingest_db`   | a `Database` as `lms_ingest`                                                                 |
| `web_db`      | a `Database` as `lms_web`                                                                    |
| `connect`     | async: `await connect()` gives a psycopg connection as ingest has it; closed afterwards      |
| `tags`        | `DeviceTags` of R1, registered: 1 pH/PV, 2 DO/PV, 3 Phase (text), 4 Counter, 5 Pump (bool)   |
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from lms_cloud.fleet.models import Agent, Bioreactor
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.entities import EntityJournal
from lms_cloud.organizations.models import Organization
from lms_cloud.telemetry.births import TagRegister
from lms_cloud.telemetry.incoming import Bioreactor as KnownBioreactor
from lms_cloud.telemetry.incoming import DeviceTags
from lms_protocol.reading import Datatype, TagDescription

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
    group: str = "demo-org"
    node: str = "agent-1"


@pytest.fixture
async def plant(migrated_database) -> Plant:
    organization_id = UUID("11111111-1111-4111-8111-111111111111")
    async with Database(migrated_database.url) as database, database.unit_of_work(organization_id) as uow:
        journal = EntityJournal(uow)
        await journal.create(
            Organization,
            organization_id=organization_id,
            id=organization_id,
            name="Demo",
            properties={"wire_id": "demo-org"},
        )
        agent = await journal.create(
            Agent, organization_id=organization_id, name="Bench 1", properties={"wire_id": "agent-1"}
        )
        made = [
            await journal.create(
                Bioreactor, organization_id=organization_id, name=f"STR-{wire}", properties={"wire_id": wire}
            )
            for wire in ("R1", "R2")
        ]
    r1, r2 = (KnownBioreactor(each.id, organization_id, "demo-org", each.properties["wire_id"]) for each in made)
    return Plant(
        organization_id,
        agent.id,
        r1,
        r2,
        migrated_database.ingest_url,
        migrated_database.web_url,
        migrated_database.superuser_url,
    )


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
    return await TagRegister(ingest_db).register(plant.r1, plant.node, TAGS)


@pytest.fixture
def query(plant: Plant) -> Callable[..., list[tuple]]:
    """Ask the database as its superuser, whom row security does not hide anything from."""

    def ask(statement: str, *values: object) -> list[tuple]:
        with psycopg.connect(plant.superuser_url) as connection:
            return connection.execute(statement, values or None).fetchall()

    return ask
