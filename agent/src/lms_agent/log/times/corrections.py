"""Corrections of times: batches `first` to `last` moved by `shift_ms`; never changed, never removed.

A batch's record stays as it was written; corrections are applied whenever one is read, for sending, history and export
alike. All that one event corrected bears the same `event`.

Neighbours: `lms_agent.log.times.clocks` writes corrections; `lms_agent.log.reader` applies them.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from lms_protocol.reading import Batch, Gap, Quality, Reading

from lms_agent.log.checksums import row_checksum
from lms_agent.log.damage.spare import whole
from lms_agent.log.errors import damaged_row

SHIFT_SQL = "coalesce((SELECT sum(shift_ms) FROM corrections c WHERE number BETWEEN c.first AND c.last), 0)"
"""By how much the times of a row of `batches` were corrected, in SQL; its own columns stay as they were written."""


class Correction(NamedTuple):
    """The time of batches was corrected.

    Attributes:
        event: corrections with the same one were made together.
        first, last: numbers of the batches.
        boot: in which they were logged.
        began_ms: times in them from here on are theirs, earlier ones are of the time before.
        shift_ms: what is to be added.
        trusted: whether the time is known to be right now.
        estimated: whether it is only an estimate: qualities are UNCERTAIN at best.
        at_ms: when that was, by the corrected clock, ms UTC.
    """

    event: int
    first: int
    last: int
    boot: str
    began_ms: int
    shift_ms: int
    trusted: bool
    estimated: bool
    at_ms: int


INSERT_CORRECTION = "INSERT INTO corrections VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def correction_row(correction: Correction) -> tuple[object, ...]:
    """The cells of a correction's row, as `INSERT_CORRECTION` takes them."""
    return (*correction, row_checksum(correction))


class TimeMap:
    """Which shift a time gets, by when it was: before the first beginning none."""

    def __init__(self, shifts: Iterable[tuple[int, int]] = ()) -> None:
        """Take (from when on, shift), both ms."""
        self._parts = sorted(shifts)
        self._begins = [began_ms for began_ms, _ in self._parts]

    def at(self, ms: int) -> int:
        """The time that `ms` becomes."""
        index = bisect_right(self._begins, ms)
        return ms + self._parts[index - 1][1] if index else ms

    def gap(self, gap: Gap) -> Gap:
        """The gap, with its ends where they belong."""
        began_ms = self.at(gap.began_at_ms)
        ended_ms = None if gap.ended_at_ms is None else max(self.at(gap.ended_at_ms), began_ms)
        return gap._replace(began_at_ms=began_ms, ended_at_ms=ended_ms)


class Corrections:
    """All corrections of a log, ready to be applied to what is read."""

    def __init__(self, rows: Iterable[Correction] = ()) -> None:
        self.rows = list(rows)
        self._events = [
            (list(together), TimeMap((row.began_ms, row.shift_ms) for row in together))
            for together in (list(rows) for _, rows in groupby(self.rows, key=lambda row: row.event))
        ]

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> "Corrections":
        """Read them from a log.

        Raises:
            sqlite3.DatabaseError: one is not as it was written, or not there.
        """
        rows = whole(connection, "corrections")
        for *cells, expected in rows:
            if row_checksum(cells) != expected:
                raise damaged_row(f"a correction of batches {cells[1]} to {cells[2]}")
        return cls(correction_from_row(row[:9]) for row in rows)

    def covers(self, number: int) -> bool:
        """Whether anything in this batch was corrected, so that its record says it otherwise."""
        return any(row.first <= number <= row.last for row in self.rows)

    def boot_of(self, number: int) -> UUID | None:
        """In which boot a batch was logged whose times could still be corrected then; None for any other."""
        return next((UUID(row.boot) for row in self.rows if row.first <= number <= row.last), None)

    def apply(self, batch: Batch) -> Batch:
        """The batch with corrected times; the same object if there is nothing to correct."""
        for rows, times in self._events:
            mine = _covering(rows, batch.number)
            if mine is not None:
                batch = _corrected(batch, mine, times)
        return batch

    def reading(self, reading: Reading) -> Reading:
        """One reading, judged by its time alone."""
        for rows, _ in self._events:
            mine = max((row for row in rows if row.began_ms <= reading.taken_at_ms), key=_began_ms, default=None)
            if mine is not None:
                reading = _corrected_reading(reading, mine)
        return reading

    def moment(self, number: int, ms: int | None) -> int | None:
        """A time in a batch, as corrected."""
        for rows, _ in self._events:
            mine = _covering(rows, number)
            if ms is not None and mine is not None and ms >= mine.began_ms:
                ms += mine.shift_ms
        return ms


def correction_from_row(row: Sequence[Any]) -> Correction:
    """Turn the cells of a row, from `event` to `at_ms`, into the correction."""
    event, first, last, boot, began_ms, shift_ms, trusted, estimated, at_ms = row
    return Correction(event, first, last, boot, began_ms, shift_ms, bool(trusted), bool(estimated), at_ms)


def _began_ms(row: Correction) -> int:
    return row.began_ms


def _covering(rows: Sequence[Correction], number: int) -> Correction | None:
    return next((row for row in rows if row.first <= number <= row.last), None)


def _corrected(batch: Batch, mine: Correction, times: TimeMap) -> Batch:
    readings = tuple(
        _corrected_reading(reading, mine) if reading.taken_at_ms >= mine.began_ms else reading
        for reading in batch.readings
    )
    clock = batch.clock
    if clock is not None and str(clock.boot) == mine.boot:
        clock = clock._replace(
            offset_ms=clock.offset_ms + mine.shift_ms,
            trusted=mine.trusted,
            error_ms=None,
            correction_ms=clock.correction_ms + mine.shift_ms,
            estimated=mine.estimated,
        )
    gaps = tuple(map(times.gap, batch.gaps))
    return Batch(batch.number, batch.device, readings, gaps, clock, batch.origin, batch.logged)


def _corrected_reading(reading: Reading, mine: Correction) -> Reading:
    quality = reading.quality
    if mine.estimated and quality is Quality.GOOD:
        quality = Quality.UNCERTAIN
    return Reading(reading.tag, reading.taken_at_ms + mine.shift_ms, reading.value, quality)
