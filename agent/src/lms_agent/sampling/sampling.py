"""One task per bus: wait for the next tick, read what is due, hand over one scan per bioreactor.

A slow or dead instrument delays only those on its own line, and those as little as can be: instruments that fail are
visited last, after the scans of the healthy ones have been handed over. The grid of scans lies on the monotonic clock;
what was missed is recorded as a gap and never made up for in a burst.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence

from lms_protocol.reading import Gap, TagDescription

from lms_agent.buses.backoff import Backoff
from lms_agent.buses.opening import Bus, make_bus
from lms_agent.clock import Clock, SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.sampling.outlet import MOST_WAITING, Outlet
from lms_agent.sampling.scan import GapIds, Scan, Sink
from lms_agent.sampling.watching import Taken, WatchedInstrument
from lms_agent.settings.model import AgentSettings, InstrumentSettings

MOST_ALONE_S = 10.0
"""The longest time that a silent instrument is left alone."""


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
    ) -> None:
        self._clock = clock or SystemClock()
        self._chance = chance or random.Random()  # noqa: S311 - spreads retries; nothing secret
        self._sink = sink
        self._next_gap_id = next_gap_id
        self._most_waiting = most_waiting
        self._open_gaps = tuple(open_gaps)
        self._numbers = {(tag.device, tag.name): tag.number for tag in tags}
        self._buses: list[Bus] = []
        self._lines: list[list[WatchedInstrument]] = []
        for bus_settings in settings.buses:
            instruments = settings.instruments_on(bus_settings.id)
            if instruments:
                bus = make_bus(bus_settings, self._clock, self._chance)
                self._buses.append(bus)
                self._lines.append([self._watched(instrument, bus) for instrument in instruments])

    @property
    def instruments(self) -> Sequence[WatchedInstrument]:
        """All instruments with what is known of their health."""
        return [instrument for line in self._lines for instrument in line]

    async def run(self) -> None:
        """Sample until cancelled; then wait for the sink to answer for what it was given, and give the ports back."""
        outlets = [Outlet(self._sink, self._next_gap_id, self._most_waiting) for _ in self._lines]
        try:
            async with asyncio.TaskGroup() as tasks:
                for line, outlet in zip(self._lines, outlets, strict=True):
                    tasks.create_task(sample_line(line, outlet, self._clock))
                    tasks.create_task(outlet.watch())
        finally:
            for outlet in outlets:
                await outlet.drain()
            for bus in self._buses:
                await bus.close()

    def _watched(self, instrument: InstrumentSettings, bus: Bus) -> WatchedInstrument:
        numbers = [self._numbers[instrument.bioreactor, point.tag] for point in instrument.points]
        return WatchedInstrument(
            instrument.id,
            instrument.bioreactor,
            instrument.period_s,
            numbers,
            make_driver(instrument, bus, numbers),
            clock=self._clock,
            backoff=Backoff(instrument.period_s, max(MOST_ALONE_S, instrument.period_s), self._chance),
            next_gap_id=self._next_gap_id,
            open_gaps=self._open_gaps,
        )


async def sample_line(line: Sequence[WatchedInstrument], outlet: Outlet, clock: Clock) -> None:
    """Read the instruments of one bus at their rates, for ever."""
    start_s = clock.monotonic_s()
    for instrument in line:
        instrument.begin(start_s)
    while True:
        next_s = min(instrument.due_s for instrument in line)
        now_s = clock.monotonic_s()
        if next_s > now_s:
            await clock.sleep(next_s - now_s)
            now_s = max(clock.monotonic_s(), next_s)
        due = [instrument for instrument in line if instrument.due_s <= now_s]
        await _visit([instrument for instrument in due if not instrument.is_failing], outlet)
        for instrument in due:
            if instrument.due_s <= now_s:  # it was failing, so it has not been visited yet
                await _visit([instrument], outlet)


async def _visit(instruments: Sequence[WatchedInstrument], outlet: Outlet) -> None:
    """Read each instrument once and hand over one scan per bioreactor."""
    taken: dict[str, Taken] = {}
    for instrument in instruments:
        new = await instrument.visit()
        if new.readings or new.gaps:
            mine = taken.setdefault(instrument.device, Taken([], []))
            mine.readings.extend(new.readings)
            mine.gaps.extend(new.gaps)
    for device, (readings, gaps) in taken.items():
        outlet.put(Scan(device, tuple(readings), tuple(gaps)))
