"""Plain or TimescaleDB: which one a database gets, what is said about it, and that readings are the same in both."""

import json
import os
import random
import secrets
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from lms_cloud.telemetry.incoming import Incoming, StreamBatch, Work
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_firmware_sim.stand import postgres_programs
from lms_firmware_sim.stand.postgres import WITHOUT_DURABILITY, PostgresServer
from lms_protocol.batches import digest
from lms_protocol.reading import Reading

STREAM = UUID("44444444-4444-4444-8444-444444444444")
NOON_MS = 1_795_435_200_000
HYPERTABLES = "select hypertable_name::text from timescaledb_information.hypertables order by 1"
CHUNKS = (
    "select is_compressed from timescaledb_information.chunks where hypertable_name = 'readings' order by range_start"
)


def lms_cloud(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LMS_")}
    command = [sys.executable, "-m", "lms_cloud.cli", *arguments]
    environment["LMS_DATABASE_URL"] = url
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def migrated(url: str) -> tuple[str, str]:
    """The flavour after `lms-cloud migrate`, and what it said."""
    answer = lms_cloud(url, "migrate", "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)["storage"], answer.stderr


def superuser(url: str, *statements: str) -> list[tuple]:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def store(connect, plant, tags):
    async def store(number, readings):
        readings = tuple(readings)
        key, fingerprint = StreamBatch(STREAM, number), digest("R1", number, readings, ())
        batch = Incoming(plant.r1, key, fingerprint, readings, (), tags, False, plant.node, "", b"")
        await commit_work(await connect(), Work([batch]))

    return store


def test_server_without_timescaledb_gives_plain_storage_and_says_so(postgres, database) -> None:
    if postgres.timescale:
        pytest.skip("the server of the tests has TimescaleDB")
    flavour, said = migrated(database.url)
    assert (flavour, said.splitlines()[-1]) == (
        "plain",
        "Storage: plain PostgreSQL. This PostgreSQL has no TimescaleDB.",
    )
    refused = lms_cloud(database.url, "storage", "convert")
    said = "lms-cloud: The readings cannot be moved to TimescaleDB. This PostgreSQL has no TimescaleDB.\n"
    assert (refused.returncode, refused.stderr) == (1, said)


@pytest.mark.usefixtures("timescale")
def test_new_database_with_timescaledb_gets_hypertables(database) -> None:
    flavour, said = migrated(database.url)
    assert flavour == "timescaledb"
    assert said.splitlines()[-1].startswith("Storage: TimescaleDB 2.")
    found = [name for (name,) in superuser(database.superuser_url, HYPERTABLES)]
    assert found == ["readings", "readings_text", "rollup_1h", "rollup_1m"]
    policies = "select count(*) from timescaledb_information.jobs where proc_name like 'policy_%compress%'"
    assert superuser(database.superuser_url, policies) == [(4,)]
    assert migrated(database.url)[0] == "timescaledb"


@pytest.mark.usefixtures("timescale")
def test_database_without_the_extension_is_plain_until_it_is_converted(database, plant_of) -> None:
    superuser(database.superuser_url, "drop extension timescaledb")
    flavour, said = migrated(database.url)
    assert flavour == "plain"
    assert "CREATE EXTENSION timescaledb" in said.splitlines()[-1]
    rows = plant_of(database)
    superuser(database.superuser_url, "create extension timescaledb")
    flavour, said = migrated(database.url)
    assert (flavour, "lms-cloud storage convert" in said.splitlines()[-1]) == ("plain", True)
    before = superuser(database.superuser_url, rows)
    assert before[0][0] > 0
    for converted in (True, False):
        answer = lms_cloud(database.url, "storage", "convert", "--json")
        assert json.loads(answer.stdout) == {"storage": "timescaledb", "converted": converted}, answer.stderr
    assert superuser(database.superuser_url, rows) == before
    assert len(superuser(database.superuser_url, HYPERTABLES)) == 4
    assert superuser(
        database.superuser_url, "select to_regclass('readings_default'), to_regclass('readings_plain')"
    ) == [(None, None)]


@pytest.fixture
def plant_of():
    """Fill a database with readings and rollups of many weeks; gives a statement that fingerprints them."""

    def fill(database) -> str:
        superuser(
            database.superuser_url,
            "insert into readings select s, timestamptz '2026-10-01Z' + n * interval '1 hour', 192, s + n / 7.0"
            " from generate_series(1, 20) s, generate_series(1, 1000) n",
            "insert into readings values (1, '1970-01-01Z', 0, 'NaN'), (1, '9999-12-31 23:59:59.999Z', 0, null)",
            "insert into readings_text select 21, timestamptz '2026-10-01Z' + n * interval '1 day', 192, 'phase ' || n"
            " from generate_series(1, 40) n",
            *(
                f"insert into {table} values (1, '2026-10-01Z', 1, 1, 1, 1, 1, 1, '2026-10-01Z', '2026-10-01Z', 192, 1)"
                for table in ("rollup_1m", "rollup_1h", "rollup_1d")
            ),
        )
        parts = " union all ".join(
            f"(select count(*), md5(string_agg(r::text, '' order by r::text)) from {table} r)"
            for table in ("readings", "readings_text", "rollup_1m", "rollup_1h", "rollup_1d")
        )
        return f"select * from ({parts}) as parts"

    return fill


@pytest.mark.usefixtures("timescale")
def test_apache_licence_gives_plain_storage_and_says_why(stand_folder: Path) -> None:
    folder = stand_folder / f"apache-{secrets.token_hex(4)}"
    server = PostgresServer(
        folder,
        postgres_programs.for_tests(os.environ),
        password="pw",
        log_path=folder.with_suffix(".log"),
        settings={**WITHOUT_DURABILITY, "timescaledb.license": "apache", "timescaledb.max_background_workers": "0"},
    )
    server.start()
    try:
        url = server.ensure_owner("lms", name="lms_owner", password="pw")
        superuser(server.url("lms"), "create extension timescaledb")
        flavour, said = migrated(url)
    finally:
        server.stop()
    assert flavour == "plain"
    assert "Apache licence, which has no columnstore" in said.splitlines()[-1]


@pytest.mark.usefixtures("timescale")
async def test_backlog_is_compressed_on_its_way_in_and_live_readings_are_not(store, query) -> None:
    await store(1, [Reading(1, NOON_MS + n, float(n)) for n in range(100)])
    assert query(CHUNKS) == [(True,)]
    await store(2, [Reading(1, NOON_MS + 86_400_000 + n, float(n)) for n in range(3)])
    assert query(CHUNKS) == [(True,), (False,)]
    assert query("select count(*), sum(value) from readings") == [(103, 4953.0)]


@pytest.mark.usefixtures("timescale")
async def test_readings_in_and_beside_columns_come_out_in_order(store, query, plant) -> None:
    """Live, late, dense and sparse, before and after the policy's turn: nothing lost, nothing doubled, in order."""
    rng = random.Random(3)
    times = rng.sample(range(1_000_000), 4_000)
    for number in range(1, 41):
        part = [times.pop() for _ in range(rng.choice([1, 5, 100, 200]))] if number < 40 else times
        await store(number, [Reading(1, NOON_MS - 40_000_000 + 60 * at, float(at)) for at in part])
        if number % 10 == 0:
            superuser(
                plant.superuser_url,
                "select compress_chunk(c) from show_chunks('readings') c",
                "select count(*) from readings",
            )
    rows = query("select value from readings order by taken_at")
    assert len(rows) == 4_000
    assert [value for (value,) in rows] == sorted(value for (value,) in rows)


@pytest.mark.usefixtures("timescale")
async def test_policy_turns_ended_pieces_into_columns_and_late_readings_too(store, query, plant) -> None:
    (ago_ms,) = query("select ((extract(epoch from now()) - 4 * 86400) * 1000)::bigint")[0]
    policy = "select job_id from timescaledb_information.jobs where hypertable_name = 'readings'"
    rows = "select count(*) from only {}"
    for number in (1, 2):
        await store(number, [Reading(1, ago_ms + number, 1.0)])
        ((chunk,),) = query("select show_chunks('readings')::text")
        assert query(rows.format(chunk)) == [(1,)]
        superuser(plant.superuser_url, f"call run_job({query(policy)[0][0]})")
        assert query(CHUNKS) == [(True,)]
        assert query("select count(*) from readings") == [(number,)]
    # What came late lay beside the columns as a row, and is in them now.
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("set timescaledb.enable_transparent_decompression = off")
        assert connection.execute(rows.format(chunk)).fetchone() == (0,)


async def test_ingest_may_write_and_web_may_only_read(plant, query, store) -> None:
    await store(1, [Reading(1, NOON_MS, 1.0)])
    for url in (plant.url, plant.web_url):
        with psycopg.connect(url, autocommit=True) as connection:
            assert connection.execute("select count(*) from readings").fetchone() == (1,)
            for statement in (
                "delete from readings",
                "update readings set value = 2",
                "truncate readings",
                "drop table readings",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)
    with psycopg.connect(plant.web_url, autocommit=True) as connection:
        for table in ("readings", "readings_text", "rollup_1m", "rollup_1h", "rollup_1d"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"insert into {table} select * from {table}")
        # Pages see which minutes wait, to say that a history is behind; only commits and the refresher write marks.
        connection.execute("select from rollup_marks")
        for statement in ("insert into rollup_marks default values", "delete from rollup_marks"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
