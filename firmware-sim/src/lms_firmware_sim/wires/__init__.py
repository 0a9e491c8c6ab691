"""Instruments' dialects on real wires: TCP sockets and pseudo-terminals.

The servers are our own, byte by byte, because a simulated fault must be able to say anything that a broken
instrument or cable can say. Neighbours: `lms_firmware_sim.simulated` binds them to a process model; tests lay
them by hand:

    async with ModbusTcpWire(units={1: RegisterMap(holding={0: 7})}) as wire:
        client.connect(wire.address)
        wire.fault = Fault.silence()
"""

from lms_firmware_sim.wires.balance import BalanceWire
from lms_firmware_sim.wires.faults import Fault, FaultKind
from lms_firmware_sim.wires.modbus_rtu import RtuWire
from lms_firmware_sim.wires.modbus_tcp import ModbusTcpWire
from lms_firmware_sim.wires.registers import RegisterMap
from lms_firmware_sim.wires.text_wire import TextInstrument, TextWire
from lms_firmware_sim.wires.wire import Request, Wire

__all__ = [
    "BalanceWire",
    "Fault",
    "FaultKind",
    "ModbusTcpWire",
    "RegisterMap",
    "Request",
    "RtuWire",
    "TextInstrument",
    "TextWire",
    "Wire",
]
