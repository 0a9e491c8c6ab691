"""How a Hamilton Arc sensor lays out its registers: blocks that are read and written whole, or not at all.

The manual counts registers from 1; on the wire an address is one less. Every value takes two registers, low word first;
texts have two characters a register, the first in the low byte (which follows from the low word first; the manual
does not draw it). Functions 3 and 4 read the same blocks, 16 writes. Some blocks are only for the operator levels
Administrator and Specialist, which need a password and end with a power failure.
Source: Hamilton, pH ARC Sensors Modbus RTU Programmer's Manual (EPHUM011), 624300/01, pp. 5-23.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from lms_firmware_sim.wires.encoding import Kind, decode, encode
from lms_firmware_sim.wires.registers import IllegalAddress, IllegalValue, RegisterMap, Table


class Level(IntEnum):
    """Operator levels, as register 4288 holds them."""

    USER = 0x03
    ADMINISTRATOR = 0x0C
    SPECIALIST = 0x30


PASSWORDS: dict[int, int] = {Level.USER: 0, Level.ADMINISTRATOR: 18_111_978, Level.SPECIALIST: 16_021_966}
"""The passwords with which every sensor leaves the factory (manual p. 5)."""

EVERYBODY = frozenset(Level)
NOT_USER = frozenset({Level.ADMINISTRATOR, Level.SPECIALIST})
ONLY_SPECIALIST = frozenset({Level.SPECIALIST})
NOBODY: frozenset[Level] = frozenset()

OPERATOR_LEVEL = 4288
_LEVEL_REGISTERS = 4

Words: TypeAlias = list[int]


def floats(*values: float) -> Words:
    """Values as float32, low word first."""
    return _laid("float32", values)


def longs(*values: int) -> Words:
    """Values as uint32, low word first."""
    return _laid("uint32", values)


def text(value: str, registers: int) -> Words:
    """A text, filled up with zeros, the first character of each pair in the low byte."""
    data = value.encode("ascii")[: 2 * registers].ljust(2 * registers, b"\0")
    return [data[at] | data[at + 1] << 8 for at in range(0, len(data), 2)]


def float_in(words: Sequence[int]) -> float:
    """The float32 in two registers."""
    return decode(words, "float32", word_order="little")


def long_in(words: Sequence[int]) -> int:
    """The uint32 in two registers."""
    return int(decode(words, "uint32", word_order="little"))


def _laid(kind: Kind, values: Sequence[float]) -> Words:
    return [word for value in values for word in encode(value, kind, word_order="little")]


@dataclass(frozen=True, slots=True)
class Readable:
    """A block that can be read.

    Attributes:
        registers: its length, and the only count that is answered.
        words: gives its content.
        levels: who may read it.
    """

    registers: int
    words: Callable[[], Words]
    levels: frozenset[Level] = EVERYBODY


@dataclass(frozen=True, slots=True)
class Writable:
    """A block that can be written.

    Attributes:
        registers: its length, and the only count that is taken.
        take: takes the words over; raises IllegalValue.
        levels: who may write it.
    """

    registers: int
    take: Callable[[Sequence[int]], None]
    levels: frozenset[Level] = NOT_USER


class BlockRegisters(RegisterMap):
    """Blocks by the number of their first register, as the manual counts.

    Attributes:
        level: the present operator level; the lowest after power-up.
        writes: how often the memory was written; it bears 100,000.
    """

    def __init__(self) -> None:
        super().__init__()
        self.level = Level.USER
        self.writes = 0
        self.readable: dict[int, Readable] = {
            OPERATOR_LEVEL: Readable(_LEVEL_REGISTERS, lambda: longs(self.level, 0)),
        }
        self.writable: dict[int, Writable] = {
            OPERATOR_LEVEL: Writable(_LEVEL_REGISTERS, self._take_level, EVERYBODY),
        }

    def read(self, table: Table, address: int, count: int) -> Words:
        """A whole block, and no other piece.

        Raises:
            IllegalAddress: no block begins there, it has another length, or it is not for this operator level.
        """
        block = self.readable.get(address + 1)
        if table not in ("holding", "input") or block is None or block.registers != count:
            raise IllegalAddress
        if self.level not in block.levels:
            raise IllegalAddress
        return block.words()

    def write(self, table: Table, address: int, words: Sequence[int]) -> None:
        """Take over a whole block, and no other piece.

        Raises:
            IllegalAddress: as `read`.
            IllegalValue: the sensor refuses what is written.
        """
        block = self.writable.get(address + 1)
        if table != "holding" or block is None or block.registers != len(words) or self.level not in block.levels:
            raise IllegalAddress
        block.take(words)
        if address + 1 != OPERATOR_LEVEL:
            self.writes += 1

    def _take_level(self, words: Sequence[int]) -> None:
        level, password = long_in(words[:2]), long_in(words[2:])
        if PASSWORDS.get(level) != password:
            raise IllegalValue
        self.level = Level(level)
