"""`lms-agent calibrate` as a technician types it: beside a running agent and without one, asked and unasked."""

import asyncio
import getpass
import json
import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest
from lms_agent.calibration.store import load, store_path
from lms_agent.log.reader import LogReader
from support.patience import awaiting

PROCEDURE = """decimals = 2
[instrument.point.calibration]
source = "practice"
kind = "agent"
due_days = 7.0
slope_percent = { minimum = 80.0, maximum = 120.0 }
offset = { minimum = -1.0, maximum = 1.0 }
stability = { window_s = 0.5, drift_per_min = 0.1, patience_s = 3.0 }
[[instrument.point.calibration.reference]]
name = "low"
value = 4.0
minimum = 3.0
maximum = 5.0
words = "the acid buffer"
[[instrument.point.calibration.reference]]
name = "mid"
value = 7.0
minimum = 6.0
maximum = 8.0
"""
WHO = ("--by", "Ada", "--why", "weekly")


@pytest.fixture
def config(configure: Any, free_port: int, wire: Any) -> Path:
    """pH, which reads 7.25, is calibrated by the agent."""
    path: Path = configure(wire.port, free_port)
    head, tail = path.read_text().split("decimals = 2\n", 1)
    unit, rest = tail.split("[[instrument.point]]", 1)
    path.write_text(head + unit + PROCEDURE + "[[instrument.point]]" + rest)
    return path


@pytest.fixture
def calibrate(config: Path, agent_command: Any) -> Any:
    async def run(*arguments: str) -> tuple[int, str, str]:
        result: tuple[int, str, str] = await agent_command("calibrate", "pH", "--config", config, *arguments)
        return result

    return run


def log_of(config: Path) -> Path:
    return config.parent / "log.sqlite3"


async def test_one_reference_is_measured_and_kept(calibrate: Any, config: Path, agent_command: Any) -> None:
    code, out, words = await calibrate("--yes", "--reference", "mid=7.01", *WHO)
    assert (code, words) == (0, "")
    assert "Calibration 1 of pH/PV of R1 holds from the next reading on." in out
    (made,) = load(log_of(config)).history
    (point,) = made.points
    assert (point.name, point.reference, point.measured, point.stable) == ("mid", 7.01, 7.25, True)
    assert (made.by, made.why, made.zero) == ("Ada", "weekly", pytest.approx(0.24))
    code, out, _ = await agent_command("read", "--json", config)
    assert {each["tag"]: each["value"] for each in json.loads(out)["readings"]} == {
        "pH/PV": pytest.approx(7.01),
        "pH/RAW": 7.25,
        "pH/Calibration": 1,
        "DO/PV": 41.5,
    }


async def test_running_agent_keeps_it_and_corrects_from_then_on(
    calibrate: Any, config: Path, start_agent: Any, agent_command: Any
) -> None:
    async with start_agent(config) as agent:
        await agent.until_batches(3)
        code, out, words = await calibrate("--point", "7.25=7.00", "--json", *WHO)
        assert (code, words) == (0, "")
        assert json.loads(out)["number"] == 1
        await agent.until_batches(agent.head() + 5)
        code, out, _ = await agent_command("read", "--json", config)
        assert {each["tag"]: each["value"] for each in json.loads(out)["readings"]}["pH/PV"] == pytest.approx(7.0)
        assert await agent.end() == 0
    with LogReader.open(agent.log) as reader:
        names = {tag.number: tag.name for tag in reader.tags()}
        readings = [(names[r.tag], r.value) for batch in reader.read(1, 9999) for r in batch.readings]
    assert [value for name, value in readings if name == "pH/Calibration" and value in {0, 1}][-1] == 1
    assert {round(value, 6) for name, value in readings if name == "pH/PV"} == {7.25, 7.0}
    assert {value for name, value in readings if name == "pH/RAW"} == {7.25}
    (event,) = [json.loads(value) for name, value in readings if name == "Events/Calibration"]
    assert (event["number"], event["by"], event["account"]) == (1, "Ada", getpass.getuser())


async def test_what_is_not_plausible_is_only_kept_if_that_is_said(calibrate: Any, config: Path) -> None:
    code, out, words = await calibrate("--point", "7.25=4.0", *WHO)
    assert code == 1
    assert "NOT PLAUSIBLE: the offset is +3.25 %" in out
    assert "nothing was kept" in words
    assert load(log_of(config)).history == ()
    code, _, _ = await calibrate("--point", "7.25=4.0", "--accept", *WHO)
    assert code == 0
    assert load(log_of(config)).history[0].doubts[0].startswith("the offset is +3.25 %")


async def test_reading_that_never_becomes_steady_is_not_kept(calibrate: Any, config: Path, wire: Any) -> None:
    async def drift() -> None:
        value = 7.0
        while True:
            wire.units[1].put(0, value, "float32")
            value += 0.02
            await asyncio.sleep(0.05)

    drifting = asyncio.create_task(drift())
    code, _, words = await calibrate("--yes", "-r", "mid", *WHO)
    drifting.cancel()
    assert code == 1
    assert "no steady reading within 3 s" in words
    assert not store_path(log_of(config)).exists()


async def test_way_back_to_uncorrected(calibrate: Any, config: Path) -> None:
    await calibrate("--point", "7.25=7.0", *WHO)
    code, out, _ = await calibrate("--clear", *WHO)
    assert code == 0
    assert "pH/PV of R1 is uncorrected from now on (calibration 2)." in out
    assert load(log_of(config)).newest("R1", "pH/PV").correction.value(7.25) == 7.25  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--yes",), "nothing can be asked here: say --yes and one --reference"),
        (("--yes", "-r", "low", "-r", "mid"), "nothing can be asked here"),
        (("--yes", "-r", "high"), "--reference high: there is no reference 'high'; there are low, mid"),
        (("--yes", "-r", "mid=9"), "mid cannot be 9: it lies between 6 and 8"),
        (("--yes", "-r", "mid=seven"), "found 'seven'; allowed: a number"),
        (("--point", "7.25"), "--point 7.25: allowed: what was read, and what it should have been"),
        (("--point", "nan=7"), "allowed: finite numbers"),
        (("--point", "7=7", "--clear"), "exclude each other"),
        (("--bioreactor", "R9", "--clear"), "'pH' cannot be calibrated; what can is nothing"),
    ],
)
async def test_command_that_cannot_be_used_says_what_can(
    calibrate: Any, arguments: tuple[str, ...], words: str
) -> None:
    code, _, said = await calibrate(*arguments, *WHO)
    assert code == 2
    assert words in " ".join(said.split())


async def test_list_says_what_is_due(calibrate: Any, config: Path, agent_command: Any) -> None:
    code, out, _ = await agent_command("calibrations", "--config", config)
    assert (code, out.splitlines()[1].split()) == (0, ["pH/PV", "R1", "agent", "–", "never", "–", "–", "–", "–"])
    await calibrate("--point", "7.25=7.0", "--point", "4.1=4.0", *WHO)
    code, out, _ = await agent_command("calibrations", "pH", "--config", config)
    assert code == 0
    row, told = out.splitlines()[1], out.splitlines()[3]
    assert row.split()[:4] + row.split()[5:] == [
        "pH/PV",
        "R1",
        "agent",
        "1",
        "Ada",
        "105.0",
        "%",
        "-0.1",
        "in",
        "7",
        "d",
    ]
    assert told.endswith("pH/PV of R1: 7.25 at 7, 4.1 at 4; by Ada (weekly)")
    code, out, _ = await agent_command("calibrations", "--json", "--config", config)
    (state,) = json.loads(out)["tags"]
    assert (state["number"], state["overdue"], round(state["due_in_days"])) == (1, False, 7)


async def test_technician_is_guided_through_two_references(config: Path, wire: Any) -> None:
    """On a terminal of 80 columns."""
    terminal, end = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    program = "from lms_agent.cli import app; app()"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        "calibrate",
        "pH",
        "-c",
        str(config),
        stdin=end,
        stdout=end,
        stderr=end,
        env=environment,
    )
    os.close(end)
    os.set_blocking(terminal, False)
    seen = ""

    async def until(words: str) -> None:
        nonlocal seen
        async with awaiting(f"{words!r} on the screen"):
            while words not in seen:
                await asyncio.sleep(0.02)
                try:
                    seen += os.read(terminal, 65536).decode(errors="replace")
                except BlockingIOError:
                    continue
        seen = seen.split(words, 1)[1]

    async def answer(words: str, text: str) -> None:
        await until(words)
        os.write(terminal, text.encode() + b"\n")

    await answer("Why", "weekly")
    await until("It was never calibrated here.")
    await answer("Which, in which order [low,mid]", "")
    await answer("low: its value now", "9")
    await until("low cannot be 9")
    await answer("low: its value now", "4.01")
    await answer("mid: its value now", "")
    await until("put it into low, 4.01 % (the acid buffer)")
    wire.units[1].put(0, 4.15, "float32")
    await answer("Press Enter", "")
    await until("low: 4.150 (should be 4.01)")
    await until("put it into mid, 7 %")
    wire.units[1].put(0, 7.05, "float32")
    await answer("Press Enter", "")
    await until("mid: 7.050 (should be 7)")
    await until("slope   97.0 %  (plausible: 80 to 120)")
    await until("Calibration 1 of pH/PV of R1 holds")
    assert await asyncio.wait_for(process.wait(), 30) == 0
    os.close(terminal)
    (made,) = load(log_of(config)).history
    assert made.correction.value(4.15) == pytest.approx(4.01, abs=1e-6)
    assert made.correction.value(7.05) == pytest.approx(7.0, abs=1e-6)
