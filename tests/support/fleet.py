"""Put an organization with agents and bioreactors into a migrated database, for whatever test needs one."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from lms_cloud.fleet.models import Agent, Bioreactor
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.entities import EntityJournal
from lms_cloud.organizations.models import Organization


@dataclass(frozen=True)
class Fleet:
    """What was made: ids of the entities, by wire id where there are several."""

    organization_id: UUID
    group: str
    agents: dict[str, UUID]
    bioreactors: dict[str, UUID]


async def make_fleet(owner_url: str, *, agents: Sequence[str], bioreactors: Sequence[str], group: str = "") -> Fleet:
    """Make it, as the database's owner.

    Args:
        agents, bioreactors: wire ids.
        group: the organization's wire id; "" for a new one.
    """
    organization_id = uuid4()
    group = group or f"org-{organization_id.hex[:12]}"
    async with Database(owner_url) as database, database.unit_of_work(organization_id) as uow:
        journal = EntityJournal(uow)
        await journal.create(
            Organization,
            organization_id=organization_id,
            id=organization_id,
            name="Test organization",
            properties={"wire_id": group},
        )

        async def make(kind: type[Agent] | type[Bioreactor], wire_id: str) -> UUID:
            entity = await journal.create(
                kind, organization_id=organization_id, name=wire_id, properties={"wire_id": wire_id}
            )
            return entity.id

        return Fleet(
            organization_id,
            group,
            {wire_id: await make(Agent, wire_id) for wire_id in agents},
            {wire_id: await make(Bioreactor, wire_id) for wire_id in bioreactors},
        )
