"""The whole agent on a computer whose clock is wrong: wire, log, broker and host are real, only the clock is set."""

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import aiomqtt
from lms_agent.app import run_agent
from lms_agent.health import read_status
from lms_agent.log.reader import LogReader
from lms_agent.settings import load_settings
from lms_agent.timekeeping.discipline import Observation
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived
from support.patience import awaiting, line_of

WITHIN_S = 30.0


class WallClock:
    """True time, a boot a moment ago, and a system clock that is wrong until `known`."""

    def __init__(self) -> None:
        self.boot = uuid4()
        self.known = False
        self._began_s = time.monotonic()

    def boot_ms(self) -> int:
        return int((time.monotonic() - self._began_s) * 1000)

    def observe(self) -> Observation:
        now_ms = time.time_ns() // 1_000_000
        return Observation(self.boot_ms(), now_ms if self.known else self.boot_ms(), self.known)

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


async def test_agent_that_boots_in_1970_sends_true_times_once_it_knows_them(
    wire: Any, configure: Any, broker: Any, agent_command: Any
) -> None:
    account = f"agent-{uuid4().hex[:8]}"
    word = broker.add_agent("test-org", account).password
    settings = load_settings(configure(wire.port, broker.port, account, word))
    source, stop, host = WallClock(), asyncio.Event(), HostSession("lms-cloud")
    began_ms = time.time_ns() // 1_000_000
    received: list[DataReceived] = []

    async def until(fact: Any) -> None:
        async with awaiting(line_of(fact)):
            while not fact():
                assert not agent.done(), agent
                await asyncio.sleep(0.05)

    async with aiomqtt.Client(
        "127.0.0.1", broker.port, username="cloud-ingest", password=broker.accounts["cloud-ingest"].password
    ) as client:
        await client.subscribe(f"spBv1.0/test-org/+/{account}/#", qos=1)
        state = host.state(online=True, timestamp_ms=began_ms)
        await client.publish(state.topic, state.payload, state.qos, state.retain)

        async def listen() -> None:
            async for message in client.messages:
                events = host.receive(message.topic.value, message.payload, time.monotonic())
                received.extend(event for event in events if isinstance(event, DataReceived))

        listening = asyncio.create_task(listen())
        agent = asyncio.create_task(run_agent(settings, stop, source=source))
        try:
            await until(lambda: (read_status(settings.agent.log) or {}).get("broker", {}).get("born"))
            await until(lambda: (read_status(settings.agent.log) or {})["log"]["head"] >= 10)
            assert not received, "sent with a time that nobody knew"
            clock = (read_status(settings.agent.log) or {})["clock"]
            assert (clock["trust"], clock["held_from"]) == ("wrong", 1)
            source.known = True
            await until(lambda: len(received) >= 15)
        finally:
            stop.set()
            await asyncio.wait_for(agent, WITHIN_S)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await client.publish(state.topic, b"", 1, retain=True)
    ended_ms = time.time_ns() // 1_000_000
    assert all(began_ms <= reading.taken_at_ms <= ended_ms for event in received for reading in event.readings)
    with LogReader.open(settings.agent.log) as reader:
        logged = {batch.number: batch for batch in reader.after(0)}
    for event in received:
        assert event.number is not None
        assert tuple(event.readings) == tuple(logged[event.number].readings)
        assert event.clock == logged[event.number].clock
    code, out, _ = await agent_command("log", "clock", "--log", settings.agent.log, "--json")
    assert code == 0
    (correction,) = json.loads(out)["corrections"]
    assert correction["first"] == 1
    code, out, _ = await agent_command("log", "clock", "--log", settings.agent.log)
    assert code == 0
    assert "corrected: moved by" in out
