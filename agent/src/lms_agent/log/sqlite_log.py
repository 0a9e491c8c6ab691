"""The log: the agent's SQLite file of batches, numbered 1, 2, 3 … without holes.

What `append` returned is on the disk: kill -9 and power cuts do not lose it. Acknowledged batches stay, so that the
bench has local history.

Neighbours: `lms_agent.sampling` (through `lms_agent.log.keeping`) appends; `lms_agent.sending` reads and acknowledges;
`lms_agent.log.writer` is the thread that writes; `lms_agent.log.reader` is how other processes look at the file.
"""

import asyncio
import logging
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import UUID, uuid4

from lms_protocol.reading import Batch, Gap, Reading, TagDescription

from lms_agent.log.connecting import connect
from lms_agent.log.errors import LogDamaged, LogMalformed, LogUnavailable, LogWriteFailed, explain, explain_os
from lms_agent.log.files import FileWatch
from lms_agent.log.jobs import Entry as NewBatch
from lms_agent.log.jobs import Failed, Job, Written
from lms_agent.log.limits.retention import Limits, RetentionState
from lms_agent.log.lock import WriterLock
from lms_agent.log.opening import open_or_renew
from lms_agent.log.reader import LogReader
from lms_agent.log.records import RawBatch
from lms_agent.log.renewal.carrying import carried
from lms_agent.log.renewal.gathering import Remains
from lms_agent.log.renewal.predecessors import (
    INSERT_ORIGIN,
    INSERT_PREDECESSOR,
    Entry,
    Kind,
    cells_of,
    origin_row,
    predecessor_row,
    unlisted,
)
from lms_agent.log.renewal.renewing import Intention, aside_name, finish, intention_path, rows_of, write_intention
from lms_agent.log.tags import read_tags, write_tags
from lms_agent.log.times.clocks import ClockChange
from lms_agent.log.writer import Writer
from lms_agent.timekeeping.discipline import Memory, Past

LOGGER = logging.getLogger(__name__)

RECENT = 256
"""Batches kept in memory after they were written, so that sending what is live reads nothing from the disk."""
UNLIMITED = Limits()


class Trouble(NamedTuple):
    """Why a new log must be begun: in a word, and in a sentence."""

    kind: Kind
    reason: str


class SqliteLog:
    """The log, open for writing. Made by `open`; use it as a context manager or call `close`.

    The file under it may be exchanged while it runs (see `renew`): then stream and numbers are new ones.
    """

    def __init__(
        self, path: Path, lock: WriterLock, reader: LogReader, writer: type[Writer] = Writer, limits: Limits = UNLIMITED
    ) -> None:
        self.path = path
        self.trouble: Trouble | None = None
        self.predecessors: dict[str, Entry] = {}
        self._lock = lock
        self._make_writer = writer
        self._limits = limits
        self._listeners: list[Callable[[Batch], None]] = []
        self._late_listeners: list[Callable[[Batch], None]] = []
        self._exchanging = threading.Lock()  # the file is exchanged in a thread, while the event loop takes notice
        self._on_renewed: list[Callable[[], None]] = []
        self._on_trouble: Callable[[], None] = _nothing
        self._loop: asyncio.AbstractEventLoop | None = None
        self._renewing = False
        self._aside = ""  # name of the file that was set aside last
        self._tags: dict[int, TagDescription] = {}
        self._adopt(reader)

    @classmethod
    def open(cls, path: Path, writer: type[Writer] = Writer, limits: Limits = UNLIMITED) -> Self:
        """Open a log for writing; a file that is not there is made, with a new stream.

        A damaged log, or one that is older than what the agent said of it last, is set aside; a new one takes its
        place.

        Args:
            writer: writes it; a subclass may serve the queue otherwise than by a thread.
            limits: how large and how old it may become.

        Raises:
            LogInUse: another process writes it.
            LogUnavailable: it cannot be opened, is no log, or was written by a newer program.
        """
        lock = WriterLock.take(path)
        try:
            reader = open_or_renew(path)
            try:
                return cls(path, lock, reader, writer, limits)
            except BaseException:
                reader.close()
                raise
        except BaseException:
            lock.release()
            raise

    def _adopt(self, reader: LogReader) -> None:
        """Take a file into use."""
        head, total = reader.head()
        acked = min(reader.acked, head)
        with self._exchanging:
            self._reader = reader
            self.stream: UUID = reader.stream
            self._head, self._acked = head, acked
            self._recent: OrderedDict[int, Batch] = OrderedDict()
        self._bd_seq = reader.bd_seq
        self._gap_id = reader.last_gap_id()
        self._latest = reader.latest()
        self._tags |= {tag.number: tag for tag in reader.tags()}
        self.predecessors = {entry.path: entry for entry in reader.predecessors()}
        self.predecessors |= {entry.path: entry for entry in unlisted(self.path, self.predecessors)}
        self.files = FileWatch(self.path)
        self._writer = self._make_writer(
            self.path,
            head=self._head,
            total=total,
            latest=self._latest,
            on_written=partial(self._on_written, self._recent),
            on_failed=self._on_failed,
            limits=self._limits,
        )
        self._writer.acknowledged(self._acked)
        self.retention.dropped_batches, self.retention.dropped_readings = reader.dropped()

    def close(self) -> None:
        """Write what was handed over and give the file back. Closing twice is allowed."""
        self._writer.close()
        self._reader.close()
        self._lock.release()

    def doubt(self, kind: Kind, reason: str) -> None:
        """This log cannot be gone on with; whoever looks after it begins another (see `lms_agent.log.care`)."""
        if self.trouble is None:
            self.trouble = Trouble(kind, reason)
            self._on_trouble()

    def on_trouble(self, listener: Callable[[], None]) -> None:
        """Have `listener` called, in any thread, when a new log must be begun."""
        self._on_trouble = listener

    def on_renewed(self, listener: Callable[[], None]) -> None:
        """Have `listener` called, in the event loop, when a new log was begun."""
        self._on_renewed.append(listener)

    def off_renewed(self, listener: Callable[[], None]) -> None:
        """Call `listener` no more."""
        self._on_renewed = [other for other in self._on_renewed if other != listener]

    def renew(self, trouble: Trouble, now_ms: int) -> Remains:
        """Set the file aside and go on with a new one, under a new stream; tags keep their numbers. Blocks.

        What was handed over before and not written is refused with `LogWriteFailed`, and so is what comes meanwhile.

        Returns:
            What is left of the old one in memory.

        Raises:
            LogUnavailable: the disk refuses. May be called again.
        """
        self._renewing = True
        self._writer.close()
        reader, recent, tags = self._reader, list(self._recent.values()), list(self._tags.values())
        try:
            if not intention_path(self.path).exists():
                write_intention(self.path, self._intention(trouble, now_ms))
            finished = finish(self.path)
            self._aside = finished.aside if finished is not None else self._aside
            adopted = open_or_renew(self.path)
        except (OSError, sqlite3.Error) as error:
            words = explain(error) if isinstance(error, sqlite3.Error) else explain_os(error)
            raise LogUnavailable(self.path, *words) from error
        self._adopt(adopted)
        self.trouble = None
        return Remains(self._aside, reader, recent, tags)

    def told_renewed(self) -> None:
        """Tell all who listen that this is another log now, and take appends again."""
        for listener in self._on_renewed:
            listener()
        self._renewing = False

    @property
    def known_tags(self) -> Iterable[TagDescription]:
        """All tags that this log has numbers for, from memory."""
        return self._tags.values()

    def _intention(self, trouble: Trouble, now_ms: int) -> Intention:
        taken_over = carried(self._reader, self.path if trouble.kind is Kind.DAMAGED else None)
        return Intention(
            aside=aside_name(self.path, trouble.kind, now_ms, self.predecessors),
            kind=trouble.kind,
            reason=trouble.reason,
            at_ms=now_ms,
            new_stream=str(uuid4()),
            stream=str(self.stream),
            # Of an older copy that came back, what the cloud acknowledged may have been other batches under the same
            # numbers: all that is there is sent again, and the cloud's ledger knows what it has.
            acked=max(0, self._reader.first() - 1) if trouble.kind is Kind.RESTORED else self._acked,
            head=self._head,
            tags=rows_of(list(self._tags.values())),
            open_gaps=taken_over.open_gaps,
            gap_id=self._gap_id,
            bd_seq=self._bd_seq,
            latest=self._latest.to_text(0),
            predecessors=[cells_of(entry) for entry in self.predecessors.values()],
            origins=taken_over.origins,
        )

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
    def is_final(self) -> bool:
        """Batches come to it."""
        return False

    @property
    def retention(self) -> RetentionState:
        """What was given up for the limits of size and age."""
        return self._writer.retention

    @property
    def limits(self) -> Limits:
        """How large and how old it may become."""
        return self._limits

    @property
    def compacting(self) -> bool:
        """Whether room that nothing uses is being given back to the disk."""
        return self._writer.compacting

    def compact(self) -> None:
        """Give back room that nothing uses, between appends."""
        self._writer.compacting = True

    @property
    def first(self) -> int:
        """The lowest batch number that is there; 0 for an empty log. Reads the disk."""
        return self._reader.first()

    def latest(self) -> dict[int, Reading]:
        """Return the newest reading of each tag that has one."""
        return self._latest.readings

    def listen(self, listener: Callable[[Batch], None], *, late: bool = False) -> None:
        """Have `listener` called, in the event loop, with each batch once it is on the disk, in order of numbers.

        Args:
            late: also with those of a file that was exchanged before this could be told; their numbers mean nothing.
        """
        self._listeners.append(listener)
        if late:
            self._late_listeners.append(listener)

    def unlisten(self, listener: Callable[[Batch], None]) -> None:
        """Call `listener` no more."""
        self._listeners = [other for other in self._listeners if other != listener]
        self._late_listeners = [other for other in self._late_listeners if other != listener]

    def register_tags(self, descriptions: Iterable[TagDescription]) -> list[TagDescription]:
        """Give each tag its number in this log, for ever; what else is said of a known tag is brought up to date.

        Args:
            descriptions: their `number` is ignored.

        Raises:
            LogUnavailable: the disk refused.
        """
        wanted = list(descriptions)
        try:
            with closing(connect(self.path)) as connection:
                connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()  # the writer's alone, see there
                numbered = write_tags(connection, wanted)
                tags = read_tags(self.path, connection)  # one whose unit has changed has another name now
        except sqlite3.Error as error:
            raise LogUnavailable(self.path, *explain(error)) from error
        self._tags = {tag.number: tag for tag in tags}
        return numbered

    async def append(self, device: str, readings: Sequence[Reading], gaps: Sequence[Gap] = ()) -> Batch:
        """Write one batch; when this returns it is on the disk and has its number.

        Appends that run at the same time share one transaction.

        Raises:
            LogWriteFailed: the disk refused; nothing is written, the same may be appended again.
            LogClosed: the log was closed.
        """
        (batch,) = await self._submit((NewBatch(device, tuple(readings), tuple(gaps)),))
        return batch

    async def _submit(self, entries: Iterable[NewBatch] = (), *, even_now: bool = False, **more: Any) -> list[Batch]:
        """Hand a job to the writer and wait until it is on the disk; `even_now`: also while a new log is begun."""
        if self._renewing and not even_now:
            raise LogWriteFailed(self.path, "a new log is about to take its place", "wait a moment")
        self._loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Batch]] = self._loop.create_future()
        self._writer.submit(Job(entries, done=done, **more))
        return await done

    def append_all(self, entries: Iterable[NewBatch]) -> tuple[int, int] | None:
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
        await self._submit(clock=change, even_now=True)

    def stamp_of(self, ms: int) -> int:
        """Return the time that scans in memory bear, or would have borne, for a time in the log; ms."""
        return self._writer.stamps.back(ms)

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

    def records(self, first: int, last: int, most_bytes: int) -> tuple[list[RawBatch], int]:
        """Return batches as they are in the file: see `LogReader.records`. Reads the disk."""
        return self._reader.records(first, last, most_bytes)

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

    async def refused(self, number: int) -> bool:
        """The cloud has another batch under this number. True: it is settled by that; False: this log is an older copy.

        Settled it is where no batch of ours could be sent: the cloud has the true one.
        """
        try:
            batch = await asyncio.to_thread(self.get, number)
        except (KeyError, LogDamaged):
            return True
        reason = (
            f"the cloud has another batch than ours under number {batch.number}: an older copy of the log came back"
        )
        self.doubt(Kind.RESTORED, reason)
        return False

    async def append_again(self, batch: Batch, stream: UUID, number: int) -> None:
        """Log a batch that came from another stream, with a note of its origin; nothing if that is there already.

        The note keeps this log from taking it twice. The origin that the batch itself carries keeps the cloud from it:
        an older copy of this log has no note.

        Raises:
            LogWriteFailed: the disk refused.
        """
        if await asyncio.to_thread(self._reader.has_origin, stream, number):
            return
        note = (INSERT_ORIGIN, origin_row(str(stream), number, "{number}"))
        await self._submit((NewBatch(batch.device, batch.readings, batch.gaps, batch.origin),), statements=[note])

    def note_progress(self, path: str, acked: int) -> None:
        """Everything of a predecessor up to `acked` is settled; written down with the next transaction."""
        self.predecessors[path] = replace(self.predecessors[path], acked=acked)

    async def keep_predecessor(
        self, entry: Entry, told: Sequence[NewBatch] = (), *, forget: UUID | None = None
    ) -> None:
        """Write down how far a predecessor has come, and in the same transaction batches that tell of it.

        Raises:
            LogWriteFailed: the disk refused.
        """
        statements: list[tuple[str, tuple[Any, ...]]] = [(INSERT_PREDECESSOR, predecessor_row(cells_of(entry)))]
        if forget is not None:
            statements.append(("DELETE FROM origins WHERE stream = ?", (str(forget),)))
        await self._submit(tuple(told), statements=statements)
        self.predecessors[entry.path] = entry

    def number_gaps_above(self, now_ms: int) -> None:
        """Give no gap an id up to this time (ms UTC) any more, so that none is given that an older copy has forgotten.

        The cloud knows a gap by stream and id: another one under the same id would be lost there.
        """
        self._gap_id = max(self._gap_id, now_ms)

    def next_gap_id(self) -> int:
        """Return a gap id that no gap of this stream has."""
        self._gap_id += 1
        return self._gap_id

    def _on_written(self, recent: OrderedDict[int, Batch], written: Written) -> None:
        """In the writer's thread: let the event loop, where there is one, take notice before the callers do.

        Args:
            recent: of the file that was written.
        """
        self._in_loop(partial(self._take_notice, recent), written)

    def _on_failed(self, failed: Failed) -> None:
        if isinstance(failed.error, LogMalformed):
            self.doubt(Kind.DAMAGED, failed.error.reason)
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

    def _take_notice(self, recent: OrderedDict[int, Batch], written: Written) -> None:
        """Those who wait are told in any case; of a file that was exchanged meanwhile, the numbers mean nothing now."""
        for job, batches in written.jobs:
            if job.clock is not None:
                recent.clear()  # their times may have been corrected
            for batch in batches:
                with self._exchanging:
                    late = recent is not self._recent
                    if not late:
                        self._head = max(self._head, batch.number)
                        if not job.alone:
                            self._remember(batch)
                if not job.alone:
                    self._tell(batch, self._late_listeners if late else self._listeners)
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

    @staticmethod
    def _tell(batch: Batch, listeners: Iterable[Callable[[Batch], None]]) -> None:
        for listener in listeners:
            try:
                listener(batch)
            except Exception:  # a listener's fault must not keep those who appended waiting for ever
                LOGGER.exception("A listener failed on batch %d", batch.number)


def _nothing() -> None:
    """Nobody listens."""
