"""The fleet by wire ids: whose a message is, and the tags that a birth tells of.

Before it: the broker's messages, in telemetry's ingest. After it: fleet/models.py's entities. Ingest serves every
organization, so the look-ups run without a tenant, under the policy of the role lms_ingest; what it writes, it writes
as the one organization that the message belongs to.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from lms_protocol.reading import TagDescription
from lms_protocol.units import former_name, is_other_unit
from sqlalchemy import Text, cast, or_, select
from sqlalchemy.orm import aliased

from lms_cloud.fleet.models import Agent, Bioreactor, DatatypeName, Tag, TagProperties
from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.database import Database, UnitOfWork
from lms_cloud.kernel.entities import EntityJournal
from lms_cloud.kernel.events import lock_chain
from lms_cloud.organizations.models import Organization

ToldUnits: TypeAlias = Callable[[UnitOfWork], Awaitable[Mapping[str, str]]]
"""Tells, by name, in which unit a bioreactor's tags were told last; of those that have readings or may have."""


class AgentEntry(NamedTuple):
    """An agent that the fleet knows."""

    organization_id: UUID
    agent_id: UUID
    group: str
    node: str


class BioreactorEntry(NamedTuple):
    """A bioreactor that the fleet knows, and that this agent serves."""

    organization_id: UUID
    agent_id: UUID
    bioreactor_id: UUID
    group: str
    node: str
    device: str


class FleetDirectory:
    """Finds agents and bioreactors by their wire ids, and keeps tags as births describe them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def agent(self, group: str, node: str) -> AgentEntry | None:
        """The agent `node` of the organization `group`; None where the fleet knows no such agent."""
        agent = aliased(Agent)
        query = (
            select(Organization.id, agent.id)
            .select_from(Organization)
            .join(agent, agent.organization_id == Organization.id)
            .where(Organization.is_active, _wire_id(Organization) == group, agent.is_active, _wire_id(agent) == node)
        )
        async with self._database.unit_of_work(None) as uow:
            row = (await uow.session.execute(query)).one_or_none()
        return None if row is None else AgentEntry(row[0], row[1], group, node)

    async def bioreactor(self, group: str, node: str, device: str) -> BioreactorEntry | None:
        """The bioreactor `device` that the agent `node` serves.

        None where the fleet knows no such bioreactor, or says that another agent serves it: an agent speaks for its
        own bioreactors only.
        """
        agent, bioreactor = aliased(Agent), aliased(Bioreactor)
        serving = bioreactor.properties["agent_id"].astext
        query = (
            select(Organization.id, agent.id, bioreactor.id)
            .select_from(Organization)
            .join(agent, agent.organization_id == Organization.id)
            .join(bioreactor, bioreactor.organization_id == Organization.id)
            .where(
                Organization.is_active,
                _wire_id(Organization) == group,
                agent.is_active,
                _wire_id(agent) == node,
                bioreactor.is_active,
                _wire_id(bioreactor) == device,
                or_(serving.is_(None), serving == cast(agent.id, Text)),
            )
        )
        async with self._database.unit_of_work(None) as uow:
            row = (await uow.session.execute(query)).one_or_none()
        return None if row is None else BioreactorEntry(row[0], row[1], row[2], group, node, device)

    async def keep_tags(
        self,
        bioreactor: BioreactorEntry,
        tags: Iterable[TagDescription],
        told_units: ToldUnits | None = None,
    ) -> Mapping[str, UUID]:
        """Create the tags that a birth tells of and the fleet does not know; change those that it tells otherwise.

        A tag whose unit is told otherwise is another tag (see `lms_protocol.units`): its readings were taken in another
        unit. Doing it twice changes nothing. Each creation and change is an event by "agent <wire id>".

        Args:
            bioreactor: whose birth it is.
            tags: the birth's descriptions; the wire's own (`Sync/…`) are for the caller to leave out.
            told_units: says in which unit each tag was told last, as people may have changed that of the tag; asked
                once nobody else can change tags any more.

        Returns:
            The tags' ids by name, of those in `tags`.
        """
        actor = Actor.agent(bioreactor.node)
        tags = list(tags)
        async with self._database.unit_of_work(bioreactor.organization_id, actor=actor) as uow:
            # Two workers with the same birth: the second waits here, then finds the tags of the first.
            await lock_chain(uow, bioreactor.organization_id)
            journal = EntityJournal(uow)
            known = {tag.name: tag for tag in await FleetService(uow).tags_of([bioreactor.bioreactor_id])}
            units = {} if told_units is None else dict(await told_units(uow))
            for description in tags:  # all of them before any is made: a former name must not be given away
                await _make_way(journal, known, description, units)
            ids: dict[str, UUID] = {}
            for description in tags:
                properties = tag_properties(bioreactor.bioreactor_id, description)
                tag = known.get(description.name)
                if tag is None:
                    tag = await journal.create(
                        Tag,
                        organization_id=bioreactor.organization_id,
                        name=description.name,
                        properties=properties,
                        reason="told by the agent's birth",
                    )
                    known[tag.name] = tag
                else:
                    await journal.update(tag, properties=properties, reason="told otherwise by the agent's birth")
                ids[description.name] = tag.id
            return ids


async def _make_way(journal: EntityJournal, known: dict[str, Tag], told: TagDescription, units: dict[str, str]) -> None:
    """If the name that a birth tells is that of a tag in another unit, give that one its former name.

    Args:
        known: the tags by name; changed.
        units: in which each was told last; changed.
    """
    name, unit = told.name, units.get(told.name)
    former_of_told = former_name(name, told.unit)
    returns = units.get(former_of_told) == told.unit
    if name not in known or unit is None:
        return
    if not (is_other_unit(unit, told.unit) or (returns and unit != told.unit)):
        return
    aside = former = former_name(name, unit)
    count = 1
    while aside in known:
        count += 1
        aside = f"{former} {count}"
    moves = [(name, aside)] + ([(former_of_told, name)] if returns else [])
    for before, after in moves:
        reason = f"the agent reads {name} in {told.unit or 'no unit'} from now on"
        await journal.update(known[before], name=after, reason=reason)
        known[after], units[after] = known.pop(before), units.pop(before)


def tag_properties(bioreactor_id: UUID, description: TagDescription) -> TagProperties:
    """What a birth says of a tag, as the fleet keeps it."""
    datatype: DatatypeName = description.datatype.name.lower()  # type: ignore[assignment]  # Datatype's names are these
    return TagProperties(
        bioreactor_id=bioreactor_id,
        unit=description.unit,
        low=description.low,
        high=description.high,
        decimals=description.decimals,
        datatype=datatype,
        access=description.access,
        alias=description.number,
    )


def _wire_id(kind: type[Organization] | type[Agent] | type[Bioreactor]) -> Any:
    return kind.properties["wire_id"].astext
