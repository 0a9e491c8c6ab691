"""History: whatever the window, bounded, in order, with breaks where nothing was read, and nobody else's."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from lms_cloud.kernel.errors import Invalid, NotFound
from lms_cloud.telemetry.history.service import MAX_POINTS, History, HistoryService, check_window
from lms_cloud.telemetry.history.shaping import SeriesHistory
from lms_cloud.telemetry.incoming import Incoming, StreamBatch, Work, to_instant
from lms_cloud.telemetry.latest import LatestService
from lms_cloud.telemetry.storage.rollups.refreshing import refresh
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.batches import digest
from lms_protocol.reading import Gap, Quality, Reading

STREAM = UUID("33333333-3333-4333-8333-333333333333")
NOON_MS = 1_795_435_200_000
NOON = to_instant(NOON_MS)


@pytest.fixture
def store(plant, tags, connect, ingest_db):
    """Commit readings and gaps as one batch of R1, and let the refresher do its work."""
    numbers = iter(range(1, 10_000))

    async def commit(readings, gaps=()):
        number = next(numbers)
        fingerprint = digest("R1", number, readings, gaps)
        batch = Incoming(
            plant.r1, StreamBatch(STREAM, number), fingerprint, readings, gaps, tags, False, plant.node, "t", b""
        )
        await commit_work(await connect(), Work([batch]))
        async with ingest_db.unit_of_work(None) as uow:
            await refresh(uow, at_once=True)

    return commit


@pytest.fixture
def read(plant, web_db):
    """Read history of R1 as a web worker."""

    async def ask(start=NOON, end=NOON + timedelta(hours=1), organization_id=None, **more) -> History:
        async with web_db.unit_of_work(organization_id or plant.organization_id) as uow:
            return await HistoryService(uow).read(plant.r1.id, start=start, end=end, **more)

    return ask


def named(history: History, name: str) -> SeriesHistory:
    return next(each for each in history.series if each.tag.name == name)


async def test_few_readings_come_out_as_they_are(store, read):
    readings = [
        Reading(1, NOON_MS, 7.01),
        Reading(1, NOON_MS + 1000, None, Quality.BAD),
        Reading(1, NOON_MS + 2000, 7.5, Quality.UNCERTAIN),
        Reading(3, NOON_MS, "inoculation"),
        Reading(4, NOON_MS, 2**53 + 1),
        Reading(4, NOON_MS + 1000, 3),
        Reading(5, NOON_MS, True),
        Reading(1, NOON_MS + 3_600_000, 9.9),
    ]
    await store(readings)
    history = await read()
    assert history.resolution == "raw"
    ph = named(history, "pH/PV")
    assert ph.taken_at_ms == [NOON_MS, NOON_MS + 1000, NOON_MS + 2000]
    assert (ph.value, ph.quality) == ([7.01, None, 7.5], [192, 0, 64])
    assert named(history, "Phase").value == ["inoculation"]
    assert named(history, "Counter").value == [2**53 + 1, 3]
    assert named(history, "Counter").as_json()["value"] == ["9007199254740993", 3]
    assert named(history, "Pump").value == [True]
    assert named(history, "DO/PV").value == []


async def test_many_readings_are_thinned_and_keep_every_spike(store, read):
    readings = [Reading(1, NOON_MS + n * 100, 7.0) for n in range(30_000)]
    readings[12_345] = Reading(1, NOON_MS + 1_234_500, 99.0)
    readings[20_000] = Reading(1, NOON_MS + 2_000_000, -5.0, Quality.STALE)
    readings[20_001] = Reading(1, NOON_MS + 2_000_100, float("nan"))
    readings[20_002] = Reading(1, NOON_MS + 2_000_200, float("inf"))
    await store(readings)
    for max_points in (10, 100, MAX_POINTS):
        history = await read(tags=["pH/PV"], max_points=max_points)
        ph = named(history, "pH/PV")
        assert history.resolution == "downsampled"
        assert len(ph.taken_at_ms) <= max_points
        assert ph.taken_at_ms == sorted(set(ph.taken_at_ms))
        drawn = [value for value in ph.value if value is not None]
        assert (min(drawn), max(drawn)) == (-5.0, 99.0)
        assert set(ph.worst) == {192, 500}
        assert ph.quality[ph.value.index(-5.0)] == 500


async def test_sums_beyond_the_range_of_doubles_do_not_fail(store, read):
    await store([Reading(1, NOON_MS + n, 1.7e308) for n in range(50)])
    thinned = named(await read(tags=["pH/PV"], max_points=10), "pH/PV")
    assert set(thinned.value) == {1.7e308}
    ph = named(await read(tags=["pH/PV"], max_points=60, resolution="1m"), "pH/PV")
    assert set(ph.maximum) == {1.7e308}
    assert ph.value[0] == 1.7e308


async def test_many_texts_come_as_the_first_of_each_stretch_with_the_worst_quality_in_it(store, read):
    readings = [Reading(3, NOON_MS + n * 1000, f"step {n}") for n in range(3000)]
    readings[1234] = Reading(3, NOON_MS + 1_234_000, "step 1234", Quality.STALE)
    await store(readings, [Gap(1, (3,), NOON_MS + 3_000_000, None, "no reply")])
    for resolution, max_points in (("auto", 20), ("auto", 200), ("1m", 60), ("1h", 10)):
        phase = named(await read(tags=["Phase"], max_points=max_points, resolution=resolution), "Phase")
        assert phase.resolution == "downsampled"
        assert len(phase.taken_at_ms) == len(phase.worst) <= max_points
        assert phase.taken_at_ms == sorted(set(phase.taken_at_ms))
        assert phase.value[0] == "step 0"
        for at, value, worst in zip(phase.taken_at_ms, phase.value, phase.worst, strict=True):
            assert value in {None, f"step {(at - NOON_MS) // 1000}"}
            assert worst == 0 if value is None else worst in {192, 500}
        assert phase.worst.count(500) == 1
        if len(phase.taken_at_ms) < max_points:
            assert phase.value[-1] is None


async def test_integers_beyond_doubles_stay_exact_when_they_are_thinned(store, read):
    counted = [2**60 + n * n for n in range(400)]
    await store([Reading(4, NOON_MS + n * 1000, value) for n, value in enumerate(counted)])
    counter = named(await read(tags=["Counter"], max_points=40), "Counter")
    assert counter.resolution == "downsampled"
    assert set(counter.value) <= set(counted)
    assert (counter.value[0], counter.value[-1]) == (counted[0], counted[-1])


async def test_set_points_hold_until_the_next_one(store, read, query, plant):
    spoken = [Reading(tag, NOON_MS + at, 7.0) for tag in (1, 2) for at in (0, 1000, 2000, 3000, 60_000, 61_000)]
    query("update entities set properties = properties || '{\"access\": \"write\"}' where name = 'DO/PV' returning 1")
    await store(spoken)
    history = await read(tags=["pH/PV", "DO/PV"])
    assert named(history, "pH/PV").value == [7.0, 7.0, 7.0, 7.0, None, 7.0, 7.0]
    assert named(history, "DO/PV").value == [7.0] * 6


async def test_gap_is_a_break_also_where_no_bad_reading_shows_it(store, read):
    readings = [Reading(1, NOON_MS + n * 1000, 7.0) for n in (0, 1, 2, 60, 61)]
    await store(readings, [Gap(1, (1,), NOON_MS + 2000, NOON_MS + 60_000, "agent was not running")])
    history = await read(tags=["pH/PV", "DO/PV"])
    ph = named(history, "pH/PV")
    assert ph.value == [7.0, 7.0, 7.0, None, 7.0, 7.0]
    assert ph.taken_at_ms[3] == NOON_MS + 2001
    assert [(gap.began_at_ms, gap.ended_at_ms) for gap in history.gaps] == [(NOON_MS + 2000, NOON_MS + 60_000)]


async def test_open_gap_is_a_break_at_the_end(store, read):
    await store([Reading(1, NOON_MS, 7.0)], [Gap(1, (1,), NOON_MS, None, "no reply")])
    assert named(await read(), "pH/PV").value == [7.0, None]


@pytest.mark.parametrize(
    ("window", "field"),
    [
        ({"start": NOON, "end": NOON}, "start"),
        ({"start": NOON + timedelta(1), "end": NOON}, "start"),
        ({"start": NOON.replace(tzinfo=None), "end": NOON}, "start"),
        ({"start": NOON, "end": NOON.replace(tzinfo=None)}, "end"),
        ({"start": datetime(1999, 12, 31, tzinfo=UTC), "end": NOON}, "start"),
        ({"start": NOON, "end": datetime(2200, 1, 1, tzinfo=UTC)}, "end"),
        ({"start": NOON, "end": NOON + timedelta(1), "max_points": 9}, "max_points"),
        ({"start": NOON, "end": NOON + timedelta(1), "max_points": 5001}, "max_points"),
    ],
)
def test_windows_that_nobody_can_mean_are_refused(window, field):
    with pytest.raises(Invalid) as caught:
        check_window(**window)
    assert caught.value.field == field


async def test_unknown_tag_is_named_and_the_known_ones_listed(store, read):
    with pytest.raises(Invalid, match=r"tags: found 'pH/XX'.*pH/PV"):
        await read(tags=["pH/PV", "pH/XX"])


async def test_other_tenants_see_no_bioreactor_and_no_reading(store, read, plant, web_db):
    await store([Reading(1, NOON_MS, 7.0)])
    with pytest.raises(NotFound):
        await read(organization_id=uuid4())
    async with web_db.unit_of_work(uuid4()) as uow:
        assert await LatestService(uow).of_fleet() == []
        assert await LatestService(uow).of_bioreactors([plant.r1.id]) == []
        assert await LatestService(uow).statuses() == {}
    async with web_db.unit_of_work(plant.organization_id) as uow:
        assert [(each.tag.name, each.value) for each in await LatestService(uow).of_fleet()] == [("pH/PV", 7.0)]


async def test_latest_values_are_as_read(store, plant, web_db):
    await store(
        [Reading(3, NOON_MS, "feed"), Reading(4, NOON_MS, 2**60), Reading(5, NOON_MS, False), Reading(1, 5, None)]
    )
    async with web_db.unit_of_work(plant.organization_id) as uow:
        found = {each.tag.name: each.value for each in await LatestService(uow).of_bioreactor(plant.r1.id)}
    assert found == {"Phase": "feed", "Counter": 2**60, "Pump": False, "pH/PV": None}


async def test_what_commits_after_a_cursor_brought_is_found_exactly(store, plant, web_db):
    for n in range(5):
        await store([Reading(1, NOON_MS + n * 1000, float(n)), Reading(2, NOON_MS + n * 1000, float(-n))])
    async with web_db.unit_of_work(plant.organization_id) as uow:
        service = HistoryService(uow)
        found = await service.since(plant.r1.id, 3, max_points=100)
        assert found.cursor == 5
        assert named(found, "pH/PV").value == [3.0, 4.0]
        nothing = await service.since(plant.r1.id, 5, max_points=100)
        assert [each.value for each in nothing.series] == [[]] * 5
        assert await service.since(plant.r1.id, 9, max_points=100) is None
        assert await service.since(plant.r1.id, 0, max_points=3) is None
