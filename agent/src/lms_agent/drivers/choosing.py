"""From an instrument's settings and its opened bus to the driver that speaks its dialect."""

from collections.abc import Sequence

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.opening import Bus
from lms_agent.buses.text_line import TextLine
from lms_agent.drivers.driver import Driver
from lms_agent.drivers.modbus_registers import ModbusRegisters
from lms_agent.drivers.mt_sics import MtSics
from lms_agent.settings import InstrumentSettings, ModbusInstrument, MtSicsInstrument


def make_driver(instrument: InstrumentSettings, bus: Bus, numbers: Sequence[int]) -> Driver:
    """The driver of one instrument.

    Args:
        instrument: its settings, checked against those of its bus.
        bus: the line it hangs on.
        numbers: tag numbers, one per point, in the order of `instrument.points`.
    """
    match instrument, bus:
        case ModbusInstrument(), ModbusMaster():
            return ModbusRegisters(instrument, bus, numbers)
        case MtSicsInstrument(), TextLine():
            return MtSics(instrument, bus, numbers)
    raise TypeError(f"{instrument.id}: driver {instrument.driver} does not fit a {type(bus).__name__}")
