"""How long a Modbus transaction takes on its line, as far as line and protocol settle it.

Used by the planning of blocks (`drivers/block_planning.py`), which weighs a request more against registers read along,
and by `lms-agent plan` and `check`, which show how busy a line will be.

    RTU   request 8 characters | answering | reply 5 characters and the data | 3.5 characters of silence after each
    TCP   one round trip and answering; the data weigh next to nothing

Source: Modbus over Serial Line V1.02, sections 2.5.1 and 2.5.2.1: above 19200 baud the silence is fixed to 1.75 ms.
"""

from typing import Final, NamedTuple

from lms_agent.buses.modbus_frames import BIT_FUNCTIONS
from lms_agent.settings.model import BusSettings, ModbusRtuBus, ModbusTcpBus, SerialBus

_SHORTEST_SILENCE_S = 0.00175
_OVERHEAD_CHARACTERS = 8 + 5
ANSWERING_S = 0.01
"""What a slave usually takes before it answers; instruments differ, from 1 ms to 100 ms."""


class WireTime(NamedTuple):
    """The time of one transaction: `each_s` and, for each data byte of the reply, `byte_s`."""

    each_s: float
    byte_s: float

    def of(self, function: int, count: int) -> float:
        """Seconds for one read of `count` registers or bits."""
        return self.each_s + self.byte_s * ((count + 7) // 8 if function in BIT_FUNCTIONS else 2 * count)


TCP: Final = WireTime(each_s=0.002, byte_s=1e-6)


def silence_s(character_s: float) -> float:
    """The silence that parts two RTU frames."""
    return max(3.5 * character_s, _SHORTEST_SILENCE_S)


def rtu(character_s: float) -> WireTime:
    """The times on an RTU line on which one character takes `character_s`."""
    each_s = _OVERHEAD_CHARACTERS * character_s + ANSWERING_S + 2 * silence_s(character_s)
    return WireTime(each_s, character_s)


def character_s(bus: ModbusRtuBus | SerialBus) -> float:
    """How long one character takes on a serial line: start bit, data bits, parity and stop bits."""
    return (1 + bus.data_bits + (bus.parity != "none") + bus.stop_bits) / bus.baud


def wire_time_of(bus: BusSettings) -> WireTime | None:
    """The times on a Modbus bus; None for lines of text, where each instrument has its own."""
    match bus:
        case ModbusRtuBus():
            return rtu(character_s(bus))
        case ModbusTcpBus():
            return TCP
        case _:
            return None
