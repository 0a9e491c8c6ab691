"""The log: the agent's SQLite file of batches, numbered 1, 2, 3 … without holes.

What `append` returned is on the disk: kill -9 and power cuts do not lose it. Acknowledged batches stay, so that the
bench has local history.

Neighbours: `lms_agent.sampling` (through `lms_agent.log.keeping`) appends; `lms_agent.sending` reads and acknowledges;
`lms_agent.log.writer` is the thread that writes; `lms_agent.log.reader` is how other processes look at the file.
"""

import asyncio
import logging
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from lms_protocol.reading import Batch, Gap, Reading, TagDescription

from lms_agent.log import schema
from lms_agent.log.clocks import ClockChange
from lms_agent.log.errors import LogUnavailable, explain
from lms_agent.log.lock import WriterLock
from lms_agent.log.reader import LogReader
from lms_agent.log.retention import Limits, RetentionState
from lms_agent.log.tags import write_tags
from lms_agent.log.writer import Entry, Failed, Job, Writer, Written, configure, connect
from lms_agent.timekeeping.discipline import Memory, Past

LOGGER = logging.getLogger(__name__)

RECENT = 256
"""Batches kept in memory after they were written, so that sending what is live reads nothing from the disk."""
UNLIMITED = Limits()
FILE_MODE = 0o640
"""The agent's user writes; its group, the technicians at the bench, may look with `lms-agent log` and `watch`."""


class SqliteLog:
    """One log file, open for writing. Made by `open`; use it as a context manager or call `close`."""

    def __init__(
        self, path: Path, lock: WriterLock, reader: LogReader, writer: type[Writer] = Writer, limits: Limits = UNLIMITED
    ) -> None:
        self.path = path
        self.stream: UUID = reader.stream
        self._lock = lock
        self._reader = reader
        self._head, total = reader.head()
        self._acked = min(reader.acked, self._head)
        self._bd_seq = reader.bd_seq
        self._gap_id = reader.last_gap_id()
        self._recent: OrderedDict[int, Batch] = OrderedDict()
        self._listeners: list[Callable[[Batch], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._latest = reader.latest()
        self._writer = writer(
            path,
            head=self._head,
            total=total,
            latest=self._latest,
            on_written=self._on_written,
            on_failed=self._on_failed,
            limits=limits,
        )
        self._writer.acknowledged(self._acked)

    @classmethod
    def open(cls, path: Path, writer: type[Writer] = Writer, limits: Limits = UNLIMITED) -> Self:
        """Open a log for writing; a file that is not there is made, with a new stream.

        Args:
            writer: writes it; a subclass may serve the queue otherwise than by a thread.
            limits: how large and how old it may become.

        Raises:
            LogInUse: another process writes it.
            LogUnavailable: it cannot be opened, is no log, or was written by a newer program.
        """
        lock = WriterLock.take(path)
        try:
            _prepare(path)
            reader = LogReader.open(path)
            try:
                return cls(path, lock, reader, writer, limits)
            except BaseException:
                reader.close()
                raise
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Write what was handed over and give the file back. Closing twice is allowed."""
        self._writer.close()
        self._reader.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def head(self) -> int:
        """The highest batch number; 0 for an empty log."""
        return self._head

    @property
    def acked(self) -> int:
        """The highest batch number up to which everything is committed in the cloud."""
        return self._acked

    @property
    def bd_seq(self) -> int | None:
        """The `bdSeq` of the last connection; None before the first."""
        return self._bd_seq

    @property
    def retention(self) -> RetentionState:
        """What was given up for the limits of size and age."""
        return self._writer.retention

    @property
    def first(self) -> int:
        """The lowest batch number that is there; 0 for an empty log. Reads the disk."""
        return self._reader.first()

    def latest(self) -> dict[int, Reading]:
        """Return the newest reading of each tag that has one."""
        return self._latest.readings

    def listen(self, listener: Callable[[Batch], None]) -> None:
        """Have `listener` called, in the event loop, with each batch once it is on the disk, in order of numbers."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[Batch], None]) -> None:
        """Call `listener` no more."""
        self._listeners = [other for other in self._listeners if other != listener]

    def register_tags(self, descriptions: Iterable[TagDescription]) -> list[TagDescription]:
        """Give each tag its number in this log, for ever; what else is said of a known tag is brought up to date.

        Args:
            descriptions: their `number` is ignored.

        Raises:
            LogUnavailable: the disk refused.
        """
        wanted = list(descriptions)
        try:
            connection = connect(self.path)
            try:
                return write_tags(connection, wanted)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise LogUnavailable(self.path, *explain(error)) from error

    async def append(self, device: str, readings: Sequence[Reading], gaps: Sequence[Gap] = ()) -> Batch:
        """Write one batch; when this returns it is on the disk and has its number.

        Appends that run at the same time share one transaction.

        Raises:
            LogWriteFailed: the disk refused; nothing is written, the same may be appended again.
            LogClosed: the log was closed.
        """
        (batch,) = await self._submit((Entry(device, tuple(readings), tuple(gaps)),))
        return batch

    async def _submit(self, entries: Iterable[Entry] = (), **more: Any) -> list[Batch]:
        """Hand a job to the writer and wait until it is on the disk."""
        self._loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Batch]] = self._loop.create_future()
        self._writer.submit(Job(entries, done=done, **more))
        return await done

    def append_all(self, entries: Iterable[Entry]) -> tuple[int, int] | None:
        """Write many batches in one transaction: all of them or, if `entries` raises, none. Blocks.

        Returns:
            The first and last number; None if there were no entries.

        Raises:
            LogWriteFailed: the disk refused.
        """
        done: Future[list[Batch]] = Future()
        self._writer.submit(Job(entries, alone=True, done=done))
        batches = done.result()
        return (batches[0].number, batches[-1].number) if batches else None

    async def change_clock(self, change: ClockChange) -> None:
        """Write down how the clock is from the next batch on, and what is corrected of those before.

        Raises:
            LogWriteFailed: the disk refused; nothing has changed.
            LogClosed: the log was closed.
        """
        await self._submit(clock=change)

    def remember(self, boot: UUID) -> tuple[Memory | None, Past]:
        """Return what the log knows of the clock in this boot, and of the time before it. Reads the disk."""
        return self._reader.remember(boot)

    def first_open(self) -> int | None:
        """Return the lowest number whose time may still be corrected; None if there is none. Reads the disk."""
        return self._reader.first_open()

    async def set_bd_seq(self, bd_seq: int) -> None:
        """Remember the `bdSeq` of a connection that is about to be made.

        Raises:
            LogWriteFailed: the disk refused.
        """
        self._bd_seq = bd_seq
        await self._submit(meta={"bd_seq": str(bd_seq)})

    def acknowledge(self, number: int) -> None:
        """Everything up to `number` is committed in the cloud. Lower than before is no news.

        It is written a few seconds later: if the power takes it, the cloud says it again.
        """
        if number > self._acked:
            self._acked = min(number, self._head)
            self._writer.write_lazily("acked", str(self._acked))
            self._writer.acknowledged(self._acked)

    def get(self, number: int) -> Batch:
        """Return one batch, from memory if it is recent. May read the disk.

        Raises:
            LogDamaged: its bytes are not those that were written.
            KeyError: there is no such batch.
        """
        recent = self._recent.get(number)
        return recent if recent is not None else self._reader.get(number)

    def recent(self, number: int) -> Batch | None:
        """Return a batch if it is still in memory."""
        return self._recent.get(number)

    def read(self, first: int, limit: int) -> list[Batch]:
        """Return up to `limit` batches from number `first` on. Reads the disk.

        Raises:
            LogDamaged: the bytes of one are not those that were written.
        """
        return self._reader.read(first, limit)

    def tags(self) -> list[TagDescription]:
        """Return every tag that the log ever knew, by number. Reads the disk."""
        return self._reader.tags()

    def extent(self, number: int) -> tuple[str, int, int]:
        """Return a batch's device, and when its first and last reading were taken (ms UTC), without its record."""
        return self._reader.extent(number)

    def open_gaps(self) -> list[tuple[str, Gap]]:
        """Return the gaps that have begun and not ended, each with its device."""
        return self._reader.open_gaps()

    def gaps_told_by(self, number: int) -> list[tuple[str, Gap]]:
        """Return the gaps that batch `number` was the last to tell of, each with its device. Reads the disk."""
        return self._reader.gaps_told_by(number)

    def next_gap_id(self) -> int:
        """Return a gap id that no gap of this stream has."""
        self._gap_id += 1
        return self._gap_id

    def _on_written(self, written: Written) -> None:
        """In the writer's thread: let the event loop, where there is one, take notice before the callers do."""
        self._in_loop(self._take_notice, written)

    def _on_failed(self, failed: Failed) -> None:
        self._in_loop(self._fail, failed)

    def _in_loop(self, act: Callable[[Any], None], what: Any) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(act, what)
            except RuntimeError:  # the loop is closed: nobody waits there any more
                self._loop = None
            else:
                return
        act(what)

    def _take_notice(self, written: Written) -> None:
        for job, batches in written.jobs:
            if job.clock is not None:
                self._recent.clear()  # their times may have been corrected
            for batch in batches:
                self._head = max(self._head, batch.number)
                if not job.alone:
                    self._remember(batch)
            if not job.done.done():  # else whoever waited has been cancelled
                with suppress(InvalidStateError, RuntimeError):
                    job.done.set_result(batches)

    @staticmethod
    def _fail(failed: Failed) -> None:
        for job in failed.jobs:
            if not job.done.done():
                with suppress(InvalidStateError, RuntimeError):
                    job.done.set_exception(failed.error)

    def _remember(self, batch: Batch) -> None:
        self._recent[batch.number] = batch
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        for listener in self._listeners:
            try:
                listener(batch)
            except Exception:  # a listener's fault must not keep those who appended waiting for ever
                LOGGER.exception("A listener failed on batch %d", batch.number)


def _prepare(path: Path) -> None:
    """Make the file if it is not there, and bring its tables up to date."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    except OSError as error:
        remedy = "check that its folder exists and that this user may write there"
        raise LogUnavailable(path, str(error.strerror), remedy) from error
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            schema.check_ours(path, connection)  # before anything is changed: `configure` would
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that room can be given back bit by bit
            configure(connection)
            if not schema.is_current(connection):
                schema.migrate(connection)
            schema.check_known(path, connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise LogUnavailable(path, *explain(error)) from error
