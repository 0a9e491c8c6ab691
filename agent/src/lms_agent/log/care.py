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
from collections.abc import Awaitable, Callable

from lms_agent.clock import Clock
from lms_agent.log.damage.readable import unlink_quietly
from lms_agent.log.errors import LogError, LogWriteFailed, explain
from lms_agent.log.files import Finding
from lms_agent.log.jobs import Entry as NewBatch
from lms_agent.log.limits.compacting import request_path
from lms_agent.log.renewal.gathering import Remains, gather
from lms_agent.log.renewal.predecessors import Entry, Kind, State
from lms_agent.log.sqlite_log import SqliteLog

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
        finding, to_compact = await asyncio.to_thread(self._look_at_files)
        if finding is not None:
            self._log.doubt(*finding)
        if self._log.trouble is not None:
            await self._renew()
        await self._compact(asked=to_compact)
        for entry in list(self._log.predecessors.values()):
            if entry.state is State.TO_READ:
                await self._make_ready(entry)

    def _look_at_files(self) -> tuple[Finding | None, bool]:
        """What is wrong with the log's files, if anything, and whether somebody asks for their unused room."""
        try:
            finding = self._log.files.look()
        except OSError as error:
            self._tell(f"The log's files cannot be looked at: {error.strerror}")
            finding = None
        return finding, request_path(self._log.path).exists()

    async def _compact(self, *, asked: bool) -> None:
        """Somebody asks by a side file to have unused room given back; it goes when that is done."""
        if not asked:
            return
        if self._compacting and not self._log.compacting:
            self._compacting = False
            await asyncio.to_thread(unlink_quietly, request_path(self._log.path))
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
        try:
            remains = await asyncio.to_thread(self._log.renew, trouble, self._clock.wall_ms())
        except LogError as error:
            self._tell(f"{error} No new log can be begun yet; readings wait in memory.")
            return
        self._renewed_s = now_s
        self._remains[remains.aside] = remains
        if self._restamp is not None:
            await self._restamp()
        self._log.told_renewed()

    async def _make_ready(self, entry: Entry) -> None:
        """Read what can be read of a log that was set aside."""
        remains = self._remains.get(entry.path)
        try:
            ready, kept = await asyncio.to_thread(gather, self._log.path, entry, self._clock.wall_ms(), remains)
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
        if ready.stream == str(self._log.stream):
            reason = f"it was set aside once, as {entry.path}: an older copy of it was brought back"
            self._log.doubt(Kind.RESTORED, reason)
        if ready.state is State.LOST:
            LOGGER.error("ALARM: of the log that was set aside as %s nothing can be read.", entry.path)
        else:
            LOGGER.warning(
                "Of the log that was set aside as %s, batches %d to %d are to be sent; %d of them could not be read.",
                *(entry.path, kept.first, kept.head, kept.missing),
            )

    def _tell(self, problem: str) -> None:
        """Say it, once."""
        if problem not in self._told:
            self._told.add(problem)
            LOGGER.error("%s", problem)
