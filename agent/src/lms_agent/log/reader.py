"""Look at a log file without writing it: from the agent itself, and from other processes while the agent writes.

A reader never writes and never checkpoints (see `lms_agent.log.writer`), and sees each batch as soon as it is on the
disk. It holds no transaction between calls, so that it never keeps the WAL from being folded in.

Neighbours: `lms_agent.log.sqlite_log`, and the commands `lms-agent log` and `lms-agent watch`.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote
from uuid import UUID

from lms_protocol.batches import as_logged
from lms_protocol.errors import LmsError
from lms_protocol.reading import Batch, Gap, TagDescription

from lms_agent.accounts import account_name
from lms_agent.log.checksums import meta_checksum, origin_checksum
from lms_agent.log.damage import schema_checks
from lms_agent.log.errors import SQLITE_ERRORS, LogDamaged, LogMalformed, LogUnavailable, explain, is_malformed
from lms_agent.log.limits.retention import DROP_GAP_IDS, dropped, used_bytes
from lms_agent.log.lock import is_written
from lms_agent.log.records import (
    LATEST_KEY,
    BatchRow,
    LatestReadings,
    RawBatch,
    batch_from_row,
    gap_from_row,
    raw_fits,
    raw_from_row,
)
from lms_agent.log.renewal.predecessors import Entry, entries_of
from lms_agent.log.schema import BLOCK_BATCHES, BLOCK_SUM, STAND_IN_TOTAL
from lms_agent.log.tags import read_tags
from lms_agent.log.times import clocks
from lms_agent.log.times.clocks import Span
from lms_agent.log.times.corrections import SHIFT_SQL, Corrections
from lms_agent.timekeeping.discipline import Memory, Past

LOGGER = logging.getLogger(__name__)

_BETWEEN = f"""
SELECT number, device, checksum, record FROM batches
WHERE number BETWEEN ? AND ? AND last_taken_at_ms + {SHIFT_SQL} >= ? AND first_taken_at_ms + {SHIFT_SQL} < ?
  AND (? IS NULL OR device = ?)
ORDER BY number
"""  # noqa: S608 - our own words


class LogStatus(NamedTuple):
    """What a log holds.

    Attributes:
        stream: its identity.
        first, last: lowest and highest batch number; 0 and 0 if it is empty.
        readings: in the batches that are there.
        began_at_ms, ended_at_ms: when the earliest and the latest readings were taken, ms UTC.
        acked: highest number up to which everything is committed in the cloud.
        size_bytes: of the file and its WAL.
        used_bytes: of the file, what holds something; the rest is room that it will use first.
        dropped_batches, dropped_readings: given up for the limit of size before the cloud had them.
    """

    stream: UUID
    first: int
    last: int
    readings: int
    began_at_ms: int | None
    ended_at_ms: int | None
    acked: int
    size_bytes: int
    used_bytes: int
    dropped_batches: int
    dropped_readings: int

    @property
    def backlog(self) -> int:
        """Batches that are there and that the cloud has not acknowledged."""
        return self.last - max(self.acked, self.first - 1) if self.last else 0


class LogReader:
    """A log file, open for reading; safe to use from several threads."""

    def __init__(self, path: Path, connection: sqlite3.Connection, ended_at_ms: int | None = None) -> None:
        self.path = path
        self._connection = connection
        self.ended_at_ms = ended_at_ms
        self._lock = threading.Lock()
        self._corrections, self._corrections_to = Corrections(), -1
        self.stream = UUID(self._meta("stream"))

    @classmethod
    def open(cls, path: Path, *, ended_at_ms: int | None = None) -> Self:
        """Open a log for reading.

        Args:
            ended_at_ms: when it was set aside, ms UTC: times that were still open then will never be known. None for
                one that goes on.

        Raises:
            LogUnavailable: it is not there, is no log, or was written by a newer program.
            LogMalformed: it is damaged.
        """
        if is_hidden(path):
            raise LogUnavailable(path, *denied(path))
        if not path.exists():
            raise LogUnavailable(path, "there is no such file", "start the agent once, or check the path")
        connection = None
        try:
            connection = _connect(path)
            schema_checks.check_ours(path, connection)
            schema_checks.check_known(path, connection)
            return cls(path, connection, ended_at_ms)
        except SQLITE_ERRORS as error:
            if connection is not None:
                connection.close()
            if is_malformed(error):
                raise LogMalformed(path, explain(error)[0]) from error
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
        """The acknowledged number, as last written down; 0 if that cannot be trusted: the cloud will say it again."""
        try:
            return int(self._meta("acked"))
        except LogMalformed as error:
            LOGGER.warning("%s It counts as 0.", error)
            return 0

    @property
    def bd_seq(self) -> int | None:
        """The `bdSeq` of the last connection."""
        try:
            text = self._meta("bd_seq")
        except LogMalformed as error:
            LOGGER.warning("%s It counts as none.", error)
            return None
        return None if text == "null" else int(text)

    def head(self) -> tuple[int, int]:
        """Return the highest batch number, and the number of readings up to it."""
        rows = self._rows("SELECT number, total FROM batches ORDER BY number DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    def first(self) -> int:
        """Return the lowest batch number; 0 if the log is empty."""
        return int(self._rows("SELECT coalesce(min(number), 0) FROM batches")[0][0])

    def status(self) -> LogStatus:
        """Return what the log holds; a few look-ups, however long it is."""
        first = self.first()
        last, total = self.head()
        before = self._rows("SELECT total - readings FROM batches WHERE number = ?", first)
        began_at_ms, ended_at_ms = self._span(first, last)
        size = sum(
            file.stat().st_size for file in (self.path, self.path.with_name(self.path.name + "-wal")) if file.exists()
        )
        with self._lock:
            used = used_bytes(self._connection)
        batches, readings = self.dropped()
        return LogStatus(
            self.stream,
            first,
            last,
            total - before[0][0] if before else 0,
            began_at_ms,
            ended_at_ms,
            self.acked,
            size,
            used,
            batches,
            readings,
        )

    def dropped(self) -> tuple[int, int]:
        """Return how many batches and readings were ever dropped before the cloud had acknowledged them."""
        with self._lock, self._errors():
            return dropped(self._connection)

    def _span(self, first: int, last: int) -> tuple[int | None, int | None]:
        """From when to when readings were taken: of whole blocks by their rows, of what is beside them one by one."""
        edges = "SELECT min(first_taken_at_ms), max(last_taken_at_ms) FROM"
        first_block, last_block = (first - 1) // BLOCK_BATCHES + 1, last // BLOCK_BATCHES - 1
        sql = f"{edges} blocks WHERE block BETWEEN ? AND ? AND checksum = {BLOCK_SUM}"
        parts = self._rows(sql, first_block, last_block)
        upto, beyond = BLOCK_BATCHES * first_block, BLOCK_BATCHES * (last_block + 1)
        edges = f"SELECT min(first_taken_at_ms + {SHIFT_SQL}), max(last_taken_at_ms + {SHIFT_SQL}) FROM"
        parts += self._rows(f"{edges} batches WHERE number <= ? OR number > ?", min(upto, last), max(upto, beyond))
        began = [part[0] for part in parts if part[0] is not None]
        ended = [part[1] for part in parts if part[1] is not None]
        return min(began, default=None), max(ended, default=None)

    def get(self, number: int) -> Batch:
        """Return one batch.

        Raises:
            LogDamaged: its bytes are not those that were written.
            KeyError: there is no such batch.
        """
        rows = self._rows("SELECT number, device, checksum, record FROM batches WHERE number = ?", number)
        if not rows:
            raise KeyError(number)
        return self._batches(rows)[0]

    def read(self, first: int, limit: int) -> list[Batch]:
        """Return up to `limit` batches from number `first` on.

        Raises:
            LogDamaged: the bytes of one are not those that were written.
        """
        sql = "SELECT number, device, checksum, record FROM batches WHERE number >= ? ORDER BY number LIMIT ?"
        return self._batches(self._rows(sql, first, limit))

    def _batches(self, rows: Iterable[Any]) -> list[Batch]:
        """Rows as batches, with corrected times."""
        corrections = self.corrections()
        batches = []
        for row in rows:
            batch, boot = batch_from_row(self.path, row), corrections.boot_of(row[0])
            if boot is not None:
                number, device, _, record = row
                batch = corrections.apply(replace(batch, logged=as_logged(boot, device, number, record)))
            batches.append(batch)
        return batches

    def corrections(self) -> Corrections:
        """What was corrected of the times of batches.

        Raises:
            LogMalformed: the table is damaged: times cannot be told.
        """
        with self._lock, self._errors():
            newest = self._connection.execute("SELECT coalesce(max(id), 0) FROM corrections").fetchone()[0]
            if newest != self._corrections_to:
                self._corrections, self._corrections_to = self._read_corrections(), newest
            return self._corrections

    def _read_corrections(self) -> Corrections:
        found = Corrections.read(self._connection)
        if self.ended_at_ms is None:
            return found
        event = max((row.event for row in found.rows), default=0) + 1
        return Corrections(
            [*found.rows, *clocks.never_known(clocks.all_spans(self._connection), event, self.ended_at_ms)]
        )

    def spans(self) -> list[Span]:
        """Under which offsets of the clock batches were logged, in order."""
        with self._lock, self._errors():
            return clocks.all_spans(self._connection)

    def remember(self, boot: UUID) -> tuple[Memory | None, Past]:
        """What the log knows of the clock in this boot of the computer, and of the time before it."""
        with self._lock, self._errors():
            return clocks.remember(self._connection, boot)

    def first_open(self) -> int | None:
        """The lowest number whose time may still be corrected; None if all are final."""
        with self._lock, self._errors():
            spans = clocks.open_spans(self._connection)
        return spans[0].first if spans else None

    def records(self, first: int, last: int, most_bytes: int) -> tuple[list[RawBatch], int]:
        """Return batches as they are in the file, without looking into their records.

        Args:
            first, last: numbers, both included.
            most_bytes: stop when the records come to this; one is returned in any case, if there is one.

        Returns:
            The batches, without those that are damaged, and those whose times were corrected since they were written;
            and the number up to which was looked.
        """
        corrections = self.corrections()
        found: list[RawBatch] = []
        size = 0
        sql = "SELECT number, device, checksum, record FROM batches WHERE number BETWEEN ? AND ? ORDER BY number"
        with self._lock, self._errors(), closing(self._connection.execute(sql, (first, last))) as rows:
            for row in rows:
                raw = raw_from_row(row)
                if raw is not None and not corrections.covers(raw.number):
                    found.append(raw)
                    size += len(raw.record)
                    if size >= most_bytes:
                        return found, raw.number
        return found, last

    def extent(self, number: int) -> tuple[str, int, int]:
        """Return a batch's device, and when its first and last reading were taken (ms UTC), without its record.

        Raises:
            KeyError: there is no such batch.
        """
        rows = self._rows("SELECT device, first_taken_at_ms, last_taken_at_ms FROM batches WHERE number = ?", number)
        if not rows:
            raise KeyError(number)
        device, first, last = rows[0]
        corrections = self.corrections()
        return str(device), corrections.moment(number, first) or 0, corrections.moment(number, last) or 0

    def between(self, from_ms: int, to_ms: int, device: str | None = None) -> Iterator[Batch]:
        """Yield the batches that may hold readings taken at `from_ms` or later, but before `to_ms` (ms UTC).

        In the order of their numbers, a block at a time, also while the log is written; damaged ones are passed over.
        """
        number = self.first()
        while True:
            last = self.head()[0]
            if not number or number > last:
                return
            block = (number - 1) // BLOCK_BATCHES
            if number == BLOCK_BATCHES * block + 1:
                block = self._next_block(block, from_ms, to_ms)
                number = BLOCK_BATCHES * block + 1
            end = min(BLOCK_BATCHES * (block + 1), last)
            rows = self._rows(_BETWEEN, number, end, from_ms, to_ms, device, device)
            corrections = self.corrections()
            for row in rows:
                try:
                    yield corrections.apply(batch_from_row(self.path, row))
                except LogDamaged as error:
                    LOGGER.warning("%s It is passed over.", error)
            number = end + 1

    def _next_block(self, block: int, from_ms: int, to_ms: int) -> int:
        """The first block from `block` on that must be looked into: by its times, or as it has no row."""
        rows = self._rows(
            "SELECT block, last_taken_at_ms >= ? AND first_taken_at_ms < ? FROM blocks"  # noqa: S608 - our own words
            f" WHERE block >= ? AND checksum = {BLOCK_SUM} ORDER BY block",
            *(from_ms, to_ms, block),
        )
        for known, wanted in rows:
            if known != block or wanted:
                return block
            block += 1
        return block

    def last(self, count: int) -> list[Batch]:
        """Return the newest `count` batches, oldest first."""
        sql = "SELECT number, device, checksum, record FROM batches ORDER BY number DESC LIMIT ?"
        return self._batches(reversed(self._rows(sql, count)))

    def tags(self) -> list[TagDescription]:
        """Return every tag that the log ever knew, by number.

        Raises:
            LogMalformed: the table of tags is damaged.
        """
        with self._lock, self._errors():
            return read_tags(self.path, self._connection)

    def latest(self) -> LatestReadings:
        """Work out the newest reading of each tag."""
        latest = LatestReadings()
        try:
            through = latest.load(self._meta(LATEST_KEY))
        except (LogMalformed, ValueError, LmsError) as error:
            LOGGER.warning("%s: the newest readings are taken from the last batches only. %s", self.path, error)
            through = max(0, self.head()[0] - BLOCK_BATCHES)
        for batch in self.after(through):
            latest.take(batch)
            latest.keep()
        return latest

    def open_gaps(self) -> list[tuple[str, Gap]]:
        """Return the gaps that have begun and not ended, each with its device; damaged rows are passed over."""
        return self._gaps("ended_at_ms IS NULL")

    def gaps_told_by(self, number: int) -> list[tuple[str, Gap]]:
        """Return the gaps that batch `number` was the last to tell of, each with its device."""
        return self._gaps("batch = ?", number)

    def _gaps(self, which: str, *values: Any) -> list[tuple[str, Gap]]:
        gaps = []
        for row in self._rows(f"SELECT * FROM gaps WHERE {which} ORDER BY id", *values):  # noqa: S608 - our own words
            try:
                gaps.append(gap_from_row(self.path, row))
            except LogDamaged as error:
                LOGGER.warning("%s It is passed over.", error)
        return gaps

    def last_gap_id(self) -> int:
        """Return the highest id that a gap of sampling has; 0 if there is none."""
        found = self._rows("SELECT coalesce(max(id), 0) FROM gaps WHERE id < ?", DROP_GAP_IDS)[0][0]
        return max(int(found), int(self._meta("gap_id", "0")))

    def predecessors(self) -> list[Entry]:
        """Return the logs that were set aside before this one, the oldest first."""
        return entries_of(self.path, self._rows("SELECT * FROM predecessors ORDER BY set_aside_at_ms, path"))

    def has_origin(self, stream: UUID, number: int) -> bool:
        """Whether a batch of another stream has been logged again here."""
        rows = self._rows("SELECT checksum FROM origins WHERE stream = ? AND number = ?", str(stream), number)
        return any(checksum == origin_checksum(str(stream), number) for (checksum,) in rows)

    def is_stand_in(self, number: int) -> bool:
        """Whether a batch stands for one that could not be read."""
        return bool(self._rows("SELECT 1 FROM batches WHERE number = ? AND total = ?", number, STAND_IN_TOTAL))

    def raw(self, first: int, last: int) -> list[BatchRow]:
        """Return the whole rows of batches `first` to `last` whose checksums fit."""
        rows = self._rows("SELECT * FROM batches WHERE number BETWEEN ? AND ? ORDER BY number", first, last)
        return [row[:8] for row in rows if raw_fits(row)]

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """Return rows of a query, for checks that look at what no other method shows.

        Raises:
            LogMalformed: the file is damaged where it looked.
        """
        return self._rows(sql, *values)

    def check_small_tables(self) -> None:
        """Check the pages of all tables but that of the batches, and of their indexes.

        Raises:
            LogMalformed: one is damaged: nothing could be written there.
        """
        for (table,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'batches'"):
            for (word,) in self._rows(f"PRAGMA integrity_check({table})"):
                if word != "ok":
                    raise LogMalformed(self.path, f"SQLite finds its table {table} damaged: {word.splitlines()[-1]}")

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

    def _meta(self, key: str, default: str | None = None) -> str:
        """A value of `meta`.

        Raises:
            LogMalformed: it is not there, or not as it was written.
        """
        rows = self._rows("SELECT value, checksum FROM meta WHERE key = ?", key)
        if not rows and default is not None:
            return default
        if not rows or meta_checksum(key, rows[0][0]) != rows[0][1]:
            raise LogMalformed(self.path, f"its entry {key!r} is not as it was written")
        return str(rows[0][0])

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self._lock, self._errors():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except SQLITE_ERRORS as error:
            if is_malformed(error):
                raise LogMalformed(self.path, explain(error)[0]) from error
            raise LogUnavailable(self.path, *explain(error)) from error


def is_hidden(path: Path) -> bool:
    """Whether there is, or may be, a log that this account may not read."""
    try:
        return path.exists() and not os.access(path, os.R_OK)
    except PermissionError:  # its folder may not be looked into
        return True


def denied(path: Path) -> tuple[str, str]:
    """Why this account may not read a log, and what to do about it."""
    account, group = account_name(), "root"
    for place in (path, *path.parents):
        with suppress(OSError, KeyError):
            group = place.group()
            break
    remedy = f"`sudo usermod -aG {group} {account}`, then log in again"
    if group == "root":  # never advise that: it would give the account far more than a log
        remedy = "ask as the account that the agent runs as, with `sudo`"
    return f"{account} may not read it; it belongs to the group {group}", remedy


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
