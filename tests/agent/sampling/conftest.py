"""Time that only moves when somebody waits, and instruments that follow a script."""

import asyncio
import random
from collections.abc import Callable

import pytest
from lms_agent.buses.backoff import Backoff
from lms_agent.drivers.driver import Failure, Outcome
from lms_agent.errors import ReplyTimeout
from lms_agent.sampling.watching import WatchedInstrument
from lms_protocol.reading import Reading

START_MS = 1_800_000_000_000


class SteppedClock:
    """Time for simulations: `sleep` moves it on at once; ends the simulation at `end_s`."""

    def __init__(self, end_s: float = 1e9) -> None:
        self.now_s = 1000.0
        self.end_s = 1000.0 + end_s
        self.late_s = 0.0  # each sleep oversleeps this much
        self.asleep_s = 0.0  # for so long the computer was suspended: monotonic time stood still

    def wall_ms(self) -> int:
        return START_MS + round((self.now_s + self.asleep_s - 1000.0) * 1000)

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        await self.spend(seconds + self.late_s)

    async def spend(self, seconds: float) -> None:
        self.now_s += seconds
        if self.now_s > self.end_s:
            raise asyncio.CancelledError
        for _ in range(3):
            await asyncio.sleep(0)


class ScriptedDriver:
    """Reads tags at the clock's time; `takes_s` per visit; silent while `silent(now_s since start)` says so."""

    def __init__(self, clock: SteppedClock, tags, *, takes_s: float = 0.01, silent=lambda at_s: False) -> None:
        self.clock = clock
        self.tags = tuple(tags)
        self.takes_s = takes_s
        self.silent = silent
        self.visits: list[float] = []

    async def read(self) -> Outcome:
        at_s = self.clock.now_s - 1000.0
        self.visits.append(at_s)
        await self.clock.spend(self.takes_s)
        missing = self.silent(at_s)
        silent = self.tags if missing is True else tuple(missing or ())
        now_ms = self.clock.wall_ms()
        readings = [Reading(tag, now_ms, float(now_ms)) for tag in self.tags if tag not in silent]
        failures = [Failure(silent, ReplyTimeout("line-1", 3, 0.3))] if silent else []
        return Outcome(readings, failures)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def scripted() -> type[ScriptedDriver]:
    return ScriptedDriver


@pytest.fixture
def gap_ids() -> Callable[[], int]:
    return iter(range(1, 10**9)).__next__


@pytest.fixture
def watch(clock, gap_ids):
    """`watch(driver, period_s=…)`: a watched instrument of bioreactor R1."""

    def make(driver, *, name="probe", period_s=1.0, device="R1", open_gaps=()) -> WatchedInstrument:
        return WatchedInstrument(
            name,
            device,
            period_s,
            driver.tags,
            driver,
            clock=clock,
            backoff=Backoff(period_s, 10.0, random.Random(3)),
            next_gap_id=gap_ids,
            open_gaps=open_gaps,
        )

    return make


@pytest.fixture
def start_ms() -> int:
    return START_MS
