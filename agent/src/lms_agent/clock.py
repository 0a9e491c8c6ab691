"""The agent's time, injectable: instants in ms UTC, durations in monotonic seconds, and waiting.

Used by sampling (the grid of scans) and the buses (when a reply arrived). Only monotonic time decides what is due, so
a step of the wall clock neither skips a scan nor causes a burst.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the agent asks of time."""

    def wall_ms(self) -> int:
        """The instant now, in ms since 1970-01-01T00:00Z."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment; never runs backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; zero or less only lets others run."""
        ...


class SystemClock:
    """The computer's own clock."""

    def wall_ms(self) -> int:
        """The instant now, in ms since 1970-01-01T00:00Z."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        await asyncio.sleep(max(seconds, 0.0))
