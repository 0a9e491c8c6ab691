"""Looks after the log: notices when its file is gone, exchanged, damaged or too old, and begins a new one at once.

    every two seconds   are the files still those that were opened?
    at any moment       the writer, a reader or the cloud says that this log cannot be gone on with
    then                it is set aside, a new stream begins; what of the old one is readable is made ready for sending

Neighbours: `lms_agent.log.sqlite_log` is exchanged under those who use it; `lms_agent.sending.sender` sends what was
set aside.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import TagDescription

from lms_agent.clock import Clock
from lms_agent.log.clocks import never_known
from lms_agent.log.compacting import request_path
from lms_agent.log.corrections import Correction
from lms_agent.log.errors import LogError, LogWriteFailed, explain
from lms_agent.log.opening import prepare
from lms_agent.log.predecessors import Entry, readable_path
from lms_agent.log.readable import Kept, Known, unlink_quietly, write_readable
from lms_agent.log.reader import LogReader
from lms_agent.log.records import BatchRow, GapRow, batch_row
from lms_agent.log.renewing import Kind, State
from lms_agent.log.salvage import DamagedFile
from lms_agent.log.sqlite_log import Remains, SqliteLog
from lms_agent.log.writer import Entry as NewBatch

LOGGER = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
NOT_AGAIN_WITHIN_S = 60.0
"""A cloud that refuses whatever it is sent must not make the agent fill its disk with logs."""
_ROWS = 500


class Care:
    """The one that looks after a log.

    Args:
        restamp: has a new log know how the clock is, before anything is logged in it.
        look_every_s: how often the files are looked at, in seconds.
    """

    def __init__(
        self,
        log: SqliteLog,
        clock: Clock,
        *,
        restamp: Callable[[], Awaitable[None]] | None = None,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._log = log
        self._clock = clock
        self._look_every_s = look_every_s
        self._restamp = restamp
        self._wake = asyncio.Event()
        self._remains: dict[str, Remains] = {}
        self._renewed_s: float | None = None
        self._told: set[str] = set()
        self._compacting = False
        self._loop = asyncio.get_running_loop()
        log.on_trouble(self._trouble)

    async def run(self) -> None:
        """Look after the log until cancelled."""
        try:
            while True:
                self._wake.clear()
                await self.look()
                try:
                    async with asyncio.timeout(self._look_every_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for remains in self._remains.values():
                remains.reader.close()

    def _trouble(self) -> None:
        """In any thread: look at once."""
        self._loop.call_soon_threadsafe(self._wake.set)

    async def look(self) -> None:
        """Look once, and do what is to be done."""
        try:
            finding = await asyncio.to_thread(self._log.files.look)
        except OSError as error:
            self._tell(f"The log's files cannot be looked at: {error.strerror}")
            finding = None
        if finding is not None:
            self._log.doubt(*finding)
        if self._log.trouble is not None:
            await self._renew()
        await self._compact()
        for entry in list(self._log.predecessors.values()):
            if entry.state is State.TO_READ:
                await self._make_ready(entry)

    async def _compact(self) -> None:
        """Somebody asks by a side file to have unused room given back; it goes when that is done."""
        request = request_path(self._log.path)
        if not await asyncio.to_thread(request.exists):
            return
        if self._compacting and not self._log.compacting:
            self._compacting = False
            await asyncio.to_thread(unlink_quietly, request)
        else:
            self._compacting = True
            self._log.compact()

    async def _renew(self) -> None:
        trouble = self._log.trouble
        assert trouble is not None  # noqa: S101 - the caller has looked
        now_s = self._clock.monotonic_s()
        recently = self._renewed_s is not None and now_s - self._renewed_s < NOT_AGAIN_WITHIN_S
        if trouble.kind is Kind.RESTORED and recently:
            return
        LOGGER.error("ALARM: the log %s: %s. It is set aside; a new one is begun.", self._log.path, trouble.reason)
        known = set(self._log.predecessors)
        try:
            remains = await asyncio.to_thread(self._log.renew, trouble, self._clock.wall_ms())
        except LogError as error:
            self._tell(f"{error} No new log can be begun yet; readings wait in memory.")
            return
        self._renewed_s = now_s
        for path in set(self._log.predecessors) - known:
            self._remains[path] = remains
        if self._restamp is not None:
            await self._restamp()
        self._log.told_renewed()

    async def _make_ready(self, entry: Entry) -> None:
        """Read what can be read of a log that was set aside."""
        remains = self._remains.get(entry.path)
        try:
            ready, kept = await asyncio.to_thread(self._read, entry, remains)
        except (OSError, sqlite3.Error) as error:
            words = explain(error)[0] if isinstance(error, sqlite3.Error) else str(error.strerror or error)
            self._tell(f"What was set aside as {entry.path} cannot be copied yet: {words}")
            return
        told = [NewBatch(device, (), (gap,)) for device, gap in kept.untold]
        try:
            await self._log.keep_predecessor(ready, told)
        except LogWriteFailed as error:
            self._tell(str(error))
            return
        if remains is not None:
            remains.reader.close()
            del self._remains[entry.path]
        if ready.state is State.LOST:
            LOGGER.error("ALARM: of the log that was set aside as %s nothing can be read.", entry.path)
        else:
            LOGGER.warning(
                "Of the log that was set aside as %s, batches %d to %d are to be sent; %d of them could not be read.",
                *(entry.path, kept.first, kept.head, kept.missing),
            )

    def _read(self, entry: Entry, remains: Remains | None) -> tuple[Entry, Kept]:
        """Write the file that is to be sent."""
        aside = self._log.path.with_name(entry.path)
        target = readable_path(self._log.path, entry)
        with closing(_Sources(aside, entry, remains)) as sources:
            tags = list(self._log.known_tags) if remains is not None else sources.tags
            stream = entry.stream or sources.stream
            if stream is None or not tags:
                return replace(entry, state=State.LOST, ended_at_ms=self._clock.wall_ms()), Kept(0, 0, 0)
            acked = max(entry.acked, sources.acked)
            corrections = sources.corrections(entry.set_aside_at_ms)
            known = Known(stream, acked, entry.head, _complete(tags), entry.set_aside_at_ms, corrections)
            kept = write_readable(target, known, sources.batches(acked), sources.gaps(), reason=entry.reason)
        prepare(target)
        state = State.READY if kept.head > acked else State.SENT
        return replace(entry, stream=stream, state=state, first=kept.first, head=kept.head, acked=acked), kept

    def _tell(self, problem: str) -> None:
        """Say it, once."""
        if problem not in self._told:
            self._told.add(problem)
            LOGGER.error("%s", problem)


class _Sources:
    """Where batches of a log that was set aside may still be found: its file, a file still open, memory."""

    def __init__(self, aside: Path, entry: Entry, remains: Remains | None) -> None:
        self._remains = remains
        self._file: DamagedFile | None = None
        self.stream: str | None = None
        self.acked = 0
        self.tags: list[TagDescription] = []
        if aside.exists():
            file = DamagedFile(aside)
            basics = file.basics()
            if entry.kind is Kind.REPLACED and basics.stream != entry.stream:
                file.close()  # somebody else's file, put in the place of ours
                return
            self._file = file
            self.stream, self.acked, self.tags = basics.stream, basics.acked, list(basics.tags.values())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def batches(self, above: int) -> Iterator[tuple[bool, BatchRow]]:
        """Rows of batches; what comes with True outdoes others of the same number."""
        if self._file is not None:
            yield from self._file.batches(above)
        if self._remains is not None:
            for row in _raw(self._remains.reader, above):
                yield True, row
            for batch in self._remains.recent:
                yield True, batch_row(batch, 0)

    def corrections(self, now_ms: int) -> list[Correction]:
        """What was corrected of the times of batches; and those whose time was not known yet: it never will be."""
        rows, spans = ([], []) if self._file is None else (self._file.corrections(), self._file.spans())
        if self._remains is not None:
            with suppress(LogError):
                rows, spans = self._remains.reader.corrections().rows, self._remains.reader.spans()
        return [*rows, *never_known(spans, max((row.event for row in rows), default=0) + 1, now_ms)]

    def gaps(self) -> Iterator[GapRow]:
        """Rows of gaps."""
        if self._file is not None:
            yield from self._file.gaps()


def _raw(reader: LogReader, above: int) -> Iterator[BatchRow]:
    """Rows from a file that is still open, as far as it can be read."""
    try:
        head = reader.head()[0]
    except LogError:
        return
    number = above + 1
    size = _ROWS
    while number <= head:
        try:
            yield from reader.raw(number, min(number + size - 1, head))
        except LogError:
            if size > 1:
                size = 1  # step over the page that is damaged
                continue
        number += size
        size = _ROWS if size > 1 or number % _ROWS == 0 else 1


def _complete(tags: list[TagDescription]) -> list[TagDescription]:
    """The tags, and for each bioreactor those two that batches cannot be sent without."""
    have = {(tag.device, tag.name) for tag in tags}
    number = max(tag.number for tag in tags)
    made = list(tags)
    for device in sorted({tag.device for tag in tags}):
        for name, datatype in SYNC_TAGS.items():
            if (device, name) not in have:
                number += 1
                made.append(TagDescription(number, device, name, datatype))
    return made


def forget_copy(log_path: Path, entry: Entry) -> None:
    """Remove the copy that was made for sending; what was set aside stays."""
    path = readable_path(log_path, entry)
    if path.name != entry.path:
        for part in ("", "-wal", "-shm"):
            unlink_quietly(path.with_name(path.name + part))
