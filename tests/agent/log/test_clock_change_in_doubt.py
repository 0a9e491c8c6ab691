"""A change of the clock whose COMMIT fails may be on the disk all the same: made again, it moves nothing twice.

The disk is real; only the answer to one COMMIT is an error, as of a device that fails after it has written.
"""

import sqlite3
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lms_agent.log import connecting, writer
from lms_agent.log.errors import LogWriteFailed
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.log.times.clocks import ClockChange
from lms_agent.timekeeping.discipline import Change, Trust
from lms_protocol.reading import Reading, TagDescription

BOOT = UUID("7f2c0000-0000-4000-8000-000000000001")
SHIFT_MS = 1_000_000


class FailingDisk(sqlite3.Connection):
    """Its next `failing` COMMITs are answered by an error, when they are done or before."""

    failing = 0
    done = True

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql != "COMMIT" or not FailingDisk.failing:
            return super().execute(sql, *values)
        FailingDisk.failing -= 1
        super().execute("COMMIT" if FailingDisk.done else "ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=FailingDisk)
    connecting.configure(connection)
    return connection


@pytest.mark.parametrize("still_open", [True, False])
@pytest.mark.parametrize("done", [True, False])
async def test_change_is_made_once_whether_or_not_its_commit_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, done: bool, still_open: bool
) -> None:
    monkeypatch.setattr(writer, "connect", connect)
    path = tmp_path / "log.sqlite3"
    began = ClockChange(BOOT, Change(0, Trust.WRONG, None, open=True, reason="not known"), 1_000, 0, starts=True)
    known = Change(
        SHIFT_MS, Trust.TRUSTED, None, open=still_open, reason="known", correction_ms=SHIFT_MS, shift_ms=SHIFT_MS
    )
    change = ClockChange(BOOT, known, 1_000, SHIFT_MS)
    with SqliteLog.open(path) as log:
        (tag,) = log.register_tags([TagDescription(0, "R1", "pH/PV")])
        await log.change_clock(began)
        for at_ms in (1_000, 1_001):
            await log.append("R1", [Reading(tag.number, at_ms, 7.0)])
        monkeypatch.setattr(FailingDisk, "done", done)
        monkeypatch.setattr(FailingDisk, "failing", 1)
        with pytest.raises(LogWriteFailed):
            await log.change_clock(change)
        await log.change_clock(change)
        assert log.latest()[tag.number].taken_at_ms == 1_001 + SHIFT_MS
        await log.append("R1", [Reading(tag.number, 1_002, 7.0)])  # taken before the change, written after it
    with SqliteLog.open(path) as log:
        assert [log.get(number).readings[0].taken_at_ms - SHIFT_MS for number in (1, 2, 3)] == [1_000, 1_001, 1_002]
