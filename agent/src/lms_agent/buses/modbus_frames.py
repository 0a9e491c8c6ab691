"""Modbus frames without I/O: what a read request looks like, and what makes a reply a sound answer to it.

A reply is believed only if unit, function and byte count are those that the request demands, and, on a serial line,
the check sum fits. Used by `modbus_rtu.py` and `modbus_tcp.py`.

    RTU   unit u8 | function u8 | data … | CRC-16, low byte first
    TCP   transaction u16 | protocol u16 = 0 | length u16 of the rest | unit u8 | function u8 | data …

Source: Modbus Application Protocol V1.1b3, sections 4 to 7; Modbus over Serial Line V1.02, section 6.2.
"""

from typing import Final

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
FUNCTIONS: Final = {"coil": READ_COILS, "discrete": READ_DISCRETE, "holding": READ_HOLDING, "input": READ_INPUT}
BIT_FUNCTIONS: Final = frozenset((READ_COILS, READ_DISCRETE))
TWIN: Final = {READ_COILS: READ_DISCRETE, READ_DISCRETE: READ_COILS, READ_HOLDING: READ_INPUT, READ_INPUT: READ_HOLDING}

ACKNOWLEDGE, BUSY, GATEWAY_TARGET_SILENT = 5, 6, 11
EXCEPTIONS: Final = {
    1: "it does not know this function; check `register`",
    2: "it has no such address, or not so many in a row; check `address`, `register`, and `largest_gap`",
    3: "it refuses a value in the request; perhaps the block is too long, check `largest_block`",
    4: "it failed while answering",
    5: "it needs more time",
    6: "it is busy",
    8: "its memory has a parity error",
    10: "the gateway has no way to it; check the gateway's settings",
    11: "the gateway got no reply from it; check unit, cable and power",
}


class ReadRequest:
    """One read of consecutive registers or bits of one unit. Made once per block, used at every scan.

    Attributes:
        unit, function, address, count: as on the wire; the address counts from 0.
        pdu: function, address, count as bytes.
        byte_count: how many data bytes the reply must have.
    """

    __slots__ = ("address", "byte_count", "count", "function", "pdu", "rtu_frame", "unit")

    def __init__(self, unit: int, function: int, address: int, count: int) -> None:
        self.unit = unit
        self.function = function
        self.address = address
        self.count = count
        self.byte_count = (count + 7) // 8 if function in BIT_FUNCTIONS else 2 * count
        self.pdu = bytes((function,)) + address.to_bytes(2) + count.to_bytes(2)
        body = bytes((unit,)) + self.pdu
        self.rtu_frame = body + crc16(body)

    def __str__(self) -> str:
        """For messages: unit, function and addresses."""
        return (
            f"unit {self.unit}, function {self.function}, addresses {self.address} to {self.address + self.count - 1}"
        )


class Unsound(Exception):
    """A reply is no sound answer; the message says why."""


class ExceptionReply(Exception):
    """The unit answers with an exception.

    Attributes:
        code: Modbus's exception code.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)

    @property
    def meaning(self) -> str:
        """What the code means and what to look at."""
        return EXCEPTIONS.get(self.code, "a code that Modbus does not define")


def reply_data(pdu: bytes, request: ReadRequest) -> bytes:
    """The data of a reply, once it is sure that it answers `request`.

    Args:
        pdu: function code and what follows, without unit and check sum.

    Raises:
        ExceptionReply: a sound reply that holds no data but an exception.
        Unsound: it answers something else.
    """
    function = pdu[0]
    if function == request.function:
        if len(pdu) != 2 + request.byte_count or pdu[1] != request.byte_count:
            raise Unsound(
                f"it holds {len(pdu) - 2} data bytes and says {pdu[1] if len(pdu) > 1 else 0}, not {request.byte_count}"
            )
        return pdu[2:]
    if function == request.function | 0x80:
        if len(pdu) != 2 or pdu[1] == 0:
            raise Unsound("it is a malformed exception")
        raise ExceptionReply(pdu[1])
    raise Unsound(f"it answers function {function & 0x7F}, not {request.function}")


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes | bytearray) -> bytes:
    """The check sum of an RTU frame, as sent: low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")
