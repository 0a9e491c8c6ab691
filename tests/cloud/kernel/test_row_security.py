"""Every table of the database, by name: row security is forced on it, or a reason says why it is not."""

from uuid import UUID

import psycopg
import pytest

HANGS_ON_SERIES = (
    "keyed by a series number alone, as a columnstore allows no row security; pages and REST take the numbers from"
    " `series`, which has it"
)
WITHOUT = {
    "readings": HANGS_ON_SERIES,
    "readings_text": HANGS_ON_SERIES,
    "rollup_1m": HANGS_ON_SERIES,
    "rollup_1h": HANGS_ON_SERIES,
    "rollup_1d": HANGS_ON_SERIES,
    "storage_state": "one row: the flavour of the whole database",
    "storage_removals": "pieces hold every organization's readings; a row says when and how many, of all together",
    "alembic_version": "one row: the revision; no role of the application may read it",
}
TABLES = """
select c.oid::regclass::text, relrowsecurity, relforcerowsecurity,
    array(select coalesce(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
        || '|' || array_to_string(array(select rolname from pg_roles where oid = any (polroles)), ',')
        from pg_policy where polrelid = c.oid and polpermissive)
from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
"""
ELSEWHERE = """
select c.oid::regclass::text from pg_class c where relkind in ('r', 'p', 'v', 'm', 'f')
    and (relispartition or relnamespace <> 'public'::regnamespace or relkind in ('v', 'm', 'f'))
    and exists (select from aclexplode(relacl) a join pg_roles r on r.oid = a.grantee
        where r.rolname in ('lms_web', 'lms_ingest'))
    and not coalesce(reloptions, '{}') @> '{security_invoker=true}'
"""


def test_every_table_has_forced_row_security_or_stands_here_with_a_reason(migrated_database) -> None:
    with psycopg.connect(migrated_database.superuser_url) as connection:
        found = {name: rest for name, *rest in connection.execute(TABLES)}
    secured = {name for name, (enabled, forced, _) in found.items() if enabled and forced}
    assert found.keys() - secured == WITHOUT.keys()
    for name in secured:
        for policy in found[name][2]:
            condition, _, roles = policy.partition("|")
            # What holds for everybody has to ask whose a row is; only ingest and the owner may pass that by.
            assert roles in {"lms_ingest", "lms_owner"} or "lms_" in condition or "series" in condition, (name, policy)
        assert found[name][2], f"{name} has no policy"


def test_application_roles_have_no_way_round_by_partitions_and_views(migrated_database) -> None:
    """Row security of a table does not hold for its partitions by name, nor for a view that asks as its owner."""
    with psycopg.connect(migrated_database.superuser_url) as connection:
        assert connection.execute(ELSEWHERE).fetchall() == []


@pytest.mark.parametrize("table", [name for name, reason in WITHOUT.items() if reason is not HANGS_ON_SERIES])
def test_table_without_row_security_names_no_organization(migrated_database, table) -> None:
    columns = "select column_name from information_schema.columns where table_schema = 'public' and table_name = %s"
    with psycopg.connect(migrated_database.superuser_url) as connection:
        names = {name for (name,) in connection.execute(columns, [table])}
    assert names
    assert not {name for name in names if name.endswith("_id") or "organization" in name}


def as_web(database, organization: UUID | None, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.web_url) as connection:
        if organization is not None:
            connection.execute("select set_config('lms.organization_id', %s, true)", [str(organization)])
        return connection.execute(statement).fetchall()


def test_marks_of_waiting_rollups_are_seen_by_their_own_organization_only(migrated_database) -> None:
    homes = [UUID(int=1), UUID(int=2)]
    with psycopg.connect(migrated_database.superuser_url) as connection:
        connection.execute("set session_replication_role = replica")  # no entities are needed here
        for home in homes:
            connection.execute(
                "insert into series (organization_id, bioreactor_id, tag_id, datatype, described)"
                " values (%(home)s, %(home)s, %(home)s, 10, '{}')",
                {"home": home},
            )
            connection.execute(
                "insert into rollup_marks (bioreactor_id, from_at, to_at) values (%s, now(), now())", [home]
            )
    asked = "select bioreactor_id from rollup_marks"
    assert [as_web(migrated_database, home, asked) for home in homes] == [[(home,)] for home in homes]
    assert as_web(migrated_database, None, asked) == []
    with psycopg.connect(migrated_database.ingest_url, autocommit=True) as connection:
        assert len(connection.execute(asked).fetchall()) == 2
        connection.execute("delete from rollup_marks where bioreactor_id = %s", [homes[0]])
    # Retention asks with the owner's rights whether something waits: it must see all of it.
    with psycopg.connect(migrated_database.url) as connection:
        assert connection.execute(asked).fetchall() == [(homes[1],)]
