"""A second copy of what nothing of a log can be sent without, or not with its right time.

    stream, tags              what the numbers stand for
    corrections, spans        what was corrected of the times of batches, and which may still be corrected

All are small, and each lies in a page or two: one damaged page would cost every batch that the cloud does not have, or
have them sent with times that are known to be wrong. The copy lies in a table, and so in pages, of its own. It is never
asked for by SQL; `lms_agent.log.damage.salvage` finds it. In `meta` stands beside it what the two tables of the clock
add up to, so that a row that is not there any more is noticed as well as one that was altered.

Neighbours: whoever gives a log its stream, its tags or a correction (`lms_agent.log.renewal.renewing`,
`lms_agent.log.tags`, `lms_agent.log.times.clocks`, `lms_agent.log.damage.readable`, the migrations).
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lms_agent.log.checksums import meta_checksum
from lms_agent.log.connecting import set_meta
from lms_agent.log.errors import damaged_row

TAGS_KEY = "tags"
"""Key of the row that holds the cells of all rows of `tags`, as JSON."""
CLOCK_KEY = "clock"
"""Key of the row that holds the cells of all rows of `corrections` and `spans`, as JSON (see `ClockCopy`)."""
SUMS_KEY = "clock_sums"
"""Key in `meta` of what the two tables add up to, as JSON (see `ClockSums`)."""
CORRECTION_CELLS = "event, first, last, boot, began_ms, shift_ms, trusted, estimated, at_ms"
SPAN_CELLS = "first, last, boot, began_ms, offset_ms, trust, error_ms, open"
_TABLES = (("corrections", CORRECTION_CELLS, "id"), ("spans", SPAN_CELLS, "first"))


class ClockCopy(NamedTuple):
    """The cells of both tables, without checksums; the higher the serial, the newer."""

    serial: int
    corrections: list[list[Any]]
    spans: list[list[Any]]


class ClockSums(NamedTuple):
    """What both tables added up to when they were written."""

    serial: int
    corrections: int
    spans: int


def keep_spare(connection: sqlite3.Connection) -> None:
    """Bring the copy of stream and tags up to date, within the transaction that changes what it is of."""
    (stream,) = connection.execute("SELECT value FROM meta WHERE key = 'stream'").fetchone()
    tags = connection.execute("SELECT number, device, name, description FROM tags ORDER BY number").fetchall()
    _keep(connection, "stream", stream)
    _keep(connection, TAGS_KEY, json.dumps(tags, ensure_ascii=False))


def keep_clock(connection: sqlite3.Connection) -> None:
    """Bring copy and sums of the clock's tables up to date, within the transaction that changes them."""
    known = connection.execute(
        "SELECT key, value, checksum FROM meta WHERE key = ?1"
        " UNION ALL SELECT key, value, checksum FROM spare WHERE key = ?2",
        (SUMS_KEY, CLOCK_KEY),
    ).fetchall()
    serials = [int(json.loads(text)[0]) for key, text, sum_ in known if meta_checksum(key, text) == sum_]
    corrections, spans = (
        connection.execute(f"SELECT {cells} FROM {table} ORDER BY {key}").fetchall()  # noqa: S608 - our own words
        for table, cells, key in _TABLES
    )
    serial = max(serials, default=0) + 1
    _keep(connection, CLOCK_KEY, json.dumps([serial, corrections, spans]))
    set_meta(connection, {SUMS_KEY: json.dumps([serial, sum_of(corrections), sum_of(spans)])})


def sum_of(rows: Iterable[Sequence[Any]]) -> int:
    """What rows of the clock add up to, without their checksums."""
    cells = [[int(cell) if isinstance(cell, bool) else cell for cell in row] for row in rows]
    return zlib.crc32(json.dumps(cells).encode())


def whole(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """All rows of a table of the clock, each with its checksum at its end, in order.

    One statement, so that another connection may write meanwhile.

    Raises:
        sqlite3.DatabaseError: there are others than were written.
    """
    index = [name for name, *_ in _TABLES].index(table)
    _, cells, key = _TABLES[index]
    named = ", ".join(f"t.{cell}" for cell in cells.split(", "))
    found = connection.execute(
        f"SELECT m.value, m.checksum, t.{key}, {named}, t.checksum FROM (SELECT 1)"  # noqa: S608 - our own words
        f" LEFT JOIN meta m ON m.key = ? LEFT JOIN {table} t ON 1 ORDER BY t.{key}",
        (SUMS_KEY,),
    ).fetchall()
    rows = [row[3:] for row in found if row[2] is not None]
    text, checksum = found[0][:2]
    if text is not None and meta_checksum(SUMS_KEY, text) == checksum:
        sums = ClockSums(*json.loads(text))
        if sum_of(row[:-1] for row in rows) != sums[1 + index]:
            raise damaged_row(f"the sum of {table}")
    return rows


def _keep(connection: sqlite3.Connection, key: str, value: str) -> None:
    connection.execute("DELETE FROM spare WHERE key = ?", (key,))
    connection.execute("INSERT INTO spare VALUES (?, ?, ?)", (key, value, meta_checksum(key, value)))
