"""The live screen: it fits, and what needs attention is on it."""

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lms_agent.cli.watch.table import screen
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.watching import Watcher
from lms_protocol.reading import Gap, Quality, Reading, TagDescription
from rich.console import Console


@pytest.fixture
async def path(tmp_path: Path) -> Any:
    path = tmp_path / "log.sqlite3"
    with SqliteLog.open(path) as log:
        tags = log.register_tags(
            TagDescription(0, "R1", f"Tag {number:02}/PV", unit="µmol/L", low=0, high=10, decimals=2)
            for number in range(40)
        )
        now_ms = time.time_ns() // 1_000_000
        readings = [Reading(tag.number, now_ms, 5.0) for tag in tags]
        readings[31] = Reading(tags[31].number, now_ms, 12.5)
        readings[35] = Reading(tags[35].number, now_ms, None, Quality.BAD)
        gap = Gap(1, (tags[38].number,), now_ms - 90_000, None, "no reply")
        await log.append("R1", readings, [gap])
    return path


def drawn(path: Path, width: int = 80, height: int = 24) -> list[str]:
    watcher = Watcher.open(path)
    try:
        console = Console(file=io.StringIO(), width=width, height=height)
        console.print(screen(watcher.look(), height))
        out = console.file
        assert isinstance(out, io.StringIO)
        return out.getvalue().splitlines()
    finally:
        watcher.close()


def test_screen_fits_80_by_24(path: Path) -> None:
    lines = drawn(path)
    assert len(lines) <= 24
    assert max(len(line) for line in lines) <= 80


def test_what_needs_attention_is_shown_when_not_all_fits(path: Path) -> None:
    text = "\n".join(drawn(path))
    assert all(name in text for name in ("Tag 31/PV", "Tag 35/PV", "Tag 38/PV"))
    assert "more tags" in text


def test_value_outside_its_range_points_outwards(path: Path) -> None:
    (line,) = [line for line in drawn(path, height=60) if "Tag 31/PV" in line]
    assert "▶" in line
    assert "12.50" in line
    assert "µmol/L" in line
    assert "0 … 10" in line


def test_gap_and_bad_quality_are_words_not_only_colours(path: Path) -> None:
    lines = drawn(path, height=60)
    assert [line for line in lines if "Tag 35/PV" in line and "BAD" in line]
    assert [line for line in lines if "Tag 38/PV" in line and "GAP" in line]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ({"set_aside": [{"head": 120, "acked": 20}]}, "a new log was begun, 100 batches of the old one to send"),
        ({"dropped_readings": 7}, "7 readings dropped unacknowledged"),
        ({"full": True}, "the log is full"),
    ],
)
def test_alarm_of_the_log_is_on_the_screen(path: Path, log: dict[str, Any], words: str) -> None:
    watcher = Watcher.open(path)
    broker = {"connected": False, "born": False, "error": "refused", "acked": 0, "last_ack_at_ms": None}
    status = {"group": "acme", "agent": "a", "broker": broker, "log": {"error": ""} | log}
    console = Console(file=io.StringIO(), width=80, height=24)
    console.print(screen(replace(watcher.look(), status=status), 24))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= 24
    assert any(line.startswith("ALARM: ") and words in line for line in lines)
    assert words in replace(watcher.look(), status=status | {"instruments": {}}).as_json()["alarm"]
    watcher.close()


async def test_watcher_follows_the_log(path: Path) -> None:
    watcher = Watcher.open(path)
    with SqliteLog.open(path) as log:
        await log.append("R1", [Reading(1, time.time_ns() // 1_000_000 + 1, 9.0)])
        view = watcher.look()
        assert view.running
        reading = view.devices["R1"][0].reading
        assert reading is not None
        assert reading.value == 9.0
        assert view.backlog == 2
    watcher.close()
