"""The storages that must keep one contract: PostgreSQL's, and the simulation's.

| fixture   | gives                                                                                                  |
|-----------|--------------------------------------------------------------------------------------------------------|
| `storage` | `StorageInTest`, once on PostgreSQL, once in memory: `.commit(work)`, and what is then to be found there |
"""

from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

import pytest
from lms_cloud.telemetry.incoming import Bioreactor, DeviceTags, Outcome, Work
from lms_cloud.telemetry.storage.postgres_storage import PostgresStorage
from support.plant import TAGS, connect, ingest_db, plant, query, tags

from simulation.database import ORGANIZATION, MemoryDatabase, MemoryFleet, MemoryStorage
from simulation.oracle import bits

__all__ = ["connect", "ingest_db", "plant", "query", "tags"]
NOW_MS = 1_795_435_200_000


class StorageInTest:
    """A storage, and what is in it. Each list is sorted.

    Attributes:
        home: a bioreactor.
        agent_id: of the agent that serves it.
        tags: its tags, as `support.plant.TAGS`.
    """

    home: Bioreactor
    agent_id: UUID
    tags: DeviceTags

    async def commit(self, work: Work) -> Outcome:
        """See `lms_cloud.telemetry.ingest.committing.Storage`."""
        raise NotImplementedError

    def readings(self) -> list[tuple[int, int, Any, int]]:
        """(series, ms, value by its bits, quality) of all numbers."""
        raise NotImplementedError

    def ledger(self) -> list[tuple[int, bytes, bool]]:
        """(number, digest, dead)."""
        raise NotImplementedError

    def letters(self) -> list[tuple[str, int]]:
        """(kind, how often it came)."""
        raise NotImplementedError

    def gaps(self) -> list[tuple[int, int, int | None, str]]:
        """(id, began, ended, reason)."""
        raise NotImplementedError

    def latest(self) -> list[tuple[int, int, Any]]:
        """(series, ms, value by its bits)."""
        raise NotImplementedError

    def online(self) -> list[tuple[UUID, bool]]:
        """(bioreactor, whether it is online), of all that were ever heard."""
        raise NotImplementedError


@dataclass
class OnPostgres(StorageInTest):
    """PostgreSQL's."""

    home: Bioreactor
    agent_id: UUID
    tags: DeviceTags
    storage: PostgresStorage
    query: Any

    async def commit(self, work):
        return await self.storage.commit(work)

    def readings(self):
        columns = "series_id, (extract(epoch from taken_at) * 1000)::bigint, value, quality"
        return sorted((s, ms, bits(value), q) for s, ms, value, q in self.query(f"select {columns} from readings"))

    def ledger(self):
        return sorted(
            (n, bytes(digest), dead) for n, digest, dead in self.query("select number, digest, dead from ledger")
        )

    def letters(self):
        return sorted(self.query("select kind, times from dead_letters"))

    def gaps(self):
        columns = "gap, began_at, ended_at, reason"
        return sorted(
            (id_, _ms(began), _ms(ended), why) for id_, began, ended, why in self.query(f"select {columns} from gaps")
        )

    def latest(self):
        return sorted(
            (s, _ms(at), bits(value)) for s, at, value in self.query("select series_id, taken_at, value from latest")
        )

    def online(self):
        return sorted(self.query("select bioreactor_id, online from feeds"))


@dataclass
class InMemory(StorageInTest):
    """The simulation's."""

    home: Bioreactor
    agent_id: UUID
    tags: DeviceTags
    database: MemoryDatabase

    async def commit(self, work):
        return await MemoryStorage(self.database).commit(work)

    def readings(self):
        return sorted((s, each.taken_at_ms, bits(each.value), int(each.quality)) for s, each in self.database.readings)

    def ledger(self):
        rows = [(number, entry) for stream in self.database.ledger.values() for number, entry in stream.items()]
        return sorted((number, entry.digest, entry.dead) for number, entry in rows)

    def letters(self):
        return sorted((kind, times) for kind, _, times in self.database.letters.values())

    def gaps(self):
        return sorted((id_, *rest) for (_, id_), rest in self.database.gaps.items())

    def latest(self):
        return sorted((series, ms, bits(reading.value)) for series, (ms, _, reading) in self.database.latest.items())

    def online(self):
        return sorted((id_, self.database.online.get(id_, (False, None))[0]) for id_ in self.database.cursors)


@pytest.fixture
async def storage_on_postgres(plant, tags, query):
    storage = PostgresStorage(plant.url, lambda: NOW_MS)
    yield OnPostgres(plant.r1, plant.agent_id, tags, storage, query)
    await storage.close()


@pytest.fixture
async def storage_in_memory():
    database = MemoryDatabase(Random(1))
    fleet = MemoryFleet(database, {"agent-1": "acme"}, {"agent-1": ["R1"]})
    entry = await fleet.bioreactor("acme", "agent-1", "R1")
    home = Bioreactor(entry.bioreactor_id, ORGANIZATION, "acme", "R1")
    return InMemory(home, entry.agent_id, await fleet.register(entry, TAGS), database)


@pytest.fixture(params=["storage_on_postgres", "storage_in_memory"])
def storage(request):
    return request.getfixturevalue(request.param)


def _ms(instant: Any) -> int | None:
    return None if instant is None else round(instant.timestamp() * 1000)
