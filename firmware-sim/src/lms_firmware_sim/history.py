"""What an agent would have read in the past: the same process, the same seed, the same rounding in the registers."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from lms_firmware_sim.bioreactors import make_bioreactor
from lms_firmware_sim.bound import decoded, encoded
from lms_firmware_sim.plants.description import Plant
from lms_firmware_sim.plants.points import Point
from lms_firmware_sim.plants.wires import BalanceDescription, ModbusRtuDescription, ModbusTcpDescription
from lms_firmware_sim.wires.mt_sics import GRAMS_PER


class PastReading(NamedTuple):
    """One value: taken_at_ms in ms UTC, the tag, the value in the wire's unit, and that unit (g from most balances)."""

    taken_at_ms: int
    tag: str
    value: float
    unit: str


def history(
    plant: Plant, bioreactor: str, *, started_at: datetime, begin: datetime, end: datetime, period_s: float
) -> Iterator[PastReading]:
    """The readings of one bioreactor's tags on all wires, from begin (included) to end (not included).

    Args:
        plant: its description.
        bioreactor: its id.
        started_at: when the plant was first started; must be the one that `serve` has.
        begin, end: aware.
        period_s: time between two readings of a tag.

    Set points that clients wrote are not part of it: it is the cultivation as described.
    """
    simulated = make_bioreactor(plant.described(bioreactor), started_at)
    points = _points(plant, bioreactor)
    balances = [wire for wire in plant.wire if isinstance(wire, BalanceDescription) and wire.bioreactor == bioreactor]
    begin_ms, end_ms, period_ms = _ms(begin), _ms(end), max(1, round(period_s * 1000.0))
    for at_ms in range(begin_ms, end_ms, period_ms):
        simulated.advance_to(at_ms / 1000.0)
        for point in points:
            assert point.tag is not None  # noqa: S101 - chosen so by `_points`
            value = decoded(point, encoded(point, simulated.reading(point.tag)))
            yield PastReading(at_ms, point.tag, value, point.unit)
        for balance in balances:
            value = _shown(balance, simulated.reading("Weight/PV"))
            yield PastReading(at_ms, "Weight/PV", value, balance.unit_shown)


def _points(plant: Plant, bioreactor: str) -> list[Point]:
    """Every point that shows a tag of the bioreactor, each tag once, in the order of the wires."""
    points: dict[str, Point] = {}
    for wire in plant.wire:
        if not isinstance(wire, ModbusTcpDescription | ModbusRtuDescription):
            continue
        for unit in wire.unit:
            for point in unit.points():
                if unit.bioreactor == bioreactor and point.tag is not None:
                    points.setdefault(point.tag, point)
    return list(points.values())


def _shown(balance: BalanceDescription, weight_kg: float) -> float:
    return round(1000.0 * weight_kg / GRAMS_PER[balance.unit_shown], balance.decimals)


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000.0)
