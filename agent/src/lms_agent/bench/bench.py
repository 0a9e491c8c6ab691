"""The bench: instruments asked beside the scans, each by a driver of its own, on the bus that the scans use.

A bus serves one transaction at a time and those who wait in the order in which they came, so that what is asked here is
asked after at most one transaction of the scan under way, and no scan is held up for longer than the answer takes.

Neighbours: `lms_agent.sampling` has the buses of a running agent; `opened` makes some where none runs.
"""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from lms_protocol.errors import LmsError
from lms_protocol.reading import Quality, Value

from lms_agent.bench.parts import AFTER, BEFORE, NotObeyed, NotTaken, part_of
from lms_agent.bench.visit import Visit
from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.opening import Bus, make_bus
from lms_agent.calibration.store import Calibrations, load_or_doubt
from lms_agent.clock import Clock, SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.drivers.driver import Driver, Go, JudgesItsProbe, Written, always
from lms_agent.drivers.verdicts import ask_verdict, refusal_of
from lms_agent.errors import InstrumentError
from lms_agent.settings import AgentSettings, InstrumentSettings, ModbusInstrument


class UnknownInstrument(LmsError):
    """The settings have no such instrument.

    Attributes:
        name: as it was asked for.
        known: those that there are.
    """

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(f"no instrument {name!r}; the configuration has {', '.join(self.known)}")


class UnknownTag(LmsError):
    """No instrument of the settings has such a tag.

    Attributes:
        bioreactor, tag: as they were asked for.
    """

    def __init__(self, bioreactor: str, tag: str) -> None:
        self.bioreactor = bioreactor
        self.tag = tag
        super().__init__(f"{bioreactor} has no tag {tag!r}")


class BenchClosed(LmsError):
    """The agent ends, or takes other settings over: its buses are being given back."""

    def __init__(self) -> None:
        super().__init__("the agent is taking over other settings or is ending; ask again in a moment")


KEEP_S = 5.0
"""A driver that was not used for so long is not used again."""


class _Seat:
    """One instrument, its driver, and the turn to use it: a dialogue with it is not interrupted by another.

    What a driver has found out (which model it is, in which unit it speaks) holds for as long as it is in touch with
    the instrument. This one is so only now and then: another instrument may have been plugged in since, and somebody
    may be about to set it.
    """

    def __init__(self, settings: InstrumentSettings, bus: Bus, clock: Clock) -> None:
        self.settings = settings
        self.bus = bus
        self.turn = asyncio.Lock()
        self._clock = clock
        self._driver: Driver | None = None
        self._used_s = -math.inf

    @property
    def driver(self) -> Driver:
        """The driver, if it was used just now, else a new one."""
        now_s = self._clock.monotonic_s()
        if self._driver is None or now_s - self._used_s > KEEP_S:
            self._driver = self.new_driver()
        self._used_s = now_s
        return self._driver

    def new_driver(self) -> Driver:
        """A driver that knows nothing yet; its tags are numbered by the order of the points."""
        return make_driver(self.settings, self.bus, range(len(self.settings.points)))


class Bench:
    """Asks the instruments of a configuration.

    Args:
        instruments: those that may be asked.
        buses: the open lines by id, of all these instruments.
        calibrations: those by which readings are corrected now.
    """

    def __init__(
        self,
        instruments: Iterable[InstrumentSettings],
        buses: Mapping[str, Bus],
        clock: Clock,
        calibrations: Callable[[], Calibrations] = Calibrations,
    ) -> None:
        self._clock = clock
        self._calibrations = calibrations
        self._seats = {instrument.id: _Seat(instrument, buses[instrument.bus], clock) for instrument in instruments}
        self._closed = False
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def read(self, names: Iterable[str] | None = None) -> list[Visit]:
        """Read instruments now: those of one line one after another, the lines side by side.

        Args:
            names: their ids; None: all.

        Raises:
            UnknownInstrument: the settings have none of that name.
            BenchClosed: the buses are being given back.
        """
        lines: dict[str, list[_Seat]] = {}
        chosen = [self._seat(name) for name in (self._seats if names is None else dict.fromkeys(names))]
        for seat in chosen:
            lines.setdefault(seat.settings.bus, []).append(seat)
        async with self._in_use():
            visits = await asyncio.gather(*(self._visit_line(line) for line in lines.values()))
        by_name = {visit.instrument: visit for line in visits for visit in line}
        return [by_name[seat.settings.id] for seat in chosen]

    async def value(self, bioreactor: str, tag: str) -> Value:
        """The value of one tag, read now; None if it cannot be read, or is not to be trusted.

        Raises:
            UnknownTag: no instrument has it.
            BenchClosed: the buses are being given back.
        """
        seat, index = self._place_of(bioreactor, tag)
        async with self._in_use(), seat.turn:
            outcome = await seat.driver.read()
        found = (reading for reading in outcome.readings if reading.tag == index and reading.quality is not Quality.BAD)
        return next((reading.value for reading in found), None)

    async def write(self, bioreactor: str, tag: str, value: Value, go: Go = always) -> Written:
        """Write one tag, before polls that wait, and read back what the instrument holds; see `Driver.write`.

        Raises:
            UnknownTag: no instrument has it.
            BenchClosed: the buses are being given back; nothing was sent.
            InstrumentError, or what `go` raises: as `Driver.write`.
        """
        seat, index = self._place_of(bioreactor, tag)
        async with self._in_use(), seat.turn:
            return await seat.new_driver().write(index, value, go)

    async def tell(self, bioreactor: str, tag: str, part: str, reference: float | None = None) -> None:
        """Tell an instrument one part of the calibration of a tag, as its procedure says.

        Args:
            part: a reference's name; or `BEFORE` or `AFTER`, what is told around a calibration.
            reference: the value that the reference really has; None: the one that the procedure says.

        Raises:
            UnknownTag: no instrument has it.
            NotTold: the procedure has no such part, or the value cannot be the reference's; nothing was sent.
            NotObeyed: a step is not confirmed, or what came of it cannot be asked or understood: nobody knows whether
                the instrument took it.
            NotTaken: the instrument says that it did not take the reference, and why.
            BenchClosed, InstrumentError: nothing was taken.
        """
        seat, index = self._place_of(bioreactor, tag)
        value, steps = part_of(seat.settings.points[index], part, reference)
        async with self._in_use(), seat.turn:
            driver = seat.new_driver()
            confirmed = 0
            try:
                for step in steps:
                    written = await driver.tell(step, value)
                    if not written.confirmed:
                        raise NotObeyed(tag, part, written.doubt)
                    confirmed += 1
                    await self._clock.sleep(step.wait_s)
                if part not in (BEFORE, AFTER):
                    await self._check_taken(seat, index, part)
            except InstrumentError as error:
                if confirmed:  # the instrument has taken something already; what it made of it, nobody knows
                    raise NotObeyed(tag, part, str(error)) from error
                raise

    async def slope_percent(self, bioreactor: str, tag: str) -> float | None:
        """How good the probe of a tag is, as its instrument says; None if it does not; see `JudgesItsProbe`.

        Raises:
            UnknownTag: no instrument has it.
            BenchClosed, InstrumentError: it cannot be asked now.
        """
        seat, _ = self._place_of(bioreactor, tag)
        if not isinstance(seat.driver, JudgesItsProbe):
            return None
        async with self._in_use(), seat.turn:
            return await seat.driver.slope_percent()

    async def close(self) -> None:
        """Ask nothing more, and return when the last answer is there: the buses may then be closed."""
        self._closed = True
        await self._idle.wait()

    async def _visit_line(self, line: list[_Seat]) -> list[Visit]:
        return [await self._visit(seat) for seat in line]

    async def _visit(self, seat: _Seat) -> Visit:
        async with seat.turn:
            start_s = self._clock.monotonic_s()
            outcome = await seat.driver.read()
            took_ms = 1000 * (self._clock.monotonic_s() - start_s)
            return Visit.of(seat.settings, outcome, took_ms, self._calibrations())

    async def _check_taken(self, seat: _Seat, index: int, part: str) -> None:
        """Have the instrument say whether it took a reference, if it can."""
        procedure = seat.settings.points[index].calibration
        if (
            procedure is None
            or procedure.verdict is None
            or not isinstance(seat.bus, ModbusMaster)
            or not isinstance(seat.settings, ModbusInstrument)
        ):
            return
        word = await ask_verdict(seat.bus, seat.settings.unit, procedure.verdict)
        refusal = refusal_of(word, procedure.verdict, part, (one.name for one in procedure.references))
        if refusal.words:
            raise (NotTaken if refusal.is_certain else NotObeyed)(seat.settings.points[index].tag, part, refusal.words)

    def _seat(self, name: str) -> _Seat:
        if name not in self._seats:
            raise UnknownInstrument(name, self._seats)
        return self._seats[name]

    def _place_of(self, bioreactor: str, tag: str) -> tuple[_Seat, int]:
        for seat in self._seats.values():
            if seat.settings.bioreactor == bioreactor:
                for index, point in enumerate(seat.settings.points):
                    if point.tag == tag:
                        return seat, index
        raise UnknownTag(bioreactor, tag)

    @asynccontextmanager
    async def _in_use(self) -> AsyncIterator[None]:
        if self._closed:
            raise BenchClosed
        self._busy += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()


@asynccontextmanager
async def opened(
    settings: AgentSettings, instruments: Iterable[InstrumentSettings], clock: Clock | None = None
) -> AsyncIterator[Bench]:
    """A bench with buses of its own, where no agent runs; they are opened when something is asked."""
    instruments, clock = tuple(instruments), clock or SystemClock()
    wanted = {instrument.bus for instrument in instruments}
    chance = random.Random()  # noqa: S311 - spreads retries; nothing secret
    buses = {bus.id: make_bus(bus, clock, chance) for bus in settings.buses if bus.id in wanted}
    calibrations = await asyncio.to_thread(load_or_doubt, settings.agent.log)
    try:
        yield Bench(instruments, buses, clock, lambda: calibrations)
    finally:
        for bus in buses.values():
            await bus.close()
