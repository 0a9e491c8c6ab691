"""One instrument under watch: when it is due, what its failures mean, which gaps are open.

    reads     fails   → one BAD reading per tag, a gap opens; the instrument is left alone a little longer each time
    fails     fails   → nothing: the open gap says it
    fails     reads   → the gap closes
    reads     reads, with scans missed between, or more than `BEARABLE_PERIODS` later → a gap that is closed already

Between a driver and `sampling.py`; `silences.py` knows how long each tag has not been read.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lms_protocol.reading import Gap, Quality, Reading

from lms_agent.buses.backoff import Backoff
from lms_agent.clock import Clock
from lms_agent.drivers.driver import Driver, Failure, Outcome
from lms_agent.errors import ReplyRefused, ReplyTimeout
from lms_agent.sampling.scan import GapIds
from lms_agent.sampling.silences import Silences

BEARABLE_PERIODS = 2.0
"""How far apart two readings of a tag may lie without a gap between them where no scan was missed. Scans that are late,
each by less than a period, are never further apart."""
SPARED_TIMES = 32.0
MOST_SPARED_S = 45.0
_PATIENT_FAILURES = 2
_BUSY = "the line or the computer was busy with something else"
_ON_TIME = 1e-6  # of a period: a timer that fires a hair early is on time


class Taken(NamedTuple):
    """What one visit to an instrument brought."""

    readings: list[Reading]
    gaps: list[Gap]


class WatchedInstrument:
    """An instrument, read on a grid of `period_s` that does not drift.

    Args:
        id: its id, for people.
        device: the bioreactor's wire id.
        period_s: from scan to scan.
        tags: the numbers of its tags.
        driver: reads it.
        clock: says what is due, and when a failure was.
        backoff: how long to leave it alone while it does not answer.
        next_gap_id: gives gap ids.
        open_gaps: gaps of its tags that were open when the agent stopped.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the word of the configuration
        device: str,
        period_s: float,
        tags: Sequence[int],
        driver: Driver,
        *,
        clock: Clock,
        backoff: Backoff,
        next_gap_id: GapIds,
        open_gaps: Iterable[Gap] = (),
    ) -> None:
        self.id = id
        self.device = device
        self.period_s = period_s
        self.tags = tuple(tags)
        self.missed = 0
        self._driver = driver
        self._clock = clock
        self._backoff = backoff
        self._next_gap_id = next_gap_id
        own = frozenset(self.tags)
        self._open = {gap.id: gap for gap in open_gaps if own.issuperset(gap.tags)}
        self._missing = {tag for gap in self._open.values() for tag in gap.tags}
        self._silences = Silences(period_s)
        self._start_s = 0.0
        self._tick = 0
        self._not_before_s = -math.inf

    @property
    def is_failing(self) -> bool:
        """Whether any of its tags cannot be read at present."""
        return bool(self._open)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not, one sentence per open gap."""
        return tuple(gap.reason for gap in self._open.values())

    @property
    def due_s(self) -> float:
        """When the next scan is due, on the monotonic clock."""
        return self._start_s + self._tick * self.period_s

    def begin(self, start_s: float) -> None:
        """Lay the grid of scans from `start_s` on."""
        self._start_s = start_s
        self._tick = 0

    async def visit(self) -> Taken:
        """Read the instrument for the tick that is due; nothing if it is being left alone."""
        now_s = self._clock.monotonic_s()
        missed = self._pass_over(now_s)
        self._tick += 1
        if now_s < self._not_before_s:
            return Taken([], [])
        outcome = await self._driver.read()
        # No reading is from the time while it was answering. What passes between its answer and now comes after it.
        missed += self._pass_over(self._arrival_s(outcome.readings))
        return self._judge(outcome, missed)

    def _arrival_s(self, readings: Sequence[Reading]) -> float:
        """When the first of the readings came, on the monotonic clock; now, if there are none."""
        ago_ms = self._clock.wall_ms() - readings[0].taken_at_ms if readings else 0
        return self._clock.monotonic_s() - ago_ms / 1000

    def _pass_over(self, upto_s: float) -> int:
        """Go on to the tick that is due by a moment of the monotonic clock; how many before it nobody came for."""
        present = max(self._tick, math.floor((upto_s - self._start_s) / self.period_s + _ON_TIME))
        missed, self._tick = present - self._tick, present
        return missed

    def _judge(self, outcome: Outcome, missed: int) -> Taken:
        readings = outcome.readings
        gaps = self._close(readings)
        gaps += self._gaps_of_silence(readings, missed)
        if outcome.failures:
            now_ms = self._clock.wall_ms()
            for failure in outcome.failures:
                fresh = tuple(tag for tag in failure.tags if tag not in self._missing)
                readings = readings + [Reading(tag, now_ms, None, Quality.BAD) for tag in fresh]
                gaps += [
                    self._open_gap(silence.tags, silence.began_at_ms, str(failure.error))
                    for silence in self._silences.of(fresh, now_ms)
                ]
            self._leave_alone(outcome.failures, silent=not outcome.readings)
        if outcome.readings:
            self._silences.read(outcome.readings)
            self._backoff.succeeded()
        return Taken(readings, gaps)

    def _leave_alone(self, failures: list[Failure], *, silent: bool) -> None:
        """Only silence and nonsense cost the neighbours time; a line that cannot be opened has its own back-off."""
        if silent and failures and isinstance(failures[-1].error, ReplyTimeout | ReplyRefused):
            self._not_before_s = self._clock.monotonic_s() + self._backoff.failed()

    def spare_neighbours(self, cost_s: float) -> None:
        """An attempt in vain has made neighbours miss scans: the next one must wait long enough to be below 5 %.

        The first failures are none of this: a reply that was missed once is asked for again at the next scan.

        Args:
            cost_s: what attempts like this one take of the line.
        """
        if self.is_failing and self._backoff.failures >= _PATIENT_FAILURES:
            wait_s = self._backoff.spread(min(SPARED_TIMES * cost_s, MOST_SPARED_S))
            self._not_before_s = max(self._not_before_s, self._clock.monotonic_s() + wait_s)

    def _gaps_of_silence(self, readings: list[Reading], missed: int) -> list[Gap]:
        """Tell of the time before these readings in which tags were due and nothing was read.

        Where it lies is told by the times of the readings. The scan that is missed after one that came a period late
        leaves no silence behind: that lay before the late one, and is told.
        """
        silences = self._silences.longer_than(1.0 if missed else BEARABLE_PERIODS, readings)
        if silences:
            self.missed += missed
        gaps = []
        for tags, began_at_ms, ended_at_ms in silences:
            if missed:
                reason = f"{missed} scans of {self.id} missed: {_BUSY}"
            else:
                late_s = (ended_at_ms - began_at_ms) / 1000 - self.period_s
                reason = f"a scan of {self.id} came {late_s:.1f} s late: {_BUSY}, or asleep"
            gaps.append(Gap(self._next_gap_id(), tags, began_at_ms, ended_at_ms, reason))
        return gaps

    def _open_gap(self, tags: tuple[int, ...], began_at_ms: int, reason: str) -> Gap:
        gap = Gap(self._next_gap_id(), tags, began_at_ms, None, reason)
        self._open[gap.id] = gap
        self._missing.update(tags)
        return gap

    def _close(self, readings: list[Reading]) -> list[Gap]:
        """Close every gap that a reading ends; tags of it that are still missing get a gap of their own."""
        if not self._open or not readings:
            return []
        taken = {reading.tag: reading.taken_at_ms for reading in readings}
        changed = []
        for gap in list(self._open.values()):
            ends = [taken[tag] for tag in gap.tags if tag in taken]
            if not ends:
                continue
            del self._open[gap.id]
            self._missing.difference_update(gap.tags)
            ended = gap._replace(ended_at_ms=max(min(ends), gap.began_at_ms))
            changed.append(ended)
            self._silences.told(gap.tags, min(ends))
            rest = tuple(tag for tag in gap.tags if tag not in taken)
            if rest:
                changed.append(self._open_gap(rest, min(ends), gap.reason))
        return changed
