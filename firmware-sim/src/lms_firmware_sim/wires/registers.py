"""One Modbus unit's four tables, and what may be read and written there.

A map by hand holds plain numbers; a map bound to a process model refreshes itself before a read and acts after a
write through its two hooks (`lms_firmware_sim.bound`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from lms_firmware_sim.wires.encoding import Kind, Order, decode, encode, width

Table: TypeAlias = Literal["holding", "input", "coil", "discrete"]


class IllegalAddress(Exception):
    """Modbus exception 2: not every address asked for exists (or may be written)."""


class IllegalValue(Exception):
    """Modbus exception 3: the instrument refuses the value."""


class RegisterMap:
    """The tables of one unit: sparse, so that an address that was never laid answers exception 2.

    Args:
        holding, input: address → unsigned 16-bit word.
        coil, discrete: address → bool.
        before_read: called before every read, to bring the words up to date.
        on_write: called with (table, address, words) before a write is taken over; it may raise `IllegalValue` or
            `IllegalAddress`, and then nothing changes.
    """

    def __init__(
        self,
        *,
        holding: Mapping[int, int] | None = None,
        input: Mapping[int, int] | None = None,  # noqa: A002 - the table's name in Modbus
        coil: Mapping[int, bool] | None = None,
        discrete: Mapping[int, bool] | None = None,
        before_read: Callable[[], None] | None = None,
        on_write: Callable[[Table, int, Sequence[int]], None] | None = None,
    ) -> None:
        self.tables: dict[Table, dict[int, int]] = {
            "holding": dict(holding or {}),
            "input": dict(input or {}),
            "coil": {address: int(bit) for address, bit in (coil or {}).items()},
            "discrete": {address: int(bit) for address, bit in (discrete or {}).items()},
        }
        self.before_read = before_read
        self.on_write = on_write

    @property
    def holding(self) -> dict[int, int]:
        """The holding registers, to look at and to change by hand."""
        return self.tables["holding"]

    def put(
        self,
        address: int,
        value: float,
        kind: Kind = "uint16",
        *,
        word_order: Order = "big",
        byte_order: Order = "big",
        register: Table = "holding",
    ) -> None:
        """Lay one value at a 0-based wire address, making the registers if they do not exist."""
        table = self.tables[register]
        if register in ("coil", "discrete"):
            table[address] = int(bool(value))
            return
        for position, word in enumerate(encode(value, kind, word_order=word_order, byte_order=byte_order)):
            table[address + position] = word

    def value(
        self,
        address: int,
        kind: Kind = "uint16",
        *,
        word_order: Order = "big",
        byte_order: Order = "big",
        register: Table = "holding",
    ) -> float:
        """The value that lies at an address; the inverse of `put`. Raises KeyError where nothing lies."""
        table = self.tables[register]
        words = [table[address + position] for position in range(width(kind))]
        return decode(words, kind, word_order=word_order, byte_order=byte_order)

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """The words (or bits) of `count` addresses.

        Raises:
            IllegalAddress: one of them does not exist.
        """
        if self.before_read is not None:
            self.before_read()
        cells = self.tables[table]
        try:
            return [cells[position] for position in range(address, address + count)]
        except KeyError as error:
            raise IllegalAddress from error

    def write(self, table: Table, address: int, words: Sequence[int]) -> None:
        """Take over words (or bits), all or none.

        Raises:
            IllegalAddress: one of the addresses does not exist or may not be written.
            IllegalValue: the instrument refuses the value.
        """
        cells = self.tables[table]
        if any(position not in cells for position in range(address, address + len(words))):
            raise IllegalAddress
        if self.on_write is not None:
            self.on_write(table, address, words)
        cells.update(zip(range(address, address + len(words)), words, strict=True))
