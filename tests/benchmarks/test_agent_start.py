"""How soon the agent answers, and how soon after its start the first reading is in the log."""

import asyncio
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest
from lms_agent.log.errors import LogError
from lms_agent.log.reader import LogReader
from lms_firmware_sim.stand.programs import plain_environment
from lms_firmware_sim.stand.spawning import last_words, spawn, stop
from lms_firmware_sim.wires.modbus_tcp import ModbusTcpWire
from lms_firmware_sim.wires.registers import RegisterMap
from support import agent_alone
from support.figures import show

pytestmark = pytest.mark.bench
TAGS, ROUNDS = 50, 7
HELP_LIMIT_S, FIRST_READING_LIMIT_S = 0.25, 1.5
LOOK_EVERY_S = 0.01


def test_help_answers_at_once() -> None:
    agent = agent_alone.installed()
    took_s = [_seconds([*agent, "--help"]) for _ in range(ROUNDS + 1)][1:]  # the first one warms the disk's cache
    bare_s = [_seconds([agent[0], "-c", ""]) for _ in range(ROUNDS)]
    show(
        "lms-agent --help",
        f"{1000 * median(took_s):.0f} ms",
        beside=f"Python that does nothing: {1000 * median(bare_s):.0f} ms; the limit: {1000 * HELP_LIMIT_S:.0f} ms",
        ratio=median(took_s) / HELP_LIMIT_S,
    )


@pytest.mark.parametrize("log", ["a new log", "a log that is there"])
async def test_first_reading_is_logged_soon(tmp_path: Path, log: str) -> None:
    agent = await asyncio.to_thread(agent_alone.installed)
    took_s = []
    async with ModbusTcpWire({1: (registers := RegisterMap())}) as wire:
        for tag in range(TAGS):
            registers.put(2 * tag, 1.0 + tag, "float32")
        for start in range(ROUNDS + 1):
            folder = tmp_path / (str(start) if log == "a new log" else "the only")
            took_s.append(await _until_logged(agent, _configured(folder, wire.port)))
    show(
        f"lms-agent run: exec to the first reading in {log}",
        f"{median(took_s[1:]):.2f} s",
        beside=f"the slowest: {max(took_s[1:]):.2f} s; the limit: {FIRST_READING_LIMIT_S} s",
        ratio=median(took_s[1:]) / FIRST_READING_LIMIT_S,
    )


def _seconds(command: Sequence[str | Path]) -> float:
    began_s = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=plain_environment())
    return time.perf_counter() - began_s


def _configured(folder: Path, port: int) -> Path:
    """A configuration of 50 floats, and of a broker that is not there."""
    folder.mkdir(exist_ok=True)
    (folder / "password").touch(mode=0o600)
    (folder / "password").write_text("none")
    points = "\n".join(
        f'[[instrument.point]]\ntag = "T{tag + 1}/PV"\naddress = {2 * tag}\nkind = "float32"' for tag in range(TAGS)
    )
    path = folder / "agent.toml"
    path.write_text(f"""
[agent]
id = "agent-1"
group = "bench"
log = "{folder}/log.sqlite3"
[broker]
url = "mqtt://127.0.0.1:9"
account = "agent-1"
password_file = "password"
[[bioreactor]]
id = "R1"
[[bus]]
id = "line"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
[[instrument]]
id = "unit"
bus = "line"
bioreactor = "R1"
unit = 1
period_s = 1.0
{points}
""")
    return path


async def _until_logged(agent: Sequence[str | Path], configuration: Path) -> float:
    """Start the agent; seconds until a batch that was not there before is in its log. Stops it."""
    folder = configuration.parent
    log, words = folder / "log.sqlite3", folder / "agent.log"
    known = _newest(log)
    began_s = time.perf_counter()
    process = spawn([*agent, "run", "--config", configuration], log_path=words, env=plain_environment(), cwd=folder)
    try:
        async with asyncio.timeout(60):
            while _newest(log) <= known:
                assert process.poll() is None, last_words(words)
                await asyncio.sleep(LOOK_EVERY_S)
        return time.perf_counter() - began_s
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)
        stop(process, ())


def _newest(log: Path) -> int:
    """The number of the newest batch with readings in a log; 0 if there is none, or no log yet."""
    try:
        reader = LogReader.open(log)
    except LogError:
        return 0
    with closing(reader):
        return max((batch.number for batch in reader.last(3) if batch.readings), default=0)
