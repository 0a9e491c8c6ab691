"""History of any window, from the database, beside a naive model of it that knows every reading.

Readings come late and out of order, some times come twice, values are missing, NaN and infinite, the pace changes, and
tags pause with and without a gap record. Whatever the server chooses: never more points than asked for, times rising,
the window's extremes there, buckets as a plain loop computes them, no line across what is missing, the worst quality
told.
"""

import math
import random
from collections import defaultdict
from datetime import timedelta, timezone
from itertools import pairwise
from uuid import UUID

import pytest
from lms_cloud.kernel.clock import FixedClock
from lms_cloud.kernel.database import Database
from lms_cloud.telemetry.history.series import Budget
from lms_cloud.telemetry.history.service import HistoryService
from lms_cloud.telemetry.incoming import Incoming, StreamBatch, Work, to_instant
from lms_cloud.telemetry.storage.partitions import Partitions
from lms_cloud.telemetry.storage.rollups.refreshing import refresh
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.batches import digest
from lms_protocol.reading import Gap, Reading

STREAM = UUID("44444444-4444-4444-8444-444444444444")
NOON_MS = 1_795_435_200_000
HOURS = 7
TAGS = {1: "pH/PV", 2: "DO/PV", 4: "Counter", 5: "Pump"}
TRUST = {0: 0, 500: 63, 64: 64, 192: 192}
BUDGETS = (Budget(), Budget(readings_of_a_tag=300), Budget(readings_of_a_tag=40, rows_in_all=20))


def number(value):
    """What can be drawn of a value, or None."""
    return None if value is None or not math.isfinite(value) else float(value)


def some_readings(rng, tag):
    """A tag's readings over some hours, and the gap records of its pauses."""
    readings, gaps = [], []
    at_ms, end_ms = NOON_MS + rng.randrange(60_000), NOON_MS + HOURS * 3_600_000
    pace_ms = 1000
    while at_ms < end_ms:
        chance = rng.random()
        value = {4: rng.choice([rng.randrange(9), 2**53 + rng.randrange(5)]), 5: rng.random() < 0.5}.get(
            tag, rng.gauss(7, 0.1) if rng.random() < 0.999 else rng.choice([90.0, -90.0, 1e301, -1.7e308])
        )
        quality = 192 if rng.random() < 0.99 else rng.choice([64, 500, 0])
        if chance < 0.01:
            value, quality = None, 0
        elif chance < 0.02 and tag in {1, 2}:
            value = rng.choice([math.nan, math.inf, -math.inf])
        readings.append(Reading(tag, at_ms, value, quality))
        if chance > 0.995:
            readings.append(Reading(tag, at_ms, value, 64))
        if chance > 0.999:
            pace_ms = rng.choice([1000, 10_000, 60_000])
        step_ms = pace_ms + rng.randrange(-50, 50)
        if 0.5 < chance < 0.502:
            step_ms = rng.choice([20_000, 200_000, 2_000_000])
            if rng.random() < 0.5:
                gaps.append((tag, at_ms, at_ms + step_ms))
        at_ms += step_ms
    return readings, gaps


@pytest.fixture
async def stored(request, plant, tags, connect, ingest_db):
    """Readings by tag and gap records, committed late and out of order, with rollups computed in between."""
    rng = random.Random(request.param)
    print(f"seed {request.param}")
    by_tag = {tag: some_readings(rng, tag) for tag in TAGS}
    batches = [
        (readings[start : start + 400], []) for readings, _ in by_tag.values() for start in range(0, len(readings), 400)
    ]
    gaps = [gap for _, found in by_tag.values() for gap in found]
    for n, (tag, began, ended) in enumerate(gaps):
        rng.choice(batches)[1].append(Gap(n, (tag,), began, ended, "why"))
    rng.shuffle(batches)
    connection, partitions = await connect(), Partitions(lambda: NOON_MS)
    for n, (readings, told) in enumerate(batches):
        key, mixed = StreamBatch(STREAM, n + 1), rng.sample(readings, len(readings))
        fingerprint = digest("R1", n + 1, mixed, told)
        batch = Incoming(plant.r1, key, fingerprint, mixed, told, tags, False, plant.node, "t", b"")
        await partitions.make(connection, [batch])
        await commit_work(connection, Work([batch]))
        if rng.random() < 0.3 or n + 1 == len(batches):
            more = True
            while more:
                async with ingest_db.unit_of_work(None) as uow:
                    more = (await refresh(uow, at_once=True)).more
    return {tag: (readings, [gap for gap in gaps if gap[0] == tag]) for tag, (readings, _) in by_tag.items()}


def one_for_each_time(readings):
    best = {}
    for reading in readings:
        drawn = number(reading.value)
        key = (drawn is not None, TRUST[reading.quality], drawn or 0.0)
        if reading.taken_at_ms not in best or key > best[reading.taken_at_ms][0]:
            best[reading.taken_at_ms] = (key, reading)
    return [best[at][1] for at in sorted(best)]


def missing(readings, gaps, *, holes):
    """Pairs of times that no line may join."""
    solid = [n for n, reading in enumerate(readings) if number(reading.value) is not None]
    times = [reading.taken_at_ms for reading in readings]
    steps = [after - before for before, after in pairwise(times)]
    for before, after in pairwise(solid):
        in_gap = any(times[before] <= began < times[after] - 1 for _, began, _ in gaps)
        sides = (sorted(steps[max(0, before - 5) : before]), sorted(steps[before + 1 : before + 6]))
        usual = max((side[(len(side) - 1) // 2] for side in sides if side), default=0)
        hole = holes and steps[before] > 5000 and usual and steps[before] > 5 * usual
        if after > before + 1 or in_gap or hole:
            yield times[before], times[after]


def lines(series):
    """Neighbouring points that a chart joins."""
    points = list(zip(series.taken_at_ms, series.value, strict=True))
    return [(a, b) for (a, v), (b, w) in pairwise(points) if v is not None and w is not None]


def assert_nothing_is_drawn_across(series, breaks, longer_than_ms):
    drawn = lines(series)
    for began, ended in breaks:
        if ended - began > longer_than_ms:
            across = [line for line in drawn if line[0] <= began and ended <= line[1]]
            assert not across, (began, ended, across)


def compare(series, readings, gaps, window, max_points):
    """One series of an answer with the model's readings in the same window."""
    start_ms, end_ms = window
    inside = [reading for reading in readings if start_ms <= reading.taken_at_ms < end_ms]
    once = one_for_each_time(inside)
    drawn = [value for value in (number(reading.value) for reading in once) if value is not None]
    assert len(series.taken_at_ms) == len(series.value) == len(series.quality) <= max_points
    assert all(before < after for before, after in pairwise(series.taken_at_ms))
    assert all(start_ms <= at for at in series.taken_at_ms)
    shown = [float(value) for value in series.value if value is not None and math.isfinite(value)]
    breaks = list(missing(once, gaps, holes=True))
    if series.resolution == "raw":
        nulls = len(series.taken_at_ms) - len(once)
        assert nulls >= 0
        found = {at: (v, q) for at, v, q in zip(series.taken_at_ms, series.value, series.quality, strict=True)}
        for reading in once:
            value, quality = found[reading.taken_at_ms]
            assert quality == reading.quality
            assert value == reading.value or (math.isnan(value) and math.isnan(reading.value))
        plain = [value if value is not None and math.isfinite(value) else None for value in series.value]
        series.value = plain
        assert_nothing_is_drawn_across(series, breaks, 0)
    elif series.resolution == "downsampled":
        assert len(once) > max_points or len(once) + len(breaks) > max_points
        assert set(shown) <= set(drawn)
        if drawn:
            assert (min(shown), max(shown)) == (min(drawn), max(drawn))
        told = min(TRUST[quality] for quality in series.worst)
        assert told == min([TRUST[reading.quality] for reading in once] + [told] * (0 in series.worst))
        room = max(1, (max_points - 4) // 4) + 1
        assert_nothing_is_drawn_across(series, breaks, (end_ms - start_ms) / room)
    else:
        compare_buckets(series, inside, breaks)


def compare_buckets(series, inside, breaks):
    width_ms = series.bucket_s * 1000
    buckets = defaultdict(list)
    for reading in inside:
        buckets[reading.taken_at_ms // width_ms].append(reading)
    columns = zip(
        *(series.taken_at_ms, series.value, series.minimum, series.maximum, series.first, series.last, series.quality),
        strict=True,
    )
    found = {}
    for at, mean, low, high, first, last, quality in columns:
        if mean is not None or at == min((r.taken_at_ms for r in buckets.get(at // width_ms, ())), default=-1):
            found[at // width_ms] = (at, mean, low, high, first, last, quality)
    assert found.keys() == buckets.keys()
    for bucket, readings in buckets.items():
        at, mean, low, high, first, last, quality = found[bucket]
        solid = sorted((r.taken_at_ms, number(r.value)) for r in readings if number(r.value) is not None)
        values = [value for _, value in solid]
        assert at == min(reading.taken_at_ms for reading in readings)
        assert TRUST[quality] == min(TRUST[reading.quality] for reading in readings)
        assert (low, high) == (min(values, default=None), max(values, default=None))
        assert (first, last) == ((values[0], values[-1]) if values else (None, None))
        small = [value for value in values if abs(value) < 1e300]
        if small:
            assert mean == pytest.approx(math.fsum(small) / len(small), rel=1e-9, abs=1e-9 * max(map(abs, small)))
    assert_nothing_is_drawn_across(series, breaks, 2 * width_ms)


@pytest.mark.parametrize("stored", [1, 2, 3], indirect=True)
async def test_every_window_is_what_the_naive_model_says(stored, plant):
    rng = random.Random(len(stored[1][0]))
    seen = set()
    async with Database(plant.web_url, clock=FixedClock(to_instant(NOON_MS + 30 * 3_600_000))) as database:
        for _ in range(60):
            start_ms = NOON_MS + rng.randrange(-600_000, HOURS * 3_600_000)
            window = (start_ms, start_ms + rng.choice([2_000, 100_000, 3_600_000, HOURS * 3_600_000, 40 * 86_400_000]))
            max_points, budget = rng.choice([10, 37, 300, 2000, 5000]), rng.choice(BUDGETS)
            async with database.unit_of_work(plant.organization_id) as uow:
                history = await HistoryService(uow, budget).read(
                    plant.r1.id,
                    start=to_instant(window[0]),
                    end=to_instant(window[1]),
                    tags=list(TAGS.values()),
                    max_points=max_points,
                )
            for tag, series in zip(TAGS, history.series, strict=True):
                compare(series, *stored[tag], window, max_points)
                seen.add(series.resolution)
    assert seen == {"raw", "downsampled", "envelope"}


@pytest.mark.parametrize("stored", [4], indirect=True)
async def test_buckets_that_rollups_do_not_hold_yet_are_computed_from_readings(stored, plant, query):
    query("delete from rollup_1m where bucket >= to_timestamp(%s) returning 1", (NOON_MS + 2 * 3_600_000) / 1000 - 60)
    query("delete from rollup_1h where bucket >= to_timestamp(%s) returning 1", (NOON_MS + 1 * 3_600_000) / 1000)
    query("delete from rollup_1d returning 1")
    now = to_instant(NOON_MS + 2 * 3_600_000 + 30_000)
    window = (NOON_MS + 61_234, NOON_MS + 2 * 3_600_000 + 30_000)
    async with Database(plant.web_url, clock=FixedClock(now)) as database:
        for max_points in (10, 100):
            async with database.unit_of_work(plant.organization_id) as uow:
                history = await HistoryService(uow, Budget(readings_of_a_tag=1)).read(
                    plant.r1.id, start=to_instant(window[0]), end=now, tags=["pH/PV"], max_points=max_points
                )
            (series,) = history.series
            assert series.resolution == "envelope"
            compare(series, *stored[1], window, max_points)


@pytest.mark.parametrize("stored", [5], indirect=True)
async def test_windows_whose_readings_were_dropped_are_shown_from_rollups(stored, plant, query):
    query("delete from readings where taken_at < to_timestamp(%s) returning 1", (NOON_MS + 3 * 3_600_000) / 1000)
    window = (NOON_MS - 60_000, NOON_MS + 6 * 3_600_000)
    clock = FixedClock(to_instant(NOON_MS + 400 * 86_400_000))
    async with (
        Database(plant.web_url, clock=clock) as database,
        database.unit_of_work(plant.organization_id) as uow,
    ):
        history = await HistoryService(uow).read(
            plant.r1.id, start=to_instant(window[0]), end=to_instant(window[1]), tags=["pH/PV"], max_points=500
        )
    (series,) = history.series
    assert series.resolution == "envelope"
    compare(series, *stored[1], window, 500)


@pytest.mark.parametrize("stored", [7], indirect=True)
async def test_windows_whose_minutes_were_dropped_too_are_shown_from_longer_rollups(stored, plant, query):
    later = (NOON_MS + 3_600_000 * 4) / 1000
    query("delete from readings where taken_at < to_timestamp(%s) returning 1", later)
    query("delete from rollup_1m where bucket < to_timestamp(%s) returning 1", later)
    window = (NOON_MS, NOON_MS + 7 * 3_600_000)
    clock = FixedClock(to_instant(NOON_MS + 400 * 86_400_000))
    async with (
        Database(plant.web_url, clock=clock) as database,
        database.unit_of_work(plant.organization_id) as uow,
    ):
        history = await HistoryService(uow).read(
            plant.r1.id, start=to_instant(window[0]), end=to_instant(window[1]), max_points=500
        )
    for series in history.series:
        tag = next((number for number, name in TAGS.items() if name == series.tag.name), None)
        if tag is not None:
            assert (series.resolution, series.bucket_s) == ("envelope", 3600)
            compare(series, *stored[tag], window, 500)


@pytest.mark.parametrize("stored", [6], indirect=True)
async def test_one_window_is_the_same_in_any_zone(stored, plant):
    start, end = to_instant(NOON_MS), to_instant(NOON_MS + 3_600_000)
    answers = []
    async with Database(plant.web_url) as database, database.unit_of_work(plant.organization_id) as uow:
        for hours in (-11, 0, 5.75):
            zone = timezone(timedelta(hours=hours))
            read = await HistoryService(uow).read(plant.r1.id, start=start.astimezone(zone), end=end.astimezone(zone))
            answers.append([(each.taken_at_ms, list(map(str, each.value))) for each in read.series])
    assert answers[0] == answers[1] == answers[2]
