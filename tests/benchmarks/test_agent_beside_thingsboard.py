"""What 50 floats at 1 Hz cost the agent, beside ThingsBoard's gateway on the same unit and the same broker."""

import asyncio
import contextlib
import json
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
from lms_firmware_sim.stand.broker_access import Account
from lms_firmware_sim.stand.spawning import last_words, spawn, stop
from support import agent_alone, thingsboard
from support.chain import chain, cpu_s, own_mib, resident_mib
from support.figures import show

pytestmark = pytest.mark.bench
TAGS, PERIOD_S = 50, 1.0
SETTLE_S, MEASURE_S = 6.0, 30.0
CPU_LIMIT = 1 / 15


class Server:
    """What a ThingsBoard server says to a gateway before that sends anything, and what the gateway sent."""

    def __init__(self) -> None:
        self.values = 0

    async def run(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            topic = message.topic.value
            if topic.startswith("v1/devices/me/rpc/request/"):
                unlimited = {"maxPayloadSize": 65536, "maxInflightMessages": 100, "rateLimits": {}}
                answer = json.dumps({**unlimited, "gatewayRateLimits": {}})
                await client.publish(topic.replace("/request/", "/response/"), answer, qos=1)
            elif topic == thingsboard.TELEMETRY:
                entries = json.loads(message.payload)[thingsboard.DEVICE]
                self.values += sum(len(entry["values"]) for entry in entries)


async def cpu_ms_a_second(pid: int) -> float:
    before_s = cpu_s(pid)
    await asyncio.sleep(MEASURE_S)
    return (cpu_s(pid) - before_s) * 1000 / MEASURE_S


@asynccontextmanager
async def served(broker, user: Account) -> AsyncIterator[Server]:
    async with aiomqtt.Client(broker.host, broker.port, username=user.name, password=user.password) as client:
        for topic in ("v1/devices/me/rpc/request/+", thingsboard.TELEMETRY):
            await client.subscribe(topic, qos=1)
        server = Server()
        serving = asyncio.create_task(server.run(client))
        yield server
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


@pytest.mark.parametrize("peer", ["as it is shipped", "tuned by hand"])
async def test_cpu_and_memory_beside_thingsboard(tmp_path: Path, migrated_database, broker, peer: str) -> None:
    try:
        python = await asyncio.to_thread(thingsboard.environment)
    except thingsboard.CannotBeHad as reason:
        pytest.skip(str(reason))
    alone = await asyncio.to_thread(agent_alone.installed)
    user = broker.running.add(thingsboard.account(f"gateway-{secrets.token_hex(4)}", secrets.token_urlsafe(12)))
    folder, words = tmp_path / "gateway", tmp_path / "gateway.log"
    async with (
        chain(tmp_path, migrated_database, broker, tags=TAGS, period_s=PERIOD_S, agent=alone) as running,
        served(broker, user) as server,
    ):
        thingsboard.configure(
            folder,
            user=user,
            broker_port=broker.port,
            modbus_port=running.wire.port,
            tags=TAGS,
            period_s=PERIOD_S,
            tuned=peer != "as it is shipped",
        )
        gateway = spawn(thingsboard.command(python), log_path=words, env=thingsboard.surroundings(folder), cwd=folder)
        # Making a new log's tables loads a library that an agent with a log does not need.
        stop(running.processes["agent"], ((signal.SIGTERM, 10.0),))
        running.again("agent")
        agent = running.processes["agent"].pid
        try:
            async with asyncio.timeout(60):
                while not server.values:
                    assert gateway.poll() is None, last_words(words)
                    await asyncio.sleep(0.1)
            await asyncio.sleep(SETTLE_S)
            sent = server.values
            ours, peers = await asyncio.gather(cpu_ms_a_second(agent), cpu_ms_a_second(gateway.pid))
            sent = server.values - sent
            memory, peers_memory = resident_mib(agent), resident_mib(gateway.pid)
            own, peers_own = own_mib(agent), own_mib(gateway.pid)
        finally:
            stop(gateway, ())
    assert sent >= 0.9 * TAGS * MEASURE_S / PERIOD_S, f"it did not do the work: {sent} values\n{last_words(words)}"
    show(
        f"agent, {TAGS} floats at {1 / PERIOD_S:g} Hz: CPU a second",
        f"{ours:.2f} ms",
        beside=f"ThingsBoard's gateway, {peer}: {peers:.1f} ms, {peers / ours:.1f} times as much; the limit: 15 times",
        ratio=ours / peers / CPU_LIMIT,
    )
    show(
        "  its resident memory",
        f"{memory:.1f} MiB",
        beside=f"the gateway's: {peers_memory:.1f} MiB",
        ratio=memory / peers_memory,
    )
    show(
        "  of it shared with no other process",
        f"{own:.1f} MiB",
        beside=f"the gateway's: {peers_own:.1f} MiB",
        ratio=own / peers_own,
    )
