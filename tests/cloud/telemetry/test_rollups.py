"""Rollups are what a plain recomputation from the readings gives, whenever and in whatever order readings come."""

import asyncio
import math
import random
import struct
import time
from itertools import pairwise

import psycopg
import pytest
from lms_cloud.telemetry.incoming import Incoming
from lms_cloud.telemetry.storage.rollups import refreshing
from lms_cloud.telemetry.storage.rollups.marks import joined, marks_of
from lms_cloud.telemetry.storage.rollups.refreshing import Refresher, refresh, waiting
from lms_protocol.reading import Quality, Reading
from support.rollups import compress_everything, differences, refresh_all

NOON_MS = 1_795_435_200_000
QUALITIES = [Quality.GOOD, Quality.GOOD, Quality.STALE, Quality.UNCERTAIN, Quality.BAD]


def some_value(rng, tag):
    """A value such as instruments, wires and other makers' nodes bring forth."""
    payload_nan = struct.unpack(">d", b"\x7f\xf8\0\0\0\0\0\1")[0]
    odd = [None, math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e300, -1.7e308, payload_nan]
    if tag == 3:
        return rng.choice([None, "growth", "", "1234", "-5", "9" * 400, "1e5", "Ω"]) if rng.random() < 0.5 else "idle"
    if tag == 4:
        return rng.choice([None, 2**53 + 1, -(2**63), 2**63 - 1, 2**53, rng.randint(-9, 9)])
    if tag == 5:
        return rng.choice([True, False, None])
    return rng.choice(odd) if rng.random() < 0.2 else rng.gauss(7, 0.1)


def some_readings(rng, count):
    """Readings of all tags, most near one another, some weeks late, some around the ends of minutes, hours and days."""
    middle_ms = NOON_MS - rng.choice([0, 0, 60_000, 3_600_000, 7 * 86_400_000, 40 * 86_400_000])
    edges = [NOON_MS + 12 * 3_600_000, middle_ms - middle_ms % 86_400_000]
    readings = []
    for _ in range(count):
        tag = rng.choice([1, 1, 2, 3, 4, 5])
        near = rng.choice([middle_ms, middle_ms, middle_ms, rng.choice(edges)])
        taken_at_ms = near + rng.choice([rng.randint(-90_000, 90_000), rng.randint(-2, 2), 0])
        readings.append(Reading(tag, taken_at_ms, some_value(rng, tag), rng.choice(QUALITIES)))
    return readings


def as_stored(reading):
    """What a reading counts for: texts of digits are cast, as history does; no value is never of good quality."""
    if reading.value is None and reading.quality == Quality.GOOD:
        return reading._replace(quality=Quality.BAD)
    if isinstance(reading.value, str) and reading.value.lstrip("-").isdecimal() and len(reading.value) < 41:
        return reading._replace(value=float(reading.value))
    return reading


@pytest.mark.parametrize("seed", range(6))
async def test_rollups_are_what_recomputation_gives(store, query, tags, ingest_db, seed):
    """Many commits, refreshed after some of them, in transactions large and small."""
    rng = random.Random(seed)
    everything = []
    for _ in range(rng.randint(3, 8)):
        for _ in range(rng.randint(1, 4)):
            batches = [some_readings(rng, rng.randint(1, 60)) for _ in range(rng.randint(1, 3))]
            everything += [as_stored(reading) for batch in batches for reading in batch]
            await store(*batches)
        await refresh_all(ingest_db, series_minutes=rng.choice([1, 7, 30_000]))
        if rng.random() < 0.5:
            compress_everything(query)  # what comes from here on comes late, into columns
        assert differences(query, tags, everything) == [], f"seed {seed}"
    assert query("select count(*) from rollup_marks") == [(0,)]


async def test_absurd_times_have_rollups_too(store, query, tags, ingest_db):
    readings = [Reading(1, 0, 1.0), Reading(1, 253_402_300_799_999, 2.0), Reading(1, NOON_MS, 3.0)]
    await store(readings)
    await refresh_all(ingest_db)
    assert differences(query, tags, readings) == []


async def test_two_refreshers_and_two_committers_leave_nothing_stale(store, query, tags, ingest_db):
    """The one that read earlier must not write later: run often, a lost update would show."""
    rng = random.Random(11)
    everything = []
    done = asyncio.Event()

    async def commit():
        for number in range(60):
            readings = [Reading(1, NOON_MS + rng.randint(0, 119_999), float(number)) for _ in range(3)]
            everything.extend(readings)
            await store(readings)

    async def refresh_often():
        while not done.is_set():
            async with ingest_db.unit_of_work(None) as uow:
                await refresh(uow, at_once=True)

    refreshing = [asyncio.create_task(refresh_often()) for _ in range(2)]
    await asyncio.gather(commit(), commit())
    done.set()
    await asyncio.gather(*refreshing)
    await refresh_all(ingest_db)
    assert differences(query, tags, everything) == []


async def test_while_one_refresher_works_on_a_bioreactor_another_leaves_it_alone(store, query, tags, ingest_db):
    await store([Reading(1, NOON_MS, 1.0)])
    async with ingest_db.unit_of_work(None) as first:
        assert (await refresh(first, at_once=True)).bioreactors == 1
        await store([Reading(1, NOON_MS + 1, 2.0)])
        async with ingest_db.unit_of_work(None) as second:
            assert (await refresh(second, at_once=True)).bioreactors == 0
    assert query("select count(*) from rollup_marks") == [(1,)]
    await refresh_all(ingest_db)
    assert differences(query, tags, [Reading(1, NOON_MS, 1.0), Reading(1, NOON_MS + 1, 2.0)]) == []


async def test_a_refresher_that_dies_leaves_its_marks(store, query, tags, ingest_db):
    readings = [Reading(1, NOON_MS, 1.0)]
    await store(readings)

    async def die():
        async with ingest_db.unit_of_work(None) as uow:
            await refresh(uow, at_once=True)
            assert await waiting(uow) == 0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await die()
    assert query("select count(*) from rollup_1m") == [(0,)]
    await refresh_all(ingest_db)
    assert differences(query, tags, readings) == []


async def test_minute_that_still_runs_waits_for_its_end_but_not_at_the_command_line(store, query, ingest_db):
    (now_ms,) = query("select (extract(epoch from now()) * 1000)::bigint")[0]
    ahead_ms = now_ms - now_ms % 60_000 + 3_600_000
    await store([Reading(1, ahead_ms, 1.0)])
    async with ingest_db.unit_of_work(None) as uow:
        assert (await refresh(uow)).bioreactors == 0
    await store([Reading(1, ahead_ms - 7_200_000, 1.0)])
    async with ingest_db.unit_of_work(None) as uow:
        assert (await refresh(uow)).series_minutes == 5  # the ended minute, of the plant's five series
    async with ingest_db.unit_of_work(None) as uow:
        assert (await refresh(uow, at_once=True)).series_minutes == 5


async def test_bioreactor_whose_rollups_fail_does_not_hold_up_the_others(store, query, plant, ingest_db, monkeypatch):
    monkeypatch.setattr(refreshing, "POLL_S", 0.01)
    past_ms = NOON_MS - 400 * 86_400_000
    await store([Reading(1, past_ms, 1.0)])
    with psycopg.connect(plant.superuser_url) as connection:
        # Older, and impossible: this bioreactor's buckets cannot be written.
        connection.execute(
            "insert into series (organization_id, bioreactor_id, tag_id, datatype, described)"
            " select organization_id, %s, %s, 10, '{}' from series limit 1",
            (plant.r2.id, plant.r2.id),
        )
        connection.execute(
            "insert into readings select max(id), to_timestamp(%s), 192, 1 from series", (past_ms / 1000,)
        )
        connection.execute(
            "insert into rollup_marks (bioreactor_id, from_at, to_at, marked_at)"
            " select %s, from_at, to_at, now() - interval '1 h' from rollup_marks",
            (plant.r2.id,),
        )
        connection.execute(
            "create function refuse() returns trigger language plpgsql as"
            " $$ begin raise exception 'refused' using errcode = '22003'; end $$"
        )
        (bad,) = connection.execute("select max(id) from series").fetchone()
        connection.execute(
            f"create trigger refuse before insert on rollup_1m for each row when (new.series_id = {bad})"
            " execute function refuse()"
        )
    task = asyncio.create_task(Refresher(ingest_db).run())
    while query("select count(*) from rollup_1d") == [(0,)]:
        await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task})
    assert query("select bioreactor_id from rollup_marks") == [(plant.r2.id,)]


def test_marks_name_the_touched_minutes_and_no_others(plant):
    minute = NOON_MS // 60_000

    def incoming(*times_ms, home=plant.r1):
        readings = tuple(Reading(1, ms, 0.0) for ms in times_ms)
        return Incoming(home, None, b"", readings, (), None, False, "", "", b"")

    late_ms = NOON_MS - 7 * 86_400_000
    marks = marks_of(
        [
            incoming(NOON_MS, NOON_MS + 59_999),
            incoming(NOON_MS + 60_000),
            incoming(late_ms),
            incoming(NOON_MS + 600_000, late_ms + 1, NOON_MS + 600_001 + 86_400_000),
            incoming(NOON_MS, home=plant.r2),
            incoming(),
        ]
    )
    late = late_ms // 60_000
    assert sorted(marks) == sorted(
        [
            (plant.r1.id, late, late),
            (plant.r1.id, minute, minute + 1),
            (plant.r1.id, minute + 10, minute + 10),
            (plant.r1.id, minute + 10 + 1440, minute + 10 + 1440),
            (plant.r2.id, minute, minute),
        ]
    )


def test_joined_spans_hold_the_same_numbers():
    rng = random.Random(5)
    for _ in range(300):
        spans = [
            (first, first + rng.randint(0, 4)) for first in (rng.randint(0, 60) for _ in range(rng.randint(0, 12)))
        ]
        result = joined(spans)
        assert {n for a, b in result for n in range(a, b + 1)} == {n for a, b in spans for n in range(a, b + 1)}
        assert all(before[1] + 1 < after[0] for before, after in pairwise(result))


async def test_live_readings_do_not_wait_behind_a_year_that_does(store, query, ingest_db):
    """As after an upgrade, which marks all that is stored: the year is far more than one transaction takes."""
    now_ms = round(time.time() * 1000)
    await store([Reading(1, now_ms - 180_000, 7.0)])
    (home,) = query("select bioreactor_id from rollup_marks")[0]
    query(
        "insert into rollup_marks (bioreactor_id, from_at, to_at, marked_at)"
        " values (%s, now() - interval '365 days', now() - interval '1 minute', now() - interval '1 hour') returning 1",
        home,
    )
    async with ingest_db.unit_of_work(None) as uow:
        done = await refresh(uow, series_minutes=2_000)
    assert done.more
    assert done.series_minutes <= 2_000
    assert query("select readings from rollup_1m") == [(1,)]
    (waited,) = query("select max(now() - marked_at) > interval '59 minutes' from rollup_marks")[0]
    assert waited
    (on_its_way,) = query("select min(from_at) > now() - interval '364 days 23 hours' from rollup_marks")[0]
    assert on_its_way, "the oldest minutes are to go on, too"
    before = query("select min(from_at) from rollup_marks")
    async with ingest_db.unit_of_work(None) as uow:
        await refresh(uow, series_minutes=2_000)
    assert query("select min(from_at) from rollup_marks") > before


async def test_late_readings_are_right_in_every_rollup_though_years_wait(store, query, tags, plant, ingest_db):
    """Within a few transactions of the usual size, whatever waits: the day of the late reading waits with the years."""
    now_ms = round(time.time() * 1000)
    late_ms = now_ms - 30 * 86_400_000
    before = [Reading(1, late_ms - late_ms % 86_400_000 + hour * 3_600_000, float(hour)) for hour in range(24)]
    long_ago = [Reading(1, now_ms - days * 86_400_000, 1.0) for days in range(100, 160)]
    await store(before, long_ago)
    query("delete from rollup_marks returning 1")
    for home in (plant.r1.id, plant.r2.id):
        query(
            "insert into rollup_marks (bioreactor_id, from_at, to_at, marked_at) values"
            " (%s, now() - interval '3 years', now() - interval '1 minute', now() - interval '2 days') returning 1",
            home,
        )
    late = [Reading(1, late_ms, 7.0)]
    await store(late)
    for _ in range(3):
        async with ingest_db.unit_of_work(None) as uow:
            done = await refresh(uow, series_minutes=10_000)
        assert done.more
        assert done.series_minutes <= 10_000 + 4 * 5
    in_its_day = differences(query, tags, [*before, *late, *long_ago])
    assert {why for *_, why in in_its_day} == {"missing"}
    assert {at_ms for _, (_, at_ms), _ in in_its_day if at_ms > now_ms - 99 * 86_400_000} == set()
    (waited,) = query("select min(now() - marked_at) > interval '47 hours' from rollup_marks")[0]
    assert waited, "what waits says since when"
    await refresh_all(ingest_db, series_minutes=2_000_000)
    assert differences(query, tags, [*before, *late, *long_ago]) == []
