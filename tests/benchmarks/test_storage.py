"""What a reading takes on disk, how fast rows go in, and what keeping rollups right costs.

Run on plain PostgreSQL as it is, on TimescaleDB with LMS_TEST_PG_BIN set to a server that has it; the figures name the
flavour that they were measured on.
"""

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
import psycopg
import pytest
from lms_cloud.kernel.database import Database
from lms_cloud.telemetry.columns import COPY_HEADER, COPY_TRAILER, POSTGRES_EPOCH_MS
from lms_cloud.telemetry.storage.rollups.refreshing import Refresher, refresh
from lms_firmware_sim import plants
from lms_firmware_sim.history import history
from lms_firmware_sim.plants.description import load_plant
from support.figures import show
from support.fleet import make_fleet

pytestmark = pytest.mark.bench

HOURS = 6
BYTES_LIMIT = 6.0
COPY = "copy {} (series_id, taken_at, quality, value) from stdin (format binary)"
MAKE_SERIES = """
with made as (
    insert into entities
        (id, entity_type, name, organization_id, properties, version, is_active, created_at, updated_at)
    select gen_random_uuid(), 'tag', 'T' || n, %s, '{}', 1, true, now(), now() from generate_series(1, %s) n
    returning id
) insert into series (organization_id, bioreactor_id, tag_id, datatype, described) select %s, %s, id, 10, '{}' from made
"""
ROW = np.dtype(
    [
        *(("fields", ">i2"), ("series_size", ">i4"), ("series", ">i4"), ("at_size", ">i4"), ("at", ">i8")),
        *(("quality_size", ">i4"), ("quality", ">i2"), ("value_size", ">i4"), ("value", ">f8")),
    ]
)


def packed(series, taken_at_ms, value) -> bytes:
    """The COPY stream of readings, all of good quality."""
    rows = np.empty(len(series), dtype=ROW)
    rows["fields"], rows["series_size"], rows["at_size"], rows["quality_size"], rows["value_size"] = 4, 4, 8, 2, 8
    rows["series"], rows["value"], rows["quality"] = series, value, 192
    rows["at"] = (taken_at_ms - POSTGRES_EPOCH_MS) * 1000
    return COPY_HEADER + rows.tobytes() + COPY_TRAILER


def signals():
    """One bioreactor of the demo plant at 1 Hz, as its agent reads it: series, times in ms and values, scan by scan."""
    plant = load_plant(Path(plants.__file__).parent / "demo.toml")
    end = datetime(2026, 11, 23, 12, tzinfo=UTC)
    begin = end - timedelta(hours=HOURS)
    read = list(history(plant, "R1", started_at=begin - timedelta(hours=4), begin=begin, end=end, period_s=1.0))
    names = {name: number for number, name in enumerate(dict.fromkeys(each.tag for each in read), start=1)}
    series = np.array([names[each.tag] for each in read], dtype=np.int32)
    times = np.array([each.taken_at_ms for each in read], dtype=np.int64)
    return series, times, np.array([each.value for each in read])


def flavour_of(connection: psycopg.Connection) -> str:
    return connection.execute("select flavour from storage_state").fetchone()[0]


@pytest.mark.parametrize("jitter_ms", [0, 40])
def test_bytes_a_reading_on_disk(migrated_database, jitter_ms: int) -> None:
    """Rows as they come, then what the policy does at the end of the day; beside the same rows as rows.

    Args:
        jitter_ms: readings of a scan are taken when their replies come, up to so much later.
    """
    series, times, values = signals()
    scan = int(np.count_nonzero(times == times[0]))
    times += np.random.default_rng(1).integers(0, jitter_ms + 1, len(times))
    with psycopg.connect(migrated_database.superuser_url, autocommit=True) as connection:
        flavour = flavour_of(connection)
        for start in range(0, len(series), scan * 20):
            part = slice(start, start + scan * 20)
            with connection.cursor().copy(COPY.format("readings")) as copy:
                copy.write(packed(series[part], times[part], values[part]))
        connection.execute("create table as_rows as select * from readings order by taken_at, series_id")
        connection.execute("create index on as_rows (series_id, taken_at)")
        (rows_size,) = connection.execute("select pg_total_relation_size('as_rows')").fetchone()
        if flavour == "timescaledb":
            connection.execute("select compress_chunk(c, recompress => true) from show_chunks('readings') c")
            size = connection.execute("select hypertable_size('readings')").fetchone()[0] / len(series)
        else:
            statement = "select sum(pg_total_relation_size(relid))::bigint from pg_partition_tree('readings')"
            size = connection.execute(statement).fetchone()[0] / len(series)
    show(
        f"disk: bytes a reading, {scan} tags at 1 Hz ± {jitter_ms} ms, {HOURS} h, {flavour}",
        f"{size:.2f}",
        beside=f"limit {BYTES_LIMIT:.0f}; the same as plain rows with their index: {rows_size / len(series):.1f}",
        ratio=size / BYTES_LIMIT,
    )


def test_rows_per_second_of_a_raw_copy(migrated_database) -> None:
    """A backlog of 50 tags (sixty readings a series in each COPY), and live (one of each of 2,000 series)."""
    with psycopg.connect(migrated_database.superuser_url, autocommit=True) as connection:
        flavour = flavour_of(connection)
        for name, tags, seconds, commits in (("backlog", 800, 60, 6), ("live", 2_000, 1, 60)):
            parts = []
            for number in range(commits):
                series = np.tile(np.arange(1, tags + 1, dtype=np.int32), seconds)
                times = 1_795_435_200_000 + 1_000 * (np.repeat(np.arange(seconds), tags) + number * seconds)
                values = np.round(7 + np.sin(times / 6e5 + series) / 5, 2)
                parts.append(packed(series, times, values))
            rates = {}
            for setting in ("off", "on") if flavour == "timescaledb" else ("off",):
                connection.execute("truncate readings")
                if flavour == "timescaledb":
                    connection.execute(f"set timescaledb.enable_direct_compress_copy = {setting}")
                began_s = time.perf_counter()
                for part in parts:
                    with connection.cursor().copy(COPY.format("readings")) as copy:
                        copy.write(part)
                rates[setting] = tags * seconds * commits / (time.perf_counter() - began_s)
            ours = rates["on"] if name == "backlog" and "on" in rates else rates["off"]
            other = {"backlog": rates["off"], "live": rates.get("on", rates["off"])}[name]
            show(
                f"raw COPY: rows/s, {name}, as ingest sends it, {flavour}",
                f"{ours:,.0f}",
                beside=f"the other way (rows for columns, columns for rows): {other:,.0f}",
                ratio=ours / other,
            )


async def test_cost_of_rollups(migrated_database) -> None:
    """A minute of 10,000 series at 1 Hz, which comes every minute; and a day of one bioreactor, which comes late."""
    tags, bioreactors = 50, 200
    wire_ids = [f"R{number}" for number in range(bioreactors)]
    fleet = await make_fleet(migrated_database.url, agents=["bench"], bioreactors=wire_ids)
    with psycopg.connect(migrated_database.superuser_url, autocommit=True) as connection:
        flavour = flavour_of(connection)
        for id_ in fleet.bioreactors.values():
            connection.execute(MAKE_SERIES, (fleet.organization_id, tags, fleet.organization_id, id_))
        first = fleet.bioreactors["R0"]
        late = [row[0] for row in connection.execute("select id from series where bioreactor_id = %s", (first,))]
        everyone = np.array([row[0] for row in connection.execute("select id from series")], dtype=np.int32)
        # The newest full minutes, live; and a day a week ago of one bioreactor, as a backlog.
        (minute,) = connection.execute(
            "select (extract(epoch from date_trunc('minute', now())) * 1000)::bigint"
        ).fetchone()
        connection.execute("select make_reading_partitions(now() - interval '9 days', now())")
        for second in range(-120, 0):
            times = np.full(len(everyone), minute + 1_000 * second)
            with connection.cursor().copy(COPY.format("readings")) as copy:
                copy.write(packed(everyone, times, np.round(np.sin(everyone + second), 3)))
        if flavour == "timescaledb":
            connection.execute("set timescaledb.enable_direct_compress_copy = on")
        day = minute - minute % 86_400_000 - 7 * 86_400_000
        for start in range(0, 86_400, 1_000):
            seconds = np.arange(start, min(start + 1_000, 86_400))
            series, times = np.repeat(late, len(seconds)), np.tile(day + 1_000 * seconds, len(late))
            with connection.cursor().copy(COPY.format("readings")) as copy:
                copy.write(packed(series, times, np.round(np.sin(times / 6e5 + series), 3)))
        connection.execute("analyze")
        mark = "insert into rollup_marks (bioreactor_id, from_at, to_at) select b, to_timestamp(%s), to_timestamp(%s)"
        async with Database(migrated_database.ingest_url) as database:
            took = {}
            spans = {
                "first minute": (list(fleet.bioreactors.values()), minute - 120_000, minute - 120_000),
                "minute": (list(fleet.bioreactors.values()), minute - 60_000, minute - 60_000),
                "day": ([first], day, day + 86_340_000),
            }
            for name, (ids, begin, end) in spans.items():
                connection.execute(f"{mark} from unnest(%s::uuid[]) b", (begin / 1000, end / 1000, ids))
                began_s, cpu_s = time.perf_counter(), backend_cpu_s(migrated_database.name)
                for _ in itertools.count():
                    async with database.unit_of_work(None) as uow:
                        if (await refresh(uow, at_once=True)).bioreactors == 0:
                            break
                took[name] = (time.perf_counter() - began_s, backend_cpu_s(migrated_database.name) - cpu_s)
        (rows,) = connection.execute("select count(*) from rollup_1m").fetchone()
        assert rows == 2 * len(everyone) + tags * 1_440
        years_s = await late_though_years_wait(migrated_database, connection, first, late, day)
    show(
        f"rollups: seconds of CPU for a minute of 10,000 series at 1 Hz, {flavour}",
        f"{took['minute'][1]:.2f}",
        beside=f"limit 9 s of a core a minute (15 %); took {took['minute'][0]:.2f} s",
        ratio=took["minute"][1] / 9,
    )
    show(
        f"rollups: seconds for a late day of 50 series at 1 Hz (4.3 M readings), {flavour}",
        f"{took['day'][0]:.1f}",
        beside="limit 60 s",
        ratio=took["day"][0] / 60,
    )
    show(
        f"rollups: seconds until a late minute is right in all, 3 years of {bioreactors} bioreactors wait, {flavour}",
        f"{years_s:.1f}",
        beside="limit 60 s; its own day, 4.3 M readings, waits with the years",
        ratio=years_s / 60,
    )


async def late_though_years_wait(database, connection, home, series, day_ms) -> float:
    """Seconds from the commit of a late minute until a day counts it, while all days wait as after an upgrade."""
    for table in ("rollup_1m", "rollup_1h", "rollup_1d"):
        connection.execute(f"truncate {table}")
    connection.execute(
        "insert into rollup_marks (bioreactor_id, from_at, to_at, marked_at)"
        " select b, d, d + interval '1 day' - interval '1 minute', now() - interval '1 hour'"
        " from (select distinct bioreactor_id from series) as s (b),"
        " generate_series(date_trunc('day', now(), 'UTC') - interval '3 years', now(), '1 day') as d"
    )
    times = np.tile(day_ms + 500 + 1_000 * np.arange(60), len(series))
    with connection.cursor().copy(COPY.format("readings")) as copy:
        copy.write(packed(np.repeat(series, 60), times, times / 1e12))
    connection.execute(
        "insert into rollup_marks (bioreactor_id, from_at, to_at) values (%s, to_timestamp(%s), to_timestamp(%s))",
        (home, day_ms / 1000, day_ms / 1000),
    )
    began_s = time.perf_counter()
    counted = "select min(readings) from rollup_1d where bucket = to_timestamp(%s) and series_id = any(%s)"
    async with Database(database.ingest_url) as refreshed:
        task = asyncio.create_task(Refresher(refreshed).run())
        while connection.execute(counted, (day_ms / 1000, series)).fetchone() != (86_400 + 60,):
            await asyncio.sleep(0.1)
        took_s = time.perf_counter() - began_s
        task.cancel()
        await asyncio.wait({task})
    return took_s


def backend_cpu_s(database: str) -> float:
    """CPU seconds that the server's processes for a database have used so far."""
    found = 0.0
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if line.startswith("postgres:") and f" {database} " in line:
            times = process.cpu_times()
            found += times.user + times.system
    return found
