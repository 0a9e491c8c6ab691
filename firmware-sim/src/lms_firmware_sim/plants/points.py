"""What lies in which register, spelled out: tables and blocks of a plant's file come to one list of points.

A `sequence` lays tags one after another; a `block` is laid out as a measurement channel of a Hamilton Arc probe; a
`point` is a single value.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lms_firmware_sim.plants.strict import Strict
from lms_firmware_sim.process.bioreactor import TAGS, UNITS, WRITABLE
from lms_firmware_sim.wires.encoding import Kind, Order, width

Address = Annotated[int, Field(ge=0, le=65_535)]

BLOCK_REGISTERS = 10
"""Registers of a Hamilton Arc measurement channel: unit u32, value f32, status u32, smallest f32, largest f32.

Source: Hamilton pH Arc Modbus programmer's manual (PMC1 at 2090, PMC6 at 2410; low word first).
"""


class Point(Strict):
    """`[[wire.unit.point]]`: one value in one unit's registers.

    Attributes:
        address: 0-based wire address of the first register.
        scale: value of one count; the register holds value / scale.
        fixed: a constant instead of a tag's value.
    """

    tag: str | None = None
    table: Literal["holding", "input"] = Field(default="holding", alias="register")
    address: Address
    kind: Kind = "float32"
    word_order: Order = "big"
    byte_order: Order = "big"
    scale: float = 1.0
    fixed: float | None = None
    writable: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tag is None) == (self.fixed is None):
            raise ValueError("give either tag or fixed")
        if self.tag is not None and self.tag not in TAGS:
            raise ValueError(f"tag {self.tag!r} is not known; allowed are {', '.join(TAGS)}")
        if self.writable and self.tag not in WRITABLE:
            raise ValueError(f"tag {self.tag!r} is no set point: only …/SP can be writable")
        if self.scale == 0.0:
            raise ValueError("scale must not be 0")
        if self.address + self.width > 65_536:
            raise ValueError(f"address {self.address} leaves no room for {self.kind}")
        return self

    @property
    def width(self) -> int:
        """Registers that it takes."""
        return width(self.kind)

    @property
    def unit(self) -> str:
        """The tag's unit; "" for a constant."""
        return "" if self.tag is None else UNITS[self.tag]


class Sequence(Strict):
    """`[[wire.unit.sequence]]`: tags one after another, all of one kind; set points are writable."""

    table: Literal["holding", "input"] = Field(default="holding", alias="register")
    address: Address
    kind: Kind = "float32"
    word_order: Order = "big"
    byte_order: Order = "big"
    scale: float = 1.0
    tags: tuple[str, ...] = Field(min_length=1)

    def points(self) -> list[Point]:
        """Spelled out."""
        step = width(self.kind)
        return [
            Point(
                tag=tag,
                table=self.table,
                address=self.address + position * step,
                kind=self.kind,
                word_order=self.word_order,
                byte_order=self.byte_order,
                scale=self.scale,
                writable=tag in WRITABLE and self.table == "holding",
            )
            for position, tag in enumerate(self.tags)
        ]


class Block(Strict):
    """`[[wire.unit.block]]`: a measurement channel of a Hamilton Arc probe, ten registers, low word first."""

    tag: str
    table: Literal["holding", "input"] = Field(default="holding", alias="register")
    address: Address
    unit_code: int = Field(ge=0, le=0xFFFFFFFF)
    low: float
    high: float

    def points(self) -> list[Point]:
        """Spelled out."""
        constants: list[tuple[int, Kind, float]] = [
            (0, "uint32", self.unit_code),
            (4, "uint32", 0),
            (6, "float32", self.low),
            (8, "float32", self.high),
        ]
        points = [
            Point(fixed=value, table=self.table, address=self.address + at, kind=kind, word_order="little")
            for at, kind, value in constants
        ]
        points.append(Point(tag=self.tag, table=self.table, address=self.address + 2, word_order="little"))
        return sorted(points, key=lambda point: point.address)
