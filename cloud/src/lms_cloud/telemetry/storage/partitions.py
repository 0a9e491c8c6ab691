"""The weeks that `readings` has partitions for, and making those that a commit needs.

Called by `lms_cloud.telemetry.ingest.committing` before each transaction. Times for which no week is made (a clock
that says 1970, or next year) go to the default partition: see migrations/versions/0002_telemetry.py.
"""

from collections.abc import Callable, Iterable
from typing import Final

import psycopg
import structlog

from lms_cloud.telemetry.incoming import Incoming, to_instant
from lms_cloud.telemetry.storage.transaction import Connection

DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS
FIRST_MONDAY_MS: Final = 4 * DAY_MS
"""1970-01-05, the first Monday after the epoch."""
PAST_MS: Final = 5 * 366 * DAY_MS
AHEAD_MS: Final = 14 * DAY_MS

_log = structlog.get_logger(__name__)
_MAKE = "select make_reading_partitions(%s, %s)"


class Partitions:
    """Remembers which weeks have their partition.

    Args:
        now_ms: tells the time, ms UTC.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._made: set[int] = set()

    async def make(self, connection: Connection, batches: Iterable[Incoming]) -> None:
        """Make the weeks that the batches' readings fall into, and those just ahead, where they are missing."""
        now_ms = self._now_ms()
        first, last = week_of(now_ms - PAST_MS), week_of(now_ms + AHEAD_MS)
        wanted = {week_of(now_ms), last}
        for batch in batches:
            wanted.update(week_of(ms) for ms in batch.columns.extent or ())
        missing = sorted(week for week in wanted - self._made if first <= week <= last)
        for week in missing:
            start = to_instant(FIRST_MONDAY_MS + week * WEEK_MS)
            try:
                await connection.execute(_MAKE, (start, start))
            except psycopg.errors.RaiseException as error:  # this computer's clock and the database's are far apart
                _log.warning("no partition for a week; its readings go to the default one", why=str(error))
            self._made.add(week)


def week_of(ms: int) -> int:
    """The number of the week, Monday to Sunday UTC, since 1970-01-05."""
    return (ms - FIRST_MONDAY_MS) // WEEK_MS
