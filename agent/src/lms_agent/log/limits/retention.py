"""What the log may give up when it grows too large or too old, and how it says so.

    acknowledged batches       the oldest first, beyond `max_bytes` or `keep_days`: the cloud has them
    unacknowledged batches     only with `drop_oldest`, and only when no acknowledged one is left: the oldest first;
                               in the same transaction a batch with a gap for each bioreactor says what was lost
    otherwise                  nothing: the log is full, and says so

Batches always go from the lowest number on, so what is there is one run of numbers. The newest batch always stays: it
says where the numbers go on.

Neighbours: `lms_agent.log.writer` calls this between two appends, a few batches at a time, in its own transactions.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lms_protocol.reading import Gap

from lms_agent.log.schema import BLOCK_BATCHES
from lms_agent.log.times.corrections import SHIFT_SQL

DAY_MS = 86_400_000
MIN_BYTES = 1_000_000
DEFAULT_MAX_BYTES = 4_000_000_000
ROOM_BYTES = 500_000
"""What a log near its size limit keeps free, so that an append never has to wait for room to be made."""
DROP_GAP_IDS = 1 << 61
"""Ids of the gaps that tell of dropped batches: this, and the first number dropped. The log's own are far below."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large and how old the log may become.

    Attributes:
        max_bytes: size of the file; None for no limit.
        keep_days: age of acknowledged batches, counted back from the newest reading; None for no limit.
        drop_oldest: whether unacknowledged batches may go when nothing else can.
    """

    max_bytes: int | None = None
    keep_days: float | None = None
    drop_oldest: bool = False

    def as_text(self) -> str:
        """The policy as a sentence."""
        size = "of any size" if self.max_bytes is None else f"up to {self.max_bytes / 1e6:g} MB"
        age = "" if self.keep_days is None else f", acknowledged readings for {self.keep_days:g} days"
        full = (
            "the oldest unacknowledged readings are dropped"
            if self.drop_oldest
            else "nothing unacknowledged is dropped"
        )
        return f"{size}{age}; when full, {full}"


@dataclass(slots=True)
class RetentionState:
    """What was given up.

    Attributes:
        removed_batches: acknowledged ones, since the start.
        dropped_batches, dropped_readings: unacknowledged ones, ever.
        full: the size limit is reached, and nothing may go.
    """

    removed_batches: int = 0
    dropped_batches: int = 0
    dropped_readings: int = 0
    full: bool = False


class Dropped(NamedTuple):
    """What a bite took of one bioreactor, to be told by a batch with this gap."""

    device: str
    gap: Gap


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    page_bytes, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    return int(page_bytes * (pages - free))


def lowest(connection: sqlite3.Connection) -> int:
    """The lowest number in the log; 1 in an empty one."""
    return int(connection.execute("SELECT coalesce(min(number), 1) FROM batches").fetchone()[0])


def too_old(connection: sqlite3.Connection, number: int, keep_days: float) -> bool:
    """Whether all readings of a batch are older than `keep_days` before the log's newest batch."""
    taken = f"SELECT last_taken_at_ms + {SHIFT_SQL} FROM batches"  # noqa: S608 - our own words
    row = connection.execute(f"{taken} WHERE number = ?", (number,)).fetchone()
    newest = connection.execute(f"{taken} WHERE last_taken_at_ms IS NOT NULL ORDER BY number DESC LIMIT 1").fetchone()
    if row is None or row[0] is None or newest is None:
        return row is not None and newest is not None  # a batch without readings is as old as those before it
    return bool(row[0] < newest[0] - keep_days * DAY_MS)


def remove_through(connection: sqlite3.Connection, last: int) -> int:
    """Remove all batches up to number `last`; return how many. Gaps that are open stay, and the newest one."""
    first = lowest(connection)
    connection.execute("DELETE FROM batches WHERE number <= ?", (last,))
    connection.execute(
        "DELETE FROM gaps WHERE batch BETWEEN 1 AND ? AND ended_at_ms IS NOT NULL"
        " AND id != (SELECT coalesce(max(id), 0) FROM gaps WHERE id < ?)",  # it says where the ids of gaps go on
        (last, DROP_GAP_IDS),
    )
    connection.execute("DELETE FROM blocks WHERE block < ?", (last // BLOCK_BATCHES,))
    return max(0, last - first + 1)


def drop_through(connection: sqlite3.Connection, last: int, now_ms: int) -> list[Dropped]:
    """Remove unacknowledged batches up to number `last`, and note that. The caller appends what tells of it."""
    first = lowest(connection)
    rows = connection.execute(
        f"SELECT device, min(first_taken_at_ms + {SHIFT_SQL}), max(last_taken_at_ms + {SHIFT_SQL}),"  # noqa: S608
        " sum(readings), count(*) FROM batches"
        " WHERE number <= ? GROUP BY device ORDER BY device",
        (last,),
    ).fetchall()
    times = [(began, ended) for _, began, ended, *_ in rows if began is not None]
    connection.execute(
        "INSERT INTO drops VALUES (?, ?, ?, ?, ?, ?)",
        (
            first,
            last,
            sum(row[3] for row in rows),
            min((began for began, _ in times), default=None),
            max((ended for _, ended in times), default=None),
            now_ms,
        ),
    )
    connection.execute("DELETE FROM batches WHERE number <= ?", (last,))
    connection.execute("DELETE FROM blocks WHERE block < ?", (last // BLOCK_BATCHES,))
    # The gaps that the dropped batches told of stay: the batches that are sent in their place tell of them.
    return list(_told(connection, first, rows))


def _told(connection: sqlite3.Connection, first: int, rows: list[tuple[str, int, int, int, int]]) -> Iterator[Dropped]:
    for index, (device, began_at_ms, ended_at_ms, readings, batches) in enumerate(rows):
        if not readings:
            continue
        tags = connection.execute(
            "SELECT number FROM tags WHERE device = ? AND name NOT LIKE 'Sync/%' ORDER BY number", (device,)
        )
        reason = f"{readings} readings in {batches} batches were dropped unacknowledged: the log was full"
        numbers = tuple(number for (number,) in tags)
        yield Dropped(device, Gap(DROP_GAP_IDS + first + index, numbers, began_at_ms, ended_at_ms, reason))


def dropped(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many batches and readings were ever dropped unacknowledged."""
    row = connection.execute(
        "SELECT coalesce(sum(last - first + 1), 0), coalesce(sum(readings), 0) FROM drops"
    ).fetchone()
    return int(row[0]), int(row[1])
