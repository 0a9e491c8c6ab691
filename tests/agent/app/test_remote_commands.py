"""A host sets a tag through a real broker; what became of it comes back through the log, as any reading does."""

import asyncio
import time
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from lms_agent.app import run_agent
from lms_agent.health import read_status
from lms_agent.log.reader import LogReader
from lms_agent.settings import load_settings
from lms_agent.timekeeping.discipline import Observation
from lms_agent.timekeeping.source import Computer
from lms_protocol.commands import EVENT_TAG, CommandEvent, Note, State, command_message
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, DeviceBorn
from support.broker_clients import someone
from support.patience import awaiting

SET_POINT = """
[[instrument.point]]
tag = "Stirrer/SP"
address = 4
access = "write"
set_low = 0.0
set_high = 1200.0
"""


class Synchronised(Computer):
    """This computer, with a clock that a time server keeps right."""

    def observe(self) -> Observation:
        return super().observe()._replace(synchronised=True)


class Cloud:
    """A primary host that listens and commands."""

    def __init__(self, client: Any, group: str, node: str) -> None:
        self.client, self.group, self.node = client, group, node
        self.host = HostSession("lms-cloud")
        self.tags: dict[str, Any] = {}
        self.events: list[CommandEvent] = []

    async def listen(self) -> None:
        async for message in self.client.messages:
            for event in self.host.receive(message.topic.value, message.payload, time.monotonic()):
                if isinstance(event, DeviceBorn):
                    self.tags = {tag.name: tag for tag in event.tags}
                elif isinstance(event, DataReceived):
                    number = self.tags[EVENT_TAG].number
                    told = [reading.value for reading in event.readings if reading.tag == number]
                    self.events += [CommandEvent.from_text(str(text)) for text in told]

    async def sets(
        self, value: Any, id_: str, *, age_ms: int = 0, lifetime_ms: int = 30_000, retain: bool = False
    ) -> None:
        now_ms = time.time_ns() // 1_000_000 - age_ms
        note = Note(id_, "ada", "more oxygen", now_ms + lifetime_ms)
        message = command_message(self.group, self.node, self.tags["Stirrer/SP"], value, note=note, now_ms=now_ms)
        await self.client.publish(message.topic, message.payload, message.qos, retain)

    async def end_of(self, id_: str) -> CommandEvent:
        async with awaiting(f"what became of {id_}"):
            while True:
                for event in self.events:
                    if event.id == id_ and event.state is not State.BEGUN:
                        return event
                await asyncio.sleep(0.02)


@pytest.fixture
def cloud_and_agent(wire: Any, configure: Any, broker: Any) -> Any:
    """`async with cloud_and_agent() as cloud`: a cloud that has heard the births of a running agent."""
    account = f"agent-{uuid4().hex[:8]}"
    config = configure(wire.port, broker.port, account, broker.add_agent("test-org", account).password)
    config.write_text(config.read_text() + SET_POINT)
    settings = load_settings(config)
    wire.units[1].put(4, 300)

    @asynccontextmanager
    async def start() -> Any:
        stop = asyncio.Event()
        async with someone(broker, "cloud-ingest") as client:
            await client.subscribe(f"spBv1.0/test-org/+/{account}/#", qos=1)
            cloud = Cloud(client, "test-org", account)
            state = cloud.host.state(online=True, timestamp_ms=time.time_ns() // 1_000_000)
            await client.publish(state.topic, state.payload, state.qos, state.retain)
            listening = asyncio.create_task(cloud.listen())
            agent = asyncio.create_task(run_agent(settings, stop, source=Synchronised()))
            try:
                async with awaiting("births"):
                    while not cloud.tags:
                        assert not agent.done(), agent
                        await asyncio.sleep(0.02)
                yield cloud
            finally:
                stop.set()
                await asyncio.wait_for(agent, 30)
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
                await client.publish(state.topic, b"", 1, retain=True)

    start.settings = settings  # type: ignore[attr-defined]
    return start


async def test_host_sets_a_tag_and_learns_what_became_of_it(wire: Any, cloud_and_agent: Any) -> None:
    async with cloud_and_agent() as cloud:
        assert cloud.tags["Stirrer/SP"].access == "write"
        await cloud.sets(350, "c-1")
        done = await cloud.end_of("c-1")
        assert (done.state, done.by, done.reason, done.read_back) == (State.DONE, "ada", "more oxygen", 350)
        assert [str(event.state) for event in cloud.events] == ["begun", "done"]
        assert wire.units[1].value(4) == 350
        await cloud.sets(1300, "c-2")
        assert "above the highest" in (await cloud.end_of("c-2")).why
        status = read_status(cloud_and_agent.settings.agent.log) or {}
        assert status["commands"]["locks"] == {}


async def test_command_that_waited_on_the_broker_is_void_and_one_that_comes_twice_is_carried_out_once(
    wire: Any, cloud_and_agent: Any
) -> None:
    async with cloud_and_agent() as cloud:
        await cloud.sets(350, "c-1", retain=True)  # a broker that keeps it brings it at every connection
        assert (await cloud.end_of("c-1")).state is State.DONE
        await cloud.sets(400, "c-2", age_ms=60_000)
        assert (await cloud.end_of("c-2")).state is State.EXPIRED
    wire.requests.clear()
    async with cloud_and_agent() as cloud:
        await cloud.sets(360, "c-3")
        assert (await cloud.end_of("c-3")).state is State.DONE
        assert [request.address for request in wire.requests if request.function == 6] == [4]
        assert wire.units[1].value(4) == 360
        await cloud.client.publish(f"spBv1.0/test-org/DCMD/{cloud.node}/R1", b"", 1, retain=True)


async def test_every_command_that_was_begun_has_one_end_though_the_agent_ends_meanwhile(
    wire: Any, cloud_and_agent: Any
) -> None:
    async with cloud_and_agent() as cloud:
        for number in range(20):
            await cloud.sets(301 + number, f"c-{number}")
        await cloud.end_of("c-0")
    async with cloud_and_agent() as cloud:
        await cloud.sets(500, "c-last")
        assert (await cloud.end_of("c-last")).state is State.DONE
    states: dict[str, list[str]] = {}
    with LogReader.open(cloud_and_agent.settings.agent.log) as reader:
        tag = next(tag.number for tag in reader.tags() if tag.name == EVENT_TAG)
        for batch in reader.after(0):
            for reading in batch.readings:
                if reading.tag == tag:
                    event = CommandEvent.from_text(str(reading.value))
                    states.setdefault(event.id, []).append(str(event.state))
    assert states["c-0"] == ["begun", "done"]
    assert all(len(told) == 2 for told in states.values() if told[0] == "begun"), states
    writes = [request for request in wire.requests if request.function == 6]
    assert len(writes) == sum(told == ["begun", "done"] for told in states.values())
