"""What will be asked on each line, how long that takes, and how busy the line will be; for `plan` and `check`.

Neighbours: `drivers/block_planning.py` makes the blocks, `buses/wire_time.py` knows how long they take.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lms_agent.buses.modbus_frames import FUNCTIONS
from lms_agent.buses.wire_time import WireTime, wire_time_of
from lms_agent.drivers.block_planning import plan_blocks, spans_of
from lms_agent.settings import AgentSettings, BusSettings, ModbusInstrument, ModbusTcpBus

BUSY_LINE = 0.8
"""The share of time from which on a line is too busy: nothing is left for a second try or a late reply."""
_REGISTERS = {code: register for register, code in FUNCTIONS.items()}


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request of a scan.

    Attributes:
        register: which of the four tables.
        address, count: on the wire, counted from 0.
        along: registers (or bits) of it that no tag wants.
        tags: those that it answers.
        seconds: on the wire, with a usual time for the instrument to answer.
    """

    register: str
    address: int
    count: int
    along: int
    tags: tuple[str, ...]
    seconds: float


class InstrumentPlan(NamedTuple):
    """What one instrument is asked at each scan.

    Attributes:
        requests: in order.
        one_by_one_s: what it would take to ask for each point by itself.
    """

    instrument: ModbusInstrument
    requests: tuple[PlannedRequest, ...]
    one_by_one_s: float

    @property
    def seconds(self) -> float:
        """A whole scan of the instrument."""
        return sum(request.seconds for request in self.requests)


class LinePlan(NamedTuple):
    """One Modbus line."""

    bus: BusSettings
    instruments: tuple[InstrumentPlan, ...]

    @property
    def busy(self) -> float:
        """Share of the time that the line is in use; more than 1 cannot be kept."""
        return sum(plan.seconds / plan.instrument.period_s for plan in self.instruments)

    @property
    def warning(self) -> str | None:
        """What is wrong with it, and what helps; None if it will do."""
        if self.busy <= BUSY_LINE:
            return None
        remedy = "longer periods or fewer points"
        speed = ""
        if not isinstance(self.bus, ModbusTcpBus):
            speed, remedy = f" at {self.bus.baud} baud", f"a higher baud rate, {remedy}"
        return f"bus {self.bus.id} would be busy {self.busy:.0%} of the time{speed}: scans will be missed; use {remedy}"


def plan_of_line(settings: AgentSettings, bus: BusSettings) -> LinePlan | None:
    """The plan of a Modbus bus; None for a line of text, which each instrument asks in its own way."""
    wire = wire_time_of(bus)
    if wire is None:
        return None
    instruments = [each for each in settings.instruments_on(bus.id) if isinstance(each, ModbusInstrument)]
    return LinePlan(bus, tuple(plan_of_instrument(instrument, wire) for instrument in instruments))


def plan_of_instrument(instrument: ModbusInstrument, wire: WireTime) -> InstrumentPlan:
    """What one instrument is asked, on a line with these times."""
    one_by_one = sum(wire.of(span.function, span.count) for point in instrument.points for span in spans_of(point))
    return InstrumentPlan(instrument, tuple(_requests(instrument, wire)), one_by_one)


def _requests(instrument: ModbusInstrument, wire: WireTime) -> Iterator[PlannedRequest]:
    for block in plan_blocks(instrument, wire):
        points = [instrument.points[index] for index in block.points]
        within = range(block.address, block.end)
        spans = [span for point in points for span in spans_of(point) if span.function == block.function]
        wanted = {at for span in spans for at in range(span.address, span.address + span.count) if at in within}
        yield PlannedRequest(
            _REGISTERS[block.function],
            block.address,
            block.count,
            block.count - len(wanted),
            tuple(point.tag for point in points),
            wire.of(block.function, block.count),
        )


def span(address: int, count: int) -> str:
    """Addresses for people."""
    return f"{address}" if count == 1 else f"{address} to {address + count - 1}"


def counted(count: int, thing: str) -> str:
    """A number and its noun."""
    return f"{count} {thing}{'s' * (count != 1)}"
