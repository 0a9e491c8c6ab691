"""Derived tags and report by exception in a whole agent: over failures, kills, ends in good order and new settings."""

import asyncio
import signal
from pathlib import Path
from typing import Any

from lms_agent.log.absence import TAKING_OVER
from lms_agent.log.reader import LogReader
from lms_firmware_sim.wires import Fault
from support.patience import awaiting

DERIVED = """
[[derived]]
bioreactor = "R1"
tag = "Product/PV"
expression = "{pH/PV} * {DO/PV}"
"""


def open_gaps(log: Path) -> list[Any]:
    with LogReader.open(log) as reader:
        return reader.open_gaps()


def names_of(reader: LogReader) -> dict[int, str]:
    return {tag.number: tag.name for tag in reader.tags()}


async def test_gap_of_an_input_is_one_of_the_derived_tag_and_stays_so_over_a_restart(
    wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    config.write_text(config.read_text() + DERIVED)
    async with start_agent(config) as agent:
        await agent.until_batches(5)
        wire.fault = Fault.unplugged()
        async with awaiting("an open gap"):
            while not open_gaps(agent.log):
                await asyncio.sleep(0.05)
        await agent.kill()
    wire.fault = None
    async with start_agent(config) as agent:
        await agent.until_batches(agent.head() + 5)
        assert await agent.end() == 0, agent.words
    with LogReader.open(agent.log) as reader:
        names = names_of(reader)
        batches = reader.read(1, 1000)
        told = [gap for batch in batches for gap in batch.gaps if "scans of" not in gap.reason]
        opened, closed = told
        assert opened.id == closed.id
        assert (
            {names[tag] for tag in closed.tags}
            == {names[tag] for tag in opened.tags}
            == {"pH/PV", "DO/PV", "Product/PV"}
        )
        product = [r for batch in batches for r in batch.readings if names[r.tag] == "Product/PV"]
        (missing,) = [at for at, reading in enumerate(product) if reading.value is None]
        assert {reading.value for reading in product} == {7.25 * 41.5, None}
        assert product[missing + 1].taken_at_ms == closed.ended_at_ms
    assert open_gaps(agent.log) == []


async def test_tag_that_stands_still_costs_little_and_leaves_no_gap_at_the_end_or_with_new_settings(
    wire: Any, configure: Any, start_agent: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    config.write_text(config.read_text().replace("decimals = 2", "decimals = 2\ndead_band = 0.01"))
    wire.units[1].put(4, 1.5, "float32")
    async with start_agent(config) as agent:
        await agent.until_batches(2)  # the first scan, and the first heartbeat
        config.write_text(
            config.read_text() + '[[instrument.point]]\ntag = "Third/PV"\naddress = 4\nkind = "float32"\n'
        )
        agent.process.send_signal(signal.SIGHUP)
        await agent.until_says("are taken over")
        await agent.until_batches(agent.head() + 10)
        assert await agent.end() == 0, agent.words
    with LogReader.open(agent.log) as reader:
        names = names_of(reader)
        batches = reader.read(1, 1000)
        assert [gap for batch in batches for gap in batch.gaps if gap.reason == TAKING_OVER] == []
        readings = [(names[r.tag], r.taken_at_ms) for batch in batches for r in batch.readings]
        still = [at_ms for name, at_ms in readings if name == "pH/PV"]
        assert 4 <= len(still) < len(batches)
        assert still[-1] == readings[-1][1], "what was held back at the end is logged"
