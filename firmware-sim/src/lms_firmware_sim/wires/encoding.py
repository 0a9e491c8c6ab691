"""How a number lies in 16-bit registers: kind, word order, byte order.

Used by register maps; the agent has its own decoder, so that a mistake in one is not hidden by the same mistake in
the other.
"""

import struct
from collections.abc import Sequence
from typing import Literal, TypeAlias

from lms_firmware_sim.errors import RegisterError

Kind: TypeAlias = Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
Order: TypeAlias = Literal["big", "little"]

_FORMATS: dict[str, str] = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}


def width(kind: Kind) -> int:
    """The number of 16-bit registers that a value of this kind takes."""
    return struct.calcsize(_FORMATS[kind]) // 2


def encode(value: float, kind: Kind, *, word_order: Order = "big", byte_order: Order = "big") -> list[int]:
    """Lay one value into registers.

    Args:
        value: the raw value (already divided by the point's scale); integers are rounded to the nearest count.
        kind: how it is stored.
        word_order: "big" puts the high word at the lowest address, "little" the low word.
        byte_order: "big" is Modbus's own; "little" swaps the two bytes of every register.

    Returns:
        (width,) unsigned 16-bit words in address order.

    Raises:
        RegisterError: the value does not fit.

    Source: Modbus Application Protocol V1.1b3, section 4.2 (registers are big-endian; word order is the maker's).
    """
    form = _FORMATS[kind]
    try:
        packed = struct.pack(form, value if form[1] in "fd" else round(value))
    except (struct.error, OverflowError, ValueError) as error:
        raise RegisterError(kind, value) from error
    words = list(struct.unpack(f">{len(packed) // 2}H", packed))
    return _ordered(words, word_order, byte_order)


def decode(words: Sequence[int], kind: Kind, *, word_order: Order = "big", byte_order: Order = "big") -> float:
    """Turn (width,) registers in address order back into the raw value; the inverse of `encode`."""
    ordered = _ordered(list(words), word_order, byte_order)
    value: float = struct.unpack(_FORMATS[kind], struct.pack(f">{len(ordered)}H", *ordered))[0]
    return value


def _ordered(words: list[int], word_order: Order, byte_order: Order) -> list[int]:
    if word_order == "little":
        words.reverse()
    if byte_order == "little":
        words = [(word >> 8) | ((word & 0xFF) << 8) for word in words]
    return words
