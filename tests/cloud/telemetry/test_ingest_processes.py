"""The ingest worker as a process: SIGTERM, SIGKILL, and two of them at once."""

import asyncio
import json
import random
import signal
import struct

import aiomqtt
import pytest
from lms_protocol.reading import Reading
from support.patience import awaiting

NOON_MS = 1_795_435_200_000


@pytest.fixture
def start(start_ingest, ingest_settings):
    """Start `lms-cloud ingest` as a process."""
    return lambda: start_ingest(ingest_settings)


def values(query):
    return sorted(row[0] for row in query("select float8send(value) from readings"))


def logged(agent):
    return sorted(struct.pack(">d", reading.value) for batch in agent.log.values() for reading in batch.readings)


async def test_killed_again_and_again_it_loses_and_doubles_nothing(start, agent, query):
    rng = random.Random(11)
    done = asyncio.Event()

    async def scan():
        for n in range(10_000):
            if done.is_set():
                return
            agent.append("R1", [Reading(1, NOON_MS + n, rng.random()), Reading(2, NOON_MS + n, rng.random())])
            await asyncio.sleep(0.004)

    async with agent.run():
        scanning = asyncio.create_task(scan())
        for _ in range(4):
            process = await start()
            acked = agent.window.acked
            async with awaiting("more is acknowledged"):
                while agent.window.acked <= acked:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(rng.uniform(0.0, 0.5))
            process.send_signal(signal.SIGKILL)
            await process.wait()
        done.set()
        await scanning
        await start()
        await agent.delivered(60)
    assert values(query) == logged(agent)


async def test_sigterm_commits_says_offline_and_ends_well(start, agent, query, broker, ingest_settings):
    account = broker.accounts["feed"]
    topic = f"spBv1.0/STATE/{ingest_settings.host_id}"
    async with agent.run():
        process = await start()
        for n in range(50):
            agent.append("R1", [Reading(1, NOON_MS + n, float(n))])
        await agent.delivered(60)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
    async with aiomqtt.Client(broker.host, broker.port, username=account.name, password=account.password) as client:
        await client.subscribe(topic, qos=1)
        state = json.loads((await asyncio.wait_for(anext(aiter(client.messages)), 20)).payload)
    assert state["online"] is False
    assert values(query) == logged(agent)


async def test_two_workers_that_hear_the_same_batches_store_them_once(agent, ingesting, ingest_settings, query):
    other = ingest_settings.model_copy(update={"host_id": f"{ingest_settings.host_id}-b"})
    rng = random.Random(12)
    async with ingesting(ingest_settings), ingesting(other), agent.run():
        await agent.until_host_online()
        for n in range(300):
            agent.append("R1" if n % 3 else "R2", [Reading(1 if n % 3 else 101, NOON_MS + n, rng.random())])
            await asyncio.sleep(0.003)
        await agent.delivered()
    assert values(query) == logged(agent)
    assert query("select count(*) from ledger") == [(300,)]
