"""What the time without an agent leaves behind in the log."""

from pathlib import Path

from lms_agent.clock import SystemClock
from lms_agent.log.absence import LOG_GONE, NOT_RUNNING, TAKING_OVER, Absence
from lms_agent.log.keeping import Keeping
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.reading import Gap, Reading


async def test_each_tag_gets_its_gap_once(tmp_path: Path) -> None:
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        await log.append("R1", [Reading(1, 1_000, 1.0), Reading(2, 1_010, 1.0), Reading(3, 60_000, 1.0)])
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        absence = Absence(log, [[1, 2], [3], [4]])
        assert absence.before([Reading(1, 90_000, 1.0), Reading(2, 90_020, 1.0), Reading(4, 90_000, 1.0)]) == [
            Gap(1, (1, 2), 1_010, 90_000, NOT_RUNNING)
        ]
        assert absence.before([Reading(1, 91_000, 1.0), Reading(3, 91_000, 1.0)]) == [
            Gap(2, (3,), 60_000, 91_000, NOT_RUNNING)
        ]
        assert absence.before([Reading(3, 92_000, 1.0)]) == []


async def test_no_reading_lies_within_the_gap_of_its_tag(tmp_path: Path) -> None:
    """A tag that is reported by exception was logged last when another had four readings yet to come."""
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        await log.append("R1", [Reading(1, 1_000, 1.0)])
        await log.append("R1", [Reading(2, at_ms, 1.0) for at_ms in (1_000, 1_200, 1_400, 1_600, 1_800)])
        absence = Absence(log, [[1, 2], [3]])
        assert absence.before([Reading(1, 9_000, 1.0), Reading(2, 9_700, 1.0)]) == [
            Gap(1, (1,), 1_000, 9_000, NOT_RUNNING),
            Gap(2, (2,), 1_800, 9_700, NOT_RUNNING),
        ]


async def test_gap_never_runs_backwards(tmp_path: Path) -> None:
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        await log.append("R1", [Reading(1, 5_000, 1.0)])
        assert Absence(log, [[1]]).before([Reading(1, 4_000, 1.0)]) == [Gap(1, (1,), 5_000, 5_000, NOT_RUNNING)]


async def test_open_gap_is_taken_over_where_an_instrument_can_close_it(tmp_path: Path) -> None:
    taken_over = Gap(1, (1, 2), 1_000, None, "no reply")
    orphan = Gap(2, (3,), 1_000, None, "no reply")
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        readings = [Reading(number, 1_000, None) for number in (1, 2, 3)]
        await log.append("R1", readings, [taken_over, orphan])
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        absence = Absence(log, [[1, 2]])
        assert absence.open_gaps == [taken_over]
        assert absence.before([Reading(1, 9_000, 1.0)]) == []
        await Keeping(log, absence, SystemClock()).close_orphans()
        assert log.open_gaps() == [("R1", taken_over)]
        assert log.next_gap_id() == 3


async def test_tags_that_were_read_until_just_now_have_a_gap_only_where_a_scan_is_missing(tmp_path: Path) -> None:
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        await log.append("R1", [Reading(1, 10_000, 1.0), Reading(2, 10_000, 1.0), Reading(3, 10_000, 1.0)])
        absence = Absence(log, [[1], [2, 3]], reason=TAKING_OVER, bearable_ms={1: 1_500, 2: 1_500})
        assert absence.before([Reading(1, 11_400, 1.0), Reading(2, 12_000, 1.0), Reading(3, 11_000, 1.0)]) == [
            Gap(1, (3,), 10_000, 11_000, TAKING_OVER),
            Gap(2, (2,), 10_000, 12_000, TAKING_OVER),
        ]


async def test_gap_begins_where_a_log_ended_that_is_gone(tmp_path: Path) -> None:
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        absence = Absence(log, [[1, 2], [3]], gone_since_ms=4_000)
        assert absence.before([Reading(1, 9_000, 1.0), Reading(2, 9_000, 1.0), Reading(3, 9_500, 1.0)]) == [
            Gap(1, (1, 2), 4_000, 9_000, LOG_GONE),
            Gap(2, (3,), 4_000, 9_500, LOG_GONE),
        ]
        assert absence.before([Reading(1, 10_000, 1.0)]) == []


async def test_gap_begins_with_the_last_reading_where_a_new_log_knows_it(tmp_path: Path) -> None:
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        await log.append("R1", [Reading(1, 3_000, 1.0)])
        absence = Absence(log, [[1]], gone_since_ms=4_000)
        assert absence.before([Reading(1, 9_000, 1.0)]) == [Gap(1, (1,), 3_000, 9_000, NOT_RUNNING)]
