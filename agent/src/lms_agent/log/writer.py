"""The one thread that writes the log: it gathers what waits, writes it as one transaction, and tells those who wait.

    append ─┐
    append ─┼─► queue ─► BEGIN … COMMIT (one fsync for all) ─► numbers handed out, callers go on
    append ─┘            when nothing waits: a bite of upkeep (limits of size and age, blocks)

Only this thread's connection writes and only it checkpoints: SQLite up to 3.51.2 can damage a WAL when several
connections do, and Debian 12 ships 3.40.1. WAL with synchronous=FULL lost no acknowledged row in 30 power cuts each.

One batch alone is one INSERT, and nothing else is written with it: each further page of a commit costs time and wears
the SD card. What may come later (the acknowledged number, the newest readings, the block that is complete) waits for
a transaction every few seconds or every few hundred batches.

Neighbours: `lms_agent.log.sqlite_log` hands over jobs; `lms_agent.log.records` turns batches into rows;
`lms_agent.log.limits.upkeep` says what a bite is.
"""

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from lms_protocol.reading import Batch, Reading

from lms_agent.log.connecting import connect, set_meta
from lms_agent.log.errors import LogClosed, LogError, LogMalformed, LogWriteFailed, explain, is_malformed
from lms_agent.log.jobs import Entry, Failed, Job, Written, only_entry
from lms_agent.log.limits.retention import Limits, RetentionState
from lms_agent.log.limits.upkeep import Bite, Upkeep
from lms_agent.log.records import LATEST_KEY, LatestReadings, batch_row, gap_row
from lms_agent.log.schema import BLOCK_BATCHES, SUM_UP_BLOCKS
from lms_agent.log.times import clocks
from lms_agent.log.times.clocks import ClockChange
from lms_agent.log.times.corrections import SHIFT_SQL, Corrections
from lms_agent.log.times.stamps import Stamps
from lms_agent.log.times.writing_clock import WritingClock

LOGGER = logging.getLogger(__name__)

MAX_GROUP = 256
"""Most appends in one transaction: bounds how long the first of them waits."""
LAZY_AFTER_S = 2.0
"""How long an acknowledgement may wait for a transaction."""
SNAPSHOT_EVERY = BLOCK_BATCHES
"""Batches after which the newest reading of every tag is written down, so that opening reads at most as many back."""
MAX_RESCUES = 3
"""How often room is made for an append before it is refused."""

CLOCK_CHANGE_KEY = "clock_change"
"""In `meta`: a token of the transaction that changed the clock last."""
_INSERT_BATCH = "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_GAP = "INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_BLOCK = f"""
INSERT OR REPLACE INTO blocks (block, first_taken_at_ms, last_taken_at_ms, readings)
SELECT (number - 1) / 500, min(first_taken_at_ms + {SHIFT_SQL}), max(last_taken_at_ms + {SHIFT_SQL}), sum(readings)
FROM batches WHERE number > ? AND number <= ? GROUP BY 1
"""  # noqa: S608 - our own words


class _Unsure(NamedTuple):
    """A change of the clock whose COMMIT failed: the disk may hold it all the same.

    It cannot be taken back as batches can, and a second time it would move the same readings again.
    """

    change: ClockChange
    token: str
    clock: WritingClock
    correct: Callable[[Reading], Reading] | None


class Writer:
    """The writing thread.

    Args:
        path: the log file, migrated.
        head: highest number in the file.
        total: readings in the file.
        latest: newest reading of each tag; kept up to date here.
        on_written: called in this thread after each commit, before the jobs are resolved by whoever it tells.
        on_failed: called in this thread when jobs could not be written.
        limits: how large and how old the log may become.

    Attributes:
        retention: what was given up for the limits.
        monotonic_s: tells durations.
    """

    monotonic_s: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(
        self,
        path: Path,
        *,
        head: int,
        total: int,
        latest: LatestReadings,
        on_written: Callable[[Written], None],
        on_failed: Callable[[Failed], None],
        limits: Limits,
    ) -> None:
        self._path = path
        self._head = head
        self._total = total
        self._latest = latest
        self._on_written = on_written
        self._on_failed = on_failed
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lazy: dict[str, str] = {}
        self._lazy_since_s: float | None = None
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._snapshot_at = latest.through
        self._doubtful = False  # the last thing SQLite said is that the file is damaged; open anew, then believe it
        self._rescues = 0  # how often room was made for the jobs at hand
        self._clock = WritingClock()
        self._unsure: _Unsure | None = None
        self._done_already: ClockChange | None = None
        self._told = ""
        self._closing = threading.Lock()
        self._closed = False
        self.retention = RetentionState()
        self._upkeep = Upkeep(limits, self.retention)
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
        """Set a meta value within a few seconds; it may be lost with the power."""
        self._lazy[key] = value

    def acknowledged(self, number: int) -> None:
        """Everything up to `number` is committed in the cloud: it may go when room or age ask for it."""
        self._upkeep.acked = number

    @property
    def stamps(self) -> Stamps:
        """How times in memory become those of the log."""
        return self._clock.stamps

    @property
    def compacting(self) -> bool:
        """Whether room that nothing uses is being given back; set it to have that done."""
        return self._upkeep.compacting

    @compacting.setter
    def compacting(self, wanted: bool) -> None:
        self._upkeep.compacting = wanted

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

    def _rest(self) -> None:
        """A disk that refuses is not asked without end."""
        time.sleep(LAZY_AFTER_S)

    def _run(self) -> None:
        going = True
        busy = False
        while going:
            jobs: list[Job] = []
            try:
                job = self._queue.get(timeout=0.0 if busy else LAZY_AFTER_S)
                going = self._gather(job, jobs)
            except queue.Empty:
                busy = self._look_after()
                continue
            if not self._write(jobs) and not jobs:
                self._rest()
            busy = busy or self._upkeep.is_due(self._head)
        self._finish()

    def _gather(self, job: Job | None, jobs: list[Job]) -> bool:
        """Take what else waits. A job that wants to be alone is written at once, after those before it.

        So is a change of the clock: what it corrects must be told from what comes after it.
        """
        while job is not None:
            if job.alone or job.clock is not None:
                self._write(jobs)
                jobs.clear()
                self._write([job])
            else:
                jobs.append(job)
            if len(jobs) >= MAX_GROUP or self._queue.empty():
                return True
            job = self._queue.get()
        return False

    def _look_after(self) -> bool:
        """Nothing waits: write what is lazy, and take one bite of upkeep; whether there is more of it."""
        if self._lazy and not self._write([]):
            self._rest()
            return False
        return self._bite()

    def _bite(self, *, at_once: bool = False) -> bool:
        """One bite of upkeep; True if it brought something and there may be more."""
        try:
            bite = self._upkeep.next(self._open(), self._head, at_once=at_once)
            if bite is None:
                return False
            began_s = self.monotonic_s()
            written, head, total, snapshot_at = self._transaction([], {}, bite)
        except sqlite3.Error as error:
            self._note(error)
            self._tell(LogWriteFailed(self._path, *explain(error)))
            self._reopen_later()
            return False
        self._upkeep.took(bite, self.monotonic_s() - began_s)
        self._committed(written, head, total, snapshot_at)
        return True

    def _write(self, jobs: list[Job]) -> bool:
        """Write jobs and what is lazy; False if that failed, which those who wait are then told."""
        lazy = self._due_lazy(everything=not jobs)
        if not jobs and not lazy:
            return True
        try:
            written, head, total, snapshot_at = self._transaction(jobs, lazy)
        except sqlite3.Error as error:
            return self._refused(jobs, error)
        except Exception as error:
            self._undo()
            if len(jobs) > 1:  # find the one: the others must not suffer for it
                for job in jobs:
                    self._write([job])
            else:
                self._on_failed(Failed(jobs, error))
            return False
        self._doubtful = False
        self._rescues = 0
        for key, value in lazy.items():
            if self._lazy.get(key) == value:
                del self._lazy[key]
        self._committed(written, head, total, snapshot_at)
        return True

    def _committed(self, written: list[tuple[Job, list[Batch]]], head: int, total: int, snapshot_at: int) -> None:
        self._head, self._total, self._snapshot_at = head, total, snapshot_at
        self._told = ""
        self._on_written(Written(written))

    def _refused(self, jobs: list[Job], error: sqlite3.Error) -> bool:
        """The disk took nothing. A bite of upkeep may make room; what looks like damage is asked a second time."""
        full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
        again = is_malformed(error) and not self._doubtful
        self._note(error)
        self._reopen_later()
        if jobs and not any(job.alone for job in jobs):
            self._rescues += full
            if again or (full and self._rescues <= MAX_RESCUES and self._bite(at_once=True)):
                return self._write(jobs)
        self._rescues = 0
        if self._doubtful:
            problem: LogError = LogMalformed(self._path, explain(error)[0])
        elif full and self.retention.full:
            problem = LogWriteFailed(self._path, *self._upkeep.complaint())
        else:
            problem = LogWriteFailed(self._path, *explain(error))
        if not jobs:
            self._tell(problem)
        self._on_failed(Failed(list(jobs), problem))
        return False

    def _tell(self, problem: LogError) -> None:
        """Say what nobody who waits is told, once."""
        if str(problem) != self._told:
            LOGGER.warning("%s", problem)
        self._told = str(problem)

    def _note(self, error: sqlite3.Error) -> None:
        self._doubtful = is_malformed(error)

    def _due_lazy(self, *, everything: bool) -> dict[str, str]:
        """What was put off long enough; together, so that few transactions write more than their batch."""
        if not self._lazy:
            return {}
        now_s = self.monotonic_s()
        if self._lazy_since_s is None:
            self._lazy_since_s = now_s
        if not everything and now_s - self._lazy_since_s < LAZY_AFTER_S:
            return {}
        self._lazy_since_s = None
        return dict(self._lazy)

    def _transaction(
        self, jobs: list[Job], lazy: dict[str, str], bite: Bite | None = None
    ) -> tuple[list[tuple[Job, list[Batch]]], int, int, int]:
        connection = self._open()
        head, total, snapshot_at = self._head, self._total, self._snapshot_at
        self._latest.forget()
        if self._done_already is not None and len(jobs) == 1 and jobs[0].clock == self._done_already:
            self._done_already = None
            return [(jobs[0], [])], head, total, snapshot_at
        clock = self._clock.copy()
        if (
            len(jobs) == 1
            and not lazy
            and not clock.record
            and head + 1 - snapshot_at < SNAPSHOT_EVERY
            and (only := only_entry(jobs[0]))
        ):
            batch = Batch(head + 1, only.device, clock.stamps.readings(only.readings))
            row = batch_row(batch, total + len(only.readings))
            self._latest.take(batch, row)
            self._cursor.execute(_INSERT_BATCH, row)  # type: ignore[union-attr]  # `_open` made it
            self._latest.keep()
            return [(jobs[0], [batch])], head + 1, row[5], snapshot_at
        lent = any(job.clock is not None for job in jobs)
        if lent:
            self._upkeep.lend_room(connection)
        connection.execute("BEGIN IMMEDIATE")
        written: list[tuple[Job, list[Batch]]] = []
        if bite is not None:
            told = [Entry(device, (), (gap,)) for device, gap in bite.act(connection)]
            jobs = [*jobs, Job(told, as_is=True)]
            lazy = lazy | ({"acked": str(self._upkeep.acked)} if self._upkeep.acked else {})
        for job in jobs:
            batches: list[Batch] = []
            if job.alone:
                clocks.interrupt(connection, head)
            if job.clock is not None:
                clock.change(connection, head, job.clock)
            for entry in job.entries:
                head += 1
                total += len(entry.readings)
                batch = clock.timed(connection, head, entry, as_is=job.as_is or job.alone)
                self._insert(connection, batch, total)
                if not job.alone:
                    batches.append(batch)
                elif not batches:
                    batches = [batch, batch]
                else:
                    batches[1] = batch  # an import holds millions: its first and last say enough
            first = batches[0].number if batches else 0
            for sql, values in job.statements:
                connection.execute(sql, [first if value == "{number}" else value for value in values])
            set_meta(connection, job.meta)
            written.append((job, batches))
        correct = Corrections(clock.corrections).reading if clock.corrections else None
        # What is removed here is read no more: a tag's newest reading may be in it.
        outdated = bite is not None and bite.gone_through > snapshot_at
        if head - snapshot_at >= SNAPSHOT_EVERY or correct is not None or outdated:
            lazy = lazy | {LATEST_KEY: self._latest.to_text(head, correct)}
            snapshot_at = head
        if head // BLOCK_BATCHES > self._head // BLOCK_BATCHES:
            whole = BLOCK_BATCHES * (head // BLOCK_BATCHES)
            connection.execute(_INSERT_BLOCK, (BLOCK_BATCHES * (self._head // BLOCK_BATCHES), whole))
            connection.execute(SUM_UP_BLOCKS)
        set_meta(connection, lazy)
        unsure = None
        if len(jobs) == 1 and (change := jobs[0].clock) is not None:
            unsure = _Unsure(change, str(uuid4()), clock, correct)
            set_meta(connection, {CLOCK_CHANGE_KEY: unsure.token})
        self._unsure = unsure
        connection.execute("COMMIT")
        self._unsure = None
        if lent:
            self._upkeep.limit(connection)
        self._latest.keep()
        if correct is not None:
            self._latest.correct(correct)
        self._clock = clock
        return written, head, total, snapshot_at

    def _insert(self, connection: sqlite3.Connection, batch: Batch, total: int) -> None:
        row = batch_row(batch, total)
        connection.execute(_INSERT_BATCH, row)
        for gap in batch.gaps:
            connection.execute(_INSERT_GAP, gap_row(batch, gap))
        self._latest.take(batch, row)

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
                self._settle(connection)
                self._upkeep.opened(connection)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
            self._cursor = connection.cursor()
        return self._connection

    def _settle(self, connection: sqlite3.Connection) -> None:
        """Whether a change of the clock whose COMMIT failed is on the disk: then it holds, and is not made again."""
        unsure = self._unsure
        if unsure is None:
            return
        found = connection.execute("SELECT value FROM meta WHERE key = ?", (CLOCK_CHANGE_KEY,)).fetchone()
        self._unsure = None
        if found is None or found[0] != unsure.token:
            return
        self._clock = unsure.clock
        if unsure.correct is not None:
            self._latest.correct(unsure.correct)
        self._done_already = unsure.change

    def _undo(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _reopen_later(self) -> None:
        """Close after an error: a failing device can leave SQLite's own picture of the file wrong."""
        connection, self._connection, self._cursor = self._connection, None, None
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
