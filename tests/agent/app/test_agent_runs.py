"""The agent as a process, with a real wire, a real log and, where needed, a real broker."""

import asyncio
import os
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from lms_agent.health import read_status
from lms_agent.log.absence import LOG_GONE
from lms_agent.log.reader import LogReader
from lms_agent.log.sqlite_log import SqliteLog
from lms_firmware_sim.wires import Fault
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, NodeDied
from support.patience import awaiting


async def test_readings_are_logged_without_any_broker(
    wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:
        await agent.until_batches(10)
        await agent.until_says("cannot be reached")
        assert await agent.end() == 0, agent.words
    with LogReader.open(agent.log) as reader:
        names = {tag.number: tag.name for tag in reader.tags()}
        batches = reader.read(1, 1000)
        assert [{names[r.tag]: r.value for r in batch.readings} for batch in batches[:3]] == [
            {"pH/PV": 7.25, "DO/PV": 41.5}
        ] * 3
        assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))


async def test_killed_agent_goes_on_and_records_the_gap(
    wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:
        before = await agent.until_batches(5)
        await agent.kill()
    async with start_agent(config) as agent:
        await agent.until_batches(before + 5)
        await agent.end()
    with LogReader.open(agent.log) as reader:
        batches = reader.read(1, 1000)
        gaps = [(batch, gap) for batch in batches for gap in batch.gaps]
        ((first, gap),) = [(batch, gap) for batch, gap in gaps if gap.reason == "the agent was not running"]
        last = batches[first.number - 2]
        assert gap.began_at_ms == max(reading.taken_at_ms for reading in last.readings)
        assert gap.ended_at_ms == min(reading.taken_at_ms for reading in first.readings)
        assert set(gap.tags) == {reading.tag for reading in first.readings}


async def test_gap_that_was_open_at_the_end_is_closed_by_the_first_reading(
    wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:
        await agent.until_batches(3)
        wire.fault = Fault.unplugged()
        async with awaiting("an open gap"):
            while True:
                with LogReader.open(agent.log) as reader:
                    if reader.open_gaps():
                        break
                await asyncio.sleep(0.05)
        await agent.kill()
    wire.fault = None
    async with start_agent(config) as agent:
        head = agent.head()
        await agent.until_batches(head + 3)
        await agent.end()
    with LogReader.open(agent.log) as reader:
        assert reader.open_gaps() == []
        told = [gap for batch in reader.read(1, 1000) for gap in batch.gaps]
        assert not [gap for gap in told if gap.reason == "the agent was not running"]
        assert {gap.ended_at_ms is None for gap in told} == {True, False}


async def test_gap_after_an_older_copy_came_back_has_an_id_of_its_own(
    wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:
        await agent.until_batches(3)
        assert await agent.end() == 0
    copy = agent.log.read_bytes()
    ids = []
    for _ in range(2):
        async with start_agent(config) as agent:
            await agent.until_batches(agent.head() + 2)
            assert await agent.end() == 0
        with LogReader.open(agent.log) as reader:
            ids.append({gap.id for batch in reader.read(1, 1000) for gap in batch.gaps})
        agent.log.write_bytes(copy)
    first, second = ids
    assert first
    assert second
    assert not first & second, "the cloud would take the second gap for the first"


@pytest.mark.parametrize("emptied", [False, True])
async def test_log_that_was_removed_or_emptied_while_no_agent_ran_leaves_a_gap(
    wire: Any, configure: Any, start_agent: Any, free_port: int, emptied: bool
) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:
        await agent.until_batches(15)
        await agent.kill()
    told = read_status(agent.log) or {}
    for suffix in ("", "-wal", "-shm"):
        agent.log.with_name(agent.log.name + suffix).unlink(missing_ok=True)
    if emptied:  # as where a power cut leaves nothing of a young write-ahead log: tables, and nothing in them
        SqliteLog.open(agent.log).close()
    async with start_agent(config) as agent:
        await agent.until_batches(3)
        await agent.end()
    with LogReader.open(agent.log) as reader:
        first, *others = reader.read(1, 1000)
    (gap,) = first.gaps
    assert gap.reason == LOG_GONE
    assert (gap.began_at_ms, gap.ended_at_ms) == (told["written_at_ms"], first.readings[-1].taken_at_ms)
    assert not any(gap.reason == LOG_GONE for batch in others for gap in batch.gaps)


async def test_second_agent_on_one_log_is_refused(
    wire: Any, configure: Any, start_agent: Any, agent_command: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:
        await agent.until_batches(1)
        code, _, words = await agent_command("run", "--config", config)
        assert code == 1
        assert str(agent.process.pid) in words
        assert "Traceback" not in words


async def test_broken_configuration_ends_with_code_2(tmp_path: Path, agent_command: Any) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[agent]\nid = 1\n")
    code, _, words = await agent_command("run", "--config", path)
    assert code == 2
    assert str(path) in words
    assert "Traceback" not in words


async def test_everything_logged_arrives_and_deaths_are_told(
    wire: Any, configure: Any, start_agent: Any, broker: Any
) -> None:
    account = broker.accounts.get("agent-of-app") or broker.add_agent("test-org", "agent-of-app")
    config = configure(wire.port, broker.port, account.name, account.password)
    host = HostSession("lms-cloud")
    arrived: dict[int, Any] = {}
    died = asyncio.Event()
    async with aiomqtt.Client(
        "127.0.0.1", broker.port, username="cloud-ingest", password=broker.accounts["cloud-ingest"].password
    ) as client:

        async def listen() -> None:
            async for message in client.messages:
                for event in host.receive(message.topic.value, message.payload, 0.0):
                    if isinstance(event, DataReceived):
                        arrived[event.number or 0] = event.readings
                    elif isinstance(event, NodeDied):
                        died.set()

        await client.subscribe("spBv1.0/test-org/+/agent-of-app/#")
        await client.subscribe("spBv1.0/test-org/+/agent-of-app")
        online = host.state(online=True, timestamp_ms=1)
        await client.publish(online.topic, online.payload, 1, retain=True)
        listening = asyncio.create_task(listen())
        async with start_agent(config) as agent:
            await agent.until_batches(10)
            async with awaiting("the broker has batches, and the status says connected"):
                while not arrived or not (read_status(agent.log) or {})["broker"]["connected"]:
                    await asyncio.sleep(0.05)
            assert await agent.end() == 0
        await asyncio.wait_for(died.wait(), 30)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await client.publish(online.topic, b"", 1, retain=True)
    with LogReader.open(agent.log) as reader:
        logged = {batch.number: batch.readings for batch in reader.read(1, 1000)}
    assert {number: logged[number] for number in arrived} == arrived


async def test_resident_memory_is_frugal(wire: Any, configure: Any, start_agent: Any, free_port: int) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:  # the first start makes the tables, which takes sqlite-utils
        await agent.until_batches(1)
        await agent.end()
    async with start_agent(config) as agent:
        await agent.until_batches(agent.head() + 20)
        status = Path(f"/proc/{agent.process.pid}/status").read_text()
        rss_kb = int(status.split("VmRSS:")[1].split()[0])
        modules = await agent.end()
    assert modules == 0
    if os.environ.get("LMS_PRINT_FIGURES"):
        print(f"resident: {rss_kb / 1024:.1f} MB")
    assert rss_kb < 70 * 1024


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
async def test_signal_ends_the_agent_in_good_order(
    number: str, wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    import signal

    async with start_agent(configure(wire.port, free_port)) as agent:
        await agent.until_batches(2)
        agent.process.send_signal(signal.Signals[number])
        assert await asyncio.wait_for(agent.process.wait(), 30) == 0
        assert "The log is closed" in agent.words
        assert "Traceback" not in agent.words
