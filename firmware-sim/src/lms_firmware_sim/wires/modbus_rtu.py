"""A Modbus RTU line, byte by byte, with one or more units, on a pseudo-terminal.

Frame: unit u8, function code, data, CRC-16 low byte first. On a real line 3.5 character times of silence part two
frames; a pseudo-terminal knows no such times, so a request is parted by the length that its function code implies,
and a short silence only throws away what made no sense.
Source: Modbus over Serial Line V1.02, sections 2.5.1 and 6.2.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from lms_firmware_sim.wires.faults import FaultKind
from lms_firmware_sim.wires.modbus_faults import Memory, Reply, carry_out, damage, damage_frame
from lms_firmware_sim.wires.modbus_requests import address_and_count, answer, request_length
from lms_firmware_sim.wires.registers import RegisterMap
from lms_firmware_sim.wires.serial_wire import SerialWire
from lms_firmware_sim.wires.wire import Request

_SILENCE_S = 0.05
_LARGEST_FRAME = 256
_BROADCAST = 0


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return table


_CRC_TABLE = _crc_table()


def crc16(data: bytes) -> bytes:
    """The two check bytes of a frame, in the order in which they are sent."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


class RtuWire(SerialWire):
    """A Modbus RTU line.

    Args:
        units: unit → its tables. Unknown units stay silent, as they must on a shared line.
    """

    def __init__(
        self,
        units: Mapping[int, RegisterMap],
        *,
        link: Path | str | None = None,
        baud: int = 19200,
        pace: bool = False,
        name: str = "modbus-rtu",
        seed: int = 0,
    ) -> None:
        super().__init__(name, link=link, baud=baud, pace=pace, seed=seed)
        self.units = dict(units)
        self._memory = Memory()
        self._buffer = bytearray()
        self._silence: asyncio.TimerHandle | None = None

    def _fault_changed(self) -> None:
        self._memory.forget()

    def _hung_up(self) -> None:
        self._buffer.clear()
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _received(self, data: bytes) -> None:
        self._buffer += data
        while self._take_frame():
            pass
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if self._buffer:
            self._silence = asyncio.get_running_loop().call_later(_SILENCE_S, self._silent)

    def _take_frame(self) -> bool:
        """Take one whole request off the buffer; False if there is none."""
        length = request_length(bytes(self._buffer[1:]))
        if not length or len(self._buffer) < length + 3:
            return False
        frame = bytes(self._buffer[: length + 3])
        if crc16(frame[:-2]) != frame[-2:]:
            return False
        del self._buffer[: length + 3]
        self._request(frame)
        return True

    def _silent(self) -> None:
        """The line fell silent over bytes that are no known request: answer an unknown function, forget the rest."""
        self._silence = None
        frame = bytes(self._buffer)
        self._buffer.clear()
        is_whole = 4 <= len(frame) <= _LARGEST_FRAME and crc16(frame[:-2]) == frame[-2:]
        if is_whole and request_length(frame[1:-2]) is None:
            self._request(frame)

    def _request(self, frame: bytes) -> None:
        unit, request = frame[0], frame[1:-2]
        address, count = address_and_count(request)
        self.requests.append(Request(unit, request[0], address, count))
        if unit == _BROADCAST:
            for registers in self.units.values():
                answer(request, registers)
            return
        registers_of_unit = self.units.get(unit)
        if registers_of_unit is None:
            return
        fault = self._fault_for(unit)
        reply = damage(fault, request, Reply(unit, carry_out(fault, request, registers_of_unit)), self._memory)
        body = bytes((reply.unit,)) + reply.data
        check = crc16(body)
        if fault is not None and fault.kind is FaultKind.BAD_CRC:
            check = bytes((check[0] ^ 0x01, check[1]))
        damaged = damage_frame(fault, frame, body + check, self.random)
        if fault is not None and fault.kind is FaultKind.SHIFTED:
            damaged = self._memory.exchange(fault.unit, damaged)
        self._transmit(fault, damaged, bytes_heard=len(frame))
