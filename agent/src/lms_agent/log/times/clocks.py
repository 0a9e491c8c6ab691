"""What the log knows of the agent's clock: under which offset batches were logged, and which may still be corrected.

    spans   batches `first` to `last` were logged in one boot, from `began_ms` on; `open`: their time may change

A batch is sent only when it lies in no open span any more, so what was sent never changes. What is corrected is written
down in `lms_agent.log.times.corrections`, in the transaction that closes the span.

Neighbours: `lms_agent.timekeeping` decides; `lms_agent.log.writer` has changes written in the order of batches.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from lms_protocol.reading import ClockRecord, Gap

from lms_agent.log.checksums import gap_checksum, row_checksum
from lms_agent.log.damage.spare import SPAN_CELLS, keep_clock, whole
from lms_agent.log.errors import damaged_row
from lms_agent.log.schema import BLOCK_BATCHES, BLOCK_SUM, SUM_UP_BLOCKS
from lms_agent.log.times.corrections import INSERT_CORRECTION, Correction, Corrections, TimeMap, correction_row
from lms_agent.timekeeping.discipline import Change, Memory, Past, Trust
from lms_agent.timekeeping.placing import Homeless, place

LAST_NUMBER = (1 << 63) - 1
_NEWEST_OF = 1000
"""Batches at the end of a span among which its newest reading is: those of several lines are not quite in order."""


class Span(NamedTuple):
    """Batches that were logged in one run of the agent, or of what a change of the clock divided it into.

    Attributes:
        first, last: their numbers; `last` is None while it grows.
        boot: the computer's boot.
        began_ms: the time that a first reading in it would have had, ms UTC.
        offset_ms, trust, error_ms: the clock's, at its beginning.
        open: whether their time may still be corrected.
    """

    first: int
    last: int | None
    boot: str
    began_ms: int
    offset_ms: int
    trust: str
    error_ms: int | None
    open: bool


class ClockChange(NamedTuple):
    """What timekeeping wants written down, with the next batch.

    Attributes:
        boot: the computer's boot.
        change: what has changed.
        stamp_ms: the time now, as scans in memory bear it (see `lms_agent.log.times.stamps`).
        stamp_shift_ms: what is to be added to such times from now on.
        starts: whether the agent has just started.
    """

    boot: UUID
    change: Change
    stamp_ms: int
    stamp_shift_ms: int
    starts: bool = False

    @property
    def at_ms(self) -> int:
        """The agent's time now, ms UTC."""
        return self.stamp_ms + self.stamp_shift_ms

    @property
    def record(self) -> ClockRecord:
        """What the next batch carries."""
        change = self.change
        trusted = change.trust is Trust.TRUSTED
        return ClockRecord(self.boot, change.offset_ms, trusted, change.error_ms, change.correction_ms)


def write(connection: sqlite3.Connection, head: int, change: ClockChange) -> list[Correction]:
    """Write a change down, within a transaction: it holds for batches above `head`.

    Returns:
        The corrections that it brought.

    Raises:
        sqlite3.Error: the disk refuses.
    """
    boot, what = str(change.boot), change.change
    interrupt(connection, head)
    Corrections.read(connection)  # what is wrong must not get a sum that fits
    connection.execute("DELETE FROM spans WHERE first > last")
    _sum_up(connection)
    spans = open_spans(connection)
    moved = _moved(connection, spans, change)
    event = connection.execute("SELECT coalesce(max(event), 0) + 1 FROM corrections").fetchone()[0]
    corrections = [
        Correction(
            event,
            span.first,
            head if span.last is None else span.last,
            span.boot,
            span.began_ms,
            shift_ms,
            trusted,
            estimated,
            change.at_ms,
        )
        for span, shift_ms, trusted, estimated in moved
    ]
    for row in corrections:
        connection.execute(INSERT_CORRECTION, correction_row(row))
        connection.execute("UPDATE spans SET began_ms = began_ms + ? WHERE first = ?", (row.shift_ms, row.first))
        if row.boot != boot:
            connection.execute("UPDATE spans SET open = 0 WHERE first = ?", (row.first,))
        _correct_blocks(connection, row)
    _correct_gaps(connection, corrections)
    if not what.open:
        connection.execute("UPDATE spans SET open = 0 WHERE boot = ?", (boot,))
    _sum_up(connection)
    # Readings that were taken before the change and are written after it are of the same boot, and as open as it is.
    began_ms = min((span.began_ms for span in open_spans(connection) if span.boot == boot), default=change.at_ms)
    mine = (head + 1, None, boot, began_ms, what.offset_ms, str(what.trust), what.error_ms, int(what.open))
    connection.execute("INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*mine, row_checksum(mine)))
    keep_clock(connection)
    return corrections


def told(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, int]:
    """When gaps that were told before began, by id."""
    found = [connection.execute("SELECT * FROM gaps WHERE id = ?", (id_,)).fetchone() for id_ in ids]
    return {row[0]: row[4] for row in found if row is not None and _checked(row)}


def interrupt(connection: sqlite3.Connection, head: int) -> None:
    """What is written now is no reading of the agent's: it belongs to no span."""
    all_spans(connection)  # what is wrong must not get a checksum that fits
    connection.execute("UPDATE spans SET last = ? WHERE last IS NULL", (head,))
    _sum_up(connection)


def open_spans(connection: sqlite3.Connection) -> list[Span]:
    """The spans whose time may still be corrected, in order."""
    return [span for span in all_spans(connection) if span.open]


def all_spans(connection: sqlite3.Connection) -> list[Span]:
    """All spans, in order.

    Raises:
        sqlite3.DatabaseError: one is not as it was written.
    """
    rows = whole(connection, "spans")
    for *cells, expected in rows:
        if row_checksum(cells) != expected:
            raise damaged_row(f"batches {cells[0]} and on, and their clock")
    return [Span(*row[:-1]) for row in rows]


def _sum_up(connection: sqlite3.Connection) -> None:
    """Bring checksums, sum and copy up to date, within the transaction that has changed rows."""
    rows = connection.execute(f"SELECT {SPAN_CELLS}, checksum FROM spans").fetchall()  # noqa: S608 - our own words
    changed = [(row_checksum(cells), cells[0]) for *cells, known in rows if row_checksum(cells) != known]
    connection.executemany("UPDATE spans SET checksum = ? WHERE first = ?", changed)
    keep_clock(connection)


def never_known(spans: Iterable[Span], event: int, at_ms: int) -> list[Correction]:
    """What to say of the open spans of a log that was set aside: their time will not be known any more.

    Args:
        spans: of that log.
        event: higher than that of any of its corrections.
        at_ms: when it was set aside, ms UTC.
    """
    return [
        Correction(
            *(event, span.first, LAST_NUMBER if span.last is None else span.last, span.boot, span.began_ms, 0),
            trusted=False,
            estimated=True,
            at_ms=at_ms,
        )
        for span in spans
        if span.open
    ]


def in_doubt(first: int, event: int, at_ms: int) -> Correction:
    """What to say of batches of which it cannot be read any more whether their times were corrected: UNCERTAIN at best.

    Args:
        first: number of the first of them.
        event: higher than that of any other correction.
        at_ms: when the log was set aside, ms UTC.
    """
    return Correction(event, first, LAST_NUMBER, str(UUID(int=0)), 0, 0, trusted=False, estimated=True, at_ms=at_ms)


def newest_span(connection: sqlite3.Connection) -> Span | None:
    """The one that grows, or that grew last."""
    return next(reversed(all_spans(connection)), None)


def remember(connection: sqlite3.Connection, boot: UUID) -> tuple[Memory | None, Past]:
    """What the log knows of this boot, and of the time before it."""
    head = connection.execute("SELECT coalesce(max(number), 0) FROM batches").fetchone()[0]
    corrections = Corrections.read(connection)
    newest, still_open = newest_span(connection), open_spans(connection)
    memory = None
    if newest is not None and newest.boot == str(boot):
        began_ms = min((span.began_ms for span in still_open if span.boot == newest.boot), default=None)
        memory = Memory(newest.offset_ms, Trust(newest.trust), newest.error_ms, began_ms)
    spans = all_spans(connection)
    before_spans = Span(1, spans[0].first - 1 if spans else head, "", 0, 0, "", None, open=False)  # of an older release
    final = [before_spans, *(span for span in spans if not span.open)]
    final_ms = _newest_ms(connection, corrections, final, head)
    pending = [span for span in still_open if span.boot != str(boot)]
    homeless = [_homeless(connection, corrections, group, head) for group in _by_boot(pending)]
    room_ms = sum(lost.ended_ms - lost.began_ms + 1 for lost in homeless if lost is not None)
    # Not what is open of this boot: it moves with the clock, and so cannot prove the clock wrong.
    newest_ms = max(final_ms, _newest_ms(connection, corrections, pending, head))
    return memory, Past(newest_ms, final_ms + 1 + room_ms if newest_ms else 0, pending=bool(pending))


def _moved(
    connection: sqlite3.Connection, spans: list[Span], change: ClockChange
) -> list[tuple[Span, int, bool, bool]]:
    """Which spans a change moves: each with shift, trusted, estimated."""
    what, boot = change.change, str(change.boot)
    moved: list[tuple[Span, int, bool, bool]] = []
    past = [span for span in spans if span.boot != boot]
    if what.places_past:
        corrections = Corrections.read(connection)
        groups = [(group, _homeless(connection, corrections, group, 0)) for group in _by_boot(past)]
        held = [(group, lost) for group, lost in groups if lost is not None]
        shifts = place([lost for _, lost in held], max(what.offset_ms, _room(connection, corrections, boot, held)))
        for (group, _), shift_ms in zip(held, shifts, strict=True):
            moved += [(span, shift_ms, False, True) for span in group]
        for group, lost in groups:
            if lost is None:
                connection.executemany("UPDATE spans SET open = 0 WHERE first = ?", [(span.first,) for span in group])
    if what.shift_ms or not what.open:
        # Also where nothing moves: another copy of this log may still move it, and must be known to hold the same.
        trusted = what.trust is Trust.TRUSTED
        moved += [(span, what.shift_ms, trusted, False) for span in spans if span.boot == boot]
    return moved


def _room(
    connection: sqlite3.Connection,
    corrections: Corrections,
    boot: str,
    held: Sequence[tuple[list[Span], Homeless]],
) -> int:
    """The first moment that leaves room for what is placed behind all that is final already.

    If the clock was ahead before, this boot may have begun earlier by its own; its readings come behind (see `Past`).
    """
    first = min((span.first for group, _ in held for span in group), default=1)
    spans = [span for span in all_spans(connection) if not span.open and span.boot != boot and span.first < first]
    final_ms = _newest_ms(connection, corrections, spans, 0)
    return final_ms + 1 + sum(lost.ended_ms - lost.began_ms + 1 for _, lost in held)


def _correct_blocks(connection: sqlite3.Connection, row: Correction) -> None:
    """Bring the times of blocks up to date; of those that lie in it only partly, make sure that they span enough."""
    size = BLOCK_BATCHES
    connection.execute(f"DELETE FROM blocks WHERE checksum IS NOT {BLOCK_SUM}")  # noqa: S608 - our own words
    connection.execute(
        "UPDATE blocks SET checksum = NULL,"
        " first_taken_at_ms = first_taken_at_ms + ?1, last_taken_at_ms = last_taken_at_ms + ?1"
        " WHERE block * ?4 + 1 >= ?2 AND (block + 1) * ?4 <= ?3",
        (row.shift_ms, row.first, row.last, size),
    )
    connection.execute(
        "UPDATE blocks SET checksum = NULL, first_taken_at_ms = min(first_taken_at_ms, first_taken_at_ms + ?1),"
        " last_taken_at_ms = max(last_taken_at_ms, last_taken_at_ms + ?1)"
        " WHERE block * ?4 + 1 <= ?3 AND (block + 1) * ?4 >= ?2"
        " AND NOT (block * ?4 + 1 >= ?2 AND (block + 1) * ?4 <= ?3)",
        (row.shift_ms, row.first, row.last, size),
    )
    connection.execute(SUM_UP_BLOCKS)


def _correct_gaps(connection: sqlite3.Connection, corrections: Sequence[Correction]) -> None:
    """Bring the table of gaps up to date; the batches that told of them are corrected when they are read."""
    times = TimeMap((row.began_ms, row.shift_ms) for row in corrections)
    for row in corrections:
        rows = connection.execute("SELECT * FROM gaps WHERE batch BETWEEN ? AND ?", (row.first, row.last)).fetchall()
        for id_, device, batch, tags, began_ms, ended_ms, reason, _ in filter(_checked, rows):
            gap = times.gap(Gap(id_, (), began_ms, ended_ms, reason))
            cells = (id_, device, batch, tags, gap.began_at_ms, gap.ended_at_ms, reason)
            connection.execute(
                "INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*cells, gap_checksum(cells))
            )


def _checked(gap: tuple[Any, ...]) -> bool:
    """A whole row of `gaps` is as it was written: what is wrong must not get a checksum that fits."""
    if gap_checksum(gap[:-1]) != gap[-1]:
        raise damaged_row(f"gap {gap[0]}")
    return True


def _by_boot(spans: Sequence[Span]) -> list[list[Span]]:
    return [list(group) for _, group in groupby(spans, key=lambda span: span.boot)]


def _homeless(
    connection: sqlite3.Connection, corrections: Corrections, spans: Sequence[Span], head: int
) -> Homeless | None:
    """The readings of one earlier boot; None if it logged none. Of a span that was not ended, `head` is the last."""
    ends = []
    for span in spans:
        sql = "SELECT max(last_taken_at_ms) FROM batches WHERE number BETWEEN ? AND ?"
        (ended_ms,) = connection.execute(sql, (span.first, head if span.last is None else span.last)).fetchone()
        if ended_ms is not None:
            ends.append(corrections.moment(span.first, ended_ms) or 0)
    if not ends:
        return None
    began_ms = min(span.began_ms for span in spans)
    return Homeless(began_ms, max(began_ms, *ends), plausible=spans[-1].trust != Trust.WRONG)


def _newest_ms(connection: sqlite3.Connection, corrections: Corrections, spans: Sequence[Span], head: int) -> int:
    """The newest time in the last of these spans that holds any; 0 if none does.

    Only the last: what was imported lies in no span, and says nothing of the clock.
    """
    for span in reversed(spans):
        rows = connection.execute(
            "SELECT number, last_taken_at_ms FROM batches WHERE number BETWEEN ? AND ? ORDER BY number DESC LIMIT ?",
            (span.first, head if span.last is None else span.last, _NEWEST_OF),
        ).fetchall()
        times = [corrections.moment(number, ms) or 0 for number, ms in rows if ms is not None]
        if times:
            return max(times)
    return 0
