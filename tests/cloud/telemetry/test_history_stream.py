"""History streamed: every reading exactly, in bounded memory, and nothing left behind when the client goes."""

import asyncio
import csv
import io
import json
import math
import random
from typing import Any
from uuid import UUID

import psycopg
import pytest
import uvicorn
from lms_cloud.accounts.identity import Identity
from lms_cloud.accounts.roles import Role
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.errors import Invalid, NotFound, TooManyRequests
from lms_cloud.telemetry.history import stream as history_stream
from lms_cloud.telemetry.history.stream import HistoryStreams
from lms_cloud.telemetry.incoming import Incoming, StreamBatch, Work, to_instant
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.reading import Reading
from sqlalchemy.exc import OperationalError

STREAM = UUID("55555555-5555-4555-8555-555555555555")
NOON_MS = 1_795_435_200_000
WINDOW = (to_instant(NOON_MS), to_instant(NOON_MS + 3_600_000))
QUERY = {"start": "2026-11-23T12:00:00Z", "end": "2026-11-23T14:00:00+01:00"}
VALUES = {
    1: [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.nan, math.inf, -math.inf, None],
    3: ["inoculation", "", 'say "pH", µ\r\n', "=1+1", None],
    4: [2**53 + 1, -(2**63), 7, None],
    5: [True, False, None],
}


@pytest.fixture
async def stored(plant, tags, connect):
    readings = [Reading(tag, NOON_MS + n, value) for tag, values in VALUES.items() for n, value in enumerate(values)]
    readings.append(Reading(1, NOON_MS + 3_600_000, 99.0))
    batch = Incoming(plant.r1, StreamBatch(STREAM, 1), b"d", readings, (), tags, False, plant.node, "t", b"")
    await commit_work(await connect(), Work([batch]))


@pytest.fixture
def fill(query, tags):
    """Store many readings of pH/PV, 1 ms apart."""

    def insert(count: int) -> None:
        query(
            "insert into readings select %s, to_timestamp(%s) + n * interval '1 ms', 192, n"
            " from generate_series(1, %s) as n returning 1",
            tags.series[1],
            NOON_MS / 1000,
            count,
        )

    return insert


@pytest.fixture
async def streams(plant, web_db) -> HistoryStreams:
    return HistoryStreams(web_db, most=1)


@pytest.fixture
def identity(plant) -> Identity:
    return Identity(plant.agent_id, "ana@example.org", None, plant.organization_id, Role.VIEWER, plant.agent_id)


@pytest.fixture
async def ana(new_person, plant):
    person = await new_person(organization=None)
    with psycopg.connect(plant.superuser_url) as connection:
        who = [plant.organization_id, person.user_id]
        connection.execute("insert into memberships values (%s, %s, 'viewer', now())", who)
        connection.execute("update users set organization_id = %s where id = %s", who)
    return person


async def test_csv_holds_every_value_exactly(stored, ana, plant):
    answer = await ana.client.get(f"/api/v1/bioreactors/{plant.r1.id}/history.csv", params=QUERY, headers=ana.bearer)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    name = 'attachment; filename="history-20261123T120000Z-20261123T130000Z.csv"'
    assert answer.headers["content-disposition"] == name
    lines = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [line["taken_at"] for line in lines if line["tag"] == "Pump"] == [
        f"2026-11-23T12:00:00.00{n}Z" for n in range(3)
    ]
    values = {name: [line["value"] for line in lines if line["tag"] == name] for name in ("pH/PV", "Phase", "Counter")}
    assert [float(value) if value else None for value in values["pH/PV"][:4]] == VALUES[1][:4]
    assert values["pH/PV"][1] == "-0.0"
    assert values["pH/PV"][4:] == ["NaN", "Infinity", "-Infinity", ""]
    assert values["Phase"] == ["inoculation", "", 'say "pH", µ\r\n', "=1+1", ""]
    assert values["Counter"] == [str(2**53 + 1), str(-(2**63)), "7", ""]
    assert {(line["unit"], line["quality"]) for line in lines if line["tag"] == "pH/PV" and line["value"]} == {
        ("pH", "192")
    }
    # An empty text is told from no text: it is quoted.
    raw = [line for line in answer.text.split("\r\n") if ",Phase," in line]
    assert [line.endswith(',192,""') for line in raw].count(True) == 1
    assert raw[-1].endswith(",0,")


async def test_ndjson_holds_every_value_exactly(stored, ana, plant):
    path = f"/api/v1/bioreactors/{plant.r1.id}/history.ndjson"
    answer = await ana.client.get(path, params={**QUERY, "tags": "Counter,Phase,pH/PV"}, headers=ana.bearer)
    assert answer.headers["content-type"] == "application/x-ndjson"
    read = [json.loads(line) for line in answer.text.splitlines()]
    values = {name: [row["value"] for row in read if row["tag"] == name] for name in ("pH/PV", "Phase", "Counter")}
    assert values["pH/PV"] == [*VALUES[1][:4], "NaN", "Infinity", "-Infinity", None]
    assert values["Phase"] == VALUES[3]
    assert values["Counter"] == [str(2**53 + 1), str(-(2**63)), 7, None]
    first = {"taken_at": "2026-11-23T12:00:00.000Z", "tag": "Counter", "unit": "", "quality": 192}
    assert read[0] == {**first, "value": str(2**53 + 1)}


async def test_what_is_asked_wrongly_or_not_yours_is_refused_before_the_stream(stored, ana, new_person, plant):
    path = f"/api/v1/bioreactors/{plant.r1.id}/history.csv"
    for query, field in (({"tags": "pH/XX"}, "tags"), ({"start": "2030-01-01T00:00:00Z"}, "start")):
        answer = await ana.client.get(path, params={**QUERY, **query}, headers=ana.bearer)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    eve = await new_person("eve@example.org")
    assert (await eve.client.get(path, params=QUERY, headers=eve.bearer)).status_code == 404
    assert (await ana.client.get(path, params=QUERY, headers={"Authorization": "Bearer x"})).status_code == 401


async def collect(answer: Any) -> list[bytes]:
    chunks: list[bytes] = []

    async def send(message: Any) -> None:
        chunks.append(message.get("body", b""))

    await answer.stream_response(send)
    return chunks


async def test_large_answers_come_in_small_parts(fill, streams, identity, plant):
    fill(23_456)
    answer = await streams.answer(identity, plant.r1.id, tags=["pH/PV"], window=WINDOW, kind="csv")
    chunks = await collect(answer)
    assert max(map(len, chunks)) < 60 * history_stream.READINGS_AT_ONCE
    lines = b"".join(chunks).decode().splitlines()
    assert [float(line.rsplit(",", 1)[1]) for line in lines[1:]] == [float(n) for n in range(1, 23_457)]


async def test_readings_of_both_tables_come_in_order_of_time(connect, plant, tags, streams, identity, monkeypatch):
    rng = random.Random(11)
    for size in (7, 1000):
        monkeypatch.setattr(history_stream, "READINGS_AT_ONCE", size)
        counted = [rng.choice([n, 2**60 + n]) for n in range(200)]
        readings = [Reading(4, NOON_MS + n // 2, value) for n, value in enumerate(counted)]
        batch = Incoming(plant.r1, StreamBatch(STREAM, size), b"d", readings, (), tags, False, plant.node, "t", b"")
        await commit_work(await connect(), Work([batch]))
    answer = await streams.answer(identity, plant.r1.id, tags=["Counter"], window=WINDOW, kind="csv")
    lines = b"".join(await collect(answer)).decode().splitlines()[1:]
    times = [line.split(",")[0] for line in lines]
    assert len(times) == 400
    assert times == sorted(times)
    assert sorted(int(line.rsplit(",", 1)[1]) % 2**60 for line in lines) == sorted([*range(200), *range(200)])


async def test_client_that_leaves_frees_slot_and_connection(fill, streams, identity, plant, web_db, query):
    fill(50_000)
    sent = 0

    async def send(message: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == 3:
            await asyncio.Event().wait()

    answer = await streams.answer(identity, plant.r1.id, tags=["pH/PV"], window=WINDOW, kind="csv")
    with pytest.raises(TooManyRequests):
        await streams.answer(identity, plant.r1.id, tags=["pH/PV"], window=WINDOW, kind="csv")
    task = asyncio.create_task(answer.stream_response(send))
    while sent < 3:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert web_db.engine.pool.checkedout() == 0
    again = await streams.answer(identity, plant.r1.id, tags=["pH/PV"], window=WINDOW, kind="csv")
    assert len(b"".join(await collect(again)).splitlines()) == 50_001


async def test_client_that_takes_nothing_is_left(fill, streams, identity, plant, web_db, monkeypatch):
    fill(20_000)
    monkeypatch.setattr(history_stream, "STALLED_S", 0.05)

    async def send(message: Any) -> None:
        if message.get("body"):
            await asyncio.Event().wait()

    answer = await streams.answer(identity, plant.r1.id, tags=["pH/PV"], window=WINDOW, kind="ndjson")
    with pytest.raises(TimeoutError):
        await answer.stream_response(send)
    assert web_db.engine.pool.checkedout() == 0


async def test_stream_of_a_snapshot_shows_nothing_that_comes_meanwhile(fill, streams, identity, plant):
    fill(12_000)
    answer = await streams.answer(identity, plant.r1.id, tags=["pH/PV"], window=WINDOW, kind="csv")
    fill(12_000)
    assert len(b"".join(await collect(answer)).splitlines()) == 12_001


async def test_each_fetch_keeps_the_statement_timeout_and_a_failure_breaks_the_stream_off(fill, identity, plant, query):
    fill(400_000)
    async with Database(plant.web_url, statement_timeout_s=0.9) as database:
        streams = HistoryStreams(database, most=1)
        answer = await streams.answer(identity, plant.r1.id, tags=["pH/PV"], window=WINDOW, kind="csv")
        chunks: list[bytes] = []

        async def send_slowly(message: Any) -> None:
            chunks.append(message.get("body", b""))
            if len(chunks) == 3:
                await asyncio.sleep(1.0)  # longer than the timeout of a statement

        await answer.stream_response(send_slowly)
        assert len(b"".join(chunks).splitlines()) == 400_001

        answer = await streams.answer(identity, plant.r1.id, tags=["pH/PV"], window=WINDOW, kind="csv")

        async def send_and_kill(message: Any) -> None:
            if message.get("body", b"").startswith(b"2026"):
                query(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and state = 'idle in transaction'"
                )

        with pytest.raises(OperationalError):
            await answer.stream_response(send_and_kill)


async def test_checks_are_made_in_the_same_transaction(streams, identity, plant, tags):
    with pytest.raises(Invalid):
        await streams.answer(identity, plant.r1.id, tags=["pH/XX"], window=WINDOW, kind="csv")
    with pytest.raises(NotFound):
        await streams.answer(identity, plant.agent_id, tags=None, window=WINDOW, kind="csv")
    assert await collect(await streams.answer(identity, plant.r1.id, tags=None, window=WINDOW, kind="ndjson"))


@pytest.fixture
async def server(app, free_port):
    """The application behind a real server, on a port of its own."""
    config = uvicorn.Config(app, host="127.0.0.1", port=free_port, lifespan="off", log_config=None)
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.01)
    yield free_port
    running.should_exit = True
    await task


async def test_download_that_is_broken_off_leaves_nothing_open_on_the_server(fill, server, app, ana, plant):
    fill(300_000)
    path = (
        f"/api/v1/bioreactors/{plant.r1.id}/history.csv?tags=pH/PV&start=2026-11-23T12:00:00Z&end=2026-11-23T13:00:00Z"
    )
    request = f"GET {path} HTTP/1.1\r\nHost: lms.example.org\r\nAuthorization: {ana.bearer['Authorization']}\r\n\r\n"
    pool = app.state.database.engine.pool
    for _ in range(3):  # there is one slot: each has to be free again
        reader, writer = await asyncio.open_connection("127.0.0.1", server)
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head
        assert b"transfer-encoding: chunked" in head.lower()
        assert b"taken_at,tag,unit,quality,value" in await reader.readuntil(b"value\r\n")
        assert pool.checkedout() == 1
        writer.close()
        while pool.checkedout():
            await asyncio.sleep(0.01)
