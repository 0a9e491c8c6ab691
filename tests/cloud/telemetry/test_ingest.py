"""The ingest worker on a real broker and database: everything logged arrives once, and only then is acknowledged."""

import asyncio
import json
import random
import struct
import time
from datetime import UTC, datetime
from uuid import uuid4

import aiomqtt
import psycopg
import pytest
from lms_cloud.fleet.directory import AgentEntry
from lms_cloud.telemetry.ingest.resolving import Heard
from lms_cloud.telemetry.ingest.worker import Ingest, postgres_backing
from lms_cloud.telemetry.storage.postgres_storage import PostgresStorage
from lms_protocol.host_events import Malformed, NodeBorn
from lms_protocol.reading import Gap, Reading
from psycopg import sql
from support.patience import awaiting

NOON_MS = 1_795_435_200_000


def stored_bits(query):
    """All numbers in the database as (tag, device, ms, bits)."""
    rows = query(
        "select t.name, b.properties ->> 'wire_id', (extract(epoch from r.taken_at) * 1000)::bigint,"
        " float8send(r.value) from readings r join series s on s.id = r.series_id join entities t on t.id = s.tag_id"
        " join entities b on b.id = s.bioreactor_id"
    )
    return sorted(rows)


def logged_bits(agent):
    names = {1: "pH/PV", 2: "DO/PV"}
    return sorted(
        (names[reading.tag % 100], batch.device, reading.taken_at_ms, struct.pack(">d", reading.value))
        for batch in agent.log.values()
        for reading in batch.readings
    )


def scan(agent, device, n, rng):
    base = 0 if device == "R1" else 100
    agent.append(
        device, [Reading(base + 1, NOON_MS + n, rng.random()), Reading(base + 2, NOON_MS + n, rng.gauss(50, 9))]
    )


async def test_what_an_agent_logged_is_in_the_database_once_and_acknowledged(agent, ingesting, ingest_settings, query):
    rng = random.Random(3)
    for n in range(60):
        scan(agent, "R1", n, rng)
    async with ingesting(ingest_settings), agent.run():
        for n in range(60, 200):
            scan(agent, "R1" if n % 3 else "R2", n, rng)
            await asyncio.sleep(0.002)
        await agent.delivered()
        assert query("select online from feeds") == [(True,), (True,)]
    assert stored_bits(query) == logged_bits(agent)
    assert query("select count(*), min(number), max(number) from ledger") == [(200, 1, 200)]


async def test_ingest_that_is_restarted_goes_on_where_it_was(agent, ingesting, ingest_settings, query):
    rng = random.Random(4)
    async with agent.run():
        for round_ in range(3):
            async with ingesting(ingest_settings):
                for n in range(40):
                    scan(agent, "R1", 1000 * round_ + n, rng)
                await agent.delivered()
            scan(agent, "R1", 1000 * round_ + 900, rng)
        async with ingesting(ingest_settings):
            await agent.delivered()
    assert stored_bits(query) == logged_bits(agent)


async def test_database_connection_killed_again_and_again_loses_and_doubles_nothing(
    agent, ingesting, ingest_settings, query, plant
):
    rng = random.Random(5)
    done = asyncio.Event()

    async def kill_backends():
        async with await psycopg.AsyncConnection.connect(plant.superuser_url, autocommit=True) as connection:
            while not done.is_set():
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where application_name like 'lms-cloud ingest%' and datname = current_database()"
                )
                await asyncio.sleep(rng.uniform(0.01, 0.15))

    async with ingesting(ingest_settings), agent.run():
        await agent.until_host_online()
        killing = asyncio.create_task(kill_backends())
        for n in range(400):
            scan(agent, "R1" if n % 2 else "R2", n, rng)
            await asyncio.sleep(0.005)
        done.set()
        await killing
        await agent.delivered()
    assert stored_bits(query) == logged_bits(agent)


async def test_agent_whose_birth_was_not_kept_is_asked_for_it_again(agent, ingesting, ingest_settings, query):
    rng = random.Random(9)
    async with ingesting(ingest_settings) as worker, agent.run():
        scan(agent, "R1", 1, rng)
        await agent.delivered()
        worker.committer._resolver._sessions.clear()  # as when the queue had no room for the births
        before = agent.rebirths
        scan(agent, "R1", 2, rng)
        await agent.delivered()
        assert agent.rebirths > before
    assert stored_bits(query) == logged_bits(agent)


async def test_batches_that_come_again_are_acknowledged_again_and_stored_once(agent, ingesting, ingest_settings, query):
    rng = random.Random(10)
    async with ingesting(ingest_settings), agent.run():
        for n in range(30):
            scan(agent, "R1", n, rng)
        await agent.delivered()
        # As after an old card image: the agent no longer knows what was acknowledged, and sends all of it once more.
        agent.window.__init__(resend_after_s=2.0)
        agent.window.connected(acked=0, head=30)
        assert agent.window.acked == 0
        await agent.delivered()
    assert stored_bits(query) == logged_bits(agent)
    assert query("select count(*) from ledger") == [(30,)]
    assert query("select count(*) from dead_letters") == [(0,)]


async def test_same_number_with_other_content_is_refused(agent, ingesting, ingest_settings, query):
    rng = random.Random(6)
    async with ingesting(ingest_settings), agent.run():
        scan(agent, "R1", 1, rng)
        await agent.delivered()
        # An old disk image: the log ends earlier, and goes on with other readings under the same numbers.
        agent.log.clear()
        agent.window.__init__(resend_after_s=2.0)
        scan(agent, "R1", 2, rng)
        agent.window.connected(acked=0, head=1)
        async with awaiting("a batch is refused"):
            while not agent.refused:
                await asyncio.sleep(0.02)
    assert agent.refused[0] == 1
    assert query("select kind, number from dead_letters") == [("conflict", 1)]
    assert query("select count(*) from readings") == [(2,)]


@pytest.fixture
def stranger(plant, broker):
    """Publish bytes of one's own making with the agent's account."""

    async def publish(kind, payload, device):
        account = broker.accounts[plant.node]
        async with aiomqtt.Client(broker.host, broker.port, username=account.name, password=account.password) as other:
            await other.publish(f"spBv1.0/{plant.group}/{kind}/{plant.node}/{device}", payload)

    return publish


async def test_poison_is_set_aside_and_the_others_flow(agent, ingesting, ingest_settings, query, stranger):
    rng = random.Random(8)
    async with ingesting(ingest_settings), agent.run():
        for n in range(10):
            scan(agent, "R1", n, rng)
        agent.append("R1", [Reading(3, NOON_MS, "no\0text")])
        agent.append("R1", [Reading(1, NOON_MS, 1.0)], [Gap(1, (1,), NOON_MS, None, "no\0reason")])
        for n in range(10, 20):
            scan(agent, "R1", n, rng)
        await agent.until_host_online()
        await stranger("DDATA", b"\xff\xff not protobuf", "R1")
        await agent.delivered()
        async with awaiting("three dead letters"):
            while query("select count(*) from dead_letters") != [(3,)]:
                await asyncio.sleep(0.05)
    assert query("select count(*) from readings") == [(40,)]
    assert query("select number, dead from ledger where dead order by number") == [(11, True), (12, True)]


async def test_nobody_unknown_is_stored_or_acknowledged(agent, ingesting, ingest_settings, query, plant):
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("update entities set is_active = false where id = %s", [plant.r2.id])
    async with ingesting(ingest_settings) as worker, agent.run():
        agent.append("R1", [Reading(1, NOON_MS, 1.0)])
        await agent.delivered()
        agent.append("R2", [Reading(101, NOON_MS, 2.0)])
        async with awaiting("the device is noticed as unknown"):
            while not any("DDATA" in topic for topic in worker.committer.unknown):
                await asyncio.sleep(0.02)
    assert agent.window.acked == 1
    assert query("select count(*) from readings") == [(1,)]


async def test_state_is_online_while_it_runs_and_its_time_never_goes_back(ingest_settings, ingesting, broker):
    heard = []

    async def watch(client):
        async for message in client.messages:
            state = json.loads(message.payload)
            heard.append(state)

    account = broker.accounts["feed"]
    async with aiomqtt.Client(broker.host, broker.port, username=account.name, password=account.password) as client:
        await client.subscribe(f"spBv1.0/STATE/{ingest_settings.host_id}", qos=1)
        watching = asyncio.create_task(watch(client))
        for _ in range(2):
            async with ingesting(ingest_settings), awaiting("STATE online"):
                while not heard or not heard[-1]["online"]:
                    await asyncio.sleep(0.02)
            async with awaiting("STATE offline"):
                while heard[-1]["online"]:
                    await asyncio.sleep(0.02)
        watching.cancel()
    assert [state["online"] for state in heard] == [True, False, True, False]
    assert [state["timestamp"] for state in heard] == sorted(state["timestamp"] for state in heard)


async def test_clock_of_the_cloud_that_went_back_over_a_restart_never_takes_state_back(
    ingest_settings, ingest_db, broker
):
    """Row 37: the broker keeps the STATE of before the step; what comes after must be later, whatever clocks say."""
    heard = []
    account = broker.accounts["feed"]

    async def watch(client):
        async for message in client.messages:
            state = json.loads(message.payload)
            heard.append(state)

    async with aiomqtt.Client(broker.host, broker.port, username=account.name, password=account.password) as client:
        await client.subscribe(f"spBv1.0/STATE/{ingest_settings.host_id}", qos=1)
        watching = asyncio.create_task(watch(client))
        for behind_ms in (0, 3_600_000, 86_400_000):
            backing = postgres_backing(ingest_settings, ingest_db)
            worker = Ingest(ingest_settings, backing, now_ms=lambda b=behind_ms: time.time_ns() // 1_000_000 - b)
            running = asyncio.create_task(worker.run())
            async with awaiting("STATE online"):
                while not heard or not heard[-1]["online"]:
                    await asyncio.sleep(0.02)
            worker.stop()
            async with awaiting("the worker ends, STATE offline"):
                await running
                while heard[-1]["online"]:
                    await asyncio.sleep(0.02)
        watching.cancel()
    times = [state["timestamp"] for state in heard]
    assert times == sorted(times)
    assert [state["online"] for state in heard] == [True, False] * 3


async def test_stale_offline_of_this_host_is_answered_with_online(ingest_settings, ingesting, broker):
    ingest = broker.accounts["cloud-ingest"]
    topic = f"spBv1.0/STATE/{ingest_settings.host_id}"
    async with (
        aiomqtt.Client(broker.host, broker.port, username=ingest.name, password=ingest.password) as client,
        ingesting(ingest_settings),
    ):
        await asyncio.sleep(0.3)
        for timestamp in (5, 99_999_999_999_999):
            await client.publish(topic, json.dumps({"online": False, "timestamp": timestamp}), qos=1, retain=True)
            await asyncio.sleep(0.5)
        await client.subscribe(topic, qos=1)
        async with awaiting("the broker keeps an online STATE"):
            async for message in client.messages:
                state = json.loads(message.payload)
                if state["online"]:
                    break
    assert state["timestamp"] > 99_999_999_999_999


async def test_agent_that_leaves_is_offline_and_back_online_with_its_births(agent, ingesting, ingest_settings, query):
    def online():
        return query("select online from agent_status union select online from feeds")

    async with ingesting(ingest_settings):
        async with agent.run():
            agent.append("R1", [Reading(1, NOON_MS, 1.0)])
            await agent.delivered()
            assert online() == [(True,)]
        async with awaiting("agent and feeds offline"):
            while online() != [(False,)]:
                await asyncio.sleep(0.05)
        async with agent.run():
            agent.append("R1", [Reading(1, NOON_MS + 1, 1.0)])
            await agent.delivered()
            assert online() == [(True,)]


async def test_ingest_waits_for_the_disk_whatever_the_server_is_set_to(ingest_settings, plant):
    name = plant.superuser_url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(plant.superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("alter database {} set synchronous_commit = off").format(sql.Identifier(name)))
    storage = PostgresStorage(ingest_settings.database_url.get_secret_value(), lambda: NOON_MS)
    connection = await storage._connected()
    try:
        row = await (await connection.execute("show synchronous_commit")).fetchone()
    finally:
        await storage.close()
    assert row == ("on",)


async def test_what_the_database_refuses_of_one_agent_does_not_take_the_others_with_it(
    agent, ingesting, ingest_settings, query, plant
):
    """A stream whose agent is gone from the database: a look-up fails for good, and only that agent's."""
    rng = random.Random(9)
    agent.window.__init__(resend_after_s=3600.0)  # what ingest drops would never come again
    async with ingesting(ingest_settings) as worker, agent.run():
        scan(agent, "R1", 1, rng)
        await agent.delivered()
        directory, asked = worker._directory, []
        lone = AgentEntry(plant.organization_id, uuid4(), plant.group, "gone")
        directory._agents[plant.group, "gone"] = (float("inf"), lone)
        born = NodeBorn(plant.group, "gone", uuid4(), 0, 0, 1, (), ())
        at = datetime.now(UTC)
        for n in range(2, 12):
            asked.append(worker.committer.offer(Heard(born, "spBv1.0/x/NBIRTH/gone", b"bytes", at)))
            scan(agent, "R1", n, rng)
            await asyncio.sleep(0.01)
        await agent.delivered()
    assert all(asked)
    assert stored_bits(query) == logged_bits(agent)
    assert query("select count(*) > 0 from dead_letters where topic like '%%NBIRTH/gone'") == [(True,)]


async def test_queue_is_bounded_in_bytes_too(ingesting, ingest_settings):
    large = bytes(64 * 1024 * 1024)
    event = Malformed("spBv1.0/x/DDATA/nobody/R1", large, "not protobuf", "x", "nobody")
    async with ingesting(ingest_settings) as worker:
        heard = Heard(event, event.topic, large, datetime.now(UTC))
        # Nothing is awaited in between, so nothing leaves the queue.
        assert [worker.committer.offer(heard) for _ in range(5)] == [True, True, True, True, False]
        assert worker.committer.dropped == 1
