"""What the writer does for the log when nothing waits to be written: one small bite after the other.

    too large, too old   batches go, by `lms_agent.log.limits.retention`
    asked to compact     room that nothing uses goes back to the disk
    an older file        its blocks are worked out

A bite is one transaction and takes some 20 ms on a slow SD card, so that an append that comes meanwhile hardly waits.

Neighbours: called by `lms_agent.log.writer`, in its thread.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from lms_agent.log.limits.retention import (
    ROOM_BYTES,
    Dropped,
    Limits,
    RetentionState,
    drop_through,
    dropped,
    lowest,
    remove_through,
    too_old,
    used_bytes,
)
from lms_agent.log.schema import BLOCK_BATCHES, BLOCK_SUM, SUM_UP_BLOCKS
from lms_agent.log.times.corrections import SHIFT_SQL

LOGGER = logging.getLogger(__name__)

LOOK_EVERY = 100
"""Batches after which it is looked whether a limit is reached."""
FIRST_BITE, LARGEST_BITE = 32, 2_000
PAGES_GIVEN_BACK = 64
"""Pages given back to the disk in a bite."""
BITE_S = 0.02
"""How long a bite should take; the next one is larger or smaller for it."""
WARN_EVERY_S = 600.0
LENT_PAGES = 16
_IS_KNOWN = f"SELECT 1 FROM blocks WHERE block = ? AND checksum = {BLOCK_SUM}"  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class Bite:
    """One transaction's worth of upkeep.

    Attributes:
        act: does it, inside a transaction; gives what is to be told by batches in the same one.
        batches: how many it is about; 0 where that says nothing about its time.
        gone_through: the highest number that it removes.
    """

    act: Callable[[sqlite3.Connection], Iterable[Dropped]]
    batches: int
    gone_through: int = 0


class Upkeep:
    """Decides what the next bite is.

    Args:
        limits: how large and how old the log may become.
        state: kept up to date here.

    Attributes:
        acked: number up to which everything is committed in the cloud.
        compacting: set to give back room that nothing uses; unset when there is none.
    """

    def __init__(self, limits: Limits, state: RetentionState) -> None:
        self.acked = 0
        self._limits = limits
        self._state = state
        self.compacting = False
        self._bite = FIRST_BITE
        self._looked_at = 0
        self._block: int | None = None  # the block to be worked out next; None before the first look
        self._warned_s: float | None = None

    def opened(self, connection: sqlite3.Connection) -> None:
        """A connection was opened: the limit of size is its own, and must hold whatever else fails."""
        self._state.dropped_batches, self._state.dropped_readings = dropped(connection)
        self.limit(connection)

    def limit(self, connection: sqlite3.Connection) -> None:
        """Hold the file to its limit of size."""
        if self._limits.max_bytes is not None:
            page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
            # Never below what is there: SQLite would take that as the limit.
            connection.execute(f"PRAGMA max_page_count = {self._limits.max_bytes // page_bytes}").fetchall()

    def lend_room(self, connection: sqlite3.Connection) -> None:
        """Let one transaction pass the limit by a little.

        A change of the clock must find room in a full log: until it is written, batches whose time was wrong may not be
        sent, and as long as they are not acknowledged, nothing else makes room.
        """
        if self._limits.max_bytes is not None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + LENT_PAGES}").fetchall()

    def is_due(self, head: int) -> bool:
        """Whether it is time to look again."""
        return self.compacting or head - self._looked_at >= LOOK_EVERY

    def next(self, connection: sqlite3.Connection, head: int, *, at_once: bool = False) -> Bite | None:
        """The next bite; None if all is as it should be.

        Args:
            at_once: an append found no room: make some, also below the limits.
        """
        self._looked_at = head
        return (
            self._make_room(connection, head, at_once=at_once)
            or self._next_block(connection, head)
            or self._give_back(connection)
        )

    def took(self, bite: Bite, seconds: float) -> None:
        """A bite is committed, and took so long."""
        if bite.batches >= self._bite and seconds < BITE_S / 2:
            self._bite = min(LARGEST_BITE, 2 * self._bite)
        elif bite.batches and seconds > BITE_S:
            self._bite = max(FIRST_BITE, self._bite // 2)

    def complaint(self) -> tuple[str, str]:
        """Why an append found no room, and what to do about it."""
        size = (self._limits.max_bytes or 0) / 1e6
        return (
            f"it has reached its limit of {size:g} MB, and nothing in it may go before the cloud has it",
            "bring the connection back, raise log_max_bytes, or allow log_when_full to drop the oldest readings",
        )

    def _make_room(self, connection: sqlite3.Connection, head: int, *, at_once: bool) -> Bite | None:
        first = lowest(connection)
        limit = self._limits.max_bytes
        full = limit is not None and used_bytes(connection) > limit - min(ROOM_BYTES, limit // 10)
        over = at_once or full
        self._state.full = False
        free_through = min(self.acked, head - 1)
        if first <= free_through:
            last = min(first + self._bite - 1, free_through)
            keep_days = self._limits.keep_days
            if over or (keep_days is not None and too_old(connection, last, keep_days)):
                return self._removal(first, last)
        elif over and self._limits.drop_oldest and first < head:
            return self._dropping(first, min(first + self._bite - 1, head - 1))
        else:
            self._state.full = full
        return None

    def _removal(self, first: int, last: int) -> Bite:
        def act(connection: sqlite3.Connection) -> Iterable[Dropped]:
            self._state.removed_batches += remove_through(connection, last)
            return ()

        return Bite(act, last - first + 1, last)

    def _dropping(self, first: int, last: int) -> Bite:
        def act(connection: sqlite3.Connection) -> Iterable[Dropped]:
            told = drop_through(connection, last, time.time_ns() // 1_000_000)
            self._state.dropped_batches, self._state.dropped_readings = dropped(connection)
            self._warn()
            return told

        return Bite(act, last - first + 1, last)

    def _warn(self) -> None:
        now_s = time.monotonic()
        if self._warned_s is None or now_s - self._warned_s >= WARN_EVERY_S:
            self._warned_s = now_s
            LOGGER.error(
                "The log is full: its oldest readings are DROPPED before the cloud has acknowledged them, %d so far. "
                "Bring the connection back, or raise log_max_bytes.",
                self._state.dropped_readings,
            )

    def _give_back(self, connection: sqlite3.Connection) -> Bite | None:
        if not self.compacting:
            return None
        if connection.execute("PRAGMA freelist_count").fetchone()[0]:
            return Bite(_give_back_pages, 0)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.compacting = False
        return None

    def _next_block(self, connection: sqlite3.Connection, head: int) -> Bite | None:
        """The first block that has no row yet, as in an older file, or one that is not as it was written."""
        if self._block is None:
            self._block = (lowest(connection) - 1) // BLOCK_BATCHES
        last = head // BLOCK_BATCHES - 1
        while self._block <= last:
            block = self._block
            self._block += 1
            if connection.execute(_IS_KNOWN, (block,)).fetchone() is None:
                return Bite(partial(_fill_block, block=block), 0)
        return None


def _give_back_pages(connection: sqlite3.Connection) -> Iterable[Dropped]:
    for _ in range(PAGES_GIVEN_BACK):  # Python's `execute` ends the statement after one page, whatever it asks for
        connection.execute("PRAGMA incremental_vacuum(1)").fetchall()
    return ()


def _fill_block(connection: sqlite3.Connection, block: int) -> Iterable[Dropped]:
    connection.execute(
        "INSERT OR REPLACE INTO blocks (block, first_taken_at_ms, last_taken_at_ms, readings)"  # noqa: S608 - our own words
        f" SELECT ?, min(first_taken_at_ms + {SHIFT_SQL}),"
        f" max(last_taken_at_ms + {SHIFT_SQL}), coalesce(sum(readings), 0)"
        " FROM batches WHERE number > ? AND number <= ?",
        (block, BLOCK_BATCHES * block, BLOCK_BATCHES * (block + 1)),
    )
    connection.execute(SUM_UP_BLOCKS)
    return ()
