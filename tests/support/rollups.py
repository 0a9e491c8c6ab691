"""Fixtures and a naive model for tests of rollups: what a rollup must hold, recomputed from the readings themselves.

| fixture | gives                                                                                          |
|---------|------------------------------------------------------------------------------------------------|
| `store` | async: `await store(readings, readings, …)` stores batches of R1 as one commit, as ingest would |
"""

import math
import time
from collections import defaultdict
from uuid import UUID

import pytest
from lms_cloud.kernel.database import Database
from lms_cloud.telemetry.incoming import Incoming, StreamBatch, Work
from lms_cloud.telemetry.storage.partitions import Partitions
from lms_cloud.telemetry.storage.rollups.refreshing import refresh
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.batches import digest

STREAM = UUID("33333333-3333-4333-8333-333333333333")
MS = "(extract(epoch from {}) * 1000)::bigint"
WIDTHS_MS = {"rollup_1m": 60_000, "rollup_1h": 3_600_000, "rollup_1d": 86_400_000}


@pytest.fixture
def store_batch(plant, tags):
    def make(number, readings):
        key = StreamBatch(STREAM, number)
        return Incoming(
            plant.r1, key, digest("R1", number, readings, ()), readings, (), tags, False, plant.node, "", b""
        )

    return make


@pytest.fixture
def store(connect, store_batch):
    """Store readings as one commit, in the given batches."""
    numbers = iter(range(1, 1_000_000))
    partitions = Partitions(lambda: time.time_ns() // 1_000_000)

    async def store(*batches):
        connection = await connect()
        work = Work([store_batch(next(numbers), tuple(readings)) for readings in batches])
        await partitions.make(connection, work.batches)
        await commit_work(connection, work)

    return store


async def refresh_all(database: Database, **limits) -> None:
    while True:
        async with database.unit_of_work(None) as uow:
            if (await refresh(uow, at_once=True, **limits)).bioreactors == 0:
                return


def compress_everything(query) -> None:
    """Let all pieces become columns, as TimescaleDB's policy would in time; nothing where there is no such thing."""
    if query("select flavour from storage_state") == [("timescaledb",)]:
        query(
            "select compress_chunk(chunk) from timescaledb_information.hypertables h,"
            " show_chunks(format('%I', hypertable_name)::regclass) chunk"
        )


def number_of(value):
    """The number that counts in a rollup, or None."""
    if isinstance(value, str) or value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def recomputed(readings, width_ms):
    """What a rollup must hold: by tag and bucket."""
    buckets = defaultdict(list)
    for reading in readings:
        buckets[reading.tag, reading.taken_at_ms - reading.taken_at_ms % width_ms].append(reading)
    result = {}
    for key, found in buckets.items():
        numbers = sorted((r.taken_at_ms, number_of(r.value)) for r in found if number_of(r.value) is not None)
        values = [value for _, value in numbers]
        summable = [value for value in values if abs(value) < 1e300]
        times = [r.taken_at_ms for r in found]
        result[key] = {
            "count": len(summable),
            "minimum": min(values, default=None),
            "maximum": max(values, default=None),
            "total": math.fsum(summable) if summable else None,
            "magnitude": math.fsum(map(abs, summable)),
            "first": values[0] if values else None,
            "last": values[-1] if values else None,
            "first_at": min(times),
            "last_at": max(times),
            "worst": min(63 if r.quality == 500 else r.quality for r in found),
            "readings": len(found),
        }
    return result


def differences(query, tags, readings):
    """Every way in which the three rollups differ from a recomputation."""
    tag_of = {series: number for number, series in tags.series.items()}
    wrong = []
    for table, width_ms in WIDTHS_MS.items():
        wanted = recomputed(readings, width_ms)
        rows = query(
            f"select series_id, {MS.format('bucket')}, count, minimum, maximum, total, first, last,"
            f" {MS.format('first_at')}, {MS.format('last_at')}, worst, readings from {table}"
        )
        found = {(tag_of[row[0]], row[1]): row[2:] for row in rows}
        wrong += [(table, key, "missing") for key in wanted.keys() - found.keys()]
        wrong += [(table, key, "too much") for key in found.keys() - wanted.keys()]
        assert len(found) == len(rows)
        for key in wanted.keys() & found.keys():
            names = (
                "count",
                "minimum",
                "maximum",
                "total",
                "first",
                "last",
                "first_at",
                "last_at",
                "worst",
                "readings",
            )
            got = dict(zip(names, found[key], strict=True))
            magnitude = wanted[key].pop("magnitude")
            total, exact = got.pop("total"), wanted[key].pop("total")
            close = total == exact or (None not in (total, exact) and abs(total - exact) <= 1e-12 * magnitude)
            if got != wanted[key] or not close:
                wrong.append((table, key, got | {"total": total}, wanted[key] | {"total": exact}))
    return wrong
