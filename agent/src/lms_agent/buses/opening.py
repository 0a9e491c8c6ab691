"""From a bus's settings to the bus itself. Nothing is opened yet: the first request does that."""

import random
from typing import TypeAlias

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.modbus_rtu import RtuMaster
from lms_agent.buses.modbus_tcp import TcpMaster
from lms_agent.buses.serial_line import SerialLine
from lms_agent.buses.tcp_stream import TcpStream
from lms_agent.buses.text_line import TextLine
from lms_agent.clock import Clock
from lms_agent.settings.model import BusSettings, ModbusRtuBus, ModbusTcpBus, SerialBus

Bus: TypeAlias = ModbusMaster | TextLine


def make_bus(settings: BusSettings, clock: Clock, chance: random.Random) -> Bus:
    """The one owner of the port that `settings` name."""
    if isinstance(settings, ModbusTcpBus):
        stream = TcpStream(settings.host, settings.port, timeout_s=max(settings.timeout_s, 1.0), clock=clock)
        return TcpMaster(
            stream, timeout_s=settings.timeout_s, chance=chance, zero_transactions=settings.zero_transactions
        )
    line = _serial_line(settings, clock)
    silence_s = settings.timeout_s if settings.silence_s is None else settings.silence_s
    if isinstance(settings, ModbusRtuBus):
        return RtuMaster(
            line, character_s=line.character_s, timeout_s=settings.timeout_s, silence_s=silence_s, chance=chance
        )
    return TextLine(
        line, timeout_s=settings.timeout_s, silence_s=silence_s, chance=chance, character_s=line.character_s
    )


def _serial_line(settings: ModbusRtuBus | SerialBus, clock: Clock) -> SerialLine:
    return SerialLine(
        settings.port,
        baud=settings.baud,
        data_bits=settings.data_bits,
        parity=settings.parity,
        stop_bits=settings.stop_bits,
        clock=clock,
    )
