"""Modbus frames without I/O: what a request looks like, and what makes a reply a sound answer to it.

A reply is believed only if unit and function are those that the request demands, on a serial line the check sum fits,
and beyond that: to a read, the byte count; to a write, the address and what was written (or how much) are repeated.
Used by `modbus_rtu.py` and `modbus_tcp.py`.

    RTU   unit u8 | function u8 | data … | CRC-16, low byte first
    TCP   transaction u16 | protocol u16 = 0 | length u16 of the rest | unit u8 | function u8 | data …

Source: Modbus Application Protocol V1.1b3, sections 4 to 7; Modbus over Serial Line V1.02, section 6.2.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
FUNCTIONS: Final = {"coil": READ_COILS, "discrete": READ_DISCRETE, "holding": READ_HOLDING, "input": READ_INPUT}
BIT_FUNCTIONS: Final = frozenset((READ_COILS, READ_DISCRETE))
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
MOST_REGISTERS_WRITTEN, MOST_COILS_WRITTEN = 123, 1968
TWIN: Final = {READ_COILS: READ_DISCRETE, READ_DISCRETE: READ_COILS, READ_HOLDING: READ_INPUT, READ_INPUT: READ_HOLDING}

FAILED, ACKNOWLEDGE, BUSY, GATEWAY_TARGET_SILENT = 4, 5, 6, 11
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


Shape: TypeAlias = tuple[int, int | bytes]
"""What can be seen in a reply of which request it answers: its function, and to a read the number of data bytes, to a
write what it repeats of the request."""


class Request:
    """One request to one unit, made once and sent as often as needed.

    Attributes:
        unit, function, address: as on the wire; the address counts from 0.
        pdu: the request as bytes, without unit and check sum.
        reply_length: bytes of a sound reply, likewise without unit and check sum.
        shape: of a sound reply.
        rtu_frame: the request as it is sent on a serial line.
    """

    __slots__ = ("address", "function", "pdu", "reply_length", "rtu_frame", "shape", "unit")

    def __init__(self, unit: int, pdu: bytes, *, reply_length: int, shape: Shape) -> None:
        self.unit = unit
        self.function = pdu[0]
        self.address = int.from_bytes(pdu[1:3])
        self.pdu = pdu
        self.reply_length = reply_length
        self.shape = shape
        body = bytes((unit,)) + pdu
        self.rtu_frame = body + crc16(body)

    @property
    def confirmed_by_itself(self) -> bool:
        """Whether a sound reply is the request itself, byte by byte."""
        return self.function in (WRITE_COIL, WRITE_REGISTER)

    def data_of(self, pdu: bytes) -> bytes:
        """What a reply of the right function holds.

        Raises:
            Unsound: it does not answer this request.
        """
        raise NotImplementedError


class ReadRequest(Request):
    """One read of consecutive registers or bits of one unit. Made once per block, used at every scan.

    Attributes:
        count: registers or bits.
        byte_count: how many data bytes the reply must have.
    """

    __slots__ = ("byte_count", "count")

    def __init__(self, unit: int, function: int, address: int, count: int) -> None:
        self.count = count
        self.byte_count = (count + 7) // 8 if function in BIT_FUNCTIONS else 2 * count
        super().__init__(
            unit,
            bytes((function,)) + address.to_bytes(2) + count.to_bytes(2),
            reply_length=2 + self.byte_count,
            shape=(function, self.byte_count),
        )

    def __str__(self) -> str:
        """For messages: unit, function and addresses."""
        return (
            f"unit {self.unit}, function {self.function}, addresses {self.address} to {self.address + self.count - 1}"
        )

    def data_of(self, pdu: bytes) -> bytes:
        """The data bytes of a reply.

        Raises:
            Unsound: it holds more or fewer than were asked for.
        """
        if len(pdu) != self.reply_length or pdu[1] != self.byte_count:
            raise Unsound(
                f"it holds {len(pdu) - 2} data bytes and says {pdu[1] if len(pdu) > 1 else 0}, not {self.byte_count}"
            )
        return pdu[2:]


class WriteRequest(Request):
    """One write of consecutive registers or coils of one unit; made by `registers` or `coils`.

    Attributes:
        count: registers or coils.
    """

    __slots__ = ("count",)

    def __init__(self, unit: int, pdu: bytes, count: int) -> None:
        self.count = count
        super().__init__(unit, pdu, reply_length=5, shape=(pdu[0], pdu[1:5]))

    @classmethod
    def registers(cls, unit: int, address: int, data: bytes, *, single: bool = False) -> "WriteRequest":
        """A write of holding registers, by function 16; or by function 6, for instruments that only know that.

        Args:
            data: two bytes per register, as they go on the wire.
            single: use function 6, which takes exactly one register.

        Raises:
            ValueError: more registers than the function takes, or half a one.
        """
        count, half = divmod(len(data), 2)
        most = 1 if single else MOST_REGISTERS_WRITTEN
        if half or not 1 <= count <= most:
            raise ValueError(f"function {6 if single else 16} writes 1 to {most} registers, not {len(data)} bytes")
        if single:
            return cls(unit, bytes((WRITE_REGISTER,)) + address.to_bytes(2) + data, 1)
        head = bytes((WRITE_REGISTERS,)) + address.to_bytes(2) + count.to_bytes(2)
        return cls(unit, head + bytes((len(data),)) + data, count)

    @classmethod
    def coils(cls, unit: int, address: int, bits: Sequence[bool], *, single: bool = False) -> "WriteRequest":
        """A write of coils, by function 15; or by function 5, for instruments that only know that.

        Raises:
            ValueError: more coils than the function takes, or none.
        """
        most = 1 if single else MOST_COILS_WRITTEN
        if not 1 <= len(bits) <= most:
            raise ValueError(f"function {5 if single else 15} writes 1 to {most} coils, not {len(bits)}")
        if single:
            return cls(unit, bytes((WRITE_COIL,)) + address.to_bytes(2) + (b"\xff\0" if bits[0] else b"\0\0"), 1)
        packed = sum(1 << at for at, bit in enumerate(bits) if bit).to_bytes((len(bits) + 7) // 8, "little")
        head = bytes((WRITE_COILS,)) + address.to_bytes(2) + len(bits).to_bytes(2)
        return cls(unit, head + bytes((len(packed),)) + packed, len(bits))

    def __str__(self) -> str:
        """For messages: unit, function and addresses."""
        return (
            f"unit {self.unit}, function {self.function}, addresses {self.address} to {self.address + self.count - 1}"
        )

    def data_of(self, pdu: bytes) -> bytes:
        """What a reply repeats of the request: address, and value or count.

        Raises:
            Unsound: it confirms another write.
        """
        if pdu != self.pdu[:5]:
            raise Unsound(f"it confirms {pdu[1:].hex(' ')}, not {self.pdu[1:5].hex(' ')} (address, and value or count)")
        return pdu[1:]


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


def shape_of_reply(pdu: bytes) -> Shape:
    """The shape of a reply, whatever request it answers."""
    if pdu[0] in TWIN:
        return pdu[0], len(pdu) - 2
    return pdu[0], pdu[1:5]


def reply_data(pdu: bytes, request: Request) -> bytes:
    """The data of a reply, once it is sure that it answers `request`.

    Args:
        pdu: function code and what follows, without unit and check sum.

    Raises:
        ExceptionReply: a sound reply that holds no data but an exception.
        Unsound: it answers something else.
    """
    function = pdu[0]
    if function == request.function:
        return request.data_of(pdu)
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
