"""Registers ⇄ numbers: kind, word order, byte order, scale.

`reader_of` makes, once per point, the function that `modbus_registers.py` calls at every scan; `encode` is its
inverse, for set points and tests. Floats come out exactly as the instrument sent them, with −0.0, infinities and NaN.

    bytes of a float32 on the wire     word order   byte order
    A B C D                            big          big
    C D A B                            little       big
    B A D C                            big          little
    D C B A                            little       little

Source: Modbus Application Protocol V1.1b3, section 4.2: a register is big-endian; the rest is each maker's choice.
"""

import struct
from collections.abc import Callable
from typing import Protocol, TypeAlias

from lms_protocol.errors import LmsError
from lms_protocol.instruments.registers import WIDTHS, Kind, Order, RegisterWord
from lms_protocol.reading import Value

from lms_agent.settings.dialects.modbus import RegisterPoint

Reader: TypeAlias = Callable[[bytes, int], Value]
"""(data bytes of a reply, first byte of the value) → the value in the point's unit."""

_CODES: dict[Kind, str] = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float32": "f",
    "float64": "d",
}  # fmt: skip


class ValueRangeError(LmsError):
    """A value does not fit the point's kind.

    Attributes:
        value: the value, in the point's unit.
        kind: the kind of the point.
    """

    def __init__(self, value: Value, kind: str) -> None:
        self.value = value
        self.kind = kind
        super().__init__(f"{value!r} does not fit a register point of kind {kind}")


def reader_of(point: RegisterPoint) -> Reader:
    """The function that takes this point's value out of a reply.

    Integers without a scale stay integers, exact up to 64 bits; with a scale they become floats (exact to 2^53 counts).
    """
    if point.kind == "bool":
        return _register_bit_reader(point.bit or 0, point.byte_order)
    raw = _number_reader(point.kind, point.word_order, point.byte_order)
    if not point.scaled:
        return raw
    scale, offset = point.scale, point.offset
    divisor = round(1 / scale) if abs(scale) < 1 else 0
    if divisor and 1 / divisor == scale:  # 0.1: dividing by 10 rounds once, where 3 × 0.1 is not 0.3
        return lambda data, at: raw(data, at) / divisor + offset  # type: ignore[operator]  # never a str or None
    return lambda data, at: raw(data, at) * scale + offset  # type: ignore[operator]  # never a str or None


def bit_reader(data: bytes, at: int) -> bool:
    """The bit number `at` of a reply to a read of coils or discrete inputs; the lowest bit of the first byte is 0."""
    return bool(data[at >> 3] >> (at & 7) & 1)


def encode(value: float | bool, point: RegisterPoint) -> bytes:
    """The bytes of `value` (in the point's unit) as they stand in its registers.

    Raises:
        ValueRangeError: it does not fit the point's kind, or the point is a single bit.
    """
    if point.kind == "bool":
        raise ValueRangeError(value, point.kind)
    return pack((value - point.offset) / point.scale if point.scaled else value, point)


class Coding(Protocol):
    """How a number stands in registers."""

    @property
    def kind(self) -> Kind:
        """Of the number."""
        ...

    @property
    def word_order(self) -> Order:
        """Of its registers."""
        ...

    @property
    def byte_order(self) -> Order:
        """Of the two bytes of each."""
        ...


def pack(raw: float, coding: Coding) -> bytes:
    """The bytes of a raw number as they stand in its registers.

    Raises:
        ValueRangeError: it does not fit the kind.
    """
    try:
        packed = struct.pack(">" + _CODES[coding.kind], raw if coding.kind.startswith("float") else round(raw))
    except (struct.error, OverflowError, ValueError) as error:
        raise ValueRangeError(raw, coding.kind) from error
    return _permuted(packed, coding.word_order, coding.byte_order)


def word_reader(word: RegisterWord) -> Callable[[bytes, int], int]:
    """The function that takes a status word or unit code out of a reply."""
    read = _number_reader(word.kind, word.word_order, word.byte_order)
    return lambda data, at: int(read(data, at))  # type: ignore[arg-type]  # never None


def _number_reader(kind: Kind, word_order: Order, byte_order: Order) -> Reader:
    words = WIDTHS[kind]
    if word_order == byte_order or words == 1:
        form = ("<" if byte_order == "little" else ">") + _CODES[kind]
        unpack_from = struct.Struct(form).unpack_from
        return lambda data, at: unpack_from(data, at)[0]
    unpack = struct.Struct(">" + _CODES[kind]).unpack
    order = tuple(_permuted(bytes(range(2 * words)), word_order, byte_order))
    return lambda data, at: unpack(bytes([data[at + step] for step in order]))[0]


def _register_bit_reader(bit: int, byte_order: Order) -> Reader:
    byte = (bit < 8) if byte_order == "big" else (bit >= 8)
    mask = 1 << (bit & 7)
    return lambda data, at: bool(data[at + byte] & mask)


def _permuted(packed: bytes, word_order: Order, byte_order: Order) -> bytes:
    """Big-endian bytes → wire order, or back: swapping words and swapping bytes are their own inverses."""
    words = [packed[at : at + 2] for at in range(0, len(packed), 2)]
    if word_order == "little":
        words.reverse()
    if byte_order == "little":
        words = [word[::-1] for word in words]
    return b"".join(words)
