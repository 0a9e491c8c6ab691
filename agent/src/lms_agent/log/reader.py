"""Look at a log file without writing it: from the agent itself, and from other processes while the agent writes.

A reader never writes and never checkpoints (see `lms_agent.log.writer`), and sees each batch as soon as it is on the
disk. It holds no transaction between calls, so that it never keeps the WAL from being folded in.

Neighbours: `lms_agent.log.sqlite_log`, and the commands `lms-agent log` and `lms-agent watch`.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote
from uuid import UUID

from lms_protocol.reading import Batch, Gap, TagDescription

from lms_agent.log import schema
from lms_agent.log.errors import LogDamaged, LogUnavailable, explain
from lms_agent.log.lock import is_written
from lms_agent.log.records import LATEST_KEY, LatestReadings, batch_from_row, gap_from_row
from lms_agent.log.tags import read_tags

LOGGER = logging.getLogger(__name__)


class LogStatus(NamedTuple):
    """What a log holds.

    Attributes:
        stream: its identity.
        first, last: lowest and highest batch number; 0 and 0 if it is empty.
        readings: in all batches ever written.
        began_at_ms, ended_at_ms: when the earliest and the latest readings were taken, ms UTC.
        acked: highest number up to which everything is committed in the cloud.
        size_bytes: of the file and its WAL.
    """

    stream: UUID
    first: int
    last: int
    readings: int
    began_at_ms: int | None
    ended_at_ms: int | None
    acked: int
    size_bytes: int

    @property
    def backlog(self) -> int:
        """Batches that the cloud has not acknowledged."""
        return self.last - self.acked


class LogReader:
    """A log file, open for reading; safe to use from several threads."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()
        self.stream = UUID(self._meta("stream"))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a log for reading.

        Raises:
            LogUnavailable: it is not there, is no log, or was written by a newer program.
        """
        if not path.exists():
            raise LogUnavailable(path, "there is no such file", "start the agent once, or check the path")
        connection = None
        try:
            connection = _connect(path)
            schema.check_ours(path, connection)
            schema.check_known(path, connection)
            return cls(path, connection)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise LogUnavailable(path, *explain(error)) from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def acked(self) -> int:
        """The acknowledged number, as last written down."""
        return int(self._meta("acked"))

    @property
    def bd_seq(self) -> int | None:
        """The `bdSeq` of the last connection."""
        text = self._meta("bd_seq")
        return None if text == "null" else int(text)

    def head(self) -> tuple[int, int]:
        """Return the highest batch number, and the number of readings up to it."""
        rows = self._rows("SELECT number, total FROM batches ORDER BY number DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    def status(self) -> LogStatus:
        """Return what the log holds; a few look-ups, however long it is."""
        times = "SELECT first_taken_at_ms, last_taken_at_ms FROM batches WHERE first_taken_at_ms IS NOT NULL"
        earliest = self._rows(f"{times} ORDER BY first_taken_at_ms LIMIT 1")
        latest = self._rows(f"{times} ORDER BY first_taken_at_ms DESC LIMIT 1")
        (first,) = self._rows("SELECT coalesce(min(number), 0) FROM batches")[0]
        last, readings = self.head()
        size = sum(
            file.stat().st_size for file in (self.path, self.path.with_name(self.path.name + "-wal")) if file.exists()
        )
        return LogStatus(
            self.stream,
            first,
            last,
            readings,
            earliest[0][0] if earliest else None,
            latest[0][1] if latest else None,
            self.acked,
            size,
        )

    def get(self, number: int) -> Batch:
        """Return one batch.

        Raises:
            LogDamaged: its bytes are not those that were written.
            KeyError: there is no such batch.
        """
        rows = self._rows("SELECT number, device, checksum, record FROM batches WHERE number = ?", number)
        if not rows:
            raise KeyError(number)
        return batch_from_row(self.path, rows[0])

    def read(self, first: int, limit: int) -> list[Batch]:
        """Return up to `limit` batches from number `first` on.

        Raises:
            LogDamaged: the bytes of one are not those that were written.
        """
        sql = "SELECT number, device, checksum, record FROM batches WHERE number >= ? ORDER BY number LIMIT ?"
        return [batch_from_row(self.path, row) for row in self._rows(sql, first, limit)]

    def extent(self, number: int) -> tuple[str, int, int]:
        """Return a batch's device, and when its first and last reading were taken (ms UTC), without its record.

        Raises:
            KeyError: there is no such batch.
        """
        rows = self._rows("SELECT device, first_taken_at_ms, last_taken_at_ms FROM batches WHERE number = ?", number)
        if not rows:
            raise KeyError(number)
        device, first, last = rows[0]
        return str(device), int(first or 0), int(last or 0)

    def last(self, count: int) -> list[Batch]:
        """Return the newest `count` batches, oldest first."""
        sql = "SELECT number, device, checksum, record FROM batches ORDER BY number DESC LIMIT ?"
        return [batch_from_row(self.path, row) for row in reversed(self._rows(sql, count))]

    def tags(self) -> list[TagDescription]:
        """Return every tag that the log ever knew, by number."""
        with self._lock:
            return read_tags(self._connection)

    def latest(self) -> LatestReadings:
        """Work out the newest reading of each tag."""
        latest = LatestReadings()
        through = latest.load(self._meta(LATEST_KEY))
        for batch in self.after(through):
            latest.take(batch)
        latest.keep()
        return latest

    def open_gaps(self) -> list[tuple[str, Gap]]:
        """Return the gaps that have begun and not ended, each with its device."""
        sql = (
            "SELECT device, id, tags, began_at_ms, ended_at_ms, reason FROM gaps WHERE ended_at_ms IS NULL ORDER BY id"
        )
        return [(row[0], gap_from_row(row[1:])) for row in self._rows(sql)]

    def last_gap_id(self) -> int:
        """Return the highest id that a gap has; 0 if there is none."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM gaps")[0][0])

    def after(self, number: int) -> Iterator[Batch]:
        """Yield all batches above `number`, without holding many of them; damaged ones are passed over."""
        while True:
            try:
                batches = self.read(number + 1, 100)
            except LogDamaged as error:
                LOGGER.warning("%s It is passed over.", error)
                yield from self.read(number + 1, error.number - number - 1)
                number = error.number
                continue
            if not batches:
                return
            yield from batches
            number = batches[-1].number

    def _meta(self, key: str) -> str:
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0])

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise LogUnavailable(self.path, *explain(error)) from error


def _connect(path: Path) -> sqlite3.Connection:
    """Open read-only; a file in a folder where we may not even make a WAL index is taken as it is, if nobody writes."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10, check_same_thread=False)
    try:
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.OperationalError:
        connection.close()
        if is_written(path):
            raise
        return sqlite3.connect(uri + "&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
    except BaseException:
        connection.close()
        raise
    return connection
