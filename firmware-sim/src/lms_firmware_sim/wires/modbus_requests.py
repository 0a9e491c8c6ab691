"""Modbus without its wire: a request's protocol data unit in, the reply's out.

Source: Modbus Application Protocol V1.1b3, sections 6 (functions) and 7 (exceptions).
"""

import struct
from collections.abc import Sequence

from lms_firmware_sim.wires.registers import IllegalAddress, IllegalValue, RegisterMap, Table

ILLEGAL_FUNCTION = 1
ILLEGAL_DATA_ADDRESS = 2
ILLEGAL_DATA_VALUE = 3
SERVER_DEVICE_FAILURE = 4
SERVER_DEVICE_BUSY = 6

READ_TABLES: dict[int, Table] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
WRITE_SINGLE: dict[int, Table] = {5: "coil", 6: "holding"}
WRITE_MANY: dict[int, Table] = {15: "coil", 16: "holding"}

_LARGEST_READ: dict[Table, int] = {"coil": 2000, "discrete": 2000, "holding": 125, "input": 125}
_LARGEST_WRITE: dict[Table, int] = {"coil": 1968, "holding": 123}


class ModbusException(Exception):
    """The reply is an exception.

    Attributes:
        code: the exception code.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"Modbus exception {code}")


def exception_reply(function: int, code: int) -> bytes:
    """The reply that refuses a request."""
    return bytes((function | 0x80, code))


def address_and_count(request: bytes) -> tuple[int, int]:
    """What a request is about: (first address, count); (0, 0) where it has none."""
    function = request[0]
    if function in WRITE_SINGLE and len(request) >= 3:
        return int.from_bytes(request[1:3]), 1
    if (function in READ_TABLES or function in WRITE_MANY) and len(request) >= 5:
        return int.from_bytes(request[1:3]), int.from_bytes(request[3:5])
    return 0, 0


def request_length(start: bytes) -> int | None:
    """Length of the request (without unit and check sum) that begins with these bytes.

    Returns:
        the length; 0 when more bytes are needed to tell; None for a function that is not known here.
    """
    if not start:
        return 0
    function = start[0]
    if function in READ_TABLES or function in WRITE_SINGLE:
        return 5
    if function in WRITE_MANY:
        return 6 + start[5] if len(start) > 5 else 0
    return None


def answer(request: bytes, registers: RegisterMap) -> bytes:
    """Carry out one request.

    Args:
        request: function code and data, without unit and check sum; at least one byte.
        registers: the unit's tables.

    Returns:
        the reply's function code and data; an exception reply where the request is refused.
    """
    function = request[0]
    try:
        if function in READ_TABLES:
            return _read(request, registers, READ_TABLES[function])
        if function in WRITE_SINGLE:
            return _write_single(request, registers, WRITE_SINGLE[function])
        if function in WRITE_MANY:
            return _write_many(request, registers, WRITE_MANY[function])
        return exception_reply(function, ILLEGAL_FUNCTION)
    except IllegalAddress:
        return exception_reply(function, ILLEGAL_DATA_ADDRESS)
    except IllegalValue:
        return exception_reply(function, ILLEGAL_DATA_VALUE)
    except ModbusException as refused:
        return exception_reply(function, refused.code)


def _read(request: bytes, registers: RegisterMap, table: Table) -> bytes:
    if len(request) != 5:
        raise ModbusException(ILLEGAL_DATA_VALUE)
    address, count = struct.unpack(">HH", request[1:5])
    if not 1 <= count <= _LARGEST_READ[table]:
        raise ModbusException(ILLEGAL_DATA_VALUE)
    if address + count > 0x10000:
        raise ModbusException(ILLEGAL_DATA_ADDRESS)
    cells = registers.read(table, address, count)
    data = pack_bits(cells) if table in ("coil", "discrete") else struct.pack(f">{count}H", *cells)
    return bytes((request[0], len(data))) + data


def _write_single(request: bytes, registers: RegisterMap, table: Table) -> bytes:
    if len(request) != 5:
        raise ModbusException(ILLEGAL_DATA_VALUE)
    address, word = struct.unpack(">HH", request[1:5])
    if table == "coil":
        if word not in (0x0000, 0xFF00):
            raise ModbusException(ILLEGAL_DATA_VALUE)
        word = int(word == 0xFF00)
    registers.write(table, address, [word])
    return request


def _write_many(request: bytes, registers: RegisterMap, table: Table) -> bytes:
    if len(request) < 6:
        raise ModbusException(ILLEGAL_DATA_VALUE)
    address, count, size = struct.unpack(">HHB", request[1:6])
    data = request[6:]
    expected = (count + 7) // 8 if table == "coil" else 2 * count
    if not 1 <= count <= _LARGEST_WRITE[table] or size != expected or len(data) != size:
        raise ModbusException(ILLEGAL_DATA_VALUE)
    if address + count > 0x10000:
        raise ModbusException(ILLEGAL_DATA_ADDRESS)
    words = unpack_bits(data, count) if table == "coil" else list(struct.unpack(f">{count}H", data))
    registers.write(table, address, words)
    return request[:5]


def pack_bits(bits: Sequence[int]) -> bytes:
    """Bits to bytes, the first bit lowest (section 6.1)."""
    packed = bytearray((len(bits) + 7) // 8)
    for position, bit in enumerate(bits):
        if bit:
            packed[position // 8] |= 1 << (position % 8)
    return bytes(packed)


def unpack_bits(data: bytes, count: int) -> list[int]:
    """The first `count` bits of some bytes; the inverse of `pack_bits`."""
    return [(data[position // 8] >> (position % 8)) & 1 for position in range(count)]
