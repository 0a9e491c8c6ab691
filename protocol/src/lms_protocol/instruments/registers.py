"""Where a value lies in a Modbus instrument, how it is coded, and what the words beside it say of it.

The same models serve profiles (`points.py`) and the agent's configuration, so that whatever a profile says can also be
written by hand. Addresses are those on the wire, counted from 0.

Source: Modbus Application Protocol V1.1b3, section 4.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lms_protocol.checked_toml.findings import Checked, Wrong
from lms_protocol.reading import Datatype

Register = Literal["coil", "discrete", "holding", "input"]
Kind = Literal["bool", "int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64"]
WordKind = Literal["uint16", "uint32"]
Order = Literal["big", "little"]
StatusQuality = Literal["good", "uncertain", "bad"]

WIDTHS: dict[Kind, int] = {
    "bool": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4,
}  # fmt: skip
"""Registers that a value of each kind takes."""


def beyond_the_last(address: int, width: int, what: str) -> Iterator[Wrong]:
    """Whether `width` registers from `address` on are more than there can be."""
    if address + width > 65536:
        taken = f"{what} takes {width} registers, and the last one is 65535"
        yield "address", str(address), f"at most {65536 - width}: {taken}"


class StatusCondition(Checked):
    """One thing that a status word can say.

    It holds if `word & mask` is `equals`, or, without that, is not 0.
    """

    mask: int = Field(gt=0, le=0xFFFF_FFFF)
    equals: int | None = Field(None, ge=0, le=0xFFFF_FFFF)
    quality: StatusQuality
    words: str = Field(min_length=1, max_length=200)


class StatusMeaning(Checked):
    """What a status word means, wherever it lies.

    The worst quality of all conditions that hold counts. Bits outside `mask` are not looked at; a word that has others
    set than any condition knows is at best `otherwise`.
    """

    mask: int = Field(0xFFFF_FFFF, gt=0, le=0xFFFF_FFFF)
    conditions: Annotated[tuple[StatusCondition, ...], Field(strict=False, alias="condition")] = ()
    otherwise: StatusQuality = "uncertain"


class RegisterWord(Checked):
    """A word that says something about a point; it lies in holding or input registers, `address` counted from 0."""

    register_: Literal["holding", "input"] = Field("holding", alias="register")
    address: int = Field(ge=0, le=65535)
    kind: WordKind = "uint16"
    word_order: Order = "big"
    byte_order: Order = "big"

    @property
    def width(self) -> int:
        """Registers that the word takes."""
        return WIDTHS[self.kind]

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        yield from beyond_the_last(self.address, self.width, self.kind)


class StatusWord(RegisterWord, StatusMeaning):
    """What the instrument itself says of a point's value."""


class UnitName(Checked):
    """What a unit code means, for messages."""

    code: int = Field(ge=0, le=0xFFFF_FFFF)
    unit: str = Field(min_length=1, max_length=32)


class UnitCode(RegisterWord):
    """In which unit the instrument gives a point's value just now: with any other code than `expected` the value is
    refused.
    """

    expected: int = Field(ge=0, le=0xFFFF_FFFF)
    names: Annotated[tuple[UnitName, ...], Field(strict=False, alias="name")] = ()


class RegisterBlock(Checked):
    """Registers that the instrument gives only together, in one request for just these."""

    register_: Register = Field("holding", alias="register")
    address: int = Field(ge=0, le=65535)
    count: int = Field(ge=1, le=2000)

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        yield from beyond_the_last(self.address, self.count, "the block")


class RegisterValue(Checked):
    """A value in a Modbus instrument's coils, discrete inputs or registers.

    `address` is the address on the wire, counted from 0. value = raw × scale + offset.
    """

    register_: Register = Field("holding", alias="register")
    address: int = Field(ge=0, le=65535)
    kind: Kind = "uint16"
    word_order: Order = "big"
    byte_order: Order = "big"
    bit: int | None = Field(None, ge=0, le=15)
    scale: float = 1.0
    offset: float = 0.0
    alone: bool = False

    @property
    def width(self) -> int:
        """Registers (or bits, for coils and discrete inputs) that the value takes."""
        return WIDTHS[self.kind]

    @property
    def in_bits(self) -> bool:
        """Whether it lies in coils or discrete inputs, which are no registers."""
        return self.register_ in ("coil", "discrete")

    @property
    def scaled(self) -> bool:
        """Whether the raw value is turned into another one."""
        return self.scale != 1.0 or self.offset != 0.0

    @property
    def datatype(self) -> Datatype:
        """The Sparkplug type that holds every value of this point exactly."""
        if self.kind == "bool":
            return Datatype.BOOLEAN
        if self.scaled or self.kind == "float64":
            return Datatype.DOUBLE
        if self.kind == "float32":
            return Datatype.FLOAT
        return Datatype.UINT64 if self.kind == "uint64" else Datatype.INT64

    def unwritable(self) -> Iterator[Wrong]:
        """Why it cannot be written, if it cannot."""
        if self.register_ in ("discrete", "input"):
            yield "access", '"write"', f'"read": {self.register_} registers cannot be written, only coil and holding'
        elif self.bit is not None:
            yield "access", '"write"', '"read": a bit cannot be written without its neighbours in the register'

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        yield from beyond_the_last(self.address, self.width, self.kind)
        if self.scale == 0:
            yield "scale", "0", "any number but 0, which would make every value the same"
        yield from self._unfit_kind()

    def _unfit_kind(self) -> Iterator[Wrong]:
        if self.in_bits and self.kind != "bool":
            yield "kind", f'"{self.kind}"', f'"bool": {self.register_}s hold single bits'
        if self.in_bits and self.bit is not None:
            yield "bit", str(self.bit), f"no bit: {self.register_}s are single bits already"
        if not self.in_bits and self.kind == "bool" and self.bit is None:
            yield "bit", "nothing", "0 to 15: which bit of the register (0 is the lowest)"
        if not self.in_bits and self.kind != "bool" and self.bit is not None:
            yield "bit", str(self.bit), f'a bit only with kind = "bool", not "{self.kind}"'
        if self.kind == "bool" and self.scaled:
            yield "scale", f"{self.scale:g}", "no scale or offset: a bool is true or false"
        if self.width == 1 and self.word_order == "little":
            yield "word_order", '"little"', f"no word order: {self.kind} is a single register (see byte_order)"
