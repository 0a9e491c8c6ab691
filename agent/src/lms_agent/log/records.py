"""Batches as rows of the log, rows as batches, and the newest reading of each tag.

Neighbours: `lms_agent.log.writer` writes these rows; `lms_agent.log.sqlite_log` and `lms_agent.log.reader` read them;
the record's bytes are `lms_protocol.batches`' matter.
"""

import base64
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from lms_protocol.batches import record_decode, record_encode, record_of
from lms_protocol.columns import Columns
from lms_protocol.errors import PayloadError
from lms_protocol.reading import Batch, Gap, Reading

from lms_agent.log.checksums import batch_checksum, gap_checksum
from lms_agent.log.errors import LogDamaged

BatchRow: TypeAlias = tuple[int, str, int | None, int | None, int, int, int, bytes]
GapRow: TypeAlias = tuple[int, str, int, str, int, int | None, str, int]

LATEST_KEY = "latest"
COLUMNS_AT = 5
"""Where a record's columns begin: behind its version and the count of readings."""
FOLD_AFTER = 100
"""Batches after which the newest readings are brought up to date: one by one that would cost more than the commits."""


def batch_row(batch: Batch, total: int) -> BatchRow:
    """Turn a batch into its row.

    Args:
        batch: numbered.
        total: readings in the log up to and with this batch.

    Raises:
        PayloadError: a value that no Sparkplug type carries.
    """
    number, device = batch.number, batch.device
    columns = Columns.of(batch.readings)
    record = record_of(batch, columns)
    first_ms, last_ms = columns.extent or (None, None)
    return (number, device, first_ms, last_ms, columns.size, total, batch_checksum(number, device, record), record)


def batch_from_row(path: Path, row: tuple[int, str, int, bytes]) -> Batch:
    """Turn a row (number, device, checksum, record) back into the batch.

    Raises:
        LogDamaged: the bytes are not those that were written.
    """
    number, device, expected, record = row
    try:
        if batch_checksum(number, device, record) != expected:
            raise LogDamaged(path, number, "its checksum does not fit its record")
        return record_decode(number, device, record)
    except (PayloadError, TypeError) as error:  # TypeError: a damaged header gave a cell another type
        raise LogDamaged(path, number, str(error)) from error


def raw_fits(row: BatchRow) -> bool:
    """Whether a whole row is as it was written."""
    try:
        return batch_checksum(row[0], row[1], row[7]) == row[6]
    except TypeError:  # a damaged header gave a cell another type
        return False


class RawBatch(NamedTuple):
    """A batch as it is in the file."""

    number: int
    device: str
    record: bytes


def raw_from_row(row: tuple[int, str, int, bytes]) -> RawBatch | None:
    """A row (number, device, checksum, record) without its checksum; None if that does not fit."""
    number, device, expected, record = row
    try:
        return RawBatch(number, device, record) if batch_checksum(number, device, record) == expected else None
    except TypeError:  # a damaged header gave a cell another type
        return None


def gap_row(batch: Batch, gap: Gap) -> GapRow:
    """Turn a gap that opened or closed with `batch` into its row."""
    row = (gap.id, batch.device, batch.number, json.dumps(gap.tags), gap.began_at_ms, gap.ended_at_ms, gap.reason)
    return (*row, gap_checksum(row))


def gap_from_row(path: Path, row: GapRow) -> tuple[str, Gap]:
    """Turn a whole row of `gaps` back into the device and the gap.

    Raises:
        LogDamaged: the cells are not those that were written.
    """
    id_, device, batch, tags, began_at_ms, ended_at_ms, reason, expected = row
    if gap_checksum(row[:-1]) != expected:
        raise LogDamaged(path, batch, f"the checksum of gap {id_} does not fit")
    return device, Gap(id_, tuple(json.loads(tags)), began_at_ms, ended_at_ms, reason)


class LatestReadings:
    """The newest reading of each tag, by the time it was taken.

    It is kept in memory, and written into the log now and then as one record, so that opening a log of a year reads
    back a few hundred batches rather than all. What is taken counts only when kept: between lies the disk. Batches are
    only gathered here and gone through now and then, the newest first: of one that holds nothing but older readings of
    the same tags, nothing is looked at. Safe to use from several threads.

    Attributes:
        through: the number of the newest batch in the record that it was loaded from; 0 if it was not.
    """

    def __init__(self) -> None:
        self.through = 0
        self._folded: dict[int, Reading] = {}
        self._kept: list[tuple[Batch, BatchRow | None]] = []
        self._taken: list[tuple[Batch, BatchRow | None]] = []
        self._lock = threading.Lock()

    @property
    def readings(self) -> dict[int, Reading]:
        """Newest reading by tag number; a copy."""
        with self._lock:
            self._fold()
            return dict(self._folded)

    def take(self, batch: Batch, row: BatchRow | None = None) -> None:
        """Look at a batch that is about to be written as `row`, or is there."""
        if batch.readings:
            self._taken.append((batch, row))

    def keep(self) -> None:
        """What was taken is written."""
        with self._lock:
            self._kept += self._taken
            self._taken.clear()
            if len(self._kept) >= FOLD_AFTER:
                self._fold()

    def forget(self) -> None:
        """What was taken could not be written."""
        self._taken.clear()

    def correct(self, correct: Callable[[Reading], Reading]) -> None:
        """The times of readings were corrected."""
        with self._lock:
            self._fold()
            self._folded = {tag: correct(reading) for tag, reading in self._folded.items()}

    def to_text(self, through: int, correct: Callable[[Reading], Reading] | None = None) -> str:
        """Everything taken, as the text kept in `meta`.

        Args:
            through: the number of the newest batch in it.
            correct: a correction that is being written and not yet told.
        """
        with self._lock:
            self._fold()
            newest = dict(self._folded)
        _fold(newest, self._taken)
        if correct is not None:
            newest = {tag: correct(reading) for tag, reading in newest.items()}
        record = record_encode(Batch(through, "", tuple(newest.values())))
        return json.dumps({"through": through, "record": base64.b85encode(record).decode()})

    def load(self, text: str) -> int:
        """Begin from such a text; return the number of the newest batch in it."""
        data = json.loads(text)
        through = int(data["through"])
        batch = record_decode(through, "", base64.b85decode(data["record"]))
        self.take(batch)
        self.keep()
        self.through = through
        return through

    def _fold(self) -> None:
        _fold(self._folded, self._kept)
        self._kept.clear()


def _fold(newest: dict[int, Reading], batches: list[tuple[Batch, BatchRow | None]]) -> None:
    """Bring `newest` up to date by batches in the order of their numbers; of equal times the later batch counts."""
    found: dict[int, Reading] = {}
    oldest_ms: dict[bytes, int] = {}
    for batch, row in reversed(batches):
        if row is not None:
            _, _, first_ms, last_ms, count, _, _, record = row
            tags = record[COLUMNS_AT : COLUMNS_AT + 8 * count]
            if first_ms is None or last_ms is None or last_ms < oldest_ms.get(tags, last_ms):
                continue
            oldest_ms[tags] = max(first_ms, oldest_ms.get(tags, first_ms))
        for reading in reversed(batch.readings):
            known = found.get(reading.tag)
            if known is None or reading.taken_at_ms > known.taken_at_ms:
                found[reading.tag] = reading
    for tag, reading in found.items():
        known = newest.get(tag)
        if known is None or reading.taken_at_ms >= known.taken_at_ms:
            newest[tag] = reading
