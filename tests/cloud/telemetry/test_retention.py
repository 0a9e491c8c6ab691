"""Retention removes whole pieces that are due and nothing else, writes down each, and late readings still count."""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from lms_cloud.telemetry.incoming import DeadLetter, Work
from lms_cloud.telemetry.storage.partitions import Partitions
from lms_cloud.telemetry.storage.retention import KeepingRule, Retention
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.reading import Reading
from sqlalchemy.exc import DBAPIError
from support.rollups import compress_everything, differences, refresh_all

DAY_MS = 86_400_000


@pytest.fixture
def now_ms(query) -> int:
    return query("select (extract(epoch from now()) * 1000)::bigint")[0][0]


@pytest.fixture
def long_ago_ms(now_ms) -> int:
    """Noon of a Wednesday 60 to 67 days ago: in the middle of a week and of a day."""
    ago = now_ms - 60 * DAY_MS
    return ago - (ago - 4 * DAY_MS) % (7 * DAY_MS) + 2 * DAY_MS + DAY_MS // 2 - 7 * DAY_MS


@pytest.fixture
def keeping(ingest_db, now_ms):
    """`await keeping(raw, minutes, hours)`: run retention once, as ingest; why what is left is left."""

    async def run(*days) -> list[str | None]:
        return [why for _, why in await Retention(ingest_db, KeepingRule(*days)).once()]

    return run


@pytest.fixture
def stored(query):
    def count(*tables) -> list[int]:
        return [query(f"select count(*) from {table}")[0][0] for table in tables]

    return count


def some(at_ms, count=50):
    return [Reading(1 + n % 2, at_ms + n * 7_001, n / 3) for n in range(count)]


async def test_nothing_is_removed_unless_the_deployment_says_so(store, keeping, stored, long_ago_ms, ingest_db):
    await store(some(long_ago_ms))
    await refresh_all(ingest_db)
    assert await keeping(None, None, None) == []
    assert stored("readings") == [50]


async def test_old_piece_goes_with_a_record_and_young_ones_stay(
    store, keeping, stored, query, long_ago_ms, now_ms, ingest_db, tags
):
    old, young = some(long_ago_ms), some(now_ms - 3_600_000, 30)
    texts = [Reading(3, long_ago_ms + n, "phase") for n in range(5)]
    await store(old, texts, young)
    await refresh_all(ingest_db)
    assert set(await keeping(30, None, None)) == {None}
    assert stored("readings", "readings_text") == [30, 0]
    removed = query("select level, readings, keep_days, reason, from_at, to_at, bytes > 0 from storage_removals")
    assert [row[:4] for row in removed] == [("readings", 55, 30, "retention")]
    at = datetime.fromtimestamp(long_ago_ms / 1000, UTC)
    assert removed[0][4] <= at < removed[0][5]
    assert removed[0][6]
    assert differences(query, tags, old + texts + young) == []
    assert await keeping(30, None, None) == []


async def test_piece_whose_rollups_wait_stays(store, keeping, stored, long_ago_ms, ingest_db):
    await store(some(long_ago_ms))
    assert await keeping(30, None, None) == ["some of its readings are not in the rollups yet"]
    assert stored("readings") == [50]
    await refresh_all(ingest_db)
    assert await keeping(30, None, None) == [None]
    assert stored("readings") == [0]


async def test_locked_window_keeps_the_piece_until_it_is_unlocked(
    store, keeping, stored, long_ago_ms, ingest_db, plant
):
    await store(some(long_ago_ms))
    await refresh_all(ingest_db)
    with psycopg.connect(plant.superuser_url, autocommit=True) as connection:
        at = datetime.fromtimestamp(long_ago_ms / 1000, UTC)
        connection.execute(
            "insert into locked_windows (organization_id, bioreactor_id, from_at, to_at, reason)"
            " values (%s, %s, %s, %s, 'batch 7 under review')",
            (plant.organization_id, plant.r2.id, at, at + timedelta(minutes=1)),
        )
        assert await keeping(30, None, None) == ["it touches a locked window (batch 7 under review)"]
        assert stored("readings") == [50]
        connection.execute("update locked_windows set unlocked_at = now()")
    assert await keeping(30, None, None) == [None]
    assert stored("readings") == [0]


async def test_rollups_go_after_what_they_were_computed_from(store, keeping, stored, long_ago_ms, ingest_db, query):
    await store(some(long_ago_ms - 400 * DAY_MS))
    await refresh_all(ingest_db)
    assert set(await keeping(None, 30, None)) == {"what it was computed from is still there"}
    assert set(await keeping(30, 30, 30)) == {None}
    assert stored("readings", "rollup_1m", "rollup_1h", "rollup_1d") == [0, 0, 0, 2]
    levels = query("select level, readings from storage_removals order by id")
    assert {level for level, _ in levels} == {"readings", "rollup_1m", "rollup_1h"}
    assert query("select sum(readings) from rollup_1d") == [(50,)]


@pytest.mark.parametrize("seed", range(3))
async def test_readings_that_come_after_their_piece_was_removed_are_counted_once(
    store, keeping, stored, query, tags, long_ago_ms, ingest_db, seed
):
    """They are in the rollups as if they had come in time, and are removed like those beside them, with a record."""
    rng = random.Random(seed)
    everything = []
    for late in range(4):
        batches = [
            [
                Reading(rng.choice([1, 2, 4, 5]), long_ago_ms + rng.randint(-120_000, 120_000), rng.randint(-9, 9))
                for _ in range(rng.randint(1, 40))
            ]
            for _ in range(rng.randint(1, 3))
        ]
        everything += [reading for batch in batches for reading in batch]
        await store(*batches)
        if rng.random() < 0.5:
            compress_everything(query)
        await refresh_all(ingest_db, series_minutes=rng.choice([1, 30_000]))
        await keeping(30, None, None)
        assert differences(query, tags, everything) == [], f"seed {seed}, round {late}"
        assert stored("readings") == [0], f"seed {seed}, round {late}"
    recorded = query("select reason, sum(readings) from storage_removals group by reason order by reason")
    assert sum(count for _, count in recorded) == len(everything)
    assert [reason for reason, _ in recorded] == ["late", "retention"]


async def test_late_readings_do_not_bring_removed_rollups_back(store, keeping, stored, long_ago_ms, ingest_db, query):
    at_ms = long_ago_ms - 400 * DAY_MS
    await store(some(at_ms))
    await refresh_all(ingest_db)
    await keeping(30, 30, 30)
    await store(some(at_ms))
    await refresh_all(ingest_db)
    assert stored("readings", "rollup_1m", "rollup_1h") == [0, 0, 0]
    assert query("select sum(readings) from rollup_1d") == [(100,)]


async def test_ingest_cannot_remove_what_is_young_or_fold_what_was_not_removed(store, ingest_db, now_ms, stored):
    await store(some(now_ms))
    for statement in (
        "select remove_piece('readings', now() - interval '7 days', now() + interval '7 days', 30)",
        "select remove_piece('readings', '2020-01-01Z', '2020-01-08Z', 1)",
        "select fold_removed('{1,2}', now() - interval '1 h', now() + interval '1 h')",
    ):
        async with ingest_db.engine.connect() as connection:
            with pytest.raises(DBAPIError):
                await connection.exec_driver_sql(statement)
    assert stored("readings") == [50]


async def test_two_workers_at_once_remove_a_piece_once(store, keeping, query, long_ago_ms, ingest_db):
    await store(some(long_ago_ms))
    await refresh_all(ingest_db)
    await asyncio.gather(keeping(30, None, None), keeping(30, None, None))
    assert query("select level, readings from storage_removals") == [("readings", 50)]


async def test_letter_stored_into_a_removed_week_counts_in_its_rollups_and_goes_like_what_was_beside_it(
    store, store_batch, connect, keeping, stored, query, long_ago_ms, ingest_db, tags, plant
):
    beside, letters = some(long_ago_ms), some(long_ago_ms + 30_000, 20)
    batch = store_batch(900, letters)
    home = batch.bioreactor
    letter = DeadLetter("poison", "t", b"bytes", "absurd", home.organization_id, home, batch.key, batch.node)
    connection = await connect()
    await store(beside)
    await commit_work(connection, Work(letters=[letter]))
    await refresh_all(ingest_db)
    assert set(await keeping(30, None, None)) == {None}
    compress_everything(query)

    ((asked,),) = query("update dead_letters set state = 'asked' returning public_id")
    replayed = replace(batch, letter=asked)
    await Partitions(lambda: long_ago_ms + 67 * DAY_MS).make(connection, [replayed])
    for _ in range(2):  # asked for by two
        await commit_work(connection, Work([replayed]))
    await refresh_all(ingest_db)
    assert query("select state, refused from dead_letters") == [("stored", None)]
    assert query("select dead, readings from ledger where number = 900") == [(False, 20)]
    assert differences(query, tags, beside + letters) == []
    assert stored("readings") == [0]
    assert query("select reason, readings from storage_removals order by id") == [("retention", 50), ("late", 20)]
    assert set(await keeping(30, None, None)) <= {None}
    assert differences(query, tags, beside + letters) == []
