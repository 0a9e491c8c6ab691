"""Row security: nobody sees or writes another organization's rows, and without a tenant there are none."""

from uuid import UUID, uuid4

import psycopg
import pytest
from lms_cloud.fleet.models import Bioreactor
from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.entities import EntityJournal
from lms_cloud.kernel.events import Event
from lms_cloud.organizations.service import OrganizationService
from sqlalchemy import func, select, text
from sqlalchemy.exc import ProgrammingError

TENANT_TABLES = ("entities", "events", "users", "passwords", "memberships", "sessions")


async def new_organization(database: Database, name: str) -> UUID:
    async with database.unit_of_work(None, actor=Actor.operator()) as uow:
        organization = await OrganizationService(uow).create_organization(name)
        await EntityJournal(uow).create(
            Bioreactor, organization_id=organization.id, name="STR-1", properties={"wire_id": "R1"}
        )
        return organization.id


async def test_application_roles_own_nothing_and_cannot_pass_by_row_security(migrated_database) -> None:
    async with await psycopg.AsyncConnection.connect(migrated_database.url) as connection:
        roles = await (
            await connection.execute(
                "select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin from pg_roles"
                " where rolname in ('lms_web', 'lms_ingest')"
            )
        ).fetchall()
        owned = await (
            await connection.execute(
                "select relname from pg_class where pg_get_userbyid(relowner) in ('lms_web', 'lms_ingest')"
            )
        ).fetchall()
    assert sorted(roles) == [("lms_ingest", *[False] * 5), ("lms_web", *[False] * 5)]
    assert owned == []


async def test_no_tenant_set_gives_zero_rows(owner_database, cloud_database) -> None:
    await new_organization(cloud_database, "Fermenta")
    for database in (cloud_database, owner_database):
        async with database.unit_of_work(None) as uow:
            for table in TENANT_TABLES:
                if database is owner_database and table == "entities":
                    continue  # the owner sees the organizations' names, to choose one; tested below
                count = (await uow.session.execute(text(f"select count(*) from {table}"))).scalar_one()
                assert count == 0, table


async def test_owner_without_a_tenant_sees_organizations_and_nothing_of_them(owner_database, cloud_database) -> None:
    await new_organization(cloud_database, "Fermenta")
    async with owner_database.unit_of_work(None) as uow:
        kinds = (await uow.session.execute(text("select distinct entity_type from entities"))).scalars().all()
    assert kinds == ["organization"]


async def test_organization_sees_its_own_rows_only(cloud_database) -> None:
    ours = await new_organization(cloud_database, "Fermenta")
    theirs = await new_organization(cloud_database, "Kefir & Co")
    async with cloud_database.unit_of_work(ours) as uow:
        entities = (await uow.session.execute(text("select distinct organization_id from entities"))).scalars().all()
        events = (await uow.session.scalars(select(Event.organization_id).distinct())).all()
        assert entities == events == [ours]
        changed = await uow.session.execute(
            text("update entities set name = 'X' where organization_id = :other"), {"other": theirs}
        )
        assert changed.rowcount == 0


async def test_writing_into_another_organization_is_refused(cloud_database) -> None:
    ours = await new_organization(cloud_database, "Fermenta")
    theirs = await new_organization(cloud_database, "Kefir & Co")
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with cloud_database.unit_of_work(ours) as uow:
            await EntityJournal(uow).create(
                Bioreactor, organization_id=theirs, name="STR-9", properties={"wire_id": "R9"}
            )


async def test_pooled_connection_carries_nothing_over(migrated_database, clock) -> None:
    async with Database(migrated_database.web_url, clock=clock, pool_size=1) as database:
        ours = await new_organization(database, "Fermenta")
        async with database.unit_of_work(ours, uuid4(), login_email="a@b", session_hash=b"x" * 32) as uow:
            assert (await uow.session.execute(text("select count(*) from entities"))).scalar_one() > 0
        scope = (
            "select coalesce(lms_organization_id()::text, lms_user_id()::text, lms_login_email(),"
            " lms_session_hash()::text)"
        )
        async with database.engine.connect() as connection:
            assert (await connection.execute(text(scope))).scalar_one() is None
            assert (await connection.execute(text("select count(*) from entities"))).scalar_one() == 0


async def test_pooled_connection_carries_nothing_over_after_a_failure(migrated_database, clock) -> None:
    async with Database(migrated_database.web_url, clock=clock, pool_size=1) as database:
        ours = await new_organization(database, "Fermenta")
        with pytest.raises(ZeroDivisionError):
            async with database.unit_of_work(ours):
                raise ZeroDivisionError
        async with database.unit_of_work(None) as uow:
            assert (await uow.session.execute(select(func.count()).select_from(Event))).scalar_one() == 0


async def test_application_may_not_change_events(cloud_database, ingest_database, owner_database) -> None:
    ours = await new_organization(cloud_database, "Fermenta")
    for database in (cloud_database, ingest_database, owner_database):
        for statement in ("update events set actor = 'x'", "delete from events", "truncate events"):
            with pytest.raises(ProgrammingError, match=r"permission denied|append-only"):
                async with database.unit_of_work(ours) as uow:
                    await uow.session.execute(text(statement))


async def test_account_is_seen_by_its_own_address_or_user_only(cloud_database, new_person) -> None:
    ana = await new_person("ana@example.org")
    await new_person("bo@example.org", organization=None)

    async def emails(**scope) -> list[str]:
        async with cloud_database.unit_of_work(scope.pop("organization", None), **scope) as uow:
            return list((await uow.session.execute(text("select email from users order by email"))).scalars())

    assert await emails() == []
    assert await emails(login_email="ana@example.org") == ["ana@example.org"]
    assert await emails(login_email="%") == []
    assert await emails(user_id=ana.user_id) == ["ana@example.org"]
    assert await emails(organization=ana.organization_id) == ["ana@example.org"]
