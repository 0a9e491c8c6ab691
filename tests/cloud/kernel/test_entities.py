"""Entities and their events: each change is one event in the same transaction, and the chain never forks."""

import asyncio
from datetime import datetime
from uuid import UUID, uuid4

import psycopg
import pytest
from lms_cloud.fleet.models import Agent, Bioreactor, Tag
from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.entities import EntityJournal
from lms_cloud.kernel.errors import Conflict, Invalid, NotFound
from lms_cloud.kernel.events import Event, chain_head, read_events, verify_chain
from lms_cloud.organizations.service import OrganizationService
from sqlalchemy import select


@pytest.fixture
async def organization_id(cloud_database) -> UUID:
    async with cloud_database.unit_of_work(None, actor=Actor.operator()) as uow:
        return (await OrganizationService(uow).create_organization("Fermenta")).id


@pytest.fixture
def tampering(migrated_database):
    async def tamper(statement: str) -> None:
        async with await psycopg.AsyncConnection.connect(migrated_database.superuser_url) as connection:
            await connection.execute("set session_replication_role = replica")
            await connection.execute(statement)

    return tamper


async def events_of(database, organization_id: UUID) -> list[Event]:
    async with database.unit_of_work(organization_id) as uow:
        return list(reversed(await read_events(uow.session, organization_id)))


async def test_each_change_is_one_event_that_says_who_when_and_what(cloud_database, organization_id, clock) -> None:
    user_id = uuid4()
    async with cloud_database.unit_of_work(organization_id, user_id) as uow:
        journal = EntityJournal(uow)
        made = await journal.create(Agent, organization_id=organization_id, name="A", properties={"wire_id": "a-1"})
        await journal.update(made, name="B", reason="renamed by request")
        await journal.delete(made)
    created, updated, deleted = (await events_of(cloud_database, organization_id))[1:]
    assert [each.kind for each in (created, updated, deleted)] == ["created", "updated", "deleted"]
    assert {each.actor for each in (created, updated, deleted)} == {f"user {user_id}"}
    assert {each.at for each in (created, updated, deleted)} == {clock.now()}
    assert created.before is None
    assert (updated.before["name"], updated.after["name"]) == ("A", "B")
    assert updated.reason == "renamed by request"
    assert (deleted.before["is_active"], deleted.after["is_active"]) == (True, False)


async def test_change_that_changes_nothing_is_no_event(cloud_database, organization_id) -> None:
    async with cloud_database.unit_of_work(organization_id) as uow:
        journal = EntityJournal(uow)
        made = await journal.create(Agent, organization_id=organization_id, name="A", properties={"wire_id": "a-1"})
        assert not await journal.update(made, name="A", properties={"wire_id": "a-1"})
    assert len(await events_of(cloud_database, organization_id)) == 2


async def test_failed_change_leaves_neither_row_nor_event(cloud_database, organization_id) -> None:
    async def change_and_fail() -> None:
        async with cloud_database.unit_of_work(organization_id) as uow:
            properties = {"wire_id": "a-1"}
            await EntityJournal(uow).create(Agent, organization_id=organization_id, name="A", properties=properties)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_and_fail()
    assert len(await events_of(cloud_database, organization_id)) == 1
    async with cloud_database.unit_of_work(organization_id) as uow:
        assert await EntityJournal(uow).all_of(Agent) == []


async def test_rows_can_be_built_again_from_events(cloud_database, organization_id) -> None:
    async with cloud_database.unit_of_work(organization_id) as uow:
        journal = EntityJournal(uow)
        properties = {"wire_id": "R1", "volume_l": 10}
        made = await journal.create(
            Bioreactor, organization_id=organization_id, name="STR-1", properties=properties, description="first"
        )
        await journal.update(made, name="STR-2", properties={**properties, "volume_l": 12.5})
        gone = await journal.create(Agent, organization_id=organization_id, name="A", properties={"wire_id": "a-1"})
        await journal.delete(gone)
    rebuilt = {event.entity_id: event.after for event in await events_of(cloud_database, organization_id)}
    async with cloud_database.unit_of_work(organization_id) as uow:
        for kind in (Bioreactor, Agent):
            for row in await uow.session.scalars(select(kind)):
                after = rebuilt[row.id]
                assert datetime.fromisoformat(after["updated_at"]) == row.updated_at
                assert {**row.snapshot(), "updated_at": None} == {**after, "updated_at": None}


async def test_chain_of_parallel_writers_has_no_hole_and_no_fork(cloud_database, organization_id) -> None:
    async def write(number: int) -> None:
        async with cloud_database.unit_of_work(organization_id, actor=Actor.agent(f"agent-{number}")) as uow:
            journal = EntityJournal(uow)
            for step in range(3):
                properties = {"wire_id": f"a-{number}-{step}"}
                await journal.create(Agent, organization_id=organization_id, name="A", properties=properties)

    await asyncio.gather(*(write(number) for number in range(8)))
    async with cloud_database.unit_of_work(organization_id) as uow:
        assert await verify_chain(uow.session, organization_id) is None
        assert await chain_head(uow.session, organization_id) is not None
    assert [event.sequence for event in await events_of(cloud_database, organization_id)] == list(range(1, 26))


@pytest.mark.parametrize(
    ("edit", "first_bad"),
    [
        ("update events set after = jsonb_set(after, '{name}', '\"X\"') where sequence = 2", 2),
        ("update events set actor = 'user x' where sequence = 3", 3),
        ("update events set at = at + interval '1 microsecond' where sequence = 1", 1),
        ("update events set reason = 'because' where sequence = 2", 2),
        ("delete from events where sequence = 2", 2),
        ("delete from events where sequence = 4", None),  # a cut tail: only the anchor finds it
    ],
)
async def test_superusers_edit_is_named(tampering, cloud_database, organization_id, edit, first_bad) -> None:
    async with cloud_database.unit_of_work(organization_id) as uow:
        for number in range(3):
            properties = {"wire_id": f"a-{number}"}
            await EntityJournal(uow).create(Agent, organization_id=organization_id, name="A", properties=properties)
        anchor = await chain_head(uow.session, organization_id)
    await tampering(edit)
    async with cloud_database.unit_of_work(organization_id) as uow:
        found = await verify_chain(uow.session, organization_id)
        assert (None if found is None else found.sequence) == first_bad
        anchored = await verify_chain(uow.session, organization_id, anchor)
        assert anchored is not None
        assert anchored.sequence == (first_bad or 4)


async def test_change_of_an_old_version_is_refused(cloud_database, organization_id) -> None:
    async with cloud_database.unit_of_work(organization_id) as uow:
        made = await EntityJournal(uow).create(
            Agent, organization_id=organization_id, name="A", properties={"wire_id": "a-1"}
        )
        assert made.version == 1
    async with cloud_database.unit_of_work(organization_id) as first:
        mine = await EntityJournal(first).get(Agent, made.id)
        async with cloud_database.unit_of_work(organization_id) as second:
            journal = EntityJournal(second)
            await journal.update(await journal.get(Agent, made.id), name="B")
        with pytest.raises(Conflict, match="changed meanwhile"):
            await EntityJournal(first).update(mine, name="C")
        await first.session.rollback()
    async with cloud_database.unit_of_work(organization_id) as uow:
        journal = EntityJournal(uow)
        now = await journal.get(Agent, made.id)
        assert (now.name, now.version) == ("B", 2)
        with pytest.raises(Conflict, match="at version 2 now"):
            await journal.update(now, name="D", expected_version=1)


async def test_wire_id_is_taken_once_and_free_again_after_deletion(cloud_database, organization_id) -> None:
    async with cloud_database.unit_of_work(organization_id) as uow:
        journal = EntityJournal(uow)
        first = await journal.create(Agent, organization_id=organization_id, name="A", properties={"wire_id": "a-1"})
        with pytest.raises(Conflict, match="'a-1' is already there"):
            await journal.create(Agent, organization_id=organization_id, name="B", properties={"wire_id": "a-1"})
        await journal.delete(first)
        again = await journal.create(Agent, organization_id=organization_id, name="B", properties={"wire_id": "a-1"})
        assert again.id != first.id
        with pytest.raises(NotFound):
            await journal.get(Agent, first.id)


@pytest.mark.parametrize(
    ("kind", "name", "properties", "field"),
    [
        (Agent, "", {"wire_id": "a"}, "name"),
        (Agent, "x" * 101, {"wire_id": "a"}, "name"),
        (Agent, "a\nb", {"wire_id": "a"}, "name"),
        (Agent, "A", {"wire_id": "a/b"}, "wire_id"),
        (Agent, "A", {"wire_id": "a+"}, "wire_id"),
        (Agent, "A", {"wire_id": "#"}, "wire_id"),
        (Agent, "A", {"wire_id": ""}, "wire_id"),
        (Agent, "A", {}, "wire_id"),
        (Agent, "A", {"wire_id": "a", "colour": "red"}, "colour"),
        (Bioreactor, "A", {"wire_id": "a", "volume_l": -1}, "volume_l"),
        (Bioreactor, "A", {"wire_id": "a", "volume_l": "much"}, "volume_l"),
        (Tag, "pH/PV", {"bioreactor_id": str(uuid4()), "low": 8, "high": 7}, "properties"),
        (Tag, "pH/PV", {"bioreactor_id": str(uuid4()), "datatype": "complex"}, "datatype"),
        (Tag, "pH/PV", {"bioreactor_id": str(uuid4()), "low": float("nan")}, "low"),
    ],
)
async def test_wrong_property_is_named(cloud_database, organization_id, kind, name, properties, field) -> None:
    async with cloud_database.unit_of_work(organization_id) as uow:
        with pytest.raises(Invalid) as refusal:
            await EntityJournal(uow).create(kind, organization_id=organization_id, name=name, properties=properties)
    assert refusal.value.field == field
