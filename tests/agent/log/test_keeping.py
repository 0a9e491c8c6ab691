"""Scans on their way into a log whose disk refuses for a while."""

from pathlib import Path
from typing import Any

from lms_agent.clock import SystemClock
from lms_agent.log.absence import Absence
from lms_agent.log.errors import LogWriteFailed
from lms_agent.log.keeping import Keeping
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.sampling import Scan
from lms_protocol.reading import Batch, Reading


def scan(second: int) -> Scan:
    return Scan("R1", (Reading(1, 1000 * second, float(second)),))


async def test_scan_that_finds_no_room_while_others_are_written_has_its_gap_before_later_ones(tmp_path: Path) -> None:
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        keeping = Keeping(log, Absence(log, [[1]]), SystemClock(), max_readings=2)
        append = log.append

        async def refuse(*_: Any) -> Batch:
            raise LogWriteFailed(log.path, "no space left on the device", "free some")

        async def take_slowly(*scan_: Any) -> Batch:
            log.append = append  # type: ignore[method-assign]
            await keeping.take(scan(3))
            await keeping.take(scan(4))
            return await append(*scan_)

        log.append = refuse  # type: ignore[method-assign]
        await keeping.take(scan(1))
        await keeping.take(scan(2))
        log.append = take_slowly  # type: ignore[method-assign]
        await keeping.flush()
        told = [
            ([reading.value for reading in batch.readings], [(gap.began_at_ms, gap.ended_at_ms) for gap in batch.gaps])
            for batch in log.read(1, 10)
        ]
        assert told == [([1.0], []), ([], [(2000, 3000)]), ([4.0], [])]
        assert keeping.state.waiting == 0
