"""The fleet by wire ids: an agent speaks for its own bioreactors only, and births keep the tags."""

import asyncio
from uuid import UUID

import pytest
from lms_cloud.fleet.directory import BioreactorEntry, FleetDirectory
from lms_cloud.fleet.models import Tag
from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.events import read_events, verify_chain
from lms_cloud.organizations.service import OrganizationService
from lms_protocol.reading import Datatype, TagDescription


async def organize(database, wire_id: str) -> UUID:
    """An organization with the agents a-1 (serves R1) and a-2 (serves R2)."""
    async with database.unit_of_work(None, actor=Actor.operator()) as uow:
        organization = await OrganizationService(uow).create_organization(wire_id.title(), wire_id=wire_id)
        service = FleetService(uow)
        for agent, bioreactor in (("a-1", "R1"), ("a-2", "R2")):
            made = await service.create_agent(agent, wire_id=agent)
            await service.create_bioreactor(f"STR {bioreactor}", wire_id=bioreactor, agent_id=made.id)
        return organization.id


@pytest.fixture
async def organization_id(cloud_database) -> UUID:
    return await organize(cloud_database, "fermenta")


@pytest.fixture
def directory(ingest_database) -> FleetDirectory:
    return FleetDirectory(ingest_database)


@pytest.fixture
async def bioreactor(directory, organization_id) -> BioreactorEntry:
    found = await directory.bioreactor("fermenta", "a-1", "R1")
    assert found is not None
    return found


def described(number: int, name: str, **more) -> TagDescription:
    return TagDescription(number=number, device="R1", name=name, **more)


async def test_agents_and_bioreactors_are_found_by_wire_ids(directory, organization_id, cloud_database) -> None:
    other = await organize(cloud_database, "kefir")
    agent = await directory.agent("fermenta", "a-1")
    assert (agent.organization_id, agent.group, agent.node) == (organization_id, "fermenta", "a-1")
    theirs = await directory.agent("kefir", "a-1")
    assert theirs.organization_id == other
    assert theirs.agent_id != agent.agent_id
    bioreactor = await directory.bioreactor("fermenta", "a-1", "R1")
    assert (bioreactor.organization_id, bioreactor.agent_id) == (organization_id, agent.agent_id)


@pytest.mark.parametrize(
    ("group", "node", "device"),
    [("fermenta", "a-1", "R9"), ("fermenta", "a-9", "R1"), ("nobody", "a-1", "R1"), ("fermenta", "a-1", "R2")],
)
async def test_unknown_or_foreign_bioreactor_is_not_found(directory, organization_id, group, node, device) -> None:
    assert await directory.bioreactor(group, node, device) is None
    if device == "R1":
        assert await directory.agent(group, node) is None


async def test_birth_creates_tags_as_events_of_the_agent(directory, bioreactor, cloud_database) -> None:
    tags = [
        described(1, "pH/PV", unit="pH", low=6.8, high=7.2, decimals=2),
        described(2, "DO/SP", unit="%", access="write", datatype=Datatype.FLOAT),
    ]
    ids = await directory.keep_tags(bioreactor, tags)
    async with cloud_database.unit_of_work(bioreactor.organization_id) as uow:
        found = {tag.name: tag for tag in await FleetService(uow).list_tags(bioreactor.bioreactor_id)}
        events = await read_events(uow.session, bioreactor.organization_id, limit=2)
    assert {name: tag.id for name, tag in found.items()} == ids
    properties = found["pH/PV"].typed
    assert (properties.unit, properties.low, properties.high, properties.decimals, properties.alias) == (
        "pH",
        6.8,
        7.2,
        2,
        1,
    )
    assert found["DO/SP"].typed.sparkplug_datatype is Datatype.FLOAT
    assert found["DO/SP"].typed.access == "write"
    assert {event.actor for event in events} == {"agent a-1"}


async def test_same_birth_twice_changes_nothing_and_a_changed_one_is_an_event(
    directory, bioreactor, cloud_database
) -> None:
    async def count() -> int:
        async with cloud_database.unit_of_work(bioreactor.organization_id) as uow:
            return len(await read_events(uow.session, bioreactor.organization_id, limit=100))

    first = await directory.keep_tags(bioreactor, [described(1, "pH/PV", unit="pH", high=7.2)])
    before = await count()
    assert await directory.keep_tags(bioreactor, [described(1, "pH/PV", unit="pH", high=7.2)]) == first
    assert await count() == before
    assert await directory.keep_tags(bioreactor, [described(1, "pH/PV", unit="pH", high=7.4)]) == first
    assert await count() == before + 1


async def test_one_birth_at_two_workers_creates_each_tag_once(directory, bioreactor, cloud_database) -> None:
    tags = [described(number, f"T{number}/PV") for number in range(1, 6)]
    first, second = await asyncio.gather(
        directory.keep_tags(bioreactor, tags), directory.keep_tags(bioreactor, reversed(tags))
    )
    assert first == second
    async with cloud_database.unit_of_work(bioreactor.organization_id) as uow:
        assert len(await FleetService(uow).list_tags(bioreactor.bioreactor_id)) == 5
        assert await verify_chain(uow.session, bioreactor.organization_id) is None


async def test_ingest_sees_no_accounts_and_no_events_of_others(ingest_database, organization_id) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import ProgrammingError

    for table in ("users", "passwords", "sessions", "memberships"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with ingest_database.unit_of_work(organization_id) as uow:
                await uow.session.execute(text(f"select * from {table}"))
    async with ingest_database.unit_of_work(None) as uow:
        assert (await uow.session.execute(text("select count(*) from events"))).scalar_one() == 0


async def test_tags_of_several_bioreactors_come_in_one_query(directory, bioreactor, cloud_database) -> None:
    await directory.keep_tags(bioreactor, [described(1, "pH/PV"), described(2, "DO/PV")])
    async with cloud_database.unit_of_work(bioreactor.organization_id) as uow:
        service = FleetService(uow)
        bioreactors = await service.list_bioreactors()
        tags: list[Tag] = await service.tags_of([each.id for each in bioreactors])
    assert [tag.name for tag in tags] == ["DO/PV", "pH/PV"]
