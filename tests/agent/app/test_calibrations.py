"""Calibrations in a whole agent: corrected readings, the raw ones beside them, and an event that is told once."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from lms_agent.calibration.record import Calibration, Measured
from lms_agent.calibration.store import append, store_path
from lms_agent.log.reader import LogReader
from lms_protocol.reading import Quality

PROCEDURE = """decimals = 2
[instrument.point.calibration]
source = "practice"
kind = "agent"
stability = { window_s = 0.5, drift_per_min = 0.1 }
[[instrument.point.calibration.reference]]
name = "mid"
value = 7.0
minimum = 6.0
maximum = 8.0
"""


@pytest.fixture
def calibrated(configure: Any, free_port: int, wire: Any) -> Any:
    """A configuration whose pH is calibrated by the agent."""
    config = configure(wire.port, free_port)
    head, tail = config.read_text().split("decimals = 2\n", 1)
    unit, rest = tail.split("[[instrument.point]]", 1)
    config.write_text(head + unit + PROCEDURE + "[[instrument.point]]" + rest)
    return config


def keep(log: Path, measured: float) -> Calibration:
    points = (Measured("mid", 7.0, measured, 9, 0.0, True),)
    made, _ = append(
        log,
        lambda before: Calibration(
            before.next_number,
            "R1",
            "pH/PV",
            "%",
            "controller",
            "agent",
            1,
            points,
            1.0,
            7.0 - measured,
            None,
            0.0,
            "Ada",
            "why",
        ),
    )
    return made


def by_name(log: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with LogReader.open(log) as reader:
        names = {tag.number: tag.name for tag in reader.tags()}
        for batch in reader.read(1, 10_000):
            for reading in batch.readings:
                found.setdefault(names[reading.tag], []).append(reading)
    return found


async def test_readings_are_corrected_by_what_was_calibrated_while_no_agent_ran(
    calibrated: Any, start_agent: Any
) -> None:
    log = calibrated.parent / "log.sqlite3"
    keep(log, measured=7.25)
    made = keep(log, measured=7.3)
    async with start_agent(calibrated) as agent:
        await agent.until_batches(10)
        assert await agent.end() == 0, agent.words
    read = by_name(log)
    assert {round(reading.value, 9) for reading in read["pH/PV"]} == {6.95}
    assert {reading.value for reading in read["pH/RAW"]} == {7.25}
    assert [r.taken_at_ms for r in read["pH/PV"]] == [r.taken_at_ms for r in read["pH/RAW"]]
    assert {reading.value for reading in read["pH/Calibration"]} == {2}
    assert [json.loads(reading.value)["number"] for reading in read["Events/Calibration"]] == [1, 2]
    assert json.loads(read["Events/Calibration"][1].value) == json.loads(made.to_text())


async def test_event_is_told_once_over_restarts(calibrated: Any, start_agent: Any) -> None:
    log = calibrated.parent / "log.sqlite3"
    keep(log, measured=7.25)
    for _ in range(2):
        async with start_agent(calibrated) as agent:
            await agent.until_batches(agent.head() + 5)
            assert await agent.end() == 0, agent.words
    assert len(by_name(log)["Events/Calibration"]) == 1


async def test_damaged_calibration_makes_readings_doubtful_and_is_said(calibrated: Any, start_agent: Any) -> None:
    log = calibrated.parent / "log.sqlite3"
    keep(log, measured=7.25)
    keep(log, measured=7.30)
    lines = store_path(log).read_bytes().splitlines(keepends=True)
    store_path(log).write_bytes(lines[0] + lines[1].replace(b"Ada", b"Bob"))
    async with start_agent(calibrated) as agent:
        await agent.until_says("is damaged in line 2")
        await agent.until_batches(5)
        assert await agent.end() == 0, agent.words
    read = by_name(log)
    assert {(reading.value, reading.quality) for reading in read["pH/PV"]} == {(7.0, Quality.UNCERTAIN)}
    assert {reading.quality for reading in read["pH/RAW"]} == {Quality.GOOD}


async def test_calibration_holds_on_over_new_settings_and_is_told_once(
    calibrated: Any, start_agent: Any, agent_command: Any, wire: Any
) -> None:
    wire.units[1].put(4, 1.5, "float32")
    async with start_agent(calibrated) as agent:
        await agent.until_batches(2)
        who = ("--by", "Ada", "--why", "weekly")
        code, _, words = await agent_command("calibrate", "pH", "-c", calibrated, "--point", "7.25=7.05", *who)
        assert code == 0, words
        third = '[[instrument.point]]\ntag = "Third/PV"\naddress = 4\nkind = "float32"\n'
        calibrated.write_text(calibrated.read_text() + third)
        agent.process.send_signal(signal.SIGHUP)
        await agent.until_says("are taken over")
        await agent.until_batches(agent.head() + 10)
        assert await agent.end() == 0, agent.words
    read = by_name(agent.log)
    since = read["Third/PV"][0].taken_at_ms
    corrected = [reading.value for reading in read["pH/PV"] if reading.taken_at_ms >= since]
    assert {round(value, 6) for value in corrected} == {7.05}
    assert read["pH/Calibration"][-1].value == 1
    assert len(read["Events/Calibration"]) == 1
