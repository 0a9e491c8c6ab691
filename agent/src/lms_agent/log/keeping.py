"""Keeping scans: each goes into the log; when the disk refuses, it waits in memory, and nothing vanishes in silence.

    disk well       scan → log
    disk refuses    scan → memory (bounded) → log, as soon as the disk takes it
    memory full     the oldest scan makes room; a gap says from when to when, how much and why

Sampling never waits for a broken disk. If the agent dies meanwhile, the next start records the interval as a gap.

Neighbours: `lms_agent.sampling` hands over scans; `lms_agent.log.sqlite_log` takes them.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from lms_protocol.reading import Gap

from lms_agent.clock import Clock
from lms_agent.log.absence import Absence
from lms_agent.log.errors import LogClosed, LogError, LogMalformed, LogWriteFailed
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.sampling import Scan

LOGGER = logging.getLogger(__name__)

MAX_READINGS = 50_000
"""Readings that may wait in memory: about 10 MB, or 15 minutes of 50 tags at 1 Hz."""
RETRY_AFTER_S = 2.0


@dataclass(slots=True)
class KeepingState:
    """How keeping goes.

    Attributes:
        scans, readings: handed over since the start.
        waiting: readings in memory that the disk has not taken.
        dropped: readings that found no room there, since the start; a gap tells of them.
        error: why the disk does not take them; "" while it does.
    """

    scans: int = 0
    readings: int = 0
    waiting: int = 0
    dropped: int = 0
    error: str = ""


@dataclass(slots=True)
class _Dropped:
    tags: set[int]
    began_at_ms: int
    ended_at_ms: int
    readings: int


class Keeping:
    """The way into the log.

    Args:
        absence: what the time before the start has left open.
        max_readings: most readings that may wait in memory.
    """

    def __init__(self, log: SqliteLog, absence: Absence, clock: Clock, *, max_readings: int = MAX_READINGS) -> None:
        self.state = KeepingState()
        self._log = log
        self._absence = absence
        self._clock = clock
        self._max_readings = max_readings
        self._waiting: deque[Scan] = deque()
        self._dropped: dict[str, _Dropped] = {}
        self._dropped_gaps: dict[int, tuple[str, Gap]] = {}
        self._refused = asyncio.Event()
        self._flushing = asyncio.Lock()

    async def take(self, scan: Scan) -> None:
        """Keep a scan: on the disk when this returns, or in memory if the disk refuses.

        Raises:
            LogClosed: the agent is ending.
        """
        self.state.scans += 1
        self.state.readings += len(scan.readings)
        before = self._absence.before(scan.readings)
        if before:
            scan = Scan(scan.device, scan.readings, (*before, *scan.gaps))
        if self._waiting:
            self._wait(scan)
            return
        try:
            await self._log.append(scan.device, scan.readings, scan.gaps)
        except (LogWriteFailed, LogMalformed) as error:
            self._failed(error)
            self._wait(scan)

    def resume(self, absence: Absence) -> None:
        """Others read from now on: what they find left open is told by `absence`."""
        self._absence = absence

    async def close_orphans(self) -> None:
        """Close, in the log, the gaps of an earlier run that no instrument of the settings can close."""
        for device, gap in self._absence.orphans(self._clock.wall_ms()):
            await self.take(Scan(device, (), (gap,)))

    async def run(self) -> None:
        """Bring into the log what waits in memory, again and again, until cancelled."""
        while True:
            await self._refused.wait()
            await self._clock.sleep(RETRY_AFTER_S)
            await self.flush()

    async def flush(self) -> None:
        """Try once to bring everything that waits into the log."""
        async with self._flushing:
            try:
                await self._tell_dropped()
                while self._waiting:
                    scan = self._waiting[0]
                    await self._log.append(scan.device, scan.readings, scan.gaps)
                    if self._waiting and self._waiting[0] is scan:  # not dropped for want of room meanwhile
                        self._waiting.popleft()
                        self.state.waiting -= len(scan.readings)
                    await self._tell_dropped()  # others may have found no room meanwhile
            except (LogWriteFailed, LogMalformed) as error:
                self._failed(error)
                return
        if self._refused.is_set():
            self._refused.clear()
            self.state.error = ""
            LOGGER.warning("The log %s takes readings again", self._log.path)

    async def end(self) -> None:
        """The agent ends: try for the last time, and say what is lost if that fails."""
        try:
            await self.flush()
        except LogClosed as error:
            LOGGER.error("%s", error)
        if self._waiting:
            LOGGER.error("%d readings could not be logged and are lost: %s", self.state.waiting, self.state.error)

    def _failed(self, error: LogError) -> None:
        if str(error) != self.state.error:
            LOGGER.error("%s Readings wait in memory.", error)
        self.state.error = str(error)
        self._refused.set()

    def _wait(self, scan: Scan) -> None:
        self._waiting.append(scan)
        self.state.waiting += len(scan.readings)
        while self.state.waiting > self._max_readings and len(self._waiting) > 1:
            oldest = 1 if self._flushing.locked() else 0  # the first may be on its way into the log just now
            dropped = self._waiting[oldest]
            del self._waiting[oldest]
            self._drop(dropped)

    def _drop(self, scan: Scan) -> None:
        """Forget a scan's readings, but not that they were, nor the gaps it told of."""
        self.state.waiting -= len(scan.readings)
        self.state.dropped += len(scan.readings)
        for gap in scan.gaps:
            self._dropped_gaps[gap.id] = (scan.device, gap)
        if not scan.readings:
            return
        times = [reading.taken_at_ms for reading in scan.readings]
        known = self._dropped.setdefault(scan.device, _Dropped(set(), min(times), max(times), 0))
        known.tags.update(reading.tag for reading in scan.readings)
        known.began_at_ms = min(known.began_at_ms, *times)
        known.ended_at_ms = max(known.ended_at_ms, *times)
        known.readings += len(scan.readings)

    async def _tell_dropped(self) -> None:
        while self._dropped_gaps:
            id_, (device, gap) = next(iter(self._dropped_gaps.items()))
            await self._log.append(device, (), (gap,))
            if self._dropped_gaps.get(id_) == (device, gap):
                del self._dropped_gaps[id_]
        for device, lost in list(self._dropped.items()):
            del self._dropped[device]
            reason = f"{lost.readings} readings found no room in memory while the log could not be written"
            tags = tuple(sorted(lost.tags))
            gap = Gap(self._log.next_gap_id(), tags, lost.began_at_ms, lost.ended_at_ms, reason)
            self._dropped_gaps[gap.id] = (device, gap)  # kept there until it is written
            await self._log.append(device, (), (gap,))
            del self._dropped_gaps[gap.id]
