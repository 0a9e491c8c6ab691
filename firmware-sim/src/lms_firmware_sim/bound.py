"""Register maps and balances bound to a simulated bioreactor: refreshed before a read, obeyed after a write."""

import math
from collections.abc import Callable, Sequence

from lms_firmware_sim.errors import RegisterError, SetPointRefused
from lms_firmware_sim.plants.points import Point
from lms_firmware_sim.plants.wires import Unit
from lms_firmware_sim.process.bioreactor import SimulatedBioreactor
from lms_firmware_sim.wires.encoding import decode, encode
from lms_firmware_sim.wires.registers import IllegalAddress, IllegalValue, RegisterMap, Table


def encoded(point: Point, value: float) -> list[int]:
    """A value in the point's unit as the point's registers.

    A value too large for them shows as the nearest that fits, as instruments do.
    """
    raw = value / point.scale
    try:
        return encode(raw, point.kind, word_order=point.word_order, byte_order=point.byte_order)
    except RegisterError:
        bits = 16 * point.width
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if point.kind.startswith("int") else (0, 2**bits - 1)
        nearest = 0 if math.isnan(raw) else min(high, max(low, raw))
        return encode(nearest, point.kind, word_order=point.word_order, byte_order=point.byte_order)


def decoded(point: Point, words: Sequence[int]) -> float:
    """A point's registers as a value in its unit, rounded to the scale's own digits."""
    raw = decode(words, point.kind, word_order=point.word_order, byte_order=point.byte_order)
    return raw if point.scale == 1.0 else round(raw * point.scale, 9)


class BoundUnit:
    """One Modbus unit whose registers show, and whose set points steer, a bioreactor.

    Args:
        unit: its description.
        bioreactor: what it shows.
        advance: brings the bioreactor up to now.

    Attributes:
        registers: the tables to serve.
    """

    def __init__(self, unit: Unit, bioreactor: SimulatedBioreactor, advance: Callable[[], None]) -> None:
        self._bioreactor = bioreactor
        self._advance = advance
        self._points = [point for point in unit.points() if point.tag is not None]
        self.registers = RegisterMap(before_read=self.refresh, on_write=self._written)
        for point in unit.points():
            if point.fixed is not None:
                self._lay(point, point.fixed)
        self.refresh()

    def refresh(self) -> None:
        """Bring every register up to now."""
        self._advance()
        for point in self._points:
            assert point.tag is not None  # noqa: S101 - chosen so in the constructor
            self._lay(point, self._bioreactor.reading(point.tag))

    def _lay(self, point: Point, value: float) -> None:
        table = self.registers.tables[point.table]
        table.update(enumerate(encoded(point, value), start=point.address))

    def _written(self, table: Table, address: int, words: Sequence[int]) -> None:
        """Act on a write, all or none: every register written must belong to a set point."""
        fresh = dict(enumerate(words, start=address))
        touched = [
            point
            for point in self._points
            if point.table == table and any(at in fresh for at in range(point.address, point.address + point.width))
        ]
        covered = {
            at for point in touched if point.writable for at in range(point.address, point.address + point.width)
        }
        if not set(fresh) <= covered:
            raise IllegalAddress
        self._advance()
        cells = self.registers.tables[table]
        before = {}
        try:
            for point in touched:
                assert point.tag is not None  # noqa: S101 - chosen so in the constructor
                whole = [fresh.get(at, cells[at]) for at in range(point.address, point.address + point.width)]
                before[point.tag] = self._bioreactor.controller.written[point.tag]
                self._bioreactor.write(point.tag, decoded(point, whole))
        except SetPointRefused as refused:
            for tag, value in before.items():
                self._bioreactor.write(tag, value)
            raise IllegalValue from refused
