"""Several ingest workers of one host: they share the groups, and one may die or stand still at any moment."""

import asyncio
import json
import os
import random
import signal
import struct
import sys
from contextlib import asynccontextmanager
from uuid import uuid4

import aiomqtt
import psycopg
import pytest
from lms_cloud.telemetry.leases.sharing import lock_class, shard_of
from lms_protocol.reading import Reading
from support.patience import awaiting, line_of
from support.plant import SmallAgent, make_plant

NOON_MS = 1_795_435_200_000
LEASE_S = 3


@pytest.fixture
def shared_settings(ingest_settings):
    return ingest_settings.model_copy(update={"ingest_lease_s": LEASE_S})


@pytest.fixture
async def agents(plant, migrated_database, broker, ingest_settings):
    """One agent in each of four organizations, whose groups fall into different shards."""
    plants = [plant]
    while len(plants) < 4:
        made = await make_plant(migrated_database)
        if shard_of(made.group) not in {shard_of(each.group) for each in plants}:
            plants.append(made)
    made = []
    for each in plants:
        broker.add_agent(each.group, each.node)
        made.append(SmallAgent(broker.url(each.node), each, ingest_settings.host_id))
        made[-1].group = each.group
    return made


@pytest.fixture
def start(start_ingest, shared_settings):
    """Start `lms-cloud ingest` as a process."""
    return lambda: start_ingest(shared_settings)


@pytest.fixture
def shares(query, shared_settings):
    """How many shards each live worker holds, fewest first."""

    def ask():
        rows = query(
            "select count(*) filter (where objid::bigint < 256) from pg_locks"
            " where locktype = 'advisory' and classid = %s::bigint::oid and objsubid = 2"
            " and database = (select oid from pg_database where datname = current_database()) group by pid",
            lock_class(shared_settings.host_id),
        )
        return sorted(count for (count,) in rows)

    return ask


async def until(true, timeout_s=60):
    async with awaiting(line_of(true), timeout_s):
        while not true():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(agents):
    async with agents[0].run(), agents[1].run(), agents[2].run(), agents[3].run():
        yield


def same(query, agents):
    stored = sorted(query("select series_id, taken_at, float8send(value) from readings"))
    values = sorted(bits for _, _, bits in stored)
    logged = sorted(
        struct.pack(">d", reading.value)
        for agent in agents
        for batch in agent.log.values()
        for reading in batch.readings
    )
    return values == logged


@pytest.fixture
def status(migrated_database, shared_settings):
    """What `lms-cloud ingest status --json` prints."""

    async def ask():
        environment = {
            **os.environ,
            "LMS_DATABASE_URL": migrated_database.url,
            "LMS_HOST_ID": shared_settings.host_id,
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lms_cloud.cli", "ingest", "status", "--json"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        return json.loads(printed)

    return ask


async def test_workers_share_the_groups_and_take_over_what_a_dead_one_held(agents, start, shares, query, status):
    rng = random.Random(21)

    def scan(n):
        for agent in agents:
            agent.append("R1", [Reading(1, NOON_MS + n, rng.random())])

    first = await start()
    async with running(agents):
        await until(lambda: shares() == [4])
        scan(0)
        second = await start()
        await until(lambda: shares() == [2, 2])
        scan(1)
        await asyncio.gather(*(agent.delivered(60) for agent in agents))
        listed = await status()
        assert [len(each["organizations"]) for each in listed] == [2, 2]
        held = [group for each in listed for group in each["organizations"]]
        assert sorted(held) == sorted(agent.group for agent in agents)
        assert sorted(each["leads"] for each in listed) == [False, True]
        third = await start()
        await until(lambda: shares() == [1, 1, 2])
        scan(2)
        first.kill()
        await until(lambda: shares() == [2, 2])
        scan(3)
        await asyncio.gather(*(agent.delivered(60) for agent in agents))
        second.terminate()
        assert await asyncio.wait_for(second.wait(), 60) == 0
        await until(lambda: shares() == [4])
        scan(4)
        await asyncio.gather(*(agent.delivered(60) for agent in agents))
        assert third.returncode is None
    assert same(query, agents)


async def test_workers_killed_and_stopped_at_random_moments_lose_and_double_nothing(agents, start, query):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    done = asyncio.Event()

    async def scan():
        for n in range(10_000):
            if done.is_set():
                return
            for agent in agents:
                agent.append(rng.choice(["R1", "R1"]), [Reading(1, NOON_MS + n, rng.random())])
            await asyncio.sleep(0.02)

    workers = [await start() for _ in range(3)]
    async with running(agents):
        scanning = asyncio.create_task(scan())
        for round_ in range(3):
            goal = [agent.window.acked + 1 for agent in agents]
            await until(lambda goal=goal: all(a.window.acked >= g for a, g in zip(agents, goal, strict=True)), 90)
            await asyncio.sleep(rng.uniform(0, 1))
            victim = workers.pop(rng.randrange(len(workers)))
            if round_ % 2:
                victim.kill()
                workers.append(await start())
            else:
                # Longer than a lease: it wakes up when others have its groups, with messages still in its hands.
                victim.send_signal(signal.SIGSTOP)
                await asyncio.sleep(rng.uniform(1, LEASE_S + 2.5))
                victim.send_signal(signal.SIGCONT)
                workers.append(victim)
        done.set()
        await scanning
        await asyncio.gather(*(agent.delivered(90) for agent in agents))
        assert all(worker.returncode is None for worker in workers)
    assert same(query, agents)
    assert query("select count(*) from ledger") == [(sum(len(agent.log) for agent in agents),)]


async def test_worker_that_wakes_up_after_its_groups_were_taken_acknowledges_nothing_of_them(
    agents, start, shares, query, tmp_path
):
    rng = random.Random(23)
    sleeper = await start()
    async with running(agents):
        await until(lambda: shares() == [4])
        for agent in agents:
            agent.append("R1", [Reading(1, NOON_MS, rng.random())])
        await asyncio.gather(*(agent.delivered(60) for agent in agents))
        sleeper.send_signal(signal.SIGSTOP)
        for agent in agents:
            agent.append("R1", [Reading(1, NOON_MS + 1, rng.random())])
        await start()
        await asyncio.gather(*(agent.delivered(90) for agent in agents))
        assert query("select bool_and(online) from agent_status") == [(True,)]
        sleeper.send_signal(signal.SIGCONT)
        await until(lambda: shares() == [2, 2])
        for agent in agents:
            agent.append("R1", [Reading(1, NOON_MS + 2, rng.random())])
        await asyncio.gather(*(agent.delivered(90) for agent in agents))
        assert sleeper.returncode is None
        assert query("select bool_and(online) from agent_status") == [(True,)]
    assert same(query, agents)
    assert query("select count(*), count(distinct (stream, number)) from ledger") == [(12, 12)]


@pytest.fixture
async def states(broker, shared_settings):
    """Every STATE of this host that the broker passes on."""
    heard = []
    account = broker.accounts["feed"]

    async def watch(client):
        async for message in client.messages:
            state = json.loads(message.payload)
            heard.append(state)

    async with aiomqtt.Client(broker.host, broker.port, username=account.name, password=account.password) as client:
        await client.subscribe(f"spBv1.0/STATE/{shared_settings.host_id}", qos=1)
        watching = asyncio.create_task(watch(client))
        yield heard
        watching.cancel()


async def test_leader_that_leaves_hands_over_without_the_host_going_offline(agents, ingesting, shared_settings, states):
    async with ingesting(shared_settings) as first:
        await until(lambda: [state["online"] for state in states] == [True])
        async with ingesting(shared_settings) as second, running(agents):
            await until(lambda: second._leases.others == 1 and second._leases.groups)
            first.stop()
            await until(lambda: len(states) == 2)
            agents[0].append("R1", [Reading(1, NOON_MS, 1.0)])
            await agents[0].delivered()
    assert [state["online"] for state in states] == [True, True, False]
    assert states[0]["timestamp"] < states[1]["timestamp"] <= states[2]["timestamp"]


async def test_leader_that_is_killed_is_followed_by_a_later_birth(agents, start, shares, states):
    first = await start()
    await until(lambda: shares() == [4] and states)
    await start()
    await until(lambda: shares() == [2, 2])
    async with running(agents):
        for agent in agents:
            agent.append("R1", [Reading(1, NOON_MS, 1.0)])
        await asyncio.gather(*(agent.delivered(60) for agent in agents))
        first.kill()
        await until(lambda: [state["online"] for state in states] == [True, False, True])
        for agent in agents:
            agent.append("R1", [Reading(1, NOON_MS + 1, 2.0)])
        await asyncio.gather(*(agent.delivered(60) for agent in agents))
    assert states[0]["timestamp"] == states[1]["timestamp"] < states[2]["timestamp"]


async def test_new_organization_is_heard_within_seconds(
    plant, ingesting, ingest_settings, migrated_database, broker, query
):
    async with ingesting(ingest_settings):
        new = await make_plant(migrated_database)
        broker.add_agent(new.group, new.node)
        agent = SmallAgent(broker.url(new.node), new, ingest_settings.host_id)
        agent.append("R1", [Reading(1, NOON_MS, 1.0)])
        async with agent.run():
            await agent.delivered(30)
    assert query("select count(*) from readings") == [(1,)]


async def test_agent_is_asked_for_its_births_once_however_many_workers_want_them(
    plant, ingesting, shared_settings, query
):
    async with ingesting(shared_settings) as one, ingesting(shared_settings) as other:
        wanted = [(plant.group, plant.node), (plant.group, "unknown"), ("unknown", plant.node)]
        answers = await asyncio.gather(*(worker._leases.may_ask(wanted) for worker in (one, other, one)))
        assert sorted(answers) == [[], [], [(plant.group, plant.node)]]
        with psycopg.connect(plant.superuser_url) as connection:
            connection.execute("update agent_status set births_asked_at = births_asked_at - interval '10 s'")
        assert await other._leases.may_ask(wanted) == [(plant.group, plant.node)]


async def test_worker_without_its_lease_session_acknowledges_nothing_until_it_is_back(
    plant, ingesting, ingest_settings, agent, query, monkeypatch
):
    async with ingesting(ingest_settings) as worker, agent.run():
        agent.append("R1", [Reading(1, NOON_MS, 1.0)])
        await agent.delivered()
        leases = worker._leases

        async def refuse():
            raise OSError("no session for now")

        monkeypatch.setattr(leases, "_live_one_session", refuse)
        with psycopg.connect(plant.superuser_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name like 'lms-cloud ingest leases%' and datname = current_database()"
            )
        await until(lambda: not leases.sure)
        agent.append("R1", [Reading(1, NOON_MS + 1, 2.0)])
        await asyncio.sleep(2)
        assert agent.window.acked == 1
        assert query("select count(*) from readings") == [(1,)]
        monkeypatch.undo()
        await agent.delivered()
    assert query("select count(*) from readings") == [(2,)]


async def test_transaction_that_a_dead_worker_left_open_is_ended(plant, ingesting, ingest_settings, query, agent):
    """A machine that vanishes leaves no closed sockets: its commit would hold the rows that its follower needs."""
    name = f"lms-cloud ingest commits vanished-{uuid4().hex[:8]}"
    async with await psycopg.AsyncConnection.connect(plant.url, application_name=name) as dead:
        await dead.execute(
            "insert into feeds (bioreactor_id, organization_id) values (%s, %s)", [plant.r1.id, plant.organization_id]
        )
        async with ingesting(ingest_settings), agent.run():
            agent.append("R1", [Reading(1, NOON_MS, 1.0)])
            await agent.delivered(60)
        with pytest.raises(psycopg.OperationalError):
            await dead.execute("select 1")
    assert query("select count(*) from readings") == [(1,)]
