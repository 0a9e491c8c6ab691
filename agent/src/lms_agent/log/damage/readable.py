"""A sound log file from what could be read of another one: the same stream, its unacknowledged batches, no holes.

Where a batch could not be read, an empty one stands under its number; a gap for each bioreactor tells of the time. Such
rows have the running total -1, so that nobody takes them for what the agent had logged.

Neighbours: `lms_agent.log.damage.salvage` reads damaged files; `lms_agent.log.renewal.predecessor` sends what is kept
here.
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from lms_protocol.reading import Batch, Gap, TagDescription

from lms_agent.log import schema
from lms_agent.log.connecting import configure, set_meta
from lms_agent.log.damage.spare import keep_clock, keep_spare
from lms_agent.log.records import BatchRow, GapRow, batch_row
from lms_agent.log.renewal.standing_in import STAND_IN_GAP_IDS
from lms_agent.log.tags import tag_row
from lms_agent.log.times.corrections import INSERT_CORRECTION, Correction, correction_row
from lms_agent.owning import open_or_make

_INSERT = "INSERT OR {} INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

MOST_BELOW = 1000
"""Where it cannot be read what was acknowledged, how many numbers below the lowest batch that can be read are taken for
damaged: a few pages' worth. Of all below the cloud has taken them, or was told, for else they would be there."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a readable file holds.

    Attributes:
        first, head: lowest and highest number; 0 and 0 for nothing.
        missing: how many batches between them could not be read.
        acked: everything up to here is settled.
        untold: gaps of those that no batch of the file tells, each with its bioreactor.
    """

    first: int
    head: int
    missing: int
    acked: int
    untold: tuple[tuple[str, Gap], ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the log beside its batches.

    Attributes:
        stream: its identity.
        acked: highest number known as committed in the cloud: what is below is left out.
        head: highest number that is known to have been given; 0 if that is not known.
        tags: every tag.
        corrections: of the times of batches, which are copied as they were written.
        until_ms: when it was found that the log could not be read, ms UTC.
    """

    stream: str
    acked: int
    head: int
    tags: Sequence[TagDescription]
    until_ms: int
    corrections: Sequence[Correction] = ()


def write_readable(
    target: Path, known: Known, rows: Iterable[tuple[bool, BatchRow]], gaps: Iterable[GapRow], *, reason: str
) -> Kept:
    """Write the file; it is there as a whole or not at all.

    Args:
        rows: of batches; those that come with True outdo others of the same number.
        reason: why batches may be missing, for their gaps.

    Raises:
        sqlite3.Error, OSError: the disk refuses.
    """
    part = target.with_name(target.name + ".part")
    for leftover in (part, part.with_name(part.name + "-wal"), part.with_name(part.name + "-shm")):
        leftover.unlink(missing_ok=True)
    os.close(open_or_make(part))
    with closing(sqlite3.connect(part, isolation_level=None)) as connection:
        configure(connection)
        schema.migrate(connection, known.stream)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?)", [tag_row(tag.number, tag) for tag in known.tags]
        )
        keep_spare(connection)
        connection.executemany(INSERT_CORRECTION, [correction_row(row) for row in known.corrections])
        keep_clock(connection)
        for sure, row in rows:
            if row[0] > known.acked:
                connection.execute(_INSERT.format("REPLACE" if sure else "IGNORE"), row)
        connection.executemany("INSERT OR IGNORE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)", gaps)
        kept = _fill_holes(connection, known, reason)
        set_meta(connection, {"acked": str(kept.acked)})
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    sync_and_rename(part, target)
    return kept


def sync_and_rename(part: Path, target: Path) -> None:
    """Put a finished file under its name, so that it is there after a power cut, too."""
    sync(part)
    part.replace(target)
    sync(target.parent)
    for leftover in (part.with_name(part.name + "-wal"), part.with_name(part.name + "-shm")):
        leftover.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fill_holes(connection: sqlite3.Connection, known: Known, reason: str) -> Kept:
    numbers = connection.execute("SELECT number FROM batches ORDER BY number").fetchall()
    missing = 0
    untold: list[tuple[str, Gap]] = []
    acked = known.acked or max(0, numbers[0][0] - 1 - MOST_BELOW if numbers else 0)
    expected = acked + 1
    for (number,) in [*numbers, (known.head + 1,)]:
        if number > expected:
            missing += number - expected
            untold += _stand_in(connection, known, range(expected, number), reason)
        expected = max(expected, number + 1)
    edges = "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM batches"
    first, head = connection.execute(edges).fetchone()
    return Kept(first, head, missing, acked, tuple(untold))


def _stand_in(connection: sqlite3.Connection, known: Known, numbers: range, reason: str) -> list[tuple[str, Gap]]:
    """Empty batches for `numbers`. Whose batch is lost is not known, so each bioreactor is told, one by each number.

    Returns:
        Gaps of the bioreactors for which there was no number left.
    """
    before = _edge(connection, "SELECT max(last_taken_at_ms) FROM batches WHERE number < ?", numbers[0])
    after = _edge(connection, "SELECT min(first_taken_at_ms) FROM batches WHERE number > ?", numbers[-1])
    ended_ms = known.until_ms if after is None else after
    began_ms = ended_ms if before is None else min(before, ended_ms)
    text = f"{len(numbers)} batches of the log could not be read: {reason}"
    gaps: list[tuple[str, Gap]] = []
    for index, device in enumerate(sorted({tag.device for tag in known.tags})):
        tags = tuple(tag.number for tag in known.tags if tag.device == device and not tag.name.startswith("Sync/"))
        gaps.append((device, Gap(STAND_IN_GAP_IDS + (index << 48) + numbers[0], tags, began_ms, ended_ms, text)))
    for number in numbers:
        device, gap = gaps.pop(0) if gaps else (known.tags[0].device if known.tags else "", None)
        row = batch_row(Batch(number, device, (), () if gap is None else (gap,)), schema.STAND_IN_TOTAL)
        connection.execute(_INSERT.format("IGNORE"), row)
    return gaps


def _edge(connection: sqlite3.Connection, sql: str, number: int) -> int | None:
    found: int | None = connection.execute(sql, (number,)).fetchone()[0]
    return found


def unlink_quietly(path: Path) -> None:
    """Remove a file that may be gone already."""
    with suppress(OSError):
        path.unlink()
