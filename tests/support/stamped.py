"""Units whose every word says when and where it was read, so that a reply to any other request is seen at once."""

from lms_firmware_sim.wires.registers import RegisterMap

ADDRESSES = 64


class Stamped:
    """A unit whose words are address and stamp; `stamp` changes with every request, so a foreign reply shows."""

    def __init__(self, unit: int = 1, *, twins: bool = False) -> None:
        self.unit = unit
        self.stamp = 0
        self.registers = RegisterMap(before_read=self._write)
        self._tables = ("holding", "input") if twins else ("holding",)
        self._write()

    def _write(self) -> None:
        for table in self._tables:
            self.registers.tables[table].update({address: self.word(address) for address in range(ADDRESSES)})

    def word(self, address: int) -> int:
        """What the register at `address` says now."""
        return (self.unit * 7 + address) % 64 << 10 | self.stamp % 1024

    def expected(self, address: int, count: int) -> bytes:
        """The data of the one right reply to a read now."""
        return b"".join(self.word(address + step).to_bytes(2) for step in range(count))
