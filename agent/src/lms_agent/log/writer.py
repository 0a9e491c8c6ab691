"""The one thread that writes the log: it gathers what waits, writes it as one transaction, and tells those who wait.

    append ─┐
    append ─┼─► queue ─► BEGIN … COMMIT (one fsync for all) ─► numbers handed out, callers go on
    append ─┘

Only this thread's connection writes and only it checkpoints: SQLite up to 3.51.2 can damage a WAL when several
connections do, and Debian 12 ships 3.40.1. WAL with synchronous=FULL lost no acknowledged row in 30 power cuts each.

Neighbours: `lms_agent.log.sqlite_log` hands over jobs; `lms_agent.log.records` turns batches into rows.
"""

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lms_protocol.reading import Batch, Gap, Reading

from lms_agent.log.errors import LogClosed, LogError, LogWriteFailed, explain
from lms_agent.log.records import LATEST_KEY, LatestReadings, batch_row, gap_row

LOGGER = logging.getLogger(__name__)

MAX_GROUP = 256
"""Most appends in one transaction: bounds how long the first of them waits."""
LAZY_AFTER_S = 2.0
"""How long an acknowledgement may wait for the next append's transaction before it gets one of its own."""
SNAPSHOT_EVERY = 500
"""Batches after which the newest reading of every tag is written down, so that opening reads at most as many back."""
JOURNAL_LIMIT_BYTES = 16 * 1024 * 1024


class Entry(NamedTuple):
    """What is to become a batch, before it has a number."""

    device: str
    readings: tuple[Reading, ...]
    gaps: tuple[Gap, ...] = ()


@dataclass
class Job:
    """One caller's wish: some entries and some meta values, in one transaction, or nothing of it.

    Attributes:
        entries: read once, in the writer's thread; an error they raise undoes the job.
        meta: rows of `meta` to set.
        alone: whether the job may not share its transaction, as it may fail half-way.
        done: resolved with the batches once they are on the disk.
    """

    entries: Iterable[Entry] = ()
    meta: dict[str, str] = field(default_factory=dict)
    alone: bool = False
    done: "Future[list[Batch]]" = field(default_factory=Future)


class Written(NamedTuple):
    """What one transaction brought, in the order of the jobs."""

    jobs: list[tuple[Job, list[Batch]]]


class Writer:
    """The writing thread.

    Args:
        path: the log file, migrated.
        head: highest number in the file.
        total: readings in the file.
        latest: newest reading of each tag; kept up to date here.
        on_written: called in this thread after each commit, before the jobs are resolved by whoever it tells.
    """

    def __init__(
        self, path: Path, *, head: int, total: int, latest: LatestReadings, on_written: Callable[[Written], None]
    ) -> None:
        self._path = path
        self._head = head
        self._total = total
        self._latest = latest
        self._on_written = on_written
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lazy: dict[str, str] = {}
        self._connection: sqlite3.Connection | None = None
        self._snapshot_at = head
        self._closing = threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._start()

    def submit(self, job: Job) -> None:
        """Hand over a job; its `done` is resolved when it is on the disk.

        Raises:
            LogClosed: the writer was closed.
        """
        with self._closing:
            if self._closed:
                raise LogClosed(self._path)
            self._queue.put(job)

    def write_lazily(self, key: str, value: str) -> None:
        """Set a meta value with the next transaction; it may be lost with the power."""
        self._lazy[key] = value

    def close(self) -> None:
        """Write what was handed over, fold the WAL into the file, end the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._end()

    def _start(self) -> None:
        """Begin to serve the queue."""
        self._thread = threading.Thread(target=self._run, name=f"log {self._path.name}", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        """Wait until the queue is served to its end."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            jobs: list[Job] = []
            try:
                job = self._queue.get(timeout=LAZY_AFTER_S)
                going = self._gather(job, jobs)
            except queue.Empty:
                pass
            if not self._write(jobs) and not jobs:
                time.sleep(LAZY_AFTER_S)  # a disk that refuses is not asked without end
        self._finish()

    def _gather(self, job: Job | None, jobs: list[Job]) -> bool:
        """Take what else waits. A job that wants to be alone is written at once, after those before it."""
        while job is not None:
            if job.alone:
                self._write(jobs)
                jobs.clear()
                self._write([job])
            else:
                jobs.append(job)
            if len(jobs) >= MAX_GROUP:
                return True
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return True
        return False

    def _write(self, jobs: list[Job]) -> bool:
        """Write jobs and what is lazy; False if that failed, which those who wait are then told."""
        lazy = dict(self._lazy)
        if not jobs and not lazy:
            return True
        try:
            written, head, total, snapshot_at = self._transaction(jobs, lazy)
        except sqlite3.Error as error:
            reason, remedy = explain(error)
            if not jobs:
                LOGGER.warning("%s", LogWriteFailed(self._path, reason, remedy))
            self._reopen_later()
            _fail(jobs, LogWriteFailed(self._path, reason, remedy))
            return False
        except Exception as error:
            self._undo()
            if len(jobs) > 1:  # find the one: the others must not suffer for it
                for job in jobs:
                    self._write([job])
            else:
                _fail(jobs, error)
            return False
        self._head, self._total, self._snapshot_at = head, total, snapshot_at
        for key, value in lazy.items():
            if self._lazy.get(key) == value:
                del self._lazy[key]
        self._on_written(Written(written))
        return True

    def _transaction(
        self, jobs: list[Job], lazy: dict[str, str]
    ) -> tuple[list[tuple[Job, list[Batch]]], int, int, int]:
        connection = self._open()
        head, total, snapshot_at = self._head, self._total, self._snapshot_at
        self._latest.forget()
        written: list[tuple[Job, list[Batch]]] = []
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            batches: list[Batch] = []
            for entry in job.entries:
                head += 1
                total += len(entry.readings)
                batch = Batch(head, entry.device, entry.readings, entry.gaps)
                connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)", batch_row(batch, total))
                for gap in entry.gaps:
                    connection.execute("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?)", gap_row(batch, gap))
                self._latest.take(batch)
                if not job.alone:
                    batches.append(batch)
                elif not batches:
                    batches = [batch, batch]
                else:
                    batches[1] = batch  # an import holds millions: its first and last say enough
            self._set_meta(connection, job.meta)
            written.append((job, batches))
        if head - snapshot_at >= SNAPSHOT_EVERY:
            lazy = lazy | {LATEST_KEY: self._latest.to_text(head)}
            snapshot_at = head
        self._set_meta(connection, lazy)
        connection.execute("COMMIT")
        self._latest.keep()
        return written, head, total, snapshot_at

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = connect(self._path)
            # After a COMMIT that failed, the disk may hold what was reported as not written. It is about to be handed
            # over again, so it must go: numbers above our head were never given to anybody.
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("DELETE FROM batches WHERE number > ?", (self._head,))
                connection.execute("DELETE FROM gaps WHERE batch > ?", (self._head,))
                connection.execute("COMMIT")
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _undo(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _reopen_later(self) -> None:
        """Close after an error: a failing device can leave SQLite's own picture of the file wrong."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _finish(self) -> None:
        try:
            if self._snapshot_at != self._head:
                self._lazy[LATEST_KEY] = self._latest.to_text(self._head)
            self._write([])
            connection = self._open()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            LOGGER.warning("%s", LogWriteFailed(self._path, *explain(error)))
        self._reopen_later()

    @staticmethod
    def _set_meta(connection: sqlite3.Connection, values: dict[str, str]) -> None:
        for key, value in values.items():
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def connect(path: Path) -> sqlite3.Connection:
    """Open the writing connection."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
    try:
        configure(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def configure(connection: sqlite3.Connection) -> None:
    """WAL, and every COMMIT on the disk before it returns."""
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}").fetchall()
    connection.execute("PRAGMA cache_size = -1024")


def _fail(jobs: list[Job], error: Exception | LogError) -> None:
    for job in jobs:
        with suppress(InvalidStateError):  # whoever waited has been cancelled; this thread must live on
            job.done.set_exception(error)
