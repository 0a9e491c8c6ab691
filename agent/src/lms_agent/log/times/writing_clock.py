"""How the clock stands for what is written next: which times batches get in the log, and what they say of the clock.

Neighbours: `lms_agent.log.writer` has one, and a copy of it in each transaction, which counts once that is committed;
`lms_agent.log.times.clocks` writes changes down; `lms_agent.log.times.stamps` turns times in memory into those of the
log.
"""

import sqlite3
from dataclasses import dataclass, field

from lms_protocol.reading import Batch, ClockRecord

from lms_agent.log.jobs import Entry
from lms_agent.log.times import clocks
from lms_agent.log.times.clocks import ClockChange
from lms_agent.log.times.corrections import Correction
from lms_agent.log.times.stamps import Stamps


@dataclass(slots=True)
class WritingClock:
    """The clock, as batches are written under it.

    Attributes:
        stamps: how times in memory become those of the log.
        record: for the next batch to carry; None if it has been carried.
        corrections: of this transaction.
    """

    stamps: Stamps = field(default_factory=Stamps)
    record: ClockRecord | None = None
    corrections: list[Correction] = field(default_factory=list)

    def copy(self) -> "WritingClock":
        """The same for a transaction that has corrected nothing yet."""
        return WritingClock(self.stamps, self.record)

    def change(self, connection: sqlite3.Connection, head: int, change: ClockChange) -> None:
        """From here on the clock is another; what was logged before may be corrected.

        Raises:
            sqlite3.Error: the disk refuses.
        """
        if change.starts:
            since = [span.began_ms for span in clocks.open_spans(connection)]
            self.stamps = Stamps.starting(since, change.stamp_ms, change.stamp_shift_ms)
        corrections = clocks.write(connection, head, change)
        self.corrections += corrections
        self.stamps = self.stamps.after(corrections, change.stamp_ms, change.stamp_shift_ms)
        self.record = change.record

    def timed(self, connection: sqlite3.Connection, number: int, entry: Entry, *, as_is: bool) -> Batch:
        """The batch, with its times in the log and, if that is due, the clock record.

        Args:
            as_is: whether its times are those of the log already.
        """
        readings, gaps = entry.readings, entry.gaps
        if not as_is:
            readings = self.stamps.readings(readings)
            if gaps and self.stamps.move:
                gaps = self.stamps.gaps(gaps, clocks.told(connection, [gap.id for gap in gaps]))
        record, self.record = self.record, None
        return Batch(number, entry.device, readings, gaps, record, entry.origin)
