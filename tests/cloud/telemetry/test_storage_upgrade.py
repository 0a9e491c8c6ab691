"""A database that held readings before there were rollups, weeks of texts and flavours keeps every one of them."""

import json
import os
import subprocess
import sys

import psycopg
from alembic import command
from lms_cloud.kernel import migrating


def at_revision(url: str, revision: str) -> None:
    """Bring an empty database to a revision as it was then."""
    with migrating.connect(url) as connection:
        migrating._create_group_roles(connection, lambda _: None)
        config = migrating._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def back_to(url: str, revision: str) -> None:
    with migrating.connect(url) as connection:
        config = migrating._config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        connection.commit()


def lms_cloud(url: str, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LMS_")}
    program = [sys.executable, "-m", "lms_cloud.cli", *arguments]
    environment["LMS_DATABASE_URL"] = url
    answer = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_readings_of_the_first_version_are_kept_cut_into_weeks_and_rolled_up(database) -> None:
    at_revision(database.url, "0002")
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        organization, bioreactor = connection.execute("select gen_random_uuid(), gen_random_uuid()").fetchone()
        insert = (
            "insert into entities (id, entity_type, name, organization_id, properties, version, is_active,"
            " created_at, updated_at) values (%s, %s, %s, %s, %s, 1, true, now(), now())"
        )
        connection.execute(insert, (organization, "organization", "Fermenta", organization, '{"wire_id": "fermenta"}'))
        connection.execute(insert, (bioreactor, "bioreactor", "R1", organization, '{"wire_id": "R1"}'))
        for number, name in enumerate(("pH/PV", "Phase"), start=1):
            (tag,) = connection.execute("select gen_random_uuid()").fetchone()
            connection.execute(insert, (tag, "tag", name, organization, "{}"))
            connection.execute(
                "insert into series (organization_id, bioreactor_id, tag_id, datatype, described)"
                " values (%s, %s, %s, %s, '{}')",
                (organization, bioreactor, tag, 10 if number == 1 else 12),
            )
        connection.execute("select make_reading_partitions(timestamptz '2026-10-01Z', timestamptz '2026-11-24Z')")
        connection.execute(
            "insert into readings select 1, t, 192, extract(epoch from t) % 7 from generate_series("
            " timestamptz '2026-10-01Z', timestamptz '2026-11-20Z', interval '37 minutes') t"
        )
        connection.execute("insert into readings values (1, '1970-01-02Z', 192, 1)")
        connection.execute(
            "insert into readings_text select 2, t, 192, 'phase ' || t from generate_series("
            " timestamptz '2026-09-01Z', timestamptz '2026-11-20Z', interval '3 hours') t"
        )
        sums = "select (select md5(string_agg(r::text, '' order by r::text)) from {} r)"
        both = [sums.format(table) for table in ("readings", "readings_text")]
        before = [connection.execute(each).fetchone() for each in both]
        counted = "select (select count(*) from readings) + (select count(*) from readings_text)"
        (count,) = connection.execute(counted).fetchone()
    assert json.loads(lms_cloud(database.url, "migrate", "--json"))["storage"] == "plain"
    lms_cloud(database.url, "storage", "refresh")
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        assert [connection.execute(each).fetchone() for each in both] == before
        for table in ("rollup_1m", "rollup_1h", "rollup_1d"):
            assert connection.execute(f"select sum(readings) from {table}").fetchone() == (count,)
        left = "select count(*) from readings_text_default where taken_at >= '2026-09-28Z'"
        assert connection.execute(left).fetchone() == (0,)
        assert connection.execute("select count(*) from readings_text_2026w45").fetchone() == (56,)
    # And back to the first version, which takes in readings of its own, and up again.
    back_to(database.url, "0002")
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        assert [connection.execute(each).fetchone() for each in both] == before
        connection.execute("select make_reading_partitions(timestamptz '2026-12-01Z', timestamptz '2026-12-08Z')")
        connection.execute("insert into readings values (1, '2026-12-02Z', 192, 5)")
        connection.execute("insert into readings_text values (2, '2026-12-02Z', 192, 'late')")
        before = [connection.execute(each).fetchone() for each in both]
    lms_cloud(database.url, "migrate")
    lms_cloud(database.url, "storage", "refresh")
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        assert [connection.execute(each).fetchone() for each in both] == before
        for table in ("rollup_1m", "rollup_1h", "rollup_1d"):
            assert connection.execute(f"select sum(readings) from {table}").fetchone() == (count + 2,)


def test_latest_values_are_carried_over_in_both_directions(database) -> None:
    at_revision(database.url, "0012")
    rows = "select series_id, taken_at, quality, float8send(value), text, number from latest order by series_id"
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")  # no entities are needed here
        connection.execute(
            "insert into series (organization_id, bioreactor_id, tag_id, datatype, described)"
            " select gen_random_uuid(), ('0000000' || n % 3 || '-0000-0000-0000-000000000000')::uuid,"
            " gen_random_uuid(), 10, '{}' from generate_series(1, 400) n"
        )
        connection.execute("update series set organization_id = bioreactor_id")
        connection.execute(
            "insert into entities (id, entity_type, name, organization_id, properties, version, is_active,"
            " created_at, updated_at) select distinct bioreactor_id, 'bioreactor', 'R', bioreactor_id, '{}'::jsonb, 1,"
            " true, now(), now() from series"
        )
        connection.execute(
            "insert into latest select n, timestamptz '2026-11-23Z' + n * interval '1 ms', 192,"
            " case when n % 5 > 1 then 'NaN'::float8 / n when n % 5 = 0 then -0.0 end,"
            " case when n % 5 = 1 then 'phase ' || n end, n from generate_series(1, 390) n"
        )
        before = connection.execute(rows).fetchall()
        assert len(before) == 390
    lms_cloud(database.url, "migrate")
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        assert connection.execute(rows).fetchall() == before
        assert connection.execute("select count(*) from latest_blocks").fetchone() == (3 * 4,)
    back_to(database.url, "0012")
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        assert connection.execute(rows).fetchall() == before
    lms_cloud(database.url, "migrate")
