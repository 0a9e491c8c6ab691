"""Batches as rows of the log, rows as batches, and the newest reading of each tag.

Neighbours: `lms_agent.log.writer` writes these rows; `lms_agent.log.sqlite_log` and `lms_agent.log.reader` read them;
the record's bytes are `lms_protocol.batches`' matter.
"""

import base64
import json
import zlib
from pathlib import Path
from typing import TypeAlias

from lms_protocol.batches import record_decode, record_encode
from lms_protocol.errors import PayloadError
from lms_protocol.reading import Batch, Gap, Reading

from lms_agent.log.errors import LogDamaged

BatchRow: TypeAlias = tuple[int, str, int | None, int | None, int, int, int, bytes]
GapRow: TypeAlias = tuple[int, str, int, str, int, int | None, str]

LATEST_KEY = "latest"


def checksum(number: int, device: str, record: bytes) -> int:
    """CRC-32 over all that makes a batch: also a record under another number or device is noticed."""
    return zlib.crc32(record, zlib.crc32(f"{number} {device} ".encode()))


def batch_row(batch: Batch, total: int) -> BatchRow:
    """Turn a batch into its row.

    Args:
        batch: numbered.
        total: readings in the log up to and with this batch.

    Raises:
        PayloadError: a value that no Sparkplug type carries.
    """
    record = record_encode(batch)
    times = [reading.taken_at_ms for reading in batch.readings]
    return (
        batch.number,
        batch.device,
        min(times) if times else None,
        max(times) if times else None,
        len(times),
        total,
        checksum(batch.number, batch.device, record),
        record,
    )


def batch_from_row(path: Path, row: tuple[int, str, int, bytes]) -> Batch:
    """Turn a row (number, device, checksum, record) back into the batch.

    Raises:
        LogDamaged: the bytes are not those that were written.
    """
    number, device, expected, record = row
    if checksum(number, device, record) != expected:
        raise LogDamaged(path, number, "its checksum does not fit its record")
    try:
        return record_decode(number, device, record)
    except PayloadError as error:
        raise LogDamaged(path, number, str(error)) from error


def gap_row(batch: Batch, gap: Gap) -> GapRow:
    """Turn a gap that opened or closed with `batch` into its row."""
    return (gap.id, batch.device, batch.number, json.dumps(gap.tags), gap.began_at_ms, gap.ended_at_ms, gap.reason)


def gap_from_row(row: tuple[int, str, int, int | None, str]) -> Gap:
    """Turn (id, tags, began_at_ms, ended_at_ms, reason) back into a gap."""
    id_, tags, began_at_ms, ended_at_ms, reason = row
    return Gap(id_, tuple(json.loads(tags)), began_at_ms, ended_at_ms, reason)


class LatestReadings:
    """The newest reading of each tag, by the time it was taken.

    It is kept in memory, and written into the log now and then as one record, so that opening a log of a year reads
    back a few hundred batches rather than all. What is taken counts only when kept: between lies the disk.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Reading] = {}
        self._taken: dict[int, Reading] = {}

    @property
    def readings(self) -> dict[int, Reading]:
        """Newest reading by tag number; a copy."""
        return dict(self._kept)

    def take(self, batch: Batch) -> None:
        """Look at a batch that is about to be written."""
        for reading in batch.readings:
            known = self._taken.get(reading.tag) or self._kept.get(reading.tag)
            if known is None or reading.taken_at_ms >= known.taken_at_ms:
                self._taken[reading.tag] = reading

    def keep(self) -> None:
        """What was taken is written."""
        self._kept.update(self._taken)
        self._taken.clear()

    def forget(self) -> None:
        """What was taken could not be written."""
        self._taken.clear()

    def to_text(self, through: int) -> str:
        """Everything, as the text kept in `meta`; `through` is the number of the newest batch in it."""
        readings = tuple((self._kept | self._taken).values())
        record = record_encode(Batch(through, "", readings))
        return json.dumps({"through": through, "record": base64.b85encode(record).decode()})

    def load(self, text: str) -> int:
        """Begin from such a text; return the number of the newest batch in it."""
        data = json.loads(text)
        through = int(data["through"])
        self.take(record_decode(through, "", base64.b85decode(data["record"])))
        self.keep()
        return through
