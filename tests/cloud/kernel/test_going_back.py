"""Going back to a former migration: refused where it would lose something, and then nothing is changed."""

import os
import subprocess
import sys

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from lms_cloud.kernel import migrating
from lms_cloud.kernel.errors import DatabaseSetupError
from lms_cloud.kernel.migrating import current_revision, go_back, migrate, newest_revision

ID = "'11111111-1111-4111-8111-111111111111'"
ENTITY = (
    "insert into entities (id, entity_type, name, organization_id, properties, version, is_active, created_at,"
    f" updated_at) values ({ID}, 'organization', 'O', {ID}, '{{}}', 1, true, now(), now())"
)
LOST = {
    "0011": (
        f"insert into origins values ({ID}, {ID}, 1, '', {ID}, {ID}, 2)",
        "where batches were logged first",
    ),
    "0009": (
        f"insert into ledger_hours values ({ID}, {ID}, now(), {ID}, 1, 1, 1)",
        "how many batches were sent late",
    ),
    "0008": (
        "insert into storage_removals (level, from_at, to_at, readings, bytes, reason)"
        " values ('readings', now(), now(), 1, 1, 'retention')",
        "which readings retention has removed",
    ),
    "0007": (
        f"insert into clocks values ({ID}, 1, {ID}, now(), {ID}, 0, true, 0, 0, false)",
        "how far the times of readings can be trusted",
    ),
    "0006": (
        "insert into dead_letters (organization_id, kind, topic, payload, digest, reason)"
        f" values ({ID}, 'poison', 't', '', '', 'absurd')",
        "what became of dead letters",
    ),
    "0003": (
        "insert into rollup_1d values (1, '2025-01-01Z', 1, 1, 1, 1, 1, 1, now(), now(), 192, 1)",
        "the rollups of days whose readings are there no longer",
    ),
    "0002": ("insert into readings values (1, now(), 192, 1)", "all readings"),
}


def revision_of(url: str) -> str | None:
    with migrating.connect(url) as connection:
        return current_revision(connection)


@pytest.fixture
def plain_database(database, postgres):
    """A database that stays plain whatever the server has: TimescaleDB's has no way back that far."""
    if postgres.timescale:
        with psycopg.connect(database.superuser_url, autocommit=True) as connection:
            connection.execute("drop extension timescaledb")
    migrate(database.url)
    return database


@pytest.mark.parametrize("revision", LOST)
def test_way_back_that_loses_something_is_refused_and_changes_nothing(plain_database, revision) -> None:
    url = plain_database.url
    statement, what = LOST[revision]
    with psycopg.connect(plain_database.superuser_url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")  # nothing else is needed here
        connection.execute(statement)
    before = f"{int(revision) - 1:04}"
    with pytest.raises(DatabaseSetupError, match=f"Going back below {revision} would lose .*{what}") as refused:
        go_back(url, before)
    assert "--lose-data" in str(refused.value) + str(refused.value.__dict__)
    assert revision_of(url) == newest_revision()
    secured = "select count(*) from pg_class where relrowsecurity and not relforcerowsecurity"
    with psycopg.connect(plain_database.superuser_url) as connection:
        assert connection.execute(secured).fetchone() == (0,)
    go_back(url, before, lose_data=True)
    assert revision_of(url) == before
    migrate(url)


def test_way_back_to_nothing_is_refused_where_there_is_anything(plain_database) -> None:
    with psycopg.connect(plain_database.superuser_url, autocommit=True) as connection:
        connection.execute(ENTITY)
    with pytest.raises(DatabaseSetupError, match="no way back to 'base'"):
        go_back(plain_database.url, "base")
    with migrating.connect(plain_database.url) as connection:
        config = migrating._config()
        config.attributes["connection"] = connection
        with pytest.raises(DatabaseSetupError, match="Going back below 0001 would lose organizations and everything"):
            command.downgrade(config, "base")


def test_way_back_that_loses_nothing_is_open_all_the_way(plain_database) -> None:
    url = plain_database.url
    scripts = ScriptDirectory.from_config(migrating._config())
    for script in list(scripts.walk_revisions())[1:]:
        go_back(url, script.revision)
        assert revision_of(url) == script.revision
    migrate(url)
    assert revision_of(url) == newest_revision()


def test_command_line_says_what_would_be_lost_and_where_there_is_no_way(plain_database) -> None:
    with psycopg.connect(plain_database.superuser_url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(LOST["0007"][0])

    def run(*arguments: str) -> tuple[int, str]:
        answer = subprocess.run(
            [sys.executable, "-m", "lms_cloud.cli", "migrate", *arguments],
            env={**os.environ, "LMS_DATABASE_URL": plain_database.url},
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.returncode, answer.stdout + answer.stderr

    code, said = run("--back-to", "0006")
    assert (code, "would lose how far the times of readings can be trusted" in said) == (1, True), said
    code, said = run("--back-to", "0099")
    assert (code, "no way back to '0099'" in said) == (1, True), said
    assert run("--back-to", "0006", "--lose-data", "--json") == (
        0,
        f'{{"before": "{newest_revision()}", "after": "0006"}}\n',
    )
