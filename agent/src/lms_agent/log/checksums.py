"""Checksums of the log's rows: a byte that the disk has altered must be noticed, not believed.

Neighbours: `lms_agent.log.records`, `lms_agent.log.tags` and `lms_agent.log.schema` write them; whoever reads a row
checks it.
"""

import zlib
from collections.abc import Iterable


def batch_checksum(number: int, device: str, record: bytes) -> int:
    """CRC-32 over all that makes a batch: also a record under another number or device is noticed."""
    return zlib.crc32(record, zlib.crc32(f"{number} {device} ".encode()))


def meta_checksum(key: str, value: str) -> int:
    """Of a row of `meta`: a stream or an acknowledged number with a wrong digit would lose or double batches."""
    return _of(key, value)


def tag_checksum(number: int, device: str, name: str, description: str) -> int:
    """Of a row of `tags`."""
    return _of(number, device, name, description)


def gap_checksum(cells: tuple[object, ...]) -> int:
    """Of a row of `gaps`: id, device, batch, tags, began_at_ms, ended_at_ms, reason."""
    return _of(*cells)


def row_checksum(cells: Iterable[object]) -> int:
    """Of a row of `corrections`: a wrong digit would move readings in time. SQLite knows no Booleans."""
    return _of(*(int(cell) if isinstance(cell, bool) else cell for cell in cells))


def predecessor_checksum(cells: Iterable[object]) -> int:
    """Of a row of `predecessors`, path to ended_at_ms: a wrong digit would have batches passed over as sent."""
    return _of(*cells)


def origin_checksum(stream: str, number: int) -> int:
    """Of a row of `origins`: a wrong digit would have a batch passed over as logged again."""
    return _of(stream, number)


def _of(*cells: object) -> int:
    return zlib.crc32("\0".join(map(str, cells)).encode(errors="surrogatepass"))
