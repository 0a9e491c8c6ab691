"""The live screen with keys, in a terminal of 80 × 24 cells."""

import time

import pytest
from lms_agent.cli.watch.keys import WatchScreen
from lms_agent.log.errors import LogMalformed
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.watching import Watcher
from lms_protocol.reading import Quality, Reading, TagDescription
from textual.widgets import DataTable, Static


@pytest.fixture
async def watcher(tmp_path):
    """Forty tags of two bioreactors; the last but one of each is out of its range."""
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        for device in ("R1", "R2"):
            tags = log.register_tags(
                TagDescription(0, device, f"Tag {number:02}/PV", unit="µmol/L", low=0, high=10, decimals=2)
                for number in range(20)
            )
            mine = [tag for tag in tags if tag.device == device]
            now_ms = time.time_ns() // 1_000_000
            for second in range(60):
                readings = [Reading(tag.number, now_ms - 1000 * (60 - second), 5.0 + second / 60) for tag in mine]
                readings[18] = Reading(mine[18].number, now_ms, 12.5)
                readings[19] = Reading(mine[19].number, now_ms, None, Quality.BAD)
                await log.append(device, readings)
    watcher = Watcher.open(tmp_path / "log.sqlite3")
    yield watcher
    watcher.close()


def rows(screen) -> list[list[str]]:
    table = screen.query_one(DataTable)
    return [[str(cell) for cell in table.get_row_at(at)] for at in range(table.row_count)]


def trend(screen) -> str:
    return str(screen.query_one("#trend", Static).content)


async def test_every_tag_has_a_line_that_fits(watcher):
    screen = WatchScreen(watcher, dots=True)
    async with screen.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        shown = rows(screen)
        assert len(shown) == 40
        assert shown[0][0].strip() == "R1 Tag 00/PV"
        assert shown[0][2].strip() == "5.98"
        table = screen.query_one(DataTable)
        assert sum(column.width for column in table.ordered_columns) <= 79
        assert table.size.height >= 8, "the trend leaves room for the tags"


async def test_keys_choose_a_tag_and_the_length_of_its_trend(watcher):
    screen = WatchScreen(watcher, dots=True)
    async with screen.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert trend(screen).startswith("R1 Tag 00/PV, the last 10 min")
        await pilot.press("down", "minus")
        await pilot.pause()
        text = trend(screen)
        assert text.startswith("R1 Tag 01/PV, the last 2 min")
        assert "┤" in text
        assert max(len(line) for line in text.splitlines()) <= 80


async def test_only_what_needs_attention_can_be_shown_and_the_choice_stays(watcher):
    screen = WatchScreen(watcher, dots=False)
    async with screen.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("t")
        await pilot.pause()
        assert [row[0].strip()[-5:-3] for row in rows(screen)] == ["18", "19", "18", "19"]
        await pilot.press("down")
        await pilot.press("t")
        await pilot.pause()
        assert len(rows(screen)) == 40
        assert screen.query_one(DataTable).cursor_row == 19


async def test_log_that_breaks_ends_the_screen_with_its_reason(watcher, monkeypatch):
    screen = WatchScreen(watcher, dots=True)

    def broken():
        raise LogMalformed(watcher.path, "the file is damaged")

    async with screen.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        monkeypatch.setattr(watcher, "look", broken)
        await screen._look()
    assert isinstance(screen.failure, LogMalformed)
