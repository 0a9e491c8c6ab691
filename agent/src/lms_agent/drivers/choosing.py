"""From an instrument's settings and its opened bus to the driver that speaks its dialect."""

from collections.abc import Sequence

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.opening import Bus
from lms_agent.buses.text_line import TextLine
from lms_agent.drivers.alicat import Alicat
from lms_agent.drivers.driver import Driver
from lms_agent.drivers.ezo import Ezo
from lms_agent.drivers.modbus_registers import ModbusRegisters
from lms_agent.drivers.mt_sics import MtSics
from lms_agent.drivers.recognising import Recognised
from lms_agent.drivers.watson_marlow import WatsonMarlow
from lms_agent.settings import (
    AlicatInstrument,
    EzoInstrument,
    InstrumentSettings,
    ModbusInstrument,
    MtSicsInstrument,
    WatsonMarlowInstrument,
)


def make_driver(instrument: InstrumentSettings, bus: Bus, numbers: Sequence[int]) -> Driver:
    """The driver of one instrument.

    Args:
        instrument: its settings, checked against those of its bus.
        bus: the line it hangs on.
        numbers: tag numbers, one per point, in the order of `instrument.points`.
    """
    match instrument, bus:
        case ModbusInstrument(), ModbusMaster():
            registers = ModbusRegisters(instrument, bus, numbers)
            if instrument.identity is None:
                return registers
            return Recognised(registers, instrument, instrument.identity, bus, numbers)
        case MtSicsInstrument(), TextLine():
            return MtSics(instrument, bus, numbers)
        case EzoInstrument(), TextLine():
            return Ezo(instrument, bus, numbers)
        case AlicatInstrument(), TextLine():
            return Alicat(instrument, bus, numbers)
        case WatsonMarlowInstrument(), TextLine():
            return WatsonMarlow(instrument, bus, numbers)
    raise TypeError(f"{instrument.id}: driver {instrument.driver} does not fit a {type(bus).__name__}")
