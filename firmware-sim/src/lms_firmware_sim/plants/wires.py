"""The wires of a plant's file: where they are, and which units and instruments hang on them.

A Modbus unit is either spelled out as points (`plants.points`) or an instrument with registers of its own
(`plants.registers`); text wires are in `plants.text_wires`.
"""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from lms_firmware_sim.plants.points import Block, Point, Sequence
from lms_firmware_sim.plants.registers import RegisterInstrument
from lms_firmware_sim.plants.strict import Baud, Id, SerialDescription, Strict
from lms_firmware_sim.plants.text_wires import (
    AlicatDescription,
    EzoDoDescription,
    EzoPhDescription,
    WatsonMarlowDescription,
)

UnitNumber = Annotated[int, Field(ge=1, le=247)]


class Unit(Strict):
    """`[[wire.unit]]`: one Modbus unit and the bioreactor that it serves.

    Attributes:
        instrument: an instrument with registers of its own, instead of sequence, block and point.
    """

    unit: UnitNumber
    name: str = ""
    bioreactor: Id
    sequence: tuple[Sequence, ...] = ()
    block: tuple[Block, ...] = ()
    point: tuple[Point, ...] = ()
    instrument: RegisterInstrument | None = None

    @model_validator(mode="after")
    def _no_overlap(self) -> Self:
        if self.instrument is not None and self.points():
            raise ValueError("give either an instrument, or sequence, block and point")
        taken: dict[tuple[str, int], Point] = {}
        for point in self.points():
            for address in range(point.address, point.address + point.width):
                other = taken.setdefault((point.table, address), point)
                if other is not point:
                    raise ValueError(f"{point.table} register {address} holds two values")
        return self

    def points(self) -> list[Point]:
        """All values of the unit, by register and address."""
        points = [*self.point]
        for sequence in self.sequence:
            points += sequence.points()
        for block in self.block:
            points += block.points()
        return sorted(points, key=lambda point: (point.table, point.address))


class ModbusTcpDescription(Strict):
    """`[[wire]] kind = "modbus-tcp"`. Port 0 takes a free one."""

    id: Id
    kind: Literal["modbus-tcp"]
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65_535)
    unit: tuple[Unit, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _units(self) -> Self:
        _check_unique(self.unit)
        return self

    def bioreactors(self) -> set[str]:
        """Ids of the bioreactors that it leads to."""
        return {unit.bioreactor for unit in self.unit}


class ModbusRtuDescription(SerialDescription):
    """`[[wire]] kind = "modbus-rtu"`, on a pseudo-terminal."""

    kind: Literal["modbus-rtu"]
    baud: Baud = 19_200
    unit: tuple[Unit, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _units(self) -> Self:
        _check_unique(self.unit)
        return self

    def bioreactors(self) -> set[str]:
        """Ids of the bioreactors that it leads to."""
        return {unit.bioreactor for unit in self.unit}


class BalanceDescription(SerialDescription):
    """`[[wire]] kind = "mt-sics"`: a balance under a vessel, on a pseudo-terminal; weighs `Weight/PV`.

    Attributes:
        decimals: digits after the point, in the unit shown.
        unit_shown: what it is set to show.
    """

    kind: Literal["mt-sics"]
    bioreactor: Id
    capacity_g: float = Field(default=32_000.0, gt=0)
    decimals: int = Field(default=1, ge=0, le=4)
    unit_shown: Literal["g", "kg", "lb"] = "g"
    serial_number: str = Field(default="B123456789", pattern=r"^[A-Za-z0-9-]{1,20}$")

    def bioreactors(self) -> set[str]:
        """Ids of the bioreactors that it leads to."""
        return {self.bioreactor}


WireDescription: TypeAlias = Annotated[
    ModbusTcpDescription
    | ModbusRtuDescription
    | BalanceDescription
    | EzoPhDescription
    | EzoDoDescription
    | AlicatDescription
    | WatsonMarlowDescription,
    Field(discriminator="kind"),
]


def _check_unique(units: tuple[Unit, ...]) -> None:
    numbers = [unit.unit for unit in units]
    doubled = sorted({number for number in numbers if numbers.count(number) > 1})
    if doubled:
        raise ValueError(f"unit {', '.join(map(str, doubled))} is given more than once")
