"""`lms-agent log stats`, `verify`, `export` and `compact`, as their users call them."""

import asyncio
import csv
import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from lms_agent.log.jobs import Entry
from lms_agent.log.limits.retention import Limits
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.reading import Quality, Reading, TagDescription

START_MS = 1_795_392_000_000


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "a folder" / "log.sqlite3"
    path.parent.mkdir()
    with SqliteLog.open(path) as log:
        tags = [TagDescription(0, "R1", "pH/PV", unit="pH"), TagDescription(0, "R2", "Weight/PV", unit="g")]
        log.register_tags(tags)
        entries: list[Entry] = []
        for number in range(600):
            at_ms = START_MS + number * 1_000
            entries += [Entry("R1", (Reading(1, at_ms, number / 7),))]
            entries += [Entry("R2", (Reading(2, at_ms, None, Quality.BAD),))]
        await asyncio.to_thread(log.append_all, entries)
        log.acknowledge(1_000)
    return path


async def test_stats_say_what_is_there_and_fit_80_columns(path: Path, agent_command: Any) -> None:
    code, out, words = await agent_command("log", "stats", "--log", path)
    assert code == 0, words
    assert "1200" in out
    assert "200 batches not acknowledged" in out
    assert all(len(line) <= 80 for line in out.splitlines() if str(path) not in line)
    code, out, _ = await agent_command("log", "--log", path, "stats", "--json")
    told = json.loads(out)
    assert (told["batches"], told["readings"], told["backlog"], told["dropped_readings"]) == (1200, 1200, 200, 0)
    assert told["began_at"] == "2026-11-23T00:00:00.000Z"
    assert told["set_aside"] == []


async def test_stats_know_the_policy_of_the_configuration(configure: Any, free_port: int, agent_command: Any) -> None:
    config: Path = configure(free_port, free_port)
    text = config.read_text().replace("[broker]", 'log_max_bytes = 5000000\nlog_when_full = "drop_oldest"\n[broker]')
    config.write_text(text)
    SqliteLog.open(config.parent / "log.sqlite3").close()
    code, out, words = await agent_command("log", "stats", "--config", config, "--json")
    assert code == 0, words
    assert json.loads(out)["policy"] == Limits(5_000_000, None, drop_oldest=True).as_text()


async def test_sound_log_is_verified(path: Path, agent_command: Any) -> None:
    code, out, words = await agent_command("log", "verify", "--log", path, "--json")
    assert code == 0, words
    assert json.loads(out) == {
        "well": True,
        "first": 1,
        "last": 1200,
        "batches": 1200,
        "readings": 1200,
        "problems": [],
    }


@pytest.mark.parametrize(
    ("sql", "number", "said"),
    [
        ("UPDATE batches SET record = substr(record, 1, 20) WHERE number IN (77, 80)", 77, "checksum"),
        ("DELETE FROM batches WHERE number BETWEEN 500 AND 510", 500, "batches 500 to 510 are missing"),
        ("UPDATE batches SET last_taken_at_ms = 5 WHERE number = 9", 9, "not those of its record"),
        ("UPDATE batches SET total = 5 WHERE number = 9", 9, "does not follow"),
        ("UPDATE meta SET value = '1001' WHERE key = 'acked'", None, "acked"),
        ("UPDATE tags SET name = 'pH/SP' WHERE number = 1", None, "tag 1"),
        ("UPDATE spare SET value = '[]' WHERE key = 'tags'", None, "'tags' of spare"),
        ("INSERT INTO origins VALUES ('a stream', 1, 2, 3)", None, "the origin a stream, 1"),
    ],
)
async def test_first_thing_that_is_wrong_is_named(
    sql: str, number: int | None, said: str, path: Path, agent_command: Any
) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()
    code, out, words = await agent_command("log", "verify", "--log", path, "--json")
    assert code == 1
    assert "Traceback" not in words
    first = json.loads(out)["problems"][0]
    assert first["batch"] == number
    assert said in first["what"]
    code, out, _ = await agent_command("log", "verify", "--log", path)
    assert code == 1
    assert "WRONG: " in out


async def test_verdict_on_damage_begins_with_what_is_wrong_and_ends_with_what_to_do(
    path: Path, agent_command: Any
) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE batches SET record = substr(record, 1, 20) WHERE number IN (77, 80)")
    connection.commit()
    connection.close()
    code, out, _ = await agent_command("log", "verify", "--log", path)
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "WRONG: batch 77: its checksum does not fit its record"
    assert lines[2].startswith("1198 of 1200 batches with 1198 readings are well")
    assert "a gap is sent in the place of each damaged batch" in lines[-1]


async def test_batches_of_a_damaged_page_are_one_thing_that_is_wrong(path: Path, agent_command: Any) -> None:
    data = bytearray(path.read_bytes())
    pages = [at for at in range(0, len(data), 4096) if data[at] == 0x0D]
    data[pages[len(pages) // 2]] = 0x55
    path.write_bytes(data)
    code, out, _ = await agent_command("log", "verify", "--log", path)
    assert code == 1
    (line,) = (line for line in out.splitlines() if "cannot be read" in line)
    assert line.startswith("WRONG: batches ")
    assert "start the agent" in out.splitlines()[-1]


@pytest.mark.parametrize("command", ["stats", "verify", "status", "show"])
@pytest.mark.parametrize("victim", ["nothing", "damaged", "notes"])
async def test_log_that_cannot_be_looked_at_is_told_with_a_remedy_and_as_json_where_that_is_asked(
    command: str, victim: str, path: Path, agent_command: Any
) -> None:
    other = path.with_name(victim)
    if victim == "damaged":
        other.write_bytes(bytes(100) + path.read_bytes()[100:])
    if victim == "notes":
        other.write_text("pH seems low today\n" * 1_000)
    code, out, words = await agent_command("log", command, "--log", other)
    assert (code, out) == (1, "")
    remedy = {"nothing": "check the path", "damaged": "start the agent", "notes": "no log of an agent"}[victim]
    assert remedy in words
    code, out, words = await agent_command("log", command, "--log", other, "--json")
    assert (code, words) == (1, "")
    assert remedy in json.loads(out)["error"]


async def test_damaged_page_is_named_and_the_rest_is_checked(path: Path, agent_command: Any) -> None:
    data = bytearray(path.read_bytes())
    pages = [at for at in range(0, len(data), 4096) if data[at] == 0x0D]
    data[pages[len(pages) // 2]] = 0x55
    path.write_bytes(data)
    code, out, words = await agent_command("log", "verify", "--log", path, "--json")
    assert code == 1
    assert "Traceback" not in words
    told = json.loads(out)
    assert told["batches"] > 1_000
    assert any("damaged" in problem["what"] for problem in told["problems"])


async def test_export_gives_exactly_the_window(path: Path, agent_command: Any, tmp_path: Path) -> None:
    window = ("--from", "2026-11-23T00:01:00Z", "--to", "2026-11-23T01:02:00+01:00")
    code, out, words = await agent_command("log", "export", "--log", path, *window, "--tag", "pH/PV")
    assert code == 0, words
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [float(row["value"]) for row in rows] == [number / 7 for number in range(60, 120)]
    assert rows[0] == {
        "taken_at": "2026-11-23T00:01:00.000Z",
        "bioreactor": "R1",
        "tag": "pH/PV",
        "value": repr(60 / 7),
        "unit": "pH",
        "quality": "GOOD",
    }
    target = tmp_path / "out.jsonl"
    code, out, words = await agent_command("log", "export", "--log", path, "--device", "R2", "--json", "-o", target)
    assert (code, out) == (0, ""), words
    assert "600 readings" in words
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert {(line["tag"], line["value"], line["quality"]) for line in lines} == {("Weight/PV", None, "BAD")}
    assert len(lines) == 600


async def test_export_names_what_it_does_not_know(path: Path, agent_command: Any) -> None:
    code, _, words = await agent_command("log", "export", "--log", path, "--tag", "CO2/PV")
    assert (code, "it has Weight/PV, pH/PV" in words) == (1, True)
    code, _, words = await agent_command("log", "export", "--log", path, "--from", "2026-11-23T00:01:00")
    assert (code, "time zone" in words) == (2, True)


async def emptied(path: Path) -> None:
    """Most of the log's pages hold nothing, as after a limit of size was lowered."""
    with SqliteLog.open(path) as log:
        entries = [Entry("R1", (Reading(1, START_MS + 700_000 + number, "x" * 2_000),)) for number in range(1_500)]
        await asyncio.to_thread(log.append_all, entries)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DELETE FROM batches WHERE number < (SELECT max(number) - 100 FROM batches)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


async def test_compact_gives_room_back_without_an_agent(path: Path, agent_command: Any) -> None:
    await emptied(path)
    before = path.stat().st_size
    code, out, words = await agent_command("log", "compact", "--log", path, "--json")
    assert code == 0, words
    assert json.loads(out) == {"before_bytes": before, "after_bytes": path.stat().st_size}
    assert path.stat().st_size < before / 2
    assert (await agent_command("log", "verify", "--log", path))[0] == 0


async def test_compact_gives_room_back_while_the_agent_runs(
    wire: Any, configure: Any, start_agent: Any, agent_command: Any, free_port: int
) -> None:
    config: Path = configure(wire.port, free_port)
    path = config.parent / "log.sqlite3"
    await emptied(path)
    before = path.stat().st_size
    async with start_agent(config) as agent:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await agent.until_batches(1 << 40)
        code, out, words = await agent_command("log", "compact", "--config", config)
        assert code == 0, words
        assert "MB given back" in out
        assert path.stat().st_size < before / 2
        head = agent.head()
        assert await agent.until_batches(head + 5) > head
        assert not path.with_name("log.sqlite3.compact").exists()


async def test_compact_writes_an_older_file_anew_and_says_so_while_the_agent_runs(
    path: Path, agent_command: Any
) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    connection.execute("PRAGMA auto_vacuum = NONE")
    connection.execute("VACUUM")
    connection.close()
    with SqliteLog.open(path):
        code, _, words = await agent_command("log", "compact", "--log", path)
        assert code == 1
        assert "stop the agent first" in words
    code, _, words = await agent_command("log", "compact", "--log", path)
    assert code == 0, words
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    connection.close()
