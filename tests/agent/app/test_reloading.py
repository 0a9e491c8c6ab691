"""SIGHUP: a broken configuration changes nothing, a good one is taken over while readings go on."""

import signal
from typing import Any

from lms_agent.log.reader import LogReader


async def test_broken_configuration_leaves_the_last_good_one_running(
    wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:
        await agent.until_batches(3)
        config.write_text(config.read_text().replace("[[bus]]", "[[buss]]"))
        agent.process.send_signal(signal.SIGHUP)
        await agent.until_says("are not taken over")
        assert "[[buss]]" in agent.words or "buss" in agent.words
        await agent.until_batches(agent.head() + 5)
        assert await agent.end() == 0
    assert gaps(agent.log) == []


async def test_who_the_agent_is_changes_only_with_a_restart(
    wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:
        await agent.until_batches(1)
        config.write_text(config.read_text().replace('group = "test-org"', 'group = "other-org"'))
        agent.process.send_signal(signal.SIGHUP)
        await agent.until_says("restart the agent to change that")
        assert await agent.end() == 0


async def test_good_configuration_is_taken_over_without_losing_a_scan(
    wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    wire.units[1].put(4, 1.5, "float32")
    async with start_agent(config) as agent:
        await agent.until_batches(5)
        with config.open("a") as file:
            file.write('[[instrument.point]]\ntag = "Flow/PV"\naddress = 4\nkind = "float32"\n')
        agent.process.send_signal(signal.SIGHUP)
        await agent.until_says("The new settings are taken over")
        await agent.until_batches(agent.head() + 5)
        assert await agent.end() == 0
    with LogReader.open(agent.log) as reader:
        (flow,) = [tag.number for tag in reader.tags() if tag.name == "Flow/PV"]
        values = [reading.value for batch in reader.after(0) for reading in batch.readings if reading.tag == flow]
    assert len(values) >= 4
    assert set(values) == {1.5}
    assert [gap for gap in gaps(agent.log) if "busy with something else" not in gap] == []


def gaps(log: Any) -> list[str]:
    with LogReader.open(log) as reader:
        return [gap.reason for batch in reader.after(0) for gap in batch.gaps]


async def test_tag_in_another_unit_is_another_tag_from_then_on(
    wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:
        await agent.until_batches(3)
        config.write_text(config.read_text().replace('unit = "%"', 'unit = "mol/m3"', 1))
        agent.process.send_signal(signal.SIGHUP)
        await agent.until_says("The new settings are taken over")
        await agent.until_batches(agent.head() + 5)
        assert await agent.end() == 0
    with LogReader.open(agent.log) as reader:
        tags = {tag.number: tag for tag in reader.tags()}
        (now,) = [tag for tag in tags.values() if tag.unit == "mol/m3"]
        (before,) = [tag for tag in tags.values() if tag.name == f"{now.name} [%]"]
        read = [reading.tag for batch in reader.after(0) for reading in batch.readings]
    last_before = max(at for at, tag in enumerate(read) if tag == before.number)
    first_now = read.index(now.number)
    assert last_before < first_now
    assert [gap for gap in gaps(agent.log) if "busy with something else" not in gap] == []
