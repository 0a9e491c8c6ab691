"""The agent's time at work: looks at the computer's clock once a second, and has the log write down what changes.

Two clocks come from here. `Timekeeper` itself is the agent's time as it is known now: for messages and for people. Its
`stamps` are what scans bear in memory: the time since boot plus the offset of when the agent started, so that they
never jump; the log adds what has changed since (`lms_agent.log.times.stamps`).

Neighbours: `lms_agent.timekeeping.discipline` has the rules; `lms_agent.log` writes down; `lms_agent.sending` asks what
may be sent; `lms_agent.health` tells people.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from lms_protocol.reading import Reading

from lms_agent.log.errors import LogClosed, LogWriteFailed
from lms_agent.log.times.clocks import ClockChange
from lms_agent.timekeeping.discipline import Change, Discipline, Memory, Past, Rules, Trust
from lms_agent.timekeeping.source import TimeSource

LOGGER = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class ClockLog(Protocol):
    """What timekeeping asks of the log."""

    async def change_clock(self, change: ClockChange) -> None:
        """Write a change down, in the order of batches."""
        ...

    def remember(self, boot: UUID) -> tuple[Memory | None, Past]:
        """What the log knows of this boot, and of the time before it."""
        ...

    def first_open(self) -> int | None:
        """The lowest number whose time may still be corrected."""
        ...


@dataclass(slots=True)
class ClockState:
    """How the clock is, for people.

    Attributes:
        boot: the computer's boot.
        boot_ms: time since boot when this was written, ms.
        offset_ms: agent's time minus time since boot, ms.
        trust: `waiting`, `wrong`, `untrusted` or `trusted`.
        error_ms: how far the system clock is ahead of the agent's time, as far as known, ms.
        synchronised: whether the system clock is; None where nobody can tell.
        system_ahead_ms: how far the system clock is ahead right now, whether it is believed or not, ms.
        held_from: batches from here on are held back until the time is known; None if none are.
        reason: what changed last.
    """

    boot: str
    boot_ms: int
    offset_ms: int
    trust: str
    error_ms: int | None
    synchronised: bool | None
    system_ahead_ms: int
    held_from: int | None
    reason: str


class StampClock:
    """What scans bear in memory; see the module's description."""

    def __init__(self, source: TimeSource, offset_ms: int) -> None:
        self._source = source
        self._offset_ms = offset_ms

    def wall_ms(self) -> int:
        """The instant now, as scans bear it, ms."""
        return self._source.boot_ms() + self._offset_ms

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment."""
        return self._source.monotonic_s()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._source.sleep(seconds)


class Timekeeper:
    """The agent's clock.

    Args:
        source: the computer's clocks.
        log: writes down what changes.
        memory, past: what the log knew when the agent started.
        first_open: the lowest number whose time may still be corrected then; None if there was none.
        head: the log's highest number then.
        rules: when what is believed.

    Attributes:
        stamps: the clock of sampling.
    """

    def __init__(
        self,
        source: TimeSource,
        log: ClockLog,
        *,
        memory: Memory | None,
        past: Past,
        first_open: int | None,
        head: int,
        rules: Rules,
    ) -> None:
        self._source = source
        self._log = log
        self._seen = source.observe()
        self._discipline = Discipline(rules, self._seen, past, memory)
        self._base_ms = self._discipline.offset_ms
        self._began_ms = self._seen.boot_ms + self._base_ms
        self.stamps = StampClock(source, self._base_ms)
        self._pending: deque[ClockChange] = deque()
        self._writing = asyncio.Lock()
        self._told_failure = False
        self._reason = ""
        # What is open in the log's eyes: more than the discipline knows, until its changes are on the disk.
        self._first_open = head + 1 if first_open is None else first_open
        self._is_open = first_open is not None or self._discipline.open
        self._held_since_ms = self._discipline.time_ms(self._seen.boot_ms)
        self._listeners: list[Callable[[], None]] = []
        self._note(self._discipline.started, starts=True)

    @classmethod
    async def begin(cls, source: TimeSource, log: ClockLog, head: int, rules: Rules) -> "Timekeeper":
        """Begin to keep time, and have that written down with the first batch. Reads the disk."""
        memory, past = await asyncio.to_thread(log.remember, source.boot)
        first_open = await asyncio.to_thread(log.first_open)
        keeper = cls(source, log, memory=memory, past=past, first_open=first_open, head=head, rules=rules)
        await keeper.write()
        return keeper

    def wall_ms(self) -> int:
        """The agent's time now, as far as it is known, ms UTC."""
        return self._discipline.time_ms(self._source.boot_ms())

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment; never runs backwards."""
        return self._source.monotonic_s()

    async def sleep(self, seconds: float) -> None:
        """Wait; zero or less only lets others run."""
        await self._source.sleep(seconds)

    @property
    def first_held(self) -> int | None:
        """Batches from this number on may not be sent yet; None if all may."""
        return self._first_open if self._is_open else None

    def presentable(self, latest: Mapping[int, Reading]) -> dict[int, Reading]:
        """Of the newest readings those that may be sent."""
        if not self._is_open:
            return dict(latest)
        return {tag: reading for tag, reading in latest.items() if reading.taken_at_ms < self._held_since_ms}

    @property
    def state(self) -> ClockState:
        """How the clock is."""
        discipline, seen = self._discipline, self._seen
        return ClockState(
            boot=str(self._source.boot),
            boot_ms=self._source.boot_ms(),
            offset_ms=discipline.offset_ms,
            trust=str(discipline.trust),
            error_ms=discipline.error_ms,
            synchronised=seen.synchronised,
            system_ahead_ms=seen.system_ms - discipline.time_ms(seen.boot_ms),
            held_from=self.first_held if discipline.holds else None,
            reason=self._reason,
        )

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever something has changed and is written down."""
        self._listeners.append(listener)

    async def settle(self) -> None:
        """The next batches are about to be sent: unless they must be held, their time is final from now on."""
        if not self._is_open or self._discipline.holds:
            return
        self._note(self._discipline.settle())
        await self.write()

    async def run(self) -> None:
        """Look at the computer's clock once a second, until cancelled."""
        while True:
            await self._source.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except LogClosed:
                return

    async def look(self) -> None:
        """Look at the computer's clock.

        Raises:
            LogClosed: the agent is ending.
        """
        self._seen = self._source.observe()
        self._note(self._discipline.observe(self._seen))
        await self.write()

    async def renewed(self) -> None:
        """The log is another one now, with numbers from 1: have it know how the clock is before anything is logged.

        Raises:
            LogClosed: the agent is ending.
        """
        self._pending.clear()
        self._first_open = 1
        self._is_open = self._discipline.open
        self._note(self._discipline.restate(), starts=True)
        await self.write()

    async def write(self) -> None:
        """Have the log write down what has changed; if it refuses, `run` tries again.

        Raises:
            LogClosed: the agent is ending.
        """
        async with self._writing:
            while self._pending:
                change = self._pending[0]
                try:
                    await self._log.change_clock(change)
                except LogWriteFailed as error:
                    if not self._told_failure:
                        LOGGER.warning("%s The change of the clock waits in memory.", error)
                    self._told_failure = True
                    return
                self._told_failure = False
                self._pending.popleft()
                self._written(change)

    def _written(self, change: ClockChange) -> None:
        what = change.change
        self._held_since_ms += what.shift_ms
        if not what.open and not self._discipline.open:
            self._is_open = False
        for listener in self._listeners:
            listener()

    def _note(self, change: Change | None, *, starts: bool = False) -> None:
        if change is None:
            return
        boot_ms = self._seen.boot_ms
        self._reason = change.reason
        shift_ms = change.offset_ms - self._base_ms
        # What starts, or a log that starts anew, takes scans from the agent's start on: some may have had to wait.
        stamp_ms = self._began_ms if starts else boot_ms + self._base_ms
        self._pending.append(ClockChange(self._source.boot, change, stamp_ms, shift_ms, starts))
        told = LOGGER.info if change.trust in (Trust.TRUSTED, Trust.WAITING) else LOGGER.warning
        told("The clock: %s%s", change.reason, _moved(change))


def _moved(change: Change) -> str:
    """What that does to times, in words."""
    if change.shift_ms:
        return f"; readings of this boot, not yet sent, move by {change.shift_ms / 1000:+.3f} s"
    if change.correction_ms:
        return f"; from now on times are {change.correction_ms / 1000:+.3f} s later than before"
    if change.error_ms:
        return f"; the agent's time is {-change.error_ms / 1000:+.3f} s off"
    return ""
