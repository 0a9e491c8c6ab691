"""Rows 51 to 56: ingest is killed around its COMMIT, doubled, and given what no agent of ours would send."""

import asyncio
import random
import signal
import time
from collections import Counter
from typing import Any

import pytest
from lms_protocol.reading import Datatype
from lms_protocol.sparkplug import Metric, Payload, encode
from lms_protocol.topics import MessageType, node_topic
from support.broker_clients import someone
from support.proving import Proof
from support.proxy import TcpProxy
from support.reconciling import acked

WRITTEN = """
select count(*) from pg_locks join pg_stat_activity using (pid)
where relation = 'ledger'::regclass and mode = 'RowExclusiveLock' and state = 'idle in transaction'
"""


@pytest.mark.fault(row=51)
async def test_ingest_killed_before_commit_loses_nothing(prove: Any, proxy: Any, postgres: Any) -> None:
    async with proxy(postgres.server.port, mqtt=False) as way, prove(database_port=way.port) as proof:
        for _ in range(10):
            await _hold_before_commit(proof, way)
            proof.chain.kill("ingest")
            proof.row.injected += 1
            way.reset()
            way.to_server.release()
            proof.chain.again("ingest")
            await proof.recovers()
        await proof.holds()


async def _hold_before_commit(proof: Proof, way: TcpProxy) -> None:
    """Hold ingest's way to the database when all is written, and does not become true."""
    while True:
        way.to_server.hold_at = b"COMMIT"
        await proof.until(lambda: way.to_server.held, "ingest is about to commit")
        if proof.query(WRITTEN)[0][0]:
            return
        way.to_server.release()  # it was another transaction


@pytest.mark.fault(row=52)
@pytest.mark.quick
async def test_ingest_killed_after_commit_and_before_acknowledgement_doubles_nothing(
    prove: Any, proxy: Any, full: bool
) -> None:
    async with proxy() as way, prove(ingest_port=way.port) as proof:
        for _ in range(10 if full else 1):
            way.to_server.held = True  # what ingest publishes does not reach the broker
            known = acked(proof.chain.log)

            def committed(known: int = known) -> bool:
                return proof.query("select count(*) from ledger")[0][0] > known + 10

            await proof.until(committed, "batches committed and not acknowledged")
            proof.chain.kill("ingest")
            proof.row.injected += 1
            way.reset()
            way.to_server.release()
            proof.chain.again("ingest")
            await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=53)
async def test_poison_becomes_dead_letters_and_all_else_flows(prove: Any, broker: Any, chance: random.Random) -> None:
    async with prove() as proof:
        chain = proof.chain
        topic = node_topic(chain.group, MessageType.DDATA, chain.node, "R1")
        sound = encode(Payload(0, [Metric(alias=1, timestamp_ms=0, datatype=Datatype.DOUBLE, value=1.0)], seq=0))
        sent = []
        async with someone(broker, chain.node) as poisoner:
            for _ in range(200):
                cut_off = sound[: -chance.choice((1, 3, 4, 5, 6, 7, 8, 9))]  # without its last two it is sound, too
                sent.append(chance.choice((b"\xff" + chance.randbytes(chance.randrange(1, 2_000)), cut_off)))
                await poisoner.publish(topic, sent[-1])
                await asyncio.sleep(0.01)
        proof.row.injected = len(sent)
        await proof.recovers()
        kept = proof.query("select payload, times from dead_letters where kind = 'poison'")
        assert Counter(dict(kept)) == Counter(sent), "each is kept, with its bytes"
        await proof.holds()


@pytest.mark.fault(row=54)
async def test_batches_at_two_workers_are_stored_once(prove: Any, chance: random.Random) -> None:
    """Two workers of one host: both hear everything, one is stopped and comes back late, either is killed."""
    async with prove(period_s=0.05, tags=4) as proof:
        chain = proof.chain
        argv, environment = chain.commands["ingest"]
        chain.start("ingest-2", argv, environment)
        await asyncio.sleep(3.0)
        for _ in range(6):
            frozen = chance.choice(("ingest", "ingest-2"))
            chain.processes[frozen].send_signal(signal.SIGSTOP)
            await asyncio.sleep(chance.uniform(1.0, 8.0))
            chain.processes[frozen].send_signal(signal.SIGCONT)
            proof.row.injected += 1
            await proof.recovers()
            killed = chance.choice(("ingest", "ingest-2"))
            chain.kill(killed)
            proof.row.injected += 1
            await asyncio.sleep(chance.uniform(0.0, 2.0))
            await proof.recovers()
            chain.again(killed)
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=55)
async def test_unknown_aliases_ask_for_few_rebirths(prove: Any, broker: Any) -> None:
    lasting_s = 30.0
    async with prove() as proof:
        chain = proof.chain
        topic = node_topic(chain.group, MessageType.DDATA, chain.node, "R1")
        births = proof.status()["broker"]["births"]
        began_s = time.monotonic()
        async with someone(broker, chain.node) as confused:
            while time.monotonic() < began_s + lasting_s:
                now_ms = time.time_ns() // 1_000_000
                metric = Metric(alias=999_999, timestamp_ms=now_ms, datatype=Datatype.DOUBLE, value=1.0)
                await confused.publish(topic, encode(Payload(now_ms, [metric], seq=0)))
                proof.row.injected += 1
                await asyncio.sleep(0.05)
        await proof.recovers()
        rebirths = proof.status()["broker"]["births"] - births
        proof.row.notes.append(f"{rebirths} rebirths in {lasting_s:.0f} s")
        assert 1 <= rebirths <= 2 + (time.monotonic() - began_s) / 10, "no more than one in ten seconds"
        await proof.holds()


@pytest.mark.fault(row=56)
async def test_sequence_numbers_wrap_without_a_rebirth(prove: Any) -> None:
    async with prove(period_s=0.05, tags=4) as proof:
        births = await _births(proof)
        sent = proof.status()["broker"]["sent_batches"]
        await proof.until(lambda: proof.status()["broker"]["sent_batches"] > sent + 600, "two wraps", 120)
        proof.row.injected = 2
        assert await _births(proof) == births
        await proof.recovers()
        await proof.holds()


async def _births(proof: Proof) -> int:
    await proof.until(lambda: proof.status().get("broker", {}).get("births"), "births")
    births: int = proof.status()["broker"]["births"]
    return births
