"""The newest reading of each series, by the block: right whoever wrote, whatever a writer remembers, and bit by bit."""

import random
import struct
from uuid import UUID

import psycopg
import pytest
from lms_cloud.telemetry.incoming import DeviceTags, Incoming, StreamBatch, Work
from lms_cloud.telemetry.storage.latest_blocks import MAX_BLOCKS, SPAN, LatestBlocks
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.batches import digest
from lms_protocol.reading import Quality, Reading

NOON_MS = 1_795_435_200_000
STREAMS = [UUID(int=number) for number in range(1, 4)]
SHOWN = (
    "select series_id, (extract(epoch from taken_at) * 1000)::bigint, quality, float8send(value), text, number"
    " from latest order by series_id"
)


@pytest.fixture
def batch(plant, tags):
    """Make a batch of one of the bioreactors as ingest would have decoded it."""

    def make(stream, number, readings, home=plant.r1, tags=tags):
        key = StreamBatch(stream, number)
        fingerprint = digest(home.device, number, readings)
        return Incoming(home, key, fingerprint, readings, (), tags, False, plant.node, "topic", b"")

    return make


def some_value(rng, tag):
    """A value of a tag of the plant's fixture, by its data type; sometimes none, or one that a text must keep."""
    if rng.random() < 0.2:
        return None
    return {
        3: rng.choice(["", "feed", "harvest"]),
        4: rng.choice([rng.randint(-9, 9), 2**60 + rng.randint(0, 9)]),
        5: rng.random() < 0.5,
    }.get(tag, rng.choice([rng.random(), -0.0, float("inf"), struct.unpack("<d", b"\x07\0\0\0\0\0\xf8\x7f")[0]]))


async def test_two_writers_that_know_nothing_of_each_other_keep_the_newest_of_every_series(
    connect, batch, query, tags
) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    writers = [(await connect(), LatestBlocks()) for _ in range(2)]
    newest = {}
    for number in range(1, 121):
        (stream, other) = rng.sample(STREAMS, 2)
        batches = []
        for each in (stream, other)[: rng.randint(1, 2)]:
            chosen = rng.sample(range(1, 6), rng.randint(1, 5))
            readings = tuple(
                Reading(tag, NOON_MS + rng.randint(0, 30), value, Quality.BAD if value is None else Quality.GOOD)
                for tag in chosen
                for value in [some_value(rng, tag)]
            )
            batches.append(batch(each, number, readings))
        connection, blocks = writers[rng.random() < 0.5]
        if rng.random() < 0.15:
            async with connection.transaction() as never_committed:
                await commit_work(connection, Work(batches), blocks)
                raise psycopg.Rollback(never_committed)
            blocks.forget()
            continue
        await commit_work(connection, Work(batches), blocks)
        for each in batches:
            for reading in each.readings:
                series = tags.series[reading.tag]
                if series not in newest or (reading.taken_at_ms, number) >= newest[series][:2]:
                    newest[series] = (reading.taken_at_ms, number, reading)
    expected = []
    for series, (ms, number, reading) in sorted(newest.items()):
        value = reading.value
        is_text = isinstance(value, str) or (isinstance(value, int) and abs(value) > 2**53)
        number_bits = None if value is None or is_text else struct.pack(">d", value)
        expected.append((series, ms, int(reading.quality), number_bits, str(value) if is_text else None, number))
    assert query(SHOWN) == expected, f"seed {seed}"


async def test_what_a_writer_remembers_is_not_believed_after_it_was_changed(connect, batch, query) -> None:
    connection, blocks = await connect(), LatestBlocks()
    await commit_work(connection, Work([batch(STREAMS[0], 1, (Reading(1, NOON_MS, 1.0),))]), blocks)
    await commit_work(await connect(), Work([batch(STREAMS[1], 1, (Reading(1, NOON_MS + 9, 2.0),))]))
    await commit_work(connection, Work([batch(STREAMS[0], 2, (Reading(2, NOON_MS + 5, 3.0),))]), blocks)
    assert query("select value from latest order by value") == [(2.0,), (3.0,)]
    assert query("select version from latest_blocks") == [(3,)]


async def test_series_far_apart_and_of_many_blocks_each_keep_their_own(connect, batch, query, plant) -> None:
    numbers = [1, SPAN - 1, SPAN, SPAN + 1, 40 * SPAN, 2**31 - 1]
    homes = [plant.r1, plant.r2]
    blocks = LatestBlocks()
    connection = await connect()
    for scan in range(3):
        batches = []
        for at, home in enumerate(homes):
            series = dict(enumerate(numbers[at::2], start=1))
            known = DeviceTags(series, {}, frozenset())
            readings = tuple(Reading(tag, NOON_MS + scan, each + scan / 4) for tag, each in series.items())
            batches.append(batch(STREAMS[at], scan + 1, readings, home, known))
        await commit_work(connection, Work(batches), blocks)
    assert query("select series_id, value from latest order by series_id") == [(n, n + 0.5) for n in numbers]


async def test_a_writer_forgets_before_it_remembers_too_much(connect, batch, query, plant, monkeypatch) -> None:
    monkeypatch.setattr("lms_cloud.telemetry.storage.latest_blocks.MAX_BLOCKS", 3)
    assert MAX_BLOCKS > 1000
    blocks = LatestBlocks()
    connection = await connect()
    for number in range(1, 21):
        known = DeviceTags({1: 1000 * (number % 7)}, {}, frozenset())
        await commit_work(
            connection, Work([batch(STREAMS[0], number, (Reading(1, number, number / 2),), tags=known)]), blocks
        )
        assert len(blocks._keys) <= 4
    newest = {number % 7: number for number in range(1, 21)}
    assert query("select series_id, value from latest order by series_id") == [
        (1000 * at, newest[at] / 2) for at in sorted(newest)
    ]


def test_pages_see_the_latest_values_of_their_own_organization_only(migrated_database) -> None:
    homes = [UUID(int=1), UUID(int=2)]
    with psycopg.connect(migrated_database.superuser_url) as connection:
        connection.execute("set session_replication_role = replica")  # no entities are needed here
        for home in homes:
            connection.execute(
                "insert into latest_blocks values (%s, 0, %s, 1, array[1], array[now()], array[1], array[192],"
                " array[0], array[1.5])",
                (home, home),
            )
    for home in homes:
        with psycopg.connect(migrated_database.web_url) as connection:
            assert connection.execute("select from latest").rowcount == 0
            connection.execute("select set_config('lms.organization_id', %s, true)", [str(home)])
            assert connection.execute("select bioreactor_id from latest").fetchall() == [(home,)]


async def test_what_a_clock_years_ahead_has_dated_hides_nothing_that_comes_after(connect, batch, query, tags) -> None:
    years_ms = 10 * 365 * 86_400_000
    connection, blocks = await connect(), LatestBlocks(lambda: NOON_MS)

    async def commit(*taken: tuple[int, int, float]) -> dict[int, float]:
        """Store readings (batch number, ms, value) of tag 1, and one of years ahead of tag 2; the latest values."""
        made = [batch(STREAMS[0], number, (Reading(1, ms, value),)) for number, ms, value in taken]
        made += [batch(STREAMS[1], number, (Reading(2, NOON_MS + years_ms, 9.0),)) for number, _, _ in taken]
        await commit_work(connection, Work(made), blocks)
        return dict(query("select series_id, value from latest where series_id = any(%s)", list(tags.series.values())))

    one, two = tags.series[1], tags.series[2]
    assert await commit((1, NOON_MS + years_ms, 1.0)) == {one: 1.0, two: 9.0}
    assert await commit((2, NOON_MS - 5_000, 2.0)) == {one: 2.0, two: 9.0}
    assert await commit((3, NOON_MS + years_ms + 1, 3.0)) == {one: 2.0, two: 9.0}
    assert await commit((4, NOON_MS + years_ms + 2, 4.0), (5, NOON_MS, 5.0)) == {one: 5.0, two: 9.0}
    blocks.forget()
    assert await commit((6, NOON_MS - 1, 6.0)) == {one: 5.0, two: 9.0}
