"""Where a value lies in a Modbus instrument, how it is coded, and what the registers beside it say of it.

The same models serve profiles (`points.py`) and the agent's configuration, so that whatever a profile says can also be
written by hand. Addresses are those on the wire, counted from 0.

Source: Modbus Application Protocol V1.1b3, section 4.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from lms_protocol.checked_toml.findings import Checked, Wrong
from lms_protocol.reading import Datatype, Quality

Register = Literal["coil", "discrete", "holding", "input"]
Kind = Literal["bool", "int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64"]
Order = Literal["big", "little"]
Trust = Literal["good", "uncertain", "bad"]

WIDTHS: dict[Kind, int] = {
    "bool": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4,
}  # fmt: skip
"""Registers that a value of each kind takes."""

_QUALITIES: dict[Trust, Quality] = {"good": Quality.GOOD, "uncertain": Quality.UNCERTAIN, "bad": Quality.BAD}


class RegisterBlock(Checked):
    """Registers that are read in exactly one way: from `address`, `count` of them, no more and no fewer."""

    address: int = Field(ge=0, le=65535)
    count: int = Field(ge=1, le=125)

    @property
    def end(self) -> int:
        """The address after the last."""
        return self.address + self.count


class RegisterCoding(Checked):
    """How a number is coded in registers: its kind, and the order of words and of the bytes in each."""

    kind: Kind = "uint16"
    word_order: Order = "big"
    byte_order: Order = "big"

    @property
    def width(self) -> int:
        """Registers (or bits, for coils and discrete inputs) that the value takes."""
        return WIDTHS[self.kind]

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if self.width == 1 and self.word_order == "little":
            yield "word_order", '"little"', f"no word order: {self.kind} is a single register (see byte_order)"


class RegisterPlace(RegisterCoding):
    """Where a value lies and how it is coded. `address` is the address on the wire, counted from 0."""

    register_: Register = Field("holding", alias="register")
    address: int = Field(ge=0, le=65535)

    def _contradictions(self) -> Iterator[Wrong]:
        if self.address + self.width > 65536:
            taken = f"{self.kind} takes {self.width} registers, and the last one is 65535"
            yield "address", str(self.address), f"at most {65536 - self.width}: {taken}"
        yield from super()._contradictions()


class StatusBit(Checked):
    """What a set bit of a status says of the value beside it."""

    bit: int = Field(ge=0, le=63)
    quality: Trust
    words: str = Field(min_length=1, max_length=200)


class StatusCode(Checked):
    """What a status of just this number says of the value beside it."""

    code: int = Field(ge=0)
    quality: Trust
    words: str = Field(min_length=1, max_length=200)


class Judgement(NamedTuple):
    """What a status says of a value: how far it can be trusted, and why not."""

    quality: Quality
    words: tuple[str, ...]


class StatusMeaning(Checked):
    """What a status word means: 0 is good, unless a code says otherwise; each bit that is set takes its part away.

    A number that is listed under `codes` means just that. Else every set bit counts; `otherwise` is the quality if one
    is set that nobody has listed, for what is not known is not trusted.
    """

    codes: Annotated[tuple[StatusCode, ...], Field(strict=False, alias="code")] = ()
    bits: Annotated[tuple[StatusBit, ...], Field(strict=False, alias="bit")] = ()
    otherwise: Trust = "uncertain"

    def judge(self, raw: int) -> Judgement:
        """The quality of the value beside a status, and why.

        Args:
            raw: the status, an unsigned number.
        """
        for entry in self.codes:
            if entry.code == raw:
                return Judgement(_QUALITIES[entry.quality], (entry.words,))
        known = {bit.bit: bit for bit in self.bits}
        worst, words = Quality.GOOD, []
        for number in range(raw.bit_length()):
            if not raw >> number & 1:
                continue
            bit = known.get(number)
            worst = min(worst, _QUALITIES[bit.quality if bit else self.otherwise])
            words.append(bit.words if bit else f"status bit {number} is set, which the profile does not know")
        return Judgement(worst, tuple(words))

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        for key, numbers in (("code", [each.code for each in self.codes]), ("bit", [each.bit for each in self.bits])):
            for at, number in enumerate(numbers):
                if number in numbers[:at]:
                    yield f"{key}.{at}.{key}", f"{number} a second time", f"each {key} once"


class RegisterStatus(RegisterPlace, StatusMeaning):
    """A status register: `[instrument.point.status]`."""

    kind: Literal["uint16", "uint32", "uint64"] = "uint16"
    register_: Literal["holding", "input"] = Field("holding", alias="register")


class UnitName(Checked):
    """The unit that a number in a unit register stands for."""

    code: int = Field(ge=0)
    unit: str = Field(max_length=32)


class RegisterUnit(RegisterPlace):
    """A unit register: it must hold `expected`, else the value beside it is in another unit, and not a reading at all.

    `names` says what other numbers stand for, so that the message can name the unit that the instrument gives.
    """

    kind: Literal["uint16", "uint32"] = "uint16"
    register_: Literal["holding", "input"] = Field("holding", alias="register")
    expected: int = Field(ge=0)
    names: Annotated[tuple[UnitName, ...], Field(strict=False, alias="name")] = ()

    def name_of(self, code: int) -> str:
        """The unit that a number stands for, as people are told."""
        return next((name.unit for name in self.names if name.code == code), f"a unit of code {code:#x}")


class RegisterValue(RegisterPlace):
    """A value in a Modbus instrument's coils, discrete inputs or registers. value = raw × scale + offset.

    `block` is for instruments that answer only to one exact request; `alone` for points that must have their own.
    """

    bit: int | None = Field(None, ge=0, le=15)
    scale: float = 1.0
    offset: float = 0.0
    alone: bool = False
    block: RegisterBlock | None = None

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

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if self.scale == 0:
            yield "scale", "0", "any number but 0, which would make every value the same"
        yield from self._unfit_kind()
        if self.block is not None:
            yield from self._outside_block(self.block)

    def _unfit_kind(self) -> Iterator[Wrong]:
        bits = self.register_ in ("coil", "discrete")
        if bits and self.kind != "bool":
            yield "kind", f'"{self.kind}"', f'"bool": {self.register_}s hold single bits'
        if bits and self.bit is not None:
            yield "bit", str(self.bit), f"no bit: {self.register_}s are single bits already"
        if not bits and self.kind == "bool" and self.bit is None:
            yield "bit", "nothing", "0 to 15: which bit of the register (0 is the lowest)"
        if not bits and self.kind != "bool" and self.bit is not None:
            yield "bit", str(self.bit), f'a bit only with kind = "bool", not "{self.kind}"'
        if self.kind == "bool" and self.scaled:
            yield "scale", f"{self.scale:g}", "no scale or offset: a bool is true or false"

    def _outside_block(self, block: RegisterBlock) -> Iterator[Wrong]:
        if self.register_ in ("coil", "discrete"):
            yield "block", "a block", f"no block: {self.register_}s are no registers"
        elif not block.address <= self.address <= block.end - self.width:
            held = f"a block that holds the value's registers, {self.address} to {self.address + self.width - 1}"
            yield "block", f"registers {block.address} to {block.end - 1}", held
