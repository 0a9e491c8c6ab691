"""History of one tag read once a second: a year of it beside an hour, both to 2,000 points.

LMS_BENCH_HISTORY_DAYS=30 fills less than a year (the year then is as long as that).
"""

import os
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from statistics import median, quantiles

import httpx
import psycopg
import pytest
from lms_cloud.accounts.dependencies import current_identity
from lms_cloud.accounts.identity import Identity
from lms_cloud.accounts.passwords import PasswordHasher
from lms_cloud.accounts.roles import Role
from lms_cloud.kernel.clock import FixedClock
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.telemetry.history.service import HistoryService
from lms_cloud.telemetry.incoming import to_instant
from lms_cloud.telemetry.storage.rollups.refreshing import refresh
from lms_cloud.web.app import create_app
from support.figures import show

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
DAYS = int(os.environ.get("LMS_BENCH_HISTORY_DAYS", "365"))
NOW = to_instant(1_795_435_200_000) + timedelta(minutes=17, seconds=3)
POINTS = 2000
ROUNDS = 40
FILL = """
insert into readings (series_id, taken_at, quality, value)
select %s, at, case when n %% 50000 = 0 then 64 else 192 end, 7 + 0.2 * sin(n / 7000.0) + 0.01 * sin(n * 1.7)
from (select n, to_timestamp(%s + n) as at from generate_series(0, %s) as n) as each
where n %% 200000 < 199000
"""


COLUMNS = """
select count(compress_chunk(chunk, true))
from (values ('readings', interval '2 hours'), ('rollup_1m', '30 days'), ('rollup_1h', '91 days')) as tables (name, age)
cross join show_chunks(name::regclass, older_than => %s - age) as chunk
"""


def to_columns(url: str) -> None:
    """On TimescaleDB: what its policy does as time goes by."""
    with psycopg.connect(url, autocommit=True) as connection:
        (flavour,) = connection.execute("select flavour from storage_state").fetchone()
        if flavour == "timescaledb":
            connection.execute(COLUMNS, (NOW,))
        connection.execute("vacuum analyze")
        print(f"  {flavour}")


def fill(url: str, bioreactor_id: object, series: int) -> int:
    """Readings of some weeks at 1 Hz, with a pause of 1,000 s every 2.3 days; how many."""
    count = 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select make_reading_partitions(%s, %s)", (NOW - timedelta(days=DAYS), NOW))
        for day in range(0, DAYS, 7):
            start, days = NOW - timedelta(days=DAYS - day), min(7, DAYS - day)
            values = (series, round(start.timestamp()), days * 86_400 - 1)
            count += connection.execute(FILL, values).rowcount
        mark = "insert into rollup_marks (bioreactor_id, from_at, to_at) values (%s, %s, %s)"
        first = (NOW - timedelta(days=DAYS)).replace(second=0)
        connection.execute(mark, (bioreactor_id, first, NOW.replace(second=0)))
        connection.execute("vacuum analyze readings")
    return count


async def compute_rollups(database: Database) -> None:
    more = True
    while more:
        async with database.unit_of_work(None) as uow:
            more = (await refresh(uow, at_once=True)).more


async def took_ms(database: Database, organization_id: object, bioreactor_id: object, start: datetime) -> float:
    began = time.perf_counter()
    async with database.unit_of_work(organization_id) as uow:
        history = await HistoryService(uow).read(bioreactor_id, start=start, end=NOW, tags=["pH/PV"], max_points=POINTS)
    took = (time.perf_counter() - began) * 1000
    assert 0.5 * POINTS < len(history.series[0].taken_at_ms) <= POINTS
    return took


@pytest.fixture
async def client(plant):
    """A client of the whole application, logged in without a password."""
    settings = CloudSettings(database_url=plant.web_url, secret_key=secrets.token_urlsafe(48))
    app = create_app(settings, clock=FixedClock(NOW), hasher=PasswordHasher(rounds=4))
    who = Identity(plant.agent_id, "ana@example.org", None, plant.organization_id, Role.VIEWER, plant.agent_id)
    app.dependency_overrides[current_identity] = lambda: who
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080") as made,
    ):
        yield made


async def over_rest_ms(client: httpx.AsyncClient, bioreactor_id: object, start: datetime) -> float:
    query = {"tags": "pH/PV", "start": start.isoformat(), "end": NOW.isoformat(), "max_points": POINTS}
    began = time.perf_counter()
    answer = await client.get(f"/api/v1/bioreactors/{bioreactor_id}/history", params=query)
    took = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, answer.text
    return took


async def measure(name: str, took: Callable[[datetime], Awaitable[float]]) -> None:
    """Ask for each window in turn, so that a slow spell hits all, and show each beside the hour."""
    windows = {"1 h": timedelta(hours=1), "1 day": timedelta(days=1), "30 d": timedelta(days=30)}
    windows["1 year" if DAYS == 365 else f"{DAYS} d"] = timedelta(days=DAYS)
    found: dict[str, list[float]] = {each: [] for each in windows}
    for round_ in range(-5, ROUNDS):
        for each, window in windows.items():
            ms = await took(NOW - min(window, timedelta(days=DAYS)))
            if round_ >= 0:
                found[each].append(ms)
    p95 = {each: quantiles(times, n=20)[-1] for each, times in found.items()}
    for each, times in found.items():
        show(
            f"history {name}, {each} of 1 Hz to {POINTS} points: p95 (p50)",
            f"{p95[each]:.1f} ({median(times):.1f}) ms",
            beside=f"1 h: {p95['1 h']:.1f} ({median(found['1 h']):.1f}) ms",
            ratio=p95[each] / p95["1 h"],
        )


async def test_a_year_is_as_quick_as_an_hour(plant, tags, ingest_db, client) -> None:
    began = time.perf_counter()
    stored = fill(plant.superuser_url, plant.r1.id, tags.series[1])
    filled = time.perf_counter()
    await compute_rollups(ingest_db)
    print(f"\n  {stored:,} readings in {filled - began:.0f} s, their rollups in {time.perf_counter() - filled:.0f} s")
    to_columns(plant.superuser_url)
    async with Database(plant.web_url, clock=FixedClock(NOW)) as database:
        await measure("from the service", partial(took_ms, database, plant.organization_id, plant.r1.id))
    await measure("over REST", partial(over_rest_ms, client, plant.r1.id))
