"""One transaction, one ledger: whatever arrives however often, a reading is in the database once, bit-equal."""

import asyncio
import math
import random
import struct
from uuid import UUID

import pytest
from lms_cloud.telemetry.incoming import DeadLetter, Incoming, StreamBatch, Work
from lms_cloud.telemetry.storage.partitions import Partitions
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.batches import digest
from lms_protocol.reading import Gap, Quality, Reading

STREAM = UUID("22222222-2222-4222-8222-222222222222")
NOON_MS = 1_795_435_200_000


@pytest.fixture
def batch(plant, tags):
    """Make a batch of R1 as ingest would have decoded it."""

    def make(number, readings, gaps=(), *, stream=STREAM, payload=b""):
        fingerprint = digest("R1", number, readings, gaps)
        key = StreamBatch(stream, number)
        topic = "spBv1.0/demo-org/DDATA/agent-1/R1"
        return Incoming(plant.r1, key, fingerprint, readings, gaps, tags, False, plant.node, topic, payload)

    return make


@pytest.fixture
def stored(query):
    """One column of the readings whose tags have a data type, in order of time."""

    def read(column, table, datatype):
        where = f"from {table} r join series s on s.id = r.series_id where datatype = {datatype} order by taken_at"
        return [row[0] for row in query(f"select {column} {where}")]

    return read


async def test_batches_in_any_order_any_number_of_times_are_stored_once(connect, batch, query):
    rng = random.Random(7)
    batches = [batch(n, (Reading(1, NOON_MS + n, n / 3), Reading(2, NOON_MS + n, float(n)))) for n in range(1, 41)]
    shuffled = batches * 3
    rng.shuffle(shuffled)
    connection = await connect()
    settled = set()
    while shuffled:
        chunk = [shuffled.pop() for _ in range(min(len(shuffled), rng.randint(1, 9)))]
        settled.update((await commit_work(connection, Work(chunk))).settled)
    assert settled == {each.key for each in batches}
    rows = query(
        "select value from readings r join series s on s.id = r.series_id join entities t on t.id = s.tag_id"
        " where t.name = 'pH/PV' order by taken_at"
    )
    assert [row[0] for row in rows] == [n / 3 for n in range(1, 41)]
    assert query("select count(*), sum(readings) from ledger") == [(40, 80)]


async def test_two_committers_with_the_same_batches_store_them_once(connect, batch, query):
    batches = [batch(n, (Reading(1, NOON_MS + n, float(n)),)) for n in range(1, 201)]
    connections = [await connect(), await connect()]

    async def commit_all(connection, seed):
        mine = list(batches)
        random.Random(seed).shuffle(mine)
        stored = 0
        for start in range(0, len(mine), 10):
            outcome = await commit_work(connection, Work(mine[start : start + 10]))
            assert len(outcome.settled) == 10
            stored += len(outcome.stored)
        return stored

    stored = await asyncio.gather(*(commit_all(connection, seed) for seed, connection in enumerate(connections)))
    assert sum(stored) == 200
    assert query("select count(*), count(distinct taken_at) from readings") == [(200, 200)]
    assert query("select cursor from feeds") == [(40,)]


async def test_same_number_with_other_content_is_refused_and_kept_as_dead_letter(connect, batch, query):
    connection = await connect()
    await commit_work(connection, Work([batch(1, (Reading(1, NOON_MS, 1.0),))]))
    for payload in (b"other", b"other, sent again"):
        outcome = await commit_work(connection, Work([batch(1, (Reading(1, NOON_MS, 2.0),), payload=payload)]))
    assert [each.key.number for each in outcome.refused] == [1]
    assert (outcome.settled, outcome.stored) == ([], [])
    assert query("select value from readings") == [(1.0,)]
    assert query("select kind, payload, number, times from dead_letters") == [("conflict", b"other", 1, 2)]


async def test_conflict_within_one_commit_keeps_the_first(connect, batch, query):
    one, other = batch(1, (Reading(1, NOON_MS, 1.0),)), batch(1, (Reading(1, NOON_MS, 2.0),), payload=b"x")
    outcome = await commit_work(await connect(), Work([one, other]))
    assert (outcome.stored, outcome.refused) == ([one], [other])
    assert query("select value from readings") == [(1.0,)]


async def test_dead_letter_with_a_number_settles_it_and_its_repetition_too(connect, batch, plant, query):
    connection = await connect()
    letter = DeadLetter("poison", "t", b"\xff", "broken", plant.organization_id, plant.r1, StreamBatch(STREAM, 1))
    for _ in range(2):
        outcome = await commit_work(connection, Work((), [letter]))
        assert outcome.settled == [StreamBatch(STREAM, 1)]
    assert query("select payload, reason, times from dead_letters") == [(b"\xff", "broken", 2)]
    # The same batch, readable this time, is settled as well: its number is taken.
    assert (await commit_work(connection, Work([batch(1, (Reading(1, NOON_MS, 1.0),))]))).settled


async def test_every_value_comes_back_as_it_was(connect, batch, stored):
    payload_nan = struct.unpack(">d", bytes.fromhex("7ff8000000abcdef"))[0]
    doubles = [0.0, -0.0, math.inf, -math.inf, 5e-324, -2.2e-308, 1.7976931348623157e308, payload_nan, 0.1, None]
    counters = [2**53, 2**53 + 1, -(2**53) - 1, -(2**63), 0, None]
    texts = ["", "µ°C – 沸騰", "x" * 70_000, "tab\tand\nnewline\\N", None]
    readings = [Reading(1, NOON_MS + n, value, Quality.UNCERTAIN) for n, value in enumerate(doubles)]
    readings += [Reading(3, NOON_MS + n, value) for n, value in enumerate(texts)]
    readings += [Reading(4, NOON_MS + n, value) for n, value in enumerate(counters)]
    readings += [Reading(5, NOON_MS + n, value) for n, value in enumerate([True, False, None])]
    await commit_work(await connect(), Work([batch(1, tuple(readings))]))
    bits = [None if value is None else struct.pack(">d", value) for value in doubles]
    assert stored("float8send(value)", "readings", 10) == bits
    assert stored("value", "readings_text", 12) == texts
    assert stored("value", "readings_text", 4) == [str(2**53 + 1), str(-(2**53) - 1), str(-(2**63))]
    assert stored("value", "readings", 4) == [2.0**53, 0.0, None]
    assert stored("value", "readings", 11) == [1.0, 0.0, None]
    assert set(stored("quality", "readings", 10)) == {64}


async def test_latest_is_the_newest_reading_whatever_the_order(connect, batch, query):
    connection = await connect()
    batches = [batch(n, (Reading(1, NOON_MS + n // 2, float(n)),)) for n in range(1, 10)]
    for index in (3, 8, 0, 7, 1, 2, 6, 4, 5):
        await commit_work(connection, Work([batches[index]]))
    assert query("select value, number from latest") == [(9.0, 9)]


async def test_absurd_times_stay_readable(connect, batch, query):
    await commit_work(await connect(), Work([batch(1, (Reading(1, 0, 1.0), Reading(1, 253_402_300_799_999, 2.0)))]))
    rows = query("select value, (extract(epoch from taken_at) * 1000)::bigint from readings order by 2")
    assert rows == [(1.0, 0), (2.0, 253_402_300_799_999)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_gap_opened_and_closed_in_either_order_is_one_closed_gap(connect, batch, query, order):
    opened = batch(1, (), (Gap(1, (1, 2), NOON_MS, None, "no reply"),))
    closed = batch(2, (Reading(1, NOON_MS + 9000, 1.0),), (Gap(1, (1, 2), NOON_MS, NOON_MS + 9000, "no reply"),))
    connection = await connect()
    for index in order:
        await commit_work(connection, Work([(opened, closed)[index]]))
    rows = query("select extract(epoch from ended_at - began_at)::int, cardinality(series), reason from gaps")
    assert rows == [(9, 2, "no reply")]


async def test_week_made_late_takes_its_readings_from_the_default_partition(connect, batch, query):
    if query("select flavour from storage_state") != [("plain",)]:
        pytest.skip("TimescaleDB makes pieces as readings come, and has no default one")
    connection = await connect()
    long_ago_ms = 1_500_000_000_000
    await commit_work(connection, Work([batch(1, (Reading(1, long_ago_ms, 1.0),))]))
    assert query("select count(*) from readings_default") == [(1,)]
    made = await connection.execute(
        "select make_reading_partitions(to_timestamp(1500000000), to_timestamp(1500000000))"
    )
    assert await made.fetchone() == (1,)
    assert query("select count(*) from readings_default") == [(0,)]
    assert query("select value, tableoid::regclass::text from readings") == [(1.0, "readings_2017w28")]


@pytest.mark.parametrize("now_ms", [1_000, 4_102_444_800_000])
async def test_ingest_with_a_wrong_clock_makes_no_week_and_still_commits(connect, batch, query, now_ms):
    """In 1970 or 2100 by its clock: the database refuses to make such weeks, and that must not stop the readings."""
    connection = await connect()
    one = batch(1, (Reading(1, NOON_MS, 1.0),))
    await Partitions(lambda: now_ms).make(connection, [one])
    await commit_work(connection, Work([one]))
    assert query("select count(*) > 0 from readings") == [(True,)]
