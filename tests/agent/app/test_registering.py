"""Which tags the births name."""

from pathlib import Path

from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.registering import to_be_born
from lms_protocol.reading import Reading, TagDescription


async def test_births_name_retired_tags_while_batches_with_them_wait_or_may_still_come(tmp_path: Path) -> None:
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        kept, retired = log.register_tags([TagDescription(0, "R1", "pH/PV"), TagDescription(0, "R1", "DO/PV")])
        await log.append("R1", [Reading(retired.number, 1, 1.0)])
        assert to_be_born(log, [kept]) == [kept, retired]
        log.acknowledge(log.head)
        assert to_be_born(log, [kept]) == [kept]
        assert to_be_born(log, [kept], others_may_come=True) == [kept, retired], "a scan that a stalled disk holds up"
