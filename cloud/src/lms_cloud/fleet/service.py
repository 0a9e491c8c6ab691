"""What can be done with the fleet, in one unit of work; knows no HTTP.

Used by fleet/api.py, the pages, the command line, and (through fleet/directory.py) by ingest.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from lms_cloud.fleet.models import Agent, AgentProperties, Bioreactor, BioreactorProperties, Tag, TagProperties
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.entities import E, Entity, EntityJournal, EntityProperties, P, check_properties
from lms_cloud.kernel.errors import Forbidden, Invalid, NotFound
from lms_cloud.kernel.wire_ids import wire_id_from


class FleetService:
    """Bioreactors, agents and tags of the unit of work's organization."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._journal = EntityJournal(uow)

    async def list_bioreactors(self) -> list[Bioreactor]:
        """All bioreactors, by name."""
        return await self._journal.all_of(Bioreactor)

    async def get_bioreactor(self, bioreactor_id: UUID) -> Bioreactor:
        """One bioreactor.

        Raises:
            NotFound: there is none with that id in this organization.
        """
        return await self._journal.get(Bioreactor, bioreactor_id)

    async def list_agents(self) -> list[Agent]:
        """All agents, by name."""
        return await self._journal.all_of(Agent)

    async def get_agent(self, agent_id: UUID) -> Agent:
        """One agent.

        Raises:
            NotFound: there is none with that id in this organization.
        """
        return await self._journal.get(Agent, agent_id)

    async def list_tags(self, bioreactor_id: UUID) -> list[Tag]:
        """All tags of a bioreactor, by name.

        Raises:
            NotFound: there is no such bioreactor in this organization.
        """
        await self.get_bioreactor(bioreactor_id)
        return await self.tags_of([bioreactor_id])

    async def tags_of(self, bioreactor_ids: Sequence[UUID]) -> list[Tag]:
        """All tags of several bioreactors at once, by bioreactor and name."""
        bioreactor = Tag.properties["bioreactor_id"].astext
        query = (
            select(Tag)
            .where(Tag.is_active, bioreactor.in_([str(each) for each in bioreactor_ids]))
            .order_by(bioreactor, Tag.name)
        )
        return list(await self._uow.session.scalars(query))

    async def get_tag(self, tag_id: UUID) -> Tag:
        """One tag.

        Raises:
            NotFound: there is none with that id in this organization.
        """
        return await self._journal.get(Tag, tag_id)

    async def find_bioreactor(self, wire_id: str) -> Bioreactor | None:
        """The bioreactor with that wire id; None where there is none."""
        return await self._find(Bioreactor, wire_id)

    async def find_agent(self, wire_id: str) -> Agent | None:
        """The agent with that wire id; None where there is none."""
        return await self._find(Agent, wire_id)

    async def create_agent(self, name: str, *, wire_id: str | None = None, description: str | None = None) -> Agent:
        """Create an agent.

        Args:
            name: as people call it.
            wire_id: its Sparkplug edge node id; made from the name if None.
            description: anything worth knowing.

        Raises:
            Invalid: a field is not allowed.
            Conflict: the wire id is taken in this organization.
        """
        return await self._journal.create(
            Agent,
            organization_id=self._organization_id(),
            name=name,
            description=description,
            properties={"wire_id": wire_id if wire_id is not None else wire_id_from(name)},
        )

    async def create_bioreactor(
        self,
        name: str,
        *,
        wire_id: str | None = None,
        agent_id: UUID | None = None,
        kind: str | None = None,
        volume_l: float | None = None,
        location: str | None = None,
        description: str | None = None,
    ) -> Bioreactor:
        """Create a bioreactor.

        Args:
            name: as people call it.
            wire_id: its Sparkplug device id; made from the name if None.
            agent_id: the agent that serves it.
            kind: such as "stirred tank".
            volume_l: working volume, L.
            location: where it stands.
            description: anything worth knowing.

        Raises:
            Invalid: a field is not allowed, or there is no such agent in this organization.
            Conflict: the wire id is taken in this organization.
        """
        await self._check_agent(agent_id)
        properties = {
            "wire_id": wire_id if wire_id is not None else wire_id_from(name),
            "agent_id": None if agent_id is None else str(agent_id),
            "kind": kind,
            "volume_l": volume_l,
            "location": location,
        }
        return await self._journal.create(
            Bioreactor,
            organization_id=self._organization_id(),
            name=name,
            description=description,
            properties=properties,
        )

    async def create_tag(
        self, name: str, properties: TagProperties | dict[str, Any], *, description: str | None = None
    ) -> Tag:
        """Create a tag.

        Raises:
            Invalid: a field is not allowed, or there is no such bioreactor in this organization.
            Conflict: the bioreactor has a tag of that name.
        """
        bioreactor_id = self._typed(TagProperties, Tag, properties).bioreactor_id
        try:
            await self.get_bioreactor(bioreactor_id)
        except NotFound as error:
            raise Invalid("bioreactor_id", str(bioreactor_id), "a bioreactor of this organization") from error
        return await self._journal.create(
            Tag,
            organization_id=self._organization_id(),
            name=name,
            description=description,
            properties=properties,
        )

    async def change_bioreactor(
        self,
        bioreactor_id: UUID,
        *,
        name: str | None = None,
        description: str | None = None,
        properties: BioreactorProperties | dict[str, Any] | None = None,
        expected_version: int | None = None,
    ) -> Bioreactor:
        """Change what is not None.

        Raises:
            NotFound, Invalid, Conflict: as `get_bioreactor` and `create_bioreactor`; Conflict also where it is no
                longer at `expected_version`.
        """
        bioreactor = await self.get_bioreactor(bioreactor_id)
        if properties is not None:
            await self._check_agent(self._typed(BioreactorProperties, Bioreactor, properties).agent_id)
        await self._journal.update(
            bioreactor,
            name=name,
            description=description,
            properties=properties,
            expected_version=expected_version,
        )
        return bioreactor

    async def change_agent(
        self,
        agent_id: UUID,
        *,
        name: str | None = None,
        description: str | None = None,
        properties: AgentProperties | dict[str, Any] | None = None,
        expected_version: int | None = None,
    ) -> Agent:
        """Change what is not None.

        Raises:
            NotFound, Invalid, Conflict: as `change_bioreactor`.
        """
        agent = await self.get_agent(agent_id)
        await self._journal.update(
            agent, name=name, description=description, properties=properties, expected_version=expected_version
        )
        return agent

    async def change_tag(
        self,
        tag_id: UUID,
        *,
        name: str | None = None,
        description: str | None = None,
        properties: TagProperties | dict[str, Any] | None = None,
        expected_version: int | None = None,
        reason: str | None = None,
    ) -> Tag:
        """Change what is not None.

        Raises:
            NotFound, Invalid, Conflict: as `change_bioreactor`.
        """
        tag = await self.get_tag(tag_id)
        await self._journal.update(
            tag,
            name=name,
            description=description,
            properties=properties,
            expected_version=expected_version,
            reason=reason,
        )
        return tag

    async def delete(self, entity: Bioreactor | Agent | Tag, *, reason: str | None = None) -> None:
        """Retire one of the fleet: no longer listed, its wire id free again, its readings and events kept.

        Raises:
            Forbidden: an agent still serves bioreactors, or a bioreactor still has tags.
        """
        if isinstance(entity, Agent) and await self._count(Bioreactor, "agent_id", entity.id):
            raise Forbidden(f"delete the agent {entity.name!r}", "it still serves bioreactors; give them another first")
        if isinstance(entity, Bioreactor):
            for tag in await self.tags_of([entity.id]):
                await self._journal.delete(tag, reason=reason or f"its bioreactor {entity.name!r} was deleted")
        await self._journal.delete(entity, reason=reason)

    def _organization_id(self) -> UUID:
        if self._uow.organization_id is None:
            raise Forbidden("change the fleet", "you belong to no organization; create one first")
        return self._uow.organization_id

    @staticmethod
    def _typed(model: type[P], kind: type[Entity], properties: EntityProperties | dict[str, Any]) -> P:
        return model.model_validate(check_properties(kind, properties))

    async def _check_agent(self, agent_id: UUID | None) -> None:
        if agent_id is None:
            return
        try:
            await self.get_agent(agent_id)
        except NotFound as error:
            raise Invalid("agent_id", str(agent_id), "an agent of this organization") from error

    async def _find(self, kind: type[E], wire_id: str) -> E | None:
        query = select(kind).where(kind.is_active, kind.properties["wire_id"].astext == wire_id)
        return (await self._uow.session.scalars(query)).one_or_none()

    async def _count(self, kind: type[Entity], property_: str, id_: UUID) -> int:
        column = kind.properties[property_].astext
        query = select(func.count()).select_from(kind).where(kind.is_active, column == str(id_))
        return (await self._uow.session.execute(query)).scalar_one()
