"""One task per bus: wait for the next tick, read what is due, hand over one scan per bioreactor.

A slow or dead instrument delays only those on its own line, and those as little as can be: instruments that fail are
visited last, after the scans of the healthy ones have been handed over, and where that makes others miss scans, so
seldom that it costs them less than a twentieth. The grid of scans lies on the monotonic clock;
what was missed is recorded as a gap and never made up for in a burst.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lms_protocol.reading import Gap, TagDescription

from lms_agent.bench import Bench
from lms_agent.buses.backoff import Backoff
from lms_agent.buses.opening import Bus, make_bus
from lms_agent.calibration.store import Calibrations
from lms_agent.clock import Clock, SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.processing import UNCALIBRATED, Processing
from lms_agent.sampling.outlet import MOST_WAITING, Outlet
from lms_agent.sampling.scan import GapIds, Scan, Sink
from lms_agent.sampling.watching import Taken, WatchedInstrument
from lms_agent.settings import AgentSettings, InstrumentSettings

MOST_ALONE_S = 10.0
"""The longest time that a silent instrument is left alone."""
STUCK_AFTER_S = 30.0
"""A line that is so much later than its slowest instrument may be will not come back: something hangs."""


@dataclass
class _Progress:
    """How one line gets on.

    Attributes:
        visiting: an instrument is being read just now.
        finishing: the line is to end after the instrument that it reads.
        moved_s: when a reading last ended, well or not, on the monotonic clock.
    """

    visiting: bool = False
    finishing: bool = False
    moved_s: float = 0.0


@dataclass(frozen=True)
class _Line:
    """One bus and its instruments.

    Attributes:
        patience_s: how long one instrument may take at most.
    """

    instruments: Sequence[WatchedInstrument]
    progress: _Progress
    patience_s: float


class Sampling:
    """Samples all instruments of a configuration.

    Args:
        settings: the whole configuration.
        tags: all tags, with the numbers that the log gave them.
        sink: takes each scan, and returns when it is committed.
        next_gap_id: gives gap ids, unique in the stream.
        open_gaps: gaps that were still open when the agent stopped; the first good reading closes them.
        clock, chance: time and chance, to be replaced in simulations.
        most_waiting: scans per bus that may wait for the sink.
        calibrations: by which readings are corrected at first.

    Attributes:
        bench: asks the same instruments beside the scans, for as long as `run` runs.
        processing: what is done with readings on their way to the sink.
    """

    def __init__(
        self,
        settings: AgentSettings,
        tags: Iterable[TagDescription],
        sink: Sink,
        *,
        next_gap_id: GapIds,
        open_gaps: Iterable[Gap] = (),
        clock: Clock | None = None,
        chance: random.Random | None = None,
        most_waiting: int = MOST_WAITING,
        calibrations: Calibrations = UNCALIBRATED,
    ) -> None:
        self._clock = clock or SystemClock()
        self._chance = chance or random.Random()  # noqa: S311 - spreads retries; nothing secret
        self._sink = sink
        self._next_gap_id = next_gap_id
        self._most_waiting = most_waiting
        self._open_gaps = tuple(open_gaps)
        self._numbers = {(tag.device, tag.name): tag.number for tag in tags}
        self.processing = Processing(settings, self._numbers, calibrations)
        self._buses: dict[str, Bus] = {}
        self._lines: list[_Line] = []
        self._tasks: list[asyncio.Task[None]] = []
        for bus_settings in settings.buses:
            instruments = settings.instruments_on(bus_settings.id)
            if instruments:
                bus = make_bus(bus_settings, self._clock, self._chance)
                self._buses[bus_settings.id] = bus
                watched = [self._watched(instrument, bus) for instrument in instruments]
                progress = _Progress(moved_s=self._clock.monotonic_s())
                self._lines.append(_Line(watched, progress, STUCK_AFTER_S + 3 * bus_settings.timeout_s))
        self.bench = Bench(settings.instruments, self._buses, self._clock, lambda: self.processing.calibrations)

    @property
    def instruments(self) -> Sequence[WatchedInstrument]:
        """All instruments with what is known of their health."""
        return [instrument for line in self._lines for instrument in line.instruments]

    def finish(self) -> None:
        """Let `run` end: what is being read is read to its end, and nothing new is begun."""
        for line, task in zip(self._lines, self._tasks, strict=False):
            line.progress.finishing = True
            if not line.progress.visiting:
                task.cancel()

    def stuck(self) -> list[str]:
        """The instruments of lines that hang: something was due long ago, and nothing has moved since."""
        now_s = self._clock.monotonic_s()
        return [
            instrument.id
            for line in self._lines
            for instrument in line.instruments
            if now_s - max(line.progress.moved_s, min(each.due_s for each in line.instruments)) > line.patience_s
        ]

    async def run(self) -> None:
        """Sample until cancelled or finished; then wait for the sink's answers, and give the ports back."""
        outlets = [Outlet(self._sink, self._next_gap_id, self._most_waiting, self.processing) for _ in self._lines]
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = [tasks.create_task(outlet.watch()) for outlet in outlets]
                self._tasks = [
                    tasks.create_task(sample_line(line.instruments, outlet, self._clock, line.progress))
                    for line, outlet in zip(self._lines, outlets, strict=True)
                ]
                if self._tasks:
                    await asyncio.wait(self._tasks)
                for task in watching:
                    task.cancel()
        finally:
            for device, readings in self.processing.held_back().items():
                outlets[0].hand_over(Scan(device, readings))
            for outlet in outlets:
                await outlet.drain()
            await self.bench.close()
            for bus in self._buses.values():
                await bus.close()

    def _watched(self, instrument: InstrumentSettings, bus: Bus) -> WatchedInstrument:
        numbers = [self._numbers[instrument.bioreactor, point.tag] for point in instrument.points]
        own = frozenset(numbers)
        open_gaps = [
            gap._replace(tags=tuple(tag for tag in gap.tags if tag in own))  # those made from them are put back later
            for gap in self._open_gaps
            if not own.isdisjoint(gap.tags)
        ]
        return WatchedInstrument(
            instrument.id,
            instrument.bioreactor,
            instrument.period_s,
            numbers,
            make_driver(instrument, bus, numbers),
            clock=self._clock,
            backoff=Backoff(instrument.period_s, max(MOST_ALONE_S, instrument.period_s), self._chance),
            next_gap_id=self._next_gap_id,
            open_gaps=open_gaps,
        )


async def sample_line(
    line: Sequence[WatchedInstrument], outlet: Outlet, clock: Clock, progress: _Progress | None = None
) -> None:
    """Read the instruments of one bus at their rates, for ever or until the progress says that it is to finish."""
    progress = progress or _Progress()
    start_s = clock.monotonic_s()
    for instrument in line:
        instrument.begin(start_s)
    while not progress.finishing:
        next_s = min(instrument.due_s for instrument in line)
        now_s = clock.monotonic_s()
        if next_s > now_s:
            await clock.sleep(next_s - now_s)
            now_s = max(clock.monotonic_s(), next_s)
        due = [instrument for instrument in line if instrument.due_s <= now_s]
        progress.visiting = True
        await _visit([instrument for instrument in due if not instrument.is_failing], outlet, clock, progress)
        for instrument in due:
            if instrument.due_s <= now_s:  # it was failing, so it has not been visited yet
                began_s = clock.monotonic_s()
                await _visit([instrument], outlet, clock, progress)
                _spare(line, instrument, clock.monotonic_s(), clock.monotonic_s() - began_s)
        progress.visiting = False


def _spare(line: Sequence[WatchedInstrument], failing: WatchedInstrument, now_s: float, took_s: float) -> None:
    """Let an instrument that keeps failing wait, if the attempt was at the cost of the others' scans.

    It costs them as much again: after a missed reply the line is left silent, by default as long as was waited for it.
    """
    free_s = now_s + took_s
    if any(not other.is_failing and other.due_s + other.period_s <= free_s for other in line):
        failing.spare_neighbours(2 * took_s * sum(each.is_failing for each in line))


async def _visit(instruments: Sequence[WatchedInstrument], outlet: Outlet, clock: Clock, progress: _Progress) -> None:
    """Read each instrument once and hand over one scan per bioreactor."""
    taken: dict[str, Taken] = {}
    for instrument in instruments:
        new = await instrument.visit()
        progress.moved_s = clock.monotonic_s()
        if new.readings or new.gaps:
            mine = taken.setdefault(instrument.device, Taken([], []))
            mine.readings.extend(new.readings)
            mine.gaps.extend(new.gaps)
    for device, (readings, gaps) in taken.items():
        outlet.put(Scan(device, tuple(readings), tuple(gaps)))
