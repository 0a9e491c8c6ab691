"""What the computer says of time, injectable: time since boot, system clock, boot id, and waiting.

Neighbours: `lms_agent.timekeeping.timekeeper` makes the agent's time of it.
"""

import asyncio
import logging
import time
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

from lms_agent.timekeeping.discipline import Observation
from lms_agent.timekeeping.kernel import synchronised

LOGGER = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class TimeSource(Protocol):
    """What the agent asks of the computer."""

    @property
    def boot(self) -> UUID:
        """The id of this boot; another after each start of the computer."""
        ...

    def boot_ms(self) -> int:
        """Milliseconds since boot; runs in suspend too, never steps."""
        ...

    def observe(self) -> Observation:
        """Both clocks, at one moment, and whether the system clock is synchronised."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment; never runs backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; zero or less only lets others run."""
        ...


class Computer:
    """The computer that the agent runs on."""

    def __init__(self) -> None:
        try:
            self.boot = UUID(BOOT_ID.read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            # Nobody knows whether the computer has booted since, so this start is taken for a boot: the offset is not
            # taken over. If it was none, what an earlier start could not date ends up before the computer's boot.
            LOGGER.warning("%s cannot be read: every start of the agent counts as one of the computer", BOOT_ID)
            self.boot = uuid4()

    def boot_ms(self) -> int:
        """Milliseconds of CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def observe(self) -> Observation:
        """Read both clocks; of three tries that in which they were read closest together."""
        tries = []
        for _ in range(3):
            before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            system_ns = time.time_ns()
            after_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            tries.append((after_ns - before_ns, (before_ns + after_ns) // 2, system_ns))
        _, boot_ns, system_ns = min(tries)
        return Observation(boot_ns // 1_000_000, system_ns // 1_000_000, synchronised())

    def monotonic_s(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        await asyncio.sleep(max(seconds, 0.0))
