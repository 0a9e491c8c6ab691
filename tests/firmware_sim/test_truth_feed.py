"""The true state on a real broker, and what happens when the broker goes away."""

import asyncio
import json
import secrets

import aiomqtt
import pytest
from lms_firmware_sim.simulated import SimulatedPlant
from lms_firmware_sim.stand.broker_access import Account
from lms_firmware_sim.truth import TruthAddressError, TruthFeed


@pytest.fixture
def heard_by():
    """The next truth that a subscriber hears, as (topic, content)."""

    async def hear(broker, reader: Account) -> tuple[str, dict]:
        async with (
            aiomqtt.Client(broker.host, broker.port, username=reader.name, password=reader.password) as client,
            asyncio.timeout(30),
        ):
            await client.subscribe("lms/sim/#")
            async for message in client.messages:
                return str(message.topic), json.loads(message.payload)
        raise AssertionError

    return hear


async def test_truth_is_published_and_comes_back_after_the_broker_does(demo_plant, start_broker, heard_by, tmp_path):
    reader = Account("truth-reader", secrets.token_urlsafe(12), (), ("lms/sim/#",))
    broker = await asyncio.to_thread(start_broker, reader)
    password_file = tmp_path / "password"
    password_file.write_text(broker.accounts["simulator"].password + "\n")
    simulated = SimulatedPlant(demo_plant, clock=lambda: 0.0)
    feed = TruthFeed(f"mqtt://simulator@{broker.host}:{broker.port}", password_file)
    task = asyncio.create_task(feed.run(simulated))
    try:
        topic, truth = await heard_by(broker, reader)
        assert topic in {f"lms/sim/{name}/truth" for name in ("R1", "R2", "R3")}
        assert {"at_ms", "run", "age_h", "biomass_g_l", "substrate_g_l", "growth_rate_per_h"} <= set(truth)
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        topic, _ = await heard_by(broker, reader)
        assert topic.startswith("lms/sim/")
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("url", ["http://127.0.0.1", "mqtt://", "mqtt://sim:secret@127.0.0.1"])
def test_address_that_can_never_work_is_refused(url):
    with pytest.raises(TruthAddressError) as refused:
        TruthFeed(url)
    assert "secret" not in str(refused.value)


def test_missing_password_file_is_named(tmp_path):
    with pytest.raises(TruthAddressError, match="nowhere"):
        TruthFeed("mqtt://sim@127.0.0.1", tmp_path / "nowhere")
