"""The commands `log`, `log import` and `watch`, as their users call them."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from lms_agent.health import read_status, status_path
from lms_agent.log.reader import LogReader
from support.patience import awaiting

HEADER = "taken_at,tag,value\n"


@pytest.fixture
def config(configure: Any, free_port: int) -> Path:
    path: Path = configure(free_port, free_port)
    return path


def history(config: Path, lines: str) -> Path:
    path = config.parent / "history of R1.csv"
    path.write_text(lines)
    return path


async def test_import_appends_every_reading(config: Path, agent_command: Any) -> None:
    lines = HEADER + "".join(
        f"2026-11-23T{hour:02}:00:{second:02}.250Z,{tag},{hour + second / 100}\n"
        for hour in range(5)
        for second in range(60)
        for tag in ("pH/PV", "DO/PV")
    )
    code, out, words = await agent_command(
        "log", "import", "--config", config, "--device", "R1", history(config, lines), "--json"
    )
    assert code == 0, words
    assert json.loads(out)["readings"] == 600
    with LogReader.open(config.parent / "log.sqlite3") as reader:
        readings = [reading for batch in reader.read(1, 1000) for reading in batch.readings]
        assert reader.status().readings == len(readings) == 600
        assert {batch.device for batch in reader.read(1, 1000)} == {"R1"}
    assert readings[0].taken_at_ms == 1_795_392_000_250
    assert readings[2].value == pytest.approx(0.01, rel=1e-7)


async def test_empty_value_is_a_reading_without_value(config: Path, agent_command: Any) -> None:
    lines = HEADER + "2026-11-23T06:00:00Z,pH/PV,\n\n"
    assert (await agent_command("log", "import", "--config", config, "--device", "R1", history(config, lines)))[0] == 0
    code, out, _ = await agent_command("log", "show", "--config", config, "--json")
    assert code == 0
    (reading,) = json.loads(out)["readings"]
    assert (reading["value"], reading["quality"], reading["taken_at"]) == (None, "BAD", "2026-11-23T06:00:00.000Z")


@pytest.mark.parametrize(
    ("lines", "line", "found"),
    [
        ("", 1, "found nothing"),
        ("time,tag,value\n", 1, "found 'time,tag,value'"),
        (HEADER + "2026-11-23T06:00:00Z,pH/PV,7\n2026-11-23T06:00:01Z,Ph/PV,7\n", 3, "found tag 'Ph/PV'"),
        (HEADER + "2026-11-23T06:00:00,pH/PV,7\n", 2, "without time zone"),
        (HEADER + "yesterday,pH/PV,7\n", 2, "found time 'yesterday'"),
        (HEADER + "2026-11-23T06:00:00Z,pH/PV,seven\n", 2, "found value 'seven'"),
        (HEADER + "2026-11-23T06:00:00Z,pH/PV,1e99\n", 2, "found value '1e99'"),
        (HEADER + "2026-11-23T06:00:00Z,pH/PV\n", 2, "found 2 columns"),
        (HEADER + '2026-11-23T06:00:00Z,"pH/PV,7\n', 2, "unexpected end of data"),
        (HEADER + "0001-01-01T00:00:00Z,pH/PV,7\n", 2, "found time"),
    ],
)
async def test_bad_line_is_named_and_nothing_is_imported(
    lines: str, line: int, found: str, config: Path, agent_command: Any
) -> None:
    good = HEADER + "".join(f"2026-11-23T05:00:00Z,pH/PV,{number}\n" for number in range(600))
    path = history(config, lines if lines == "" or not lines.startswith(HEADER) else good + lines.removeprefix(HEADER))
    code, _, words = await agent_command("log", "import", "--config", config, "--device", "R1", path)
    assert code == 1
    assert f"{path}, line {line + (600 if lines.startswith(HEADER) else 0)}" in words
    assert found in words
    assert "Traceback" not in words
    with LogReader.open(config.parent / "log.sqlite3") as reader:
        assert reader.head() == (0, 0)


async def test_unknown_tag_lists_the_known_ones(config: Path, agent_command: Any) -> None:
    path = history(config, HEADER + "2026-11-23T06:00:00Z,CO2/PV,7\n")
    _, _, words = await agent_command("log", "import", "--config", config, "--device", "R1", path)
    assert "allowed: DO/PV, pH/PV" in words


async def test_unknown_bioreactor_lists_the_known_ones(config: Path, agent_command: Any) -> None:
    path = history(config, HEADER)
    code, _, words = await agent_command("log", "import", "--config", config, "--device", "R9", path)
    assert code == 2
    assert "R1" in words


async def test_import_is_refused_while_the_agent_runs(
    wire: Any, configure: Any, start_agent: Any, agent_command: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    path = history(config, HEADER + "2026-11-23T06:00:00Z,pH/PV,7\n")
    async with start_agent(config) as agent:
        await agent.until_batches(1)
        code, _, words = await agent_command("log", "import", "--config", config, "--device", "R1", path)
    assert code == 1
    assert f"process {agent.process.pid}" in words


async def test_status_and_watch_of_a_running_agent(
    wire: Any, configure: Any, start_agent: Any, agent_command: Any, free_port: int
) -> None:
    config = configure(wire.port, free_port)
    async with start_agent(config) as agent:
        await agent.until_batches(12)
        async with awaiting("the status to say so"):  # it is written every few seconds
            while "cannot be reached" not in ((read_status(agent.log) or {}).get("broker") or {}).get("error", ""):
                await asyncio.sleep(0.05)
        code, out, words = await agent_command("log", "--config", config, "--json")
        assert code == 0, words
        told = json.loads(out)
        assert (told["agent_pid"], told["acked"]) == (agent.process.pid, 0)
        assert told["backlog"] == told["batches"] == told["last"] >= 12
        code, out, words = await agent_command("watch", "--config", config, "--once", "--json")
        assert code == 0, words
        seen = json.loads(out)
        assert seen["running"] is True
        assert "cannot be reached" in seen["broker"]["error"]
        assert [(tag["tag"], tag["value"], tag["quality"]) for tag in seen["bioreactors"]["R1"]] == [
            ("pH/PV", 7.25, "GOOD"),
            ("DO/PV", 41.5, "GOOD"),
        ]
        code, out, _ = await agent_command("watch", "--config", config, "--once")
        assert code == 0
        assert all(len(line) <= 80 for line in out.splitlines())
        assert "7.25" in out
        mode = stat.S_IMODE(status_path(agent.log).stat().st_mode)
        assert mode & 0o007 == 0
    code, out, _ = await agent_command("log", "status", "--log", agent.log)
    assert code == 0
    assert "not running" in out


@pytest.mark.parametrize("command", [("log",), ("watch", "--once"), ("log", "show")])
async def test_missing_log_is_named(command: tuple[str, ...], config: Path, agent_command: Any) -> None:
    code, _, words = await agent_command(*command, "--config", config)
    assert code == 1
    assert "log.sqlite3" in words
    assert "Traceback" not in words


@pytest.mark.parametrize("command", [("log",), ("watch", "--once"), ("log", "show"), ("run",)])
async def test_missing_configuration_is_named(command: tuple[str, ...], tmp_path: Path, agent_command: Any) -> None:
    code, _, words = await agent_command(*command, "--config", tmp_path / "none.toml")
    assert code == 2
    assert "none.toml" in words
    assert "Traceback" not in words
