"""Rows 47 to 50: the broker is killed, overflows, keeps a stale STATE, takes rights away."""

import asyncio
import random
import time
from typing import Any

import pytest
from lms_firmware_sim.stand.broker import Broker
from lms_protocol.host import HostSession
from lms_protocol.messages import Publish
from support.broker_clients import someone
from support.reconciling import acked

DROPPED = "$SYS/broker/publish/messages/dropped"


@pytest.mark.fault(row=47)
async def test_killed_broker_loses_and_doubles_nothing(
    prove: Any, own_broker: Any, full: bool, chance: random.Random
) -> None:
    broker = own_broker()
    async with prove(on_broker=broker) as proof:
        for _ in range(6 if full else 1):
            await asyncio.sleep(chance.uniform(0.1, 2.0))
            await asyncio.to_thread(broker.running.kill)
            proof.row.injected += 1
            await asyncio.sleep(chance.uniform(0.0, 5.0))
            await asyncio.to_thread(broker.running.start)
            await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=48)
async def test_broker_that_drops_what_finds_no_room_loses_nothing(
    prove: Any, proxy: Any, own_broker: Any, full: bool
) -> None:
    broker = own_broker(max_queued_messages=20, max_queued_bytes=100_000)
    async with proxy(broker.port) as way, prove(on_broker=broker, ingest_port=way.port) as proof:
        chain = proof.chain
        heard: list[int] = []
        filler = broker.add_agent(chain.group, "filler")
        async with someone(broker, filler.name) as loud, someone(broker, "watcher") as watcher:
            await watcher.subscribe(DROPPED)
            counting = asyncio.create_task(_count(watcher, heard))
            for _ in range(4 if full else 1):
                before = heard[-1] if heard else 0
                way.to_client.held = True  # ingest takes nothing more; the broker queues for it
                for _ in range(100):
                    await loud.publish(f"spBv1.0/{chain.group}/DDATA/filler/R9", bytes(200_000))
                await asyncio.sleep(5.0)
                way.to_client.release()
                await proof.until(lambda before=before: heard and heard[-1] > before, "the broker dropped messages")
                await proof.recovers()
            proof.row.injected = heard[-1]
            counting.cancel()
        await proof.holds()


async def _count(watcher: Any, heard: list[int]) -> None:
    async for message in watcher.messages:
        heard.append(int(message.payload))  # noqa: PERF401 - looked at while it grows


@pytest.mark.fault(row=49)
async def test_stale_retained_state_silences_nobody_for_long(prove: Any, broker: Any, full: bool) -> None:
    async with prove() as proof:
        chain = proof.chain
        for ahead_s in (3600, 60, -3600) if full else (60,):  # by clocks that are ahead, and behind
            at_ms = time.time_ns() // 1_000_000 + 1000 * ahead_s
            stale: Publish = HostSession(chain.group).state(online=False, timestamp_ms=at_ms)
            async with someone(broker, "cloud-ingest") as other:
                await other.publish(stale.topic, stale.payload, qos=1, retain=True)
            proof.row.injected += 1
            await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=50)
async def test_rights_taken_away_hold_readings_back_until_they_are_given_again(
    prove: Any, own_broker: Any, full: bool
) -> None:
    broker = own_broker()
    async with prove(on_broker=broker) as proof:
        chain = proof.chain
        right = {
            "rolename": f"{chain.node}-role",
            "acltype": "publishClientSend",
            "topic": f"spBv1.0/{chain.group}/DDATA/{chain.node}/+",
        }
        client = {"username": chain.node}
        changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"command": "removeRoleACL", **right}, {"command": "addRoleACL", **right, "priority": 0, "allow": True}),
            ({"command": "disableClient", **client}, {"command": "enableClient", **client}),
        ]
        for revoke, restore in changes:
            await _command(broker.running, revoke)
            proof.row.injected += 1
            await asyncio.sleep(3.0)
            known = acked(chain.log)
            await asyncio.sleep(20.0 if full else 5.0)
            assert acked(chain.log) <= known + 10, "nothing got through"
            await _command(broker.running, restore)
            await proof.recovers()
        assert "refuses account" in chain.said("agent")
        await proof.holds()


async def _command(broker: Broker, command: dict[str, Any]) -> None:
    answer = await asyncio.to_thread(broker._control, {"commands": [command]})
    assert "error" not in answer["responses"][0], answer
