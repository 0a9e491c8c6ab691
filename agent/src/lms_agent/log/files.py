"""The log's files on the disk, watched: deleted, exchanged or cut off under a running agent.

SQLite would go on for ever with a file that has no name any more; all that it writes there is gone with the process.

Neighbours: `lms_agent.log.care` looks every few seconds.
"""

import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lms_agent.log.damage.salvage import FRAME_HEADER_BYTES, WAL_HEADER_BYTES, wal_path
from lms_agent.log.renewal.predecessors import Kind

DAMAGED_WAL = "its write-ahead log was removed or cut off"


class Finding(NamedTuple):
    """What happened to the files: in a word, and in a sentence."""

    kind: Kind
    reason: str


class _Seen(NamedTuple):
    device: int
    inode: int
    size: int


class _Probe(NamedTuple):
    """A frame in the middle of the write-ahead log: it stays as it is until that begins anew, with another salt."""

    salt: bytes
    at: int
    frame: bytes


class FileWatch:
    """Remembers which files the log is, from when it was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = _look(path)
        self._wal = _look(wal_path(path))
        self._probe: _Probe | None = None

    def look(self) -> Finding | None:
        """What has happened; None if all is well."""
        now = _look(self._path)
        if now is None:
            return Finding(Kind.DELETED, "its file was deleted")
        if self._log is not None and now[:2] != self._log[:2]:
            return Finding(Kind.REPLACED, "its file was exchanged for another one")
        return self._look_at_wal()

    def _look_at_wal(self) -> Finding | None:
        known, now = self._wal, _look(wal_path(self._path))
        self._wal = now or known
        if known is not None and known.size and (now is None or now[:2] != known[:2]):
            return Finding(Kind.REPLACED, DAMAGED_WAL)
        if now is None or now.size == 0:
            self._probe = None
            return None
        with wal_path(self._path).open("rb") as wal:
            probe = self._probe
            if probe is not None and _salt(wal) == probe.salt:
                changed = _frame(wal, probe.at) != probe.frame
                if changed and _salt(wal) == probe.salt:  # else it began anew between the two looks
                    return Finding(Kind.REPLACED, DAMAGED_WAL)
            self._probe = _take_probe(wal, now.size)
        return None


def _take_probe(wal: BinaryIO, size: int) -> _Probe | None:
    header = _read(wal, 0, WAL_HEADER_BYTES)
    frame_bytes = FRAME_HEADER_BYTES + int.from_bytes(header[8:12], "big")
    at = WAL_HEADER_BYTES + (size - WAL_HEADER_BYTES) // frame_bytes // 2 * frame_bytes
    frame = _frame(wal, at)
    salt = header[16:24]
    return _Probe(salt, at, frame) if frame[8:16] == salt else None


def _salt(wal: BinaryIO) -> bytes:
    return _read(wal, 16, 8)


def _frame(wal: BinaryIO, at: int) -> bytes:
    return _read(wal, at, FRAME_HEADER_BYTES)


def _read(wal: BinaryIO, at: int, size: int) -> bytes:
    return os.pread(wal.fileno(), size, at)


def _look(path: Path) -> _Seen | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - one call, and its errors are the answer
    except FileNotFoundError:
        return None
    return _Seen(found.st_dev, found.st_ino, found.st_size)
