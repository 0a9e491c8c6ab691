"""What words can mean: every kind, word and byte order, and scale that instruments use.

Decoded by the agent's own driver, so that what is found here is what it will read.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lms_protocol.instruments.registers import WIDTHS, Kind, Order

from lms_agent.drivers.register_coding import reader_of
from lms_agent.settings.dialects.modbus import RegisterPoint

ORDERS: tuple[tuple[Order, Order], ...] = (("big", "big"), ("little", "big"), ("big", "little"), ("little", "little"))
SCALES = (1.0, 0.1, 0.01, 0.001)
_ORDER_WORDS = {
    ("big", "big"): "high word first",
    ("little", "big"): "low word first",
    ("big", "little"): "high word first, bytes swapped",
    ("little", "little"): "low word first, bytes swapped",
}


class Interpretation(NamedTuple):
    """One way to read a value.

    Attributes:
        kind, word_order, byte_order, scale: as a point has them.
        value: what comes of it.
    """

    kind: Kind
    word_order: Order
    byte_order: Order
    scale: float
    value: float

    def __str__(self) -> str:
        """For people."""
        order = (
            f", {_ORDER_WORDS[self.word_order, self.byte_order]}"
            if WIDTHS[self.kind] > 1
            else _swapped(self.byte_order)
        )
        return f"{self.kind}{order}{'' if self.scale == 1 else f', × {self.scale:g}'}"

    def point_keys(self) -> dict[str, str]:
        """The keys of a point that differ from their defaults, with their values as TOML has them."""
        keys = {"kind": f'"{self.kind}"'}
        if WIDTHS[self.kind] > 1 and self.word_order != "big":
            keys["word_order"] = '"little"'
        if self.byte_order != "big":
            keys["byte_order"] = '"little"'
        if self.scale != 1:
            keys["scale"] = f"{self.scale:g}"
        return keys


def _swapped(byte_order: Order) -> str:
    return ", bytes swapped" if byte_order == "little" else ""


def interpretations(words: Mapping[int, int], address: int) -> Iterator[Interpretation]:
    """Every reading of what begins at `address`; floating-point numbers that are none are left out.

    Args:
        words: registers by address; those that a kind needs and that are missing exclude it.
    """
    for kind in ("float32", "float64", "int16", "uint16", "int32", "uint32"):
        width = WIDTHS[kind]
        if any(address + step not in words for step in range(width)):
            continue
        data = b"".join(struct.pack(">H", words[address + step]) for step in range(width))
        for word_order, byte_order in ORDERS:
            if width == 1 and word_order == "little":
                continue
            for scale in (1.0,) if kind.startswith("float") else SCALES:
                point = RegisterPoint(
                    tag="scan", address=address, kind=kind, word_order=word_order, byte_order=byte_order, scale=scale
                )
                value = reader_of(point)(data, 0)
                if isinstance(value, int | float) and value - value == 0:
                    yield Interpretation(kind, word_order, byte_order, scale, float(value))
