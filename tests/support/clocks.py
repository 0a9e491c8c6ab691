"""A computer whose clocks a test sets, and what its readings truly are: each says in its value when it was taken."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.timekeeping.discipline import RELEASED_MS, Observation, Rules
from lms_agent.timekeeping.timekeeper import Timekeeper
from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Batch, Gap, Reading, TagDescription

TRUE_MS = RELEASED_MS + 30 * 86_400_000
HOUR_MS = 3_600_000


@dataclass
class Pi:
    """A computer without a clock chip. True time runs with `run`; what its clock says is `wrong_by_ms` off.

    Attributes:
        true_ms: the time that is it, ms UTC.
        boot_ms: since the boot.
        wrong_by_ms: system clock minus true time.
        synchronised: whether the system clock is said to be.
    """

    true_ms: int = TRUE_MS
    boot_ms_: int = 5_000
    wrong_by_ms: int = -TRUE_MS + 5_000
    synchronised: bool | None = False
    boot: UUID = field(default_factory=uuid4)

    def boot_ms(self) -> int:
        return self.boot_ms_

    def observe(self) -> Observation:
        return Observation(self.boot_ms_, max(0, self.true_ms + self.wrong_by_ms), self.synchronised)

    def monotonic_s(self) -> float:
        return self.boot_ms_ / 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def run(self, milliseconds: int) -> None:
        """Let time go by."""
        self.true_ms += milliseconds
        self.boot_ms_ += milliseconds

    def synchronise(self) -> None:
        """A time server sets the clock right."""
        self.wrong_by_ms, self.synchronised = 0, True

    def power_cut(self, off_ms: int = HOUR_MS) -> None:
        """Off, for a while, and on again: the clock begins in 1970."""
        self.true_ms += off_ms
        self.boot_ms_ = 5_000
        self.wrong_by_ms, self.synchronised = -self.true_ms + 5_000, False
        self.boot = uuid4()


class Bench:
    """An agent's log and timekeeping on a `Pi`, without instruments: readings are made by hand."""

    def __init__(self, path: Path, pi: Pi, rules: Rules | None = None) -> None:
        self.path, self.pi, self.rules = path, pi, rules or Rules()
        self.gap: Gap | None = None

    async def start(self) -> None:
        """Start the agent."""
        self.log = SqliteLog.open(self.path)
        wanted = [TagDescription(0, "R1", name) for name in ("pH/PV", "DO/PV")]
        wanted += [TagDescription(0, "R1", name, kind) for name, kind in SYNC_TAGS.items()]
        self.tags = self.log.register_tags(wanted)
        self.keeper = await Timekeeper.begin(self.pi, self.log, self.log.head, self.rules)

    def stop(self) -> None:
        """End the agent; what is in memory is lost."""
        self.log.close()

    async def restart(self) -> None:
        """End and start it again, in the same boot."""
        self.stop()
        await self.start()

    async def power_cut(self, off_ms: int = HOUR_MS) -> None:
        """The computer goes off and on."""
        self.stop()
        self.pi.power_cut(off_ms)
        await self.start()

    async def read(self, gaps: Sequence[Gap] = ()) -> Batch:
        """Take a reading of each tag, now. Its value is the true time in s."""
        taken_at_ms = self.keeper.stamps.wall_ms()
        readings = [Reading(tag.number, taken_at_ms, self.pi.true_ms / 1000) for tag in self.tags[:2]]
        return await self.log.append("R1", readings, gaps)

    async def seconds(self, count: int) -> None:
        """Let the agent run: each second a look at the clock and a reading."""
        for _ in range(count):
            self.pi.run(1000)
            await self.keeper.look()
            await self.read()

    def all(self) -> list[Batch]:
        """Everything in the log, as anybody reads it."""
        return self.log.read(1, 100_000)


def taken(batches: Sequence[Batch]) -> list[int]:
    """When each reading of the first tag was taken, ms, in the order of numbers."""
    return [batch.readings[0].taken_at_ms for batch in batches if batch.readings]


def truth(batches: Sequence[Batch]) -> list[int]:
    """When they truly were."""
    return [round(float(batch.readings[0].value or 0) * 1000) for batch in batches if batch.readings]
